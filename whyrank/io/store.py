"""A collection that stays on disk: documents are found by id, and read when they are asked for.

Its index lies in the user's cache, and is made when a file is first opened: for each document, in the order of a hash
of its id, where its line begins and how long it is. A JSONL file is read in its place; any other form (a table,
Parquet, what is compressed) is written as one beside the index. In memory are a few bytes for every hundred documents.
"""

import os
from array import array
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyrank.cache import cached
from whyrank.errors import BadInput
from whyrank.io.files import atomic_write, blocks, place, suffix
from whyrank.io.folders import read_json, write_json, write_lines
from whyrank.io.records import from_json
from whyrank.io.texts import document_of, document_record, documents_in, iter_corpus
from whyrank.progress import note
from whyrank.types import Corpus, Document, Fingerprint

IN_MEMORY = 1 << 30
"""Bytes: larger files of a collection stay on disk; compressed ones are taken to be four times as large."""

_BUCKET = 128
"""Documents whose entries are read together."""

_STEP = 1024
"""Documents from one place that reading may begin at to the next."""

_VERSION = 1


class TextStore(Corpus):
    """Documents on disk, with the interface of those in memory; one process holds some megabytes, however many."""

    def __init__(self, folder: Path, lines: Path) -> None:
        """Open the index in `folder`, of the JSONL file `lines`; see `stored`."""
        self._folder, self._lines_path = folder, lines
        about = read_json(folder / "about.json")
        self._count, self._print = int(about["documents"]), str(about["fingerprint"])
        self._starts: NDArray[np.int64] = np.fromfile(folder / "starts.bin", dtype=np.int64)
        self._entries, self._lines = _File(folder / "entries.bin"), _File(lines)

    def __len__(self) -> int:
        """How many documents there are."""
        return self._count

    def __iter__(self) -> Iterator[Document]:
        """The documents in collection order."""
        return (document for _, _, document in _documents(self._lines_path))

    def part(self, first: int, end: int) -> Iterator[Document]:
        """The documents from number `first` (from 0) up to `end`; of those before at most a thousand are read."""
        steps = np.fromfile(self._folder / "steps.bin", dtype=np.int64)
        if not first < end <= len(self):
            return
        with self._lines_path.open("rb") as file:
            file.seek(steps[first // _STEP])
            lines = (line for line in file if not line.isspace())
            yield from (
                _document(line, self._lines_path) for line in islice(lines, first % _STEP, first % _STEP + end - first)
            )

    def __contains__(self, id: object) -> bool:
        """Whether there is a document of that id."""
        return isinstance(id, str) and self._find(id) is not None

    def __getitem__(self, id: str) -> Document:
        """The document of that id; a KeyError where there is none."""
        if isinstance(id, str) and (found := self._find(id)) is not None:
            return found
        raise KeyError(id)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same files."""
        return TextStore, (self._folder, self._lines_path)

    @cached_property
    def fingerprint(self) -> str:
        """What the collection is known by."""
        return self._print

    def _find(self, id: str) -> Document | None:
        hashed = _hash(id)
        bucket = hashed * (len(self._starts) - 1) >> 64
        first, end = self._starts[bucket : bucket + 2].tolist()
        entries = np.frombuffer(self._entries.read(24 * first, 24 * (end - first)), dtype=np.uint64).reshape(-1, 3)
        for _, offset, length in entries[entries[:, 0] == hashed].tolist():
            line = self._lines.read(offset, length)
            document = _document(line, self._lines_path)
            if document.id == id:
                return document
        return None


class _File:
    """An open file that several threads read at places of their own."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def read_corpus(path: str | Path) -> Corpus:
    """Read a whole collection; a large file (`IN_MEMORY`) stays on disk. Raises what `iter_corpus` raises."""
    return stored(path) if is_large(place(path)) else Corpus(iter_corpus(path))


def is_large(path: Path) -> bool:
    """Whether a collection's file is better left on disk."""
    return path.is_file() and path.stat().st_size * (4 if path.suffix == ".gz" else 1) > IN_MEMORY


def stored(path: str | Path) -> TextStore:
    """The collection in the file `path`, on disk; its index is made where there is none, or the file was changed.

    Args:
        path: the file, of any form that `iter_corpus` reads.

    Raises:
        BadInput: two documents have one id, or a line is damaged: file and line.
    """
    path = Path(path).resolve()
    folder = cached("texts", blake2b(str(path).encode(), digest_size=16).hexdigest())
    in_place = suffix(path) == ".jsonl" and path.suffix != ".gz"
    lines = path if in_place else folder / "texts.jsonl"
    state = path.stat()
    known = {"version": _VERSION, "file": str(path), "bytes": state.st_size, "changed": state.st_mtime_ns}
    if not lines.is_file() or not known.items() <= _about(folder).items():
        note(f"{path}: large, so it stays on disk; an index of it is made, once, in {folder}")
        if not in_place:
            write_lines(lines, map(document_record, documents_in(path)))
        write_json(folder / "about.json", known | _index(lines, folder, path))
    return TextStore(folder, lines)


def _about(folder: Path) -> dict[str, Any]:
    """What is told of the index in a folder; nothing where it is not whole."""
    try:
        about = read_json(folder / "about.json")
        whole = (folder / "entries.bin").stat().st_size == 24 * int(about["documents"])
    except (OSError, BadInput, KeyError, TypeError, ValueError):
        return {}
    return about if whole and all((folder / name).is_file() for name in ("starts.bin", "steps.bin")) else {}


def _index(lines: Path, folder: Path, source: Path) -> dict[str, Any]:
    """Write the index of a JSONL file; returns what else is told of it."""
    hashes, places, printed = array("Q"), array("Q"), Fingerprint()
    for offset, length, document in _documents(lines):
        hashes.append(_hash(document.id))
        places.extend((offset, length))
        printed.add(document.id, document.title, document.text)
    if not hashes:
        raise BadInput(f"{source}: the file has no documents")
    hashed = np.frombuffer(hashes, dtype=np.uint64)
    order = np.argsort(hashed, kind="stable")
    entries = np.empty((len(order), 3), dtype=np.uint64)
    entries[:, 0], entries[:, 1:] = hashed[order], np.frombuffer(places, dtype=np.uint64).reshape(-1, 2)[order]
    _refuse_twins(entries, lines)
    buckets = max(1, len(order) // _BUCKET)
    bounds = np.array([-(-(at << 64) // buckets) for at in range(buckets)], dtype=np.uint64)
    starts = np.append(np.searchsorted(entries[:, 0], bounds), len(order)).astype(np.int64)
    steps = np.frombuffer(places, dtype=np.uint64)[:: 2 * _STEP].astype(np.int64)
    for name, made in (("entries.bin", entries), ("starts.bin", starts), ("steps.bin", steps)):
        with atomic_write(folder / name) as file:
            file.write(made.tobytes())
    return {"documents": len(order), "fingerprint": str(printed)}


def _refuse_twins(entries: NDArray[np.uint64], lines: Path) -> None:
    """Refuse two documents of one id: their hashes are equal."""
    file = _File(lines)
    for at in np.flatnonzero(entries[1:, 0] == entries[:-1, 0]).tolist():
        one, other = (
            _document(file.read(offset, length), lines).id for _, offset, length in entries[at : at + 2].tolist()
        )
        if one == other:
            raise BadInput(f"{lines}: the id {one!r} occurs twice: ids must be unique")


def _documents(path: Path) -> Iterator[tuple[int, int, Document]]:
    """The documents of a JSONL file: where the line of each begins, how long it is, and what it says."""
    with path.open("rb") as file:
        begin = 3 * file.read(3).startswith(b"\xef\xbb\xbf")
    for block in blocks(path):
        offset = begin
        for number, line in enumerate(block.data.split(b"\n"), block.first):
            if line and not line.isspace():
                yield offset, len(line), _document(line, path, number)
            offset += len(line) + 1
        begin += len(block.data)


def _document(line: bytes, path: Path, number: int | None = None) -> Document:
    """What a line says; without its number it is one that was read before."""
    where = str(path) if number is None else f"{path}:{number}"
    return document_of(from_json(line.decode(), path, number or 1), where)


def _hash(id: str) -> int:
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest())
