"""A list of texts in two arrays, which can be mapped into memory: only what is asked for is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex


@dataclass(frozen=True, eq=False)
class PackedTexts:
    """Texts one after another in UTF-8.

    Attributes:
        data: (bytes,) uint8.
        offsets: (n + 1,) int64, where each begins.

    Examples:
        >>> PackedTexts.of(["bees", "", "dance"])[2]
        'dance'
    """

    data: NDArray[Any]
    offsets: NDArray[Any]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Hold `texts`; what UTF-8 cannot write becomes a question mark."""
        parts = [text.encode("utf-8", "replace") for text in texts]
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self.offsets) - 1

    def __getitem__(self, at: int) -> str:
        """One text.

        Raises:
            BadIndex: it is no UTF-8.
        """
        try:
            return self.data[self.offsets[at] : self.offsets[at + 1]].tobytes().decode()
        except UnicodeDecodeError:
            raise BadIndex(f"text {at} of the index is no UTF-8: build the index anew") from None

    def __iter__(self) -> Iterator[str]:
        """All texts in order."""
        return (self[at] for at in range(len(self)))
