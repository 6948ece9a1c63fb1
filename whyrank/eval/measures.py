"""Measures by name (`nDCG@10`, as ir_measures spells them) or as a function of one's own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ir_measures

from whyrank.errors import BadInput
from whyrank.eval import aspects as by_aspect
from whyrank.eval import formulas, spelling
from whyrank.eval.formulas import Formula, Grades, level
from whyrank.types import Aspects, Run

Custom = Callable[[Mapping[str, float], Sequence[str]], float]
"""A measure of one's own: from the grades of a query's judged documents and its ranked ids, best first, to a value."""

Measure = Any
"""A measure of ir_measures (which has no types), or a `Custom` one."""


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
    measures: Mapping[str, Measure], run: Run, qrels: Mapping[str, Grades], aspects: Aspects | None = None
) -> Iterator[tuple[str, str, float]]:
    """(measure, query, value) for each query of `run`, all of which are judged and have a ranking that is not empty.

    Each value is what the measure alone would give, whatever stands beside it. ir_measures does not promise that: it
    joins what can be had in one call of trec_eval, mapped gains, `judged_only` and all. So only measures that take no
    more than a cut-off and a level are asked together; `judged_only` is a cut of the run, made here.
    """
    whole = all(isinstance(grade, int) for query in run for grade in qrels[query].values())
    judged_only = {
        name for name, measure in measures.items() if is_named(measure) and measure.params.get("judged_only")
    }
    of_aspects = {name: measure for name, measure in measures.items() if needs_aspects(measure)}
    for name, measure in of_aspects.items():
        yield from _of_aspects(name, measure, run, qrels, aspects or {})
    judged_only -= of_aspects.keys()
    if judged_only:
        cut = Run.of({query: [id for id in ids if id in qrels[query]] for query, (ids, _) in run.items()})
        cut = cut.only({query for query, size in cut.sizes.items() if size})
        yield from _values({name: measures[name](judged_only=False) for name in judged_only}, cut, qrels, whole)
    rest = {name: one for name, one in measures.items() if name not in judged_only | of_aspects.keys()}
    yield from _values(rest, run, qrels, whole)


def count(measure: Measure) -> Formula | None:
    """The function of a measure that counts, and is summed over queries where others are averaged."""
    return formulas.COUNTS.get(measure.NAME) if is_named(measure) else None


def needs_aspects(measure: Measure) -> bool:
    """Whether it is a measure of the aspects of queries, see `Qrels.aspects`."""
    return is_named(measure) and measure.NAME in by_aspect.MEASURES


def is_named(measure: Measure) -> bool:
    """Whether it is one of ir_measures, not a function."""
    return isinstance(measure, ir_measures.Measure)


def _values(
    measures: Mapping[str, Measure], run: Run, qrels: Mapping[str, Grades], whole: bool
) -> Iterator[tuple[str, str, float]]:
    shared, alone = {}, []
    for name, measure in measures.items():
        if (function := _function(measure, whole)) is not None:
            for query, ranking in run.items():
                yield name, query, float(function(qrels[query], ranking.ids))
        elif measure.params.keys() <= {"cutoff", "rel"}:
            shared[measure] = name
        else:
            alone.append({measure: name})
    asked = [group for group in (shared, *alone) if group and len(run)]
    if not asked:
        return
    levels, rankings = {query: _levels(qrels[query]) for query in run}, run.to_dict()
    for group in asked:
        for metric in spelling.ENGINE.evaluator(list(group), levels).iter_calc(rankings):
            yield group[metric.measure], metric.query_id, float(metric.value)


def _of_aspects(
    name: str, measure: Measure, run: Run, qrels: Mapping[str, Grades], aspects: Aspects
) -> Iterator[tuple[str, str, float]]:
    function = by_aspect.MEASURES[measure.NAME]
    for query, (ids, _) in run.items():
        kept = [id for id in ids if id in qrels[query]] if measure.params.get("judged_only") else ids
        yield name, query, function(aspects.get(query, {}), kept, measure.params)


def _function(measure: Measure, whole: bool) -> Custom | None:
    """What computes a measure here; None where ir_measures does. `whole`: all grades are whole numbers."""
    if not is_named(measure):
        custom: Custom = measure
        return custom
    own = formulas.ALWAYS.get(measure.NAME)
    if measure.NAME == "nDCG" and not (whole and measure.params.keys() <= {"cutoff", "judged_only"}):
        own = formulas.ndcg
    if own is None:
        return None
    return lambda grades, ranking: own(grades, ranking, measure.params)


def _levels(grades: Grades) -> dict[str, int]:
    """The grades as whole numbers, with one of 0 where all are negative: else trec_eval's C code reads stray memory."""
    whole = {id: level(grade) for id, grade in grades.items()}
    return {**whole, "": 0} if max(whole.values()) < 0 else whole


def _parse(given: str | Custom) -> tuple[str, Measure]:
    if not isinstance(given, str) and not is_named(given):
        if not callable(given):
            raise BadInput(
                f"a measure is a name such as nDCG@10, or a function (grades, ranking) -> float: not {given!r:.60}"
            )
        return getattr(given, "__name__", repr(given)), given
    measure = spelling.read(str(given))
    here = needs_aspects(measure) or _function(measure, whole=True) is not None
    if not here and not spelling.ENGINE.supports(measure):
        raise BadInput(spelling.not_here(str(given)))
    return str(measure), measure


def _cutoff(measure: Measure) -> int | None:
    if not is_named(measure) or measure.params.get("judged_only"):
        return None
    cutoff: int | None = measure.params.get("cutoff")
    return cutoff
