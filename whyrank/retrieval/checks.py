"""What an index folder holds is checked before native code sees it: a file's arrays are used as places in memory.

Each check is one pass over a mapped array at most, without a copy, and raises a `BadIndex` that names the array.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from whyrank.errors import BadIndex

Array = NDArray[Any]

OFFSETS = ("int32", "int64")

_BLOCK = 1 << 18
"""Numbers looked at together: they stay in the processor's cache from one look to the next."""


class Checked(NamedTuple):
    """The arrays and lists of a folder, asked for one by one; what does not fit is refused."""

    folder: Path
    arrays: Mapping[str, Array]
    texts: Mapping[str, Sequence[str]]

    def array(self, name: str, types: Sequence[DTypeLike], *shape: int | None) -> Array:
        """An array of one of these types and of this shape, where None is any length; in one piece, in native order."""
        found: Array = self._one(name, self.arrays)
        wanted = [np.dtype(each) for each in types]
        if found.dtype not in wanted or found.ndim != len(shape):
            kinds = " or ".join(map(str, wanted))
            self.refuse(name, f"{len(shape)} dimensions of {kinds} are wanted, not {found.ndim} of {found.dtype}")
        if any(size not in (None, there) for size, there in zip(shape, found.shape, strict=True)):
            self.refuse(name, f"its shape is {found.shape}, and {shape} is wanted")
        if not (found.flags.c_contiguous and found.flags.aligned):
            self.refuse(name, "it does not lie in memory row by row")
        return found

    def offsets(self, name: str, end: int, size: int | None = None) -> Array:
        """Where each of `size` spans begins: from 0, never falling, up to `end`."""
        found = self.array(name, OFFSETS, None if size is None else size + 1)
        if not len(found) or found[0] != 0 or found[-1] != end or (found[1:] < found[:-1]).any():
            self.refuse(name, f"it does not rise from 0 to {end}")
        return found

    def postings(self, n_documents: int, **beside: Sequence[DTypeLike]) -> int:
        """Check `offsets` and `documents`, within each term rising document numbers, and what has one number for each.

        Returns:
            How many terms there are.
        """
        documents = self.array("documents", OFFSETS, None)
        offsets = self.offsets("offsets", len(documents))
        if offsets.dtype != documents.dtype:
            self.refuse("documents", f"it is of {documents.dtype}, and offsets of {offsets.dtype}")
        for name, types in beside.items():
            self.array(name, types, len(documents))
        starts = offsets[:-1][offsets[1:] > offsets[:-1]]  # of the terms that have documents
        lasts = np.append(starts[1:], len(documents)) - 1 if len(starts) else starts
        if _falls(documents) != np.count_nonzero(documents[starts[1:]] <= documents[starts[1:] - 1]):
            self.refuse("documents", "the documents of a term do not rise")
        lowest, highest = documents[starts].min(initial=0), documents[lasts].max(initial=0)
        if lowest < 0 or highest >= max(n_documents, 1):
            self.refuse("documents", f"there are numbers from {lowest} to {highest}, of {n_documents} documents")
        return len(offsets) - 1

    def not_negative(self, name: str) -> None:
        """Refuse numbers below 0, and those that are not finite."""
        found = self.arrays[name]
        if found.dtype.kind == "f":
            bits = found.view(f"u{found.dtype.itemsize}")
            wrong = bits.max(initial=0) >= np.array(np.inf, found.dtype).view(bits.dtype)
        else:
            wrong = found.min(initial=0) < 0
        if wrong:
            self.refuse(name, "there are numbers below 0, or none at all")

    def finite(self, name: str) -> None:
        """Refuse numbers that are not finite."""
        if not is_finite(self.arrays[name]):
            self.refuse(name, "there are numbers that are not finite")

    def ids(self, name: str, size: int | None = None) -> Sequence[str]:
        """A list of so many different texts."""
        found: Sequence[str] = self._one(name, self.texts)
        if size not in (None, len(found)):
            self.refuse(name, f"there are {len(found)} texts, and {size} are wanted")
        if not are_ids(found):
            self.refuse(name, "a text occurs twice, or is none")
        return found

    def numbers(self, name: str, size: int) -> dict[str, int]:
        """The place of each text in a list of so many different ones."""
        found = self._one(name, self.texts)
        numbers = {text: number for number, text in enumerate(found)} if are_texts(found) else {}
        if not len(numbers) == len(found) == size:
            self.refuse(name, f"there are {len(numbers)} different texts among {len(found)}, and {size} are wanted")
        return numbers

    def refuse(self, name: str, why: str) -> NoReturn:
        """Say what is wrong."""
        raise BadIndex(f"{self.folder}: {name!r} is damaged or was not written by whyrank: {why}: build the index anew")

    def _one(self, name: str, there: Mapping[str, Any]) -> Any:  # noqa: ANN401 (an array, or a list)
        if name not in there:
            self.refuse(name, "it is missing")
        return there[name]


def _falls(numbers: Array) -> int:
    """How many of the numbers are not above the one before."""
    blocks = (numbers[at : at + _BLOCK + 1] for at in range(0, len(numbers), _BLOCK))
    return sum(int(np.count_nonzero(block[1:] <= block[:-1])) for block in blocks)


def are_ids(texts: Sequence[Any]) -> bool:
    """Whether all are texts that UTF-8 can write, and none occurs twice."""
    return are_texts(texts) and len(set(texts)) == len(texts)


def are_texts(texts: Sequence[Any]) -> bool:
    """Whether all are texts that UTF-8 can write."""
    if not set(map(type, texts)) <= {str}:
        return False
    whole = "".join(texts)
    try:
        return whole.isascii() or bool(whole.encode())
    except UnicodeEncodeError:
        return False


def is_finite(numbers: Array) -> bool:
    """Whether float16 or float32 numbers are finite: of both signs the highest bits must stay below infinity's."""
    size, highest = numbers.dtype.itemsize, np.array([np.inf, -np.inf], numbers.dtype)
    plus, minus = highest[:1].view(f"i{size}")[0], highest[1:].view(f"u{size}")[0]
    return bool(
        numbers.view(f"i{size}").max(initial=np.iinfo(f"i{size}").min) < plus
        and numbers.view(f"u{size}").max(initial=0) < minus
    )
