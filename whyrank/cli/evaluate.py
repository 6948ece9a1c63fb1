"""`whyrank eval`: how good runs are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whyrank.cli.options import RUN, AsJson, Split
from whyrank.cli.output import say, say_json, width, without_effect

if TYPE_CHECKING:
    from whyrank.eval import Comparison, Report
    from whyrank.eval.spread import Spread
    from whyrank.types import Dataset, Run


def evaluate_runs(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help=f"Each of them {RUN}.")],
    data: Annotated[str | None, typer.Option("--data", help="A data set with judgements.")] = None,
    qrels: Annotated[Path | None, typer.Option("--qrels", help="A file of judgements, instead of --data.")] = None,
    measure: Annotated[
        list[str] | None, typer.Option("-m", "--measure", help="Several may be given; else nDCG@10 and R@100.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Test each run against the first.")] = False,
    by: Annotated[
        str | None, typer.Option("--by", help="Also for each class of queries, such as hops in world.")
    ] = None,
    ties: Annotated[
        Literal["id", "rising", "file", "expected"] | None,
        typer.Option(
            "--ties", help="How equal scores are ordered: by falling id as in trec_eval, rising id, file, or all ways."
        ),
    ] = None,
    aspects: Annotated[
        bool, typer.Option("--aspects", help="The second column of --qrels names aspects, for alpha_nDCG and StRecall.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table, with booktabs.")] = False,
    per_query: Annotated[
        Path | None, typer.Option("--per-query", help="Also write each query's values: .csv, .tsv or .parquet.")
    ] = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Evaluate runs; a judged query that a run lacks counts 0."""
    from whyrank import eval as evaluation
    from whyrank.errors import BadInput
    from whyrank.experiment import open_runs, refuse_foreign, refuse_other_protocols, tuned_on
    from whyrank.io.tables import write_table

    if compare and len(runs) < 2:
        raise BadInput(f"--compare tests runs against the first: it needs at least two, not {len(runs)}")
    if markdown + latex + json > 1:
        raise BadInput("one form at a time: --json, --markdown or --latex")
    found = _judged(ctx, data, qrels, split, aspects)
    if by is not None and by not in found.slices:
        raise BadInput(f"--by: {found.name!r} has no slices {by!r}; it has {', '.join(found.slices) or 'none'}")
    opened, measures = open_runs(runs), measure or ["nDCG@10", "R@100"]
    refuse_other_protocols(runs, found.qrels.protocol)
    refuse_foreign(runs, opened, found.qrels, f"judged in {found.name!r}", "check --data and --split")
    reports = [evaluation.evaluate(run, found.qrels, measures, ties=ties) for run in opened]
    for run in opened if by is not None else ():
        reports += evaluation.by_slice(run, found.qrels, measures, found.slices[str(by)], ties=ties)
    tuned = [run for run in runs if tuned_on(run, data, split)]
    doubts = [f"{run}: its weights were tuned on these judgements, so its figures are too good" for run in tuned]
    for doubt in (*doubts, *evaluation.same_orders(opened)):
        say(doubt, err=True)
    compared = evaluation.compare(reports[: len(opened)]) if compare else None
    if per_query is not None:
        write_table(per_query, evaluation.per_query(reports))
    if markdown or latex:
        say(evaluation.written(reports, "latex" if latex else "markdown", compared))
    else:
        _show(reports, compared, _spreads(found, opened), json)


def _judged(ctx: typer.Context, data: str | None, qrels: Path | None, split: str | None, aspects: bool) -> "Dataset":
    """The judgements, from --data or from --qrels."""
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.io import read_qrels
    from whyrank.types import Dataset

    if (data is None) == (qrels is None):
        raise BadInput("give the judgements either by --data or by --qrels")
    if qrels is None:
        without_effect(ctx, "is of --qrels", "aspects")
        return load(str(data), split=split)
    without_effect(ctx, "is of --data: --qrels names the very file", "split")
    return Dataset("qrels", qrels=read_qrels(qrels, aspects))


def _show(reports: "list[Report]", compared: "Comparison | None", spreads: "list[Spread]", json: bool) -> None:
    """Print what came out, as tables or as JSON."""
    from whyrank import eval as evaluation

    if json:
        told: dict[str, object] = {
            report.name: {**report.means, "coverage": report.coverage, **_of_recommendation(report, spreads)}
            for report in reports
        }
        say_json(told if compared is None else {**told, "comparison": compared.to_list()})
        return
    say("\n".join([evaluation.table(reports, width()), *_remarks(spreads, len(reports[0].queries))]))
    if compared is not None:
        say(compared.table(width()))


def _spreads(data: "Dataset", runs: "list[Run]") -> "list[Spread]":
    """How each run of recommendations is spread over the items; nothing for other data."""
    from whyrank.eval import spread
    from whyrank.types import Catalogue

    if not data.qrels.protocol or not isinstance(data.corpus, Catalogue):
        return []
    train = data.corpus.train
    popularity = dict(zip(train.items, train.popularity.tolist(), strict=True))
    return [spread(run, popularity) for run in runs]


def _remarks(spreads: "list[Spread]", queries: int) -> list[str]:
    """What stands under a table of recommenders."""
    from whyrank.eval import detectable

    if not spreads:
        return []
    least = f"differences of nDCG@10 below {detectable(queries):.4f} are not told from chance"
    return [*map(str, spreads), f"{least} by {queries:,} queries"]


def _of_recommendation(report: "Report", spreads: "list[Spread]") -> dict[str, object]:
    """What JSON says of a run of recommendations beside its measures."""
    from dataclasses import asdict

    from whyrank.eval import detectable

    if not report.protocol:
        return {}
    told = {one.run: {name: value for name, value in asdict(one).items() if name != "run"} for one in spreads}
    beside = {"spread": told[report.name]} if report.name in told else {}
    return {"protocol": report.protocol, "detectable": detectable(len(report.queries)), **beside}
