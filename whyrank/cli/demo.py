"""`whyrank demo`: the main job, offline."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.output import say, width

QUESTIONS = 48


def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Where the run folders go; else runs/demo, or with --questions N runs/demo-N."
        ),
    ] = None,
    questions: Annotated[
        int, typer.Option("--questions", min=1, help="How many questions are searched and reranked.")
    ] = QUESTIONS,
) -> None:
    """Search, rewrite, rerank with thought and explain, offline, with the small model that comes with whyrank."""
    from whyrank.demo import demo

    folder = out or Path("runs/demo" if questions == QUESTIONS else f"runs/demo-{questions}")
    for part in demo(folder, questions, width=width() or 100):
        say(part)
