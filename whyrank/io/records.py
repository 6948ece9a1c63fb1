"""The records of a file: JSON lines, one JSON array, or Parquet; each with its place, for messages.

All JSON that comes from a file of data is read by `from_json`: whatever is in it becomes a value or one `BadInput`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def from_json(
    text: str,
    path: str | Path,
    line: int | Sequence[int] = 1,
    hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:  # noqa: ANN401 (JSON may hold anything)
    """What a JSON text of a file says.

    Args:
        text: the text.
        path: its file, for errors.
        line: the number in the file of the text's first line, or of each.
        hook: makes each object from its pairs of key and value, by default a dictionary.

    Raises:
        BadInput: it is no JSON, is nested too deeply, or has a number of more digits than Python reads.
    """
    try:
        return json.loads(text, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        ends = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        cut = "; is the file cut off here?" if ends else ""
        found = f", found {text[:40]!r}" if error.pos == 0 else ""
        number = line + error.lineno - 1 if isinstance(line, int) else line[error.lineno - 1] if line else 1
        raise BadInput(f"{path}:{number}: not JSON: {error.msg} (column {error.colno}){found}{cut}") from None
    except RecursionError:
        raise BadInput(
            f"{path}:{line if isinstance(line, int) else 1}: the JSON is nested too deeply to be read"
        ) from None
    except ValueError as error:
        raise BadInput(
            f"{path}:{line if isinstance(line, int) else 1}: a number in the JSON cannot be read: {error}"
        ) from None


def _lines(path: Path, _: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    for number, line in lines(path):
        yield f"{path}:{number}", from_json(line, path, number)


def _array(path: Path, _: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    numbered = list(lines(path))
    array = from_json("\n".join(line for _, line in numbered), path, [number for number, _ in numbered])
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
