"""The command line: thin verbs, one file each, over the rooms below. Heavy imports wait inside the verbs."""

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated, Any, cast

import typer

from whyrank.cli.demo import demo
from whyrank.cli.doctor import doctor
from whyrank.cli.evaluate import evaluate_runs
from whyrank.cli.explain import explain
from whyrank.cli.export import export
from whyrank.cli.fuse import fuse
from whyrank.cli.index import index
from whyrank.cli.join import join, status
from whyrank.cli.mcp import mcp
from whyrank.cli.models import models, prompt
from whyrank.cli.output import say
from whyrank.cli.reproduce import reproduce
from whyrank.cli.rerank import rerank
from whyrank.cli.search import search
from whyrank.cli.serve import serve
from whyrank.cli.simulate import simulate
from whyrank.cli.synth import synth
from whyrank.cli.train import training
from whyrank.cli.view import view
from whyrank.errors import BudgetSpent, ChunksFailed, WhyrankError
from whyrank.io.files import FULL
from whyrank.progress import quiet_libraries, show
from whyrank.terminal import plain

_WRONG_CALL = cast("type[Exception]", typer.BadParameter.__bases__[0])  # click's UsageError

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
    quiet_libraries()


VERBS: dict[str, Callable[..., None]] = {
    "index": index,
    "search": search,
    "rerank": rerank,
    "join": join,
    "status": status,
    "explain": explain,
    "export": export,
    "fuse": fuse,
    "eval": evaluate_runs,
    "view": view,
    "demo": demo,
    "synth": synth,
    "models": models,
    "prompt": prompt,
    "simulate": simulate,
    "reproduce": reproduce,
    "serve": serve,
    "mcp": mcp,
    "doctor": doctor,
}
for name, verb in VERBS.items():
    settings = {"auto_envvar_prefix": "WHYRANK_SERVE"} if verb is serve else {}
    app.command(name, short_help=verb.__doc__, context_settings=settings)(verb)
app.add_typer(training, name="train")


GO_ON = {"index", "search", "rerank", "fuse", "synth", "train", "demo", "reproduce"}
"""Verbs that go on where they were stopped, where there is anything to go on from."""


def main() -> None:
    """Run the command line and exit: 0; 1 after an error, 2 a wrong call, 3 at a limit, 4 failed chunks, 130 Ctrl-C.

    An error that whyrank raises on purpose, or that the system reports, is one line on stderr; a traceback is a fault
    of whyrank's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character that the terminal's encoding lacks ends no command
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    try:
        ended = app(standalone_mode=False)
    except _WRONG_CALL as error:
        return _refuse(error)
    except (KeyboardInterrupt, typer.Abort):
        ended = 130
    except BudgetSpent as error:
        return _end(3, f"stopped: {error}")
    except ChunksFailed as error:
        return _end(4, f"error: {error}")
    except WhyrankError as error:
        return _end(1, f"error: {error}")
    except OSError as error:
        return _end(1, f"error: {_system(error)}")
    except MemoryError:
        return _end(1, "error: there is not enough memory for this")
    if ended == 130:
        return _end(130, "stopped; the same command goes on" if sys.argv[1:2] and sys.argv[1] in GO_ON else "stopped")
    return ended if isinstance(ended, int) else 0


def _refuse(error: Any) -> int:  # noqa: ANN401 (click's UsageError)
    """Say what is wrong with a call; where nothing was given, show the help that is the error's message."""
    message = error.format_message()
    if error.ctx is not None and message == error.ctx.get_help():
        typer.echo(message, err=True)
        return 2
    where = "whyrank" if error.ctx is None else error.ctx.command_path
    return _end(2, f"error: {message[:1].lower()}{message[1:].rstrip('.')} (see {where} --help)")


def _system(error: OSError) -> str:
    """What the system reports: a file or folder that cannot be used, or a full disk."""
    if error.strerror is None:  # numpy's, of a file that did not take all of an array
        return f"not all could be written ({error}): is the disk full?"
    why = error.strerror
    if error.errno in FULL and sys.argv[1:2] and sys.argv[1] in GO_ON:
        why += "; make room, and the same command goes on"
    return why if error.filename is None else f"cannot read or write {error.filename}: {why}"


def _end(code: int, text: str) -> int:
    say(" ".join(plain(text).split()), err=True)
    return code
