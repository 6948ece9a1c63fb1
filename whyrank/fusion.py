"""Fusion: several rankings of the same queries become one. Knows ranks and scores, but no text and no judgements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, BadSpec
from whyrank.fields import AtLeast, NotNegative
from whyrank.registry import Part
from whyrank.types import Note, Run, float32

Method = Literal["rrf", "combsum", "combmnz"]
Norm = Literal["minmax", "zscore", "none"]

Floats = NDArray[np.float64]

Keep = Callable[[Floats, Callable[[], float]], float]
"""Given weights and what computes their value, gives the value; may know it already."""

RRF = 60
"""How little the first ranks differ in reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

_STEPS = 20
"""Tuning moves a run's share of the weight in steps of one twentieth."""


@dataclass(frozen=True, kw_only=True)
class Fusion(Part):
    """How rankings are fused, query by query.

    A document that a run lacks gets the lowest normalised score that the run gives for the query, so that being found
    never does harm. What a run says of a query for which it has no document counts nothing.

    Attributes:
        method: "rrf" adds weight / (k + rank), 0 for a document that is missing (Cormack, Clarke and Büttcher 2009);
            "combsum" adds weight · normalised score, and "combmnz" multiplies that sum by the number of runs, of those
            with a weight above 0, that have the document (Fox and Shaw 1994).
        norm: what "combsum" does with the scores of a query first. "minmax" brings them to [0, 1], and to 1 where all
            are equal; "zscore" to mean 0 and standard deviation 1, and to 0 where all are equal; "none" takes them as
            they are. "combmnz" needs "minmax".
        k: of "rrf": how little the first ranks differ.
        weights: one for each run, 0 or more; none at all means 1 for each.

    Examples:
        >>> one, two = Run.of({"q": ["a", "b"]}), Run.of({"q": ["b", "c"]})
        >>> Fusion(method="rrf").of([one, two])["q"].ids
        ['b', 'a', 'c']
    """

    method: Method = "rrf"
    norm: Norm = "minmax"
    k: NotNegative = RRF
    weights: tuple[Annotated[float, AtLeast(0)], ...] = ()

    file_fields: ClassVar[frozenset[str]] = frozenset({"method", "norm", "k", "weights"})

    def __post_init__(self) -> None:
        """Refuse what is no fusion."""
        if self.method == "combmnz" and self.norm != "minmax":
            raise BadSpec(
                f"combmnz multiplies scores, which must not be negative: it needs norm='minmax', not {self.norm!r}"
            )
        object.__setattr__(self, "weights", tuple(map(float, self.weights)))
        if self.weights and not any(self.weights):
            raise BadSpec("at least one of the weights must be above 0")

    def of(self, runs: Sequence[Run], name: str = "fuse") -> Run:
        """The fused run of all queries that any of `runs` has, in the order of their first appearance.

        Equal scores (in float32) are ordered by document id, falling, as trec_eval orders them; so the order of `runs`
        does not matter. Notes are kept: the model calls of all runs, all else as the first tells it.

        Raises:
            BadInput: there are no runs, or not as many as weights.
        """
        self.check(len(runs))
        return _Pool(runs, self).fused(np.array(self.weights or (1.0,) * len(runs)), name)

    def check(self, runs: int) -> None:
        """Refuse to fuse so many runs.

        Raises:
            BadInput: there are not as many as weights.
        """
        if self.weights and len(self.weights) != runs:
            raise BadInput(f"{len(self.weights)} weights are given for {runs} runs: one is wanted for each")

    def tuned(self, runs: Sequence[Run], value: Callable[[Run], float], keep: Keep | None = None) -> Self:
        """The same fusion with the weights that give the highest `value`, for example nDCG@10 on *dev* queries.

        The weights sum to 1. Starting from equal ones, the share of each run in turn is moved to the best multiple of
        1/20, the others keeping their proportions, until nothing is gained (coordinate ascent). With two runs this is
        a full search. Of equally good shares the nearest to the present one is taken: nothing moves without a gain.

        Args:
            runs: two or more.
            value: of a fused run.
            keep: see `Keep`; without it each value is computed.

        Raises:
            BadInput: there are fewer than two runs.
        """
        if len(runs) < 2:
            raise BadInput("weights are tuned for two runs or more")
        pool = _Pool(runs, self)

        def worth(weights: Floats) -> float:
            def work() -> float:
                return value(pool.fused(weights))

            return work() if keep is None else keep(weights, work)

        weights = np.full(len(runs), 1 / len(runs))
        best, gained = worth(weights), True
        while gained:
            gained = False
            for at in range(len(runs)):
                for tried in _moved(weights, at):
                    if (found := worth(tried)) > best + 1e-12:
                        best, weights, gained = found, tried, True
        return replace(self, weights=tuple(round(weight, 6) for weight in weights.tolist()))


def reciprocal_ranks(
    rankings: Sequence[Sequence[str]], weights: Sequence[float] | None = None, k: int = RRF
) -> dict[str, float]:
    """Fuse a few rankings of *one* query: `{document id: Σ weight / (k + rank)}`, best first.

    Equal scores stay in the order of first appearance, so that what was ranked earlier wins (Cormack, Clarke and
    Büttcher 2009). For whole runs see `Fusion`.

    Examples:
        >>> list(reciprocal_ranks([["a", "b"], ["b", "c"]]))
        ['b', 'a', 'c']
    """
    scores: dict[str, float] = {}
    for ids, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, id in enumerate(ids, start=1):
            scores[id] = scores.get(id, 0.0) + weight / (k + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


class Normalised(NamedTuple):
    """Scores that can be compared between runs.

    Attributes:
        scores: (N,) one for each entry of the run.
        lowest: (Q,) the lowest of each query, which a document that the run lacks gets; 0 where the run has none.
    """

    scores: Floats
    lowest: Floats


def normalised(run: Run, norm: Norm) -> Normalised:
    """Normalise the scores of a run query by query, as `Fusion.norm` says."""
    sizes = np.diff(run.offsets)
    filled = sizes > 0
    lengths, starts = sizes[filled], run.offsets[:-1][filled]

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(values, lengths)

    scores = run.scores
    if norm != "none" and len(scores):
        peak = np.maximum.reduceat(np.abs(scores), starts)
        scores = np.ldexp(scores, -spread(np.frexp(peak)[1]))  # exact, and neither sums nor squares can overflow
        low, high = np.minimum.reduceat(scores, starts), np.maximum.reduceat(scores, starts)
        if norm == "minmax":
            width = spread(high - low)
            scores = np.where(width > 0, (scores - spread(low)) / np.where(width > 0, width, 1), 1.0)
        else:
            scores = np.where(spread(high > low), scores - spread(np.add.reduceat(scores, starts) / lengths), 0.0)
            deviation = np.sqrt(np.add.reduceat(scores**2, starts) / lengths)
            scores = scores / spread(np.where(high > low, deviation, 1))
    lowest = np.zeros(len(run))
    if len(scores):
        lowest[filled] = np.minimum.reduceat(scores, starts)
        if norm == "minmax":
            lowest[:] = 0
    return Normalised(scores, lowest)


class _Pool:
    """What several runs found: a column for each query and document, a line for each run."""

    def __init__(self, runs: Sequence[Run], fusion: Fusion) -> None:
        if not runs:
            raise BadInput("there is no run to fuse")
        self._queries = list(dict.fromkeys(chain.from_iterable(runs)))
        # ids falling, so that a stable sort by score leaves ties as trec_eval has them
        self._documents = sorted(set().union(*map(_found, runs)), reverse=True)
        places = {id: place for place, id in enumerate(self._documents)}
        rows = {query: row for row, query in enumerate(self._queries)}
        keys = [_keys(run, rows, places) for run in runs]
        pooled, columns = np.unique(np.concatenate(keys), return_inverse=True)
        self._rows, codes = np.divmod(pooled, max(len(places), 1))
        self._codes = codes.astype(np.int32)
        self._has = np.zeros((len(runs), len(pooled)), dtype=bool)
        self._evidence = np.zeros((len(runs), len(pooled)))
        self._counted, self._notes = fusion.method == "combmnz", _notes(runs)
        at = 0
        for line, run in enumerate(runs):
            own = columns[at : (at := at + len(run.codes))]
            scores, lowest = _reciprocal(run, fusion.k) if fusion.method == "rrf" else normalised(run, fusion.norm)
            missing = np.zeros(len(self._queries))
            missing[[rows[query] for query in run]] = lowest
            self._evidence[line] = missing[self._rows]
            self._evidence[line, own] = scores
            self._has[line, own] = True

    def fused(self, weights: Floats, name: str = "fuse") -> Run:
        """The run that these weights give."""
        scores = np.zeros(len(self._rows))
        for weight, evidence in zip(weights.tolist(), self._evidence, strict=True):
            scores += weight * evidence  # one after the other: the same sums on every machine
        if self._counted:
            scores *= np.count_nonzero(self._has[weights > 0], axis=0)
        order = np.lexsort((-float32(scores), self._rows))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self._rows, minlength=len(self._queries)))])
        codes = self._codes[order]
        return Run(
            self._queries, offsets.astype(np.int64), codes, self._documents, scores[order], name=name, notes=self._notes
        )


def _found(run: Run) -> Iterable[str]:
    """The ids of the documents that a run has somewhere."""
    used = np.unique(run.codes)
    if isinstance(run.documents, np.ndarray):
        ids: list[str] = run.documents[used].tolist()
        return ids
    return [run.documents[code] for code in used.tolist()]


def _keys(run: Run, rows: Mapping[str, int], places: Mapping[str, int]) -> NDArray[np.int64]:
    """(N,) a number for the query and document of each entry, rising with the query and falling with the id."""
    used, own = np.unique(run.codes, return_inverse=True)
    place = np.array([places[id] for id in _found(run)], dtype=np.int64)
    row = np.array([rows[query] for query in run], dtype=np.int64)
    return row[run.rows] * len(places) + place[own] if len(used) else np.empty(0, dtype=np.int64)


def _reciprocal(run: Run, k: int) -> Normalised:
    ranks = np.arange(1, len(run.codes) + 1) - run.offsets[run.rows]
    return Normalised(1 / (k + ranks), np.zeros(len(run)))


def _moved(weights: Floats, at: int) -> list[Floats]:
    """The weights with the share of one run moved to each step, the nearest first."""
    others = np.where(np.arange(len(weights)) == at, 0, weights)
    others = others / others.sum() if others.sum() > 0 else (np.arange(len(weights)) != at) / (len(weights) - 1)
    shares = sorted((step / _STEPS for step in range(_STEPS + 1)), key=lambda share: abs(share - weights[at]))
    return [np.where(np.arange(len(weights)) == at, share, (1 - share) * others) for share in shares]


def _notes(runs: Sequence[Run]) -> dict[str, Note]:
    """What travels beside each query's rankings: the model calls of all runs; all else as the first run tells it."""
    notes: dict[str, Note] = {}
    for run in runs:
        for query, told in run.notes.items():
            told = replace(told, tied=None, ties=())  # which were of one run's order
            notes[query] = notes[query].followed_by(told) if query in notes else told
    return notes
