"""Exact search over weighted postings: every document's score is summed, the k best are taken in a fixed order.

Scores are float32, added term by term in the query's order; the order of the result is score falling, then document
number rising, whatever the number of threads. The sums run in SciPy's compiled sparse kernels, which release Python's
lock, so that threads help. They are called directly: the public matrix product would copy each posting list first.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools as kernels

from whyrank.retrieval.filters import Filters
from whyrank.retrieval.lexical.postings import Floats, Integers
from whyrank.types import Run

SMALL = 6 << 10
"""Up to this many documents, queries are scored several at a time: a table of scores stays in the processor's cache."""

_CELLS = 1 << 18  # of such a table
_GATHERED = 1 << 19  # postings copied together for one table, unless one query has more
_GROUP = 64  # documents, of which only the best is compared at first


@dataclass(frozen=True)
class Matrix:
    """Weighted postings: term t weighs `weights[i]` in `documents[i]` for i in `offsets[t]:offsets[t+1]`.

    Attributes:
        offsets: (T+1,) integers.
        documents: (P,) of the same type; rising within a term.
        weights: (P,) float32, none negative.
        size: how many documents there are.
    """

    offsets: Integers
    documents: Integers
    weights: Floats
    size: int


@dataclass(frozen=True)
class Batch:
    """Queries as weighted term numbers: query q is `terms[i]`, `weights[i]` for i in `offsets[q]:offsets[q+1]`.

    Attributes:
        offsets: (Q+1,) int64.
        terms: (M,) term numbers.
        weights: (M,) float32, none negative.
        filters: what those queries may find that may not find all.
        floors: (Q,) float32 scores that a document must exceed to be found; None is 0 for all.
    """

    offsets: NDArray[np.int64]
    terms: Integers
    weights: Floats
    filters: Filters
    floors: Floats | None = None

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.offsets) - 1


class TopK(NamedTuple):
    """The best documents of each query; row q is filled up to `counts[q]`, since only matching documents are found.

    Attributes:
        documents: (Q, k) document numbers, best first; int32, of shards together int64.
        scores: (Q, k) float32.
        counts: (Q,) int64.
    """

    documents: NDArray[np.signedinteger[Any]]
    scores: Floats
    counts: NDArray[np.int64]

    def run(self, query_ids: Sequence[str], ids: Sequence[str], name: str) -> Run:
        """The same as a run, given the ids of queries and documents."""
        offsets = np.cumsum([0, *self.counts], dtype=np.int64)
        filled = np.arange(self.documents.shape[1]) < self.counts[:, np.newaxis]
        scores, codes = self.scores[filled].astype(np.float64), self.documents[filled]
        return Run(query_ids, offsets, codes.astype(np.int32, copy=False), ids, scores, name=name)

    def floors(self, k: int) -> Floats:
        """(Q,) what a further document must exceed to be among the `k` best of its query."""
        return self.scores[:, k - 1] if self.scores.shape[1] >= k else np.zeros(len(self.scores), dtype=np.float32)


def followed(one: TopK, other: TopK, before: int, k: int) -> TopK:
    """The `k` best of both for each query; `other` is of the documents from number `before` on, and second in ties."""
    width = int(other.counts.max(initial=0))
    if not width:
        return one
    documents = np.concatenate([one.documents, other.documents[:, :width].astype(np.int64) + before], axis=1)
    scores = np.concatenate([one.scores, other.scores[:, :width]], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, order, axis=1)
    return TopK(np.take_along_axis(documents, order, axis=1), scores, np.count_nonzero(scores, axis=1))


def search(matrix: Matrix, batch: Batch, k: int, threads: int = 1) -> TopK:
    """The `k` best documents of each query, or all documents where there are fewer."""
    k = min(k, matrix.size)
    documents, scores = np.empty((len(batch), k), dtype=np.int32), np.empty((len(batch), k), dtype=np.float32)
    desks = local()

    def work(part: slice) -> None:
        if not hasattr(desks, "own"):
            desks.own = _Desk(matrix)
        desks.own.search(batch, part, documents[part], scores[part])

    parts = list(_parts(matrix, batch))
    if threads < 2 or len(parts) < 2:
        for part in parts:
            work(part)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, parts))
    return TopK(documents, scores, np.count_nonzero(scores, axis=1))


def _parts(matrix: Matrix, batch: Batch) -> Iterator[slice]:
    """Which queries are scored together."""
    rows = _rows(matrix.size)
    sizes = matrix.offsets[batch.terms + 1] - matrix.offsets[batch.terms]
    before = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[batch.offsets]
    start = 0
    while start < len(batch):
        end = int(np.searchsorted(before, before[start] + _GATHERED, side="right")) - 1
        end = min(max(end, start + 1), start + rows, len(batch))
        yield slice(start, end)
        start = end


def _rows(size: int) -> int:
    return max(1, _CELLS // size) if size <= SMALL else 1


class _Desk:
    """One thread's room for scores."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        rows = _rows(matrix.size)
        self._scores: Floats = np.empty((rows, matrix.size), dtype=np.float32)
        self._keys = np.empty((rows if matrix.size <= SMALL else 0, matrix.size), dtype=np.uint64)
        self._last_keys = _LAST_KEY + np.arange(matrix.size, dtype=np.uint64)
        self._documents, self._weights = np.empty_like(matrix.documents, shape=0), np.empty(0, dtype=np.float32)

    def search(self, batch: Batch, part: slice, documents: NDArray[np.int32], scores: Floats) -> None:
        """Write the best documents and their scores of some queries into `documents` and `scores` (Q, k)."""
        n_queries, k = documents.shape
        totals = self._scores[:n_queries]
        totals.fill(0)
        add = self._add_together if self._matrix.size <= SMALL else self._add_one
        add(batch, part, totals)
        for query in batch.filters.keys() & range(part.start, part.stop):
            batch.filters[query].shut(totals[query - part.start], 0)
        if batch.floors is not None:
            for row, floor in enumerate(batch.floors[part].tolist()):
                above = np.flatnonzero(totals[row] > floor) if floor else _hopeful(totals[row], k)
                self._read(totals[row : row + 1], above, documents[row : row + 1], scores[row : row + 1])
        elif self._matrix.size > SMALL:
            self._read(totals, _hopeful(totals[0], k), documents, scores)
        else:
            _read_best(_keys(totals, self._last_keys, self._keys[:n_queries]), documents, scores)

    def _read(self, totals: Floats, hopeful: NDArray[np.intp], documents: NDArray[np.int32], scores: Floats) -> None:
        """Write the best of these documents of one query; what is left of the row scores 0."""
        keys = np.full((1, max(len(hopeful), documents.shape[1])), _LAST_KEY, dtype=np.uint64)
        _keys(totals[:, hopeful], self._last_keys[hopeful], keys[:, : len(hopeful)])
        _read_best(keys, documents, scores)

    def _add_one(self, batch: Batch, part: slice, totals: Floats) -> None:
        """Add each term's postings where they lie."""
        matrix, add, size = self._matrix, kernels.csc_matvec, self._matrix.size
        start, end = batch.offsets[part.start], batch.offsets[part.stop]
        weights = batch.weights[start:end]
        for at, term in enumerate(batch.terms[start:end].tolist()):
            span, weight = matrix.offsets[term : term + 2], weights[at : at + 1]
            add(size, 1, span, matrix.documents, matrix.weights, weight, totals[0])

    def _add_together(self, batch: Batch, part: slice, totals: Floats) -> None:
        """Copy the postings of all terms of all queries into one place, then add them in one go."""
        matrix = self._matrix
        bounds = batch.offsets[part.start : part.stop + 1]
        terms = batch.terms[bounds[0] : bounds[-1]].astype(matrix.offsets.dtype)
        ends = np.zeros(len(terms) + 1, dtype=matrix.offsets.dtype)
        np.cumsum(matrix.offsets[terms + 1] - matrix.offsets[terms], out=ends[1:])
        if len(self._documents) < ends[-1]:
            self._documents = np.empty(max(ends[-1], _GATHERED), dtype=matrix.documents.dtype)
            self._weights = np.empty(len(self._documents), dtype=np.float32)
        documents, weights = self._documents, self._weights
        kernels.csr_row_index(len(terms), terms, matrix.offsets, matrix.documents, matrix.weights, documents, weights)
        kernels.csr_scale_rows(len(terms), matrix.size, ends, documents, weights, batch.weights[bounds[0] : bounds[-1]])
        rows = ends[bounds - bounds[0]]
        kernels.csr_todense(len(totals), matrix.size, rows, documents, weights, totals)


def _hopeful(totals: Floats, k: int) -> NDArray[np.intp]:
    """At least `k` document numbers that surely contain the `k` best of `totals` (D,), and rarely many more.

    The k-th best of the groups' best scores is a score that k documents reach.
    """
    groups = len(totals) // _GROUP
    if groups <= k:
        return np.arange(len(totals))
    best = totals[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
    best.partition(groups - k)
    return np.flatnonzero(totals >= best[groups - k])


_LAST_KEY = np.uint64(0x7FFFFFFF << 32)
_SHIFT = np.uint64(1 << 32)


def _keys(totals: Floats, last_keys: NDArray[np.uint64], out: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Integers (Q, D) that rise as scores fall, and then with the document number.

    The bits of a float32 that is not negative rise with it. They make the upper half of the key, taken from the
    highest value; the lower half is the document number.
    """
    np.multiply(totals.view(np.uint32), _SHIFT, out=out)
    return np.subtract(last_keys, out, out=out)


def _read_best(keys: NDArray[np.uint64], documents: NDArray[np.int32], scores: Floats) -> None:
    """Write the documents and scores behind the smallest keys of each row, in order."""
    k = documents.shape[1]
    keys.partition(k - 1, axis=1)
    best = keys[:, :k]
    best.sort(axis=1)
    documents[...] = best & np.uint64(0xFFFFFFFF)
    np.subtract(_LAST_KEY, best, out=best)
    scores.view(np.uint32)[...] = (best + documents.astype(np.uint64)) >> np.uint64(32)
