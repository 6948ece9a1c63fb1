"""What is reranked in a simulation: candidates whose worth is known, drawn from a profile or taken from real qrels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.fields import Above, AtLeast, AtMost, Below, Declared
from whyrank.rerank.base import Request
from whyrank.types import Document, Query, Ranking, Run

Floats = NDArray[np.float64]

RELEVANT, OTHER = (0.6, 1.0), (0.0, 0.5)
"""Between what bounds the utility of a relevant passage lies, evenly, and that of any other."""

CUT = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One query of a simulation.

    Attributes:
        request: the candidates, best first, with first-stage scores; the text of a passage is its place, "0." and on.
        utilities: (n,) how much each candidate helps, 0 to 1.
        grades: the judgements of the query, also of documents that are no candidates.
    """

    request: Request
    utilities: Floats
    grades: Mapping[str, float]


MOST = 100_000_000
"""How many candidates, of all queries together, a profile draws."""


@dataclass(frozen=True)
class Profile(Declared):
    """Queries drawn at random: how many candidates, how many of them relevant, how good the first stage.

    A candidate is relevant with probability `relevant`, and a query has at least one that is. Utilities are even over
    0.6 to 1 for relevant candidates and over 0 to 0.5 for others. The first stage sees them under Gaussian noise, as
    much as brings its mean nDCG@10 to `ndcg` over the queries drawn.

    Attributes:
        n: candidates of each query.
        relevant: the share of relevant ones, above 0 and below 1.
        ndcg: nDCG@10 of the first stage, above that of a random order and at most 1.

    Raises:
        BadInput: a number out of range.
    """

    n: Annotated[int, AtLeast(2)] = 100
    relevant: Annotated[float, Above(0), Below(1)] = 0.05
    ndcg: Annotated[float, Above(0), AtMost(1)] = 0.476

    def cases(self, queries: int = 200, seed: int = 0) -> list[Case]:
        """As many queries, the same for the same seed.

        Raises:
            BadInput: no query, more than memory holds, or a first stage worse than chance is asked for.
        """
        if queries < 1:
            raise BadInput(f"at least 1 query is wanted, not {queries}")
        if queries * self.n > MOST:
            raise BadInput(f"{queries} queries with {self.n} candidates each: at most {MOST:,} candidates are drawn")
        draw = np.random.default_rng(seed)
        relevant = draw.random((queries, self.n)) < self.relevant
        relevant[np.arange(queries), draw.integers(self.n, size=queries)] |= ~relevant.any(axis=1)
        utilities = np.where(relevant, draw.uniform(*RELEVANT, relevant.shape), draw.uniform(*OTHER, relevant.shape))
        scores = self._first_stage(utilities, relevant, draw.standard_normal(relevant.shape))
        return [_case(f"q{row}", *each) for row, each in enumerate(zip(utilities, relevant, scores, strict=True))]

    def _first_stage(self, utilities: Floats, relevant: NDArray[np.bool_], noise: Floats) -> Floats:
        """(Q, n) scores whose mean nDCG@10 is the one wanted, found by halving the size of the noise."""
        low, high = 0.0, 1e4
        if _ndcg(noise, relevant) > self.ndcg:
            raise BadInput(
                f"a random order of such candidates has an nDCG@10 of more than {self.ndcg}: raise the first stage's "
                "(--first-stage), or lower the share of relevant ones (--relevant)"
            )
        for _ in range(60):
            size = math.sqrt(low * high) if low > 1e-6 else high / 2
            low, high = (size, high) if _ndcg(utilities + size * noise, relevant) > self.ndcg else (low, size)
        return utilities + low * noise


def from_run(run: Run, qrels: Mapping[str, Mapping[str, float]], depth: int = 100, seed: int = 0) -> list[Case]:
    """The judged queries of a first-stage run with their real grades, for the judge to err about.

    A candidate of grade g, where G is the highest grade in `qrels`, gets a utility drawn evenly from the g-th of G even
    parts of 0.6 to 1; one of no grade, or unjudged, from 0 to 0.5.

    Args:
        run: the first stage; its order and scores are kept.
        qrels: the judgements.
        depth: how many candidates of each query.
        seed: of the utilities within a grade.

    Raises:
        BadInput: no query of the run is judged, nothing is relevant, or `depth` is below 1.
    """
    if depth < 1:
        raise BadInput(f"depth must be at least 1, not {depth}")
    judged = {query: ranking for query, ranking in run.items() if any(g > 0 for g in qrels.get(query, {}).values())}
    if not judged:
        raise BadInput(f"run {run.name!r}: none of its {len(run)} queries has a document that is judged relevant")
    top = max(max(qrels[query].values()) for query in judged)
    draw = np.random.default_rng(seed)
    cases = []
    for query, ranking in judged.items():
        ids, scores = list(ranking.ids[:depth]), np.asarray(ranking.scores[:depth])
        grades = np.array([max(qrels[query].get(id, 0), 0) for id in ids], dtype=np.float64)
        within, (low, high) = draw.random(len(ids)), RELEVANT
        utilities = np.where(grades > 0, low + (high - low) * (grades - within) / top, OTHER[1] * within)
        cases.append(Case(_request(query, ids, scores), utilities, dict(qrels[query])))
    return cases


def _case(query: str, utilities: Floats, relevant: NDArray[np.bool_], scores: Floats) -> Case:
    order = np.argsort(-scores, kind="stable")
    ids = [f"d{at}" for at in range(len(order))]
    grades = {id: 1 for id, is_relevant in zip(ids, relevant[order].tolist(), strict=True) if is_relevant}
    return Case(_request(query, ids, scores[order]), utilities[order], grades)


def _request(query: str, ids: Iterable[str], scores: Floats) -> Request:
    documents = tuple(Document(id, f"{at}.") for at, id in enumerate(ids))
    return Request(Query(query, f"query {query}"), documents, tuple(scores.tolist()))


def _ndcg(scores: Floats, relevant: NDArray[np.bool_]) -> float:
    """The mean nDCG@10 of rows of scores."""
    discounts = 1 / np.log2(np.arange(2, min(CUT, scores.shape[1]) + 2))
    order = np.argsort(-scores, axis=1, kind="stable")[:, : len(discounts)]
    found = np.take_along_axis(relevant, order, axis=1) @ discounts
    ideal = -np.sort(-relevant.astype(np.float64), axis=1)[:, : len(discounts)] @ discounts
    return float((found / ideal).mean())


def ranked(case: Case, order: Iterable[int]) -> Ranking:
    """The candidates of a case in a new order."""
    ids = [case.request.documents[at].id for at in order]
    return Ranking(ids, np.arange(len(ids), 0, -1, dtype=np.float64))
