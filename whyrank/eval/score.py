"""`evaluate`: a run against judgements, on trec_eval's own code, with nothing left out in silence."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from whyrank.errors import BadInput, want
from whyrank.eval import ties as tied
from whyrank.eval.doubts import doubts, spelt
from whyrank.eval.measures import Custom, Measure, count, depth, is_named, needs_aspects, parse_measures, values
from whyrank.eval.report import Report
from whyrank.eval.ties import Ties
from whyrank.progress import warn
from whyrank.types import Aspects, Qrels, Run

Grades = Mapping[str, Mapping[str, float]]
Rankings = Mapping[str, Mapping[str, float]]

JUDGED_DEPTH = 10


def evaluate(
    run: Run | Rankings,
    qrels: Grades,
    measures: Iterable[str | Custom] | str | Custom = ("nDCG@10", "R@100"),
    *,
    ties: Ties | None = None,
) -> Report:
    """Score `run` against `qrels`.

    Every judged query counts: one for which the run has no documents scores 0 (`Report.means`; the mean over the others
    is beside it, `Report.means_ranked`). Queries of the run without judgements are counted and left out. The order of
    the run is the truth: trec_eval's own code (through pytrec_eval) sees scores that fall strictly. Counts (`NumQ`,
    `NumRel`, `NumRet`, `NumRelRet`) are summed over queries, as trec_eval sums them.

    Grades may be fractions. nDCG takes them as they are; measures of what is relevant take the next whole number
    upwards, so that whatever is above 0 is relevant and, at `rel=2`, whatever is above 1. nDCG with `gains=` or
    `dcg='exp-log2'` (gains 2^grade - 1), ERR and RBP are computed here, see `whyrank.eval.formulas`. A document that
    was judged, be it below 0, stays under `judged_only=True`.

    Args:
        run: the rankings, a `Run` or `{query id: {document id: score}}` as ir_measures and pytrec_eval take them.
        qrels: the judgements, `Qrels` or any `{query id: {document id: grade}}`.
        measures: names as ir_measures has them (`nDCG@10`, `R@100`, `AP`, `RR@10`, `P(rel=2)@10`, `Success@1`,
            `Judged@10`, `ERR@20`, `RBP(p=0.8)`), in any case, or as trec_eval has them (`ndcg_cut_10`, `map`), or
            functions `(grades, ranking) -> float`.
        ties: in which order entries of equal score stand: None as the run has them (one that was read has them by
            falling id, as trec_eval), "id" by falling id, "rising" by rising id, "file" as in the file that was read;
            "expected" gives the mean over all orders, in closed form (McSherry and Najork, ECIR 2008). Where the order
            moves a mean by more than 0.01 and none was chosen, `Report.remarks` says so, with a warning.

    Raises:
        BadInput: an unknown measure, no judgements, a run none of whose queries is judged, or something that is no
            run, no judgements or no rule for ties.

    Examples:
        >>> from whyrank.types import Run
        >>> report = evaluate(Run.of({"q1": ["d1", "d2"]}), {"q1": {"d2": 1}, "q2": {"d3": 1}}, ["RR@10"])
        >>> report["RR@10"], report.means_ranked["RR@10"], report.missing
        (0.25, 0.5, ('q2',))
    """
    report = report_of(run, qrels, measures, ties=ties)
    for remark in report.remarks:
        warn(f"{report.name}: {remark}")
    return report


def report_of(
    run: Run | Rankings, qrels: Grades, measures: Iterable[str | Custom] | str | Custom, *, ties: Ties | None = None
) -> Report:
    """What `evaluate` finds, without its warnings: for tuning, which looks at many runs."""
    run = _run(run)
    _check(qrels, ties)
    chosen = parse_measures(measures)
    checked = Qrels.of(qrels)
    judged = {query: grades for query, grades in checked.items() if grades}
    if not judged:
        raise BadInput("there are no judgements to evaluate against: the qrels are empty")
    if len(run) and not any(query in judged for query in run):
        raise BadInput(
            f"run {run.name!r}: none of its {len(run)} queries is judged: it has {next(iter(run))!r}, "
            f"the judgements have {next(iter(judged))!r}{spelt(run, judged)}"
        )
    if not checked.aspects and (wants := [name for name, measure in chosen.items() if needs_aspects(measure)]):
        raise BadInput(
            f"{wants[0]} asks which aspects of a query a document covers, and the judgements do not say: give "
            "read_qrels(file, aspects=True) (eval --qrels FILE --aspects)"
        )
    given = run.only({query for query, size in run.sizes.items() if size and query in judged})
    ranked = tied.ordered(given, None if ties == "expected" else ties)
    per_query = _scored(chosen, ranked, judged, checked.aspects)
    undecided = given.only(tied.undecided(given, judged, depth(chosen.values())))
    if ties == "expected":
        for name in [name for name, measure in chosen.items() if tied.has_form(measure)]:
            for query, ranking in undecided.items():
                per_query[name][query] = tied.expected(chosen[name], judged[query], ranking)
    report = Report(
        name=run.name,
        per_query=per_query,
        missing=tuple(query for query in judged if query not in ranked),
        unjudged=tuple(query for query in run if query not in judged),
        without_relevant=tuple(query for query, grades in judged.items() if max(grades.values()) <= 0),
        ties=ranked.ties,
        entries=len(ranked.codes),
        judged_share=_judged_share(ranked.top(JUDGED_DEPTH), judged),
        counts=tuple(name for name, measure in chosen.items() if count(measure)),
        protocol=checked.protocol,
    )
    moved = [] if ties is not None or not len(undecided) else _moved_by_ties(report, chosen, undecided, judged)
    return replace(report, remarks=(*doubts(run, ranked, judged), *moved))


def by_slice(
    run: Run,
    qrels: Grades,
    measures: Iterable[str | Custom] | str | Custom,
    slices: Mapping[str, str],
    *,
    ties: Ties | None = None,
) -> list[Report]:
    """One report for each class of queries, named `run, class`, in the order of their names.

    Args:
        run: as for `evaluate`.
        qrels: as for `evaluate`.
        measures: as for `evaluate`.
        slices: the class of each query, such as `data.slices["hops"]`; queries without one are left out.
        ties: as for `evaluate`.

    Raises:
        BadInput: as for `evaluate`, or no judged query has a class.
    """
    measures = [measures] if isinstance(measures, str) or callable(measures) else [*measures]
    found = sorted({slices[query] for query in qrels if query in slices})
    if not found:
        raise BadInput("none of the judged queries belongs to a slice")
    return [
        report_of(
            run.only({query for query in run if slices.get(query) == one}).named(f"{run.name}, {one}"),
            {query: grades for query, grades in qrels.items() if slices.get(query) == one},
            measures,
            ties=ties,
        )
        for one in found
    ]


def _run(given: Run | Rankings) -> Run:
    if isinstance(given, Run):
        return given
    mend = "hand in one Run, such as read_run('run.trec'), or {query: {document: score}}; of several, evaluate each"
    if isinstance(given, Qrels) or not isinstance(given, Mapping):
        want(given, Run, "evaluate: the run", mend)
    return Run.of(given)


def _check(qrels: object, ties: object) -> None:
    want(qrels, Mapping, "evaluate: what judges", "hand in {query: {document: grade}}, or read_qrels('qrels.txt')")
    if ties is not None and ties not in tied.RULES:
        raise BadInput(f"evaluate: ties must be one of {', '.join(tied.RULES)}, not {ties!r}")


def _scored(
    measures: Mapping[str, Measure], run: Run, judged: Grades, aspects: Aspects | None = None
) -> dict[str, dict[str, float]]:
    """Each measure of each judged query; where the run lacks it 0, or what it counts."""
    enough = depth(measures.values())
    per_query = {}
    for name, measure in measures.items():
        counted = count(measure)
        per_query[name] = {
            query: counted(grades, (), measure.params) if counted else 0.0 for query, grades in judged.items()
        }
    for name, query, value in values(measures, run if enough is None else run.top(enough), judged, aspects):
        per_query[name][query] = value
    return per_query


def _moved_by_ties(report: Report, measures: Mapping[str, Measure], run: Run, judged: Grades) -> list[str]:
    """What is said where the order of the ties in `run` moves a mean further than a point."""
    named = {
        name: measure
        for name, measure in measures.items()
        if is_named(measure) and name not in report.counts and not needs_aspects(measure)
    }
    if not named:
        return []
    part = {query: judged[query] for query in run}
    best, worst = (_scored(named, tied.by_grade(run, judged, best), part) for best in (True, False))
    ranges = []
    for name in named:
        fixed = sum(value for query, value in report.per_query[name].items() if query not in part)
        low, high = ((fixed + sum(found[name].values())) / len(judged) for found in (worst, best))
        if high - low > tied.TOLD:
            ranges.append(f"{name} anywhere from {low:.4f} to {high:.4f}")
    if not ranges:
        return []
    return [f"the order of its {report.ties:,} ties decides {', '.join(ranges)}: choose one by ties= (eval --ties)"]


def _judged_share(run: Run, judged: Grades) -> float:
    shares = [np.mean([id in judged[query] for id in ranking.ids]) for query, ranking in run.items()]
    return float(np.mean(shares)) if shares else 0.0
