"""Which texts share most of their words in the same order: exact shingles, hashed, in arrays."""

import hashlib
import math
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
    codes = np.fromiter(map(_CODES.__getitem__, words), np.uint64, len(words))
    size = min(n, len(words))
    if not size:
        return codes
    runs = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for at in range(size):
        runs = runs * _BASE + codes[at : len(words) - size + 1 + at]  # modulo 2^64
    return np.unique(runs)


class ShingledTexts:
    """Texts that others are compared with, by their shingles.

    Exact: a text of m shingles of which another holds at least the share `alike` has one of *any* m − ⌈alike · m⌉ + 1
    of its shingles in common with it (prefix filter; Chaudhuri, Ganti and Kaushik, 2006). Only so many are indexed, and
    what shares one of them is compared in full.
    """

    def __init__(self, n: int, alike: float, texts: Iterable[tuple[str, str]] = ()) -> None:
        """Hold `texts` by name, with shingles of `n` words; likenesses below `alike`, above 0, do not count."""
        self.n, self.alike = n, alike
        self._held: list[tuple[str, Shingles]] = []
        self._having: defaultdict[int, list[int]] = defaultdict(list)
        for name, text in texts:
            self.add(name, shingles(text, n))

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self._held)

    def add(self, name: str, given: Shingles) -> None:
        """Add a text."""
        few = len(given) - math.ceil(self.alike * len(given) - 1e-9) + 1 if len(given) else 0
        for one in given[:few].tolist():
            self._having[one].append(len(self._held))
        self._held.append((name, given))

    def nearest(self, given: Shingles, contained: bool = False) -> tuple[str, float]:
        """The text here that is most alike, and how much, from `alike` to 1; ("", 0.0) where none is.

        Args:
            given: a text.
            contained: measure the share of the held text's shingles that the given one has, instead of the share of
                all shingles of both that both have (Jaccard).
        """
        best = ("", 0.0)
        for at in sorted({at for one in given.tolist() for at in self._having.get(one, ())}):
            name, held = self._held[at]
            common = len(np.intersect1d(given, held, assume_unique=True))
            likeness = common / (len(held) if contained else len(held) + len(given) - common)
            if likeness >= self.alike - 1e-9 and likeness > best[1]:
                best = (name, likeness)
        return best


class _Codes(dict[str, int]):
    """The hash of each word that was met."""

    def __missing__(self, word: str) -> int:
        if len(self) > 1_000_000:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        self[word] = code = int.from_bytes(digest, "little")
        return code


_CODES = _Codes()
