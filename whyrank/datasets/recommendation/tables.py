"""Tables with a head, separated by commas, tabs or anything else; and files of sequences."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from whyrank.datasets.recommendation.log import Fields
from whyrank.errors import BadInput, NotFound
from whyrank.io.files import lines

Cells = Iterator[tuple[int, list[str]]]
"""The number of the line, and its cells."""


def rows(path: Path, columns: Sequence[str], delimiter: str = ",", quoted: bool = True) -> Cells:
    """The cells of these columns, row by row, of a table under a head.

    Args:
        path: the file.
        columns: the columns that are wanted, in this order; heads of RecBole, `item_id:token`, count without the type.
        delimiter: what stands between cells.
        quoted: whether cells that hold the delimiter stand in double quotes, as in CSV.

    Raises:
        NotFound: no such file.
        BadInput: a column is missing, or a row has not as many cells as the head: file and line.
    """
    cells = _cells(path, delimiter, quoted)
    names = _names(next(cells)[1])
    if missing := [name for name in columns if name not in names]:
        raise BadInput(f"{path}: no column {missing[0]!r}: the head has {', '.join(names)}")
    places, size = [names.index(name) for name in columns], len(names)
    for number, row in cells:
        if len(row) != size:
            raise BadInput(f"{path}:{number}: {len(row)} cells, but the head has {size}: {', '.join(names)}")
        yield number, [row[place] for place in places]


def head(path: Path, delimiter: str = ",", quoted: bool = True) -> list[str]:
    """The names of a table's columns."""
    return _names(next(_cells(path, delimiter, quoted))[1])


def texts(path: Path, item: str, delimiter: str = ",", quoted: bool = True) -> dict[str, Fields]:
    """The fields of each item of a table, without its column `item`; a column whose name ends in "title" is the title.

    Raises:
        BadInput: as `rows`, or an item stands there twice.
    """
    found: dict[str, Fields] = {}
    keys = [name for name in head(path, delimiter, quoted) if name != item]
    for number, (id, *values) in rows(path, (item, *keys), delimiter, quoted):
        if id in found:
            raise BadInput(f"{path}:{number}: the item {id!r} stands here twice")
        found[id] = dict(zip(map(_key, keys), values, strict=True))
    return found


def sequences(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, user and items of each line `user item item …`.

    Raises:
        NotFound: no such file.
        BadInput: a user has no item, or stands there twice: file and line.
    """
    seen: dict[str, int] = {}
    for number, line in lines(path):
        user, *items = line.split()
        if not items:
            raise BadInput(f"{path}:{number}: user {user!r} has no items: a line is `user item item …`")
        if (before := seen.setdefault(user, number)) != number:
            raise BadInput(f"{path}:{number}: user {user!r} occurs twice, first in line {before}")
        yield number, user, items


def one_file(folder: Path, ending: str) -> Path:
    """The one file of `folder` whose name ends so.

    Raises:
        NotFound: there is no such folder, or no such file in it.
        BadInput: there are several.
    """
    found = sorted(folder.glob(f"*{ending}"))
    if not found:
        raise NotFound(f"no file *{ending} in {folder}" if folder.is_dir() else f"no folder {folder}")
    if len(found) > 1:
        raise BadInput(f"{folder} has several files *{ending}: {', '.join(file.name for file in found)}: leave one")
    return found[0]


def _names(cells: Sequence[str]) -> list[str]:
    return [name.strip().partition(":")[0] for name in cells]


def _cells(path: Path, delimiter: str, quoted: bool) -> Cells:
    return _quoted(path, delimiter) if quoted else ((number, line.split(delimiter)) for number, line in lines(path))


def _quoted(path: Path, delimiter: str) -> Cells:
    at = 0

    def told() -> Iterator[str]:
        nonlocal at
        for at, line in lines(path):  # noqa: B007 (the number is told with the row that ends here)
            yield line + "\n"

    try:
        for row in csv.reader(told(), delimiter=delimiter, strict=True):
            yield at, row
    except csv.Error as error:
        raise BadInput(f"{path}:{at}: not CSV: {error}") from None


def _key(name: str) -> str:
    return "title" if name.endswith("title") or name == "name" else name
