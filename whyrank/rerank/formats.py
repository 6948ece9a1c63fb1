"""Formats: how a question about passages is put to a model, and how its answer is read; render beside parse.

A format is a part with two methods: `render` makes the prompt, `parse` reads the completion of that prompt. A parser
is pure, never raises, and says how well the model kept to the format (`Status`), so that repairs are counted and
shown. Training rewards read completions with the same functions, here `parse_permutation`.

Prompts put what all calls share first (instructions, then the query) and the passages last, so that the prefix caches
of engines help. Only an answer is ever read: not the thought, and never the text of an error.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar, get_args

from whyrank.llm.base import Completion, Failed, Message, Ok, Piece, Prompt, Sampling, split_reasoning
from whyrank.registry import Part

Status = Literal["exact", "repaired", "truncated", "no_answer", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)

Answer = TypeVar("Answer")


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


class Format(Part, ABC, Generic[Answer]):
    """What every format is; `Answer` is what `parse` reads: `Parsed` where passages are to be ordered."""

    @abstractmethod
    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """The prompt that asks about `passages`, numbered from 1."""

    @abstractmethod
    def parse(self, completion: Ok, n: int) -> Answer:
        """What the model answered about n passages; any text gives a valid answer and a status."""


_TASK = (
    "You rank passages by how much they help to answer a query. A passage helps when it holds the answer, or a fact, "
    "principle, method or example that the answer rests on. Sharing words with the query does not make a passage "
    "helpful, and a passage may help without sharing any.\n\n"
)
_LIST = (
    "all passage numbers in square brackets, the most helpful passage first, joined by ' > '. Name every passage "
    "exactly once, the unhelpful ones last."
)


@dataclass(frozen=True)
class Reasoned(Format[Parsed]):
    """Order passages after thinking: `<think>`, then the list in `<answer>`, as ReasonRank does (2508.07050, 2025).

    Attributes:
        native: for models that think by themselves (Qwen3, DeepSeek-R1): only the answer's tag is asked for.
    """

    native: bool = False

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        how = "Think first" if self.native else "Think first, between <think> and </think>"
        task = (
            f"{_TASK}{how}: work out what the query really asks for and what a full answer needs, then weigh the "
            f"passages against that and against each other. Then write the ranking between <answer> and </answer>: "
            f"{_LIST} For three passages an answer could be: <answer>[2] > [3] > [1]</answer>"
        )
        think = "" if self.native else "<think> your thinking </think> and then "
        return _prompt(task, query, passages, f"Write {think}<answer> the ranking </answer>.", sampling)

    def parse(self, completion: Ok, n: int) -> Parsed:
        """The order in the last `<answer>` block, see `parse_permutation`."""
        return parse_permutation(completion.text, n, cut=completion.finish == "length")


@dataclass(frozen=True)
class Direct(Format[Parsed]):
    """Order passages at once, without written reasoning, as RankGPT does (2304.09542, 2023)."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        how = "Answer with the ranking and nothing else"
        task = f"{_TASK}{how}: {_LIST} For three passages an answer could be: [2] > [3] > [1]"
        return _prompt(task, query, passages, "Write the ranking only.", sampling)

    def parse(self, completion: Ok, n: int) -> Parsed:
        """The order that the answer lists, see `parse_permutation`."""
        return parse_permutation(completion.text, n, cut=completion.finish == "length")


def clean(text: str) -> str:
    r"""A passage in one line, where `[12]` has become `(12)`, so that nothing in it looks like a passage's number.

    Example:
        >>> clean("as  shown [12]\nby others")
        'as shown (12) by others'
    """
    encodable = text.encode("utf-8", "replace").decode()
    return " ".join(_LABEL.sub(r"(\1)", encodable).split())


def read(format: Format[Parsed], completion: Completion, n: int) -> tuple[Parsed, dict[str, Any]]:
    """The order that a completion gives, and the report of the call for notes; a failed call keeps the input order."""
    if isinstance(completion, Failed):
        kept = Parsed(tuple(range(n)), "failed", missing=n)
        return kept, {"status": kept.status, "failure": completion.kind, "detail": completion.detail}
    parsed = format.parse(completion, n)
    counts = {"missing": parsed.missing, "duplicate": parsed.duplicate, "out_of_range": parsed.out_of_range}
    return parsed, {"status": parsed.status, **counts, "finish": completion.finish, "reason": thought(completion)}


def thought(completion: Ok) -> str:
    """What the model wrote before its answer: its reasoning, wherever the engine left it, or what precedes the tag."""
    reasoning, answer = split_reasoning(completion.text)
    before, *block = _OPEN.split(answer, maxsplit=1)
    return completion.reasoning or reasoning or (before.strip() if block else "")


def parse_permutation(text: str, n: int, cut: bool = False) -> Parsed:
    """The order of n passages that a completion gives; always a permutation, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one the longest list. Numbers count when
    they stand in brackets; bare ones only where there is nothing but a list of them. `[2]-[5]` puts the numbers between
    in their place, but they count as missing. A JSON map gives ranks where its values are 1, 2, 3 …, else scores.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Example:
        >>> parse_permutation("<think>[1]?</think><answer>[3] > [1]</answer>", 3)
        Parsed(permutation=(2, 0, 1), status='repaired', missing=1, duplicate=0, out_of_range=0)
    """
    region, tagged, unclosed = _region(text)
    given = _numbers(region, tagged)
    valid = [number for number in given if 1 <= number <= n]
    placed = [number for number in _numbers(_spread(region, given, n), tagged) if 1 <= number <= n]
    order = dict.fromkeys([*placed, *range(1, n + 1)])
    missing, duplicate, out_of_range = n - len(set(valid)), len(valid) - len(set(valid)), len(given) - len(valid)
    exact = bool(valid) and not (missing or duplicate or out_of_range)
    status: Status = "exact" if exact else "repaired" if valid else "no_answer"
    if unclosed or (cut and not tagged and not exact):
        status = "truncated"
    return Parsed(tuple(number - 1 for number in order), status, missing, duplicate, out_of_range)


_LABEL = re.compile(r"[\[【［〔]\s*(\d+)\s*[\]】］〕]")
_PLAIN = str.maketrans(
    {"【": "[", "［": "[", "〔": "[", "】": "]", "］": "]", "〕": "]", "＞": ">", "，": ",", "、": ",", "\\": ""}
)
_FENCE = re.compile(r"```\w*")
_THINK, _THINK_END = re.compile(r"<think>", re.IGNORECASE), re.compile(r"</think>", re.IGNORECASE)
_OPEN, _CLOSE = re.compile(r"<answer>", re.IGNORECASE), re.compile(r"</answer>", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_GROUP = re.compile(r"""\[\s*["']?\d+["']?(?:\s*[,;>=]\s*["']?\d+["']?)*\s*\]""")  # [2], [02], [2, 1, 3], ["2", "1"]
_GAP = re.compile(
    r"""(?:[\s>=≥,;:|/&*•·→"'`…–—.-]|\b(?:and|then|to)\b|\d+[.)](?=\s))*"""
)  # what may stand inside a list
_RANGE = re.compile(r"\[\s*(\d+)\s*\]\s*(?:-|–|—|to\b|\.{2,3}|…)\s*\[\s*(\d+)\s*\]")
_BARE = re.compile(r"\s*\d+(?:[\s>=,;]+\d+)*[\s.]*")


def _region(text: str) -> tuple[str, bool, bool]:
    """Where the answer stands; whether in an `<answer>` block; whether that block, or a thought, was never closed."""
    answer, *thinking = _THINK.split(_THINK_END.split(text)[-1], maxsplit=1)
    *before, block = _OPEN.split(answer)
    region, *closed = _CLOSE.split(block, maxsplit=1)
    unclosed = not closed and bool(before or thinking)
    return _FENCE.sub(" ", region.translate(_PLAIN)), bool(before), unclosed


def _numbers(region: str, tagged: bool) -> list[int]:
    """The numbers that the region lists, in its order, as they are written."""
    if ranked := _mapped(region):
        return ranked
    groups = list(_GROUP.finditer(region))
    if not groups:
        return [_int(digits) for digits in _NUMBER.findall(region)] if _BARE.fullmatch(region) else []
    return [
        _int(digits) for group in (groups if tagged else _list(region, groups)) for digits in _NUMBER.findall(group[0])
    ]


def _list(region: str, groups: list[re.Match[str]]) -> list[re.Match[str]]:
    """The longest unbroken list among groups that stand in prose (the last of equals), or all where there is none."""
    chains = [[groups[0]]]
    for before, group in pairwise(groups):
        if _GAP.fullmatch(region, before.end(), group.start()):
            chains[-1].append(group)
        else:
            chains.append([group])
    longest = max(reversed(chains), key=lambda chain: sum(len(_NUMBER.findall(group[0])) for group in chain))
    return longest if len(_NUMBER.findall("".join(group[0] for group in longest))) > 1 else groups


def _mapped(region: str) -> list[int]:
    """The order that a JSON map from passage numbers to ranks or scores gives; empty where the region is none."""
    if not region.strip().startswith("{"):
        return []
    try:
        pairs = json.loads(region, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return []
    keys = [_NUMBER.findall(key) for key, _ in pairs]
    values = [value for _, value in pairs]
    if any(len(key) != 1 for key in keys) or not all(
        isinstance(value, int | float) and value == value for value in values
    ):
        return []
    ranks = sorted(values) == list(range(1, len(values) + 1))
    by = sorted(range(len(pairs)), key=lambda at: values[at] if ranks else -values[at])
    return [_int(keys[at][0]) for at in by]


def _spread(region: str, given: list[int], n: int) -> str:
    """The region with the numbers between the ends of a range written out, if they are given nowhere else."""

    def write_out(match: re.Match[str]) -> str:
        low, high = _int(match[1]), _int(match[2])
        if not 1 <= low < high <= n or not set(given).isdisjoint(range(low + 1, high)):
            return match[0]
        return " ".join(f"[{number}]" for number in range(low, high + 1))

    return _RANGE.sub(write_out, region)


def _int(digits: str) -> int:
    return int(digits) if len(digits) < 10 else 0  # no list has 10**9 passages: such a number is out of range


def _prompt(task: str, query: str, passages: Sequence[str], reminder: str, sampling: Sampling | None) -> Prompt:
    asked = query.encode("utf-8", "replace").decode().strip()
    pieces = [Piece("Query: "), Piece(asked, cut="query"), Piece("\n\nPassages:\n")]
    for number, passage in enumerate(passages, start=1):
        pieces += [Piece(f"\n[{number}] "), Piece(clean(passage) or "(empty)", cut="document")]
    n = len(passages)
    pieces.append(
        Piece(f"\n\nRank these {n} passages for the query above. Name each number from [1] to [{n}] once. {reminder}")
    )
    return Prompt((Message("system", (Piece(task),)), Message("user", tuple(pieces))), sampling or Sampling())
