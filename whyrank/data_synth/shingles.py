"""Which texts share most of their words in the same order: exact shingles, hashed, in arrays."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Shingles = NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)
_WORD = re.compile(r"\w+")


def shingles(text: str, n: int) -> Shingles:
    """The distinct runs of `n` words of a text as sorted hashes; a shorter text is one run, an empty one none.

    Words are compared in lower case, without what stands between them. Hashes are the same on every machine.
    """
    words = _WORD.findall(text.lower())
    codes = np.fromiter((_code(word) for word in words), np.uint64, len(words))
    size = min(n, len(words))
    if not size:
        return codes
    runs = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for at in range(size):
        runs = runs * _BASE + codes[at : len(words) - size + 1 + at]  # modulo 2^64
    return np.unique(runs)


class Texts:
    """Texts that others are compared with, by their shingles."""

    def __init__(self, n: int) -> None:
        """Hold nothing yet; shingles have `n` words."""
        self.n = n
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._having: defaultdict[int, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self._names)

    def add(self, name: str, given: Shingles) -> None:
        """Add a text."""
        for one in given.tolist():
            self._having[one].append(len(self._names))
        self._names.append(name)
        self._sizes.append(len(given))

    def nearest(self, given: Shingles, contained: bool = False) -> tuple[str, float]:
        """The text here that is most alike, and how much, from 0 to 1; ("", 0.0) where none shares a shingle.

        Args:
            given: a text.
            contained: measure the share of the held text's shingles that the given one has, instead of the share of
                all shingles of both that both have (Jaccard).
        """
        common: defaultdict[int, int] = defaultdict(int)
        for one in given.tolist():
            for at in self._having.get(one, ()):
                common[at] += 1

        def likeness(at: int) -> float:
            whole = self._sizes[at] if contained else self._sizes[at] + len(given) - common[at]
            return common[at] / whole

        best = max(common, key=lambda at: (likeness(at), -at), default=None)
        return ("", 0.0) if best is None else (self._names[best], likeness(best))


def of(texts: Iterable[tuple[str, str]], n: int) -> Texts:
    """Texts by name."""
    held = Texts(n)
    for name, text in texts:
        held.add(name, shingles(text, n))
    return held


_codes: dict[str, int] = {}


def _code(word: str) -> int:
    if (known := _codes.get(word)) is None:
        if len(_codes) > 1_000_000:
            _codes.clear()
        known = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")
        _codes[word] = known
    return known
