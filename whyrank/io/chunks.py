"""Work in chunks: a folder of ordinary run folders, each for some of the lists, done apart and joined by concatenation.

    manifest.json               what is asked, and how it is cut; finished once it is joined
    chunks/00017/input.trec     the lists of a chunk
    chunks/00017/1.json         who began its first attempt and, once it ended, how
    chunks/00017/1/             that attempt, a run folder with one writer; a later one reads the traces of those before
    chunks/00017/done.json      which attempt counts, and its report; it comes last, and alone makes the chunk done
    run.trec, notes.jsonl, …    what `join` makes of the chunks

How work is cut depends on the input and the size of a chunk, never on who does it. Two that do one chunk at once cost
money, and no line: each has an attempt of its own, and the first `done.json` stays.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import Any, Literal

from whyrank.errors import BadInput
from whyrank.io.files import atomic_write, write_new
from whyrank.io.folders import as_json, read_json, read_manifest, write_json

FOLDER = "chunks"

INPUTS = ("input.trec", "input.jsonl")

MOST_ATTEMPTS = 3
"""So many attempts under one start of the work may end without a word, before the chunk counts as failed."""

State = Literal["done", "failed", "unanswered", "stopped", "begun", "left"]
"""Of a chunk: done; failed, with an error or its workers died; some calls have no answer for a reason that may pass;
stopped by a limit; begun and without an end, running or killed; or nothing was done."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How work is cut: so many lists, in chunks of `size`, the last of what is left."""

    lists: int
    size: int

    @property
    def number(self) -> int:
        """How many chunks there are."""
        return -(-self.lists // self.size)

    def span(self, number: int) -> range:
        """The places of the lists of a chunk."""
        return range(number * self.size, min((number + 1) * self.size, self.lists))


def size_of(lists: int) -> int:
    """How many lists a chunk has where nobody says: a 64th of all, and 1,024 at most."""
    return min(1024, max(1, -(-lists // 64)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try at a chunk: a run folder, and beside it who began it and how that ended.

    Attributes:
        folder: the run folder.
        start: under which start of the work it was begun.
        ended: how it ended; "begun" as long as nobody said.
        detail: the error, if there was one.
    """

    folder: Path
    start: str
    ended: State = "begun"
    detail: str = ""

    @property
    def number(self) -> int:
        """Its number in the chunk, from 1."""
        return int(self.folder.name)

    @property
    def older(self) -> list[Path]:
        """The folders of the attempts before it: what they paid for is known to it."""
        return [self.folder.with_name(str(before)) for before in range(1, self.number)]

    @property
    def job(self) -> Path:
        """The folder of the whole work."""
        return self.folder.parent.parent.parent

    def end(self, ended: State, detail: str = "", **told: object) -> None:
        """Say how it ended; if it is done, and no other one is, it is the one that counts."""
        write_json(
            self.folder.with_name(f"{self.number}.json"), {"start": self.start, "ended": ended, "detail": detail}
        )
        if ended == "done":
            write_new(self.folder.with_name("done.json"), as_json({"attempt": self.number, **told}))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a folder, by its number."""

    folder: Path

    @property
    def number(self) -> int:
        """Its number, from 0."""
        return int(self.folder.name)

    def input(self) -> Path | None:
        """The file of its lists, if there is one."""
        return next((path for name in INPUTS if (path := self.folder / name).is_file()), None)

    def done(self) -> dict[str, Any] | None:
        """Which attempt counts, and its report; None where none is done."""
        path = self.folder / "done.json"
        try:
            told = read_json(path)
        except FileNotFoundError:
            return None
        if not (isinstance(told.get("attempt"), int) and isinstance(told.get("report"), dict)):
            raise BadInput(f"{path}: damaged: remove it, and the same command makes it again")
        return told

    def attempts(self) -> list[Attempt]:
        """All that were begun, in order."""
        numbers = range(1, 1 + sum(path.stem.isdecimal() for path in self.folder.glob("*.json")))
        return [self._attempt(number) for number in numbers]

    def begin(self, start: str) -> Attempt:
        """Begin the next attempt, under a start of the work."""
        told = {"start": start, "host": socket.gethostname(), "process": os.getpid()}
        number = 1
        while not write_new(self.folder / f"{number}.json", json.dumps(told).encode()):
            number += 1
        return Attempt(self.folder / str(number), start)

    def state(self) -> tuple[State, str]:
        """How it stands, and why."""
        if self.done() is not None:
            return "done", ""
        if not (attempts := self.attempts()):
            return "left", ""
        last = attempts[-1]
        if _died(attempts, last.start) >= MOST_ATTEMPTS:
            return "failed", f"{MOST_ATTEMPTS} workers that began it ended without a word"
        return last.ended, last.detail

    def died(self, start: str) -> int:
        """How many attempts of a start have no end."""
        return _died(self.attempts(), start)

    def result(self) -> Path | None:
        """The run folder that counts: that which is done, or else the newest in which only some calls are open."""
        if (done := self.done()) is not None:
            return self.folder / str(done["attempt"])
        open_ = [attempt.folder for attempt in self.attempts() if attempt.ended == "unanswered"]
        return open_[-1] if open_ else None

    def _attempt(self, number: int) -> Attempt:
        told = read_json(self.folder / f"{number}.json")
        start, ended, detail = (str(told.get(name, default)) for name, default in _TOLD)
        known: State = ended if ended in ("done", "failed", "unanswered", "stopped") else "begun"  # type: ignore[assignment]
        return Attempt(self.folder / str(number), start, known, detail)


def _died(attempts: Iterable[Attempt], start: str) -> int:
    return sum(attempt.ended == "begun" and attempt.start == start for attempt in attempts)


_TOLD = (("start", ""), ("ended", "begun"), ("detail", ""))


@dataclass(frozen=True, slots=True)
class Chunks(Sequence[Chunk]):
    """The chunks of a folder."""

    folder: Path
    cut: Cut

    @classmethod
    def of(cls, folder: str | Path) -> "Chunks | None":
        """Those that the manifest of a folder tells of; None where it tells of none.

        Raises:
            BadInput: the manifest is damaged.
        """
        told = read_manifest(folder).get("chunks")
        if told is None:
            return None
        try:
            return cls(Path(folder), Cut(**told))
        except TypeError as error:
            raise BadInput(f"{Path(folder) / 'manifest.json'}: damaged: {error}") from None

    def told(self) -> dict[str, Any]:
        """What a manifest tells of them."""
        return asdict(self.cut)

    def __len__(self) -> int:
        """How many there are."""
        return self.cut.number

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401 (a Sequence is given slices, too)
        """The chunk of that number."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Chunk(self.folder / FOLDER / f"{number:05d}")

    def __iter__(self) -> Iterator[Chunk]:
        """Each of them."""
        return (self[number] for number in range(len(self)))


def concatenate(folders: Sequence[Path], name: str, out: Path) -> None:
    """Write the file `out` of the files called `name` in these folders, one behind the other, those that are there."""
    with atomic_write(out) as file:
        for folder in folders:
            if (part := folder / name).is_file():
                with part.open("rb") as piece:
                    copyfileobj(piece, file, 1 << 20)


def added(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of reports: numbers are added up, those in their tables too; of all else the first is kept."""
    total: dict[str, Any] = {}
    for report in reports:
        for name, value in report.items():
            before = total.get(name)
            if isinstance(value, Mapping):
                total[name] = added([before or {}, value])
            elif isinstance(value, int | float) and not isinstance(value, bool):
                total[name] = round(value + (before or 0), 6)
            elif before is None:
                total[name] = value
    return total
