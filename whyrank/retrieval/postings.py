"""The array core of lexical retrieval: which documents hold each term how often, and what each occurrence weighs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
        ones = np.ones(len(terms), dtype=np.min_scalar_type(int(lengths.max(initial=0))))
        matrix = sparse.csr_array((ones, terms, ends), shape=(len(lengths), n_terms)).tocsc()
        matrix.sum_duplicates()
        return cls(matrix.indptr, matrix.indices, matrix.data, lengths)

    def followed_by(self, later: "Postings") -> "Postings":
        """The postings of these documents and then of `later`'s, which know these terms and perhaps more."""
        n_terms, counts = len(later.offsets) - 1, np.promote_types(self.counts.dtype, later.counts.dtype)
        known = np.pad(self.offsets, (0, n_terms + 1 - len(self.offsets)), mode="edge")
        halves = [
            sparse.csr_array((part.counts.astype(counts), part.documents, offsets), shape=(n_terms, len(part.lengths)))
            for part, offsets in ((self, known), (later, later.offsets))
        ]
        both = sparse.hstack(halves, format="csr")
        return Postings(both.indptr, both.indices, both.data, np.concatenate([self.lengths, later.lengths]))

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
        return Statistics(
            documents=len(self.lengths),
            filled=int(np.count_nonzero(self.lengths)),
            tokens=int(self.lengths.sum(dtype=np.int64)),
            frequencies=np.diff(self.offsets),
        )


def idf(frequencies: Integers, documents: int) -> NDArray[np.float64]:
    """(T,) ln(1 + (documents − frequency + ½) / (frequency + ½)), Lucene's, which is never negative."""
    values: NDArray[np.float64] = np.log(1 + (documents - frequencies + 0.5) / (frequencies + 0.5))
    return values


def lucene_weights(postings: Postings, whole: Statistics, k1: float, b: float) -> Floats:
    """(P,) BM25 weights as Lucene's `BM25Similarity` computes them, in float32 and with lengths kept in one byte.

    The average length and the number of documents are those of documents that are not empty.
    """
    one, rise, part = np.float32(1), np.float32(k1), np.float32(b)
    average = np.float32(whole.tokens / max(whole.filled, 1))
    kept = _BYTE_LENGTHS[np.searchsorted(_BYTE_LENGTHS, postings.lengths, side="right") - 1].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # k1 = 0, or no document has a token
        inverse = one / (rise * ((one - part) + part * kept / average))
    peak = np.repeat(idf(whole.frequencies, whole.filled).astype(np.float32), np.diff(postings.offsets))
    weights: Floats = inverse[postings.documents]
    weights *= postings.counts
    weights += one
    np.divide(peak, weights, out=weights)
    return np.subtract(peak, weights, out=weights)


def exact_weights(postings: Postings, whole: Statistics, k1: float, b: float) -> Floats:
    """(P,) BM25 weights from exact lengths: idf · tf / (tf + k1 (1 − b + b · length / average length))."""
    average = whole.tokens / max(whole.documents, 1)
    norms = (k1 * (1 - b + b * postings.lengths / max(average, 1e-9))).astype(np.float32)
    weights: Floats = norms[postings.documents]
    weights += postings.counts
    np.divide(postings.counts, weights, out=weights, dtype=np.float32)
    weights *= np.repeat(idf(whole.frequencies, whole.documents).astype(np.float32), np.diff(postings.offsets))
    return weights


def _byte_length(code: int) -> int:
    """The length that Lucene's `SmallFloat.byte4ToInt` reads from a byte: exact below 40, then three leading bits."""
    if code < 24:
        return code
    low, shift = (code - 24) & 7, ((code - 24) >> 3) - 1
    return 24 + (low if shift < 0 else (low | 8) << shift)


_BYTE_LENGTHS = np.array([_byte_length(code) for code in range(256)], dtype=np.int64)
