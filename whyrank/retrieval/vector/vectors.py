"""Vectors of a collection: written to a folder as they come, and searched exactly.

    vectors.bin      (rows, dimensions) float16 or float32, one row after another, read in blocks by search
    ids.jsonl        one document id a line, in the same order
    metadata.jsonl   what else is known of each, see `whyrank.retrieval.metadata`
    manifest.json    how many rows count, their checksums, and how the vectors were made

The manifest is replaced after each block. What a killed process wrote past its last manifest is cut off by the next.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex, BadInput, NotFound, need
from whyrank.io.locks import open_own
from whyrank.progress import Advance, warn
from whyrank.retrieval.checks import are_ids, is_finite
from whyrank.retrieval.filters import Filters
from whyrank.retrieval.folder import kind_of
from whyrank.retrieval.metadata import FILE as METADATA
from whyrank.retrieval.metadata import Known
from whyrank.types import Document, is_fingerprint

FORMAT = "whyrank vectors"
VERSION = 1
DTYPES = ("float16", "float32")

LOCK = ".lock"
"""In a folder that is being written."""

_PART = "manifest.json.part"

_MOST = 1 << 53
"""No count of a manifest reaches this."""

_FLOATS = 2**24
"""Numbers of the collection that are multiplied at once: 64 MB in float32."""

_QUERIES = 256
"""Queries that are multiplied at once."""


@dataclass(frozen=True)
class Rows:
    """A matrix in a file: what is asked for is read, and nothing else is held, as a mapping of the file would be.

    Attributes:
        file: rows one after another.
        dtype: of the numbers.
        shape: (n, d).
    """

    file: Path
    dtype: str
    shape: tuple[int, int]

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """(m, d) some rows, as an array in memory."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            skipped, wanted = start * self.shape[1], max(stop - start, 0) * self.shape[1]
            read = np.fromfile(self.file, self.dtype, wanted, offset=skipped * np.dtype(self.dtype).itemsize)
            return read.reshape(-1, self.shape[1])
        return np.array(self.mapped[rows])

    @property
    def mapped(self) -> NDArray[Any]:
        """The whole matrix, mapped into memory, read-only."""
        return np.memmap(self.file, self.dtype, "r", shape=self.shape)


@dataclass
class Vectors:
    """The vectors of a collection, in its order.

    Attributes:
        ids: (n,) document ids.
        matrix: (n, d) float16 or float32, in memory or in a file; `matrix[rows]` is an array.
        corpus: the digest of ids and texts, in order.
        about: how the vectors were made.
        collection: the fingerprint of the documents, empty where it is not known.
    """

    ids: Sequence[str]
    matrix: NDArray[Any] | Rows
    corpus: str
    about: Mapping[str, Any]
    collection: str = ""

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each document."""
        return {id: row for row, id in enumerate(self.ids)}


@dataclass
class Manifest:
    """What the folder holds. `about` is the maker's own record and is compared by the maker.

    `corpus` is the digest of the documents in their order, which tells whether they can be gone on with, empty where it
    is not known; `collection` their fingerprint, empty in folders of earlier versions.
    """

    dtype: str
    dimensions: int
    about: Mapping[str, Any]
    rows: int = 0
    corpus: str = ""
    ids_bytes: int = 0
    vectors_crc: int = 0
    ids_crc: int = 0
    metadata_crc: int | None = None
    complete: bool = False
    collection: str = ""
    format: str = FORMAT
    version: int = VERSION


@dataclass
class VectorFolder:
    """Vectors on disk, to be appended to. Open one with `VectorFolder.at`."""

    path: Path
    manifest: Manifest

    @classmethod
    def at(cls, path: Path, dtype: str, dimensions: int, about: Mapping[str, Any]) -> Self:
        """Begin in a new or empty folder, or go on in one that was begun.

        Raises:
            BadIndex: the folder holds something else, or is damaged.
        """
        if path.exists() and not path.is_dir():
            raise BadIndex(f"{path} is a file: an index needs a folder")
        if not path.is_dir() or {file.name for file in path.iterdir()} <= {_PART, LOCK}:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, Manifest(dtype, dimensions, about))
            folder._write_manifest()
            return folder
        if kind := kind_of(path):
            raise BadIndex(f"{path} holds a {kind} index: choose another folder (-o)")
        folder = cls(path, read_manifest(path))
        for name, size in folder._sizes().items():
            if (path / name).exists() and (path / name).stat().st_size > size:
                with _own(path / name) as file:
                    file.truncate(size)
        folder.read()
        return folder

    def unwritten(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that have no vector yet, after checking that those that have one are the same as then.

        Raises:
            BadIndex: the folder was made from another collection, or from the same in another order.
        """
        rows, digest, ids = self.manifest.rows, "", list[str]()
        remaining = iter(documents)
        for document in islice(remaining, rows):
            digest = digest if self.unknown else chained(digest, document)
            ids.append(document.id)
        if len(ids) < rows:
            raise BadIndex(f"{self.path} holds vectors of {rows} documents, but the collection has {len(ids)}")
        if self.unknown and ids == _ids(self._lines()):
            warn(f"{self.path} was changed since it was made: its documents are known by id, and not by their texts")
        elif digest != self.manifest.corpus or self.unknown:
            raise BadIndex(
                f"{self.path} was made from another collection: ids, texts or order of its first {rows} documents "
                "differ; give a new folder"
            )
        yield from remaining

    def append(self, ids: Sequence[str], matrix: NDArray[Any] | Rows, corpus: str) -> None:
        """Write the vectors (n, d) of the next n documents; once this returns they outlive a kill."""
        now = self.manifest
        vectors = np.ascontiguousarray(matrix[:], dtype=now.dtype).tobytes()
        lines = "".join(json.dumps(id) + "\n" for id in ids).encode()
        for name, data in {"vectors.bin": vectors, "ids.jsonl": lines}.items():
            with _own(self.path / name) as file:
                file.seek(0, os.SEEK_END)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        now.rows, now.ids_bytes, now.corpus = now.rows + len(ids), now.ids_bytes + len(lines), corpus
        now.vectors_crc, now.ids_crc = zlib.crc32(vectors, now.vectors_crc), zlib.crc32(lines, now.ids_crc)
        now.complete = False
        self._write_manifest()

    def finish(self, collection: str = "", known: Known | None = None) -> Vectors:
        """Mark the folder as complete, with the fingerprint of its documents and what else is known, and read it."""
        self._note(known)
        self.manifest.complete, self.manifest.collection = True, collection
        self._write_manifest()
        return self.read()

    def followed_by(self, documents: Iterable[Document]) -> str:
        """The digest of the collection with these documents after those that are here."""
        return "" if self.unknown else reduce(chained, documents, self.manifest.corpus)

    @property
    def unknown(self) -> bool:
        """Whether of which texts the vectors are is not known, since documents were taken out or replaced."""
        return self.manifest.rows > 0 and not self.manifest.corpus

    def _note(self, known: Known | None) -> None:
        """Write what is known of the documents besides their texts, if it is not there already."""
        now, file = self.manifest, self.path / METADATA
        told = None if known is None else known.written(_ids(self._lines()) or ())
        crc = None if told is None else zlib.crc32(told)
        if crc == now.metadata_crc:
            return
        now.metadata_crc, now.complete = None, False
        self._write_manifest()
        file.unlink(missing_ok=True)
        if told is not None:
            with _own(file) as opened:
                opened.write(told)
                opened.flush()
                os.fsync(opened.fileno())
        now.metadata_crc = crc

    def _lines(self) -> bytes:
        """The ids as they are written, of the rows that count."""
        return (self.path / "ids.jsonl").read_bytes()[: self.manifest.ids_bytes] if self.manifest.rows else b""

    def read(self) -> Vectors:
        """The vectors that are there, left on disk, after checking every byte.

        Raises:
            BadIndex: a file is missing, cut or changed.
        """
        now = self.manifest
        for name, size in self._sizes().items():
            there = (self.path / name).stat().st_size if (self.path / name).is_file() else 0
            if there < size:
                raise BadIndex(f"{self.path / name} is cut: {there} bytes, where the manifest counts {size}")
        lines = self._lines()
        matrix = Rows(self.path / "vectors.bin", now.dtype, (now.rows, now.dimensions))
        crc, finite = _looked_through(matrix)
        sums = {"vectors.bin": (crc, now.vectors_crc), "ids.jsonl": (zlib.crc32(lines), now.ids_crc)}
        if now.metadata_crc is not None:
            file = self.path / METADATA
            sums[METADATA] = (zlib.crc32(file.read_bytes()) if file.is_file() else -1, now.metadata_crc)
        for name, (found, told) in sums.items():
            if found != told:
                raise BadIndex(f"{self.path / name} was changed after it was written: its checksum is wrong")
        if not finite:
            raise BadIndex(f"{self.path / 'vectors.bin'} holds numbers that are not finite: build the index anew")
        ids = _ids(lines)
        if ids is None or len(ids) != now.rows:
            raise BadIndex(f"{self.path / 'ids.jsonl'} does not hold {now.rows} different ids: build the index anew")
        return Vectors(ids, matrix, now.corpus, now.about, now.collection)

    def _sizes(self) -> dict[str, int]:
        now = self.manifest
        row = now.dimensions * np.dtype(now.dtype).itemsize
        return {"vectors.bin": now.rows * row, "ids.jsonl": now.ids_bytes}

    def _write_manifest(self) -> None:
        part = self.path / _PART
        part.unlink(missing_ok=True)
        part.write_text(json.dumps(asdict(self.manifest), indent=1), encoding="utf-8")
        part.replace(self.path / "manifest.json")


def read_manifest(path: Path) -> Manifest:
    """The manifest of a folder of vectors.

    Raises:
        NotFound: there is no such folder.
        BadIndex: it holds no vectors of ours, or of another version.
    """
    if not path.is_dir():
        raise NotFound(f"there is no index folder {path}: call index(corpus) first")
    try:
        values = json.loads((path / "manifest.json").read_bytes())
        ours = values.get("format") == FORMAT and values.get("version") == VERSION and values.get("dtype") in DTYPES
        found = Manifest(**values) if ours else None
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadIndex(f"{path} holds no {FORMAT}, or a damaged manifest.json: {error}") from None
    if found is None:
        told = f"{values.get('format')!r}, version {values.get('version')}, {values.get('dtype')}"
        raise BadIndex(f"{path} holds {told}; wanted is {FORMAT!r}, version {VERSION}")
    if not _sound(found):
        raise BadIndex(f"{path} holds a manifest.json whose values do not fit: build the index anew")
    return found


def _sound(found: Manifest) -> bool:
    """Whether the values of a manifest are of the types, and in the bounds, that reading relies on."""
    numbers = (found.dimensions, found.rows, found.ids_bytes, found.vectors_crc, found.ids_crc)
    counted = all(type(number) is int and 0 <= number < _MOST for number in numbers) and found.dimensions > 0
    counted &= found.metadata_crc is None or (type(found.metadata_crc) is int and 0 <= found.metadata_crc < _MOST)
    typed = isinstance(found.about, dict) and isinstance(found.corpus, str) and type(found.complete) is bool
    return counted and typed and is_fingerprint(found.collection)


def _ids(lines: bytes) -> list[str] | None:
    """The ids of ids.jsonl; None where a line is none, or one occurs twice."""
    try:
        ids = [json.loads(line) for line in lines.splitlines()]
    except (ValueError, RecursionError):
        return None
    return ids if are_ids(ids) else None


@contextmanager
def _own(path: Path) -> Iterator[BinaryIO]:
    """A file of the folder, to be written at any place; never one that a link leads to."""
    try:
        file = open_own(path, os.O_RDWR | os.O_CREAT)
    except BadInput as error:
        raise BadIndex(str(error)) from None
    with open(file, "r+b") as opened:
        yield opened


def chained(digest: str, document: Document) -> str:
    """The digest of a collection, one document on: of ids and contents, in order."""
    line = json.dumps([digest, document.id, document.content])
    return blake2b(line.encode(), digest_size=16).hexdigest()


def nearest(
    matrix: NDArray[Any] | Rows,
    queries: NDArray[np.float32],
    k: int,
    filters: Filters,
    *,
    device: str | None = None,
    floats: int = _FLOATS,
    advance: Advance | None = None,
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The k rows with the highest inner product for each query: exact, and the same for any block size and device.

    Blocks are multiplied in float32, on the GPU where there is one. All rows that could be among the best, given the
    rounding error of such a product, are then multiplied again in float64, row by row in one fixed order.

    Args:
        matrix: (n, d).
        queries: (q, d).
        k: how many rows.
        filters: what those queries may find that may not find all rows.
        device: for the products; None takes the GPU where there is one.
        floats: bound on the numbers of `matrix` multiplied at once.
        advance: told the number of rows done.

    Returns:
        For each query (row numbers, scores), score falling, then row number rising.
    """
    torch = need("torch", extra="dense")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    best = [(np.empty(0, dtype=np.int64), np.empty(0)) for _ in queries]
    lengths = np.linalg.norm(queries, axis=1)
    step = max(1, floats // matrix.shape[1])
    for start in range(0, len(matrix), step):
        rows = matrix[start : start + step]
        block = torch.from_numpy(rows).to(place).float()
        error = matrix.shape[1] * 2.0**-23 * lengths * float(block.norm(dim=1).max())
        for first in range(0, len(queries), _QUERIES):
            span = range(first, min(first + _QUERIES, len(queries)))
            lowest = [best[at][1][-1] - error[at] if len(best[at][1]) == k else -np.inf for at in span]
            near = {at - first: filters[at].within(start, start + len(rows)) for at in filters.keys() & span}
            scores = torch.from_numpy(queries[first : span.stop]).to(place) @ block.T
            for at, columns in _hopeful(torch, scores, k, np.array(lowest), 2 * error[first : span.stop], near):
                exact = (rows[columns].astype(np.float64) * queries[first + at].astype(np.float64)).sum(axis=1)
                best[first + at] = _merged(best[first + at], (columns + start, exact), k)
        if advance:
            advance(len(rows))
    return best


def _hopeful(
    torch: Any,  # noqa: ANN401 (the module)
    scores: Any,  # noqa: ANN401 (a tensor, (q, columns))
    k: int,
    lowest: NDArray[np.float64],
    error: NDArray[np.float64],
    filters: Filters,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """For each query the columns that could be among its k best, given how far the scores may be off."""
    for at, allowed in filters.items():
        allowed.on(torch, scores.device).shut(scores[at], -torch.inf)
    kth = scores.topk(min(k, scores.shape[1])).values[:, -1].cpu().numpy().astype(np.float64)
    bound = np.nextafter(np.maximum(kth - error, lowest).astype(np.float32), np.float32(-np.inf))
    least = torch.from_numpy(bound).to(scores.device)[:, None]
    hits = ((scores >= least) & (scores > -torch.inf)).nonzero().cpu().numpy()
    ends = np.searchsorted(hits[:, 0], np.arange(len(scores) + 1))
    for at in range(len(scores)):
        if ends[at] < ends[at + 1]:
            yield at, hits[ends[at] : ends[at + 1], 1]


def _merged(
    one: tuple[NDArray[np.int64], NDArray[np.float64]], two: tuple[NDArray[np.int64], NDArray[np.float64]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows, scores = np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]])
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _looked_through(matrix: Rows) -> tuple[int, bool]:
    """The checksum of a matrix, and whether all its numbers are finite."""
    crc, finite, step = 0, True, max(1, _FLOATS // 8 // matrix.shape[1])
    for start in range(0, len(matrix), step):
        rows = matrix[start : start + step]
        crc, finite = zlib.crc32(rows.data, crc), finite and is_finite(rows)
    return crc, finite
