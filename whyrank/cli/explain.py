"""`whyrank explain`: why a reranked run ranks as it does."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson, Split, Trust
from whyrank.cli.output import say, say_json, trusts, without_effect


def explain(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The folder of a reranked run.")],
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="The query's id; needed where the run has more than one.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many documents to show.")] = 10,
    thoughts: Annotated[bool, typer.Option("--thoughts", help="Show whole thoughts, too.")] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="Where texts are taken from, if not from the run's own data set.")
    ] = None,
    split: Split = None,
    trust: Trust = None,
    json: AsJson = False,
) -> None:
    """Say why a reranked run ranks the documents of a query as it does, and what that took."""
    from rich.console import Console

    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.rerank.answer.explain import explanation

    if data is None:
        without_effect(ctx, "is of --data", "split")
    texts = None if data is None else load(data, split=split)
    ranked = experiment.explain(run, query, texts, trust=trusts(trust, run))
    if json:
        say_json(ranked.to_dict(top))
    elif sys.stdout.isatty():
        Console().print(explanation(ranked, top, thoughts=thoughts))
    else:
        say(ranked.explain(top, thoughts=thoughts))
