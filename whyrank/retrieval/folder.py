"""An index folder: NumPy arrays that are mapped into memory, lists of text, and a description with checksums.

It is written beside its place and renamed when whole, so that no half-written index is ever found.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex, BadInput, NotFound

_ABOUT = "index.json"
_CHUNK = 1 << 20


def write(
    path: Path,
    *,
    kind: str,
    version: int,
    about: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    texts: Mapping[str, Sequence[str]],
) -> None:
    """Write an index folder, replacing an index that lies there.

    Args:
        path: the folder.
        kind: what reads it.
        version: the version of its format.
        about: what else its reader must know; JSON.
        arrays: one `.npy` file each.
        texts: one `.json` file each.

    Raises:
        BadInput: `path` exists and is something else than an index.
    """
    if path.exists() and not (path.is_dir() and ((path / _ABOUT).exists() or not any(path.iterdir()))):
        raise BadInput(f"{path} exists and is not an index: choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for name, array in arrays.items():
            np.save(fresh / f"{name}.npy", array, allow_pickle=False)
        for name, lines in texts.items():
            (fresh / f"{name}.json").write_text(json.dumps(list(lines), ensure_ascii=False), encoding="utf-8")
        files = {file.name: _print_of(file) for file in sorted(fresh.iterdir())}
        told = {"kind": kind, "version": version, "about": about, "files": files}
        (fresh / _ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
        fresh.chmod(0o777 & ~_umask())
        _put(fresh, path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


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
        found, of_version, files = str(told["kind"]), told["version"], dict(told["files"])
        about = dict(told["about"])
    except FileNotFoundError:
        raise BadIndex(f"{path} is not an index: it has no {_ABOUT}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadIndex(f"{path / _ABOUT} is damaged ({error!r}): build the index anew") from None
    if found != kind:
        raise BadIndex(f"{path} is an index of kind {found!r}, not {kind!r}")
    if of_version != version:
        raise BadIndex(f"{path} has format version {of_version}, this whyrank reads {version}: build the index anew")
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


def _put(fresh: Path, path: Path) -> None:
    """Rename `fresh` to `path`, where an older index may lie."""
    if not path.exists():
        os.rename(fresh, path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    os.rename(path, old)  # an empty folder may be renamed over
    os.rename(fresh, path)
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
