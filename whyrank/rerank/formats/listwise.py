"""Ordering passages: a model lists the numbers of all passages, the best first."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from whyrank.llm.base import Ok, Prompt, Sampling
from whyrank.rerank.formats.base import (
    HELPFUL,
    NUMBER,
    THINK_FIRST,
    THOUGHT,
    Format,
    Native,
    Status,
    answer_region,
    best_first,
    completion,
    prompt_of,
    to_number,
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The order that an answer gives to n passages.

    Attributes:
        permutation: of range(n), best first. Passages that the model left out follow in input order.
        status: "exact": every number once, nothing else; "repaired": some missing, twice or out of range; "truncated":
            cut off before its end, what there is of it is used; "no_answer": no number to be found, the input order is
            kept; "failed": the call itself brought nothing.
        missing: how many of the n passages the model did not name.
        duplicate: how many numbers it gave again.
        out_of_range: how many numbers below 1 or above n it gave.
    """

    permutation: tuple[int, ...]
    status: Status
    missing: int = 0
    duplicate: int = 0
    out_of_range: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """The three kinds of repair."""
        return {"missing": self.missing, "duplicate": self.duplicate, "out_of_range": self.out_of_range}


_LIST = (
    "all passage numbers in square brackets, the most helpful passage first, joined by ' > '. Name every passage "
    "exactly once, the unhelpful ones last."
)


class _Ordering(Format[Parsed]):
    def parse(self, completion: Ok, n: int) -> Parsed:
        """The order that the answer lists, in its last `<answer>` block or alone, see `parse_permutation`."""
        return parse_permutation(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The passages by falling utility."""
        return completion(_listed(utilities), thought, self.think)


@dataclass(frozen=True)
class Reasoned(Native, _Ordering):
    """Order passages after thinking: `<think>`, then the list in `<answer>`, as ReasonRank does (2508.07050, 2025).

    Attributes:
        native: for models that think by themselves (Qwen3, DeepSeek-R1): only the answer's tag is asked for.
    """

    native: bool = False

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        how = THINK_FIRST[self.think]
        task = (
            f"{HELPFUL}{how}: work out what the query really asks for and what a full answer needs, then weigh the "
            f"passages against that and against each other. Then write the ranking between <answer> and </answer>: "
            f"{_LIST} For three passages an answer could be: <answer>[2] > [3] > [1]</answer>"
        )
        return _prompt(task, query, passages, f"Write {THOUGHT[self.think]}<answer> the ranking </answer>.", sampling)


@dataclass(frozen=True)
class Direct(_Ordering):
    """Order passages at once, without written reasoning, as RankGPT does (2304.09542, 2023)."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        how = "Answer with the ranking and nothing else"
        task = f"{HELPFUL}{how}: {_LIST} For three passages an answer could be: [2] > [3] > [1]"
        return _prompt(task, query, passages, "Write the ranking only.", sampling)


def parse_permutation(text: str, n: int, cut: bool = False) -> Parsed:
    """The order of n passages that a completion gives; always a permutation, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one the longest list. Numbers count when
    they stand in brackets; bare ones only where there is nothing but a list of them. `[2]-[5]` puts the numbers between
    in their place, but they count as missing. A JSON map gives ranks where its values are 1, 2, 3 …, else scores.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Examples:
        >>> parse_permutation("<think>[1]?</think><answer>[3] > [1]</answer>", 3)
        Parsed(permutation=(2, 0, 1), status='repaired', missing=1, duplicate=0, out_of_range=0)
    """
    region, tagged, unclosed = answer_region(text)
    given = numbers(region, tagged)
    valid = [number for number in given if 1 <= number <= n]
    placed = [number for number in numbers(_spread(region, given, n), tagged) if 1 <= number <= n]
    order = dict.fromkeys([*placed, *range(1, n + 1)])
    missing, duplicate, out_of_range = n - len(set(valid)), len(valid) - len(set(valid)), len(given) - len(valid)
    exact = bool(valid) and not (missing or duplicate or out_of_range)
    status: Status = "exact" if exact else "repaired" if valid else "no_answer"
    if unclosed or (cut and not tagged and not exact):
        status = "truncated"
    return Parsed(tuple(number - 1 for number in order), status, missing, duplicate, out_of_range)


_GROUP = re.compile(r"""\[\s*["']?\d+["']?(?:\s*[,;>=]\s*["']?\d+["']?)*\s*\]""")  # [2], [02], [2, 1, 3], ["2", "1"]
_GAP = re.compile(
    r"""(?:[\s>=≥,;:|/&*•·→"'`…–—.-]|\b(?:and|then|to)\b|\d+[.)](?=\s))*"""
)  # what may stand inside a list
_RANGE = re.compile(r"\[\s*(\d+)\s*\]\s*(?:-|–|—|to\b|\.{2,3}|…)\s*\[\s*(\d+)\s*\]")
_BARE = re.compile(r"\s*\d+(?:[\s>=,;]+\d+)*[\s.]*")


def numbers(region: str, tagged: bool) -> list[int]:
    """The numbers that the region lists, in its order, as they are written."""
    if ranked := _mapped(region):
        return ranked
    groups = list(_GROUP.finditer(region))
    if not groups:
        return [to_number(digits) for digits in NUMBER.findall(region)] if _BARE.fullmatch(region) else []
    return [
        to_number(digits)
        for group in (groups if tagged else _list(region, groups))
        for digits in NUMBER.findall(group[0])
    ]


def _list(region: str, groups: list[re.Match[str]]) -> list[re.Match[str]]:
    """The longest unbroken list among groups that stand in prose (the last of equals), or all where there is none."""
    chains = [[groups[0]]]
    for before, group in pairwise(groups):
        if _GAP.fullmatch(region, before.end(), group.start()):
            chains[-1].append(group)
        else:
            chains.append([group])
    longest = max(reversed(chains), key=lambda chain: sum(len(NUMBER.findall(group[0])) for group in chain))
    return longest if len(NUMBER.findall("".join(group[0] for group in longest))) > 1 else groups


def _mapped(region: str) -> list[int]:
    """The order that a JSON map from passage numbers to ranks or scores gives; empty where the region is none."""
    if not region.strip().startswith("{"):
        return []
    try:
        pairs = json.loads(region, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return []
    keys = [NUMBER.findall(key) for key, _ in pairs]
    values = [value for _, value in pairs]
    if any(len(key) != 1 for key in keys) or not all(
        isinstance(value, int | float) and value == value for value in values
    ):
        return []
    ranks = sorted(values) == list(range(1, len(values) + 1))
    by = sorted(range(len(pairs)), key=lambda at: values[at] if ranks else -values[at])
    return [to_number(keys[at][0]) for at in by]


def _spread(region: str, given: list[int], n: int) -> str:
    """The region with the numbers between the ends of a range written out, if they are given nowhere else."""

    def write_out(match: re.Match[str]) -> str:
        low, high = to_number(match[1]), to_number(match[2])
        if not 1 <= low < high <= n or not set(given).isdisjoint(range(low + 1, high)):
            return match[0]
        return " ".join(f"[{number}]" for number in range(low, high + 1))

    return _RANGE.sub(write_out, region)


def _listed(utilities: Sequence[float]) -> str:
    return " > ".join(f"[{at + 1}]" for at in best_first(utilities))


def _prompt(task: str, query: str, passages: Sequence[str], how: str, sampling: Sampling | None) -> Prompt:
    n = len(passages)
    reminder = f"Rank these {n} passages for the query above. Name each number from [1] to [{n}] once. {how}"
    return prompt_of(task, query, passages, reminder, sampling)
