"""BM25 without Java: `bm25()` ranks as Lucene does, `bm25q()` as BRIGHT's baseline, which weighs the query as well."""

import math
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from whyrank.errors import BadIndex, BadInput, BadSpec
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval import folder, reading, topk
from whyrank.retrieval.analysis import Analyzer, find_analyzer
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.postings import Floats, Postings, exact_weights, idf, lucene_weights
from whyrank.types import Document, Query, Ranking, Run

_KIND, _VERSION = "whyrank-bm25", 1
_COUNTED = ("offsets", "documents", "counts", "lengths")
_WEIGHTS = {"lucene": lucene_weights, "exact": exact_weights}


@dataclass(frozen=True)
class _Index:
    """What was built from a collection, with the document weights that one choice of parameters gives.

    Attributes:
        ids: (D,) document ids.
        numbers: the number of each term.
        postings: counts, from which other weights can be computed.
        weights: (P,) float32.
        analyzer: what made the terms.
    """

    ids: list[str]
    numbers: dict[str, int]
    postings: Postings
    weights: Floats
    analyzer: Analyzer

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


@dataclass(frozen=True)
class _Lexical(Retriever):
    """What BM25 and BM25Q share: the index, its folder, and search by weighted terms."""

    path: str | None = None
    k1: float = 0.9
    b: float = 0.4
    analyzer: str = "english"
    threads: int | None = None
    processes: int = 1
    _held: _Index | None = field(default=None, init=False, repr=False, compare=False)

    masks_excluded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse parameters that BM25 does not have."""
        if not (math.isfinite(self.k1) and self.k1 >= 0):
            raise BadSpec(f"k1 must be a number that is not negative, not {self.k1!r}")
        if not 0 <= self.b <= 1:
            raise BadSpec(f"b must lie between 0 and 1, not {self.b!r}")
        for name in ("threads", "processes"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise BadSpec(f"{name} must be at least 1, not {number!r}")
        find_analyzer(self.analyzer)
        object.__setattr__(self, "path", None if self.path is None else str(self.path))

    @abstractmethod
    def _weighting(self) -> dict[str, Any]:
        """The parameters of the document weights: k1, b, lengths."""

    @abstractmethod
    def _query_weights(self, counts: Mapping[int, int], index: _Index) -> dict[int, float]:
        """The weight of each term of a query, given how often it occurs there."""

    def append(self, documents: Iterable[Document]) -> Self:
        """A copy of this retriever that searches its collection and then `documents`, as if indexed together.

        Raises:
            BadInput: a document's id is in the index already or is given twice, or there is no index yet.
        """
        old = self._ready()
        ids, terms, block = reading.read(documents, self.analyzer, old.numbers, processes=self.processes)
        ids = [*old.ids, *ids]
        if len(set(ids)) < len(ids):
            twice = next(id for id, times in Counter(ids).items() if times > 1)
            raise BadInput(f"document {twice!r} occurs twice: ids must be unique, in the index and in what is appended")
        return self._holding(ids, terms, old.postings.followed_by(Postings.of(*block, len(terms))))

    def search_terms(
        self,
        queries: Mapping[str, Mapping[str, float]],
        k: int = 100,
        excluded: Mapping[str, Collection[str]] | None = None,
    ) -> Run:
        """Search with weighted index terms instead of text: a document scores Σ weight · its BM25 weight for the term.

        Args:
            queries: for each query id its terms, as the analyser writes them, with weights of 0 or more.
            k: how many documents to return for each query.
            excluded: for some queries, ids of documents that must not be returned.

        Raises:
            BadInput: `k` is below 1, a weight is negative or not finite, or there is no index yet.
        """
        if k < 1:
            raise BadInput(f"k must be at least 1, not {k}")
        for query, weighted in queries.items():
            for term, weight in weighted.items():
                if not (math.isfinite(weight) and weight >= 0):
                    raise BadInput(f"query {query!r}: the weight of {term!r} is {weight}, it must not be negative")
        index, excluded = self._ready(), excluded or {}
        numbers = index.numbers
        known = [
            {numbers[term]: weighted[term] for term in weighted if term in numbers} for weighted in queries.values()
        ]
        return self._find(index, dict(zip(queries, known, strict=True)), [excluded.get(id, ()) for id in queries], k)

    def document_terms(self, ids: Iterable[str], max_df: float = 1.0) -> dict[str, dict[str, int]]:
        """How often each index term occurs in each of these documents, by document id.

        One pass over the postings finds the terms of all of them, so ask for many documents at once.

        Args:
            ids: of documents.
            max_df: terms in more than this share of the documents that are not empty are left out.

        Raises:
            BadInput: there is no such document, or no index yet.
        """
        index, wanted = self._ready(), list(dict.fromkeys(ids))
        if unknown := [id for id in wanted if id not in index.places]:
            raise BadInput(f"the index of {self!r} has no document {unknown[0]!r}")
        found = index.postings.of_documents(np.array([index.places[id] for id in wanted], dtype=np.int64))
        whole = index.postings.statistics
        common = whole.frequencies > max_df * whole.filled
        terms, counts, rare = found.indices.tolist(), found.data.tolist(), (~common[found.indices]).tolist()
        spans = pairwise(found.indptr.tolist())
        return {
            id: {index.terms[terms[at]]: counts[at] for at in range(start, end) if rare[at]}
            for id, (start, end) in zip(wanted, spans, strict=True)
        }

    def save(self, path: str | Path) -> None:
        """Write the index to the new folder `path`: whole or not at all.

        Raises:
            BadInput: there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        index = self._ready()
        folder.write(
            Path(path),
            kind=_KIND,
            version=_VERSION,
            about={"analyzer": self.analyzer, **self._weighting()},
            arrays={**{name: getattr(index.postings, name) for name in _COUNTED}, "weights": index.weights},
            texts={"ids": index.ids, "terms": list(index.numbers)},
        )

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The retriever with the parameters and the index of the folder `path`; its arrays are mapped into memory.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder is no BM25 index, of another format version, or damaged.
        """
        saved = folder.read(Path(path), kind=_KIND, version=_VERSION)
        taken = {field.name for field in fields(cls)}
        opened = cls(path=str(path), **{name: value for name, value in saved.about.items() if name in taken})
        opened._hold(saved)
        return opened

    def _index(self, corpus: Iterable[Document]) -> None:
        ids, terms, block = reading.read(corpus, self.analyzer, processes=self.processes)
        built = self._holding(ids, terms, Postings.of(*block, len(terms)))
        object.__setattr__(self, "_held", built._held)
        if self.path is not None:
            self.save(self.path)

    def _holding(self, ids: list[str], terms: Sequence[str], postings: Postings) -> Self:
        """A copy with an index of these documents; it lies in no folder yet."""
        numbers = {term: number for number, term in enumerate(terms)}
        held = copy(self)
        object.__setattr__(held, "path", None)
        object.__setattr__(
            held, "_held", _Index(ids, numbers, postings, self._weigh(postings), find_analyzer(self.analyzer))
        )
        return held

    def _hold(self, saved: folder.Saved) -> _Index:
        """Search the index of a folder; its weights are computed anew where they were made with other parameters."""
        if saved.about["analyzer"] != self.analyzer:
            found = saved.about["analyzer"]
            raise BadIndex(f"{self.path} was indexed with analyzer={found!r}, which {self!r} does not ask for")
        postings = Postings(*(saved.arrays[name] for name in _COUNTED))
        same = all(saved.about[name] == value for name, value in self._weighting().items())
        numbers = {term: number for number, term in enumerate(saved.texts["terms"])}
        weights = saved.arrays["weights"] if same else self._weigh(postings)
        held = _Index(saved.texts["ids"], numbers, postings, weights, find_analyzer(self.analyzer))
        object.__setattr__(self, "_held", held)
        return held

    def _weigh(self, postings: Postings) -> Floats:
        how = self._weighting()
        compute = _WEIGHTS[how["lengths"]]
        return compute(postings, postings.statistics, how["k1"], how["b"])

    def _ready(self) -> _Index:
        if self._held is not None:
            return self._held
        if self.path is None:
            raise BadInput(f"{self!r} has no index yet: call index(corpus), or give the path of a saved index")
        return self._hold(folder.read(Path(self.path), kind=_KIND, version=_VERSION))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        index = self._ready()
        tokens, number = index.analyzer.tokens, index.number
        weighted = {}
        for query in queries:
            counts: dict[int, int] = {}
            for term in map(number, tokens(query.text)):
                if term is not None:
                    counts[term] = counts.get(term, 0) + 1
            weighted[query.id] = self._query_weights(counts, index)
        return self._find(index, weighted, [query.excluded for query in queries], k)

    def _find(
        self,
        index: _Index,
        queries: Mapping[str, Mapping[int, float]],
        excluded: Sequence[Collection[str]],
        k: int,
    ) -> Run:
        """Search with term numbers and their weights, by query id."""
        offsets = np.cumsum([0, *map(len, queries.values())], dtype=np.int64)
        terms = np.fromiter(chain.from_iterable(queries.values()), np.int64, offsets[-1])
        weights = np.fromiter(chain.from_iterable(q.values() for q in queries.values()), np.float32, offsets[-1])
        banned = {
            query: np.array([index.places[id] for id in ids if id in index.places], dtype=np.int64)
            for query, ids in enumerate(excluded)
            if ids
        }
        batch = topk.Batch(offsets, terms, weights, banned)
        found = topk.search(index.matrix, batch, k, self.threads or os.cpu_count() or 1)
        return found.run(list(queries), index.ids, name_of(type(self)))


@dataclass(frozen=True)
class BM25(_Lexical):
    """BM25 over Lucene's English analysis; with the default `lengths` it ranks as Lucene itself does.

    Robertson and others, "Okapi at TREC-3", 1994; the variant and the defaults are those of Lucene and Anserini.

    >>> from whyrank.types import Document, Query
    >>> bees = BM25().index([Document("d1", "Bees dance to tell where food is."), Document("d2", "Ants leave trails.")])
    >>> list(bees.search([Query("q", "why do bees dance?")])["q"].ids)
    ['d1']

    Attributes:
        path: the folder of the index: `index` writes it, the first search opens it; without one it stays in memory.
        k1: how soon further occurrences of a term stop counting; 0 or more.
        b: how much long documents are held back; 0 to 1.
        analyzer: how text becomes terms: "english", or "terms" for text that already is terms set apart by spaces.
        threads: how many threads search; all processors if None. The result does not depend on it.
        processes: how many processes analyse text when indexing; with more than one, a script needs the usual
            `if __name__ == "__main__"`.
        lengths: "lucene" keeps document lengths in one byte as Lucene does, "exact" keeps them as they are.
    """

    lengths: str = "lucene"

    def __post_init__(self) -> None:
        """Refuse parameters that BM25 does not have."""
        super().__post_init__()
        if self.lengths not in _WEIGHTS:
            raise BadSpec(f"lengths must be 'lucene' or 'exact', not {self.lengths!r}")

    def _weighting(self) -> dict[str, Any]:
        return {"k1": self.k1, "b": self.b, "lengths": self.lengths}

    def _query_weights(self, counts: Mapping[int, int], index: _Index) -> dict[int, float]:
        return {term: float(count) for term, count in counts.items()}


@dataclass(frozen=True)
class BM25Q(_Lexical):
    """The query-side BM25 of BRIGHT: a query's terms are weighted as a document's are, so that long queries saturate.

    score = Σ wq(t) · wd(t) with w(t) = idf(t) · tf / (tf + k1 (1 − b + b · length / average length)) on both sides; the
    length of a query counts only tokens that the collection has. The code of BRIGHT (2024) runs gensim's
    `LuceneBM25Model` so; named BM25Q in arXiv 2509.02558. Parameters as for `BM25`; lengths are exact.
    """

    def _weighting(self) -> dict[str, Any]:
        return {"k1": self.k1, "b": self.b, "lengths": "exact"}

    def _query_weights(self, counts: Mapping[int, int], index: _Index) -> dict[int, float]:
        whole = index.postings.statistics
        relative = sum(counts.values()) * whole.documents / max(whole.tokens, 1)
        norm = self.k1 * (1 - self.b + self.b * relative)
        rarity = idf(whole.frequencies[list(counts)], whole.documents)
        return {
            term: weight * count / (count + norm) for (term, count), weight in zip(counts.items(), rarity, strict=True)
        }
