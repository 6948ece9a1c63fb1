"""`whyrank fuse`: several runs of the same queries."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import RUN, AsJson, Out, Split, Trust
from whyrank.cli.output import tell, trusts, without_effect


def fuse(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help=f"Each of them {RUN}.")],
    out: Out,
    method: Annotated[str, typer.Option("--method", help="rrf, combsum or combmnz.")] = "rrf",
    norm: Annotated[
        str, typer.Option("--norm", help="Of scores, before they are summed: minmax, zscore, none.")
    ] = "minmax",
    rrf_k: Annotated[
        int, typer.Option("--rrf-k", min=0, help="Of rrf, 1 / (k + rank): the higher, the less first ranks count.")
    ] = 60,
    weights: Annotated[str, typer.Option("--weights", help="One for each run, such as 0.3,0.7.")] = "",
    like: Annotated[Path | None, typer.Option("--like", help="Fuse as this fused run was: method, weights.")] = None,
    tune: Annotated[str | None, typer.Option("--tune", help="Tune the weights on this split: dev or train.")] = None,
    measure: Annotated[str, typer.Option("-m", "--measure", help="What --tune maximises.")] = "nDCG@10",
    data: Annotated[
        str | None, typer.Option("--data", help="The data set: for --tune, and for what queries exclude.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents to keep for each query.")] = 1000,
    split: Split = None,
    trust: Trust = None,
    json: AsJson = False,
) -> None:
    """Fuse runs of the same queries; weights may be tuned on queries that are not evaluated."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.fusion import Fusion

    if tune is not None and (data is None or weights or like):
        raise BadInput("--tune finds the weights itself: it needs --data, and neither --weights nor --like")
    if tune is None:
        without_effect(ctx, "is what --tune maximises", "measure")
    if data is None:
        without_effect(ctx, "is of --data", "split")
    if like is None:
        idle = ("is of scores, and rrf adds up ranks", "norm") if method == "rrf" else ("is of --method rrf", "rrf_k")
        without_effect(ctx, *idle)
        without_effect(ctx, "is of --like", "trust")
    given = Fusion(method=method, norm=norm, k=rrf_k, weights=_numbers(weights))  # type: ignore[arg-type]
    if like is not None and given != Fusion():
        raise BadInput("--like brings method, norm and weights with it: leave out those options")
    fusion = given if like is None else experiment.fusion_of(like, trust=trusts(trust, like))
    tuning = experiment.Tuning.on(str(data), tune, measure) if tune is not None else None
    tell(experiment.fuse(runs, fusion, out, k, None if data is None else load(data, split=split), tuning), json)


def _numbers(text: str) -> tuple[float, ...]:
    from whyrank.errors import BadInput

    try:
        return tuple(map(float, filter(None, text.split(","))))
    except ValueError:
        raise BadInput(f"--weights wants numbers such as 0.3,0.7, not {text!r}") from None
