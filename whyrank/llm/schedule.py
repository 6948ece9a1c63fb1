"""The scheduler: runs the plans of all queries at once and keeps the engine full.

A plan is the algorithm for one query, a generator that yields a batch of independent prompts, is sent their completions
in the same order, and returns its result. It does no I/O and knows no engine. There is no lock step: a plan moves on as
soon as its own batch is answered, and of the plans that can move on the one with the fewest batches behind it goes
first, so that no long chain is left for the end. Under a limit on cost or tokens the first query goes first, so that
some are finished when it is reached.
"""

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from typing import Any, Generic, Protocol

from whyrank.errors import BadInput, BudgetSpent, EngineError
from whyrank.llm.answer import FATAL, Completion, Failed, Ok
from whyrank.llm.budget import capped, clip, completed, cuts, fit, shrink
from whyrank.llm.digest import digested
from whyrank.llm.engine import LLM, Tokenizer
from whyrank.llm.ledger import Call
from whyrank.llm.loop import run
from whyrank.llm.messages import Prompt
from whyrank.llm.trace import Trace
from whyrank.llm.walks import Asking, Open, T, Walk, cut_in_thought, named, rehearsed
from whyrank.llm.walks import Plan as Plan
from whyrank.progress import Advance, progress, shown
from whyrank.types import Usage

TRIES: Mapping[str, int] = {"rate_limit": 10, "server": 6, "connection": 6, "timeout": 3, "bad_answer": 3}
"""How often a call is tried in all, by what its last try met; other failures are final at once."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds: the bound on the wait before the second try, doubled with each further one, and its cap."""

CLIPPED = 20_000
"""So many passages are kept with what they were cut to, since the same one stands in many prompts."""

SLOWER = 0.8
"""By what the number of requests under way is multiplied when the engine says that they come too fast."""


class Driver(Protocol):
    """Who runs plans in the place of a scheduler of their own: `whyrank.llm.hub`."""

    def drive(self, plans: Mapping[str, Plan[T]], llm: LLM) -> dict[str, T]:
        """Run the plans to their ends; see `drive`."""


_driver: ContextVar[Driver | None] = ContextVar("_driver", default=None)


@contextmanager
def driven_by(driver: Driver) -> Iterator[None]:
    """Let `driver` run all that `drive` is asked for in this context, with its own trace."""
    token = _driver.set(driver)
    try:
        yield
    finally:
        _driver.reset(token)


def drive(
    plans: Mapping[str, Plan[T]],
    llm: LLM,
    trace: Trace | None = None,
    seconds: float | None = None,
    like: Sequence[Plan[Any]] = (),
) -> dict[str, T]:
    """Run the plans of all queries to their ends, and return their results in the order of `plans`.

    At most `llm.concurrency` requests to the engine are under way, each with up to `llm.batch` prompts from any plans.
    A prompt is fitted to the model's window, looked up in the trace, and asked only if it is neither there nor under
    way. Failures that may pass (`TRIES`) are tried again after an exponential wait with full jitter, not shorter than
    the server asked for; a prompt that the engine calls too long is tried once more with half the text of its
    documents; every other failure reaches the plan as `Failed`. Where the engine says that requests come too fast, all
    wait, not only the one that heard it, and fewer are under way afterwards; each round of answers allows for one more
    (additive increase, multiplicative decrease: Chiu and Jain, 1989).

    Args:
        plans: by query id.
        llm: the engine.
        trace: what to resume from and where to record each call; without one, calls are remembered for this run only.
        seconds: how long a plan may ask, from the moment its first call is sent; None is what the trace says. What has
            no answer then, whether the server hangs, refuses, or is busy, is `Failed("timeout")`, and so is all that
            the plan still wants to ask: it ends with what it has. Nobody else waits for such calls: they are broken off
            (engines in this process finish their batch). An engine that is not reached is then no error.
        like: further plans of the same kind, not begun: from them progress guesses how many answers there will be.

    Raises:
        EngineError: the engine cannot be used at all: it refuses the key, knows no such model, or, where time is not
            bounded, no call reached it.
        BudgetSpent: the trace's limit on cost or tokens was reached and there is more to ask.
        BadInput: the model's window is smaller than the answer's `max_tokens`, or the price table lacks the model.
        WhyrankError: a plan failed: which query, and how; an error of ours stays of its kind.

    Whatever stops a run early, calls that are under way finish first and are recorded.

    In a process that serves, the plans join those of other requests: `driven_by`.
    """
    if (driver := _driver.get()) is not None:
        return driver.drive(plans, llm)
    trace = Trace() if trace is None else trace
    if trace.ledger.prices is not None:
        trace.ledger.prices.cost(llm.model, Usage())
    guess = round(sum(map(rehearsed, like)) / len(like) * len(plans)) if like and shown() else None
    with progress(f"asking {llm.model}", guess) as advance:
        with trace.within(seconds):
            return run(Scheduler(plans, llm, trace, advance).run())


def wait_before(retry: int, retry_after: float | None = None) -> float:
    """Seconds before the `retry`-th retry (from 1): exponential, with cap and full jitter (Brooker, AWS blog, 2015)."""
    drawn = random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (retry - 1)))
    return drawn if retry_after is None else min(LONGEST_WAIT, max(retry_after, 0.0) + drawn)


def _clipping(llm: LLM) -> Callable[[str, int], str]:
    """Cuts a text to so many tokens of a model; it does not know the scheduler, and so holds no trace in a circle."""
    tokenizer = cache(llm.tokenizer)
    return lru_cache(CLIPPED)(lambda text, most: clip(text, tokenizer(), most))


class Scheduler(Generic[T]):
    """The state of one `drive`."""

    def __init__(self, plans: Mapping[str, Plan[T]], llm: LLM, trace: Trace, advance: Advance) -> None:
        self.llm, self.trace, self.advance = llm, trace, advance
        self.order = list(plans)
        deep = trace.limited
        self.ready = [
            Walk(query, place, plan, deep=deep) for place, (query, plan) in enumerate(plans.items())
        ]  # a heap
        self.results: dict[str, T] = {}
        self.queue: deque[Open[T]] = deque()
        self.open: dict[str, Open[T]] = {}
        self.requests: dict[asyncio.Task[None], list[Open[T]]] = {}
        self.changed, self.stopped = asyncio.Event(), asyncio.Event()
        self.allowed = float(llm.concurrency)
        self.gate: asyncio.TimerHandle | None = None
        self.error: BaseException | None = None
        self.reached = False
        self.unreached: list[str] = []
        self._clip = _clipping(llm)

    async def run(self) -> dict[str, T]:
        """Start what may start, wait until something ends, and so on."""
        try:
            while True:
                await self._start_requests()
                if not self.requests and (self.error is not None or not self.queue):
                    break
                await self.changed.wait()
                self.changed.clear()
        finally:
            for request in self.requests:
                request.cancel()
            await asyncio.gather(*self.requests, return_exceptions=True)
            await self.llm.aclose()
        if self.error is None and self.unreached and not self.reached:
            self._give_up(f"no call reached it: {self.unreached[-1]}")
        if self.error is not None:
            raise self.error
        return {query: self.results[query] for query in self.order}

    async def _start_requests(self) -> None:
        while len(self.requests) < int(self.allowed) and await self._fill_queue() and self.gate is None:
            if (limit := self.trace.spent()) is not None:
                done = f"{len(self.results)} of {len(self.order)} queries are finished and all calls are kept"
                self._stop(BudgetSpent(f"{limit}; {done}: raise the limit and run the same command to go on"))
                return
            calls = [self.queue.popleft() for _ in range(min(self.llm.batch, len(self.queue)))]
            request = asyncio.create_task(self._request(calls))
            self.requests[request] = calls
            for call in calls:
                for asking in call.receivers:
                    self._begin(asking.walk)
            request.add_done_callback(self._ended)

    async def _fill_queue(self) -> bool:
        """Let plans move on until there are prompts for one request; False if there is nothing to ask now."""
        while self.error is None and self.ready and len(self.queue) < self.llm.batch:
            self._move_on(heapq.heappop(self.ready))
            await asyncio.sleep(0)  # a long replay must not keep the answers that arrive waiting
        return self.error is None and bool(self.queue)

    def _move_on(self, walk: Walk[T]) -> None:
        try:
            prompts = list(walk.plan.send(walk.answers if walk.step else None))  # type: ignore[arg-type]
            if wrong := next((prompt for prompt in prompts if not isinstance(prompt, Prompt)), None):
                raise TypeError(f"a plan yields sequences of Prompt, but this one has {wrong!r}")
        except StopIteration as end:
            self._finish(walk, end.value)
            return
        except Exception as error:
            self._spoil(walk, named(walk, error, self.trace))
            return
        walk.step, walk.missing, walk.answers = walk.step + 1, len(prompts), [None] * len(prompts)
        for at, prompt in enumerate(prompts):
            exchange = self.llm.exchange(prompt)
            self._ask(Asking(walk, at, exchange, next(exchange)))
        if not prompts:
            heapq.heappush(self.ready, walk)

    def _finish(self, walk: Walk[T], result: T) -> None:
        """A plan came to its end."""
        self.results[walk.query] = result
        self._tell(0)

    def _spoil(self, walk: Walk[T], error: BaseException) -> None:
        """A plan failed."""
        self._stop(error)

    def _ask(self, asking: Asking[T]) -> None:
        walk, prompt = asking.walk, asking.call
        try:
            asking.call = prompt = capped(
                completed(prompt, self._tokenizer, self._window, self.llm.chat_tokens), self._clip
            )
            fitted = self._fit(prompt)
        except BadInput as error:
            failed = Failed("context", str(error))
            key = prompt.key(self.llm.identity)
            self.trace.add(Call(key, self.llm.model, walk.query, walk.step, failed), prompt)
            self._deliver(asking, failed, key)
            return
        asking.call = fitted
        key = fitted.key(self.llm.identity)
        if (known := self.trace.get(key)) is not None:
            self.trace.ledger.replay(walk.query)
            self._deliver(asking, known, key)
        elif self.trace.replays:
            self._deliver(asking, Failed("budget", "not asked"), key)
        elif self._late(walk):
            self._record(Open(key, fitted, walk.query, walk.step, (), [asking]), self._no_time())
            self._deliver(asking, self._no_time(), key)
        elif (same := self.open.get(key)) is not None:
            self.trace.ledger.replay(walk.query)
            same.receivers.append(asking)
            if any(same in calls for calls in self.requests.values()):
                self._begin(walk)
        else:
            cut = tuple(kind for kind, number in cuts(prompt, fitted).items() if number) if fitted is not prompt else ()
            self.open[key] = Open(key, fitted, walk.query, walk.step, cut, [asking])
            self.queue.append(self.open[key])

    def _deliver(self, asking: Asking[T], completion: Completion, key: str) -> None:
        """Go on with the exchange; where it ends, the plan has one more of its answers."""
        try:
            asking.call = asking.exchange.send((asking.call, replace(completion, key=key)))
        except StopIteration as end:
            walk = asking.walk
            walk.answers[asking.at] = end.value
            walk.missing -= 1
            self._tell(1)
        else:
            self._ask(asking)
            return
        if not walk.missing:
            heapq.heappush(self.ready, walk)

    def _begin(self, walk: Walk[T]) -> None:
        """Let the time of a plan run, where it is bounded."""
        loop = asyncio.get_running_loop()
        if walk.timer is None and (end := self.trace.end_of(walk.query, loop.time())) is not None:
            walk.timer = loop.call_at(end, self._expire, walk)

    def _late(self, walk: Walk[T]) -> bool:
        now = asyncio.get_running_loop().time()
        end = self.trace.end_of(walk.query, now, begin=False)
        return end is not None and now >= end

    def _expire(self, walk: Walk[T]) -> None:
        """The time of a plan is over: what it waits for has failed; what nobody else waits for is broken off."""
        for call in list(self.open.values()):
            if mine := [asking for asking in call.receivers if asking.walk is walk]:
                call.receivers = [asking for asking in call.receivers if asking.walk is not walk]
                if not call.receivers:
                    self._drop(call)
                for asking in mine:
                    self._deliver(asking, self._no_time(), call.key)
        self.changed.set()

    def _drop(self, call: Open[T]) -> None:
        call.dropped = True
        del self.open[call.key]
        if call in self.queue:
            self.queue.remove(call)
        self._record(call, self._no_time())
        for request, calls in self.requests.items():
            if call in calls and all(mate.dropped for mate in calls):
                request.cancel()

    def _no_time(self) -> Failed:
        return Failed("timeout", f"no answer within the {self.trace.seconds:g} s that a query has")

    async def _request(self, calls: list[Open[T]]) -> None:
        """Ask the engine until each of `calls` has an answer or has failed for good."""
        request = asyncio.current_task()
        assert request is not None
        while calls:
            self.requests[request] = calls
            began = time.perf_counter()
            came = await self.llm.agenerate([call.prompt for call in calls])
            completions = [digested(call.prompt, one) for call, one in zip(calls, came, strict=True)]
            seconds = time.perf_counter() - began
            again = [
                (call, completion, wait)
                for call, completion in zip(calls, completions, strict=True)
                if (wait := self._came(call, completion, seconds)) is not None
            ]
            self.changed.set()
            if again and await self._stopped_within(max(wait for *_, wait in again)):
                for call, completion, _ in again:
                    if not call.dropped:
                        self._settle(call, completion)
                return
            calls = [call for call, *_ in again if not call.dropped]

    def _came(self, call: Open[T], completion: Completion, seconds: float) -> float | None:
        """Take what came; seconds until the same request tries the call again, None where it is done with it."""
        call.tries, call.seconds = call.tries + 1, call.seconds + seconds
        if call.dropped:
            if isinstance(completion, Ok):  # in a batch with others: it came, and was paid for
                self._record(call, completion)
            return None
        if isinstance(completion, Ok):
            self.allowed = min(self.allowed + 1 / self.allowed, self.llm.concurrency)
        if (wait := self._wait(call, completion)) is None:
            self._settle(call, completion)
        elif isinstance(completion, Failed) and completion.kind == "rate_limit":
            self._slow_down(call, wait)
        else:
            return wait
        return None

    def _wait(self, call: Open[T], completion: Completion) -> float | None:
        """Seconds until the next try of `call`; None if this completion is final."""
        self.reached |= not (isinstance(completion, Failed) and completion.kind == "connection")
        if not isinstance(completion, Failed) or self.error is not None or self.trace.spent() is not None:
            return None
        if completion.kind == "context" and not call.shrunk and (shorter := shrink(call.prompt, self._tokenizer)):
            call.prompt, call.shrunk, call.cut = shorter, True, tuple({*call.cut, "document"})
            return 0.0
        if call.tries >= TRIES.get(completion.kind, 0):
            return None
        told = completion.kind == "rate_limit" and completion.retry_after is not None
        return wait_before(1 if told else call.tries, completion.retry_after)

    def _slow_down(self, call: Open[T], wait: float) -> None:
        """Put a call that came too fast back in front; for `wait` seconds nothing is sent, then less at a time."""
        self.queue.appendleft(call)
        loop = asyncio.get_running_loop()
        opens = loop.time() + wait
        if self.gate is None:
            self.allowed = max(self.allowed * SLOWER, 1.0)
        elif opens <= self.gate.when():
            return
        else:
            self.gate.cancel()
        self.gate = loop.call_at(opens, self._open_gate)

    def _open_gate(self) -> None:
        self.gate = None
        self.changed.set()

    async def _stopped_within(self, seconds: float) -> bool:
        """Wait; at once True when the run is stopping."""
        try:
            return await asyncio.wait_for(self.stopped.wait(), seconds)
        except TimeoutError:
            return False

    def _record(self, call: Open[T], completion: Completion) -> None:
        cut = (*call.cut, "thought") if cut_in_thought(call.prompt, completion) else call.cut
        recorded = Call(
            call.key, self.llm.model, call.query, call.step, completion, max(call.tries - 1, 0), call.seconds, cut
        )
        self.trace.add(recorded, call.prompt)

    def _tell(self, answers: int) -> None:
        if shown():
            self.advance(answers, f"{len(self.results):,}/{len(self.order):,} queries, {self.trace.ledger.total}")

    def _settle(self, call: Open[T], completion: Completion) -> None:
        self._record(call, completion)
        del self.open[call.key]
        for asking in call.receivers:
            self._deliver(asking, completion, call.key)
        if isinstance(completion, Failed):
            if completion.kind in FATAL:
                self._give_up(completion.detail)
            if not self.reached and self.trace.seconds is None:
                self.unreached.append(completion.detail)
            if len(self.unreached) >= max(self.llm.concurrency, 4) and not self.reached:
                self._give_up(f"none of {len(self.unreached)} calls reached it: {completion.detail}")

    def _ended(self, request: "asyncio.Task[None]") -> None:
        self.requests.pop(request, None)
        if not request.cancelled() and (error := request.exception()) is not None:
            self._stop(error)
        self.changed.set()

    def _give_up(self, why: str) -> None:
        self._stop(EngineError(f"{self.llm!r} cannot be used: {why}"))

    def _stop(self, error: BaseException) -> None:
        """Ask nothing more; the first error is the one that is raised."""
        self.error = self.error or error
        self.stopped.set()

    def _fit(self, prompt: Prompt) -> Prompt:
        if (context := self._window) is None:
            return prompt
        answer = prompt.sampling.max_tokens + prompt.reserve
        if context <= answer:
            told = f"a window of {context} tokens leaves no room for a prompt beside max_tokens={answer}"
            return self._no_room(prompt, BadInput(told))
        return fit(prompt, self._tokenizer, context - answer, self.llm.chat_tokens)

    def _no_room(self, prompt: Prompt, error: BadInput) -> Prompt:
        """No prompt that asks for so long an answer can be sent, and all of a run ask for the same."""
        self._stop(error)
        return prompt

    @cached_property
    def _window(self) -> int | None:
        return self.llm.context_length

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        return self.llm.tokenizer()
