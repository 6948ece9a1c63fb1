"""Feedback without a model: what the first documents have in common becomes part of a second query.

The documents are those that the first search ranks best; what a query may not find is never among them. Nobody has
judged them, so there is no step away from documents that do not answer.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from whyrank.errors import BadSpec
from whyrank.fields import Above, AtLeast, AtMost, Positive, Share
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.filters import by_query
from whyrank.retrieval.lexical.analysis import analyze
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.vector.dense import Dense
from whyrank.types import Document, Note, Query, Ranking, Run


@dataclass(frozen=True)
class _Feedback(Retriever):
    """What RM3 and Rocchio share: a retriever that searches first, and is searched again."""

    retriever: BM25 | Dense
    fb_docs: Positive = 10
    fb_terms: Positive = 10
    max_df: Annotated[float, Above(0), AtMost(1)] = 0.1

    filters: ClassVar[bool] = True
    _usable: ClassVar[re.Pattern[str]] = re.compile(".{2,20}", re.DOTALL)

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy whose retriever is ready: it opens the index that it has, or indexes `corpus`."""
        ready = copy(self)
        object.__setattr__(ready, "retriever", self.retriever.ready(corpus))
        return ready

    def _index(self, corpus: Iterable[Document]) -> None:
        object.__setattr__(self, "retriever", self.retriever.index(corpus))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _usable_with(self, bm25: BM25) -> re.Pattern[str]:
        """What terms may be added: Anserini's choice for English, which would leave other scripts none."""
        return self._usable if bm25.analyzer == "english" else _Feedback._usable

    def _by_terms(self, bm25: BM25, queries: Sequence[Query], k: int) -> Run:
        """Search, expand each query by terms of the documents found, and search again."""
        first = bm25.search(queries, self.fb_docs)
        known = bm25.document_terms(chain.from_iterable(ranking.ids for ranking in first.values()), self.max_df)
        fits = self._usable_with(bm25).fullmatch
        usable = {id: {term: count for term, count in counts.items() if fits(term)} for id, counts in known.items()}
        asked: dict[str, dict[str, float]] = {}
        for query in queries:
            ids, scores = first[query.id]
            own = Counter(analyze(query.text, bm25.analyzer))
            asked[query.id] = self._expanded(own, [usable[id] for id in ids], scores.tolist())
        found = bm25.search_terms(asked, k, *by_query(queries)).named(name_of(type(self)))
        return found.with_notes({query: Note(terms=weights) for query, weights in asked.items()})

    @abstractmethod
    def _expanded(
        self, query: Mapping[str, int], documents: Sequence[Mapping[str, int]], scores: Sequence[float]
    ) -> dict[str, float]:
        """The weights of the second query, from the terms of the first and of the documents that it found."""


@dataclass(frozen=True)
class RM3(_Feedback):
    """Relevance feedback by a relevance model that is mixed with the query: RM3 as Anserini and Pyserini compute it.

    Each of the first documents is a distribution over its `fb_terms` most frequent terms; their sum, weighted by their
    scores and cut to `fb_terms` terms, is mixed with the query. The weights are those of Anserini's `Rm3Reranker`, in
    its precision. What was searched for stands in the notes of the run: `notes[query].terms`.

    Lavrenko and Croft, "Relevance-based language models", 2001; Abdul-Jaleel and others, "UMass at TREC 2004".

    Attributes:
        retriever: `bm25(...)`.
        fb_docs: how many documents feed back.
        fb_terms: how many terms of a document count, and how many terms are added.
        original_weight: the query's share of the weight, 0 to 1.
        max_df: terms in more than this share of the collection are not added; nor are terms that are shorter than 2 or
            longer than 20 characters, or that have other characters than a–z and 0–9.

    Examples:
        >>> documents = [Document("d1", "Bees dance for nectar."), Document("d2", "Nectar is sweet.")]
        >>> RM3(BM25(), fb_docs=1, max_df=1).index(documents).search([Query("q", "dance")])["q"].ids
        ['d1', 'd2']
    """

    retriever: BM25
    original_weight: Share = 0.5

    _usable: ClassVar[re.Pattern[str]] = re.compile("[a-z0-9]{2,20}")

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        return self._by_terms(self.retriever, queries, k)

    def _expanded(
        self, query: Mapping[str, int], documents: Sequence[Mapping[str, int]], scores: Sequence[float]
    ) -> dict[str, float]:
        model: dict[str, Any] = {}  # float32, as in Lucene, so that the same terms are tied
        for counts, score in zip(documents, scores, strict=True):
            kept = _strongest(counts, self.fb_terms)
            length = np.float32(sum(kept.values()))
            for term, count in kept.items():
                model[term] = model.get(term, np.float32(0)) + count / length * np.float32(score)
        added, given = _scaled(_strongest(model, self.fb_terms), 1), _scaled(query, 1)
        return _mixed((self.original_weight, given), (1 - self.original_weight, added))


@dataclass(frozen=True)
class Rocchio(_Feedback):
    """Relevance feedback in a vector space: the query moves towards the mean of the documents that it found.

    new query = alpha · query + beta · mean of the first `fb_docs` documents. On `bm25` the vectors are term counts of
    length 1, the mean is cut to `fb_terms` terms and brought to length 1, as in Anserini's `RocchioReranker`, and the
    notes of the run tell the terms: `notes[query].terms`. On `dense` they are the stored vectors.

    Rocchio, "Relevance feedback in information retrieval", 1971; on dense vectors: Li and others, arXiv 2108.11044.

    Attributes:
        retriever: `bm25(...)` or `dense(...)`.
        fb_docs: how many documents feed back.
        fb_terms: how many terms are added; `bm25` only.
        alpha: the weight of the query, 0 or more.
        beta: the weight of the documents, 0 or more.
        max_df: terms in more than this share of the collection are not added, nor are terms that are shorter than 2 or
            longer than 20 characters; `bm25` only.
    """

    alpha: Annotated[float, AtLeast(0)] = 1.0
    beta: Annotated[float, AtLeast(0)] = 0.75

    def __post_init__(self) -> None:
        """Refuse what makes no query."""
        if self.alpha == self.beta == 0:
            raise BadSpec("rocchio: alpha and beta must not both be 0")

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        if isinstance(self.retriever, BM25):
            return self._by_terms(self.retriever, queries, k)
        dense, filters = self.retriever, by_query(queries)
        asked = dict(zip((query.id for query in queries), dense.query_vectors(queries), strict=True))
        first = dense.search_vectors(asked, self.fb_docs, *filters)
        means = {id: dense.document_vectors(found.ids).mean(axis=0) for id, found in first.items() if len(found.ids)}
        moved = {id: self.alpha * vector + self.beta * means.get(id, 0) for id, vector in asked.items()}
        return dense.search_vectors(moved, k, *filters).named(name_of(type(self)))

    def _expanded(
        self, query: Mapping[str, int], documents: Sequence[Mapping[str, int]], scores: Sequence[float]
    ) -> dict[str, float]:
        total: dict[str, Any] = {}  # float32, as in Lucene
        for counts in documents:
            length = np.float32(np.linalg.norm(list(counts.values())))
            for term, count in counts.items():
                total[term] = total.get(term, np.float32(0)) + count / length
        mean = {term: weight / np.float32(len(documents)) for term, weight in total.items()}
        return _mixed((self.alpha, _scaled(query, 2)), (self.beta, _scaled(_strongest(mean, self.fb_terms), 2)))


def _strongest(weights: Mapping[str, float], n: int) -> dict[str, float]:
    """The n terms of the highest weight; of equal ones the first in the alphabet."""
    return dict(sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:n])


def _scaled(weights: Mapping[str, float], order: int) -> dict[str, float]:
    """The weights with the norm (L1 or L2) brought to 1."""
    norm = float(np.linalg.norm(list(weights.values()), order)) if weights else 1.0
    return {term: float(weight) / norm for term, weight in weights.items()}


def _mixed(*parts: tuple[float, Mapping[str, float]]) -> dict[str, float]:
    """Σ share · weights, without what weighs nothing."""
    mixed: dict[str, float] = {}
    for share, weights in parts:
        for term, weight in weights.items():
            mixed[term] = mixed.get(term, 0.0) + share * weight
    return {term: weight for term, weight in mixed.items() if weight > 0}
