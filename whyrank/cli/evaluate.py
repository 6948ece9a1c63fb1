"""`whyrank eval`: how good runs are."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from whyrank.cli.options import RUN, AsJson, Split
from whyrank.cli.tell import say, say_json, width, without_effect


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
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Evaluate runs; a judged query that a run lacks counts 0."""
    from itertools import chain

    from whyrank import eval as evaluation
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.experiment import open_runs, refuse_foreign, refuse_other_protocols, tuned_on
    from whyrank.io import read_qrels
    from whyrank.types import Dataset

    if (data is None) == (qrels is None):
        raise BadInput("give the judgements either by --data or by --qrels")
    if qrels is not None:
        without_effect(ctx, "is of --data: --qrels names the very file", "split")
    if compare and len(runs) < 2:
        raise BadInput(f"--compare tests runs against the first: it needs at least two, not {len(runs)}")
    found = Dataset("qrels", qrels=read_qrels(qrels)) if qrels is not None else load(str(data), split=split)
    if by is not None and by not in found.slices:
        raise BadInput(f"--by: {found.name!r} has no slices {by!r}; it has {', '.join(found.slices) or 'none'}")
    opened, measures = open_runs(runs), measure or ["nDCG@10", "R@100"]
    refuse_other_protocols(runs, found.qrels.protocol)
    refuse_foreign(runs, opened, found.qrels, f"judged in {found.name!r}", "check --data and --split")
    reports = [evaluation.evaluate(run, found.qrels, measures, ties=ties) for run in opened]
    if by is not None:
        reports += chain(
            *(evaluation.by_slice(run, found.qrels, measures, found.slices[by], ties=ties) for run in opened)
        )
    for run in runs:
        if tuned_on(run, data, split):
            say(f"{run}: its weights were tuned on these judgements, so its figures are too good", err=True)
    compared = evaluation.compare(reports[: len(opened)]) if compare else None
    if json:
        by_protocol = {"protocol": found.qrels.protocol} if found.qrels.protocol else {}
        told: dict[str, object] = {
            report.name: {**report.means, "coverage": report.coverage, **by_protocol} for report in reports
        }
        say_json(told if compared is None else {**told, "comparison": compared.to_list()})
        return
    say(evaluation.table(reports, width()))
    if compared is not None:
        say(compared.table(width()))
