"""`whyrank search`: the queries of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import AsJson, Asked, Data, Out, Split, Where, asking, keeping
from whyrank.cli.output import tell
from whyrank.cli.places import tell_job
from whyrank.cli.shared import Chunks, chunks, limits, takes

if TYPE_CHECKING:
    from whyrank.experiment import Limits


@takes(limits=limits, chunks=chunks)
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
    split: Split = None,
    json: AsJson = False,
    *,
    limits: "Limits",
    chunks: Chunks,
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
    found = asking(load(data, split=split), query)
    if not found.queries:
        raise BadInput(f"{data} has no queries: ask by --query 'why?', or put queries.jsonl beside the collection")
    found = keeping(found, where)
    if chunks.place is not None:
        from whyrank import distributed

        given = found if query or where else data
        done = distributed.search(
            retriever,
            given,
            out,
            k,
            limits,
            on=chunks.place,
            chunk_size=chunks.size,
            split=split,
            trace=chunks.trace,
        )
        tell_job(done, json)
        return
    tell(experiment.search(retriever, found, out, k, limits, trace=chunks.trace), json)
