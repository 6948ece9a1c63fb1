"""The array core of lexical retrieval: which documents hold each term how often, and what each occurrence weighs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]

_PASSED = 1 << 24
"""Postings looked at together in a pass over all of them."""


@dataclass(frozen=True)
class Statistics:
    """What a term's weight must know of the whole collection; collections cut into shards add these up.

    Attributes:
        documents: how many documents there are, empty ones included.
        filled: how many have at least one indexed token; Lucene leaves the others out of its averages.
        tokens: how many indexed tokens the collection has.
        frequencies: (T,) in how many documents each term occurs.
    """

    documents: int
    filled: int
    tokens: int
    frequencies: Integers

    @classmethod
    def of(cls, lengths: NDArray[np.int32], frequencies: Integers) -> "Statistics":
        """The statistics of documents of these lengths."""
        return cls(len(lengths), int(np.count_nonzero(lengths)), int(lengths.sum(dtype=np.int64)), frequencies)


@dataclass(frozen=True)
class Postings:
    """The documents of each term, term by term, in rising order.

    Attributes:
        offsets: (T+1,) term t owns the postings `offsets[t]:offsets[t+1]`.
        documents: (P,) document numbers, of the same integer type as `offsets`.
        counts: (P,) how often the term occurs in the document; the narrowest unsigned type that fits.
        lengths: (D,) int32, indexed tokens of each document.
    """

    offsets: Integers
    documents: Integers
    counts: Integers
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, terms: NDArray[np.int32], lengths: NDArray[np.int32], n_terms: int) -> "Postings":
        """Count a stream of term numbers.

        Args:
            terms: (N,) the term number of each token, document after document.
            lengths: (D,) how many of them belong to each document; sums to N.
            n_terms: how many terms there are.
        """
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if len(terms) <= np.iinfo(np.int32).max:  # sparse arrays take the wider type for all
            ends = ends.astype(np.int32)
        ones = np.ones(len(terms), dtype=np.min_scalar_type(int(lengths.max(initial=0))))
        matrix = sparse.csr_array((ones, terms, ends), shape=(len(lengths), n_terms)).tocsc()
        matrix.sum_duplicates()
        return cls(matrix.indptr, matrix.indices, matrix.data, lengths)

    @classmethod
    def joined(cls, parts: Sequence["Postings"]) -> "Postings":
        """The postings of the documents of `parts`, one part after the other; all know the same terms."""
        if len(parts) == 1:
            return parts[0]
        counts = np.result_type(*(part.counts.dtype for part in parts))
        n_terms = len(parts[0].offsets) - 1
        matrices = [
            sparse.csr_array((part.counts.astype(counts), part.documents, part.offsets), (n_terms, len(part.lengths)))
            for part in parts
        ]
        whole = sparse.hstack(matrices, format="csr")
        return cls(whole.indptr, whole.indices, whole.data, np.concatenate([part.lengths for part in parts]))

    def rows(self, start: int, stop: int) -> "Postings":
        """The postings of the terms from `start` up to `stop`, of which those that are not known here have none."""
        offsets = self.offsets[np.minimum(np.arange(start, stop + 1), len(self.offsets) - 1)]
        span = slice(int(offsets[0]), int(offsets[-1]))
        return Postings(offsets - offsets[0], self.documents[span], self.counts[span], self.lengths)

    def select(self, documents: Integers) -> tuple["Postings", NDArray[np.intp]]:
        """The postings of these documents alone, in this order, and the numbers of the terms that are left."""
        places = np.full(len(self.lengths), -1, dtype=self.documents.dtype)
        places[documents] = np.arange(len(documents))
        numbers = places[self.documents]
        here = numbers >= 0
        ends = np.concatenate([[0], np.cumsum(here)]).astype(self.offsets.dtype)[self.offsets]
        left = np.flatnonzero(np.diff(ends))
        offsets = np.concatenate([ends[:1], ends[left + 1]])
        rows = sparse.csr_array((self.counts[here], numbers[here], offsets), shape=(len(left), len(documents)))
        rows.sort_indices()
        return Postings(rows.indptr, rows.indices, rows.data, self.lengths[documents]), left

    def of_documents(self, documents: Integers) -> sparse.csr_array:
        """(n, T) how often each term occurs in each of these documents: one pass over all postings, none is copied."""
        rows = np.full(len(self.lengths), -1, dtype=np.int32)
        rows[documents] = np.arange(len(documents))
        places = [
            start + np.flatnonzero(rows[self.documents[start : start + _PASSED]] >= 0)
            for start in range(0, len(self.documents), _PASSED)
        ]
        at = np.concatenate([np.empty(0, dtype=np.int64), *places])
        terms = np.searchsorted(self.offsets, at, side="right") - 1
        shape = (len(documents), len(self.offsets) - 1)
        return sparse.csr_array((self.counts[at], (rows[self.documents[at]], terms)), shape=shape)

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics of these documents alone."""
        return Statistics.of(self.lengths, np.diff(self.offsets))


class Weigh(Protocol):
    """The weights of some postings: (P,) float32, whatever part of an index they are."""

    def __call__(self, rows: Postings, first: int = 0) -> Floats:
        """Weigh `rows`, whose first term has the number `first`."""


def idf(frequencies: Integers, documents: int) -> NDArray[np.float64]:
    """(T,) ln(1 + (documents − frequency + ½) / (frequency + ½)), Lucene's, which is never negative."""
    values: NDArray[np.float64] = np.log(1 + (documents - frequencies + 0.5) / (frequencies + 0.5))
    return values


def lucene_weights(lengths: NDArray[np.int32], whole: Statistics, k1: float, b: float) -> Weigh:
    """BM25 weights as Lucene's `BM25Similarity` computes them, in float32 and with lengths kept in one byte.

    The average length and the number of documents are those of documents that are not empty.

    Args:
        lengths: (D,) of the documents whose postings will be weighed.
        whole: of the collection that they are part of; frequencies by the term numbers of those postings.
        k1: see `BM25`.
        b: see `BM25`.
    """
    one, rise, part = np.float32(1), np.float32(k1), np.float32(b)
    average = np.float32(whole.tokens / max(whole.filled, 1))
    kept = _BYTE_LENGTHS[np.searchsorted(_BYTE_LENGTHS, lengths, side="right") - 1].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # k1 = 0, or no document has a token
        inverse = one / (rise * ((one - part) + part * kept / average))
    peaks = idf(whole.frequencies, whole.filled).astype(np.float32)

    def weigh(rows: Postings, first: int = 0) -> Floats:
        peak = _spread(peaks, rows, first)
        weights: Floats = inverse[rows.documents]
        weights *= rows.counts
        weights += one
        np.divide(peak, weights, out=weights)
        return np.subtract(peak, weights, out=weights)

    return weigh


def exact_weights(lengths: NDArray[np.int32], whole: Statistics, k1: float, b: float) -> Weigh:
    """BM25 weights from exact lengths: idf · tf / (tf + k1 (1 − b + b · length / average length)).

    Arguments as for `lucene_weights`.
    """
    average = whole.tokens / max(whole.documents, 1)
    norms = (k1 * (1 - b + b * lengths / max(average, 1e-9))).astype(np.float32)
    peaks = idf(whole.frequencies, whole.documents).astype(np.float32)

    def weigh(rows: Postings, first: int = 0) -> Floats:
        weights: Floats = norms[rows.documents]
        weights += rows.counts
        np.divide(rows.counts, weights, out=weights, dtype=np.float32)
        weights *= _spread(peaks, rows, first)
        return weights

    return weigh


def _spread(values: Floats, rows: Postings, first: int) -> Floats:
    """(P,) for each posting the value of its term; `rows` begin with term `first`."""
    sizes = np.diff(rows.offsets)
    return np.repeat(values[first : first + len(sizes)], sizes)


def _byte_length(code: int) -> int:
    """The length that Lucene's `SmallFloat.byte4ToInt` reads from a byte: exact below 40, then three leading bits."""
    if code < 24:
        return code
    low, shift = (code - 24) & 7, ((code - 24) >> 3) - 1
    return 24 + (low if shift < 0 else (low | 8) << shift)


_BYTE_LENGTHS = np.array([_byte_length(code) for code in range(256)], dtype=np.int64)
