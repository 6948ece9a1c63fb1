"""`whyrank view`: runs as a page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import RUN, Split, Trust
from whyrank.cli.output import say, without_effect


def view(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help=f"Each of them {RUN}; the others are compared with the first.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Texts and judgements, if not those that the first run was made on.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file to write.")] = Path("report.html"),
    measure: Annotated[
        list[str] | None, typer.Option("-m", "--measure", help="Several may be given; else nDCG@10 and R@100.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of each ranking.")] = 100,
    chars: Annotated[int, typer.Option("--chars", min=1, help="How many characters of each passage.")] = 600,
    split: Split = None,
    trust: Trust = None,
) -> None:
    """Write one HTML file in which people look at runs: figures, gains, rankings, reasons, prompts and answers."""
    from whyrank.cli.output import trusts
    from whyrank.datasets import load
    from whyrank.view import write_report
    from whyrank.view.report import MEASURES

    if data is None:
        without_effect(ctx, "is of --data", "split")
    texts = None if data is None else load(data, split=split)
    say(write_report(runs, out, texts, measure or MEASURES, depth=depth, chars=chars, trust=trusts(trust, runs[0])))
