"""Rerankers made of rerankers: one after the other, one with the first stage's scores mixed in or shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.fields import Length, Positive, Share
from whyrank.fusion import RRF, normalised
from whyrank.llm.trace import Trace
from whyrank.registry import variadic
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.types import Document, Ranking, Run

Mix = Literal["zscore", "minmax", "rrf"]


@variadic
@dataclass(frozen=True)
class Cascade(Reranker):
    """Rerankers one after the other, each on the best of the one before: `cascade(a, b, depths=(100, 20))`.

    What a reranker is not shown stays below, as the one before left it. Each asks what it asks alone, for as many
    documents as it is shown: calls and rounds add up, and the trace holds those of all. A reranker is handed the scores
    of the one before as its first stage's, where they agree with its order, else n, n-1, … 1.

    The scores are the last reranker's, NaN below its depth; `calls` say in "stage", from 0, whose they are.

    Attributes:
        rerankers: one or more, given one by one.
        depths: how many documents each is shown, for each one number; none at all shows all to each.

    Raises:
        BadInput: no reranker, not one depth for each, or a depth below 1.
    """

    rerankers: Annotated[tuple[Reranker, ...], Length(1)]
    depths: tuple[Positive, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what has no depth for each reranker."""
        if self.depths and len(self.depths) != len(self.rerankers):
            raise BadInput(f"cascade: {len(self.depths)} depths are given for {len(self.rerankers)} rerankers")

    def unit(self, score: float) -> float | None:
        """As the last reranker has it, whose scores these are."""
        return self.rerankers[-1].unit(score)

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        orders = [Order(tuple(range(len(request.documents)))) for request in requests]
        given = [request.scores for request in requests]
        for stage, reranker in enumerate(self.rerankers):
            shown = [order.ranking[: self.depths[stage]] if self.depths else order.ranking for order in orders]
            asked = [
                Request(request.query, tuple(request.documents[at] for at in places), tuple(scores[: len(places)]))
                for request, places, scores in zip(requests, shown, given, strict=True)
            ]
            found = reranker.rank_requests(asked, trace)
            orders = [onto(*each, stage) for each in zip(orders, shown, found, strict=True)]
            given = [falling(order) for order in orders]
        return orders


@dataclass(frozen=True)
class Hybrid(Reranker):
    """A reranker whose scores are mixed with the first stage's: the cheapest gain that there is (JudgeRank, ERank).

    A document's value is weight · first stage + (1 - weight) · reranker, after both were normalised over the candidates
    of the query, or weight / (60 + rank) of both ("rrf"). A candidate that the reranker gave no score gets the
    reranker's lowest normalised score; a reranker that only orders counts n, n-1, … 1. Equal values keep the reranker's
    order. Calls and rounds are the reranker's; `Order.scores` stay its own. Under `rank`, which knows no first stage,
    the order in which texts are handed in takes its place.

    Sources: weight 0.2 and z-scores, ERank (2509.00520, 2025); min–max and 0.1, Rank-R1 (2503.06034, 2025).

    Attributes:
        reranker: any reranker.
        weight: the first stage's share, 0 to 1.
        norm: "zscore", "minmax" or "rrf".

    Raises:
        BadInput: `weight` outside 0 to 1, or another `norm`.
    """

    reranker: Reranker
    weight: Share = 0.2
    norm: Mix = "zscore"

    def unit(self, score: float) -> float | None:
        """As the reranker has it."""
        return self.reranker.unit(score)

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        orders = self.reranker.rank_requests(requests, trace)
        mixed = []
        for request, order in zip(requests, orders, strict=True):
            firsts = self._evidence(request.scores, range(len(request.scores)))
            own = self._evidence(order.scores or _by_rank(order.ranking), order.ranking)
            values = self.weight * firsts + (1 - self.weight) * own
            ranking = sorted(order.ranking, key=lambda at, values=values: -values[at])  # type: ignore[misc]
            mixed.append(replace(order, ranking=tuple(ranking)))
        return mixed

    def _evidence(self, scores: Sequence[float], ranking: Sequence[int]) -> NDArray[np.float64]:
        """(n,) what each candidate counts by its score, or by its place in `ranking`."""
        values = np.empty(len(scores))
        if self.norm == "rrf":
            values[list(ranking)] = 1 / (RRF + np.arange(1, len(scores) + 1))
            return values
        known = sorted((at for at, score in enumerate(scores) if not math.isnan(score)), key=lambda at: -scores[at])
        ranked = Ranking([str(at) for at in known], np.array([scores[at] for at in known], dtype=np.float64))
        found = normalised(Run.of({"query": ranked}), self.norm)
        values[:] = found.lowest[0]
        values[known] = found.scores
        return values


@dataclass(frozen=True)
class WithScores(Reranker):
    """A reranker that is shown the first stage's score at the head of each passage, around any strategy (InsertRank).

    Scores are shown as whole numbers from 0 to 100, min–max over the candidates of the query. Calls, rounds and
    `Order.scores` are the reranker's. Under `rank`, which knows no first stage, the order in which texts are handed in
    takes its place.

    Source: InsertRank (2506.14086, 2025), which shows BM25's scores to listwise rerankers.

    Attributes:
        reranker: any reranker, such as `listwise(llm)`.

    Examples:
        >>> from whyrank import Fake, Listwise
        >>> from whyrank.rerank.around.compose import WithScores
        >>> WithScores(Listwise(Fake("[2] > [1]")))
        with_scores(listwise(fake(answer='[2] > [1]')))
    """

    reranker: Reranker

    def unit(self, score: float) -> float | None:
        """As the reranker has it."""
        return self.reranker.unit(score)

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        return self.reranker.rank_requests([_with_scores(request) for request in requests], trace)


def _with_scores(request: Request) -> Request:
    """The request with each document's score written before its text."""
    low, high = min(request.scores, default=0.0), max(request.scores, default=0.0)
    shown = (round(100 * (score - low) / (high - low)) if high > low else 100 for score in request.scores)
    documents = tuple(
        Document(document.id, f"(score of the first search: {score} of 100) {document.content}")
        for document, score in zip(request.documents, shown, strict=True)
    )
    return replace(request, documents=documents)


def onto(before: Order, shown: Sequence[int], order: Order, stage: int) -> Order:
    """The order of some documents put on top of the order that they were taken from."""
    ranking = tuple(shown[at] for at in order.ranking) + before.ranking[len(shown) :]
    scores = [math.nan] * len(ranking) if order.scores else []
    for at, score in zip(shown, order.scores, strict=False):
        scores[at] = score
    calls = before.calls + tuple(call.seen_from(shown).at(stage=stage) for call in order.calls)
    return Order(ranking, tuple(scores), calls, order.note.followed_by(before.note))


def falling(order: Order) -> tuple[float, ...]:
    """Scores in the order's own order that never rise: its own where they are such, else n, n-1, … 1."""
    own = tuple(order.scores[at] for at in order.ranking) if order.scores else ()
    if own and all(map(math.isfinite, own)) and all(one >= next for one, next in pairwise(own)):
        return own
    return tuple(float(value) for value in range(len(order.ranking), 0, -1))


def _by_rank(ranking: Sequence[int]) -> list[float]:
    """(n,) n for the best candidate, 1 for the last."""
    scores = [0.0] * len(ranking)
    for rank, at in enumerate(ranking):
        scores[at] = float(len(ranking) - rank)
    return scores
