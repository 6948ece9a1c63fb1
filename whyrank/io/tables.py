"""Texts as tables: CSV and TSV with named columns, and the two columns of `topics.tsv` and MS MARCO's `collection.tsv`.

Where the first line names columns, quotes are CSV's; where it does not, a TSV has just an id and a text, and no quotes.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.io.files import LONGEST, atomic_write, blocks, lines, suffix
from whyrank.progress import note

csv.field_size_limit(LONGEST)  # as long as a line of any other file; the default, 131,072, cuts whole papers

Record = tuple[str, int, dict[str, Any]]
"""A place ("file:line"), its line, and what it says: `_id`, `text`, and the other columns by their names."""

IDS = ("_id", "id", "docid", "doc_id", "docno", "document_id", "pid", "passage_id", "qid", "query_id", "query-id")
"""Names of a column of ids, in lower case."""


def table(path: Path, texts: Sequence[str]) -> Iterator[Record]:
    """The rows of a table.

    Args:
        path: a `.csv` or another file, whose columns are parted by tabs.
        texts: names of a column of texts, in lower case, the first that is there counts.

    Raises:
        BadInput: naming file and line: no column of texts, another number of columns than the first line has, quotes
            that are not closed.
    """
    separator = "," if suffix(path) == ".csv" else "\t"
    head = next(line for _, line in lines(path))
    try:
        named = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator))]
    except csv.Error as error:
        raise BadInput(f"{path}:1: no line of columns: {error}") from None
    text = next((name for name in texts if name in named), None)
    if text is not None and (separator == "," or len(named) != 2 or any(name in IDS for name in named)):
        yield from _named(path, separator, text)
    elif separator == "\t" and len(named) == 2:
        note(f"{path}: read as two columns, an id and a text")
        yield from _plain(path)
    else:
        other = ", or give just an id and a text, parted by a tab" if separator == "\t" else ""
        raise BadInput(
            f"{path}:1: no column of texts is named: let the first line name the columns, one of them "
            f"{' or '.join(texts)}{other}"
        )


def write_table(path: str | Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write columns of one length as a table: `.csv`, `.tsv` or `.parquet`, as the path ends; None is an empty cell.

    Raises:
        BadInput: the path ends otherwise.
        MissingExtra: for Parquet the extra `data` is not installed.
    """
    kind = suffix(Path(path))
    if kind == ".parquet":
        arrow, parquet = (need(name, extra="data") for name in ("pyarrow", "pyarrow.parquet"))
        with atomic_write(path) as file:
            parquet.write_table(arrow.table({name: list(values) for name, values in columns.items()}), file)
        return
    if kind not in (".csv", ".tsv"):
        raise BadInput(f"{path}: a table is written as .csv, .tsv or .parquet")
    text = StringIO()
    rows = csv.writer(text, delimiter="," if kind == ".csv" else "\t", lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _plain(path: Path) -> Iterator[Record]:
    for number, line in lines(path):
        id, tab, text = line.partition("\t")  # further tabs are the text's own
        if not tab:
            raise BadInput(f"{path}:{number}: no tab, expected an id and a text, parted by a tab")
        yield f"{path}:{number}", number, {"_id": id, "text": text}


def _named(path: Path, separator: str, text: str) -> Iterator[Record]:
    rows = csv.reader(_with_ends(path), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(row for row in rows if row)]
        lower = [name.lower() for name in names]
        if twice := next((name for at, name in enumerate(lower) if name in lower[:at]), None):
            raise BadInput(f"{path}:{rows.line_num}: two columns are named {twice!r}")
        id = next((name for name in IDS if name in lower), None)
        ids = f"ids from {names[lower.index(id)]!r}" if id else "ids are the numbers of the rows"
        note(f"{path}: read as a table: {ids}, texts from {names[lower.index(text)]!r}")
        keys = {id: "_id", text: "text", "title": "title"}
        for at, row in enumerate((row for row in rows if row), 1):
            if len(row) != len(names):
                raise BadInput(f"{path}:{rows.line_num}: {len(row)} columns, expected {len(names)}: {', '.join(names)}")
            record = {keys.get(key, name): cell for key, name, cell in zip(lower, names, row, strict=True)}
            yield f"{path}:{rows.line_num}", rows.line_num, {"_id": str(at), **record}
    except csv.Error as error:
        raise BadInput(f"{path}:{rows.line_num}: {error}: are quotes closed, and doubled within a column?") from None


def _with_ends(path: Path) -> Iterator[str]:
    """All lines, blank ones too, with their ends: a quoted text may have several."""
    return (line + "\n" for block in blocks(path) for line in block.data.decode().removesuffix("\n").split("\n"))
