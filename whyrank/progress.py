"""Progress of long work on stderr; silent unless a program (the command line) switches it on."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from whyrank.secrets import masked
from whyrank.terminal import line, plain

WIDE = 100
"""Columns from which on a terminal has room for a bar."""

SLOW = 600.0
"""Seconds over which the speed of work is taken: some of it moves once a minute."""

_shown = False
_told: set[str] = set()


class Advance(Protocol):
    """Called with the number of units just finished and, where there is something to tell, a short note."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps`."""


def show(on: bool = True) -> None:
    """Show the progress of long work on stderr from now on, or stop showing it."""
    global _shown
    _shown = on


def shown() -> bool:
    """Whether progress is shown."""
    return _shown


def warn(text: str) -> None:
    """Tell of something once: in one line on stderr where progress is shown, else as a Python warning."""
    text = masked(text)
    if not _shown:
        warnings.warn(plain(text), stacklevel=3)
    elif text not in _told:
        _told.add(text)
        sys.stderr.write(f"warning: {line(text)}\n")


def note(text: str) -> None:
    """Tell of something once, in one line on stderr, where progress is shown; else nothing."""
    if _shown and text not in _told:
        _told.add(text)
        sys.stderr.write(f"{line(masked(text))}\n")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """A progress line for `total` units of work, which may be a guess; yields the function that moves it on.

    Counts and clocks are always seen; on a narrow terminal the bar is left out, and the note is cut short.

    Examples:
        >>> with progress("encoding", 3) as advance:
        ...     advance()
    """
    if not _shown:
        yield lambda steps=1, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    console, rest = Console(file=sys.stderr), Column(ratio=1, no_wrap=True, overflow="ellipsis")
    wide = console.width >= WIDE
    columns = (
        TextColumn("{task.description}", markup=False),
        *([BarColumn(20)] if wide else []),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=rest),
    )
    told, room = line(what), console.width // 3
    with Progress(*columns, console=console, expand=True, speed_estimate_period=SLOW) as bar:
        task = bar.add_task(told if len(told) <= room else f"{told[: room - 1]}…", total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            if note:
                bar.update(task, note=line(note))
            bar.advance(task, steps)
            done = bar.tasks[0].completed
            if total is not None and done > total:  # it was a guess
                bar.update(task, total=done)

        yield advance


@contextmanager
def no_bars(reports: Any) -> Iterator[None]:  # noqa: ANN401 (an optional package)
    """Keep the bars of transformers off the terminal; `reports` is its module `transformers.utils.logging`."""
    shown = reports.is_progress_bar_enabled()
    reports.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            reports.enable_progress_bar()


def quiet_hub() -> None:
    """Keep off the terminal what the hub's client tells of every retry without a network."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def quiet_libraries() -> None:
    """Keep off the terminal what libraries tell their own users: what they will change, which versions they know.

    Who wants to see it says so by `python -W` or PYTHONWARNINGS.
    """
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
