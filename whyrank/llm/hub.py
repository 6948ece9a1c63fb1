"""The scheduler that stays: one for the whole process, for those who serve many requests at once.

Plans of all requests meet here, so that an engine's `concurrency` bounds the process and not each request, equal
prompts of different requests are asked once, and all is recorded in one trace. Whoever handles a request, in a thread
of its own, works as `Caller`: then every `drive` in there, however deep, hands its plans over and waits for results.

A request ends when its time is over or its client has gone. What its plans still wait for, and all that they ask from
then on, is `Failed("timeout")`, so that they end by their own rules; calls that wait for nobody else are taken out of
the queue, and those under way are finished for the trace, where the same request finds them when it comes again.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from whyrank.errors import BadInput, EngineError
from whyrank.llm.answer import FATAL, Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.schedule import Plan, Scheduler, driven_by
from whyrank.llm.trace import Trace
from whyrank.llm.walks import Asking, Open, T, Walk

OUT_OF_REACH = FATAL | {"connection"}
"""Failures after which an engine is taken for unusable until a call brings an answer again."""

PROBE_EVERY = 5.0
"""Seconds between two questions to an engine that cannot be used whether it can be by now."""


@dataclass(eq=False)
class Job:
    """The plans of one `drive`.

    Attributes:
        caller: who waits for them.
        results: of the plans that have ended, by query id.
        done: the results of all, or the error of one.
        walks: the plans on their way.
        timer: rings when the caller's time is over.
    """

    caller: "Caller"
    order: list[str]
    results: dict[str, Any] = field(default_factory=dict)
    done: "Future[dict[str, Any]]" = field(default_factory=Future)
    walks: set[Walk[Any]] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class _Walk(Walk[Any]):
    """A plan of a job; of those that can move on the most urgent goes first, then the one with the fewest batches."""

    job: Job | None = None
    priority: int = 0

    def __lt__(self, other: Walk[Any]) -> bool:
        assert isinstance(other, _Walk)
        return (self.priority, self.step, self.place) < (other.priority, other.step, other.place)


class Hub:
    """Runs the plans of all callers on a thread of its own, with one scheduler for each engine."""

    def __init__(self, trace: Trace | None = None) -> None:
        """Start the thread; `trace` records all calls, by default in memory, the last 10,000 of them."""
        self.trace = Trace(keep=10_000) if trace is None else trace
        self._engines: dict[str, _Standing] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="whyrank-hub", daemon=True)
        self._thread.start()
        self._closed = False

    def add(self, llm: LLM) -> None:
        """Make an engine ready: what it loads at first use, such as a tokenizer, is loaded now."""
        _ = llm.context_length, llm.tokenizer()
        self._in_loop(self._standing, llm)

    def submit(self, caller: "Caller", plans: Mapping[str, Plan[T]], llm: LLM) -> "Future[dict[str, T]]":
        """Have plans run to their ends; the future holds their results in the order of `plans`."""
        job = Job(caller, list(plans))
        if self._closed:
            job.done.set_exception(EngineError("the server is shutting down, and asks nothing more"))
        else:
            self._loop.call_soon_threadsafe(self._take, job, plans, llm)
        return job.done

    def leave(self, caller: "Caller") -> None:
        """The caller's time is over."""
        if not self._closed:
            self._loop.call_soon_threadsafe(self._leave, caller)

    def trouble(self) -> dict[str, str]:
        """By engine why it cannot be used, as of its last call; each is asked again, at most every five seconds."""
        troubled = [standing for standing in list(self._engines.values()) if standing.trouble]
        for standing in troubled:
            self._loop.call_soon_threadsafe(standing.probe)
        return {standing.llm.model: standing.trouble for standing in troubled}

    @property
    def under_way(self) -> int:
        """How many requests to engines are under way."""
        return sum(len(standing.requests) for standing in list(self._engines.values()))

    def counts(self) -> dict[tuple[str, str], int]:
        """How many calls ended so far, by model and by "ok" or the kind of failure."""
        counted = Counter[tuple[str, str]]()
        for standing in list(self._engines.values()):
            for status, number in list(standing.counts.items()):
                counted[standing.llm.model, status] += number
        return counted

    def close(self) -> None:
        """Take nothing more; calls under way are finished and recorded, then engines and thread are let go."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "Hub":
        """The hub."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    async def _end(self) -> None:
        for standing in self._engines.values():
            await standing.end()

    def _take(self, job: Job, plans: Mapping[str, Plan[Any]], llm: LLM) -> None:
        self._standing(llm).take(job, plans)

    def _leave(self, caller: "Caller") -> None:
        for standing in self._engines.values():
            standing.leave(caller)

    def _standing(self, llm: LLM) -> "_Standing":
        spec = repr(llm)
        if spec not in self._engines:
            self._engines[spec] = _Standing(llm, self.trace)
        return self._engines[spec]

    def _in_loop(self, work: Any, *given: Any) -> None:  # noqa: ANN401 (any function)
        async def done() -> None:
            work(*given)

        asyncio.run_coroutine_threadsafe(done(), self._loop).result()


class Caller:
    """Who handles one request: how long it may take, how urgent it is, and whether its time is over."""

    def __init__(self, hub: Hub, seconds: float | None = None, priority: int = 0) -> None:
        """Let its time begin now.

        Args:
            hub: where its plans run.
            seconds: how long it may ask.
            priority: the lowest goes first.
        """
        self.hub, self.priority = hub, priority
        self.until = None if seconds is None else time.monotonic() + seconds
        self.over = False
        self.answered = 0

    def drive(self, plans: Mapping[str, Plan[T]], llm: LLM) -> dict[str, T]:
        """Run plans on the hub, and wait for them; see `whyrank.llm.schedule.drive`."""
        return self.hub.submit(self, plans, llm).result()

    def leave(self) -> None:
        """End its time, from any thread: the client has gone."""
        self.over = True
        self.hub.leave(self)

    @contextmanager
    def working(self) -> Iterator[None]:
        """All that is driven in this context runs on the hub."""
        with driven_by(self):
            yield


class _Standing(Scheduler[Any]):
    """The scheduler of one engine: it takes jobs as they come, and an error ends those whom it concerns, not itself."""

    def __init__(self, llm: LLM, trace: Trace) -> None:
        super().__init__({}, llm, trace, lambda steps=1, note="": None)
        if trace.ledger.prices is not None:
            trace.ledger.prices.cost(llm.model, Ok("").usage)
        self.jobs: set[Job] = set()
        self.counts = Counter[str]()
        self.trouble = ""
        self._places, self._ending, self._probed = count(), False, 0.0
        self._task = asyncio.get_running_loop().create_task(self._stay())

    def take(self, job: Job, plans: Mapping[str, Plan[Any]]) -> None:
        """Begin the plans of a job."""
        self.jobs.add(job)
        for query, plan in plans.items():
            walk: Walk[Any] = _Walk(query, next(self._places), plan, job=job, priority=job.caller.priority)
            job.walks.add(walk)
            self.ready.append(walk)
        self.ready.sort()
        if job.caller.until is not None:
            left = max(job.caller.until - time.monotonic(), 0.0)
            job.timer = asyncio.get_running_loop().call_later(left, self.leave, job.caller)
        if not plans:
            self._complete(job)
        elif job.caller.over:
            self.leave(job.caller)
        self.changed.set()

    def leave(self, caller: Caller) -> None:
        """What the plans of a caller wait for has failed."""
        caller.over = True
        for job in [job for job in self.jobs if job.caller is caller]:
            for walk in list(job.walks):
                self._expire(walk)
        while over := [walk for walk in self.ready if _job(walk).caller is caller]:
            self.ready = [walk for walk in self.ready if _job(walk).caller is not caller]
            for walk in over:
                self._move_on(walk)
        self.ready.sort()

    def probe(self) -> None:
        """Ask the engine for one token, if it was not asked just now, to learn whether it can be used again."""
        if time.monotonic() - self._probed > PROBE_EVERY:
            self._probed = time.monotonic()
            asyncio.get_running_loop().create_task(self._probe())

    async def end(self) -> None:
        """Finish what is under way, and let the engine go."""
        self._ending = True
        for job in list(self.jobs):
            self._fail(job, EngineError("the server is shutting down"))
        self.changed.set()
        await self._task
        await self.llm.aclose()

    async def _stay(self) -> None:
        while not (self._ending and not self.requests):
            try:
                await self._start_requests()
            except Exception as error:
                self._stop(error)
            await self.changed.wait()
            self.changed.clear()

    async def _probe(self) -> None:
        question = Prompt((Message("user", (Piece("Say yes."),)),), Sampling(max_tokens=1))
        (completion,) = await self.llm.agenerate([question])
        self._heard(completion)

    def _heard(self, completion: Completion) -> None:
        if isinstance(completion, Ok):
            self.trouble = ""
        elif completion.kind in OUT_OF_REACH:
            self.trouble = completion.detail

    def _finish(self, walk: Walk[Any], result: object) -> None:
        job = _job(walk)
        job.results[walk.query] = result
        job.walks.discard(walk)
        if not job.walks:
            self._complete(job)

    def _complete(self, job: Job) -> None:
        self._done_with(job)
        if not job.done.done():
            job.done.set_result({query: job.results[query] for query in job.order})

    def _done_with(self, job: Job) -> None:
        self.jobs.discard(job)
        if job.timer is not None:
            job.timer.cancel()

    def _spoil(self, walk: Walk[Any], error: BaseException) -> None:
        self._fail(_job(walk), error)

    def _fail(self, job: Job, error: BaseException) -> None:
        """End a job with an error, and let go of what it waited for."""
        self._done_with(job)
        self.ready = [walk for walk in self.ready if _job(walk) is not job]
        for call in list(self.open.values()):
            call.receivers = [asking for asking in call.receivers if _job(asking.walk) is not job]
            if not call.receivers:
                self._drop(call)
        if not job.done.done():
            job.done.set_exception(error)

    def _stop(self, error: BaseException) -> None:
        """An error of the engine or of a limit: it ends all jobs that there are, and not those to come."""
        self.unreached.clear()
        for job in list(self.jobs):
            self._fail(job, error)

    def _begin(self, walk: Walk[Any]) -> None:
        """Its time runs already."""

    def _late(self, walk: Walk[Any]) -> bool:
        return _job(walk).caller.over

    def _no_time(self) -> Failed:
        return Failed("timeout", "the time of the request was over, or its client had gone")

    def _drop(self, call: Open[Any]) -> None:
        """Take a call out for which nobody waits; one that is asked for the first time is finished for the trace."""
        if call in self.queue or call.tries:
            super()._drop(call)

    def _wait(self, call: Open[Any], completion: Completion) -> float | None:
        wait = super()._wait(call, completion)
        return wait if call.receivers else None

    def _record(self, call: Open[Any], completion: Completion) -> None:
        """Record what was asked; what was never sent is no call."""
        if not call.tries:
            return
        self._heard(completion)
        self.counts["ok" if isinstance(completion, Ok) else completion.kind] += 1
        super()._record(call, completion)

    def _deliver(self, asking: Asking[Any], completion: Completion, key: str) -> None:
        _job(asking.walk).caller.answered += 1
        super()._deliver(asking, completion, key)

    def _ended(self, request: "asyncio.Task[None]") -> None:
        calls = self.requests.get(request, [])
        super()._ended(request)
        if request.cancelled() or request.exception() is not None:
            for call in calls:
                if self.open.get(call.key) is call and call not in self.queue:
                    del self.open[call.key]

    def _no_room(self, prompt: Prompt, error: BadInput) -> Prompt:
        """One request asks for too long an answer; others go on."""
        raise error


def _job(walk: Walk[Any]) -> Job:
    assert isinstance(walk, _Walk)
    assert walk.job is not None
    return walk.job
