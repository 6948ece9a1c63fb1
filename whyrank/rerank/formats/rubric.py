"""Judging one passage by a grade on a rubric."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from whyrank.llm.answer import Ok
from whyrank.llm.messages import Sampling
from whyrank.rerank.formats.base import Answered, answered, clipped, completion
from whyrank.rerank.formats.point import (
    ALTERNATIVES,
    HOW,
    RELEVANT,
    Graded,
    PointFormat,
    logs,
    probabilities,
    single,
)

Places = Sequence[dict[str, float]]


@dataclass(frozen=True)
class Rubric(PointFormat):
    """A grade on a rubric of five bands, 0–100 as Retro* has it (2509.24869, 2025) or 0–10 as ERank (2509.00520, 2025).

    Attributes:
        think: see `PointFormat`.
        top: the highest grade, 100 or 10.
        relevance: what relevant means for this task.
        query_type: what the queries are, such as "question" or "mathematical problem".
        document_type: what the passages are, such as "passage" or "theorem".
        weighted: multiply the grade by the probability of its tokens, as ERank does; asks the engine for log
            probabilities. Where it gives none, the grade stands as it is and the status is "repaired".
    """

    top: Literal[100, 10] = 100
    relevance: str = ""
    query_type: str = "query"
    document_type: str = "passage"
    weighted: bool = False

    @property
    def highest(self) -> float:
        """The highest grade."""
        return float(self.top)

    _tag = "score"

    @property
    def _kind(self) -> str:  # type: ignore[override]
        return self.document_type

    def parse(self, completion: Ok, n: int) -> Graded:
        """The grade in the last `<score>` block; a bare number where nothing else is written."""
        answer = answered(completion.text, "score")
        cut = answer.unclosed and (completion.finish == "length" or not answer.tagged)
        score, exact = (math.nan, False) if cut else self._grade(answer)
        if math.isnan(score):
            return Graded(score, "truncated" if cut or completion.finish == "length" else "no_answer")
        if self.weighted:
            sure = spelled(completion.logprobs, f"{score:g}")
            if sure is not None and math.isnan(sure):
                return Graded(math.nan, "no_answer")
            score, exact = (score, False) if sure is None else (score * sure, exact)
        return Graded(score, "exact" if exact else "repaired")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The nearest whole grade; if weighted, the next above with the probability that makes the product exact."""
        (score,) = clipped([single(utilities)], self.top)
        if not self.weighted:
            return completion(str(round(score)), thought, self.think, "score")
        grade = math.ceil(score)
        chances = {str(grade): score / grade, str(grade - 1): 1 - score / grade} if grade else {"0": 1.0}
        return replace(completion(str(grade), thought, self.think, "score"), logprobs=(logs(chances),))

    def _grade(self, answer: Answered) -> tuple[float, bool]:
        """The grade, and whether it stands in the form that was asked for; NaN where there is none on the scale."""
        text = answer.text.strip("*` ")
        found = _NUMBER.fullmatch(text)
        plain = bool(found and not found[2] and not answer.unclosed and answer.tagged == (self.think != "no"))
        if not found:
            short = answer.tagged and len(text) <= _SHORT
            several = list((_ANY if short else _NAMED).finditer(text if short else text.rpartition("\n")[2]))
            found = several[0] if len(several) == 1 else None
        if not found or (found[2] and int(found[2]) != self.top) or float(found[1]) > self.top:
            return math.nan, False
        return float(found[1]), plain and found[1].isdigit()

    @staticmethod
    def _reads(token: str) -> bool:
        return token.strip().isdigit()

    def _drawn(self, sampling: Sampling) -> Sampling:
        return replace(sampling, logprobs=max(sampling.logprobs, ALTERNATIVES)) if self.weighted else sampling

    def _task(self) -> str:
        kind = self.document_type
        bands = "\n".join(f"- {scale}: {meaning}" for scale, meaning in zip(_SCALES[self.top], _BANDS, strict=True))
        steps = (
            f"Work in three steps. First say what the {self.query_type} really asks for and what a full answer needs. "
            f"Then say what the {kind} holds of that, and what it lacks. Then grade it.\n\n"
        )
        tag = f"the grade between <score> and </score>, for example <score>{self.top * 7 // 10}</score>"
        relevance = self.relevance or RELEVANT.format(kind=kind)
        return (
            f"You grade how relevant a {kind} is to a {self.query_type}. {relevance}\n\n"
            f"The grade is a whole number from 0 to {self.top}:\n{bands}\n\n"
            f"Use the whole scale, and grade what is written, not what the {kind} might go on to say.\n\n"
            f"{'' if self.think == 'no' else steps}"
            f"{HOW[self.think]} {'the grade as a bare number and nothing else' if self.think == 'no' else tag}."
        )

    def _form(self) -> str:
        return "the grade as a bare number." if self.think == "no" else "<score> the grade </score>"


def spelled(places: Places, digits: str) -> float | None:
    """The probability of a number where a completion last writes one; None where the engine does not tell it.

    A number of several tokens has the product of their probabilities. NaN where the engine's numbers are none.

    Examples:
        >>> spelled([{"1": -0.1, "2": -2.4}, {"0": 0.0}, {"</": 0.0}], "10")
        0.9048374180359595
    """
    numeric = [max(place, key=place.__getitem__, default="").strip().isdigit() for place in places]
    end = len(numeric) - numeric[::-1].index(True) if True in numeric else 0
    start = end
    while start and numeric[start - 1]:
        start -= 1
    chances = [probabilities(place) for place in places[start : start + len(digits)]]
    known = [place for place in chances if place is not None]
    return math.nan if len(known) < len(chances) else _spelled(known, 0, digits) or None


def _spelled(places: Places, at: int, rest: str) -> float:
    """The probability that the tokens from place `at` on spell `rest`."""
    if not rest:
        return 1.0
    if at == len(places):
        return 0.0
    return sum(
        chance * _spelled(places, at + 1, rest[len(token.strip()) :])
        for token, chance in places[at].items()
        if token.strip() and rest.startswith(token.strip())
    )


_NUMBER = re.compile(r"(\d{1,3}(?:\.\d+)?)(?:\s*/\s*(\d{1,3}))?\.?")
_ANY = re.compile(r"(?<![\d.–-])(\d{1,3}(?:\.\d+)?)(?:\s*/\s*(\d{1,3}))?(?![\d–-])")
_SHORT = 60
"""Characters of an answer in its tag in which a number is the grade, whatever the words beside it."""
_NAMED = re.compile(
    r"\A\W{0,9}(?:(?:the|my|so|final|overall|relevance)\W{1,3}){0,3}(?:score|grade)\b\W{1,6}(?:is\W{1,3})?(?<!-)(\d{1,3}(?:\.\d{1,9})?)"
    r"(?:\s{0,3}/\s{0,3}(\d{1,3}))?(?![\d–-])\W{0,9}\Z",
    re.IGNORECASE,
)
"""The last line of prose, where it names the grade and says nothing else."""
_SCALES = {100: ("81–100", "61–80", "41–60", "21–40", "0–20"), 10: ("9–10", "7–8", "5–6", "3–4", "0–2")}
_BANDS = (
    "it answers what is asked, or gives the very thing that the answer rests on",
    "it gives a substantial part of what the answer needs",
    "it helps, but much of the answer has to come from elsewhere",
    "it is about the same matter and gives next to nothing for the answer",
    "it does not help",
)
