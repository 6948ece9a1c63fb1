"""What a collection is known by: one number for the content of its records, whatever their order."""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whyrank.types.texts import Document

_BITS = 256
_WRITTEN = re.compile(f"[0-9]{{1,18}}:[0-9a-f]{{{_BITS // 4}}}")


class Fingerprint:
    """The content of a set of records, as the sum of their hashes: any order gives the same, any edit another.

    Sets that have no record in common can be joined, and records be added as they stream by; nothing is held. It tells
    what was changed by mistake or on purpose, from what was not; it is no signature.

    Source: Bellare and Micciancio 1997 (AdHash), over BLAKE2b.

    Example:
        >>> one, other = Fingerprint(), Fingerprint()
        >>> one.add("d1", "bees"), one.add("d2", "ants"), other.add("d2", "ants"), other.add("d1", "bees")
        (None, None, None, None)
        >>> str(one) == str(other), str(one).partition(":")[0]
        (True, '2')
    """

    __slots__ = ("_sum", "count")

    def __init__(self) -> None:
        """Begin with no record."""
        self.count = self._sum = 0

    @classmethod
    def read(cls, text: str) -> "Fingerprint":
        """The fingerprint that was written as `text`.

        Raises:
            ValueError: it is none.
        """
        found = cls()
        count, _, digits = text.partition(":")
        found.count, found._sum = int(count), int(digits, 16)
        return found

    def add(self, *fields: str) -> None:
        """Add one record: an id, and what stands under it."""
        self._count(f"{','.join([str(len(field)) for field in fields])}:{''.join(fields)}")

    def join(self, other: "Fingerprint") -> None:
        """Add all records of another set."""
        self._sum += other._sum
        self.count += other.count

    def watch(self, documents: Iterable["Document"]) -> Iterator["Document"]:
        """The documents as they are; each is added as it goes by, or all at once where they are a `Corpus`."""
        if isinstance(known := getattr(documents, "fingerprint", None), str):  # which may be known already
            self.join(Fingerprint.read(known))
            yield from documents
            return
        for document in documents:
            id, title, text = document.id, document.title, document.text
            self._count(f"{len(id)},{len(title)},{len(text)}:{id}{title}{text}")  # as `add` has it, in half the time
            yield document

    def _count(self, record: str) -> None:
        digest = blake2b(record.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
        self._sum += int.from_bytes(digest)
        self.count += 1

    def __str__(self) -> str:
        """How many records, and the sum in hexadecimal digits."""
        return f"{self.count}:{self._sum % (1 << _BITS):0{_BITS // 4}x}"


def joined(one: str, other: str) -> str:
    """The fingerprint of two sets together; nothing where one of them is not known."""
    if not (one and other):
        return ""
    both = Fingerprint.read(one)
    both.join(Fingerprint.read(other))
    return str(both)


def is_fingerprint(text: object) -> bool:
    """Whether a file may tell of a collection so: as `str(Fingerprint)`, or empty where it is not known."""
    return isinstance(text, str) and (not text or _WRITTEN.fullmatch(text) is not None)
