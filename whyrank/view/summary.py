"""What a reader of a report sees first: figures with intervals, gains, what moved, costs, and calls by outcome."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from whyrank.eval import compare
from whyrank.eval.compare import bootstrap
from whyrank.rerank.answer.ranked import spent, start
from whyrank.types import Dataset, Query, count_statuses
from whyrank.view.systems import System

BINS = (3, 10, 30, 100)
"""Ranks are told up to 3, 10, 30 and 100, and beyond, where those stand too that were not found."""

RESAMPLES, CONFIDENCE, SEED = 10_000, 0.95, 0


def summary(
    systems: Sequence[System], data: Dataset, measures: Sequence[str], queries: Sequence[Query]
) -> dict[str, Any]:
    """All but the rankings, in plain types.

    Args:
        systems: the runs; the others are compared with the first.
        data: where they were made.
        measures: names, as the reports have them.
        queries: in the order of the page.
    """
    against = _against(systems)
    return {
        "data": {
            "name": data.name,
            "documents": len(data.corpus),
            "queries": len(queries),
            "protocol": data.qrels.protocol,
        },
        "measures": list(measures),
        "bins": [*map(str, _bins())],
        "runs": [_run(system, data, measures, against, queries) for system in systems],
        "queries": {
            "ids": [query.id for query in queries],
            "texts": [start(query.text, 160) for query in queries],
            "relevant": [len(relevant(data, query.id)) for query in queries],
            "values": {measure: [_values(system, measure, queries) for system in systems] for measure in measures},
            "odd": [[_odd(system, query.id) for query in queries] for system in systems],
        },
    }


def relevant(data: Dataset, query: str) -> dict[str, float]:
    """The documents of grades above 0, best first."""
    grades = data.qrels.get(query, {})
    found = {id: grade for id, grade in grades.items() if grade > 0}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _against(systems: Sequence[System]) -> dict[tuple[str, str], dict[str, float]]:
    """What each run gains over the first, by run and measure."""
    reports = [system.report for system in systems if system.report is not None]
    if len(reports) < 2:
        return {}
    compared = compare(reports, resamples=RESAMPLES, confidence=CONFIDENCE, seed=SEED)
    return {
        (one.run, one.measure): {"difference": one.difference, "low": one.low, "high": one.high, "p": one.p_holm}
        for one in compared.contrasts
    }


def _run(
    system: System,
    data: Dataset,
    measures: Sequence[str],
    against: Mapping[tuple[str, str], Mapping[str, float]],
    queries: Sequence[Query],
) -> dict[str, Any]:
    calls = [call for query in system.run for call in system.calls(query)]
    taken, report = spent(calls), system.report
    told: dict[str, Any] = {
        "name": system.name,
        "spec": system.spec,
        "means": {measure: _mean(system, measure) for measure in measures},
        "against": {measure: against.get((system.name, measure)) for measure in measures},
        "statuses": count_statuses(calls),
        "failures": dict(Counter(call.failure for call in calls if call.failure).most_common()),
        "spent": _ledger(system) or taken.to_dict(),
        "seconds": system.told.get("seconds"),
        "flow": _flow(system, data, queries),
        "missing": 0 if report is None else len(report.missing),
        "judged": None if report is None else report.judged_share,
        "remarks": [] if report is None else list(report.remarks),
    }
    return told


def _ledger(system: System) -> dict[str, Any]:
    """The run folder's own account of what its calls took, which also knows those that no note tells of."""
    ledger = system.told.get("ledger")
    return ledger if isinstance(ledger, dict) else {}


def _mean(system: System, measure: str) -> list[float] | None:
    """A mean and the ends of its percentile bootstrap interval over queries."""
    if system.report is None:
        return None
    values = np.array([*system.report.per_query[measure].values()], dtype=np.float64)[:, None]
    low, high = bootstrap(values, RESAMPLES, CONFIDENCE, np.random.default_rng(SEED))
    return [system.report.means[measure], float(low[0]), float(high[0])]


def _values(system: System, measure: str, queries: Iterable[Query]) -> list[float | None]:
    if system.report is None:
        return [None for _ in queries]
    values = system.report.per_query[measure]
    return [None if (value := values.get(query.id)) is None else round(value, 5) for query in queries]


def _odd(system: System, query: str) -> int:
    """How many calls for a query were not read exactly as they came."""
    return sum(call.status != "exact" for call in system.calls(query))


def _flow(system: System, data: Dataset, queries: Iterable[Query]) -> list[list[int]]:
    """How many relevant documents went from which range of ranks to which: [before, after, count], ranges by number."""
    moved: Counter[tuple[int, int]] = Counter()
    for query in queries:
        if query.id not in system.run or not (before := system.before(query.id)):
            continue
        after = {id: rank for rank, id in enumerate(system.run[query.id].ids, 1)}
        moved.update((_bin(before.get(id)), _bin(after.get(id))) for id in relevant(data, query.id))
    return [[*pair, count] for pair, count in sorted(moved.items())]


def _bin(rank: int | None) -> int:
    return len(BINS) if rank is None else bisect_left(BINS, rank)


def _bins() -> Iterable[str]:
    starts = (1, *(end + 1 for end in BINS))
    return (*(f"{first}–{last}" for first, last in zip(starts, BINS, strict=False)), f">{BINS[-1]}")
