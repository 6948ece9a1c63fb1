"""`whyrank rerank`: a run, by any reranker."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import RUN, AsJson, Asked, Kept, MaxCost, MaxTokens, Out, PriceTable, Split, asking
from whyrank.cli.output import prices_of, tell, without_effect
from whyrank.cli.places import ChunkSize, OfChunks, On, place, tell_job


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
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    seconds_per_query: Annotated[
        float | None,
        typer.Option(
            "--seconds-per-query", help="Then a query ends with what the model answered; its open calls have failed."
        ),
    ] = None,
    split: Split = None,
    on: On = None,
    chunk: OfChunks = None,
    chunk_size: ChunkSize = None,
    trace: Kept = None,
    json: AsJson = False,
) -> None:
    """Rerank a run; stopped at any point, the same command goes on and repeats no finished model call."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker

    reranker = make(spec, Reranker)
    limits = experiment.Limits(prices_of(prices), max_cost, max_tokens, seconds_per_query)
    if data is None:
        without_effect(ctx, "is of --data", "split", "query")
    if (where := place(on, chunk, chunk_size)) is not None:
        from whyrank import distributed

        given = data if data is None or not query else asking(load(data, split=split), query)
        work = (run, reranker, given, out, depth, limits)
        tell_job(distributed.rerank(*work, on=where, chunk_size=chunk_size, split=split, trace=trace or "lean"), json)
        return
    texts = None if data is None else asking(load(data, split=split), query)
    tell(experiment.rerank(run, reranker, texts, out, depth, limits, trace=trace or "full"), json)
