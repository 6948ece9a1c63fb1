"""`whyrank join` and `whyrank status`: work that is done in chunks."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.output import say, say_json
from whyrank.cli.places import tell_job

Folder = Annotated[Path, typer.Argument(help="The folder that --on or --chunk wrote.")]


def join(
    folder: Folder,
    partial: Annotated[
        bool, typer.Option("--partial", help="Join what is there, if that is not all, into run.partial.trec.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Join the chunks of a run; then its folder is as that of one that was never cut."""
    from whyrank import distributed

    tell_job(distributed.join(folder, partial=partial), json)


def status(folder: Folder, json: AsJson = False) -> None:
    """Say how far work in chunks is: what is done, failed and left, and what it cost."""
    from whyrank import distributed

    told = distributed.status(folder)
    if json:
        say_json(told)
        return
    states = ", ".join(f"{count:,} {state}" for state, count in told["chunks"].items())
    total = sum(told["chunks"].values())
    say(f"{folder}: {total:,} chunks, {told['lists']:,} lists: {states}{'; joined' if told['joined'] else ''}")
    if ledger := told["ledger"]:
        cost = "" if ledger.get("cost") is None else f", cost {ledger['cost']:.4f}"
        tokens = f"{ledger['input_tokens']:,} tokens in, {ledger['output_tokens']:,} out"
        say(f"model calls of what is done: {ledger['calls']:,}, {tokens}{cost}")
    for failed in told["failed"]:
        say(f"chunk {failed['chunk']} failed: {failed['error']}")
