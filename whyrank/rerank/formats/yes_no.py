"""Judging one passage by yes or no, and how likely each was."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from whyrank.llm.answer import Ok
from whyrank.llm.constraint import one_of
from whyrank.llm.messages import Prompt, Sampling
from whyrank.rerank.formats.base import Answered, Constrainable, answered, clipped, completion
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


@dataclass(frozen=True)
class YesNo(Constrainable[Graded], PointFormat):
    """Relevant or not, scored by the probability of yes against no, as monoT5 does, after a thought as Rank1 does.

    The score is P(yes) / (P(yes) + P(no)), over all spellings, where the answer was written; an engine that gives no
    log probabilities leaves 1 and 0. Sources: 2003.06713 (2020); Rank1, 2502.18418 (2025).

    Attributes:
        think: see `PointFormat`.
        constrained: whether engines that can keep the model to the two words do so; without a thought only.

    Raises:
        BadInput: `constrained` with a thought.
    """

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """As of every format of one passage."""
        prompt = super().render(query, passages, sampling)
        return replace(prompt, constraint=one_of(_WORDS)) if self.constrained else prompt

    def parse(self, completion: Ok, n: int) -> Graded:
        """The probability of yes, where the answer is one of the two words, or one token that could be."""
        answer = answered(completion.text)
        word, exact = self._word(answer)
        thinks = (answer.unclosed and not answer.tagged) or (bool(completion.reasoning) and not answer.text)
        if not thinks and not word and len(completion.logprobs) == 1:  # one token, be it another: its odds count
            odds = _odds(completion.logprobs[0])
            if odds is not None and not math.isnan(odds):
                return Graded(odds, "repaired")
        if thinks or not word:
            cut = answer.unclosed or completion.finish == "length"
            return Graded(math.nan, "truncated" if cut else "no_answer")
        chance = _chance(completion.logprobs)
        if chance is not None and math.isnan(chance):
            return Graded(chance, "no_answer")
        score = float(word == "yes") if chance is None else chance
        return Graded(score, "exact" if exact else "repaired")

    _closing_tokens = 1

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """Yes from a utility of a half on; its probability is the utility."""
        (chance,) = clipped([single(utilities)])
        word = completion("yes" if chance >= 0.5 else "no", thought, self.think)
        return replace(word, logprobs=(logs({"yes": chance, "no": 1 - chance}),))

    def _word(self, answer: Answered) -> tuple[str, bool]:
        """Yes, no, or nothing; and whether it stands as it was asked for."""
        lines = [line for line in answer.text.splitlines() if line.strip()] or [""]
        if len(lines) == 1 and (word := _bare(lines[0])) in _WORDS:
            return word, answer.tagged == (self.think != "no") and not answer.unclosed
        if {_bare(lines[0]), _bare(lines[-1])} == set(_WORDS):
            return "", False
        if (last := _bare(_LEAD.sub("", lines[-1]))) in _WORDS and (
            len(lines) == 1 or not _QUOTES.search(lines[-2][-80:])
        ):
            return last, False
        first = _FIRST.match(answer.text)
        return (first[1].lower(), False) if first else ("", False)

    @staticmethod
    def _reads(token: str) -> bool:
        return _bare(token) in _WORDS

    def _drawn(self, sampling: Sampling) -> Sampling:
        return replace(sampling, logprobs=max(sampling.logprobs, ALTERNATIVES))

    def _task(self) -> str:
        word = "yes or no"
        tag = f"{word} between <answer> and </answer>, for example <answer>yes</answer>"
        form = f"{word} and nothing else" if self.think == "no" else tag
        steps = "Work out what the query really asks for, and whether the passage gives any of that.\n\n"
        return (
            f"You judge whether a passage is relevant to a query. {RELEVANT.format(kind='passage')}\n\n"
            f"{'' if self.think == 'no' else steps}{HOW[self.think]} {form}."
        )

    def _form(self) -> str:
        return "yes or no." if self.think == "no" else "<answer> yes or no </answer>"


def _chance(places: Sequence[dict[str, float]]) -> float | None:
    """P(yes) against P(no) at the last place where one of them is the most probable token; None where there is none."""
    for place in reversed(places):
        if any(map(math.isnan, place.values())):
            return math.nan
        if place and _bare(max(place, key=place.__getitem__)) in _WORDS:
            return _odds(place)
    return None


def _odds(place: dict[str, float]) -> float | None:
    """P(yes) against P(no) at one place, over all spellings; None where neither is there, NaN where they are absurd."""
    if (chances := probabilities(place)) is None:
        return math.nan
    yes, no = (sum(chance for token, chance in chances.items() if _bare(token) == word) for word in _WORDS)
    return yes / (yes + no) if yes + no else None


def _bare(text: str) -> str:
    return text.strip().strip("*`.!\"'<>/ ").lower()


_WORDS = ("yes", "no")
_FIRST = re.compile(r"\W{0,20}(yes|no)\b\s{0,9}[,.:;!(–—-]", re.IGNORECASE)
_LEAD = re.compile(
    r"\A\W{0,9}(?:(?:the|my|so|final)\W{1,3}){0,3}(?:answer|verdict|judge?ment)\b(?:\s{1,3}is\b|\W{0,3}[:：])\s{0,3}",
    re.IGNORECASE,
)
_QUOTES = re.compile(
    r"\b(?:says?|reads?|quotes?|passage|claims?|states?|tells?|writes?|contains?)\b.{0,60}:\W*\Z", re.IGNORECASE
)
