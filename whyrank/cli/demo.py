"""`whyrank demo`: the main job, offline."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.tell import say


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the run folders go.")] = Path("runs/demo"),
    questions: Annotated[
        int, typer.Option("--questions", min=1, help="How many questions are searched and reranked.")
    ] = 48,
) -> None:
    """Search, rewrite, rerank with thought and explain, offline, with the small model that comes with whyrank."""
    from whyrank.demo import demo

    for part in demo(out, questions):
        say(part)
