"""Run a coroutine to its end from anywhere, also from inside a running event loop."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Where a loop is running in this thread (Jupyter, a web server), another thread runs it.

    An interrupt cancels the work in either case.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="whyrank") as pool:
        started = asyncio.new_event_loop()
        task = started.create_task(work)
        future = pool.submit(_finish, started, task)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                started.call_soon_threadsafe(task.cancel)
            raise


def _finish(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[T]") -> T:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_wait(task))


async def _wait(task: "asyncio.Task[T]") -> T:
    return await task
