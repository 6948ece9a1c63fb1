import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import Clock

from whyrank.errors import BadInput, BudgetSpent, EngineError, WhyrankError
from whyrank.llm import schedule
from whyrank.llm.answer import FATAL, RETRIED, Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.schedule import LONGEST_WAIT, TRIES, Plan, drive, wait_before
from whyrank.llm.trace import Trace
from whyrank.progress import show
from whyrank.types import Usage


def prompt(text: str, **sampling: int) -> Prompt:
    return Prompt((Message("user", (Piece(text),)),), Sampling(**sampling))


def chain(name: str, steps: int) -> Plan[list[str]]:
    """Asks `steps` times, each time with what was answered before."""
    said: list[str] = []
    for step in range(steps):
        (completion,) = yield [prompt(f"{name} {step} {said}")]
        said.append(completion.text if isinstance(completion, Ok) else completion.kind)
    return said


def fan(name: str, width: int) -> Plan[list[Completion]]:
    """Asks `width` questions at once."""
    return list((yield [prompt(f"{name} {at}") for at in range(width)]))


@dataclass(frozen=True)
class Engine(LLM):
    """Takes `seconds` for a request, does what `script` says (by text of the prompt) and counts what it sees."""

    model: str = "engine"
    concurrency: int = 4
    size: int = 1
    seconds: float = 1.0
    script: dict[str, list[Completion]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    when: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    under_way: list[int] = field(default_factory=lambda: [0, 0])
    closed: list[bool] = field(default_factory=list)

    @property
    def batch(self) -> int:  # type: ignore[override]
        return self.size

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        texts = [prompt.messages[-1].content for prompt in prompts]
        self.asked.extend(texts)
        self.when.append(asyncio.get_running_loop().time())
        self.sizes.append(len(prompts))
        self.under_way[0] += 1
        self.under_way[1] = max(self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way[0] -= 1
        return [self.script[text].pop(0) if self.script.get(text) else Ok(f"<{text}>") for text in texts]

    async def aclose(self) -> None:
        self.closed.append(True)


def test_an_error_of_ours_in_a_plan_stays_of_its_kind(clock: Clock) -> None:
    def unready() -> Plan[None]:
        yield []
        raise EngineError("no such model")

    with pytest.raises(EngineError, match="query 'q': no such model"):
        drive({"q": unready()}, Engine())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(schedule, "run", clock.run)
    return clock


def test_completions_come_back_in_the_order_of_the_batch_and_results_in_that_of_the_plans(clock: Clock) -> None:
    llm = Fake(lambda prompt: prompt.messages[0].content.upper(), latency=1.0, concurrency=7)
    results = drive({name: fan(name, 9) for name in "dacb"}, llm)
    assert list(results) == list("dacb")
    assert [said.text for said in results["a"]] == [f"A {at}" for at in range(9)]


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.integers(0, 6), max_size=12), concurrency=st.integers(1, 9), batch=st.integers(1, 5))
def test_each_plan_gets_its_own_answers_whatever_the_engine_takes(
    steps: list[int], concurrency: int, batch: int
) -> None:
    llm = Engine(concurrency=concurrency, size=batch, seconds=0.0)
    results = drive({f"q{at}": chain(f"q{at}", n) for at, n in enumerate(steps)}, llm)
    for at, n in enumerate(steps):
        said: list[str] = []
        for step in range(n):
            said.append(f"<q{at} {step} {said}>")
        assert results[f"q{at}"] == said
    assert llm.under_way[1] <= concurrency and max(llm.sizes, default=0) <= batch
    assert len(llm.asked) == sum(steps)


def test_the_engine_is_kept_full_though_answers_take_long_now_and_then(clock: Clock) -> None:
    """Wall time is near the bound that work and the longest chain set, where lock step takes about twice as long."""
    seed, queries, steps, slots = random.Random(5), 100, 9, 32
    seconds = {f"q{at}": [seed.lognormvariate(0.0, 0.9) for _ in range(steps)] for at in range(queries)}

    @dataclass(frozen=True)
    class Slow(Engine):
        async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
            name, step, *_ = prompts[0].messages[0].content.split()
            self.under_way[0] += 1
            self.under_way[1] = max(self.under_way)
            await asyncio.sleep(seconds[name][int(step)])
            self.under_way[0] -= 1
            return [Ok("yes")]

    llm = Slow(concurrency=slots)
    drive({name: chain(name, steps) for name in seconds}, llm)
    work = sum(map(sum, seconds.values())) / slots
    lock_step = sum(
        sum(max(seconds[f"q{at}"][step] for at in range(start, min(start + slots, queries))) for step in range(steps))
        for start in range(0, queries, slots)
    )
    assert llm.under_way[1] == slots
    assert clock.seconds <= 1.25 * max(work, *map(sum, seconds.values()))
    assert lock_step >= 1.8 * clock.seconds


def test_a_batched_engine_gets_full_batches_of_many_plans(clock: Clock) -> None:
    llm = Engine(concurrency=1, size=16)
    drive({f"q{at}": chain(f"q{at}", 3) for at in range(64)}, llm)
    assert llm.sizes == [16] * 12


def test_thousands_of_plans_and_steps_that_ask_nothing() -> None:
    def idle(name: str) -> Plan[str]:
        got = yield []
        assert list(got) == []
        (completion,) = yield [prompt(name)]
        return completion.text if isinstance(completion, Ok) else ""

    llm = Engine(concurrency=256, seconds=0.0)
    results = drive({str(at): idle(str(at)) for at in range(5000)}, llm)
    assert results == {str(at): f"<{at}>" for at in range(5000)}
    assert drive({}, llm) == {}


def test_equal_prompts_are_asked_once_even_while_under_way(clock: Clock) -> None:
    llm, trace = Engine(concurrency=8), Trace()
    results = drive({name: chain("same", 2) for name in "abc"}, llm, trace)
    assert results["a"] == results["b"] == results["c"]
    assert len(llm.asked) == 2
    assert trace.ledger.total.calls == 2 and trace.ledger.total.replayed == 4
    assert drive({"d": chain("same", 2)}, llm, trace) == {"d": results["a"]} and len(llm.asked) == 2


def test_draws_with_other_sample_numbers_are_other_calls(clock: Clock) -> None:
    llm = Engine()

    def plan() -> Plan[int]:
        same = prompt("draw")
        return len((yield [Prompt(same.messages, same.sampling, sample) for sample in range(3)]))

    assert drive({"q": plan()}, llm) == {"q": 3}
    assert len(llm.asked) == 3


def test_every_failure_that_may_pass_is_retried_and_no_other() -> None:
    assert set(TRIES) == RETRIED and not FATAL & RETRIED


@pytest.mark.parametrize("kind", sorted(RETRIED))
def test_a_passing_failure_is_tried_again_with_growing_waits(clock: Clock, kind: str) -> None:
    trouble = [Failed(kind, "once more")] * (TRIES[kind] - 1)
    llm, trace = Engine(script={"q 0 []": trouble.copy()}), Trace()
    assert drive({"q": chain("q", 1), "other": chain("other", 1)}, llm, trace)["q"] == ["<q 0 []>"]
    total = trace.ledger.queries["q"]
    assert (total.calls, total.retries, total.failed) == (1, TRIES[kind] - 1, 0)
    longest = sum(min(LONGEST_WAIT, 2.0**retry) for retry in range(len(trouble)))
    assert len(trouble) + 1 <= clock.seconds <= len(trouble) + 1 + longest


@pytest.mark.parametrize("kind", sorted(RETRIED))
def test_a_lasting_failure_reaches_the_plan_and_is_counted(clock: Clock, kind: str) -> None:
    llm, trace = Engine(script={"q 0 []": [Failed(kind, "for ever")] * 99}), Trace()
    results = drive({"q": chain("q", 1), "other": chain("other", 1)}, llm, trace)
    assert results == {"q": [kind], "other": ["<other 0 []>"]}
    assert llm.asked.count("q 0 []") == TRIES[kind]
    assert trace.ledger.total.failures == Counter({kind: 1})


@pytest.mark.parametrize("kind", ["bad_request", "refusal", "context"])
def test_other_failures_are_final_at_once(clock: Clock, kind: str) -> None:
    llm, trace = Engine(script={"q 0 []": [Failed(kind, "no")]}), Trace()
    assert drive({"q": chain("q", 2)}, llm, trace)["q"] == [kind, f"<q 1 ['{kind}']>"]
    assert llm.asked.count("q 0 []") == 1 and trace.ledger.total.failures == Counter({kind: 1})


def test_the_server_may_say_how_long_to_wait_within_reason(clock: Clock) -> None:
    llm = Engine(script={"q 0 []": [Failed("rate_limit", "slow down", retry_after=30.0)]}, seconds=0.0)
    drive({"q": chain("q", 1)}, llm)
    assert 30.0 <= llm.when[1] <= 31.0
    draws = [wait_before(retry, after) for retry in range(1, 40) for after in (None, 0.0, 5.0, 1e9, -1.0)]
    assert 0.0 <= min(draws) and max(draws) <= LONGEST_WAIT


@dataclass(frozen=True)
class Limited(Engine):
    """Takes 100 prompts a second, and as many at once after a pause; refuses the others, and says how long to wait."""

    rate: float = 100.0
    bucket: list[float] = field(default_factory=lambda: [100.0, 0.0])
    refused: list[float] = field(default_factory=list)
    tells: bool = True

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        now = asyncio.get_running_loop().time()
        self.bucket[:] = [min(self.rate, self.bucket[0] + self.rate * (now - self.bucket[1])), now]
        if self.bucket[0] < 1.0:
            self.refused.append(now)
            await asyncio.sleep(0.003)
            return [Failed("rate_limit", "slow down", (1 - self.bucket[0]) / self.rate if self.tells else None)]
        self.bucket[0] -= 1.0
        return await Engine._generate(self, prompts)


@pytest.mark.parametrize("tells", [True, False])
def test_under_a_limited_rate_nothing_fails_and_little_is_lost(clock: Clock, tells: bool) -> None:
    llm, trace = Limited(concurrency=64, seconds=0.3, tells=tells), Trace()
    drive({f"q{at}": chain(f"q{at}", 4) for at in range(500)}, llm, trace)
    assert trace.ledger.total.failed == 0 and trace.ledger.total.calls == 2000
    assert clock.seconds <= 1.15 * (2000 / llm.rate - 1)
    assert trace.ledger.total.retries == len(llm.refused) <= 200


def test_where_one_call_came_too_fast_all_wait(clock: Clock) -> None:
    llm = Engine(script={"q0 0 []": [Failed("rate_limit", "slow down", retry_after=30.0)]}, concurrency=10)
    drive({f"q{at}": chain(f"q{at}", 2) for at in range(20)}, llm)
    after = [when for when in llm.when if when >= 1.0]
    assert 31.0 <= min(after) <= 32.0 and llm.asked[10] == "q0 0 []"
    assert sum(when == min(after) for when in after) == 9  # 8 of 10, and one more for 9 answers


def test_what_comes_too_fast_while_a_plan_moves_on_waits_too_and_ends_no_other_plan(clock: Clock) -> None:
    def replayed() -> Plan[str]:
        for _ in range(50):
            yield []
        return "done"

    llm = Engine(script={"q 0 []": [Failed("rate_limit", "slow down", retry_after=30.0)]}, seconds=0.0)
    found = drive({"q": chain("q", 2), "r": replayed()}, llm)
    assert found["r"] == "done" and len(found["q"]) == 2
    assert llm.when[0] == 0.0 and llm.when[1] >= 30.0


def test_waits_are_spread_over_their_whole_range() -> None:
    draws = sorted(wait_before(4) for _ in range(500))
    assert draws[0] < 1.0 and draws[-1] > 7.0 and draws[-1] <= 8.0


@pytest.mark.parametrize("kind", sorted(FATAL))
def test_what_no_call_can_escape_stops_the_run_and_keeps_what_is_done(clock: Clock, kind: str) -> None:
    llm = Engine(concurrency=3, script={"b 0 []": [Failed(kind, "who are you?")]})
    trace = Trace()
    with pytest.raises(EngineError, match=r"cannot be used: who are you\?"):
        drive({name: chain(name, 5) for name in "abcdef"}, llm, trace)
    assert trace.ledger.total.calls == 3 and trace.ledger.total.failures == Counter({kind: 1})
    assert len(llm.asked) == 3 and llm.closed == [True]


def test_an_engine_that_nobody_reaches_is_an_error_soon(clock: Clock) -> None:
    @dataclass(frozen=True)
    class Gone(Engine):
        async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
            self.asked.append("call")
            return [Failed("connection", "refused")] * len(prompts)

    few, many = Gone(), Gone()
    with pytest.raises(EngineError, match="no call reached it: refused"):
        drive({"q": chain("q", 1)}, few)
    with pytest.raises(EngineError, match="refused"):
        drive({f"q{at}": chain(f"q{at}", 9) for at in range(100)}, many)
    assert len(many.asked) <= 2 * many.concurrency * TRIES["connection"]


def test_one_answer_shows_that_the_engine_is_there(clock: Clock) -> None:
    names = [f"q{at}" for at in range(30)]
    llm = Engine(script={f"{name} 0 []": [Failed("connection", "cut")] * 99 for name in names[1:]})
    trace = Trace()
    results = drive({name: chain(name, 1) for name in names}, llm, trace)
    assert results["q0"] == ["<q0 0 []>"] and trace.ledger.total.failures == Counter({"connection": 29})


def test_a_plan_that_fails_names_its_query_and_the_calls_of_others_are_kept(clock: Clock) -> None:
    def broken() -> Plan[None]:
        yield [prompt("first")]
        raise ZeroDivisionError("oh")

    trace = Trace()
    read = prompt("first").key("engine")
    with pytest.raises(
        WhyrankError, match=rf"query 'q7'.*ZeroDivisionError: oh; it was reading the calls {read}"
    ) as caught:
        drive({"q1": chain("q1", 1), "q7": broken(), "q2": fan("q2", 2)}, Engine(), trace)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert trace.ledger.queries["q1"].calls == 1 and trace.ledger.queries["q2"].calls == 2


def test_a_plan_that_yields_no_prompts_is_told(clock: Clock) -> None:
    def wrong() -> Plan[None]:
        yield ["a text"]  # type: ignore[list-item]

    with pytest.raises(WhyrankError, match=r"query 'q'.*sequences of Prompt.*'a text'"):
        drive({"q": wrong()}, Engine())


def test_an_engine_that_raises_or_miscounts_stops_the_run(clock: Clock) -> None:
    def crash(prompt: Prompt) -> str:
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        drive({"q": chain("q", 1)}, Fake(crash))

    @dataclass(frozen=True)
    class Short(Engine):
        async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
            return []

    with pytest.raises(BadInput, match="0 completions for 1 prompts"):
        drive({"q": chain("q", 1)}, Short())


def test_a_limit_stops_new_calls_only_and_more_of_it_goes_on(clock: Clock) -> None:
    plans = lambda: {f"q{at}": chain(f"q{at}", 3) for at in range(10)}  # noqa: E731
    script = lambda prompt: Ok("yes", usage=Usage(input=70, output=30))  # noqa: E731
    trace = Trace(max_tokens=1000)
    with pytest.raises(BudgetSpent, match=r"1,\d00 of 1,000 tokens.*of 10 queries are finished.*run the same command"):
        drive(plans(), Fake(script, concurrency=4, latency=1.0), trace)
    assert 1000 <= trace.ledger.total.tokens < 1000 + 4 * 100  # what was under way is finished and recorded
    before = trace.ledger.total.calls
    trace.max_tokens = 3000
    assert len(drive(plans(), Fake(script, concurrency=4, latency=1.0), trace)) == 10
    assert trace.ledger.total.calls == 30 and trace.ledger.total.replayed == before
    trace.max_tokens = 0  # all is there already: nothing new is asked, and nothing is wrong
    assert len(drive(plans(), Fake(script), trace)) == 10


def test_no_retry_starts_once_the_limit_is_reached(clock: Clock) -> None:
    def answer(prompt: Prompt) -> Completion:
        return Ok("yes", usage=Usage(100)) if "rich" in prompt.messages[0].content else Failed("server", "later")

    calls = Counter[str]()

    def count(prompt: Prompt) -> Completion:
        calls[prompt.messages[0].content.split()[0]] += 1
        return answer(prompt)

    trace = Trace(max_tokens=100)
    with pytest.raises(BudgetSpent):
        drive({"rich": chain("rich", 1), "poor": chain("poor", 2)}, Fake(count), trace)
    assert calls == {"rich": 1, "poor": 1}


def test_a_prompt_that_the_engine_calls_too_long_is_asked_once_more_with_half_its_documents(clock: Clock) -> None:
    long = Prompt((Message("user", (Piece("which? "), Piece("w" * 400, "document"), Piece("why?", "query"))),))

    def plan() -> Plan[Completion]:
        (completion,) = yield [long]
        return completion

    def strict(prompt: Prompt) -> Completion:
        return Ok("fine") if len(prompt.messages[0].content) < 300 else Failed("context", "too long")

    trace = Trace()
    assert drive({"q": plan()}, Fake(strict), trace)["q"] == Ok("fine")
    assert (trace.ledger.total.retries, trace.ledger.total.cut_documents) == (1, 1)
    never = Fake(lambda prompt: Failed("context", "still too long"))
    assert drive({"q": plan()}, never, trace := Trace())["q"] == Failed("context", "still too long")
    assert trace.ledger.total.retries == 1 and trace.ledger.total.failures == Counter({"context": 1})


def test_prompts_are_fitted_to_the_window_before_they_are_asked(clock: Clock) -> None:
    seen: list[str] = []
    document = "many words " * 500
    asked = Prompt((Message("user", (Piece("why?", "query"), Piece(document, "document"))),), Sampling(max_tokens=100))
    hopeless = Prompt((Message("user", (Piece(document),)),), Sampling(max_tokens=100))

    def plan(prompt: Prompt) -> Plan[Completion]:
        (completion,) = yield [prompt]
        return completion

    llm, trace = Fake(lambda prompt: seen.append(prompt.messages[0].content) or "yes", context=600), Trace()
    results = drive({"good": plan(asked), "hopeless": plan(hopeless)}, llm, trace)
    assert len(seen) == 1 and seen[0].startswith("why?many words") and len(seen[0]) < len(document) / 2
    assert isinstance(results["good"], Ok) and trace.ledger.queries["good"].cut_documents == 1
    failed = results["hopeless"]
    assert isinstance(failed, Failed) and failed.kind == "context" and "instructions alone" in failed.detail
    assert trace.ledger.queries["hopeless"].failures == Counter({"context": 1})
    with pytest.raises(BadInput, match=r"window of 100 tokens.*max_tokens=100"):
        drive({"q": plan(asked)}, Fake(context=100))


def test_it_runs_inside_a_running_loop_and_in_many_threads() -> None:
    async def server() -> dict[str, list[str]]:
        return drive({"q": chain("q", 2)}, Fake("yes", latency=0.001))

    assert asyncio.run(server()) == {"q": ["yes", "yes"]}

    async def ranking(think="no") -> list[Completion]:
        return Fake("yes").generate([prompt("a"), prompt("b")])

    assert [said.text for said in asyncio.run(ranking(think="no"))] == ["yes", "yes"]
    llm, found = Fake("yes", latency=0.001), []
    threads = [
        threading.Thread(target=lambda at=at: found.append(drive({f"q{at}": chain(f"q{at}", 3)}, llm)))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for results in found for name in results) == [f"q{at}" for at in range(8)]


def test_progress_moves_with_each_query(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[int, str]] = []

    class Shown:
        def __init__(self, what: str, total: int | None) -> None:
            moves.append((0, f"{what}: {total}"))

        def __enter__(self) -> object:
            return lambda steps=1, note="": moves.append((steps, note))

        def __exit__(self, *error: object) -> None:
            moves.append((0, "done"))

    monkeypatch.setattr(schedule, "progress", Shown)
    monkeypatch.setattr(schedule, "shown", lambda: True)
    plans = {name: chain(name, 2) for name in "abc"}
    drive(plans, Fake(lambda _: "yes"), trace := Trace(), like=[chain("a", 2), chain("b", 2)])
    assert moves[0] == (0, "asking fake: 6") and moves[-1] == (0, "done")
    assert sum(steps for steps, _ in moves) == 6 and trace.ledger.total.calls == 6
    assert moves[1][0] == 1 and "0/3 queries, 1 calls" in moves[1][1]  # told from the first answer on
    assert any("3/3 queries, 6 calls" in note for _, note in moves)
    moves.clear()
    drive({"a": chain("a", 2)}, Fake(lambda _: "yes"), trace)
    assert moves[0] == (0, "asking fake: None") and sum(steps for steps, _ in moves) == 2


def test_at_80_columns_counts_and_clocks_are_whole(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for columns, bar in (("80", False), ("60", False), ("140", True)):
        monkeypatch.setenv("COLUMNS", columns)
        show()
        plans = {name: chain(name, 9) for name in ("a", "b")}
        drive(plans, Fake(lambda _: "yes", model="a/model-of-a-very-long-name-" * 3), like=[chain("a", 9)])
        show(False)
        (line,) = [one for one in capsys.readouterr().err.splitlines() if one.strip()]
        assert re.search(r"18/18 0:00:\d\d 0:00:00 2/2 qu", line) and len(line) <= int(columns)
        assert ("━" in line) == bar
