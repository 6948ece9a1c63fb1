"""Choosing one passage: a model names the one that helps most."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from whyrank.llm.answer import Ok
from whyrank.llm.constraint import one_of
from whyrank.llm.messages import Prompt, Sampling
from whyrank.renamed import renamed
from whyrank.rerank.formats.base import (
    HELPFUL,
    NATIVE,
    THINK_FIRST,
    THOUGHT,
    Constrainable,
    Listing,
    Think,
    answer_region,
    best_first,
    completion,
    numbered,
    prompt_of,
)
from whyrank.rerank.formats.lists import SIGNED, is_list, listed
from whyrank.rerank.formats.maps import to_number
from whyrank.types import Repairs, Status


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

    given_by: ClassVar[str] = "one that chooses a passage, such as choice()"

    best: int | None
    status: Status
    extra: int = 0
    out_of_range: int = 0

    @property
    def repairs(self) -> Repairs:
        """What the model wrote too much."""
        return Repairs(extra=self.extra, out_of_range=self.out_of_range)


@renamed(native=NATIVE)
@dataclass(frozen=True)
class ChoiceFormat(Constrainable[Choice], Listing[Choice]):
    """Choose the passage that helps most: its number, as Setwise asks for (2310.09497, 2023).

    After a thought the number stands in `<answer>`, as Rank-R1 writes it (2503.06034, 2025).

    Attributes:
        think: as of `RankingFormat`.
        constrained: whether engines that can keep the model to one of the numbers do so; without a thought only.

    Raises:
        BadInput: `constrained` with a thought.
    """

    think: Think = "asked"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        if self.think == "no":
            how = "Choose the one passage that helps most. Answer with its number in square brackets and nothing else."
            form, reminder = "[2]", "Write its number only."
        else:
            how = (
                f"{THINK_FIRST[self.think]}: work out what the query really asks for and what a full answer needs, "
                f"then say of each passage what it adds to that, then choose the one passage that helps most. Then "
                f"write its number in square brackets between <answer> and </answer>."
            )
            form, reminder = "<answer>[2]</answer>", f"Write {THOUGHT[self.think]}<answer> its number </answer>."
        asked = f"Which one of these {len(passages)} passages helps most with the query above?"
        task = f"{HELPFUL}{how} An answer could be: {form}"
        prompt = prompt_of(task, query, passages, f"{asked} {reminder}", sampling)
        return replace(prompt, constraint=one_of(numbered(len(passages)))) if self.constrained else prompt

    def parse(self, completion: Ok, n: int) -> Choice:
        """The number that the answer gives, in its last `<answer>` block or alone, see `parse_choice`."""
        return parse_choice(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The number of the passage with the highest utility."""
        best = "".join(f"[{at + 1}]" for at in best_first(utilities)[:1])
        return completion(best, thought, self.think)


def parse_choice(text: str, n: int, cut: bool = False) -> Choice:
    """The one of n passages that a completion names, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one all of it. What is nothing but a number,
    in any form ("[2]", "Passage 2", "**2**", "Answer: 2"), or a list of them, names its first. In prose a number in
    brackets counts only where words decide for it ("[3] helps most", "I choose [3]"), and for no other; in the tag also
    where it is the only one. Where the engine cut off a text without the tag, only a number that the text begins with
    counts: the rest may be a thought that was not finished.

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
    given = _chosen(_first(region) if unfinished else region, n, tagged)
    given += [0 for _ in SIGNED.finditer(region)]
    valid = [one for one in given if 1 <= one <= n]
    extra, out_of_range = max(len(valid) - 1, 0), len(given) - len(valid)
    status: Status = "no_answer" if not valid else "repaired" if extra or out_of_range else "exact"
    if unclosed or unfinished:
        status = "truncated"
    return Choice(valid[0] - 1 if valid else None, status, extra, out_of_range)


def _chosen(region: str, n: int, tagged: bool) -> list[int]:
    """The number that a region chooses, and those that it lists behind it."""
    bare = _LEAD.sub("", region)
    if is_list(bare):
        return list(listed(bare, n, tagged=True).numbers)
    decided = {to_number(one[1] or one[2]) for one in _DECIDED.finditer(region) if not _REFUSED.search(one[0])}
    named = [to_number(digits) for digits in _LABEL.findall(region)]
    if len(decided) == 1 and decided <= set(named):
        (best,) = decided
        return [best, *(one for one in dict.fromkeys(named) if one != best and 1 <= one <= n)]
    valid = {one for one in named if 1 <= one <= n}
    if tagged and len(valid) == 1:
        return named
    return [one for one in named if one not in valid]


def _first(region: str) -> str:
    """The bracket that a text begins with, or nothing."""
    start, bracket, _ = region.lstrip().partition("]")
    return start + bracket if start.startswith("[") else ""


_LABEL = re.compile(r"\[\s{0,9}(?:passage\s{0,3})?(\d+)\s{0,9}\]", re.IGNORECASE)
_LEAD = re.compile(
    r"\A[\s*_`#]{0,9}(?:(?:the|my)\s)?(?:(?:final|best)\s)?(?:answer|choice|passage)(?:\s{1,3}is|\s{0,3}[:：])[\s*_`]{0,9}",
    re.IGNORECASE,
)
_DECIDED = re.compile(
    r"\[\s{0,9}(\d{1,9})\s{0,9}\][*_`]{0,3}\s{1,3}(?:\w{1,12}\s){0,2}?(?:helps?\b(?:\s\w{1,12}){0,2}?\smost|answers|is\s(?:the\s)?(?:\w{1,12}\s)?(?:best|most)"
    r"|helps(?=\W|\Z)|wins|settles)\b"
    r"|\b(?:choose|pick|select|best|answer|choice|most\shelpful)\b[^.!?\n\[\]]{0,40}\[\s{0,9}(\d{1,9})\s{0,9}\]",
    re.IGNORECASE,
)
"""A choice in words: "[3] helps most", "[3] is the best", "the best is [3]", "I choose [3]"."""
_REFUSED = re.compile(r"\b(?:not|no|never|cannot|nor|neither|hardly|less|part|partly)\b|n['’]t\b", re.IGNORECASE)
