"""Choosing one passage: a model names the one that helps most."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whyrank.llm.base import Ok, Prompt, Sampling
from whyrank.rerank.formats.base import (
    HELPFUL,
    THINK_FIRST,
    THOUGHT,
    Format,
    Native,
    Status,
    answer_region,
    best_first,
    completion,
    prompt_of,
)
from whyrank.rerank.formats.listwise import numbers


@dataclass(frozen=True, slots=True)
class Choice:
    """The one of n passages that an answer names.

    Attributes:
        best: its place, from 0, or None where the model named none.
        status: "exact": one number, and nothing else like it; "repaired": more than one, the first that is in range
            counts; "truncated": cut off before its end, a number that was whole counts; "no_answer": no number in
            range; "failed": the call itself brought nothing.
        extra: how many numbers in range it gave after the first.
        out_of_range: how many numbers below 1 or above n it gave.
    """

    best: int | None
    status: Status
    extra: int = 0
    out_of_range: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """What the model wrote too much."""
        return {"extra": self.extra, "out_of_range": self.out_of_range}


class _Choosing(Format[Choice]):
    def parse(self, completion: Ok, n: int) -> Choice:
        """The number that the answer gives, in its last `<answer>` block or alone, see `parse_choice`."""
        return parse_choice(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The number of the passage with the highest utility."""
        return completion(_best(utilities), thought, self.think)


@dataclass(frozen=True)
class ReasonedChoice(Native, _Choosing):
    """Choose after thinking: `<think>`, then one number in `<answer>`, as Rank-R1 does (2503.06034, 2025).

    Attributes:
        native: for models that think by themselves (Qwen3, DeepSeek-R1): only the answer's tag is asked for.
    """

    native: bool = False

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        how = THINK_FIRST[self.think]
        task = (
            f"{HELPFUL}{how}: work out what the query really asks for and what a full answer needs, then say of each "
            f"passage what it adds to that, then choose the one passage that helps most. Then write its number in "
            f"square brackets between <answer> and </answer>. An answer could be: <answer>[2]</answer>"
        )
        return _prompt(task, query, passages, f"Write {THOUGHT[self.think]}<answer> its number </answer>.", sampling)


@dataclass(frozen=True)
class DirectChoice(_Choosing):
    """Choose at once, without written reasoning, as Setwise does (2310.09497, 2023)."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        task = (
            f"{HELPFUL}Choose the one passage that helps most. Answer with its number in square brackets and nothing "
            f"else. An answer could be: [2]"
        )
        return _prompt(task, query, passages, "Write its number only.", sampling)


def parse_choice(text: str, n: int, cut: bool = False) -> Choice:
    """The one of n passages that a completion names, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one all of it. Numbers count when they stand
    in brackets; a bare one only where there is nothing else. Where the engine cut off a text without the tag, only a
    number that the text begins with counts: the rest may be a thought that was not finished.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Examples:
        >>> parse_choice("<think>[1] or [3]?</think><answer>[3]</answer>", 3)
        Choice(best=2, status='exact', extra=0, out_of_range=0)
    """
    region, tagged, unclosed = answer_region(text)
    unfinished = cut and not tagged
    given = numbers(_first(region) if unfinished else region, tagged)
    given += [0 for _ in _SIGNED.finditer(region)]
    valid = [one for one in given if 1 <= one <= n]
    extra, out_of_range = max(len(valid) - 1, 0), len(given) - len(valid)
    status: Status = "no_answer" if not valid else "repaired" if extra or out_of_range else "exact"
    if unclosed or unfinished:
        status = "truncated"
    return Choice(valid[0] - 1 if valid else None, status, extra, out_of_range)


def _best(utilities: Sequence[float]) -> str:
    return "".join(f"[{at + 1}]" for at in best_first(utilities)[:1])


def _first(region: str) -> str:
    """The bracket that a text begins with, or nothing."""
    start, bracket, _ = region.lstrip().partition("]")
    return start + bracket if start.startswith("[") else ""


_SIGNED = re.compile(r"\[\s*[-−+]\s*\d+\s*\]")  # no passage's number, but an attempt at one


def _prompt(task: str, query: str, passages: Sequence[str], how: str, sampling: Sampling | None) -> Prompt:
    reminder = f"Which one of these {len(passages)} passages helps most with the query above? {how}"
    return prompt_of(task, query, passages, reminder, sampling)
