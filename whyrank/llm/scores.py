"""Numbers that took long to find, as scores of models without words: a stopped run computes none of them twice."""

import json
import math
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyrank.journal import Journal


class ScoreRecord:
    """Blocks of numbers, each under a key that says by its content what was computed; in memory, or in a file, too.

    The file is JSON lines. It comes with the first block; a line that cannot be read is computed again.
    """

    def __init__(self, path: Path | None = None, older: Iterable[Path] = ()) -> None:
        """Open the file, if it is there; without a path nothing is kept. What `older` files hold is known, too."""
        self._path = path
        self._journal: Journal | None = None
        self._known: dict[str, list[float | None]] = {}
        for file in older:
            self._look_into(file)
        if path is not None and path.exists():
            self._open(path)

    def of(self, what: object, size: int, work: Callable[[], NDArray[Any]]) -> NDArray[np.float64]:
        """The numbers that belong to `what`: known ones, or those that `work` gives, which are kept.

        Args:
            what: all that they follow from, as JSON.
            size: how many there are.
            work: computes them.

        Returns:
            (size,) the numbers; what is no finite one is NaN.
        """
        if self._path is None:
            return work().astype(np.float64)
        key = blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()
        if len(known := self._known.get(key, ())) == size:
            return np.array([math.nan if one is None else one for one in known])
        found = work().astype(np.float64)
        told = [one if math.isfinite(one) else None for one in found.tolist()]
        if self._journal is None:
            self._journal = Journal(self._path, "file")
        self._journal.append(json.dumps({"key": key, "scores": told}).encode() + b"\n")
        return found

    def close(self) -> None:
        """Leave the file to others."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _open(self, path: Path) -> None:
        self._journal = Journal(path, "file")
        self._journal.mend(self._look_into(path))

    def _look_into(self, path: Path) -> int:
        """Know what a file holds, if it is there; returns where its last whole line ends."""
        end = 0
        if not path.is_file():
            return end
        with path.open("rb") as file:
            for line in file:
                end += len(line) if line.endswith(b"\n") else 0
                try:
                    told = json.loads(line)
                    self._known[str(told["key"])] = [None if one is None else float(one) for one in told["scores"]]
                except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
                    continue
        return end
