"""`evaluate`: a run against judgements, on trec_eval's own code, with nothing left out in silence."""

from collections.abc import Iterable, Mapping

import numpy as np

from whyrank.errors import BadInput
from whyrank.eval.measures import Custom, depth, parse_measures, values
from whyrank.eval.report import Report
from whyrank.types import Run

JUDGED_DEPTH = 10


def evaluate(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Iterable[str | Custom] | str | Custom = ("nDCG@10", "R@100"),
) -> Report:
    """Score `run` against `qrels`.

    Every judged query counts: one for which the run has no documents scores 0 (`Report.means`; the mean over the others
    is beside it, `Report.means_ranked`). Queries of the run without judgements are counted and left out. The order of
    the run is the truth: trec_eval's own code (through pytrec_eval) sees scores that fall strictly.

    Args:
        run: the rankings.
        qrels: the judgements, `Qrels` or any `{query id: {document id: grade}}`.
        measures: names as ir_measures has them (`nDCG@10`, `R@100`, `AP`, `RR@10`, `P(rel=2)@10`, `Success@1`,
            `Judged@10`), or functions `(grades, ranking) -> float`.

    Raises:
        BadInput: an unknown measure, no judgements, or a run none of whose queries is judged.

    Examples:
        >>> from whyrank.types import Run
        >>> report = evaluate(Run.of({"q1": ["d1", "d2"]}), {"q1": {"d2": 1}, "q2": {"d3": 1}}, ["RR@10"])
        >>> report["RR@10"], report.means_ranked["RR@10"], report.missing
        (0.25, 0.5, ('q2',))
    """
    chosen = parse_measures(measures)
    judged = {query: grades for query, grades in qrels.items() if grades}
    if not judged:
        raise BadInput("there are no judgements to evaluate against: the qrels are empty")
    if len(run) and not any(query in judged for query in run):
        raise BadInput(
            f"run {run.name!r}: none of its {len(run)} queries is judged: it has {next(iter(run))!r}, "
            f"the judgements have {next(iter(judged))!r}"
        )
    ranked = run.only({query for query, size in run.sizes.items() if size and query in judged})
    enough = depth(chosen.values())
    per_query = {measure: dict.fromkeys(judged, 0.0) for measure in chosen}
    for measure, query, value in values(chosen, ranked if enough is None else ranked.top(enough), judged):
        per_query[measure][query] = value
    return Report(
        name=run.name,
        per_query=per_query,
        missing=tuple(query for query in judged if query not in ranked),
        unjudged=tuple(query for query in run if query not in judged),
        without_relevant=tuple(query for query, grades in judged.items() if max(grades.values()) < 1),
        ties=ranked.ties,
        entries=len(ranked.codes),
        judged_share=_judged_share(ranked.top(JUDGED_DEPTH), judged),
    )


def by_slice(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Iterable[str | Custom] | str | Custom,
    slices: Mapping[str, str],
) -> list[Report]:
    """One report for each class of queries, named `run, class`, in the order of their names.

    Args:
        run: as for `evaluate`.
        qrels: as for `evaluate`.
        measures: as for `evaluate`.
        slices: the class of each query, such as `data.slices["hops"]`; queries without one are left out.

    Raises:
        BadInput: as for `evaluate`, or no judged query has a class.
    """
    measures = [measures] if isinstance(measures, str) or callable(measures) else [*measures]
    found = sorted({slices[query] for query in qrels if query in slices})
    if not found:
        raise BadInput("none of the judged queries belongs to a slice")
    return [
        evaluate(
            run.only({query for query in run if slices.get(query) == one}).named(f"{run.name}, {one}"),
            {query: grades for query, grades in qrels.items() if slices.get(query) == one},
            measures,
        )
        for one in found
    ]


def _judged_share(run: Run, judged: Mapping[str, Mapping[str, int]]) -> float:
    shares = [np.mean([id in judged[query] for id in ranking.ids]) for query, ranking in run.items()]
    return float(np.mean(shares)) if shares else 0.0
