"""`whyrank index`: index a collection."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import Data
from whyrank.cli.output import say


def index(
    spec: Annotated[str, typer.Argument(help="A retriever, such as bm25() or dense('minilm').")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The index folder to write.")],
) -> None:
    """Index a collection and save the index; search it with, for example, bm25(path='FOLDER')."""
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.retrieval.base import Retriever

    retriever = make(spec, Retriever)
    corpus = load(data).corpus
    retriever.at(out).index(corpus)
    say(f"{out}: {len(corpus):,} documents indexed by {retriever!r}")
