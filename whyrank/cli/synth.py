"""`whyrank synth`: training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import AsJson, Split
from whyrank.cli.output import tell_made, without_effect
from whyrank.cli.places import tell_job
from whyrank.cli.shared import Chunks, chunks, limits, takes

if TYPE_CHECKING:
    from whyrank.experiment import Limits


@takes(limits=limits, chunks=chunks)
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
    split: Split = None,
    json: AsJson = False,
    *,
    limits: "Limits",
    chunks: Chunks,
) -> None:
    """Make training data: queries, negatives, teacher rankings, pairs; says what was dropped and why."""
    from whyrank.data_synth.base import Synth
    from whyrank.data_synth.folder import synthesise, tasks_of
    from whyrank.datasets import load
    from whyrank.registry import make

    method = make(spec, Synth)
    if data is None:
        without_effect(ctx, "is of --data", "split")
    if chunks.place is not None:
        from whyrank import distributed

        work = (method, source, data, out, depth, limits)
        done = distributed.synthesise(
            *work,
            limit=limit,
            on=chunks.place,
            chunk_size=chunks.size,
            split=split,
            trace=chunks.trace,
        )
        tell_job(done, json)
        return
    collection = None if data is None else load(data, split=split)
    tasks = tasks_of(source, collection, method, depth, limit)
    made = synthesise(
        method,
        tasks,
        out,
        collection,
        prices=limits.prices,
        max_cost=limits.max_cost,
        max_tokens=limits.max_tokens,
        trace=chunks.trace,
    )
    tell_made(made.file, made.report, json)
