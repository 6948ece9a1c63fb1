"""What all formats share: text in blocks of whole lines, files that are written whole, ids in TREC columns."""

import errno
import glob
import gzip
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from whyrank.errors import BadInput, NotFound, want
from whyrank.journal import lock

BLOCK = 1 << 17  # bytes; the tokens of one block stay in the processor's cache
_PIECE = 1 << 12
LONGEST = 1 << 28  # bytes of a line; beyond, a file of a few megabytes could unpack to more than there is memory

_FORMS = {".trec", ".run", ".res", ".txt", ".tsv", ".csv", ".json", ".jsonl", ".parquet"}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the size of a file is used up; of a write it names no file."""

_NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)
"""What file systems say that know none; there a file that is new is written in its place, which is as exclusive."""

AGE = 60.0
"""Seconds after which what a killed process was writing is swept from a folder that nobody holds."""

_PARTIAL = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.partial", re.DOTALL)
_UNSAFE = re.compile(r"[\s\ufeff]|\\(?=u[0-9a-fA-F]{4})")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it appears, whole, when the block ends well, and is left as it was when not.

    The text goes to a temporary file in the same folder, which is renamed at the end. Folders are made as needed, and a
    path that ends in `.gz` is compressed (always to the same bytes).

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "runs" / "note.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"kept whole")
        >>> path.read_text()
        'kept whole'

    Raises:
        BadInput: the path names no file, as `.` and an empty one.
    """
    target = place(path)
    if not target.name or target.name == "..":
        raise BadInput(f"{str(path)!r} is a folder, and a file to write is wanted")
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name, AGE)
    partial = target.with_name(f".{target.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "xb") as raw:
            lock(raw.fileno())
            if target.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            partial.unlink()
        if isinstance(error, OSError) and (error.filename == str(partial) or error.errno in FULL):
            error.filename = str(target)  # what was asked for
        raise


def write_new(path: Path, data: bytes) -> bool:
    """Write a file, whole, where there is none; False where there is one, which stays as it is.

    Of several processes that try at once exactly one is told True, on any file system that they share.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        _write_alone(partial, data)
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        try:
            _write_alone(path, data)
        except FileExistsError:
            return False
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return True


def _write_alone(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def is_partial(path: Path) -> bool:
    """Whether this is what `atomic_write` was writing when it was killed, or is writing now."""
    return bool(_PARTIAL.fullmatch(path.name)) and not path.is_symlink()


def sweep(folder: Path, name: str = "*", age: float = 0.0) -> None:
    """Remove what `atomic_write` was writing into a folder when it was killed; what is still written stays.

    Args:
        folder: where.
        name: the file that it was to become; by default any.
        age: seconds; younger ones stay.
    """
    pattern = name if name == "*" else glob.escape(name[:100])
    for partial in folder.glob(f".{pattern}.*-????????.partial"):
        if not is_partial(partial):
            continue
        with suppress(OSError), open(partial, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime >= age and lock(file.fileno()):
                partial.unlink()


class Block(NamedTuple):
    """A piece of a file: how many whole lines (the last may lack its end), the number of the first, the bytes."""

    first: int
    size: int
    data: bytes


def blocks(path: str | Path) -> Iterator[Block]:
    """A text file in pieces of whole lines, numbered from 1; all is valid UTF-8, without byte-order mark.

    A path that ends in `.gz` is decompressed.

    Raises:
        NotFound: no such file.
        BadInput: the file is empty, is no UTF-8 (the line is named), or its compression is damaged or cut off.
    """
    first = 1
    with _opened(place(path)) as file:
        while data := _read(file, path, first):
            if first == 1 and data.startswith(b"\x1f\x8b"):
                raise BadInput(f"{path}: the file is compressed: its name must end in .gz")
            if not data.isascii():
                _refuse_damage(path, first, data)
            size = data.count(b"\n") + (not data.endswith(b"\n"))
            yield Block(first, size, data.removeprefix(b"\xef\xbb\xbf") if first == 1 else data)
            first += size
    if first == 1:
        raise BadInput(f"{path}: the file is empty")


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers, without line ends; raises what `blocks` raises."""
    for block in blocks(path):
        yield from block_lines(block)


def block_lines(block: Block) -> Iterator[tuple[int, str]]:
    """The lines of one block, as `lines` gives them; who looks at the first ones only decodes little."""
    start, first = 0, block.first
    while start < len(block.data):
        end = block.data.find(b"\n", start + _PIECE) + 1 or len(block.data)
        number = first
        for number, line in enumerate(block.data[start:end].decode().split("\n"), first):
            if line and not line.isspace():
                yield number, line.removesuffix("\r")
        start, first = end, number


def suffix(path: str | Path) -> str:
    """The ending that tells a file's format: that before `.gz`, if it is compressed."""
    return Path(str(place(path)).removesuffix(".gz")).suffix.lower()


def place(path: object) -> Path:
    """The path of a file; refuses what is none."""
    want(path, (str, Path), "the path of a file", "hand in one, such as 'run.trec'")
    return Path(path)  # type: ignore[arg-type]  # which want has seen to


def stem(path: str | Path) -> str:
    """What a file is called without the endings of its form: `gpt3.5.dl19.trec.gz` is `gpt3.5.dl19`."""
    name = Path(path).name.removesuffix(".gz")
    ending = Path(name).suffix
    return name.removesuffix(ending) if ending.lower() in _FORMS and name != ending else name


def escape(id: str) -> str:
    r"""An id as it stands in a TREC column: white space as `\uXXXX`; ids without white space stay as they are.

    A backslash that happens to stand before `uXXXX` becomes `\u005c`, so that `unescape` gives back every id.

    Examples:
        >>> escape("page 7"), unescape("page\\u00207")
        ('page\\u00207', 'page 7')
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", id)


def escape_all(ids: Sequence[str]) -> Sequence[str]:
    """Each id as `escape` writes it; quick where there is nothing to escape."""
    text = "".join(ids)
    plain = text.isascii() and text.isprintable() and " " not in text and "\\u" not in text
    return ids if plain else [escape(id) for id in ids]


def unescape(column: str) -> str:
    """The id that `escape` wrote; other sequences that look alike are left as they are."""
    return _ESCAPE.sub(_unescaped, column) if "\\u" in column else column


def columns(line: str) -> list[str]:
    """The columns of a line, parted by ASCII white space."""
    return [column.decode() for column in line.encode().split()]


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in "\\\ufeff" or character.isspace() else match[0]


def _opened(path: Path) -> BinaryIO:
    if path.is_dir():
        raise BadInput(f"{path} is a folder, a file is wanted")
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None


def _read(file: BinaryIO, path: str | Path, first: int) -> bytes:
    try:
        data = file.read(BLOCK)
        data += file.readline(LONGEST)
        if len(data) > LONGEST and not data.endswith(b"\n"):
            line = first + data.count(b"\n")
            raise BadInput(f"{path}:{line}: the line is longer than {LONGEST >> 20} MiB: write it as several")
        return data
    except EOFError:
        raise BadInput(
            f"{path}: the compressed file is cut off after line {first - 1}: fetch or write it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path}: the compressed file is damaged after line {first - 1}: {error}") from None


def _refuse_damage(path: str | Path, first: int, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise BadInput(f"{path}:{line}: byte 0x{data[error.start]:02x} is not valid UTF-8") from None
