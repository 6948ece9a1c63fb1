"""The time of a query: when it is over the plan ends with what it has, whatever the server does."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import openai
import pytest
from fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import ask, chain
from virtual_time import Clock

from whyrank import Cascade, Fake, Listwise
from whyrank.errors import BadInput, EngineError
from whyrank.llm import schedule
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt
from whyrank.llm.openai import OpenAI
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(schedule, "run", clock.run)
    return clock


@dataclass(frozen=True)
class Timed(LLM):
    """Takes the seconds that its table says for a prompt, else one, then fails as told or answers."""

    model: str = "timed"
    concurrency: int = 4
    size: int = 1
    takes: dict[str, float] = field(default_factory=dict)
    fails: dict[str, Failed] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def batch(self) -> int:  # type: ignore[override]
        return self.size

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        texts = [prompt.messages[0].content for prompt in prompts]
        self.asked.extend(texts)
        await asyncio.sleep(max(self.takes.get(text, 1.0) for text in texts))
        return [self.fails.get(text, Ok(f"<{text}>")) for text in texts]


def test_a_plan_ends_in_time_and_others_go_on(clock: Clock) -> None:
    llm, trace = Timed(takes={"slow 1": 1e6}), Trace()
    found = drive({"slow": chain("slow", 4), "quick": chain("quick", 4)}, llm, trace, seconds=5.0)
    assert found == {
        "slow": ["<slow 0>", "timeout", "timeout", "timeout"],
        "quick": [f"<quick {at}>" for at in range(4)],
    }
    assert clock.seconds == 5.0 and "slow 2" not in llm.asked
    assert trace.ledger.total.failures == {"timeout": 3} and trace.passing == {"timeout": 3}
    assert drive({"slow": chain("slow", 4)}, Timed(), trace)["slow"] == [f"<slow {at}>" for at in range(4)]


@pytest.mark.parametrize("kind", ["rate_limit", "server", "connection", "timeout", "bad_answer"])
@pytest.mark.parametrize("wait", [None, 36_000.0])
def test_one_rule_for_every_trouble(clock: Clock, kind: str, wait: float | None) -> None:
    failed = Failed(kind, "no", retry_after=wait)  # type: ignore[arg-type]
    llm = Timed(takes={"q 0": 0.1, "q 1": 0.1}, fails={"q 0": failed, "q 1": failed})
    found = drive({"q": chain("q", 2)}, llm, seconds=3.0)["q"]
    assert len(found) == 2 and found[-1] in {"timeout", kind} and clock.seconds <= 3.0


def test_the_time_of_a_query_begins_with_its_first_call_and_not_in_the_queue(clock: Clock) -> None:
    names = [f"q{at}" for at in range(10)]
    found = drive({name: chain(name, 2) for name in names}, Timed(concurrency=1), seconds=12.5)
    assert found == {name: [f"<{name} 0>", f"<{name} 1>"] for name in names} and clock.seconds == 20.0


def test_what_another_plan_waits_for_too_is_not_broken_off(clock: Clock) -> None:
    def late(name: str) -> Plan[list[str]]:
        yield [ask("first")]
        (completion,) = yield [ask("shared")]
        return [completion.text if isinstance(completion, Ok) else completion.kind]

    def early() -> Plan[list[str]]:
        (completion,) = yield [ask("shared")]
        return [completion.text if isinstance(completion, Ok) else completion.kind]

    llm, trace = Timed(takes={"first": 2.0, "shared": 4.5}), Trace()
    found = drive({"early": early(), "late": late("late")}, llm, trace, seconds=4.0)
    assert found == {"early": ["timeout"], "late": ["timeout"]} or found == {"early": ["timeout"], "late": ["<shared>"]}
    assert found["late"] == (["<shared>"] if clock.seconds > 4.1 else ["timeout"])


def test_an_answer_of_a_batch_that_goes_on_for_others_is_kept(clock: Clock) -> None:
    def two(name: str) -> Plan[object]:
        return list((yield [ask(f"{name} x")]))

    llm, trace = Timed(size=2, concurrency=1, takes={"a x": 3.0}), Trace()
    drive({"a": two("a")}, Timed(takes={"a x": 3.0}), trace, seconds=1.0)
    assert trace.ledger.total.failures == {"timeout": 1}
    trace = Trace()
    trace._ends["b"] = 1e9  # b has all the time of the world
    with trace.within(None):
        trace.seconds = 1.0
        drive({"a": two("a"), "b": two("b")}, llm, trace)
    assert trace.passing == {} and trace.get(ask("a x").key("timed")) and trace.get(ask("b x").key("timed"))


@settings(max_examples=60, deadline=None)
@given(
    takes=st.dictionaries(st.sampled_from([f"q{q} {s}" for q in range(4) for s in range(3)]), st.floats(0, 20)),
    kinds=st.dictionaries(
        st.sampled_from([f"q{q} {s}" for q in range(4) for s in range(3)]),
        st.sampled_from(["server", "rate_limit", "connection", "refusal"]),
    ),
    seconds=st.floats(0.5, 15),
    concurrency=st.integers(1, 4),
    size=st.integers(1, 3),
)
def test_whatever_happens_each_plan_ends_in_time_with_every_answer_in_its_place(
    takes, kinds, seconds, concurrency, size
):
    clock, fails = Clock(), {at: Failed(kind, "x") for at, kind in kinds.items()}
    llm = Timed(concurrency=concurrency, size=size, takes=takes, fails=fails)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "run", clock.run)
        found = drive({f"q{at}": chain(f"q{at}", 3) for at in range(4)}, llm, seconds=seconds)
    for query, said in found.items():
        assert len(said) == 3
        assert all(one in {f"<{query} {at}>", "timeout", kinds.get(f"{query} {at}")} for at, one in enumerate(said))
    left = sum(kind == "rate_limit" for kind in kinds.values())  # each may leave a closed gate behind, which all heed
    assert clock.seconds <= 4 * (seconds + 1) + left * schedule.LONGEST_WAIT


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["hang", "rate_limit", "error_500", "refused"])
def test_rank_comes_back_in_time_with_the_input_order(monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    _ = openai.AsyncOpenAI(api_key="none", base_url="http://none").chat.completions  # loads what the first call would
    with FaultServer(script={"": [trouble] * 99}) as server:
        url = server.url if trouble != "refused" else "http://127.0.0.1:9/v1"
        reranker = Listwise(OpenAI("m", url, timeout=30.0))
        began = time.monotonic()
        ranked = reranker.rank("why?", ["a", "b", "c"], seconds=1.0)
        assert time.monotonic() - began < 3.0
    assert [one.text for one in ranked] == ["a", "b", "c"] and ranked.statuses["failed"] == 1
    assert {call.failure for call in ranked.calls} == {"timeout"}


def test_stages_share_the_time_of_a_query_and_each_rank_has_its_own(clock: Clock) -> None:
    slow = Fake(lambda _: "<answer>[2] > [1]</answer>", latency=1.0)
    object.__setattr__(slow, "latency", 4.0)
    cascade, trace = Cascade(Listwise(slow), Listwise(slow, window=3, stride=2)), Trace()
    for _ in range(2):
        ranked = cascade.rank("q", ["a", "b"], trace, seconds=1e-3)
        assert ranked.statuses["failed"] == len(ranked.calls) == 2
    assert trace.seconds is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_time_is_told(seconds: float) -> None:
    with pytest.raises(BadInput, match="seconds must be a number above 0"):
        Listwise(Fake()).rank("q", ["a", "b"], seconds=seconds)


def test_with_a_bound_an_engine_that_is_not_reached_is_none(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.0)
    gone = Timed(fails={"q 0": Failed("connection", "refused")})
    assert drive({"q": chain("q", 1)}, gone, seconds=1e5) == {"q": ["connection"]}


def test_without_a_bound_an_engine_that_is_not_reached_is_an_error(clock: Clock) -> None:
    gone = Timed(fails={"q 0": Failed("connection", "refused")})
    with pytest.raises(EngineError, match="no call reached it"):
        drive({"q": chain("q", 1)}, gone)
