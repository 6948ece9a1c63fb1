"""A folder of plain text and Markdown as a collection: each file a document."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import blocks
from whyrank.progress import note

ENDINGS = (".txt", ".text", ".md", ".markdown")


def has_pages(folder: Path) -> bool:
    """Whether there is any file of text in the folder."""
    return next(_files(folder, ENDINGS), None) is not None


def pages(folder: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The files in the order of their names: a place, a number, and `_id` (the path within the folder) and `text`.

    A Markdown file that begins with a heading has it as its title. Hidden files and empty ones are passed over.

    Raises:
        BadInput: a file is no UTF-8, or there is none.
    """
    if not has_pages(folder):
        raise BadInput(f"{folder} is a folder, a file is wanted, or a folder with texts ({', '.join(ENDINGS)}) in it")
    others = Counter(Path(name).suffix or "no ending" for name in _files(folder, None))
    read = sum(others.pop(ending, 0) for ending in [*others] if ending.lower() in ENDINGS)
    passed = (
        f"; passed over: {', '.join(f'{many} {ending}' for ending, many in sorted(others.items()))}" if others else ""
    )
    note(f"{folder}: read as a folder of {read:,} texts{passed}")
    for nth, name in enumerate(_files(folder, ENDINGS), 1):
        path = folder / name
        if not path.stat().st_size:
            continue
        text = "".join(block.data.decode() for block in blocks(path)).replace("\r\n", "\n")
        title = ""
        if path.suffix.lower() in (".md", ".markdown") and text.startswith("# "):
            title, _, text = text[2:].partition("\n")
        yield str(path), nth, {"_id": name, "title": title.strip(), "text": text}


def _files(folder: Path, endings: tuple[str, ...] | None) -> Iterator[str]:
    """The paths within the folder of files that are not hidden, of these endings or of all."""
    for at, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and (endings is None or Path(name).suffix.lower() in endings):
                yield (Path(at) / name).relative_to(folder).as_posix()
