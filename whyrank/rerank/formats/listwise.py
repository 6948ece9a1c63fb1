"""Ordering passages: a model lists the numbers of all passages, the best first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from whyrank.llm.answer import Ok
from whyrank.llm.constraint import list_of
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
from whyrank.rerank.formats.lists import listed
from whyrank.types import Repairs, Status


@dataclass(frozen=True, slots=True)
class Permutation:
    """The order that an answer gives to n passages.

    Attributes:
        permutation: of range(n), best first. Passages that the model left out follow in input order.
        status: "exact": every number once, nothing else; "repaired": some missing, twice or out of range, or the list
            was turned round; "truncated":
            cut off before its end, what there is of it is used; "no_answer": no number to be found, the input order is
            kept; "failed": the call itself brought nothing.
        missing: how many of the n passages the model did not name.
        duplicate: how many numbers it gave again.
        out_of_range: how many numbers below 1 or above n it gave.
    """

    given_by: ClassVar[str] = "one that orders the passages, such as ranking()"

    permutation: tuple[int, ...]
    status: Status
    missing: int = 0
    duplicate: int = 0
    out_of_range: int = 0

    @property
    def repairs(self) -> Repairs:
        """The three kinds of repair."""
        return Repairs(self.missing, self.duplicate, self.out_of_range)


_LIST = (
    "all passage numbers in square brackets, the most helpful passage first, joined by ' > '. Name every passage "
    "exactly once, the unhelpful ones last."
)


@renamed(native=NATIVE)
@dataclass(frozen=True)
class RankingFormat(Constrainable[Permutation], Listing[Permutation]):
    """Order all passages: a list of their numbers, as RankGPT (2304.09542, 2023) asks for.

    After a thought the list stands in `<answer>`, as ReasonRank writes it (2508.07050, 2025).

    Attributes:
        think: "asked" asks for a thought between <think> and </think> first; "native" is for models that think by
            themselves (Qwen3, DeepSeek-R1): only the answer's tag is asked for; "no" asks for the list alone.
        constrained: whether engines that can keep the model to a list of the numbers do so; without a thought only.

    Raises:
        BadInput: `constrained` with a thought.
    """

    think: Think = "asked"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        if self.think == "no":
            how = f"Answer with the ranking and nothing else: {_LIST}"
            form, reminder = "[2] > [3] > [1]", "Write the ranking only."
        else:
            how = (
                f"{THINK_FIRST[self.think]}: work out what the query really asks for and what a full answer needs, "
                f"then weigh the passages against that and against each other. Then write the ranking between <answer> "
                f"and </answer>: {_LIST}"
            )
            form = "<answer>[2] > [3] > [1]</answer>"
            reminder = f"Write {THOUGHT[self.think]}<answer> the ranking </answer>."
        n = len(passages)
        asked = f"Rank these {n} passages for the query above. Name each number from [1] to [{n}] once."
        task = f"{HELPFUL}{how} For three passages an answer could be: {form}"
        prompt = prompt_of(task, query, passages, f"{asked} {reminder}", sampling)
        return replace(prompt, constraint=list_of(numbered(n), " > ")) if self.constrained else prompt

    def parse(self, completion: Ok, n: int) -> Permutation:
        """The order that the answer lists, in its last `<answer>` block or alone, see `parse_permutation`."""
        return parse_permutation(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The passages by falling utility."""
        listed = " > ".join(f"[{at + 1}]" for at in best_first(utilities))
        return completion(listed, thought, self.think)


def parse_permutation(text: str, n: int, cut: bool = False) -> Permutation:
    """The order of n passages that a completion gives; always a permutation, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one what is a list by itself, or is led to
    as to a decision, "Final ranking: [3] > [1]". Other prose orders nothing. Numbers count when they stand in brackets;
    bare ones, `(3)` and "passage 3" only where there is nothing but a list of them. `[2]-[5]` puts the numbers between
    in their place, but they count as missing. `[1] < [3]` has the worst first. A JSON map gives ranks where its values
    are 1, 2, 3 …, else scores.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Examples:
        >>> parse_permutation("<think>[1]?</think><answer>[3] > [1]</answer>", 3)
        Permutation(permutation=(2, 0, 1), status='repaired', missing=1, duplicate=0, out_of_range=0)
    """
    region, tagged, unclosed = answer_region(text)
    given, placed, mended = listed(region, n, tagged, cut)
    valid = [number for number in given if 1 <= number <= n]
    order = dict.fromkeys([*(number for number in placed if 1 <= number <= n), *range(1, n + 1)])
    missing, duplicate, out_of_range = n - len(set(valid)), len(valid) - len(set(valid)), len(given) - len(valid)
    exact = bool(valid) and not (missing or duplicate or out_of_range or mended)
    status: Status = "exact" if exact else "repaired" if valid else "no_answer"
    if unclosed or (cut and not tagged and not exact):
        status = "truncated"
    return Permutation(tuple(number - 1 for number in order), status, missing, duplicate, out_of_range)
