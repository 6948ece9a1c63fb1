"""The command line: thin verbs, one file each, over the rooms below. Heavy imports wait inside the verbs."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from whyrank.cli.demo import demo
from whyrank.cli.doctor import doctor
from whyrank.cli.evaluate import evaluate_runs
from whyrank.cli.explain import explain
from whyrank.cli.export import export
from whyrank.cli.fuse import fuse
from whyrank.cli.index import index
from whyrank.cli.reproduce import reproduce
from whyrank.cli.rerank import rerank
from whyrank.cli.search import search
from whyrank.cli.simulate import simulate
from whyrank.cli.synth import synth
from whyrank.cli.train import training
from whyrank.errors import BudgetSpent, WhyrankError
from whyrank.progress import show

app = typer.Typer(
    name="whyrank",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"whyrank {version('whyrank')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Retrieval and reranking that reason, and say why."""
    show()


VERBS: dict[str, Callable[..., None]] = {
    "index": index,
    "search": search,
    "rerank": rerank,
    "explain": explain,
    "export": export,
    "fuse": fuse,
    "eval": evaluate_runs,
    "demo": demo,
    "synth": synth,
    "simulate": simulate,
    "reproduce": reproduce,
    "doctor": doctor,
}
for name, verb in VERBS.items():
    app.command(name)(verb)
app.add_typer(training, name="train")


def main() -> None:
    """Run the command line; errors that whyrank raises on purpose, and those of files, become one line on stderr."""
    try:
        app()
    except BudgetSpent as error:
        typer.echo(f"stopped: {error}", err=True)
        sys.exit(3)
    except WhyrankError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"error: cannot read or write {error.filename}: {error.strerror}", err=True)
        sys.exit(1)
