"""Workers on this machine: processes that live as long as the work, or this very process."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, ClassVar

from whyrank.distributed.place import Place, Take
from whyrank.distributed.work import Work
from whyrank.distributed.worker import Outcome, Worker
from whyrank.errors import BadInput, WhyrankError
from whyrank.io.chunks import Chunk, Chunks

FALSE_STARTS = 3
"""So many workers in a row may die before they are ready."""

GRACE = 30.0
"""Seconds that a worker has to put its engine away, once there is nothing left to do."""

_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import whyrank.distributed.worker as w; w.main()"


@dataclass(frozen=True)
class Local(Place):
    """Worker processes on this machine; one that dies is replaced.

    Attributes:
        workers: how many; by default as many as there are cores.
    """

    workers: int = os.cpu_count() or 1

    def __post_init__(self) -> None:
        """Refuse a crew of nobody.

        Raises:
            BadInput: there are no workers.
        """
        if self.workers < 1:
            raise BadInput(f"local:{self.workers}: at least one worker is needed, as in local:4")

    def run(self, work: Work, start: str, take: Take) -> Iterator[Outcome]:
        """Do chunks, as `Place.run` says. Workers end with this process, however it ends."""
        crew, busy = _Crew(pickle.dumps((replace(work, workers=self.workers), start))), 0
        try:
            while True:
                while busy < self.workers and (number := take()) is not None:
                    crew.give(number, busy)
                    busy += 1
                if not busy:
                    return
                outcome = crew.outcomes.get()
                busy -= 1
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            crew.end(kill=busy > 0)


class _Crew:
    """Threads, each of which talks with a process of its own."""

    def __init__(self, told: bytes) -> None:
        self.outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._told, self._numbers = told, SimpleQueue[int | None]()
        self._threads: list[Thread] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock, self._ended = Lock(), False

    def give(self, number: int, busy: int) -> None:
        """Have a chunk done; where all are busy, by one more."""
        if busy == len(self._threads):
            self._threads.append(Thread(target=self._serve, daemon=True))
            self._threads[-1].start()
        self._numbers.put(number)

    def end(self, kill: bool) -> None:
        """Let processes end, or end them."""
        with self._lock:
            self._ended = True
            processes = list(self._processes)
        for _ in self._threads:
            self._numbers.put(None)
        for process in processes:
            with suppress(OSError):
                process.kill() if kill else process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        for process in processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _serve(self) -> None:
        process: subprocess.Popen[bytes] | None = None
        false_starts = 0
        while (number := self._numbers.get()) is not None:
            try:
                while process is None and false_starts < FALSE_STARTS:
                    process = self._started()
                    false_starts += process is None
                if process is None:
                    raise WhyrankError(
                        f"{FALSE_STARTS} workers in a row died before they were ready: see what they said"
                    )
                false_starts = 0
                told = _asked(process, number)
                if told is None:
                    process = None
                self.outcomes.put(Outcome(number, "begun", "its worker died") if told is None else Outcome(**told))
            except BaseException as error:
                self.outcomes.put(error)
                return

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A process that is ready; None if it died before."""
        with self._lock:
            if self._ended:
                raise WhyrankError("the work was ended")
            command = [sys.executable, "-c", _BEGIN, json.dumps(sys.path)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._processes.add(process)
        ready = _exchange(process, self._told)
        if ready is not None and "error" in ready:
            raise WhyrankError(ready["error"])
        return None if ready is None else process


def _asked(process: subprocess.Popen[bytes], number: int) -> dict[str, Any] | None:
    """What a process tells of a chunk; None if it died."""
    return _exchange(process, b"%d\n" % number)


def _exchange(process: subprocess.Popen[bytes], message: bytes) -> dict[str, Any] | None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):
        process.stdin.write(message)
        process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        process.kill()
        return None
    told: dict[str, Any] = json.loads(line)
    return told


@dataclass(frozen=True)
class Share(Place):
    """Every so manieth chunk, in this process: what one job of an array does.

    Attributes:
        index: which, from 0.
        number: how many jobs there are.
    """

    index: int
    number: int
    joins: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            BadInput: the index is not below the number of jobs.
        """
        if not 0 <= self.index < self.number:
            last = max(self.number - 1, 0)
            raise BadInput(
                f"chunk {self.index}/{self.number}: jobs are counted from 0, so write 0/{last + 1} to "
                f"{last}/{last + 1}; a Slurm array is --array=0-{last}"
            )

    @property
    def workers(self) -> int:  # type: ignore[override]  # of all jobs together
        """How many jobs there are."""
        return self.number

    def mine(self, chunks: Chunks) -> Sequence[Chunk]:
        """Its chunks; those that ended without a word come last, since they may end this process, too."""
        mine = [chunks[at] for at in range(self.index, len(chunks), self.number)]
        return sorted(mine, key=lambda chunk: sum(attempt.ended == "begun" for attempt in chunk.attempts()))

    def run(self, work: Work, start: str, take: Take) -> Iterator[Outcome]:
        """Do chunks, as `Place.run` says."""
        worker = Worker(replace(work, workers=self.number), start)
        while (number := take()) is not None:
            yield worker.do(number)
