"""`whyrank synth`: training data."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson, Kept, MaxCost, MaxTokens, PriceTable, Split
from whyrank.cli.output import prices_of, tell_made, without_effect
from whyrank.cli.places import ChunkSize, OfChunks, On, place, tell_job


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
    on: On = None,
    chunk: OfChunks = None,
    chunk_size: ChunkSize = None,
    trace: Kept = None,
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
    if (where := place(on, chunk, chunk_size)) is not None:
        from whyrank import distributed
        from whyrank.experiment import Limits

        work = (method, source, data, out, depth, Limits(prices_of(prices), max_cost, max_tokens))
        how = trace or "lean"
        tell_job(
            distributed.synthesise(*work, limit=limit, on=where, chunk_size=chunk_size, split=split, trace=how), json
        )
        return
    collection = None if data is None else load(data, split=split)
    tasks = tasks_of(source, collection, method, depth, limit)
    made = synthesise(
        method,
        tasks,
        out,
        collection,
        prices=prices_of(prices),
        max_cost=max_cost,
        max_tokens=max_tokens,
        trace=trace or "full",
    )
    tell_made(made.file, made.report, json)
