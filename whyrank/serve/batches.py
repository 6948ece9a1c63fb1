"""Requests that come while a model is busy are put to it together: it is quicker with many than with one by one."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Batches(Generic[A, B]):
    """A thread that does the work of many callers, as much at a time as has come since it looked last.

    A request that finds it idle waits for nothing; under load batches grow by themselves.
    """

    def __init__(self, work: Callable[[Sequence[A]], Sequence[B]], most: int = 32) -> None:
        """Begin to wait for work.

        Args:
            work: one result for each of what it is given.
            most: how many are put to it at a time.
        """
        self._work, self._most = work, most
        self._waiting: deque[tuple[A, Future[B]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="whyrank-batches", daemon=True)
        self._thread.start()

    def __call__(self, given: A) -> B:
        """The result for one; an error that it raises is its own, and no neighbour's."""
        done: Future[B] = Future()
        with self._changed:
            self._waiting.append((given, done))
            self._changed.notify()
        return done.result()

    def close(self) -> None:
        """Finish what there is, and let the thread go."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._do(batch)

    def _do(self, batch: Sequence[tuple[A, "Future[B]"]]) -> None:
        try:
            results = self._work([given for given, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:
                self._do([one])
            return
        for (_, done), result in zip(batch, results, strict=True):
            done.set_result(result)
