"""`whyrank index`: index a collection."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson, Data
from whyrank.cli.output import say, say_json
from whyrank.cli.places import OfChunks, On, Replicas, place, tell_job


def index(
    spec: Annotated[str, typer.Argument(help="A retriever, such as bm25() or dense('minilm').")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The index folder to write.")],
    on: On = None,
    replicas: Replicas = None,
    chunk: OfChunks = None,
    json: AsJson = False,
) -> None:
    """Index a collection and save the index; search it with, for example, bm25(path='FOLDER')."""
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.retrieval.base import Retriever

    if (there := place(on, chunk, None, replicas)) is not None:
        from whyrank import distributed

        tell_job(distributed.index(spec, data, out, on=there), json)
        return
    retriever = make(spec, Retriever)
    corpus = load(data).corpus
    retriever.at(out).index(corpus)
    if json:
        say_json({"folder": str(out), "documents": len(corpus)})
        return
    say(f"{out}: {len(corpus):,} documents indexed by {retriever!r}")
