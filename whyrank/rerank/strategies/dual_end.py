"""Reranking from both ends: each call names the best and the worst of what is left."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from whyrank.fields import AtLeast, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import BestWorst, Ends, Format
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default


@dataclass(frozen=True)
class DualEnd(Strategy[Ends]):
    """Shows the whole pool and takes out the best and the worst, until the best k are found in order.

    If the model always names rightly, the top k is exactly right, and so is, in a pool that is shown whole, what was
    taken out below; the rest between keeps its order. For n candidates there are min(k, ⌊n / 2⌋) calls, one after the
    other: 10 for the top 10 of 100, and 50 for the whole order, as published. An end that an answer does not name is
    what the first stage has there, so that the calls are never more.

    A pool larger than the window is dealt into groups, each a pool of its own, and what is shown is the best of each;
    only the group that gave the last winner is asked again. For n up to window² that is at most ⌈n / window⌉ + 2k - 1
    calls in 2k rounds: 24 in 20 for the top 10 of 100 by a window of 20, where setwise's heap takes about 21 and the
    sliding window 9. So it pays where naming one is much easier for a model than ordering all, and where it reads long
    prompts well: the whole pool of 100 means 910 passages shown for the top 10, a window of 20 about 300, where the
    sliding window shows 180.

    Source: DualEnd (2606.01782, 2026), which shows the whole pool; the groups are ours.

    Attributes:
        llm: the model.
        k: how many of the best are found, at least 1; half the candidates or more sorts them all.
        window: how many passages are shown at a time, at least 2.
        format: the prompt and how its answer is read: `best_worst()`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a size that is too small.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.strategies.dual_end import DualEnd
        >>> ranked = DualEnd(Fake("<answer>best: [2], worst: [1]</answer>")).rank("why?", ["one", "two", "three"])
        >>> [item.index for item in ranked]
        [1, 2, 0]
    """

    k: Positive = 10
    window: Annotated[int, AtLeast(2)] = 100
    format: Format[Ends] = field(default_factory=by_default(BestWorst), kw_only=True)

    def _plan(self, asker: Asker[Ends]) -> Plan[Order]:
        n = asker.n
        pool, top = _Pool(range(n), self.window), list[int]()
        while len(top) < min(self.k, n):
            top += yield from _take(asker, [pool])
        return asker.order([*top, *pool.rest(set(top))])


class _Pool:
    """Candidates of which the best can be taken out: at most `window`, or as many groups of them.

    Attributes:
        open: what may be the best of those still here; of groups, the best of each.
        worst: what is known to be below `open`, best first; groups have none.
        groups: the smaller pools; none where all are shown at once.
    """

    def __init__(self, candidates: Sequence[int], window: int) -> None:
        self.candidates, self.worst, self.groups = candidates, list[int](), list[_Pool]()
        self.open = list(candidates)
        if len(candidates) > window:
            count = min(window, -(-len(candidates) // window))
            self.groups = [_Pool(candidates[number::count], window) for number in range(count)]
            self.open = []
        self.left, self.given = len(candidates), dict[int, _Pool]()

    def hungry(self) -> list["_Pool"]:
        """The groups whose best is not known."""
        return [group for group in self.groups if group.left and group not in self.given.values()]

    def take(self, ends: Ends) -> int:
        """Take out the best of `open`; the worst goes below. An end that is not named is the first stage's."""
        best = min(self.open) if ends.best is None else self.open[ends.best]
        if ends.best is None and ends.worst is not None:
            best = min(at for place, at in enumerate(self.open) if place != ends.worst)
        others = [at for at in self.open if at != best]
        if not self.groups:
            worst = max(others) if ends.worst is None else self.open[ends.worst]
            others.remove(worst)
            self.worst.insert(0, worst)
        self.open, self.left = others, self.left - 1
        self.given.pop(best, None)
        return best

    def only(self) -> int:
        """Take out the best where nobody has to be asked."""
        best = (self.open or self.worst).pop(0)
        self.left -= 1
        self.given.pop(best, None)
        return best

    def rest(self, taken: set[int]) -> list[int]:
        """What has not been taken out: as the first stage had it, and below it what is known to be the worst."""
        if self.groups:
            return [at for at in self.candidates if at not in taken]
        return [*self.open, *self.worst]


def _take(asker: Asker[Ends], pools: Sequence[_Pool]) -> Plan[list[int]]:
    """The best of each pool, taken out of it; what can be asked at once is one round."""
    hungry = [(pool, group) for pool in pools for group in pool.hungry()]
    if hungry:
        winners = yield from _take(asker, [group for _, group in hungry])
        for (pool, group), winner in zip(hungry, winners, strict=True):
            insort(pool.open, winner)
            pool.given[winner] = group
    answers = iter((yield from asker.ask([pool.open for pool in pools if len(pool.open) > 1])))
    return [pool.take(next(answers)) if len(pool.open) > 1 else pool.only() for pool in pools]
