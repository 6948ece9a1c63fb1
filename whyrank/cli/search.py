"""`whyrank search`: the queries of a data set."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import (
    AsJson,
    Asked,
    Data,
    Kept,
    MaxCost,
    MaxTokens,
    Out,
    PriceTable,
    Split,
    Where,
    asking,
    keeping,
)
from whyrank.cli.output import prices_of, tell
from whyrank.cli.places import ChunkSize, OfChunks, On, place, tell_job


def search(
    spec: Annotated[str, typer.Argument(help="A retriever, such as bm25() or dense('minilm').")],
    data: Data,
    out: Out,
    query: Asked = None,
    where: Where = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents for each query.")] = 100,
    rewrites: Annotated[
        Path | None,
        typer.Option(
            "--rewrites", help="Search for rewritten queries instead: JSON, {text or id of a query: its new text}."
        ),
    ] = None,
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
    """Search all queries of a data set, or those given by --query."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.registry import make
    from whyrank.retrieval.base import Retriever

    retriever = make(spec, Retriever)
    if rewrites is not None:
        from whyrank.retrieval.rewrite import FromFile, Rewritten

        retriever = Rewritten(retriever, FromFile(str(rewrites)))
    limits = experiment.Limits(prices_of(prices), max_cost, max_tokens)
    found = asking(load(data, split=split), query)
    if not found.queries:
        raise BadInput(f"{data} has no queries: ask by --query 'why?', or put queries.jsonl beside the collection")
    found = keeping(found, where)
    if (there := place(on, chunk, chunk_size)) is not None:
        from whyrank import distributed

        given = found if query or where else data
        work = (retriever, given, out, k, limits)
        tell_job(distributed.search(*work, on=there, chunk_size=chunk_size, split=split, trace=trace or "lean"), json)
        return
    tell(experiment.search(retriever, found, out, k, limits, trace=trace or "full"), json)
