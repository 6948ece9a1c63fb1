"""Reading runs back: from a run folder, a TREC file or a JSON file, with what the manifest says was asked."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, NotFound
from whyrank.io import read_run
from whyrank.io.files import stem
from whyrank.io.folders import mend, read_lines, read_manifest
from whyrank.progress import warn
from whyrank.types import Note, Run


def run_file(source: str | Path) -> Path:
    """The file that holds the run `source`: `run.trec` of a run folder, or the file itself.

    Raises:
        NotFound: there is no such file or folder, or the folder's run is not finished.
    """
    path = Path(source)
    if path.is_dir():
        file = path / "run.trec"
        if not file.is_file():
            begun = " (a run was begun there and is not finished)" if (path / "manifest.json").is_file() else ""
            raise NotFound(f"no run.trec in the folder {path}{begun}")
        return file
    if not path.is_file():
        raise NotFound(f"no run at {path}: give a run folder, a TREC run file, or a JSON file of scores")
    return path


def run_name(source: str | Path) -> str:
    """What a run is called in tables: its folder's name, or its file's without endings."""
    path = Path(source)
    return path.resolve().name if path.is_dir() else stem(path)


def open_run(source: str | Path, notes: bool = False) -> Run:
    """Read the run at `source` (a run folder, a TREC file, or a JSON file of scores), named after its place.

    Args:
        source: the folder or file.
        notes: also read what travels beside the order, which only run folders have.

    Raises:
        NotFound: there is no finished run.
        BadInput: a line is damaged: file and line.
    """
    run = read_run(run_file(source)).named(run_name(source))
    if Path(source).is_dir() and read_manifest(source).get("finished") is False:
        warn(f"{source} is unfinished: some model calls failed, and the command that made it asks them again")
    beside = Path(source) / "notes.jsonl"
    if notes and beside.is_file():
        return run.with_notes(_notes(beside))
    return run


def _notes(path: Path) -> dict[str, Note]:
    notes = {}
    for told in read_lines(path):
        if not isinstance(query := told.pop("query", None), str):
            raise BadInput(f"{path}: damaged, a note names no query: {mend(path)}")
        try:
            notes[query] = Note.from_dict(told)
        except BadInput as error:
            raise BadInput(f"{path}: damaged, query {query!r}: {error}: {mend(path)}") from None
    return notes


def open_runs(sources: Sequence[str | Path], notes: bool = False) -> list[Run]:
    """Read several runs; those that would have the same name are named by their whole paths."""
    runs = [open_run(source, notes) for source in sources]
    clashes = {name for name, times in Counter(run.name for run in runs).items() if times > 1}
    return [run.named(str(at)) if run.name in clashes else run for run, at in zip(runs, sources, strict=True)]


def refuse_foreign(
    sources: Sequence[str | Path], runs: Sequence[Run], queries: Collection[str], there: str, mend: str
) -> None:
    """Refuse runs none of whose queries is among `queries`.

    Args:
        sources: where the runs are from.
        runs: the runs.
        queries: what they should have.
        there: what errors say of such queries.
        mend: how to mend it.

    Raises:
        BadInput: there is such a run.
    """
    for source, run in zip(sources, runs, strict=True):
        if len(run) and queries and set(run).isdisjoint(queries):
            raise BadInput(
                f"{source}{made_on(source)}: none of its {len(run)} queries is {there}: it has {next(iter(run))!r}, "
                f"there is {next(iter(queries))!r}: {mend}"
            )


def refuse_other_protocols(sources: Sequence[str | Path], protocol: str) -> None:
    """Refuse run folders that were made on data of another protocol of recommendation than the judgements.

    Raises:
        BadInput: there is such a run.
    """
    for source in sources:
        data = task_of(source).get("data")
        made = data.get("protocol", "") if isinstance(data, dict) else protocol
        if data and made != protocol:
            raise BadInput(
                f"{source} was made by the protocol {made or 'of no recommendation'!r}, and the judgements are by "
                f"{protocol or 'none'!r}: give the same --data and --split as for the run"
            )


def made_on(source: str | Path) -> str:
    """For errors, on which data set the run of a folder was made; empty where no manifest tells."""
    data = task_of(source).get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return f", a run of {name!r}" if name else ""


def task_of(folder: str | Path) -> dict[str, Any]:
    """What the manifest of a run folder says was asked; nothing where there is no manifest."""
    task: dict[str, Any] = read_manifest(folder).get("task", {})
    return task
