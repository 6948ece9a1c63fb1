"""What every recommender is: it learns from a catalogue's events and scores all items for blocks of histories."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.base import Retriever
from whyrank.types import Catalogue, Document, Note, Query, Ranking, Run
from whyrank.types.hashing import Keys, id_keys, mixed

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """The histories of a block of queries, oldest first: that of query q is `codes[offsets[q]:offsets[q+1]]`.

    Attributes:
        offsets: (B+1,) int64.
        codes: (M,) int32, places in the catalogue; items that it does not have are left out.
        ends: (B,) float64, when the last event was; infinite where no time is known.
        size: how many items the catalogue has.
        queries: (B,) the queries themselves.
    """

    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]
    ends: NDArray[np.float64]
    size: int
    queries: Sequence[Query]

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.offsets) - 1

    def latest(self, last: int = 0, decay: float = 1.0) -> csr_matrix:
        """(B, size) sparse weights: `decay` to the power of how many events ago; an item that recurs adds up.

        Args:
            last: only so many of the last events of each; 0 takes all.
            decay: what an event weighs against the next one.
        """
        sizes = np.diff(self.offsets)
        rows = np.repeat(np.arange(len(self)), sizes)
        ago = self.offsets[1:][rows] - 1 - np.arange(len(self.codes))
        near = ago < last if last else np.ones(len(ago), dtype=bool)
        weights = decay ** ago[near].astype(np.float64)
        return csr_matrix((weights, (rows[near], self.codes[near])), shape=(len(self), self.size))


@dataclass(frozen=True)
class Recommender(Retriever):
    """Recommends items of a catalogue by what users did. Subclasses give `_fit` and `_scores`.

    Items that score the same are ordered by a hash of `seed`, query and item, never by id: in many files ids follow the
    order of first appearance, and tell of the future. Where places were drawn so, `Run.notes[query].ties` lists the
    first and the last rank of each group, counted through even where the run ends before. Where a query is kept to some
    items (`Query.only`), all of them are ranked, so that a sampled pool is ranked whole.

    Attributes:
        memory: megabytes that the scores of a block of queries may take; results do not depend on it.
        seed: of the order of items that score the same.
    """

    _: KW_ONLY
    memory: Positive = 16
    seed: int = 0
    _state: Any = field(default=None, init=False, repr=False, compare=False)
    _items: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)
    _place: Mapping[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _keys: Keys | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True

    @abstractmethod
    def _fit(self, catalogue: Catalogue) -> Any:  # noqa: ANN401 (each recommender has its own)
        """Learn; what comes back is `_state` when searching."""

    @abstractmethod
    def _scores(self, histories: Histories) -> Scores:
        """(B, size) a fresh array of scores; 0 and below mean that nothing speaks for the item: it is not found."""

    def _index(self, corpus: Iterable[Document]) -> None:
        if not isinstance(corpus, Catalogue):
            raise BadInput(
                f"{name_of(type(self))} learns from what users did, and this collection does not tell: use a source "
                "of recommendation data, such as --data \"interactions('clicks.csv')\""
            )
        items = tuple(corpus.train.items)
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_place", {item: place for place, item in enumerate(items)})
        object.__setattr__(self, "_keys", id_keys(items))
        object.__setattr__(self, "_state", self._fit(corpus))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        if self._keys is None:
            raise BadInput(f"{name_of(type(self))} has learnt nothing yet: call index(catalogue) first")
        size = max(1, self.memory * 1_000_000 // (8 * len(self._items)))
        found = [self._block(queries[at : at + size], k) for at in range(0, len(queries), size)]
        counts = np.concatenate([[0], *(counts for counts, *_ in found)]).astype(np.int64)
        codes = np.concatenate([np.empty(0, np.int32), *(codes for _, codes, *_ in found)]).astype(np.int32)
        scores = np.concatenate([np.empty(0), *(scores for _, _, scores, _ in found)])
        notes = {id: note for *_, block in found for id, note in block.items()}
        ids = [query.id for query in queries]
        return Run(ids, np.cumsum(counts), codes, self._items, scores, name=name_of(type(self)), notes=notes)

    def _block(self, queries: Sequence[Query], k: int) -> tuple[NDArray[Any], NDArray[Any], Scores, dict[str, Note]]:
        scores = self._scores(self._histories(queries))
        if np.isnan(scores).any():
            raise BadInput(f"{name_of(type(self))} gave a score that is no number")
        for row, query in zip(scores, queries, strict=True):
            if query.only is not None:
                self._keep_to(row, query.only)
            row[[self._place[item] for item in query.excluded if item in self._place]] = -np.inf
        scores[scores <= 0] = -np.inf
        rows, codes = _candidates(scores, k)
        values = scores[rows, codes]
        keys = mixed(self.seed, id_keys(query.id for query in queries)[rows], self._known_keys[codes])
        order = np.lexsort((keys, -values, rows))
        rows, codes, values = rows[order], codes[order], values[order]
        starts = np.searchsorted(rows, np.arange(len(queries) + 1))
        ranks = np.arange(len(rows)) - starts[rows]
        notes = _tied(queries, rows, values, ranks, k)
        kept = ranks < k
        return np.bincount(rows[kept], minlength=len(queries)), codes[kept], values[kept], notes

    @property
    def _known_keys(self) -> Keys:
        return self._keys if self._keys is not None else id_keys(())

    def _keep_to(self, row: Scores, only: frozenset[str]) -> None:
        """Rank all of these and nothing else: items that nothing speaks for stand last, as equals."""
        places = [self._place[item] for item in only if item in self._place]
        held = np.maximum(row[places], 0.0)
        row[:] = -np.inf
        row[places] = held + np.finfo(np.float64).tiny

    def _histories(self, queries: Sequence[Query]) -> Histories:
        codes = [[self._place[event] for event in _items(query) if event in self._place] for query in queries]
        ends = [_end(query) for query in queries]
        offsets = np.cumsum([0, *map(len, codes)], dtype=np.int64)
        flat = np.fromiter((code for one in codes for code in one), dtype=np.int32, count=int(offsets[-1]))
        return Histories(offsets, flat, np.array(ends, dtype=np.float64), len(self._items), queries)


def _items(query: Query) -> Sequence[str]:
    items = getattr(query.history, "items", None)
    return items if items is not None else [event.item for event in query.history]


def _end(query: Query) -> float:
    time = query.history[-1].time if len(query.history) else None
    return np.inf if time is None else time


def _candidates(scores: Scores, k: int) -> tuple[NDArray[np.intp], ...]:
    """Rows and columns of all that score as well as the k-th best of their row, or better; found ones only."""
    size = scores.shape[1]
    if k < size:
        border = np.partition(scores, size - k, axis=1)[:, size - k, np.newaxis]
        return np.nonzero((scores >= border) & (scores > -np.inf))
    return np.nonzero(scores > -np.inf)


def _tied(
    queries: Sequence[Query], rows: NDArray[np.intp], values: Scores, ranks: NDArray[np.intp], k: int
) -> dict[str, Note]:
    """For each query that has any: first and last rank, from 1, of the groups that score the same."""
    same = np.flatnonzero((rows[1:] == rows[:-1]) & (values[1:] == values[:-1]))
    if not same.size:
        return {}
    begins = same[np.concatenate([[True], np.diff(same) > 1])]
    ends = same[np.concatenate([np.diff(same) > 1, [True]])] + 1
    groups: dict[str, list[tuple[int, int]]] = {}
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if ranks[begin] < k:
            groups.setdefault(queries[rows[begin]].id, []).append((int(ranks[begin]) + 1, int(ranks[end]) + 1))
    return {query: Note(ties=tuple(ties)) for query, ties in groups.items()}
