"""What a family of data sets is, and in which folders its files are looked for."""

import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from whyrank.cache import cached
from whyrank.errors import BadInput, NotFound
from whyrank.types import Dataset


def roots() -> tuple[Path, ...]:
    """The folders in which data sets are looked for, in this order.

    Those that WHYRANK_DATA names (separated as in PATH), then `data` in the working directory, then
    `whyrank/data` in the user's cache.
    """
    return (*named_roots(), Path("data"), cached("data"))


def named_roots() -> tuple[Path, ...]:
    """The folders that WHYRANK_DATA names, whether or not they exist."""
    return tuple(Path(part).expanduser() for part in os.environ.get("WHYRANK_DATA", "").split(os.pathsep) if part)


def offline() -> bool:
    """Whether HF_HUB_OFFLINE, the variable that all tools around the Hugging Face hub know, forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


class Family(ABC):
    """Data sets that share a layout, called `family/member`; a family of one has the member "".

    To add one, give the class variables, `_present` and `_read`, and `_fetch` where the files can be had from afar.

    Attributes:
        name: the first part of the names.
        members: the known members; others may lie in a local folder.
        layout: which files belong where under a root, with `{member}` for the member.
        splits: the splits that there are, or None where the files say it.
    """

    name: ClassVar[str]
    members: ClassVar[tuple[str, ...]]
    layout: ClassVar[str] = ""
    splits: ClassVar[tuple[str, ...] | None] = ("test",)

    def load(self, member: str, split: str | None = None) -> Dataset:
        """The data set `member`: from the first root that has it, else fetched.

        Raises:
            NotFound: no such member, or it is neither here nor to be fetched.
            BadInput: there is no such split, or a file is damaged.
        """
        title = self.title(member)
        if self.splits is not None and split not in (None, *self.splits):
            raise BadInput(f"{title!r} has no split {split!r}: there is only {', '.join(self.splits)}")
        for root in roots():
            if member in self._present(root / self.name):
                return replace(self._read(root / self.name, member, split), name=title)
        if member not in self.members:
            raise NotFound(f"there is no data set {title!r}{self._hint(title)}")
        return replace(self._fetch(member, split), name=title)

    def title(self, member: str) -> str:
        """The name as `load` takes it."""
        return f"{self.name}/{member}" if member else self.name

    def available(self) -> set[str]:
        """The names of this family that lie in one of the roots."""
        return {self.title(member) for root in roots() for member in self._present(root / self.name)}

    def judged_only(self) -> set[str]:
        """Those of `available` whose documents lie in none of the roots, and are fetched on first use."""
        return set()

    def absent(self, member: str, why: str | Exception = "", part: str = "", layout: str = "") -> NotFound:
        """The error for something that is not here: what to put where, in one sentence.

        Args:
            member: the data set.
            why: why it cannot be fetched, if that was tried.
            part: what of it is missing, by default all.
            layout: which files belong where, by default the family's.
        """
        subject = f"{part} of {self.title(member)} are" if part else f"{self.title(member)} is"
        reason = f" and cannot be fetched ({_reason(why)})" if why else ""
        files = (layout or self.layout).format(member=member)
        places = ", ".join(str(root) for root in roots())
        return NotFound(
            f"{subject} not on this machine{reason}: put {files} under one of the data roots "
            f"({places}; WHYRANK_DATA adds more)"
        )

    @abstractmethod
    def _present(self, folder: Path) -> Iterator[str]:
        """The members whose files lie in `folder`, which may not exist."""

    @abstractmethod
    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        """Read a member that is present."""

    def _fetch(self, member: str, split: str | None) -> Dataset:
        """Fetch a member that is not present."""
        raise self.absent(member)

    def _hint(self, title: str) -> str:
        known = sorted({self.title(member) for member in self.members} | self.available())
        if title == self.name:
            return f": write {', '.join(known)}"
        near = difflib.get_close_matches(title, known, n=1)
        return f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _reason(why: str | Exception) -> str:
    if isinstance(why, str):
        return why
    if offline():
        return "HF_HUB_OFFLINE is set"
    return f"{type(why).__name__}: {str(why).partition(chr(10))[0]:.160}"
