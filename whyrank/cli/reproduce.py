"""`whyrank reproduce`: what comes with whyrank, from a seed."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.output import say


def reproduce(
    what: Annotated[str, typer.Argument(help="tiny: the small model that comes with whyrank.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write; calling again goes on there.")],
    seed: Annotated[int, typer.Option("--seed", help="Of lessons, weights and order.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", help="How it is trained: a file in whyrank/train/tiny.")
    ] = "tiny.toml",
) -> None:
    """Make again, from a seed, what comes with whyrank."""
    from whyrank.errors import BadInput
    from whyrank.reproduce import tiny

    if what != "tiny":
        raise BadInput(f"there is only 'tiny' to reproduce, not {what!r}")
    say(tiny(out, seed, recipe))
