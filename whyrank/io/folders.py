"""What folders of experiments, syntheses and trainings share: a manifest, and JSON that is written whole or not at all.

`manifest.json` says what was asked (`task`), what made it (`made_with`), and whether it is finished.
"""

import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import atomic_write


def begin(
    folder: Path,
    task: Mapping[str, Any],
    packages: Sequence[str] = (),
    another: str = "another run",
    nothing: str = "no run",
) -> dict[str, Any] | None:
    """Take `folder` for `task`, to begin or to go on with; or the manifest of what was finished there before.

    A folder in which another task was begun and nothing was done, since it failed at once, is taken over.

    Args:
        folder: made where it is missing.
        task: what is asked, in plain types.
        packages: whose versions the manifest tells.
        another: what errors call a folder of another task.
        nothing: what errors say that a folder of other files holds.

    Raises:
        BadInput: the folder holds another task, other files, or a damaged manifest.
    """
    if before := read_manifest(folder):
        if before.get("finished") or not _idle(folder):
            _refuse_another(folder, before.get("task", {}), json.loads(json.dumps(task)), another)
        if before.get("finished"):
            return before
    elif folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, and a folder is wanted: choose another with -o")
    elif folder.exists() and any(folder.iterdir()):
        raise BadInput(f"the folder {folder} is not empty and holds {nothing}: choose another with -o")
    write_manifest(folder, task, packages, finished=False)
    return None


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder; empty where there is none.

    Raises:
        BadInput: it is damaged.
    """
    path = Path(folder) / "manifest.json"
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """One object, as `write_json` writes it.

    Raises:
        BadInput: the file is damaged.
    """
    return _object(path, path.read_bytes())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """One object a line, as `write_lines` writes them.

    Raises:
        BadInput: a line is damaged: file and line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield _object(path, line.strip(), number)


def write_manifest(
    folder: Path, task: Mapping[str, Any], packages: Sequence[str], *, finished: bool, **more: object
) -> None:
    """Write down what is asked, what makes it, whether it is finished, and what else there is to say."""
    made_with = versions(packages)
    write_json(folder / "manifest.json", {"task": task, "made_with": made_with, "finished": finished, **more})


def versions(packages: Sequence[str] = ()) -> dict[str, str]:
    """The versions of whyrank, of Python, and of those packages that are installed."""
    found = {"whyrank": version("whyrank"), "python": platform.python_version(), "platform": sys.platform}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one object, indented."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write one object a line; returns how many."""
    count = 0
    with atomic_write(path) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            count += 1
    return count


def _object(path: Path, text: bytes, line: int = 1) -> dict[str, Any]:
    """The object that begins in this line of a file."""
    try:
        found = json.loads(text)
    except ValueError as error:
        line, found = line + getattr(error, "lineno", 1) - 1, None
    if not isinstance(found, dict):
        raise BadInput(f"{path}:{line}: damaged: delete the folder and run again")
    return found


def _idle(folder: Path) -> bool:
    """Whether nothing was done there: besides the manifest there is at most a trace in which no call is answered."""
    if {path.name for path in folder.iterdir()} - {"manifest.json", "trace.jsonl"}:
        return False
    trace = folder / "trace.jsonl"
    return not trace.exists() or b'"status": "ok"' not in trace.read_bytes()


def _refuse_another(folder: Path, before: Mapping[str, Any], task: Mapping[str, Any], another: str) -> None:
    differ = sorted(key for key in {*before, *task} if before.get(key) != task.get(key))
    if differ:
        key = "spec" if "spec" in differ else differ[0]
        raise BadInput(
            f"the folder {folder} holds {another} ({key}: {before.get(key)} there, {task.get(key)} here): "
            "choose another folder with -o, or delete that one"
        )
