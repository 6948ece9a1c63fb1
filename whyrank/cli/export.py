"""`whyrank export`: a run with its texts."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import RUN, Asked, Trust, asking
from whyrank.cli.output import say, trusts, without_effect


def export(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help=f"The run: {RUN}.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, .jsonl or .json; also .gz.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Where texts are taken from, if not from the run's own data set.")
    ] = None,
    query: Asked = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="How many documents for each query.")] = None,
    trust: Trust = None,
) -> None:
    """Write a run with its texts, as candidates that rank_llm and other tools read."""
    from whyrank import experiment
    from whyrank.datasets import load

    if data is None:
        without_effect(ctx, "is of --data", "query")
    texts = None if data is None else asking(load(data), query)
    written = experiment.export(run, out, texts, k, trust=trusts(trust, run))
    say(f"{out}: {len(written):,} queries with their candidates")
