"""Pairwise reranking: two passages at a time, in both orders, since models favour a place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from whyrank.fields import Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Pair, Preferred
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default
from whyrank.rerank.together import together
from whyrank.types import Place

Method = Literal["allpair", "heapsort", "sliding"]


@dataclass(frozen=True)
class Pairwise(Strategy[Preferred]):
    """Compares passages two by two, each pair in both orders: 2 calls in one round (PRP, 2306.17563, 2023).

    A passage wins where both answers name it. Where they disagree, each has won half; an answer that cannot be read
    leaves the decision to the other, and two of them count as a disagreement. Equals keep the order of the first stage.
    No pair is asked about twice. With a comparator that never errs the first k are exact. For n documents, at most:

    - "allpair": n · (n - 1) calls, 9900 for 100, in 1 round; orders all documents by wins, whatever k is.
    - "heapsort": 4 · (n + k · L) calls in L · (L + 1) + 2 · k · L rounds, where L is log2 n rounded down. The heap is
      built from below, all subtrees of a level at once, where PRP takes one round for each comparison. For the first
      10 of 100 it took 386 calls in 102 rounds after a good first stage, and 524 in 134 after a random one.
    - "sliding": k · (2n - k - 1) calls, 1890 for the first 10 of 100, in n + k - 2 rounds: k passes from the end to the
      front, of which each starts two ranks behind the one before, so that it takes 108 rounds and not 945.

    What is not among the first k of "heapsort" keeps the order of the first stage; the passes of "sliding" leave the
    others as they moved them.

    Attributes:
        llm: the model.
        method: "allpair", "heapsort" or "sliding".
        k: how many of the best are wanted in order.
        format: the prompt and how its answer is read.
        sampling: how completions are drawn.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: another method, or a number below 1.

    Examples:
        >>> from whyrank import Fake
        >>> llm = Fake(lambda prompt: "A" if "dance" in prompt.chat[1]["content"].split("Passage B")[0] else "B")
        >>> [item.index for item in Pairwise(llm).rank("how?", ["Bees make honey.", "They fly.", "They dance."])]
        [2, 0, 1]
    """

    method: Method = "heapsort"
    k: Positive = 10
    format: Format[Preferred] = field(default_factory=by_default(Pair), kw_only=True)

    def _plan(self, asker: Asker[Preferred]) -> Plan[Order]:
        judge = _Judge(asker)
        if self.method == "allpair":
            order = yield from _all_pairs(judge, asker.n)
        elif self.method == "heapsort":
            order = yield from _heap_sort(judge, asker.n, self.k)
        else:
            order = yield from _sliding(judge, asker.n, self.k)
        return asker.order(order)


class _Judge:
    """Compares documents of one query and remembers what came of it."""

    def __init__(self, asker: Asker[Preferred]) -> None:
        self._asker = asker
        self._won: dict[tuple[int, int], float] = {}

    def compare(self, pairs: Sequence[tuple[int, int]]) -> Plan[list[float]]:
        """For each pair what its first document wins: 1, 0 or ½; all in one round, known ones without asking."""
        new = list(dict.fromkeys(pair for pair in map(_sorted, pairs) if pair not in self._won))
        if new:
            both = [pair for one, two in new for pair in ((one, two), (two, one))]
            found = iter((yield from self._asker.ask(both, places=[Place()] * len(both))))
            for one, two in new:
                self._won[one, two] = _settled(next(found).first, next(found).first)
        return [self._won[pair] if pair == _sorted(pair) else 1 - self._won[_sorted(pair)] for pair in pairs]

    def better(self, one: int, two: int) -> Plan[bool]:
        """Whether `one` beats `two`; among equals the first stage decides."""
        (won,) = yield from self.compare([(one, two)])
        return won > 0.5 or (won == 0.5 and one < two)


def _settled(first: bool | None, turned: bool | None) -> float:
    """What the first of two wins, where it was shown first and then second; a choice that could not be read is None."""
    won = [float(choice) for choice in (first, None if turned is None else not turned) if choice is not None]
    return math.fsum(won) / len(won) if won else 0.5


def _sorted(pair: tuple[int, int]) -> tuple[int, int]:
    return (min(pair), max(pair))


def _all_pairs(judge: _Judge, n: int) -> Plan[list[int]]:
    pairs = list(combinations(range(n), 2))
    wins = [0.0] * n
    for (one, two), won in zip(pairs, (yield from judge.compare(pairs)), strict=True):
        wins[one] += won
        wins[two] += 1 - won
    return sorted(range(n), key=lambda at: -wins[at])


def _heap_sort(judge: _Judge, n: int, k: int) -> Plan[list[int]]:
    heap, best = list(range(n)), list[int]()
    for level in reversed(range(n.bit_length())):
        roots = range(2**level - 1, min(2 ** (level + 1) - 1, n // 2))
        yield from together([_sink(judge, heap, root) for root in roots])
    while heap and len(best) < k:
        best.append(heap[0])
        last = heap.pop()
        if heap:
            heap[0] = last
            if len(best) < k:
                yield from _sink(judge, heap, 0)
    return best + sorted(set(range(n)) - set(best))


def _sink(judge: _Judge, heap: list[int], at: int) -> Plan[None]:
    """Let the document at a place of the heap sink to where no child is better."""
    while (child := 2 * at + 1) < len(heap):
        if child + 1 < len(heap) and (yield from judge.better(heap[child + 1], heap[child])):
            child += 1
        if not (yield from judge.better(heap[child], heap[at])):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


def _sliding(judge: _Judge, n: int, k: int) -> Plan[list[int]]:
    """Passes p = 0, 1, … compare ranks j - 1 and j for j from n - 1 down to p + 1, two steps one behind the other."""
    order, passes = list(range(n)), min(k, n - 1)
    for step in range(n + passes - 2 if n > 1 else 0):
        lower = [n - 1 - step + 2 * behind for behind in range(passes) if 0 <= step - 2 * behind < n - 1 - behind]
        won = yield from judge.compare([(order[at], order[at - 1]) for at in lower])
        for at, wins in zip(lower, won, strict=True):
            if wins > 0.5:
                order[at - 1], order[at] = order[at], order[at - 1]
    return order
