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


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder; empty where there is none.

    Raises:
        BadInput: it is damaged.
    """
    path = Path(folder) / "manifest.json"
    found = read_json(path) if path.is_file() else {}
    if found and not (isinstance(found.get("task"), dict) and isinstance(found.get("finished"), bool)):
        raise BadInput(f"{path}: damaged, it says no task: {mend(path)}")
    return found


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


def plain(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task as it is read back from a manifest."""
    found: dict[str, Any] = json.loads(json.dumps(task))
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one object, indented."""
    with atomic_write(path) as file:
        file.write(as_json(value))


def as_json(value: Mapping[str, Any]) -> bytes:
    """One object, indented, as files hold it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


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
    except (ValueError, RecursionError) as error:
        line, found = line + getattr(error, "lineno", 1) - 1, None
    if not isinstance(found, dict):
        raise BadInput(f"{path}:{line}: damaged: {mend(path)}")
    return found


def mend(path: Path) -> str:
    """How to go on where a file of a folder is damaged; what was paid for is never thrown away."""
    if (trace := path.with_name("trace.jsonl")).is_file() and (paid := trace.read_bytes().count(b'"status": "ok"')):
        whole = f"{paid:,} answered calls in {trace} are kept"
    elif (scores := path.with_name("scores.jsonl")).is_file():
        whole = f"the scores in {scores} are kept"
    else:
        return "delete the folder and run again"
    return f"remove this file, and the same command makes it again; {whole}, and are not asked again"
