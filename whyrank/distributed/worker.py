"""A worker: does chunks by their numbers. What happens to one is told, and keeps it from no other."""

import json
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Any, Literal

from whyrank.distributed.budget import Budget
from whyrank.distributed.work import VERBS, Work
from whyrank.errors import BudgetSpent, EngineError, WhyrankError
from whyrank.experiment import Limits
from whyrank.io.chunks import MOST_ATTEMPTS, Attempt, Chunk, Chunks, State
from whyrank.io.files import FULL

Stop = Literal["", "engine", "system"]


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk.

    Attributes:
        chunk: its number.
        state: how it stands now; "begun" if its worker died.
        detail: the error, if there was one.
        stop: what the next chunk would meet as well: an engine that cannot be used, a disk that is full.
    """

    chunk: int
    state: State
    detail: str = ""
    stop: Stop = ""


class Worker:
    """Does chunks of one work, with one engine that stays loaded."""

    def __init__(self, work: Work, start: str) -> None:
        """Build the part and load the data; `start` is the start of the work under which attempts are begun."""
        chunks = Chunks.of(work.out)
        assert chunks is not None
        self._verb, self._chunks, self._start = VERBS[work.verb](work), chunks, start
        self._budget = Budget(chunks, work.limits, work.workers)

    def do(self, number: int) -> Outcome:
        """Do a chunk, unless it is done, or killed as many workers as are given it."""
        chunk: Chunk = self._chunks[number]
        if chunk.done() is not None:
            return Outcome(number, "done")
        if chunk.died(self._start) >= MOST_ATTEMPTS:
            return Outcome(number, *chunk.state())
        try:
            limits = self._budget.of(number)
        except BudgetSpent as error:
            return Outcome(number, "stopped", str(error))
        attempt = chunk.begin(self._start)
        state, detail, stop, report = self._tried(chunk, attempt, limits)
        try:
            attempt.end(state, detail, report=report, taken=self._budget.taken(chunk))
        except OSError as error:
            return Outcome(number, "failed", str(error), "system")
        return Outcome(number, state, detail, stop)

    def _tried(self, chunk: Chunk, attempt: Attempt, limits: Limits) -> tuple[State, str, Stop, Mapping[str, Any]]:
        try:
            report = self._verb.do(chunk, self._chunks.cut.span(chunk.number), attempt, limits)
        except BudgetSpent as error:
            return "stopped", str(error), "", {}
        except EngineError as error:
            return "failed", str(error), "engine", {}
        except WhyrankError as error:
            return "failed", str(error), "", {}
        except OSError as error:
            return "failed", str(error), "system" if error.errno in FULL else "", {}
        except Exception as error:  # a fault is told as the chunk's, with where it is; the others go on
            where = traceback.extract_tb(error.__traceback__)[-1]
            return "failed", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})", "", {}
        return "unanswered" if "unanswered" in report else "done", "", "", report


def main() -> None:
    """Talk with the process that started this one: the work on stdin, then numbers of chunks; outcomes on stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, which ends it
    given, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what libraries print is no outcome
    work, start = pickle.load(given)
    numbers: SimpleQueue[int | None] = SimpleQueue()
    idle = threading.Event()

    def listen() -> None:
        for line in given:
            numbers.put(int(line))
        if not idle.is_set():
            os._exit(1)  # nobody would hear of it, and somebody else begins it anew
        numbers.put(None)

    try:
        worker = Worker(work, start)
    except (WhyrankError, OSError) as error:
        answers.write(json.dumps({"error": str(error)}) + "\n")
        answers.flush()
        return
    answers.write("{}\n")
    answers.flush()
    idle.set()
    threading.Thread(target=listen, daemon=True).start()
    while (number := numbers.get()) is not None:
        idle.clear()
        answers.write(json.dumps(asdict(worker.do(number))) + "\n")
        idle.set()
        answers.flush()


if __name__ == "__main__":
    main()
