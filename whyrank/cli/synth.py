"""`whyrank synth`: training data."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson, MaxCost, MaxTokens, PriceTable, Split
from whyrank.cli.output import end_unanswered, prices_of, say, say_json, without_effect
from whyrank.progress import warn


def synth(
    ctx: typer.Context,
    spec: Annotated[str, typer.Argument(help="A method, such as teacher_rankings(openai('gpt-5')).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The synth folder to write; calling again goes on there.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="What to start from: tasks as JSONL, a synth folder, or a run.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="The collection: a name or a folder.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of each query of a run.")] = 100,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Start from so many tasks only.")] = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Make training data: queries, negatives, teacher rankings, pairs; says what was dropped and why."""
    from whyrank.data_synth.base import Synth
    from whyrank.data_synth.folder import synthesise, tasks_of
    from whyrank.datasets import load
    from whyrank.registry import make

    method = make(spec, Synth)
    if data is None:
        without_effect(ctx, "is of --data", "split")
    collection = None if data is None else load(data, split=split)
    tasks = tasks_of(source, collection, method, depth, limit)
    made = synthesise(
        method, tasks, out, collection, prices=prices_of(prices), max_cost=max_cost, max_tokens=max_tokens
    )
    if json:
        say_json({"file": str(made.file), **made.report})
        end_unanswered(made.report, made.file)
        return
    say(f"{made.file}: {made.report['made']:,} made of {made.report['read']:,} tasks")
    for name, title in (("dropped", "attempts dropped"), ("counts", "also"), ("calls", "model calls")):
        if counts := made.report[name]:
            say(f"{title}: " + ", ".join(f"{what} {count:,}" for what, count in counts.items()))
    if not made.report["made"]:
        warn(f"nothing was made of {made.report['read']:,} tasks: {made.file.parent / 'dropped.jsonl'} says why")
    end_unanswered(made.report, made.file)
