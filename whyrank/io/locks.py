"""One writer at a time: locks that end with their process, and files that are no doors to other ones."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whyrank.errors import BadInput

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def one_writer(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock file `lock`; it is removed in the end, and one that a killed process left is taken over.

    Args:
        lock: the file, in a folder that exists.
        what: what is written, for the error.

    Raises:
        BadInput: another process, or another thread, holds it.
    """
    file = _held(lock, what)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.unlink()
        os.close(file)


def open_own(path: Path, flags: int) -> int:
    """Open a file for writing that is a file of its own: a link would lead what is written somewhere else.

    Returns:
        The descriptor; flags are those of `os.open`.

    Raises:
        BadInput: it is a link, or has a second name.
    """
    if path.is_symlink():
        raise BadInput(f"{path} is a link, and is not written through: remove it")
    file = os.open(path, flags | _NO_LINK | getattr(os, "O_BINARY", 0), 0o644)
    if os.fstat(file).st_nlink > 1:
        os.close(file)
        raise BadInput(f"{path} has another name (a hard link), and is not written through: remove it")
    return file


def _held(lock: Path, what: str) -> int:
    while True:
        file = open_own(lock, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(lock)):
                    return file
        except BlockingIOError:
            os.close(file)
            raise BadInput(f"another process writes {what}: wait for it, or give another folder") from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its last holder removed the file after it was opened here


def _lock(file: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
