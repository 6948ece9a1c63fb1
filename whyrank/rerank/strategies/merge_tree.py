"""A merge tree: disjoint windows are ordered at once, and their best are merged until one window is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from whyrank.errors import BadInput
from whyrank.fields import AtLeast, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategy import Asker, Strategy, ordered
from whyrank.rerank.templates.published import by_default


@dataclass(frozen=True)
class MergeTree(Strategy[Permutation]):
    """Orders disjoint windows, keeps the best `keep` of each, and merges neighbours, as many as one window holds.

    The candidates are dealt to the windows in turn, so that none has all the good ones of the first stage: in
    simulation (docs/simulate.md) that finds more than blocks of neighbours do, above all with a small `keep`.

    If the model orders each window rightly, the best `keep` are exactly right, and all where n <= window. For n
    candidates in m = ⌈n / window⌉ windows it asks at most 2m - 1 times, in at most 1 + ⌈log2 m⌉ rounds: 9 calls in 4
    rounds for 100, where a sliding window needs the same 9 calls in 9 rounds. A smaller `keep` merges more lists at
    once: `keep=4` is a funnel of 6 calls in 2 rounds. Those that drop out follow by how far they came.

    Attributes:
        llm: the model.
        window: how many passages are shown at a time, at least 2.
        keep: how many of each window go on, 1 to half the window; None is half the window.
        format: the prompt and how its answer is read: `ranking()` or `ranking(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: `window` below 2, `keep` outside 1 to half of it, or `max_passage_tokens` below 1.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.strategies.merge_tree import MergeTree
        >>> MergeTree(Fake("[2] > [1]"), window=10)
        merge_tree(fake(answer='[2] > [1]'), window=10)
    """

    window: Annotated[int, AtLeast(2)] = 20
    keep: Positive | None = None
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse sizes with which no two lists could be merged."""
        if self.kept > self.window // 2:
            raise BadInput(
                f"merge_tree: keep must be from 1 to half the window, {self.window // 2}, for two lists to fit into a "
                f"window; not {self.keep}"
            )

    @property
    def kept(self) -> int:
        """How many of each window go on, also where that is left to the window."""
        return self.window // 2 if self.keep is None else self.keep

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        count = -(-asker.n // self.window)
        groups = [list(range(start, asker.n, count)) for start in range(count)]
        lists: list[list[int]] = yield from ordered(asker, groups)
        dropped: list[int] = []
        while len(lists) > 1:
            dropped = _by_rank([some[self.kept :] for some in lists]) + dropped
            bundles = _bundles([some[: self.kept] for some in lists], self.window)
            merged = iter((yield from ordered(asker, [_by_rank(bundle) for bundle in bundles if len(bundle) > 1])))
            lists = [next(merged) if len(bundle) > 1 else bundle[0] for bundle in bundles]
        return asker.order([*(lists[0] if lists else ()), *dropped])


def _bundles(lists: Sequence[list[int]], window: int) -> list[list[list[int]]]:
    """Neighbouring lists taken together, as long as all of them fit into one window."""
    bundles: list[list[list[int]]] = []
    room = 0
    for some in lists:
        if len(some) > room:
            bundles.append([])
            room = window
        bundles[-1].append(some)
        room -= len(some)
    return bundles


def _by_rank(lists: Sequence[Sequence[int]]) -> list[int]:
    """All firsts, then all seconds, and so on; those of one rank as the first stage had them."""
    placed = sorted((place, at) for some in lists for place, at in enumerate(some))
    return [at for _, at in placed]
