"""An index folder: NumPy arrays that are mapped into memory, lists of text, and a description with checksums.

What is known of the documents besides their texts stands beside them, and is read where it is asked for.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from whyrank.errors import BadIndex, NotFound
from whyrank.retrieval.base import new_folder
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.metadata import FILE as METADATA
from whyrank.retrieval.metadata import Known
from whyrank.types import is_fingerprint

_ABOUT = "index.json"
_CHUNK = 1 << 20
_TEXTS = 1 << 16
_TYPES = {"kind": str, "version": int, "about": dict, "files": dict}
_PLAIN = re.compile(r"[\w-]+\.(npy|jsonl?)", re.ASCII)
"""Names of the files of an index: of the folder itself, and of no other."""


@contextmanager
def writing(
    path: Path, *, kind: str, version: int, about: Mapping[str, object], collection: object, known: Known | None
) -> Iterator[Path]:
    """A folder to write an index into, file by file; it takes the place of `path` in the end: whole or not at all.

    The ids of the documents are in `ids.json`.

    Args:
        path: the folder; it must not exist, or be empty.
        kind: what reads it.
        version: the version of its format.
        about: what else its reader must know; JSON.
        collection: the fingerprint of the documents, as it is in the end; nothing where it is not known.
        known: what is known of the documents besides their texts, as it is in the end.

    Raises:
        BadIndex: `path` is there already, and is no empty folder, or another process writes to it.
    """
    with new_folder(path) as part:
        yield part
        if known is not None and (told_of_each := known.written(_texts(part / "ids.json"))) is not None:
            (part / METADATA).write_bytes(told_of_each)
        files = {file.name: _print_of(file) for file in sorted(part.iterdir())}
        told = {"kind": kind, "version": version, "about": dict(about), "collection": str(collection), "files": files}
        told["checksum"] = _print_of_text(told)
        (part / _ABOUT).write_text(json.dumps(told, indent=1), encoding="ascii")


def write(
    path: Path,
    *,
    kind: str,
    version: int,
    about: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    texts: Mapping[str, list[str]],
    collection: object,
    known: Known | None,
) -> None:
    """Write an index folder whose arrays and texts are in memory, one `.npy` or `.json` file each; see `writing`."""
    with writing(path, kind=kind, version=version, about=about, collection=collection, known=known) as part:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        for name, lines in texts.items():
            write_texts(part / f"{name}.json", lines)


class ArrayFile:
    """A `.npy` file of one dimension, written from front to back as `np.save` would write it in one go."""

    def __init__(self, file: Path, dtype: DTypeLike, size: int) -> None:
        """Begin the file of an array of `size` numbers."""
        self._dtype, self._file = np.dtype(dtype), file.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(self._file, header)  # type: ignore[no-untyped-call]

    def append(self, part: NDArray[Any]) -> None:
        """Write the next numbers."""
        self._file.write(np.ascontiguousarray(part, dtype=self._dtype).data)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def write_texts(file: Path, texts: Iterable[str]) -> None:
    """Write texts as one JSON array, some at a time."""
    remaining, separator = iter(texts), "["
    with file.open("w", encoding="ascii") as opened:
        while some := list(islice(remaining, _TEXTS)):
            opened.write(separator + json.dumps(some)[1:-1])
            separator = ", "
        opened.write("[]" if separator == "[" else "]")


class Saved(NamedTuple):
    """What was written: `.npy` files, mapped into memory, read-only, and `.json` files.

    `collection` is the fingerprint of the documents, empty in folders of earlier versions.
    """

    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    texts: dict[str, list[str]]
    collection: str = ""

    def checked(self, path: Path) -> Checked:
        """What the folder `path` held, to be asked for piece by piece."""
        return Checked(path, self.arrays, self.texts)


def read(path: Path, *, kind: str, version: int) -> Saved:
    """Open an index folder after testing all checksums.

    Checksums find damage, not purpose: whoever reads checks each array by `Saved.checked` before using it.

    Raises:
        NotFound: there is no such folder.
        BadIndex: the folder is no index, of another kind or version, or a file in it is missing or damaged.
    """
    if not path.is_dir():
        raise NotFound(f"no index at {path}: there is no such folder")
    told, checksum = _told(path / _ABOUT)
    found, of_version, files = (told[name] for name in ("kind", "version", "files"))
    if found != kind:
        raise BadIndex(f"{path} is an index of kind {found!r}, not {kind!r}")
    if of_version != version:
        raise BadIndex(f"{path} has format version {of_version}, this whyrank reads {version}: build the index anew")
    if checksum != _print_of_text(told):
        raise BadIndex(f"{path / _ABOUT} is damaged (its checksum has changed): build the index anew")
    for name, expected in files.items():
        _check(path / name, expected)
    arrays = {Path(name).stem: mapped(path / name) for name in files if name.endswith(".npy")}
    texts = {Path(name).stem: _texts(path / name) for name in files if name.endswith(".json")}
    return Saved(told["about"], arrays, texts, told.get("collection", ""))


def _told(file: Path) -> tuple[dict[str, Any], object]:
    """What a description says, with the types that it must have, and its checksum."""
    if not file.is_file():
        raise BadIndex(f"{file.parent} is not an index: it has no {_ABOUT}")
    try:
        told = dict(json.loads(file.read_bytes()))
        checksum = told.pop("checksum")
        right = all(isinstance(told[name], kind) for name, kind in _TYPES.items())
        right &= all(map(_PLAIN.fullmatch, told["files"])) and is_fingerprint(told.get("collection", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        right = False
    if not right:
        raise BadIndex(f"{file} is damaged or no index of whyrank: build the index anew")
    return told, checksum


def kind_of(path: Path) -> str:
    """What reads the index in a folder, such as "bm25"; empty where none is there that this module wrote."""
    try:
        return str(json.loads((path / _ABOUT).read_text(encoding="utf-8"))["kind"]).removeprefix("whyrank-")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def mapped(file: Path) -> NDArray[Any]:
    """The array of a `.npy` file, mapped into memory, read-only.

    Raises:
        BadIndex: the file holds no such array, or one of Python objects.
    """
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            return np.asarray(array)
    except (ValueError, TypeError, OverflowError, EOFError, SyntaxError, RecursionError, MemoryError):
        pass
    raise BadIndex(f"{file} is damaged or holds no array of numbers: build the index anew")


def _texts(file: Path) -> list[str]:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise BadIndex(f"{file} is damaged or holds no list of texts: build the index anew")
    return found


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
