"""Entries with equal scores: in which order they stand, what to expect of them, how far they move a mean.

trec_eval breaks ties by falling id, others by rising id, by the order of the file, or at random; a run whose model gave
few distinct scores may have any of several figures (McSherry and Najork, ECIR 2008).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.eval import formulas
from whyrank.eval.formulas import Grades, level
from whyrank.eval.measures import Measure, is_named
from whyrank.types import Ranking, Run, float32

Ties = Literal["id", "rising", "file", "expected"]
RULES: tuple[str, ...] = ("id", "rising", "file", "expected")
TOLD = 0.01
"""A point: where the order of ties moves a mean further than this, it is told."""

Block = Sequence[str]
"""Ids that tie."""

Params = Mapping[str, Any]
"""What a measure was given, by name."""


def ordered(run: Run, rule: str | None) -> Run:
    """The run with its ties in the order of a rule: falling id, rising id, or that of the file; None leaves them."""
    if rule is None or not run.ties:
        return run
    if rule == "file":
        return _moved(run, lambda ids, places: np.argsort(places, kind="stable")) if run.places is not None else run
    return _moved(
        run, lambda ids, places: np.array(sorted(range(len(ids)), key=ids.__getitem__, reverse=rule == "id"), np.intp)
    )


def by_grade(run: Run, qrels: Mapping[str, Grades], best: bool) -> Run:
    """The run with its ties in the best order for its grades, or in the worst."""
    rankings = {}
    for query, (ids, scores) in run.items():
        grades = qrels[query]
        blocks = (sorted(block, key=lambda id: grades.get(id, 0), reverse=best) for block in blocks_of(ids, scores))
        rankings[query] = Ranking([id for block in blocks for id in block], scores)
    return Run.of(rankings, name=run.name)


def undecided(run: Run, qrels: Mapping[str, Grades], depth: int | None) -> list[str]:
    """The queries in which documents of different grades tie, within the first `depth`."""
    if not run.ties:
        return []
    narrow = float32(run.scores)
    tied = set(run.rows[1:][(narrow[1:] == narrow[:-1]) & (run.rows[1:] == run.rows[:-1])].tolist())
    return [query for row, query in enumerate(run.query_ids) if row in tied and _mixed(run[query], qrels[query], depth)]


def expected(measure: Measure, grades: Grades, ranking: Ranking) -> float:
    """The mean of a measure over all orders of the ties; `measure` is one that `has_form`."""
    blocks = [
        [id for id in block if id in grades] if measure.params.get("judged_only") else block
        for block in blocks_of(*ranking)
    ]
    return _FORMS[measure.NAME](measure.params, grades, blocks)


def has_form(measure: Measure) -> bool:
    """Whether there is a closed form of the measure's expectation over ties.

    Raises:
        BadInput: there is none, and the order of ties may matter to it.
    """
    if is_named(measure) and measure.NAME in _FORMS:
        return True
    if is_named(measure) and (measure.NAME.startswith("Set") or measure.NAME in formulas.COUNTS):
        return False  # of sets, which have no order
    name = str(measure) if is_named(measure) else getattr(measure, "__name__", repr(measure))
    raise BadInput(
        f"{name} has no expectation over ties here, only {', '.join(_FORMS)} have: give another order of ties"
    )


def blocks_of(ids: Sequence[str], scores: NDArray[np.float64]) -> Iterator[list[str]]:
    """The ids in blocks of equal score, best first."""
    narrow = float32(np.asarray(scores, dtype=np.float64))
    starts = [0, *(np.flatnonzero(narrow[1:] != narrow[:-1]) + 1).tolist(), len(ids)]
    return (list(ids[start:end]) for start, end in pairwise(starts) if end > start)


def _moved(run: Run, order: Callable[[Sequence[str], NDArray[np.int64]], NDArray[np.intp]]) -> Run:
    rankings = {}
    for row, (query, (ids, scores)) in enumerate(run.items()):
        span = slice(int(run.offsets[row]), int(run.offsets[row + 1]))
        places = np.arange(len(ids)) if run.places is None else run.places[span]
        by_rule = order(ids, places)
        falling = by_rule[np.argsort(-float32(scores)[by_rule], kind="stable")]
        rankings[query] = Ranking([ids[at] for at in falling.tolist()], scores[falling])
    return Run.of(rankings, name=run.name)


def _mixed(ranking: Ranking, grades: Grades, depth: int | None) -> bool:
    seen = 0
    for block in blocks_of(*ranking):
        if depth is not None and seen >= depth:
            return False
        seen += len(block)
        if len(block) > 1 and len({grades.get(id) for id in block}) > 1:
            return True
    return False


def _means(blocks: Sequence[Block], worth: Callable[[str], float]) -> list[float]:
    """What to expect at each rank: each document of a block stands at each of its places equally often."""
    return [value for block in blocks for value in [math.fsum(map(worth, block)) / max(len(block), 1)] * len(block)]


def _relevant(grades: Grades, given: Params) -> set[str]:
    return {id for id, grade in grades.items() if level(grade) >= given.get("rel", 1)}


def _hits(blocks: Sequence[Block], relevant: set[str], depth: int | None) -> float:
    return math.fsum(_means(blocks, lambda id: float(id in relevant))[:depth])


def _ndcg(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    gains = formulas.gains_of(grades, given)
    return formulas.normalised(_means(blocks, lambda id: gains.get(id, 0.0)), gains, given)


def _p(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    depth: int = given["cutoff"]
    return _hits(blocks, _relevant(grades, given), depth) / depth


def _recall(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    relevant = _relevant(grades, given)
    return _hits(blocks, relevant, given.get("cutoff", len(relevant))) / max(len(relevant), 1)


def _judged(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    ranked = sum(map(len, blocks))
    depth: int = min(given.get("cutoff", ranked), ranked)
    return _hits(blocks, set(grades), depth) / max(depth, 1)


def _hole(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    return 1 - _judged(given, grades, blocks) if any(map(len, blocks)) else 0.0


def _capped(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    relevant = _relevant(grades, given)
    depth: int = given["cutoff"]
    return _hits(blocks, relevant, depth) / max(min(len(relevant), depth), 1)


def _rbp(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    relevant = _relevant(grades, given)
    p: float = given.get("p", 0.8)
    found = _means(blocks, lambda id: float(id in relevant))[: given.get("cutoff")]
    return (1 - p) * math.fsum(p**at * value for at, value in enumerate(found))


def _ap(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    relevant, before, rank, total = _relevant(grades, given), 0, 0, 0.0
    for block in blocks:
        size, hits = len(block), sum(id in relevant for id in block)
        for place in range(size):
            rank += 1
            if rank > given.get("cutoff", rank):
                return total / max(len(relevant), 1)
            others = place * (hits - 1) / (size - 1) if size > 1 else 0.0
            total += hits / size * (before + 1 + others) / rank
        before += hits
    return total / max(len(relevant), 1)


def _first(given: Params, grades: Grades, blocks: Sequence[Block]) -> Iterator[tuple[int, float]]:
    """At which ranks the first relevant document may stand, within the cut-off, and how probably."""
    relevant, rank = _relevant(grades, given), 0
    for block in blocks:
        hits, none_yet = sum(id in relevant for id in block), 1.0
        for left in range(len(block), 0, -1) if hits else ():
            if rank + len(block) - left < given.get("cutoff", math.inf):
                yield rank + len(block) - left + 1, none_yet * hits / left
            none_yet *= (left - hits) / left
        if hits:
            return
        rank += len(block)


def _rr(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    return math.fsum(chance / rank for rank, chance in _first(given, grades, blocks))


def _success(given: Params, grades: Grades, blocks: Sequence[Block]) -> float:
    return math.fsum(chance for _, chance in _first(given, grades, blocks))


_FORMS: Mapping[str, Callable[[Params, Grades, Sequence[Block]], float]] = {
    "nDCG": _ndcg,
    "P": _p,
    "R": _recall,
    "Rprec": _recall,
    "AP": _ap,
    "RR": _rr,
    "Success": _success,
    "RBP": _rbp,
    "Judged": _judged,
    "Hole": _hole,
    "R_cap": _capped,
}
