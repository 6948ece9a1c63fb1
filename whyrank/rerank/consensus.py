"""Permutation self-consistency: many shuffled inputs, one consensus, so that places in the prompt cancel out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.llm.base import LLM
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.rerank.base import LLMReranker, Order, Request, Reranker
from whyrank.rerank.listwise import Listwise
from whyrank.rerank.ranked import seen_from
from whyrank.rerank.together import together

Aggregate = Literal["borda", "rrf", "kemeny"]

RRF = 60
"""How little the first ranks differ in reciprocal rank fusion."""


@dataclass(frozen=True)
class Consensus(Reranker):
    """Reranks several shuffles of the candidates and aggregates the orders (Tang et al., 2310.07712, 2024).

    Takes `shuffles` times the calls of the reranker inside in the rounds that it takes alone. What it promises with a
    comparator that never errs, the exact first k, holds for the consensus. Ties keep the order of the first stage. A
    shuffle in which no call brought an answer does not count; where there is no other, the input order stands.

    Attributes:
        reranker: a language model, which stands for `listwise(llm)`, or a reranker that asks one; it is handed scores
            that are all 0, since a shuffle has no first stage.
        shuffles: how many.
        aggregate: "borda" orders by mean rank; "rrf" by Σ 1 / (60 + rank); "kemeny" starts from Borda's order and moves
            single documents while that lowers the number of pairs on which the shuffles disagree with the order.
        seed: of the shuffles, which otherwise depend on the query's id alone.

    Raises:
        BadInput: no shuffle, or another aggregate.
    """

    reranker: LLM | LLMReranker
    shuffles: int = 20
    aggregate: Aggregate = "borda"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no aggregate."""
        if self.shuffles < 1:
            raise BadInput(f"consensus: shuffles must be at least 1, not {self.shuffles}")
        if self.aggregate not in get_args(Aggregate):
            raise BadInput(
                f"consensus: aggregate must be one of {', '.join(get_args(Aggregate))}, not {self.aggregate!r}"
            )

    @property
    def inner(self) -> LLMReranker:
        """The reranker that each shuffle is put to."""
        return Listwise(self.reranker) if isinstance(self.reranker, LLM) else self.reranker

    def plan(self, request: Request) -> Plan[Order]:
        """All shuffles side by side; `calls` say in "shuffle", from 0, whose they are."""
        n, inner = len(request.documents), self.inner
        shuffled = [self._shuffled(request, number) for number in range(self.shuffles)]
        orders = yield from together(
            [
                inner.plan(Request(request.query, tuple(request.documents[at] for at in places), (0.0,) * n))
                for places in shuffled
            ]
        )
        calls = [
            {"shuffle": number, **seen_from(call, places)}
            for number, (order, places) in enumerate(zip(orders, shuffled, strict=True))
            for call in order.calls
        ]
        rankings = [
            [places[at] for at in order.ranking]
            for places, order in zip(shuffled, orders, strict=True)
            if not order.calls or any(call["status"] not in {"no_answer", "failed"} for call in order.calls)
        ] or [list(range(n))]
        agreed = consensus(np.array(rankings, dtype=np.intp), self.aggregate)
        return Order(tuple(agreed.tolist()), calls=tuple(calls))

    def _shuffled(self, request: Request, number: int) -> list[int]:
        places = list(range(len(request.documents)))
        random.Random(f"{self.seed} {request.query.id} {number}").shuffle(places)
        return places

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        orders = drive({request.query.id: self.plan(request) for request in requests}, self.inner.llm, trace)
        return [orders[request.query.id] for request in requests]


def consensus(rankings: NDArray[np.intp], aggregate: Aggregate = "borda") -> NDArray[np.intp]:
    """One order out of several orders of the same n things; ties go to the lower number.

    Args:
        rankings: (m, n) each row a permutation of range(n), best first.
        aggregate: see `Consensus`.

    Returns:
        (n,) a permutation of range(n), best first.

    Example:
        >>> consensus(np.array([[0, 1, 2], [0, 2, 1], [2, 0, 1]])).tolist()
        [0, 2, 1]
    """
    ranks = np.argsort(rankings, axis=1)
    if aggregate == "rrf":
        return np.argsort(-(1 / (RRF + 1 + ranks)).sum(axis=0).round(12), kind="stable")
    order = np.argsort(ranks.sum(axis=0), kind="stable")
    return (
        order if aggregate == "borda" else _searched(order, np.sign(ranks[:, :, None] - ranks[:, None, :]).sum(axis=0))
    )


def _searched(order: NDArray[np.intp], against: NDArray[np.int_]) -> NDArray[np.intp]:
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
