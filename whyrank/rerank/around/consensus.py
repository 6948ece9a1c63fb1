"""Self-consistency: many orders of the same candidates, of shuffles or of several samples, become one."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.fields import Positive, Share
from whyrank.fusion import RRF
from whyrank.llm.answer import Completion
from whyrank.llm.engine import LLM
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.rerank.base import LLMReranker, Order, Request, Reranker
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.together import together
from whyrank.types import CallReport, Note

Aggregate = Literal["borda", "rrf", "kemeny", "copeland", "plurality"]
Inputs = Literal["shuffled", "same"]
Vote = tuple[list[int], int]
"""An order, and how many of its first candidates the model named itself."""

DRAWS = 1000
"""How far the sample numbers of two draws lie apart: more than any reranker asks for of one prompt."""


@dataclass(frozen=True)
class Consensus(Reranker):
    """Reranks several shuffles of the candidates and aggregates the orders (Tang et al., 2310.07712, 2024).

    Takes `shuffles` times the calls of the reranker inside in the rounds that it takes alone. What it promises with a
    comparator that never errs, the exact first k, holds for the consensus. Ties keep the order of the first stage. A
    shuffle in which no call brought an answer does not count; where there is no other, the input order stands. What a
    model left out, where `listwise` shows it all candidates in one call, shares the mean of the places that are left.

    With `inputs="same"` it is the majority of several samples: nothing is shuffled, and each draw is another one, for
    which the sampling wants a temperature. With `halt` it stops as soon as one more shuffle changes little, and then
    takes them one after the other, the first two at once: at most `shuffles` - 1 times the rounds.

    Attributes:
        reranker: a language model, which stands for `listwise(llm)`, or a reranker that asks one; where it is handed
            a shuffle, all scores are 0, since a shuffle has no first stage.
        shuffles: how many at most.
        aggregate: "borda" orders by mean rank; "rrf" by Σ 1 / (60 + rank); "kemeny" starts from Borda's order and moves
            single documents while that lowers the number of pairs on which the shuffles disagree with the order;
            "copeland" orders by majorities won less those lost; "plurality" by first places. The last two leave ties to
            Borda.
        seed: of the shuffles, which otherwise depend on the query's id alone.
        inputs: "shuffled", or "same" for several samples.
        halt: stop when the consensus agrees this far with the one before, by RBO of the first 10 at p = 0.9; 0.95 is a
            good value, None never stops.
        consistent: leave out orders that contradict the consensus more than they agree with it (Kendall's τ below 0),
            and aggregate the others again.

    Raises:
        BadInput: samples at temperature 0.
    """

    reranker: LLM | LLMReranker
    shuffles: Positive = 20
    aggregate: Aggregate = "borda"
    seed: int = 0
    inputs: Inputs = "shuffled"
    halt: Share | None = None
    consistent: bool = False

    def __post_init__(self) -> None:
        """Refuse samples that cannot differ."""
        drawn = getattr(self.inner, "sampling", None)
        if self.inputs == "same" and self.shuffles > 1 and drawn is not None and drawn.temperature == 0:
            raise BadInput(
                "consensus: at temperature 0 all samples are the same: give the reranker inside "
                "sampling=sampling(temperature=0.6)"
            )

    @property
    def inner(self) -> LLMReranker:
        """The reranker that each shuffle is put to."""
        return Listwise(self.reranker) if isinstance(self.reranker, LLM) else self.reranker

    def plan(self, request: Request) -> Plan[Order]:
        """All shuffles side by side, or until they agree; `calls` say in "shuffle", from 0, whose they are."""
        n, done = len(request.documents), 0
        calls, votes = list[CallReport](), list[Vote]()
        for some in self._rounds():
            found = yield from together([self._one(request, number) for number in range(done, done + some)])
            for number, (ranking, order) in enumerate(found, start=done):
                calls += [call.at(shuffle=number) for call in order.calls]
                if not order.calls or _told(order):
                    votes.append((ranking, self._named(order)))
            done += some
            if self._settled(votes, n):
                break
        note = Note() if self.halt is None else Note(shuffles=done)
        return Order(tuple(self._agreed(votes, n).tolist()), calls=tuple(calls), note=note)

    def _named(self, order: Order) -> int:
        """How many candidates the model named itself; all where no single call shows them all."""
        n, whole = len(order.ranking), isinstance(self.inner, Listwise) and len(order.calls) == 1
        return n - (order.calls[0].repairs.missing or 0) if whole else n

    def _settled(self, votes: Sequence[Vote], n: int) -> bool:
        """Whether the last order changed little."""
        if self.halt is None or len(votes) < 2:
            return False
        return overlap(self._agreed(votes[:-1], n), self._agreed(votes, n)) >= self.halt

    def _rounds(self) -> list[int]:
        """How many shuffles are made at once, round after round."""
        if self.halt is None or self.shuffles < 3:
            return [self.shuffles]
        return [2] + [1] * (self.shuffles - 2)

    def _one(self, request: Request, number: int) -> Plan[tuple[list[int], Order]]:
        """One order of the candidates, and how it came about."""
        if self.inputs == "same":
            order = yield from _drawn(self.inner.plan(request), number)
            return list(order.ranking), order
        n = len(request.documents)
        places = list(range(n))
        random.Random(f"{self.seed} {request.query.id} {number}").shuffle(places)
        order = yield from self.inner.plan(
            Request(request.query, tuple(request.documents[at] for at in places), (0.0,) * n)
        )
        calls = tuple(call.seen_from(places) for call in order.calls)
        return [places[at] for at in order.ranking], replace(order, calls=calls)

    def _agreed(self, votes: Sequence[Vote], n: int) -> NDArray[np.intp]:
        """The consensus; where nothing was answered, the input order."""
        if not votes:
            return np.arange(n)
        orders, named = np.array([ranking for ranking, _ in votes], dtype=np.intp), [count for _, count in votes]
        agreed = consensus(orders, self.aggregate, named)
        kept = [at for at, order in enumerate(orders) if agreement(order, agreed) >= 0] if self.consistent else []
        return consensus(orders[kept], self.aggregate, [named[at] for at in kept]) if kept else agreed

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        plans = {request.query.id: self.plan(request) for request in requests}
        like = [self.plan(request) for request in requests[:: len(requests) // 3 + 1]]
        orders = drive(plans, self.inner.llm, trace, like=like)
        return [orders[request.query.id] for request in requests]


def _told(order: Order) -> bool:
    """Whether the model said anything about a shuffle; what was cut off before its answer says nothing."""
    moved = order.ranking != tuple(range(len(order.ranking)))
    return moved or any(call.status in {"exact", "repaired"} for call in order.calls)


def consensus(
    rankings: NDArray[np.intp], aggregate: Aggregate = "borda", named: Sequence[int] = ()
) -> NDArray[np.intp]:
    """One order out of several orders of the same n things; ties go to the lower number.

    Args:
        rankings: (m, n) each row a permutation of range(n), best first.
        aggregate: see `Consensus`.
        named: (m,) how many first things of each row stand in an order; the others share their mean rank.

    Returns:
        (n,) a permutation of range(n), best first.

    Examples:
        >>> consensus(np.array([[0, 1, 2], [0, 2, 1], [2, 0, 1]])).tolist()
        [0, 2, 1]
    """
    ranks = np.argsort(rankings, axis=1).astype(np.float64)
    for row, count in zip(ranks, named, strict=False):
        row[row >= count] = (count + rankings.shape[1] - 1) / 2
    if aggregate == "rrf":
        return np.argsort(-(1 / (RRF + 1 + ranks)).sum(axis=0).round(12), kind="stable")
    order = np.argsort(ranks.sum(axis=0), kind="stable")
    if aggregate == "borda":
        return order
    if aggregate == "plurality":
        return order[np.argsort(-(ranks == 0).sum(axis=0)[order], kind="stable")]
    against = np.sign(ranks[:, :, None] - ranks[:, None, :]).sum(axis=0)
    if aggregate == "copeland":
        return order[np.argsort(np.sign(against).sum(axis=1)[order], kind="stable")]
    return _searched(order, against)


def agreement(one: Sequence[int] | NDArray[np.intp], other: Sequence[int] | NDArray[np.intp]) -> float:
    """Kendall's τ of two orders of the same n things, from -1, reversed, to 1; 1 where there is no pair."""
    ranks = np.argsort(one)[np.asarray(other, dtype=np.intp)]
    pairs = np.triu(np.sign(ranks[None, :] - ranks[:, None]), 1)
    return float(pairs.sum() / max(len(ranks) * (len(ranks) - 1) / 2, 1)) if len(ranks) > 1 else 1.0


def overlap(one: Sequence[int] | NDArray[np.intp], other: Sequence[int] | NDArray[np.intp], k: int = 10) -> float:
    """Rank-biased overlap of the first k at p = 0.9, extrapolated, so that equal orders have 1 (Webber et al., 2010).

    Examples:
        >>> overlap([1, 2, 3], [1, 2, 3]), round(overlap([1, 2, 3], [2, 1, 3]), 3)
        (1.0, 0.9)
    """
    k, p = min(k, len(one)), 0.9
    if k == 0:
        return 1.0
    shared = [len({*map(int, one[:depth])} & {*map(int, other[:depth])}) / depth for depth in range(1, k + 1)]
    tail = sum(share * p**depth for depth, share in enumerate(shared, start=1)) * (1 - p) / p
    return float(round(tail + shared[-1] * p**k, 12))


def _drawn(plan: Plan[Order], number: int) -> Plan[Order]:
    """The plan with other draws of its calls, for each number others."""
    completions: Sequence[Completion] | None = None
    try:
        while True:
            prompts = plan.send(completions)  # type: ignore[arg-type]  # None starts a plan
            completions = yield [replace(prompt, sample=prompt.sample + number * DRAWS) for prompt in prompts]
    except StopIteration as end:
        order: Order = end.value
        return order


def _searched(order: NDArray[np.intp], against: NDArray[np.float64]) -> NDArray[np.intp]:
    """Move single things to their best places until no move lowers Kemeny's cost.

    Args:
        order: (n,) where to start.
        against: (n, n) in how many more rankings the row's thing stands behind the column's than before it.
    """
    order, improved = order.copy(), True
    while improved:
        improved = False
        for thing in order.tolist():
            others = order[order != thing]
            at = int(np.flatnonzero(order == thing)[0])
            costs = np.concatenate(
                [[0], np.cumsum(-against[thing, others])]
            )  # of standing after the first 0, 1, … others
            best = int(np.argmin(costs))
            if costs[best] < costs[at]:
                order, improved = np.insert(others, best, thing), True
    return order
