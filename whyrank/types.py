"""The nouns of whyrank: Query, Document, Corpus, Ranking, Run, Qrels, Dataset. All frozen; ids are always `str`.

An order is the truth: a `Run` keeps for each query its documents best first, refuses one document twice, and gives
scores that fall strictly even in float32, so that every evaluation tool sees the same order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and the ids of the documents that must never be returned for it (BRIGHT's `excluded_ids`)."""

    id: str
    text: str
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Document:
    """A passage or document."""

    id: str
    text: str
    title: str = ""

    @property
    def content(self) -> str:
        """Title and text in one line of text, as lexical and dense indexes see the document."""
        return f"{self.title} {self.text}" if self.title else self.text


class Ranking(NamedTuple):
    """One query's documents, best first: `ids` and `scores` of equal length (n,), scores never rising."""

    ids: Sequence[str]
    scores: NDArray[np.float64]


class Corpus:
    """Documents in their order, found by id: iterate over them, or ask `corpus["d7"]`."""

    def __init__(self, documents: Iterable[Document]) -> None:
        """Hold `documents` in memory.

        Raises:
            BadInput: two documents have the same id.
        """
        self._documents: dict[str, Document] = {}
        for document in documents:
            if self._documents.setdefault(document.id, document) is not document:
                raise BadInput(f"document {document.id!r} occurs twice in the collection: ids must be unique")

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        """The documents in collection order."""
        return iter(self._documents.values())

    def __contains__(self, id: object) -> bool:
        """Whether there is a document of that id."""
        return id in self._documents

    def __getitem__(self, id: str) -> Document:
        """The document of that id; a KeyError where there is none."""
        return self._documents[id]


class Run(Mapping[str, Ranking]):
    """Rankings of many queries, held in arrays: `run["q1"]` is that query's `Ranking`.

    The entries of query i are `codes[offsets[i]:offsets[i+1]]`, positions in the table of document ids `documents`,
    best first, with their `scores`. Build one with `Run.of`; `whyrank.io` reads and writes TREC files.

    Attributes:
        query_ids: (Q,) ids of the queries, in run order.
        offsets: (Q+1,) int64, where each query's entries begin.
        codes: (N,) int32, positions in `documents`.
        documents: (D,) the distinct document ids.
        scores: (N,) float64, raw scores as the ranker or the file gave them, never rising within a query.
        name: the run's tag.
        notes: what travels beside the order, by query id: reasons, raw model scores, the status of each model call.
    """

    def __init__(
        self,
        query_ids: Sequence[str],
        offsets: NDArray[np.int64],
        codes: NDArray[np.int32],
        documents: Sequence[str],
        scores: NDArray[np.float64],
        *,
        name: str = "run",
        notes: Mapping[str, object] | None = None,
    ) -> None:
        """Take the arrays as they are, after checking them.

        Raises:
            BadInput: a query twice, a document twice for one query, a score that is not finite, or scores that rise.
        """
        self.query_ids, self.offsets, self.codes, self.documents = tuple(query_ids), offsets, codes, documents
        self.scores, self.name, self.notes = scores, name, dict(notes or {})
        self._row = {id: row for row, id in enumerate(self.query_ids)}
        self._check()

    @classmethod
    def of(
        cls,
        rankings: Mapping[str, Ranking | Sequence[str] | Mapping[str, float]],
        *,
        name: str = "run",
        notes: Mapping[str, object] | None = None,
    ) -> "Run":
        """Build a run from `{query id: Ranking | document ids best first | {document id: score}}`.

        Document ids without scores get n, n-1, … 1. A dictionary of scores is ordered as trec_eval orders it: score
        falling, then document id falling.
        """
        parts = [_as_ranking(given) for given in rankings.values()]
        table: dict[str, int] = {}
        codes = np.fromiter((table.setdefault(id, len(table)) for part in parts for id in part.ids), dtype=np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(part.ids) for part in parts], dtype=np.int64)]).astype(np.int64)
        scores = np.concatenate([np.empty(0), *(np.asarray(part.scores, dtype=np.float64) for part in parts)])
        return cls(list(rankings), offsets, codes, list(table), scores, name=name, notes=notes)

    def __getitem__(self, query_id: str) -> Ranking:
        """The ranking of one query."""
        row = self._row[query_id]
        span = slice(self.offsets[row], self.offsets[row + 1])
        return Ranking([self.documents[code] for code in self.codes[span].tolist()], self.scores[span])

    def __iter__(self) -> Iterator[str]:
        """The query ids, in run order."""
        return iter(self.query_ids)

    def __len__(self) -> int:
        """How many queries the run has."""
        return len(self.query_ids)

    def __contains__(self, query_id: object) -> bool:
        """Whether the run has a ranking, be it empty, for this query."""
        return query_id in self._row

    def __repr__(self) -> str:
        """Name and size."""
        return f"Run({self.name!r}, {len(self):,} queries, {len(self.codes):,} entries)"

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """(N,) int32: which query each entry belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    @cached_property
    def strict_scores(self) -> NDArray[np.float32]:
        """(N,) float32: the scores, lowered by as little as makes them fall strictly within each query."""
        strict = self.scores.astype(np.float32)
        bound = np.float32(np.finfo(np.float32).max) / 2
        np.clip(strict, -bound, bound, out=strict)
        ties = np.flatnonzero((strict[1:] >= strict[:-1]) & (self.rows[1:] == self.rows[:-1]))
        below = np.float32(-np.inf)
        for row in np.unique(self.rows[ties]).tolist():
            part = strict[self.offsets[row] : self.offsets[row + 1]]
            for at in range(1, len(part)):
                if part[at] >= part[at - 1]:
                    part[at] = np.nextafter(part[at - 1], below)
        return strict

    @cached_property
    def ties(self) -> int:
        """How many entries have the same score, in float32, as the entry before them."""
        narrow = self.scores.astype(np.float32)
        return int(np.count_nonzero((narrow[1:] == narrow[:-1]) & (self.rows[1:] == self.rows[:-1])))

    def top(self, k: int) -> "Run":
        """The first `k` documents of each query."""
        return self._where(np.arange(len(self.codes)) - self.offsets[self.rows] < k)

    def without(self, queries: Iterable[Query]) -> "Run":
        """The run without the documents that each of `queries` excludes."""
        excluded = {query.id: query.excluded for query in queries if query.excluded}
        if not excluded:
            return self
        keep = np.ones(len(self.codes), dtype=bool)
        for query_id, banned in excluded.items():
            if (row := self._row.get(query_id)) is not None:
                span = slice(self.offsets[row], self.offsets[row + 1])
                keep[span] = [self.documents[code] not in banned for code in self.codes[span].tolist()]
        return self if keep.all() else self._where(keep)

    def named(self, name: str) -> "Run":
        """The same run under another name."""
        return Run(self.query_ids, self.offsets, self.codes, self.documents, self.scores, name=name, notes=self.notes)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """`{query id: {document id: strictly falling score}}`, the form of pytrec_eval, ranx and ir_measures."""
        ids = [self.documents[code] for code in self.codes.tolist()]
        scores, ends = self.strict_scores.tolist(), self.offsets.tolist()
        return {
            query: dict(zip(ids[ends[row] : ends[row + 1]], scores[ends[row] : ends[row + 1]], strict=True))
            for row, query in enumerate(self.query_ids)
        }

    def _where(self, keep: NDArray[np.bool_]) -> "Run":
        counts = np.bincount(self.rows[keep], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Run(
            self.query_ids,
            offsets,
            self.codes[keep],
            self.documents,
            self.scores[keep],
            name=self.name,
            notes=self.notes,
        )

    def _check(self) -> None:
        if len(self._row) < len(self.query_ids):
            twice = next(id for at, id in enumerate(self.query_ids) if self._row[id] != at)
            raise BadInput(f"run {self.name!r}: query {twice!r} occurs twice")
        bad = np.flatnonzero(~np.isfinite(self.scores))
        if bad.size:
            raise BadInput(f"{self._at(bad[0])} has the score {self.scores[bad[0]]}: scores must be finite numbers")
        same = self.rows[1:] == self.rows[:-1]
        rising = np.flatnonzero((self.scores[1:] > self.scores[:-1]) & same)
        if rising.size:
            raise BadInput(f"{self._at(rising[0] + 1)} has a higher score than the document ranked above it")
        keys = np.sort(self.rows.astype(np.int64) * len(self.documents) + self.codes)
        if (repeats := np.flatnonzero(keys[1:] == keys[:-1])).size:
            row, code = divmod(int(keys[repeats[0]]), len(self.documents))
            raise BadInput(
                f"run {self.name!r}, query {self.query_ids[row]!r}: document {self.documents[code]!r} is ranked twice"
            )

    def _at(self, entry: int) -> str:
        row, code = int(self.rows[entry]), int(self.codes[entry])
        return f"run {self.name!r}, query {self.query_ids[row]!r}: document {self.documents[code]!r}"


def _as_ranking(given: Ranking | Sequence[str] | Mapping[str, float]) -> Ranking:
    if isinstance(given, Ranking):
        return given
    if isinstance(given, Mapping):
        ids = sorted(given, reverse=True)
        ids.sort(key=lambda id: -given[id])
        return Ranking(ids, np.array([given[id] for id in ids], dtype=np.float64))
    return Ranking(given, np.arange(len(given), 0, -1, dtype=np.float64))


class Qrels(Mapping[str, Mapping[str, int]]):
    """Relevance judgements: `qrels["q1"]["d7"]` is the grade that an assessor gave; 0 or less is not relevant."""

    def __init__(self, grades: Mapping[str, Mapping[str, int]]) -> None:
        """Hold `{query id: {document id: grade}}`."""
        self._grades = {query: dict(judged) for query, judged in grades.items()}

    def __getitem__(self, query_id: str) -> Mapping[str, int]:
        """The judged documents of one query with their grades."""
        return self._grades[query_id]

    def __iter__(self) -> Iterator[str]:
        """The judged queries."""
        return iter(self._grades)

    def __len__(self) -> int:
        """How many queries are judged."""
        return len(self._grades)

    def __repr__(self) -> str:
        """Size."""
        return f"Qrels({len(self):,} queries, {sum(map(len, self._grades.values())):,} judgements)"


@dataclass(frozen=True)
class Dataset:
    """A collection with its queries and judgements; parts that a source does not have are empty.

    Attributes:
        name: as given to `load`.
        corpus: the documents.
        queries: the queries, with the documents that each excludes.
        qrels: the judgements.
        candidates: a first-stage run that the source publishes, or None.
    """

    name: str
    corpus: Corpus = field(default_factory=lambda: Corpus(()))
    queries: tuple[Query, ...] = ()
    qrels: Qrels = field(default_factory=lambda: Qrels({}))
    candidates: Run | None = None

    def head(self, n: int) -> "Dataset":
        """The same data with the first `n` queries only: for a quick trial."""
        return replace(self, queries=self.queries[:n])
