"""The records of a file: JSON lines, one JSON array, or Parquet; each with its place, for messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.io.files import lines

Records = Iterator[tuple[str, Mapping[str, Any]]]
"""Pairs of a place ("file:line" or "file, record 3") and an object."""


def records(path: Path, columns: Sequence[str] | None = None) -> Records:
    """Read `.jsonl`, `.json` (an array of objects) or `.parquet`; the first two also as `.gz`.

    Args:
        path: the file.
        columns: the columns of a Parquet file that are wanted, by default all.

    Raises:
        BadInput: the file or a line is damaged, or something in it is no object.
    """
    read = {".json": _array, ".parquet": _parquet}.get(Path(path.name.removesuffix(".gz")).suffix, _lines)
    for where, record in read(path, columns):
        if not isinstance(record, Mapping):
            raise BadInput(f"{where}: expected a JSON object, found {record!r:.60}")
        yield where, record


def _lines(path: Path, _: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    for number, line in lines(path):
        try:
            yield f"{path}:{number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path}:{number}: not JSON: {error.msg} (column {error.colno})") from None


def _array(path: Path, _: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    numbered = list(lines(path))
    try:
        array = json.loads("\n".join(line for _, line in numbered))
    except json.JSONDecodeError as error:
        number = numbered[error.lineno - 1][0] if numbered else 1
        raise BadInput(f"{path}:{number}: not JSON: {error.msg} (column {error.colno})") from None
    if not isinstance(array, list):
        raise BadInput(f"{path}: expected a JSON array of objects, found a {type(array).__name__}")
    yield from ((f"{path}, record {number}", record) for number, record in enumerate(array, 1))


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    parquet = need("pyarrow.parquet", extra="data", asked_by="reading Parquet files")
    try:
        with parquet.ParquetFile(path) as file:
            rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(columns=columns))
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
    except (ValueError, OSError) as error:
        raise BadInput(f"{path}: no readable Parquet file ({error}): fetch it again") from None
