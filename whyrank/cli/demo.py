"""`whyrank demo`: the main job, offline."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.output import say, width

QUESTIONS, TEXT_QUESTIONS = 48, 8


def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Where the run folders go; else runs/demo or runs/demo-text, with --questions N and -N behind it.",
        ),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option(
            "--questions",
            min=1,
            help=f"How many questions are searched and reranked: {QUESTIONS}, or {TEXT_QUESTIONS} with --text.",
        ),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="On real English, with SmolLM2 and MiniLM, which packages of PyPI carry.")
    ] = False,
) -> None:
    """Search, rewrite, rerank with thought and explain, offline, with the small model that comes with whyrank."""
    from whyrank.demo import demo, text_demo

    usual = TEXT_QUESTIONS if text else QUESTIONS
    many = questions or usual
    folder = out or Path("runs", "demo-text" if text else "demo")
    if out is None and many != usual:
        folder = folder.with_name(f"{folder.name}-{many}")
    for part in (text_demo if text else demo)(folder, many, width=width() or 100):
        say(part)
