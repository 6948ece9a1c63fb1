"""Exact search over weighted postings: every document's score is summed, the k best are taken in a fixed order.

Scores are float32, added term by term in the query's order; the order of the result is score falling, then document
number rising, whatever the number of threads. The sums run in SciPy's compiled sparse kernels, which release Python's
lock, so that threads help. They are called directly: the public matrix product would copy each posting list first.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools as kernels

from whyrank.retrieval.postings import Floats, Integers

SMALL = 1 << 15
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
        banned: for each query the numbers of the documents that it must not find.
    """

    offsets: NDArray[np.int64]
    terms: Integers
    weights: Floats
    banned: Sequence[Integers]


class Found(NamedTuple):
    """One query's documents, best first: numbers and float32 scores, at most k and only documents that match."""

    documents: Integers
    scores: Floats


def search(matrix: Matrix, batch: Batch, k: int, threads: int = 1) -> list[Found]:
    """The `k` best documents of each query."""
    desks = local()
    k = min(k, matrix.size)

    def work(queries: range) -> list[Found]:
        if not hasattr(desks, "own"):
            desks.own = _Desk(matrix)
        own: _Desk = desks.own
        return own.search(batch, queries, k)

    parts = _parts(matrix, batch)
    if threads < 2:
        return [found for part in parts for found in work(part)]
    with ThreadPoolExecutor(threads) as pool:
        return [found for part in pool.map(work, parts) for found in part]


def _parts(matrix: Matrix, batch: Batch) -> Iterator[range]:
    """Which queries are scored together."""
    n_queries, rows = len(batch.offsets) - 1, _rows(matrix.size)
    sizes = matrix.offsets[batch.terms + 1] - matrix.offsets[batch.terms]
    before = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[batch.offsets]
    start = 0
    while start < n_queries:
        end = int(np.searchsorted(before, before[start] + _GATHERED, side="right")) - 1
        end = min(max(end, start + 1), start + rows, n_queries)
        yield range(start, end)
        start = end


def _rows(size: int) -> int:
    return max(1, _CELLS // size) if size <= SMALL else 1


class _Desk:
    """One thread's room for scores."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        shape = (_rows(matrix.size), matrix.size)
        self._scores: Floats = np.empty(shape, dtype=np.float32)
        self._numbers = np.arange(matrix.size, dtype=np.uint64)
        self._keys = np.empty(shape if matrix.size <= SMALL else (0, 0), dtype=np.uint64)
        self._documents, self._weights = matrix.documents[:0], matrix.weights[:0]

    def search(self, batch: Batch, queries: range, k: int) -> list[Found]:
        """The `k` best documents of some queries."""
        scores = self._scores[: len(queries)]
        scores.fill(0)
        add = self._add_together if self._matrix.size <= SMALL else self._add_one
        add(batch, queries, scores)
        for row, query in enumerate(queries):
            if len(batch.banned[query]):
                scores[row, batch.banned[query]] = 0
        if self._matrix.size <= SMALL:
            keys = _keys(scores, self._numbers, self._keys[: len(queries)])
            keys.partition(k - 1, axis=1)
            return _found(keys[:, :k])
        hopeful = _hopeful(scores[0], k)
        keys = _keys(scores[0, hopeful], self._numbers[hopeful], np.empty(len(hopeful), dtype=np.uint64))
        keys.partition(min(k, len(keys)) - 1) if len(keys) else None
        return _found(keys[np.newaxis, :k])

    def _add_one(self, batch: Batch, queries: range, scores: Floats) -> None:
        """Add each term's postings where they lie."""
        matrix, add, size = self._matrix, kernels.csc_matvec, self._matrix.size
        start, end = batch.offsets[queries.start], batch.offsets[queries.stop]
        weights = batch.weights[start:end]
        for at, term in enumerate(batch.terms[start:end].tolist()):
            span, weight = matrix.offsets[term : term + 2], weights[at : at + 1]
            add(size, 1, span, matrix.documents, matrix.weights, weight, scores[0])

    def _add_together(self, batch: Batch, queries: range, scores: Floats) -> None:
        """Copy the postings of all terms of all queries into one place, then add them in one go."""
        matrix = self._matrix
        bounds = batch.offsets[queries.start : queries.stop + 1]
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
        kernels.csr_todense(len(queries), matrix.size, rows, documents, weights, scores)


def _hopeful(scores: Floats, k: int) -> NDArray[np.intp]:
    """Document numbers that surely contain the `k` best of `scores` (D,), and rarely many more.

    The k-th best of the groups' best scores is a score that k documents reach.
    """
    groups = len(scores) // _GROUP
    if groups <= k:
        return np.flatnonzero(scores)
    best = scores[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
    best.partition(groups - k)
    bar = best[groups - k]
    return np.flatnonzero(scores >= bar if bar > 0 else scores)


_FLIP, _LOW = np.uint32(0x7FFFFFFF), np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def _keys(scores: Floats, numbers: NDArray[np.uint64], out: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Integers that rise as scores fall, and then with the document number; scores must not be negative."""
    np.copyto(out, scores.view(np.uint32) ^ _FLIP)
    out <<= _HALF
    out |= numbers
    return out


def _found(keys: NDArray[np.uint64]) -> list[Found]:
    """Read the documents and scores of each row of keys (Q, k), in any order, back in theirs."""
    keys.sort(axis=1)
    documents = (keys & _LOW).astype(np.int32)
    scores = ((keys >> _HALF).astype(np.uint32) ^ _FLIP).view(np.float32)
    matched = np.count_nonzero(scores, axis=1).tolist()
    return [Found(documents[row, :many], scores[row, :many]) for row, many in enumerate(matched)]
