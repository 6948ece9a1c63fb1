"""The inverted index as a lexical retriever searches it: of a whole collection, or of a shard that knows the whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from whyrank.retrieval.filters import allowed
from whyrank.retrieval.lexical import topk
from whyrank.retrieval.lexical.analysis import Analyzer
from whyrank.retrieval.lexical.postings import Floats, Integers, Postings, Statistics, Weigh
from whyrank.retrieval.lexical.segments import Weigher
from whyrank.types import Query, Run


@dataclass(frozen=True)
class InvertedIndex:
    """What was built from a collection, with the document weights that one choice of parameters gives.

    Attributes:
        ids: (D,) ids of the documents here.
        numbers: the number of each term of the collection.
        postings: counts, from which other weights can be computed.
        weights: (P,) float32.
        analyzer: what made the terms.
        whole: the statistics of the collection.
        own: (T,) the row of each term in `postings`, −1 where no document here has it; None where all are the same.
        fill: computes the weights of some rows, where they are not there from the start.
        collection: the fingerprint of the documents; empty where it is not known.
    """

    ids: list[str]
    numbers: dict[str, int]
    postings: Postings
    weights: Floats
    analyzer: Analyzer
    whole: Statistics
    own: NDArray[np.int32] | None = None
    fill: Callable[[Integers], None] | None = None
    collection: str = ""

    @cached_property
    def number(self) -> Callable[[str], int | None]:
        """Finds the number of the term behind a raw token; None where the collection does not have it."""
        term, numbers = self.analyzer.term, self.numbers
        return lru_cache(1 << 16)(lambda token: numbers.get(term(token)))  # type: ignore[arg-type]

    @cached_property
    def terms(self) -> list[str]:
        """The term of each number."""
        return list(self.numbers)

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each document."""
        return {id: number for number, id in enumerate(self.ids)}

    @cached_property
    def matrix(self) -> topk.Matrix:
        """The weighted postings."""
        return topk.Matrix(self.postings.offsets, self.postings.documents, self.weights, len(self.ids))

    def search(
        self,
        queries: Mapping[str, Mapping[int, float]],
        asked: Sequence[Query],
        k: int,
        threads: int,
        floors: Floats | None = None,
    ) -> topk.TopK:
        """Search with term numbers and their weights, by query id; `asked` are the queries with what they filter.

        Args:
            queries: the weights of each query's terms.
            asked: the same queries.
            k: how many documents for each.
            threads: how many threads search.
            floors: (Q,) scores that a document must exceed.
        """
        offsets = np.cumsum([0, *map(len, queries.values())], dtype=np.int64)
        terms = np.fromiter(chain.from_iterable(queries.values()), np.int64, offsets[-1])
        weights = np.fromiter(chain.from_iterable(q.values() for q in queries.values()), np.float32, offsets[-1])
        if self.own is not None:
            terms = self.own[terms].astype(np.int64)
            here = terms >= 0
            offsets = np.concatenate([[0], np.cumsum(here)])[offsets]
            terms, weights = terms[here], weights[here]
        if self.fill is not None:
            self.fill(np.unique(terms))
        filters = allowed(asked, lambda: self.places)
        return topk.search(self.matrix, topk.Batch(offsets, terms, weights, filters, floors), k, threads)


def on_demand(postings: Postings, weigh: Weigh) -> tuple[Floats, Callable[[Integers], None]]:
    """Weights in a temporary file that goes when nobody holds them, and what computes those of some terms, once."""
    with TemporaryFile(prefix="whyrank-weights-") as file:
        weights = np.asarray(np.memmap(file, np.float32, "w+", shape=max(len(postings.documents), 1)))
    there = np.zeros(len(postings.offsets) - 1, dtype=bool)

    def fill(terms: Integers) -> None:
        for term in terms[~there[terms]].tolist():
            rows = postings.rows(term, term + 1)
            start = int(postings.offsets[term])
            weights[start : start + len(rows.documents)] = weigh(rows, term)
            there[term] = True

    return weights, fill


def as_one(shards: Sequence[InvertedIndex], weigher: Weigher) -> list[InvertedIndex]:
    """The indexes of the parts of a collection, each weighed by the statistics of all, with one numbering of terms."""
    numbers: dict[str, int] = {}
    numbered = [
        np.fromiter((numbers.setdefault(term, len(numbers)) for term in shard.numbers), np.int32, len(shard.numbers))
        for shard in shards
    ]
    frequencies = np.zeros(len(numbers), dtype=np.int64)
    for shard, terms in zip(shards, numbered, strict=True):
        frequencies[terms] += shard.whole.frequencies
    whole = Statistics(
        documents=sum(shard.whole.documents for shard in shards),
        filled=sum(shard.whole.filled for shard in shards),
        tokens=sum(shard.whole.tokens for shard in shards),
        frequencies=frequencies,
    )
    told = []
    for shard, terms in zip(shards, numbered, strict=True):
        own = np.full(len(numbers), -1, dtype=np.int32)
        own[terms] = np.arange(len(terms), dtype=np.int32)
        weigh = weigher(shard.postings.lengths, replace(whole, frequencies=frequencies[terms]))
        weights, fill = on_demand(shard.postings, weigh)
        told.append(replace(shard, numbers=numbers, weights=weights, whole=whole, own=own, fill=fill))
    return told


def search_all(
    shards: Sequence[InvertedIndex],
    queries: Mapping[str, Mapping[int, float]],
    asked: Sequence[Query],
    k: int,
    threads: int,
    name: str,
) -> Run:
    """Search the shards of `as_one` in turn, each only for what is better than what was found before."""
    found = shards[0].search(queries, asked, k, threads)
    starts = np.cumsum([0, *(len(shard.ids) for shard in shards)])
    for shard, before in zip(shards[1:], starts[1:-1].tolist(), strict=True):
        found = topk.followed(found, shard.search(queries, asked, k, threads, found.floors(k)), before, k)
    here = np.arange(found.documents.shape[1]) < found.counts[:, np.newaxis]
    used, codes = np.unique(found.documents[here], return_inverse=True)
    places = np.asarray(np.searchsorted(starts, used, side="right")) - 1
    ids = [shards[at].ids[row] for at, row in zip(places.tolist(), (used - starts[places]).tolist(), strict=True)]
    documents = np.zeros_like(found.documents)
    documents[here] = codes
    return found._replace(documents=documents).run(list(queries), ids, name)
