"""What retrievers by terms share: an inverted index, in memory or in a folder, that grows and changes."""

import math
import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex, BadInput, BadSpec, want_count
from whyrank.fields import AtLeast, Positive, Share
from whyrank.llm.trace import Trace
from whyrank.registry import HOW, name_of
from whyrank.retrieval import folder
from whyrank.retrieval.base import FolderFirst, distinct
from whyrank.retrieval.changes import Changing, Rows
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.filters import filtering
from whyrank.retrieval.lexical import segments
from whyrank.retrieval.lexical.analysis import AnalyzerName, check_analyzer, find_analyzer, name_of_analyzer
from whyrank.retrieval.lexical.inverted import InvertedIndex, as_one, on_demand, search_all
from whyrank.retrieval.lexical.postings import Postings, Statistics, Weigh, exact_weights, lucene_weights
from whyrank.retrieval.lexical.tokenization import TokenBlocks
from whyrank.retrieval.metadata import Known
from whyrank.types import Document, Fingerprint, Query, Ranking, Run, joined

_KIND, _VERSION = "whyrank-bm25", 1
_COUNTED = ("offsets", "documents", "counts", "lengths")
WEIGHTS = {"lucene": lucene_weights, "exact": exact_weights}
"""How documents are weighed, by what is done to their lengths."""


@dataclass(frozen=True)
class Lexical(Changing):
    """What BM25 and BM25Q share: the index, its folder, its changes, and search by weighted terms."""

    path: FolderFirst = None
    k1: Annotated[float, AtLeast(0)] = 0.9
    b: Share = 0.4
    analyzer: AnalyzerName = "english"
    threads: Positive | None = field(default=None, metadata=HOW)
    processes: Positive = field(default=1, metadata=HOW)
    memory: str = field(default="1GB", metadata=HOW)
    language: str = field(default="", repr=False, kw_only=True)
    _held: InvertedIndex | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True
    file_fields: ClassVar[frozenset[str]] = frozenset({"k1", "b", "analyzer"})

    def __post_init__(self) -> None:
        """Refuse two analysers, and one or a memory that there is not."""
        if self.language and self.analyzer not in {"english", self.language}:
            raise BadSpec(f"language={self.language!r} is short for analyzer={self.language!r}: give one of the two")
        object.__setattr__(self, "analyzer", self.language or self.analyzer)
        object.__setattr__(self, "language", "")
        check_analyzer(self.analyzer)
        if self.processes > 1:
            name_of_analyzer(self.analyzer)
        _bytes(self.memory)

    @abstractmethod
    def _weighting(self) -> dict[str, Any]:
        """The parameters of the document weights: k1, b, lengths."""

    @abstractmethod
    def _query_weights(self, counts: Mapping[int, int], index: InvertedIndex) -> dict[int, float]:
        """The weight of each term of a query, given how often it occurs there."""

    def _changed(
        self, documents: Iterable[Document], rows: Rows | None, path: str | Path | None, known: Known | None
    ) -> Self:
        old = self._ready()
        reading = TokenBlocks(documents, self.analyzer, old.numbers, processes=self.processes)
        if rows is None:
            return self._longer(old, reading, path, known)
        new = segments.whole(reading)
        postings = Postings.joined([old.postings.rows(0, len(reading.terms)), new]) if reading.ids else old.postings
        postings, left = postings.select(rows)
        ids, terms = [*old.ids, *reading.ids], list(reading.terms)
        chosen = [ids[row] for row in rows.tolist()]
        numbers = {terms[term]: number for number, term in enumerate(left.tolist())}
        if path is None:
            return self._holding(chosen, numbers, postings, "")
        with self._writing(path, "", known) as part:
            segments.write(part, [lambda: postings], chosen, numbers, self._weigh, _bytes(self.memory))
        return self.at(path)

    def _longer(self, old: InvertedIndex, reading: TokenBlocks, path: str | Path | None, known: Known | None) -> Self:
        """A copy that also has what is read; on the way to a folder the postings take bounded memory."""
        if path is None:
            new = segments.whole(reading)
            postings = Postings.joined([old.postings.rows(0, len(reading.terms)), new])
            collection = joined(old.collection, str(reading.fingerprint))
            return self._holding([*old.ids, *reading.ids], reading.terms, postings, collection)
        if old.collection:
            reading.fingerprint.join(Fingerprint.read(old.collection))
        with self._writing(path, reading.fingerprint if old.collection else "", known) as part:
            memory = _bytes(self.memory)
            segments.build(part, reading, self._weigh, memory, before=old.postings, ids=old.ids)
        return self.at(path)

    def _place(self, index: InvertedIndex, id: str) -> int:
        if id not in index.places:
            raise BadInput(f"the index of {self!r} has no document {id!r}")
        return index.places[id]

    def search_terms(
        self,
        queries: Mapping[str, Mapping[str, float]],
        k: int = 100,
        excluded: Mapping[str, Collection[str]] | None = None,
        only: Mapping[str, Collection[str]] | None = None,
    ) -> Run:
        """Search with weighted index terms instead of text: a document scores Σ weight · its BM25 weight for the term.

        Args:
            queries: for each query id its terms, as the analyser writes them, with weights of 0 or more.
            k: how many documents to return for each query.
            excluded: for some queries, ids of documents that must not be returned.
            only: for some queries, ids of the documents that may be returned.

        Raises:
            BadInput: `k` is below 1, a weight is negative or not finite, or there is no index yet.
        """
        want_count(k, "k")
        for query, weighted in queries.items():
            for term, weight in weighted.items():
                if not (math.isfinite(weight) and weight >= 0):
                    raise BadInput(f"query {query!r}: the weight of {term!r} is {weight}, it must not be negative")
        index = self._ready()
        numbers = index.numbers
        known = [
            {numbers[term]: weighted[term] for term in weighted if term in numbers} for weighted in queries.values()
        ]
        return self._find(index, dict(zip(queries, known, strict=True)), filtering(queries, excluded, only), k)

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
        places = np.array([self._place(index, id) for id in wanted], dtype=np.int64)
        found = index.postings.of_documents(places)
        whole = index.whole
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
        with self._writing(path, index.collection, self._noted()) as part:
            postings = [lambda: index.postings]
            segments.write(part, postings, index.ids, index.numbers, self._weigh, _bytes(self.memory))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The retriever with the parameters and the index of the folder `path`; its arrays are mapped into memory.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder is no BM25 index, of another format version, or damaged.
        """
        saved = folder.read(Path(path), kind=_KIND, version=_VERSION)
        if ":" in str(saved.about.get("analyzer")):
            function = saved.about["analyzer"]
            raise BadIndex(
                f"{path} was indexed with the function {function!r}, which a file may name but not load: "
                f"say {name_of(cls)}({str(path)!r}, analyzer={function!r})"
            )
        opened = cls._from_folder(path, saved.about)
        opened._hold(saved)
        return opened

    def _index(self, corpus: Iterable[Document]) -> None:
        reading = TokenBlocks(corpus, self.analyzer, processes=self.processes)
        held = None
        if self.path is None:
            postings = segments.whole(reading)
            held = self._holding(reading.ids, reading.terms, postings, str(reading.fingerprint))._held
        else:
            with self._writing(self.path, reading.fingerprint, self._noted()) as part:
                segments.build(part, reading, self._weigh, _bytes(self.memory))
        object.__setattr__(self, "_held", held)

    @classmethod
    def _as_shards(cls, parts: Sequence[Self]) -> Sequence[Self]:
        shards = [copy(part) for part in parts]
        indexes = [part._ready() for part in parts]
        distinct(chain.from_iterable(index.ids for index in indexes))
        for shard, index in zip(shards, as_one(indexes, parts[0]._weigh), strict=True):
            object.__setattr__(shard, "_held", index)
        return shards

    def _collection(self) -> tuple[str, Iterable[str]]:
        return self._ready().collection, self._ready().ids

    def _writing(self, path: str | Path, collection: object, known: Known | None) -> AbstractContextManager[Path]:
        about = {"analyzer": name_of_analyzer(self.analyzer), **self._weighting()}
        how: dict[str, Any] = {"kind": _KIND, "version": _VERSION, "about": about}
        return folder.writing(Path(path), **how, collection=collection, known=known)

    def _holding(self, ids: list[str], numbers: dict[str, int], postings: Postings, collection: str) -> Self:
        """A copy with an index of these documents; it lies in no folder yet."""
        whole = postings.statistics
        weights = self._weigh(postings.lengths, whole)(postings)
        held = copy(self)
        object.__setattr__(held, "path", None)
        index = InvertedIndex(
            ids, numbers, postings, weights, find_analyzer(self.analyzer), whole, collection=collection
        )
        object.__setattr__(held, "_held", index)
        return held

    def _hold(self, saved: folder.Saved) -> InvertedIndex:
        """Search the index of a folder; its weights are computed anew where they were made with other parameters."""
        found = saved.about.get("analyzer")
        if found != name_of_analyzer(self.analyzer):
            raise BadIndex(f"{self.path} was indexed with analyzer={found!r}, which {self!r} does not ask for")
        numbers = _checked(saved.checked(Path(str(self.path))))
        postings = Postings(*(saved.arrays[name] for name in _COUNTED))
        whole, weights, fill = postings.statistics, saved.arrays["weights"], None
        if any(saved.about.get(name) != value for name, value in self._weighting().items()):
            weights, fill = on_demand(postings, self._weigh(postings.lengths, whole))
        analyzer, ids = find_analyzer(self.analyzer), saved.texts["ids"]
        held = InvertedIndex(ids, numbers, postings, weights, analyzer, whole, fill=fill, collection=saved.collection)
        object.__setattr__(self, "_held", held)
        return held

    def _weigh(self, lengths: NDArray[np.int32], whole: Statistics) -> Weigh:
        how = self._weighting()
        return WEIGHTS[how["lengths"]](lengths, whole, how["k1"], how["b"])

    def _ready(self) -> InvertedIndex:
        if self._held is not None:
            return self._held
        if self.path is None:
            raise BadInput(f"{self!r} has no index yet: call index(corpus), or give the path of a saved index")
        return self._hold(folder.read(Path(self.path), kind=_KIND, version=_VERSION))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        index = self._ready()
        return self._find(index, self._weighted(queries, index), queries, k)

    @classmethod
    def _run_shards(cls, shards: Sequence[Self], queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        indexes, first = [shard._ready() for shard in shards], shards[0]
        weighted = first._weighted(queries, indexes[0])  # term numbers and statistics are those of all shards
        return search_all(indexes, weighted, queries, k, first._threads, name_of(cls))

    def _weighted(self, queries: Sequence[Query], index: InvertedIndex) -> dict[str, dict[int, float]]:
        """The terms of each query, by number, and their weights."""
        tokens, number = index.analyzer.tokens, index.number
        weighted = {}
        for query in queries:
            counts: dict[int, int] = {}
            for term in map(number, tokens(query.text)):
                if term is not None:
                    counts[term] = counts.get(term, 0) + 1
            weighted[query.id] = self._query_weights(counts, index)
        return weighted

    @property
    def _threads(self) -> int:
        return self.threads or os.cpu_count() or 1

    def _find(
        self, index: InvertedIndex, weighted: Mapping[str, Mapping[int, float]], asked: Sequence[Query], k: int
    ) -> Run:
        """Search with term numbers and their weights, by query id."""
        found = index.search(weighted, asked, k, self._threads)
        return found.run(list(weighted), index.ids, name_of(type(self)))


def _checked(found: Checked) -> dict[str, int]:
    """The number of each term, after a look at all that search will use as places in memory."""
    ids = found.ids("ids")
    lengths = found.array("lengths", ["int32"], len(ids))
    found.not_negative("lengths")
    n_terms = found.postings(len(ids), counts=["uint8", "uint16", "uint32"], weights=["float32"])
    found.not_negative("weights")
    counts = found.arrays["counts"]
    if counts.min(initial=1) < 1 or counts.sum(dtype=np.int64) != lengths.sum(dtype=np.int64):
        found.refuse("counts", "they do not add up to the lengths of the documents")
    return found.numbers("terms", n_terms)


def _bytes(memory: str) -> float:
    """How many bytes a text such as "1.5GB" means."""
    if (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB)", memory)) is None:
        raise BadSpec(f"memory must be a number and kB, MB or GB, such as '1GB' or '200MB', not {memory!r}")
    return float(found[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[found[2]]
