"""The scheduler that stays: what many requests share, and what ends one of them and no other."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from plans import ask, chain

from whyrank import Fake, Listwise, Pointwise
from whyrank.errors import BadInput, BudgetSpent, EngineError, WhyrankError
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.hub import Caller, Hub
from whyrank.llm.messages import Prompt
from whyrank.llm.schedule import Plan
from whyrank.llm.trace import Trace
from whyrank.rerank.around.compose import Cascade


def fan(name: str, width: int) -> Plan[list[str]]:
    completions = yield [ask(f"{name} {at}") for at in range(width)]
    return [one.text if isinstance(one, Ok) else one.kind for one in completions]


@dataclass(frozen=True)
class Gated(LLM):
    """Answers once its gate is open; counts what it sees, and fails as its table says."""

    model: str = "gated"
    concurrency: int = 4
    gate: threading.Event = field(default_factory=threading.Event, repr=False)
    fails: dict[str, list[Failed]] = field(default_factory=dict, repr=False)
    asked: list[str] = field(default_factory=list, repr=False)
    under_way: list[int] = field(default_factory=lambda: [0, 0], repr=False)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        import asyncio

        self.asked.extend(prompt.messages[-1].content for prompt in prompts)
        self.under_way[0] += 1
        self.under_way[1] = max(self.under_way)
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        self.under_way[0] -= 1
        texts = [prompt.messages[-1].content for prompt in prompts]
        return [self.fails[text].pop(0) if self.fails.get(text) else Ok(f"<{text}>") for text in texts]


def until(holds: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came to this"
        time.sleep(0.002)


def open_gate(**given: object) -> Gated:
    llm = Gated(**given)  # type: ignore[arg-type]
    llm.gate.set()
    return llm


def test_a_hundred_requests_at_once_keep_to_the_bound_of_the_engine() -> None:
    llm = open_gate(concurrency=8)
    with Hub() as hub, ThreadPoolExecutor(100) as pool:
        jobs = [pool.submit(Caller(hub).drive, {"q": fan(f"r{n}", 3)}, llm) for n in range(100)]
        found = [job.result(60)["q"] for job in jobs]
    assert found == [[f"<r{n} {at}>" for at in range(3)] for n in range(100)]
    assert llm.under_way[1] <= 8
    assert len(llm.asked) == 300


def test_equal_prompts_of_different_requests_are_asked_once() -> None:
    llm = Gated()
    with Hub() as hub:
        jobs = [hub.submit(Caller(hub), {"q": chain("same", 3)}, llm) for _ in range(8)]
        llm.gate.set()
        assert {tuple(job.result(30)["q"]) for job in jobs} == {("<same 0>", "<same 1>", "<same 2>")}
    assert sorted(llm.asked) == ["same 0", "same 1", "same 2"]


def test_results_are_those_of_a_scheduler_of_its_own() -> None:
    reranker = Cascade(Pointwise(Fake("40")), Listwise(Fake("<answer>[3] > [1] > [2]</answer>")))
    docs = ["Bees make honey.", "Ants dig.", "A dance shows where."]
    alone = reranker.rank("why do bees dance?", docs)
    with Hub() as hub, Caller(hub).working():
        served = reranker.rank("why do bees dance?", docs, hub.trace)
    assert [item.index for item in served] == [item.index for item in alone] == [2, 0, 1]
    assert served.statuses == alone.statuses


def test_a_deadline_ends_the_plan_with_what_it_has_and_keeps_what_is_under_way() -> None:
    llm = Gated(concurrency=2)
    with Hub() as hub:
        late = hub.submit(Caller(hub, seconds=0.2), {"q": fan("late", 5)}, llm)
        assert late.result(30)["q"] == ["timeout"] * 5
        assert llm.asked == ["late 0", "late 1"], "what was queued was never sent"
        llm.gate.set()
        until(lambda: hub.trace.ledger.total.calls == 2)
        again = hub.submit(Caller(hub), {"q": fan("late", 5)}, llm).result(30)["q"]
        assert again == [f"<late {at}>" for at in range(5)]
        assert len(llm.asked) == 5, "the same request again asks what was not done"


def test_a_plan_asks_nothing_more_once_its_client_has_gone() -> None:
    llm = Gated(concurrency=1)
    with Hub() as hub:
        caller = Caller(hub)
        job = hub.submit(caller, {"q": chain("gone", 9)}, llm)
        until(lambda: llm.asked)
        caller.leave()
        assert job.result(30)["q"] == ["timeout"] * 9
        llm.gate.set()
        assert hub.submit(Caller(hub), {"q": chain("next", 1)}, llm).result(30)["q"] == ["<next 0>"]
    assert llm.asked == ["gone 0", "next 0"]


def test_what_another_request_waits_for_too_is_not_dropped() -> None:
    llm = Gated(concurrency=1)
    with Hub() as hub:
        caller = Caller(hub)
        first = hub.submit(caller, {"q": fan("shared", 3)}, llm)
        second = hub.submit(Caller(hub), {"q": fan("shared", 3)}, llm)
        until(lambda: llm.asked)
        caller.leave()
        assert first.result(30)["q"] == ["timeout"] * 3
        llm.gate.set()
        assert second.result(30)["q"] == ["<shared 0>", "<shared 1>", "<shared 2>"]


def test_the_most_urgent_goes_first() -> None:
    llm = Gated(concurrency=1)
    with Hub() as hub:
        first = hub.submit(Caller(hub), {"q": chain("first", 1)}, llm)
        until(lambda: llm.asked)
        idle = hub.submit(Caller(hub, priority=5), {"q": chain("idle", 1)}, llm)
        plain = hub.submit(Caller(hub, priority=1), {"q": chain("plain", 1)}, llm)
        urgent = hub.submit(Caller(hub, priority=0), {"q": chain("urgent", 1)}, llm)
        llm.gate.set()
        for job in (first, idle, plain, urgent):
            job.result(30)
    assert llm.asked == ["first 0", "urgent 0", "plain 0", "idle 0"]


def test_a_plan_that_fails_ends_its_own_request() -> None:
    def broken() -> Plan[None]:
        yield [ask("broken")]
        raise ValueError("a fault")

    llm = open_gate()
    with Hub() as hub:
        bad = hub.submit(Caller(hub), {"q": broken(), "p": chain("p", 50)}, llm)
        good = hub.submit(Caller(hub), {"q": chain("good", 5)}, llm)
        with pytest.raises(WhyrankError, match="query 'q': its plan failed: ValueError: a fault"):
            bad.result(30)
        assert len(good.result(30)["q"]) == 5


def test_a_wrong_key_ends_what_waits_and_the_hub_lives_on() -> None:
    llm = open_gate(fails={"one 0": [Failed("auth", "no such key")]})
    with Hub() as hub:
        with pytest.raises(EngineError, match="cannot be used: no such key"):
            hub.submit(Caller(hub), {"q": chain("one", 2)}, llm).result(30)
        assert hub.trouble() == {"gated": "no such key"}
        assert hub.submit(Caller(hub), {"q": chain("two", 1)}, llm).result(30)["q"] == ["<two 0>"]
        assert hub.trouble() == {}


def test_an_engine_in_trouble_is_probed_until_it_answers() -> None:
    llm = open_gate(fails={"one 0": [Failed("not_found", "no such model")]})
    with Hub() as hub:
        with pytest.raises(EngineError):
            hub.submit(Caller(hub), {"q": chain("one", 1)}, llm).result(30)
        hub.trouble()
        until(lambda: not hub.trouble())
        assert llm.asked == ["one 0", "Say yes."]


def test_an_engine_that_raises_ends_what_waits_and_the_hub_lives_on() -> None:
    @dataclass(frozen=True)
    class Raising(Gated):
        async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
            if prompts[0].messages[-1].content == "one 0":
                raise RuntimeError("the engine died")
            return await super()._generate(prompts)

    llm = Raising()
    llm.gate.set()
    with Hub() as hub:
        with pytest.raises(RuntimeError, match="the engine died"):
            hub.submit(Caller(hub), {"q": chain("one", 2)}, llm).result(30)
        assert hub.submit(Caller(hub), {"q": chain("two", 2)}, llm).result(30)["q"] == ["<two 0>", "<two 1>"]


def test_a_window_that_is_too_small_fails_the_calls_of_one_request() -> None:
    small = Fake("[1]", context=1000)
    with Hub() as hub:
        assert hub.submit(Caller(hub), {"q": chain("q", 1)}, small).result(30)["q"] == ["context"]


def test_the_limit_on_tokens_holds_for_the_process() -> None:
    llm = Fake("four" * 10)
    with Hub(Trace(max_tokens=30)) as hub:
        with pytest.raises(BudgetSpent, match="max_tokens"):
            hub.submit(Caller(hub), {"q": chain("q", 20)}, llm).result(30)
        calls = hub.trace.ledger.total.calls
        with pytest.raises(BudgetSpent):
            hub.submit(Caller(hub), {"q": chain("other", 1)}, llm).result(30)
        assert hub.trace.ledger.total.calls == calls < 20


def test_a_hub_that_is_closed_takes_nothing_and_has_finished_what_was_under_way() -> None:
    llm = Gated()
    hub = Hub()
    job = hub.submit(Caller(hub), {"q": chain("q", 3)}, llm)
    until(lambda: llm.asked)
    threading.Timer(0.1, llm.gate.set).start()
    hub.close()
    with pytest.raises(EngineError, match="shutting down"):
        job.result(30)
    assert hub.trace.ledger.total.calls == 1
    with pytest.raises(EngineError, match="shutting down"):
        Caller(hub).drive({"q": chain("q", 1)}, llm)


def test_a_trace_that_keeps_some_calls_counts_all(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.jsonl", keep=3) as trace, Hub(trace) as hub:
        hub.submit(Caller(hub), {"q": fan("q", 10)}, open_gate()).result(30)
        hub.submit(Caller(hub), {"q": fan("q", 10)}, llm := open_gate()).result(30)
        assert len(llm.asked) == 0, "one engine serves equal parts"
        assert trace.ledger.total.calls >= 17
        assert trace.ledger.queries == {}
        assert len(trace._calls) == 3
    assert len((tmp_path / "trace.jsonl").read_text().splitlines()) == trace.ledger.total.calls
    with pytest.raises(BadInput, match="keep must be at least 1"):
        Trace(keep=0)


def test_what_is_asked_after_the_time_is_over_fails_at_once() -> None:
    llm = Gated(concurrency=1)
    with Hub() as hub:
        busy = hub.submit(Caller(hub), {"q": chain("busy", 1)}, llm)
        caller = Caller(hub)
        caller.leave()
        assert hub.submit(caller, {"q": chain("late", 3)}, llm).result(30)["q"] == ["timeout"] * 3
        llm.gate.set()
        busy.result(30)
    assert llm.asked == ["busy 0"]
