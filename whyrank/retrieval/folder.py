"""An index folder: NumPy arrays that are mapped into memory, lists of text, and a description with checksums."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex, NotFound
from whyrank.retrieval.base import new_folder

_ABOUT = "index.json"
_CHUNK = 1 << 20


def write(
    path: Path,
    *,
    kind: str,
    version: int,
    about: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    texts: Mapping[str, list[str]],
) -> None:
    """Write an index folder: whole or not at all.

    Args:
        path: the folder; it must not exist, or be empty.
        kind: what reads it.
        version: the version of its format.
        about: what else its reader must know; JSON.
        arrays: one `.npy` file each.
        texts: one `.json` file each.

    Raises:
        BadIndex: `path` is there already, and is no empty folder.
    """
    with new_folder(path) as part:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        for name, lines in texts.items():
            (part / f"{name}.json").write_text(json.dumps(lines), encoding="ascii")
        files = {file.name: _print_of(file) for file in sorted(part.iterdir())}
        told = {"kind": kind, "version": version, "about": dict(about), "files": files}
        told["checksum"] = _print_of_text(told)
        (part / _ABOUT).write_text(json.dumps(told, indent=1), encoding="ascii")


class Saved(NamedTuple):
    """What `write` was given; arrays are mapped into memory, read-only."""

    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    texts: dict[str, list[str]]


def read(path: Path, *, kind: str, version: int) -> Saved:
    """Open an index folder after testing all checksums.

    Raises:
        NotFound: there is no such folder.
        BadIndex: the folder is no index, of another kind or version, or a file in it is missing or damaged.
    """
    if not path.is_dir():
        raise NotFound(f"no index at {path}: there is no such folder")
    try:
        told = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        checksum = told.pop("checksum")
        found, of_version, about, files = (told[name] for name in ("kind", "version", "about", "files"))
    except FileNotFoundError:
        raise BadIndex(f"{path} is not an index: it has no {_ABOUT}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadIndex(f"{path / _ABOUT} is damaged or no index of whyrank: build the index anew") from None
    if found != kind:
        raise BadIndex(f"{path} is an index of kind {found!r}, not {kind!r}")
    if of_version != version:
        raise BadIndex(f"{path} has format version {of_version}, this whyrank reads {version}: build the index anew")
    if checksum != _print_of_text(told):
        raise BadIndex(f"{path / _ABOUT} is damaged (its checksum has changed): build the index anew")
    for name, expected in files.items():
        _check(path / name, expected)
    arrays = {Path(name).stem: _mapped(path / name) for name in files if name.endswith(".npy")}
    texts = {
        Path(name).stem: json.loads((path / name).read_text(encoding="utf-8"))
        for name in files
        if name.endswith(".json")
    }
    return Saved(about, arrays, texts)


def _mapped(file: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)


def _check(file: Path, expected: str) -> None:
    try:
        found = _print_of(file)
    except OSError:
        raise BadIndex(f"{file} is missing: build the index anew") from None
    if found != expected:
        raise BadIndex(f"{file} is damaged (its checksum or its size has changed): build the index anew")


def _print_of(file: Path) -> str:
    """Size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
        return f"{opened.tell()}:{digest.hexdigest()}"


def _print_of_text(told: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
