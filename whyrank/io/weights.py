"""By what the model in a folder is known: its files, and samples of those that are large."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from whyrank.errors import BadInput

WHOLE = 1 << 22
"""Files up to this size, in bytes, are read whole."""

SAMPLES, SAMPLE = 64, 1 << 14
"""Of larger ones so many pieces of so many bytes are read, evenly spread, the first and the last among them."""


def content_of(model: str | Path) -> str | None:
    """What the model in a folder is known by; None where `model` is no folder, but a name on a hub.

    Names, sizes and content of all files that are not hidden and no Markdown, links followed; large files, such as
    weights, are sampled: training moves all of them, and a model of any size takes a fraction of a second. Read once as
    long as no file's size or time of change moves.

    Raises:
        BadInput: a file cannot be read.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    try:
        return _hash(tuple(_files(folder)))
    except OSError as error:
        raise BadInput(f"{folder}: the model cannot be read: {error}") from None


def _files(folder: Path) -> list[tuple[str, str, int, int]]:
    """Name, path, size and time of change of each file, in the order of their names."""
    found = []
    for at, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            file = Path(at, name)
            if not name.startswith(".") and file.suffix.lower() != ".md" and file.is_file():
                told = file.stat()
                found.append((file.relative_to(folder).as_posix(), str(file.resolve()), told.st_size, told.st_mtime_ns))
    return sorted(found)


@lru_cache(maxsize=64)
def _hash(files: tuple[tuple[str, str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, path, size, _ in files:
        head = f"{len(name)} {name} {size}:"
        digest.update(head.encode("utf-8", "surrogateescape"))
        with open(path, "rb") as file:
            if size <= WHOLE:
                digest.update(file.read(size))
                continue
            for at in range(SAMPLES):
                file.seek((size - SAMPLE) * at // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()
