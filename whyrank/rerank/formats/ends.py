"""Choosing both ends: a model names the passage that helps most and the one that helps least."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.rerank.formats.base import (
    HELPFUL,
    THINK_FIRST,
    THOUGHT,
    Listing,
    Think,
    answer_region,
    best_first,
    completion,
    prompt_of,
)
from whyrank.rerank.formats.lists import begins_line, listed
from whyrank.rerank.formats.maps import to_number
from whyrank.types import Repairs, Status


@dataclass(frozen=True, slots=True)
class Ends:
    """The best and the worst of n passages, as an answer names them.

    Attributes:
        best: its place, from 0, or None where the model named none.
        worst: likewise; None also where the model named the same as for the best.
        status: "exact": each named once, by its word; "repaired": read from an answer in another form, or only one of
            the two; "truncated": cut off before its end, what was whole counts; "no_answer": no number in range;
            "failed": the call itself brought nothing.
        extra: how many numbers in range it gave beside the two.
        out_of_range: how many numbers below 1 or above n it gave.
    """

    given_by: ClassVar[str] = "one that names the best and the worst, such as best_worst()"

    best: int | None
    worst: int | None
    status: Status
    extra: int = 0
    out_of_range: int = 0

    @property
    def repairs(self) -> Repairs:
        """How many of the two are missing, and what the model wrote too much."""
        missing = (self.best is None) + (self.worst is None)
        return Repairs(missing, extra=self.extra, out_of_range=self.out_of_range)


@dataclass(frozen=True)
class BestWorst(Listing[Ends]):
    """The best and the worst passage in one answer, so that each call settles two (DualEnd, 2606.01782, 2026).

    Attributes:
        think: "asked" asks for a thought between <think> and </think> first; "native" is for models that think by
            themselves (Qwen3, DeepSeek-R1); "no" asks for the answer alone.
    """

    think: Think = "asked"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        form = "the number of the best passage and that of the worst"
        if self.think == "no":
            how = f"Answer with {form}, and nothing else. An answer could be: {_form(2, 3)}"
            reminder = "Write the two numbers only, as best: [i], worst: [j]."
        else:
            how = (
                f"{THINK_FIRST[self.think]}: work out what the query really asks for and what a full answer needs, "
                f"then say of each passage what it adds to that. Then write {form} between <answer> and </answer>. An "
                f"answer could be: <answer>{_form(2, 3)}</answer>"
            )
            reminder = f"Write {THOUGHT[self.think]}<answer> best: [i], worst: [j] </answer>."
        task = (
            f"{HELPFUL}Choose two passages: the one that helps most, the best, and the one that helps least, the worst."
        )
        asked = f"Which one of these {len(passages)} passages helps most with the query above, and which one least?"
        return prompt_of(f"{task} {how}", query, passages, f"{asked} {reminder}", sampling)

    def parse(self, completion: Ok, n: int) -> Ends:
        """The two numbers in the last `<answer>` block, or alone, see `parse_ends`."""
        return parse_ends(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The first of the highest and the last of the lowest utility."""
        if not utilities:
            raise BadInput("this format is for one passage or more, not for none")
        order = best_first(utilities)
        return completion(_form(order[0] + 1, order[-1] + 1), thought, self.think)


def parse_ends(text: str, n: int, cut: bool = False) -> Ends:
    """The best and the worst of n passages that a completion names, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one all of it. Where the words best and
    worst stand before numbers, these count, without the tag where a line begins with them. Without the words, the first
    and the last of the numbers that the answer lists count, so that a whole ranking is understood too. A text without
    the tag that was cut off may be an unfinished thought: it names nothing.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Examples:
        >>> parse_ends("<think>[1]?</think><answer>best: [3], worst: [1]</answer>", 3)
        Ends(best=2, worst=0, status='exact', extra=0, out_of_range=0)
    """
    region, tagged, unclosed = answer_region(text)
    region = "" if cut and not tagged else region.rstrip("0123456789") if unclosed else region  # it may lack digits
    first = _NAMED.search(region)
    labelled = _NAMED.findall(region) if first and (tagged or begins_line(region, first.start())) else []
    named = [(word.lower(), to_number(digits)) for word, digits in labelled or _SAID.findall(region)]
    words = [word for word, _ in named]
    given = [number for _, number in named] if named else list(listed(region, n, tagged).numbers)
    valid = [number for number in given if 1 <= number <= n]
    if named:
        best, worst = (
            next((at for word, at in named if word == end and 1 <= at <= n), None) for end in ("best", "worst")
        )
    else:
        best, worst = (valid[0], valid[-1]) if valid else (None, None)
    if best == worst and n > 1:
        worst = None
    extra = max(len(valid) - 2, 0)
    exact = bool(labelled) and sorted(words) == ["best", "worst"] and best is not None and worst is not None
    status: Status = "exact" if exact else "repaired" if best or worst else "no_answer"
    if unclosed or (cut and not tagged):
        status = "truncated"
    return Ends(_place(best), _place(worst), status, extra, len(given) - len(valid))


_NAMED = re.compile(
    r"\b(best|worst)\b[\s:：=*\"'\[(]{0,9}(?:passage[\s\[]{1,3})?(\d{1,9})(?=[\]\s,;.)*\"'}]|$)", re.IGNORECASE
)
_SAID = re.compile(
    r"\b(best|worst)(?:\s{1,3}(?:one|passage|candidate|of|all|them|these|is|being|the)){1,5}\s{1,3}[*_]{0,3}\[\s{0,9}(\d{1,9})\s{0,9}\]",
    re.IGNORECASE,
)
"""Named in words: "the best one is [3]"."""


def _form(best: int, worst: int) -> str:
    return f"best: [{best}], worst: [{worst}]"


def _place(number: int | None) -> int | None:
    return None if number is None else number - 1
