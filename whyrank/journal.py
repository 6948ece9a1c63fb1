"""Files that are only added to, each line whole or not at all, and the lock that leaves them to one process."""

import errno
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whyrank.errors import BadInput


class Journal:
    """A file of lines, held by one process at a time; a lock that ends with the process, however it ends.

    A line that cannot be written whole, as on a full disk, is taken back before the next is written. Nothing is written
    through a link.
    """

    def __init__(self, path: Path, kind: str) -> None:
        """Open the file, or begin it, and take it for this process.

        Args:
            path: the file; folders are made as needed.
            kind: what errors call it.

        Raises:
            BadInput: another process holds it, or a link stands there.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = _opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        _held.add(self)
        if not lock(self._file):
            self.close()
            raise BadInput(f"{path}: another run writes to this {kind}; wait for it, or give another folder")
        self._end = os.fstat(self._file).st_size

    @property
    def closed(self) -> bool:
        """Whether nothing can be added any more."""
        return self._file is None

    def mend(self, end: int) -> None:
        """Cut off what follows the last whole line, which ends at byte `end`; close it if its line end is missing."""
        assert self._file is not None
        os.ftruncate(self._file, end)
        self._end = end
        if end and os.pread(self._file, 1, end - 1) != b"\n":
            self.append(b"\n")

    def append(self, line: bytes) -> None:
        """Add a line, with its line end.

        Raises:
            OSError: it cannot be written, and nothing of it is left; the error names the file.
        """
        assert self._file is not None
        try:
            _write(self._file, line)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            error.filename = str(self.path)
            raise
        self._end += len(line)

    def close(self) -> None:
        """Leave the file to others. What was added is there already: each line is written at once."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _held.discard(self)

    def __del__(self) -> None:
        """Close the file."""
        if getattr(self, "_file", None) is not None:
            self.close()


class _Hold:
    """An open file or folder that is locked as long as it is open."""

    def __init__(self, file: int) -> None:
        self._file: int | None = file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def holding(folder: Path, another: str = "", *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, which is there, for this process as long as the block lasts; nothing is left of it there.

    Args:
        folder: the folder.
        another: what the error says where another process holds it.
        wait: wait for the other instead.

    Raises:
        BadInput: another process holds it, and `wait` is not given.
    """
    if os.name == "nt":
        yield
        return
    hold = _Hold(file := os.open(folder, os.O_RDONLY))
    _held.add(hold)
    try:
        if not lock(file, wait):
            raise BadInput(f"{folder}: {another}")
        yield
    finally:
        hold.close()
        _held.discard(hold)


def lock(file: int, wait: bool = False) -> bool:
    """Take the lock of an open file; False if another has it and is not waited for. Without locks it is granted."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _opened(path: Path, flags: int) -> int:
    try:
        file = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise BadInput(f"{path} is a link, and nothing is written through links: remove it") from None
        raise
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return file
    os.close(file)
    what = "has another name (a hard link)" if stat.S_ISREG(found.st_mode) else "is no file that can be kept"
    raise BadInput(f"{path} {what}, and is not written through: remove it, or put a copy in its place")


_held: "weakref.WeakSet[Journal | _Hold]" = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: a lock lives as long as any process holds the file, and the child may outlive a killed run."""
    for one in list(_held):
        one.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
