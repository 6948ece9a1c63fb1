"""Setwise reranking: the model chooses the best of a few passages, and a sorting algorithm asks only what it must."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from whyrank.fields import Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Choice, ChoiceFormat, Format
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default

Method = Literal["heap", "insertion"]


@dataclass(frozen=True)
class Setwise(Strategy[Choice]):
    """Finds the top k, in order, by asking for the best of up to `children + 1` passages; the rest keep their order.

    If the model always chooses rightly, the top k is exactly right. A call without an answer chooses what the first
    stage had highest. The two methods, for 100 candidates and k = 10, with a perfect model behind a first stage that
    errs as much as it knows (Gaussian noise of the size of the signal), on average of 200 draws:

    - "heap" sorts with a heap in which each passage has up to `children` below it. 20.6 calls at 19 children, 30.2 at
      9, 75.5 at 3, 122.5 at 2 (the published code, behind another first stage: 20.9, 30.3, 77.4, 125.3). There each
      call waits for the one before, here the parts of the heap that do not touch are built at once: 16.6, 22.2, 42.3
      and 65.8 rounds.
    - "insertion" keeps the best k sorted and asks, block by block, whether any of the next `children` beats the k-th.
      What does is put into its place by binary search, ⌈log2 k⌉ calls or fewer on two passages; a block where nothing
      does is done with in one call. 14 calls at 19 children where the first stage is right, 41.2 as above; 49.5 at 9,
      78.3 at 3, 98.7 at 2, in as many rounds. It shows fewer passages than the heap (310 instead of 393 at 19 children,
      263 instead of 366 at 2), so it pays for few children, or where passages cost more than calls.

    Sources: Setwise (2310.09497, 2023) and Rank-R1 (2503.06034, 2025) for the heap, setwise insertion (2504.10509,
    2025) for the use of the first stage's order.

    Attributes:
        llm: the model.
        k: how many of the best are found, at least 1.
        children: how many passages are shown beside the one they are compared with, at least 1.
        method: "heap" or "insertion".
        format: the prompt and how its answer is read: `choice()` or `choice(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a size below 1, or no such method.

    Examples:
        >>> from whyrank import Fake, Setwise
        >>> llm = Fake("<think>Only the second tells.</think><answer>[2]</answer>")
        >>> Setwise(llm, k=1).rank("why do bees dance?", ["Bees make honey.", "A dance shows where food is."])[0].index
        1
    """

    k: Positive = 10
    children: Positive = 19
    method: Method = "heap"
    format: Format[Choice] = field(default_factory=by_default(ChoiceFormat), kw_only=True)

    def _plan(self, asker: Asker[Choice]) -> Plan[Order]:
        candidates = list(range(asker.n))
        sort = self._heap if self.method == "heap" else self._insertion
        top = yield from sort(asker, candidates)
        chosen = set(top)
        return asker.order([*top, *(at for at in candidates if at not in chosen)])

    def _heap(self, asker: Asker[Choice], candidates: Sequence[int]) -> Plan[list[int]]:
        """The best k: a heap is built level by level from below, then its root is taken k times."""
        heap, top = list(candidates), list[int]()
        for level in reversed(_levels(len(heap), self.children)):
            yield from self._sift(asker, heap, level)
        while heap and len(top) < self.k:
            top.append(heap[0])
            last = heap.pop()
            if heap:
                heap[0] = last
            if len(top) < self.k:
                yield from self._sift(asker, heap, [0])
        return top

    def _sift(self, asker: Asker[Choice], heap: list[int], nodes: Sequence[int]) -> Plan[None]:
        """Let each of the nodes, of which none is below another, sink until nothing below it is better."""
        while True:
            below = ((node, range(self.children * node + 1, self.children * (node + 1) + 1)) for node in nodes)
            families = [[node, *(at for at in some if at < len(heap))] for node, some in below]
            families = [family for family in families if len(family) > 1]
            best = yield from _best(asker, [[heap[at] for at in family] for family in families])
            moved = [(family[0], family[place]) for family, place in zip(families, best, strict=True) if place]
            for node, child in moved:
                heap[node], heap[child] = heap[child], heap[node]
            nodes = [child for _, child in moved]
            if not nodes:
                return

    def _insertion(self, asker: Asker[Choice], candidates: Sequence[int]) -> Plan[list[int]]:
        """The best k: those of the first stage sorted, then what beats the last of them is put into its place."""
        top = yield from self._heap(asker, candidates[: self.k])
        waiting = list(candidates[self.k :])
        while waiting:
            block = waiting[: self.children]
            (place,) = yield from _best(asker, [[top[-1], *block]])
            if place == 0:
                del waiting[: len(block)]
                continue
            winner, low, high = waiting.pop(place - 1), 0, len(top) - 1
            while low < high:
                middle = (low + high) // 2
                (wins,) = yield from _best(asker, [[top[middle], winner]])
                low, high = (low, middle) if wins else (middle + 1, high)
            top.insert(low, winner)
            top.pop()
        return top


def _best(asker: Asker[Choice], groups: Sequence[Sequence[int]]) -> Plan[list[int]]:
    """Which place of each group is chosen; without an answer, the one that the first stage had highest."""
    choices = yield from asker.ask(groups)
    return [
        group.index(min(group)) if choice.best is None else choice.best
        for group, choice in zip(groups, choices, strict=True)
    ]


def _levels(n: int, children: int) -> list[range]:
    """The nodes of a heap of n that have something below them, level by level from the root."""
    levels, start, size = list[range](), 0, 1
    while (end := min(start + size, (n - 2) // children + 1)) > start:
        levels.append(range(start, end))
        start, size = children * start + 1, size * children
    return levels
