"""Who is let in: so many requests at work, so many waiting for so long, in the order in which they came."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from whyrank.serve.refusal import Refused


class Admission:
    """A bound on the requests at work in one event loop.

    Attributes:
        at_work: how many are.
        most: how many may be.
        places: how many may wait.
        seconds: how long one may wait.
        loading: whether nobody is let in yet.
        draining: whether nobody is let in any more.
    """

    def __init__(self, most: int = 64, places: int = 256, seconds: float = 10.0) -> None:
        """Let nobody in yet."""
        self.most, self.places, self.seconds = most, places, seconds
        self.at_work = 0
        self.draining = False
        self.loading = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place at work, as soon as one is free.

        Raises:
            Refused: too many wait, or it did not come in time; 429, with the seconds after which to try again.
        """
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self.loading:
            raise Refused(503, "a model is still being loaded: ask again later", retry_after=5)
        if self.draining:
            raise Refused(503, "this server is shutting down: ask another one, or ask again later", retry_after=5)
        if self.at_work < self.most:
            self.at_work += 1
            return
        if len(self._waiting) >= self.places:
            raise self._full()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, self.seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():  # its turn came in the same moment
                self._leave()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise self._full() from None
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place is handed on
                return
        self.at_work -= 1

    def _full(self) -> Refused:
        told = f"this server has {self.at_work} requests at work and {self.waiting} waiting: ask again later"
        return Refused(429, told, retry_after=max(1, round(self.seconds / 2)))
