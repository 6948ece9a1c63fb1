"""Measures by name (`nDCG@10`, as ir_measures spells them) or as a function of one's own."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ir_measures

from whyrank.errors import BadInput
from whyrank.types import Run

Custom = Callable[[Mapping[str, int], Sequence[str]], float]
"""A measure of one's own: from the grades of a query's judged documents and its ranked ids, best first, to a value."""

Measure = Any
"""A measure of ir_measures (which has no types), or a `Custom` one."""

_ENGINE = ir_measures.providers.FallbackProvider(
    [ir_measures.pytrec_eval, ir_measures.judged, ir_measures.msmarco, ir_measures.compat, ir_measures.accuracy]
)


def parse_measures(measures: Iterable[str | Custom] | str | Custom) -> dict[str, Measure]:
    """The measures by name, in the order given.

    Raises:
        BadInput: no measure at all, or one that is unknown, lacks its cut-off or cannot be computed here.
    """
    given = [measures] if isinstance(measures, str) or not isinstance(measures, Iterable) else list(measures)
    if not given:
        raise BadInput("no measure is given: try nDCG@10")
    return dict(_parse(measure) for measure in given)


def depth(measures: Iterable[Measure]) -> int | None:
    """How many documents of each ranking suffice to compute all these measures; None where all are needed."""
    cutoffs = [_cutoff(measure) for measure in measures]
    return None if None in cutoffs else max(cutoff for cutoff in cutoffs if cutoff is not None)


def values(
    measures: Mapping[str, Measure], run: Run, qrels: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, str, float]]:
    """(measure, query, value) for each query of `run`, all of which are judged and have a ranking that is not empty."""
    named = {measure: name for name, measure in measures.items() if _is_named(measure)}
    if named and len(run):
        evaluator = _ENGINE.evaluator(list(named), {query: _with_level(qrels[query]) for query in run})
        for metric in evaluator.iter_calc(run.to_dict()):
            yield named[metric.measure], metric.query_id, float(metric.value)
    for name, measure in measures.items():
        if not _is_named(measure):
            for query, ranking in run.items():
                yield name, query, float(measure(qrels[query], ranking.ids))


def _with_level(grades: Mapping[str, int]) -> dict[str, int]:
    """The grades, with one of 0 where all are negative: without it trec_eval's C code reads stray memory."""
    return {**grades, "": 0} if max(grades.values()) < 0 else dict(grades)


def _is_named(measure: Measure) -> bool:
    return isinstance(measure, ir_measures.Measure)


def _parse(given: str | Custom) -> tuple[str, Measure]:
    if not isinstance(given, str) and not _is_named(given):
        return getattr(given, "__name__", repr(given)), given
    try:
        measure = ir_measures.parse_measure(given)
        measure.validate_params()
    except (ValueError, NameError, AssertionError, TypeError, KeyError):
        raise BadInput(f"no measure is written {str(given)!r}{_nearest(str(given))}") from None
    if measure.params.get("cutoff", 1) < 1:
        raise BadInput(f"the measure {str(given)!r} looks at no document: its cut-off must be at least 1")
    if not _ENGINE.supports(measure):
        raise BadInput(
            f"the measure {str(given)!r} is not computed here: give a function (grades, ranking) -> float in its place"
        )
    return str(measure), measure


def _nearest(name: str) -> str:
    registry: list[str] = list(ir_measures.measures.registry)
    known = {one.lower(): one for one in reversed(registry)}  # a name stands before its aliases
    stem = name.partition("@")[0].partition("(")[0].strip()
    if stem in registry:
        return f": {stem} takes a cut-off as in {stem}@10, and parameters as in {stem}(rel=2)@10"
    near = difflib.get_close_matches(stem.lower(), known, n=1)
    return f": did you mean {known[near[0]]}?" if near else ": try nDCG@10, R@100, AP, RR@10, P@5 or Success@1"


def _cutoff(measure: Measure) -> int | None:
    if not _is_named(measure) or measure.params.get("judged_only"):
        return None
    cutoff: int | None = measure.params.get("cutoff")
    return cutoff
