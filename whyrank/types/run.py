"""Rankings: an order is the truth.

A `Run` keeps for each query its documents best first, refuses one document twice, and gives scores that fall strictly
even in float32, so that every evaluation tool sees the same order.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, want
from whyrank.notebook import html_table
from whyrank.types.note import Note
from whyrank.types.texts import Query

_STRINGS = np.dtypes.StringDType(coerce=False)


class Ranking(NamedTuple):
    """One query's documents, best first: `ids` and `scores` of equal length (n,), scores never rising."""

    ids: Sequence[str]
    scores: NDArray[np.float64]


class Run(Mapping[str, Ranking]):
    """Rankings of many queries, held in arrays: `run["q1"]` is that query's `Ranking`.

    The entries of query i are `codes[offsets[i]:offsets[i+1]]`, positions in the table of document ids `documents`,
    best first, with their `scores`. Build one with `Run.of`; `whyrank.io` reads and writes TREC files.

    Attributes:
        query_ids: (Q,) ids of the queries, in run order.
        offsets: (Q+1,) int64, where each query's entries begin.
        codes: (N,) int32, positions in `documents`.
        documents: (D,) document ids, a sequence or an array of numpy's `StringDType`. An engine hands in its own table
            of ids; one made from a file may hold an id once for each query, but never twice for one.
        scores: (N,) float64, raw scores as the ranker or the file gave them, never rising within a query when they are
            compared in float32, as trec_eval compares.
        name: the run's tag.
        notes: what travels beside the order, by query id: what was thought, raw model scores, the status of each model
            call. It cannot be changed; `with_notes` gives a run with others.
        places: (N,) int64, where in its file each entry stood, if reading put ties into another order; else None.
    """

    places: NDArray[np.int64] | None = None

    def __init__(
        self,
        query_ids: Sequence[str],
        offsets: NDArray[np.int64],
        codes: NDArray[np.int32],
        documents: Sequence[str] | NDArray[Any],
        scores: NDArray[np.float64],
        *,
        name: str = "run",
        notes: Mapping[str, Note] | None = None,
    ) -> None:
        """Take the arrays as they are, after checking them.

        Raises:
            BadInput: a query twice, a document twice for one query, a score that is not finite, scores that rise, or
                arrays that do not fit together.
        """
        self.query_ids, self.offsets, self.codes, self.documents = tuple(query_ids), offsets, codes, documents
        self.scores, self.name, self._notes = scores, name, _checked(notes or {}, name)
        self._row = {id: row for row, id in enumerate(self.query_ids)}
        self._check()

    @classmethod
    def of(
        cls,
        rankings: Mapping[str, Ranking | Sequence[str] | Mapping[str, float]],
        *,
        name: str = "run",
        notes: Mapping[str, Note] | None = None,
    ) -> "Run":
        """Build a run from `{query id: Ranking | document ids best first | {document id: score}}`.

        Document ids without scores get n, n-1, … 1. A dictionary of scores is ordered by `trec_order`.

        Raises:
            BadInput: as `Run` itself, or an id that is empty or no text.
        """
        want(rankings, Mapping, f"run {name!r}", "hand in {query id: ids, best first} or {query id: {id: score}}")
        parts = {query: _as_ranking(given) for query, given in rankings.items()}
        for query, part in parts.items():
            if len(set(part.ids)) < len(part.ids):
                twice = next(id for id, count in Counter(part.ids).items() if count > 1)
                raise BadInput(f"run {name!r}, query {query!r}: document {twice!r} is ranked twice")
        documents = _table(id for part in parts.values() for id in part.ids)
        offsets = np.concatenate([[0], np.cumsum([len(part.ids) for part in parts.values()])]).astype(np.int64)
        scores = np.concatenate([np.empty(0), *(np.asarray(part.scores, dtype=np.float64) for part in parts.values())])
        codes = np.arange(len(documents), dtype=np.int32)
        return cls(_table(parts).tolist(), offsets, codes, documents, scores, name=name, notes=notes)

    def __getitem__(self, query_id: str) -> Ranking:
        """The ranking of one query."""
        span = self._span(self._row[query_id])
        return Ranking(self._ids(self.codes[span]), self.scores[span])

    def __iter__(self) -> Iterator[str]:
        """The query ids, in run order."""
        return iter(self.query_ids)

    def __len__(self) -> int:
        """How many queries the run has."""
        return len(self.query_ids)

    def __contains__(self, query_id: object) -> bool:
        """Whether the run has a ranking, be it empty, for this query."""
        return query_id in self._row

    def __eq__(self, other: object) -> bool:
        """Whether both have the same queries, documents, order and scores; names and notes do not matter."""
        if not isinstance(other, Run):
            return NotImplemented
        same = self.query_ids == other.query_ids and np.array_equal(self.offsets, other.offsets)
        return same and np.array_equal(self.scores, other.scores) and self._ids(self.codes) == other._ids(other.codes)

    __hash__ = None  # type: ignore[assignment]  # compared by content, as other mappings are

    def __repr__(self) -> str:
        """Name and size."""
        return f"Run({self.name!r}, {len(self):,} queries, {len(self.codes):,} entries)"

    def _repr_html_(self) -> str:
        """The best three of the first ten queries, for notebooks."""
        best = self.only(self.query_ids[:10]).top(3)
        rows = [
            [query, str(rank), id, f"{score:.4g}"]
            for query, (ids, scores) in best.items()
            for rank, (id, score) in enumerate(zip(ids, scores, strict=True), start=1)
        ]
        return html_table(["query", "rank", "document", "score"], rows, repr(self))

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """(N,) int32: which query each entry belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    @property
    def sizes(self) -> dict[str, int]:
        """How many documents each query has."""
        return dict(zip(self.query_ids, np.diff(self.offsets).tolist(), strict=True))

    @cached_property
    def strict_scores(self) -> NDArray[np.float32]:
        """(N,) float32: the scores, lowered by as little as makes them fall strictly within each query."""
        bound = np.float32(np.finfo(np.float32).max) / 2
        steps = _float32_steps(np.clip(float32(self.scores), -bound, bound))
        # falling strictly is: steps + position never rises; each query is moved below all that stand before it
        descent = steps + np.arange(len(steps)) - (self.rows.astype(np.int64) << 33)
        falling = np.minimum.accumulate(descent) - descent + steps
        return _float32_from_steps(falling)

    @cached_property
    def ties(self) -> int:
        """How many entries have the same score, in float32, as the entry before them."""
        narrow = float32(self.scores)
        return int(np.count_nonzero((narrow[1:] == narrow[:-1]) & (self.rows[1:] == self.rows[:-1])))

    def top(self, k: int) -> "Run":
        """The first `k` documents of each query; a shorter ranking stays whole."""
        if np.diff(self.offsets).max(initial=0) <= k:
            return self
        return self._where(np.arange(len(self.codes)) - self.offsets[self.rows] < k)

    def without(self, queries: Iterable[Query]) -> "Run":
        """The run without the documents that one of `queries` does not allow for itself (`excluded`, `only`)."""
        restricted = {query.id: query for query in queries if query.restricted}
        if not restricted:
            return self
        keep = np.ones(len(self.codes), dtype=bool)
        for query_id, query in restricted.items():
            if (row := self._row.get(query_id)) is not None:
                span = self._span(row)
                keep[span] = [query.allows(id) for id in self._ids(self.codes[span])]
        return self if keep.all() else self._where(keep)

    def only(self, query_ids: Collection[str]) -> "Run":
        """The run with no other queries than these, in run order."""
        wanted = np.array([id in query_ids for id in self.query_ids], dtype=bool)
        if wanted.all():
            return self
        keep, sizes = wanted[self.rows], np.diff(self.offsets)[wanted]
        kept = [id for id, want in zip(self.query_ids, wanted.tolist(), strict=True) if want]
        return self._with(kept, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), keep)

    def part(self, first: int, end: int) -> "Run":
        """The run with its queries from the `first` (from 0) up to `end`, without that; no entry is copied."""
        offsets = self.offsets[first : end + 1]
        return self._with(self.query_ids[first:end], offsets - offsets[0], slice(offsets[0], offsets[-1]))

    def named(self, name: str) -> "Run":
        """The same run under another name."""
        renamed = copy(self)
        renamed.name = name
        return renamed

    @property
    def notes(self) -> Mapping[str, Note]:
        """What travels beside the order, by query id."""
        return MappingProxyType(self._notes)

    def with_notes(self, notes: Mapping[str, Note]) -> "Run":
        """The same run with these notes.

        Raises:
            BadInput: one of them is no `Note`.
        """
        noted = copy(self)
        noted._notes = _checked(notes, self.name)
        return noted

    def to_dict(self) -> dict[str, dict[str, float]]:
        """`{query id: {document id: strictly falling score}}`, the form of pytrec_eval, ranx and ir_measures."""
        scores, spans = self.strict_scores, map(self._span, range(len(self)))
        return {
            query: dict(zip(self._ids(self.codes[span]), scores[span].tolist(), strict=True))
            for query, span in zip(self.query_ids, spans, strict=True)
        }

    def _span(self, row: int) -> slice:
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def _ids(self, codes: NDArray[np.int32]) -> list[str]:
        if isinstance(self.documents, np.ndarray):
            ids: list[str] = self.documents[codes].tolist()
            return ids
        return [self.documents[code] for code in codes.tolist()]

    def _where(self, keep: NDArray[np.bool_]) -> "Run":
        if keep.all():
            return self
        counts = np.bincount(self.rows[keep], minlength=len(self))
        return self._with(self.query_ids, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), keep)

    def _with(self, query_ids: Sequence[str], offsets: NDArray[np.int64], keep: NDArray[np.bool_] | slice) -> "Run":
        codes, scores = self.codes[keep], self.scores[keep]
        part = Run(query_ids, offsets, codes, self.documents, scores, name=self.name, notes=self._notes)
        part.places = None if self.places is None else self.places[keep]
        return part

    def _check(self) -> None:
        if len(self._row) < len(self.query_ids):
            twice = next(id for at, id in enumerate(self.query_ids) if self._row[id] != at)
            raise BadInput(f"run {self.name!r}: query {twice!r} occurs twice")
        if not len(self.codes) == len(self.scores) == self.offsets[-1] or len(self.offsets) != len(self) + 1:
            raise BadInput(
                f"run {self.name!r}: {len(self)} queries, {len(self.codes)} codes and {len(self.scores)} scores do not "
                f"fit the offsets, {len(self.offsets)} of them, that end at {self.offsets[-1]}"
            )
        if len(self.codes):
            self._check_entries()

    def _check_entries(self) -> None:
        if not np.isfinite(self.scores).all():
            bad = int(np.flatnonzero(~np.isfinite(self.scores))[0])
            raise BadInput(f"{self._at(bad)} has the score {self.scores[bad]}: scores must be finite numbers")
        narrow = float32(self.scores)
        rising = np.flatnonzero(narrow[1:] > narrow[:-1]) + 1
        rising = rising[self.rows[rising] == self.rows[rising - 1]]
        if rising.size:
            raise BadInput(f"{self._at(rising[0])} has a higher score than the document ranked above it")
        if self.codes.min() < 0 or self.codes.max() >= len(self.documents):
            raise BadInput(f"run {self.name!r}: a code points outside the table of {len(self.documents)} documents")
        if (self.codes[1:] > self.codes[:-1]).all():
            return
        keys = np.sort(self.rows.astype(np.int64) * len(self.documents) + self.codes)
        if (repeats := np.flatnonzero(keys[1:] == keys[:-1])).size:
            row, code = divmod(int(keys[repeats[0]]), len(self.documents))
            raise BadInput(
                f"run {self.name!r}, query {self.query_ids[row]!r}: document {self.documents[code]!r} is ranked twice"
            )

    def _at(self, entry: int) -> str:
        row, code = int(self.rows[entry]), int(self.codes[entry])
        return f"run {self.name!r}, query {self.query_ids[row]!r}: document {self.documents[code]!r}"


def _checked(notes: Mapping[str, Note], name: str) -> dict[str, Note]:
    for query, note in notes.items():
        want(note, Note, f"run {name!r}, query {query!r}: its note", "hand in a Note, such as Note(calls=(…,))")
    return dict(notes)


def trec_order(ids: Sequence[str], scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n,) the order in which trec_eval sees the entries of a query: score in float32 falling, then id falling."""
    falling = np.array(sorted(range(len(ids)), key=ids.__getitem__, reverse=True), dtype=np.intp)
    return falling[np.argsort(-float32(scores)[falling], kind="stable")]


def float32(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """The scores in the precision in which trec_eval compares; too large ones become infinite, and tie."""
    with np.errstate(over="ignore"):
        return scores.astype(np.float32)


def _float32_steps(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number the float32 values along the number line, so that neighbours differ by 1 and both zeros are 0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(1 << 31) - bits, bits)


def _float32_from_steps(steps: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.where(steps < 0, -(1 << 31) - steps, steps).astype(np.int32).view(np.float32)


def _table(ids: Iterable[str]) -> NDArray[Any]:
    given = list(ids)
    try:
        table = np.array(given, dtype=_STRINGS)
    except (ValueError, UnicodeEncodeError) as error:
        raise BadInput(f"ids must be text, and such that UTF-8 can write: {error}") from None
    if (empty := np.flatnonzero(table == "")).size:
        raise BadInput(f"an id is empty, the {empty[0] + 1}th of {len(given)}: every query and document needs one")
    return table


def _numbers(scores: Mapping[str, float]) -> NDArray[np.float64]:
    try:
        return np.array(list(scores.values()), dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise BadInput(
            f"the scores of {next(iter(scores))!r} and others are no numbers of double precision: {error}"
        ) from None


def _as_ranking(given: Ranking | Sequence[str] | Mapping[str, float]) -> Ranking:
    if isinstance(given, Ranking):
        return given
    if isinstance(given, Mapping):
        ids, scores = list(given), _numbers(given)
        order = trec_order(ids, scores)
        return Ranking([ids[at] for at in order.tolist()], scores[order])
    return Ranking(given, np.arange(len(given), 0, -1, dtype=np.float64))
