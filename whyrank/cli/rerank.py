"""`whyrank rerank`: a run, by any reranker."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import RUN, AsJson, Asked, Out, Split, asking
from whyrank.cli.output import tell, without_effect
from whyrank.cli.places import tell_job
from whyrank.cli.shared import Chunks, chunks, limits, takes

if TYPE_CHECKING:
    from whyrank.experiment import Limits


@takes(limits=limits, chunks=chunks)
def rerank(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help=f"The first stage: {RUN}.")],
    spec: Annotated[str, typer.Argument(help="A reranker, such as listwise(vllm('Qwen/Qwen3-8B')).")],
    out: Out,
    data: Annotated[
        str | None, typer.Option("--data", help="A data set: a name or a folder; candidates with text need none.")
    ] = None,
    query: Asked = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of each query to rerank.")] = 100,
    seconds_per_query: Annotated[
        float | None,
        typer.Option(
            "--seconds-per-query", help="Then a query ends with what the model answered; its open calls have failed."
        ),
    ] = None,
    split: Split = None,
    json: AsJson = False,
    *,
    limits: "Limits",
    chunks: Chunks,
) -> None:
    """Rerank a run; stopped at any point, the same command goes on and repeats no finished model call."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker

    reranker = make(spec, Reranker)
    limits = replace(limits, seconds=seconds_per_query)
    if data is None:
        without_effect(ctx, "is of --data", "split", "query")
    if chunks.place is not None:
        from whyrank import distributed

        given = data if data is None or not query else asking(load(data, split=split), query)
        done = distributed.rerank(
            run,
            reranker,
            given,
            out,
            depth,
            limits,
            on=chunks.place,
            chunk_size=chunks.size,
            split=split,
            trace=chunks.trace,
        )
        tell_job(done, json)
        return
    texts = None if data is None else asking(load(data, split=split), query)
    tell(experiment.rerank(run, reranker, texts, out, depth, limits, trace=chunks.trace), json)
