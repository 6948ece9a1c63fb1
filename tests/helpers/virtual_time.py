"""An event loop whose clock jumps to the next timer, so that hours of waiting take milliseconds and are exact."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.now, self._look = 0.0, self._selector.select
        self._selector.select = self._jump

    def time(self) -> float:
        return self.now

    def _jump(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing is under way and nothing will happen: the scheduler would hang")
        self.now += max(timeout, 0.0)
        return self._look(0)


class Clock:
    """Runs coroutines as `whyrank.llm.loop.run` does, and keeps the seconds that the last one took."""

    seconds = 0.0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            try:
                return runner.run(work)
            finally:
                self.seconds = runner.get_loop().time()
