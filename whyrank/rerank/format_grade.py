"""Formats that judge one passage: a grade on a rubric, or yes and no with a probability; render beside parse.

A score that cannot be read is missing (NaN), never 0: a strategy asks again with the prompt of `again`, and what stays
missing it fills in from other samples or from the first stage.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from whyrank.errors import BadInput
from whyrank.llm.base import Completion, Failed, Message, Ok, Piece, Prompt, Sampling
from whyrank.rerank.formats import Format, Status, clean, thought

Think = Literal["asked", "native", "no"]

Places = Sequence[dict[str, float]]

ALTERNATIVES = 10
"""How many log probabilities are asked for at each token; servers allow up to 20."""

CLOSING_TOKENS = 32
"""Tokens for the answer after a thought that was cut off: a few words."""


@dataclass(frozen=True, slots=True)
class Graded:
    """What a model thinks of one passage.

    Attributes:
        score: on the scale of the format, the higher the more relevant; NaN where none could be read.
        status: "exact": as asked; "repaired": read from an answer in another form; "truncated": cut off before an
            answer; "no_answer": no score to be found; "failed": the call itself brought nothing.
    """

    score: float
    status: Status

    @property
    def counts(self) -> dict[str, int]:
        """Whether the score is missing."""
        return {"missing": int(math.isnan(self.score))}


class Answered(NamedTuple):
    """Where an answer stands: its text, whether its tag was there, and whether tag or thought was left open."""

    text: str
    tagged: bool
    unclosed: bool


@dataclass(frozen=True)
class PointFormat(Format[Graded]):
    """What formats of one passage share: the prompt's build, and how a missing answer is asked for again.

    Attributes:
        think: "asked" asks for a thought between <think> and </think>; "native" is for models that think by themselves
            (Qwen3, DeepSeek-R1); "no" asks for the answer alone.
    """

    think: Think = "asked"

    def __post_init__(self) -> None:
        """Refuse what is no way to think."""
        if self.think not in ("asked", "native", "no"):
            raise BadInput(f"think must be 'asked', 'native' or 'no', not {self.think!r}")

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, which all passages of a query share, then the one passage and the form to answer in.

        Raises:
            BadInput: `passages` holds not just one.
        """
        if len(passages) != 1:
            raise BadInput(f"this format judges one passage, not {len(passages)}")
        asked = query.encode("utf-8", "replace").decode().strip()
        kind = self._kind
        user = (
            Piece("Query: "),
            Piece(asked, cut="query"),
            Piece(f"\n\n{kind[:1].upper()}{kind[1:]}: "),
            Piece(clean(passages[0]) or "(empty)", cut="document"),
            Piece(f"\n\n{self._reminder()}"),
        )
        messages = (Message("system", (Piece(self._task()),)), Message("user", user))
        return Prompt(messages, self._drawn(sampling or Sampling()))

    def again(self, prompt: Prompt, completion: Ok) -> Prompt:
        """The prompt that asks again after an answer without a score.

        A thought that was cut off is closed: the model is shown it and may write only the answer (Rank1, 2502.18418).
        """
        if self.parse(completion, 1).status == "truncated":
            said, sampling = thought(completion) or completion.text, replace(prompt.sampling, max_tokens=CLOSING_TOKENS)
            told = "Stop thinking here."
        else:
            said, sampling = completion.text, prompt.sampling
            told = "I cannot read an answer in this."
        turns = (
            Message("assistant", (Piece(said.encode("utf-8", "replace").decode().strip() or "(empty)", "document"),)),
            Message("user", (Piece(f"{told} Write only the answer, without anything before it: {self._form()}"),)),
        )
        return Prompt(prompt.messages + turns, sampling, prompt.sample)

    _kind = "passage"

    @abstractmethod
    def _task(self) -> str:
        """The instructions."""

    @abstractmethod
    def _form(self) -> str:
        """What an answer looks like."""

    def _reminder(self) -> str:
        first = "Write <think> your thinking </think> and then " if self.think == "asked" else "Write "
        return f"{first}{self._form()}"

    def _drawn(self, sampling: Sampling) -> Sampling:
        return sampling


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

    def __post_init__(self) -> None:
        """Refuse another scale."""
        super().__post_init__()
        if self.top not in (100, 10):
            raise BadInput(f"rubric: top must be 100 or 10, not {self.top!r}")

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
            score, exact = (score, False) if sure is None else (score * sure, exact)
        return Graded(score, "exact" if exact else "repaired")

    def _grade(self, answer: Answered) -> tuple[float, bool]:
        """The grade, and whether it stands in the form that was asked for; NaN where there is none on the scale."""
        found = _NUMBER.fullmatch(answer.text)
        plain = bool(found and not found[2] and not answer.unclosed and answer.tagged == (self.think != "no"))
        if not found:
            several = list(_ANY.finditer(answer.text)) if answer.tagged else list(_NAMED.finditer(answer.text))[-1:]
            found = several[0] if len(several) == 1 else None
        if not found or (found[2] and int(found[2]) != self.top) or float(found[1]) > self.top:
            return math.nan, False
        return float(found[1]), plain and found[1].isdigit()

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
        relevance = self.relevance or _RELEVANT.format(kind=kind)
        return (
            f"You grade how relevant a {kind} is to a {self.query_type}. {relevance}\n\n"
            f"The grade is a whole number from 0 to {self.top}:\n{bands}\n\n"
            f"Use the whole scale, and grade what is written, not what the {kind} might go on to say.\n\n"
            f"{'' if self.think == 'no' else steps}"
            f"{_HOW[self.think]} {'the grade as a bare number and nothing else' if self.think == 'no' else tag}."
        )

    def _form(self) -> str:
        return "the grade as a bare number." if self.think == "no" else "<score> the grade </score>"


@dataclass(frozen=True)
class YesNo(PointFormat):
    """Relevant or not, scored by the probability of yes against no, as monoT5 does, after a thought as Rank1 does.

    The score is P(yes) / (P(yes) + P(no)), over all spellings, where the answer was written; an engine that gives no
    log probabilities leaves 1 and 0. Sources: 2003.06713 (2020); Rank1, 2502.18418 (2025).

    Attributes:
        think: see `PointFormat`.
    """

    def parse(self, completion: Ok, n: int) -> Graded:
        """The probability of yes, where the answer is one of the two words."""
        answer = answered(completion.text, "answer")
        word, exact = self._word(answer)
        if not word or (answer.unclosed and not answer.tagged):
            cut = answer.unclosed or completion.finish == "length"
            return Graded(math.nan, "truncated" if cut else "no_answer")
        chance = _chance(completion.logprobs)
        score = float(word == "yes") if chance is None else chance
        return Graded(score, "exact" if exact else "repaired")

    def _word(self, answer: Answered) -> tuple[str, bool]:
        """Yes, no, or nothing; and whether it stands as it was asked for."""
        lines = [_bare(line) for line in answer.text.splitlines() if line.strip()] or [""]
        if len(lines) == 1 and lines[0] in _WORDS:
            return lines[0], answer.tagged == (self.think != "no") and not answer.unclosed
        first = re.match(r"\W*(yes|no)\b\s*[,.:;!–—-]", answer.text, re.IGNORECASE)
        if lines[-1] in _WORDS:
            return lines[-1], False
        return (first[1].lower(), False) if first else ("", False)

    def _drawn(self, sampling: Sampling) -> Sampling:
        return replace(sampling, logprobs=max(sampling.logprobs, ALTERNATIVES))

    def _task(self) -> str:
        word = "yes or no"
        tag = f"{word} between <answer> and </answer>, for example <answer>yes</answer>"
        form = f"{word} and nothing else" if self.think == "no" else tag
        steps = "Work out what the query really asks for, and whether the passage gives any of that.\n\n"
        return (
            f"You judge whether a passage is relevant to a query. {_RELEVANT.format(kind='passage')}\n\n"
            f"{'' if self.think == 'no' else steps}{_HOW[self.think]} {form}."
        )

    def _form(self) -> str:
        return "yes or no." if self.think == "no" else "<answer> yes or no </answer>"


def graded(format: Format[Graded], completion: Completion) -> tuple[Graded, dict[str, Any]]:
    """The score that a completion gives, and the report of the call for notes; a failed call has no score."""
    if isinstance(completion, Failed):
        return Graded(math.nan, "failed"), {
            "status": "failed", "score": None, "failure": completion.kind, "detail": completion.detail
        }  # fmt: skip
    found = format.parse(completion, 1)
    score = None if math.isnan(found.score) else found.score
    return found, {"status": found.status, "score": score, "finish": completion.finish, "reason": thought(completion)}


def answered(text: str, tag: str) -> Answered:
    """What follows the thought: the last block of `tag`, or all of it where there is none.

    Example:
        >>> answered("<think><score>3</score></think>So: <score>70</score>", "score")
        Answered(text='70', tagged=True, unclosed=False)
    """
    after = re.split(r"</think>", text, flags=re.IGNORECASE)[-1]
    answer, *thinking = re.split(r"<think>", after, maxsplit=1, flags=re.IGNORECASE)
    *before, block = re.split(rf"<{tag}>", answer, flags=re.IGNORECASE)
    region, *closed = re.split(rf"</{tag}>", block, maxsplit=1, flags=re.IGNORECASE)
    return Answered(region.strip().strip("*`").strip(), bool(before), not closed and bool(before or thinking))


def spelled(places: Places, digits: str) -> float | None:
    """The probability of a number where a completion last writes one; None where the engine does not tell it.

    A number of several tokens has the product of their probabilities.

    Example:
        >>> spelled([{"1": -0.1, "2": -2.4}, {"0": 0.0}, {"</": 0.0}], "10")
        0.9048374180359595
    """
    numeric = [max(place, key=place.__getitem__, default="").strip().isdigit() for place in places]
    end = len(numeric) - numeric[::-1].index(True) if True in numeric else 0
    start = end
    while start and numeric[start - 1]:
        start -= 1
    return _spelled(places, start, digits) or None


def _spelled(places: Places, at: int, rest: str) -> float:
    """The probability that the tokens from place `at` on spell `rest`."""
    if not rest:
        return 1.0
    if at == len(places):
        return 0.0
    return sum(
        math.exp(chance) * _spelled(places, at + 1, rest[len(token.strip()) :])
        for token, chance in places[at].items()
        if token.strip() and rest.startswith(token.strip())
    )


def _chance(places: Places) -> float | None:
    """P(yes) against P(no) at the last place where one of them is the most probable token; None where there is none."""
    for place in reversed(places):
        if place and _bare(max(place, key=place.__getitem__)) in _WORDS:
            yes, no = (
                sum(math.exp(chance) for token, chance in place.items() if _bare(token) == word) for word in _WORDS
            )
            return yes / (yes + no)
    return None


def _bare(text: str) -> str:
    return text.strip().strip("*`.!\"'<>/ ").lower()


_WORDS = ("yes", "no")
_NUMBER = re.compile(r"(\d{1,3}(?:\.\d+)?)(?:\s*/\s*(\d{1,3}))?\.?")
_ANY = re.compile(r"(?<![\d.–-])(\d{1,3}(?:\.\d+)?)(?:\s*/\s*(\d{1,3}))?(?![\d–-])")
_NAMED = re.compile(
    r"\b(?:score|grade)\b\W{1,6}(?<!-)(\d{1,3}(?:\.\d+)?)(?:\s*/\s*(\d{1,3}))?(?![\d–-])", re.IGNORECASE
)
_RELEVANT = (
    "A relevant {kind} holds the answer, or a fact, principle, method or example that the answer rests on. Sharing "
    "words is not enough, and a {kind} may be relevant without sharing any."
)
_HOW = {
    "asked": "Think first, between <think> and </think>, then write",
    "native": "Think first, then write",
    "no": "Write",
}
_SCALES = {100: ("81–100", "61–80", "41–60", "21–40", "0–20"), 10: ("9–10", "7–8", "5–6", "3–4", "0–2")}
_BANDS = (
    "it answers what is asked, or gives the very thing that the answer rests on",
    "it gives a substantial part of what the answer needs",
    "it helps, but much of the answer has to come from elsewhere",
    "it is about the same matter and gives next to nothing for the answer",
    "it does not help",
)
