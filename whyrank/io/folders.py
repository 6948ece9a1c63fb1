"""What folders of experiments, syntheses and trainings share: a manifest, and JSON that is written whole or not at all.

`manifest.json` says what was asked (`task`), what made it (`made_with`), and whether it is finished.
"""

import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
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

    Args:
        folder: made where it is missing.
        task: what is asked, in plain types.
        packages: whose versions the manifest tells.
        another: what errors call a folder of another task.
        nothing: what errors say that a folder of other files holds.

    Raises:
        BadInput: the folder holds another task, or other files.
    """
    if before := read_manifest(folder):
        _refuse_another(folder, before.get("task", {}), json.loads(json.dumps(task)), another)
        if before["finished"]:
            return before
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"the folder {folder} is not empty and holds {nothing}: choose another with -o")
    write_manifest(folder, task, packages, finished=False)
    return None


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder; empty where there is none."""
    path = Path(folder) / "manifest.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


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


def _refuse_another(folder: Path, before: Mapping[str, Any], task: Mapping[str, Any], another: str) -> None:
    differ = sorted(key for key in {*before, *task} if before.get(key) != task.get(key))
    if differ:
        key = "spec" if "spec" in differ else differ[0]
        raise BadInput(
            f"the folder {folder} holds {another} ({key}: {before.get(key)} there, {task.get(key)} here): "
            "choose another folder with -o, or delete that one"
        )
