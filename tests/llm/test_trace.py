import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.digest import sound
from whyrank.llm.fake import Fake
from whyrank.llm.ledger import Call, Price, Prices
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace, records
from whyrank.types import Usage

QUERIES = [f"q{at}" for at in range(6)]


def chain(name: str, steps: int = 3) -> Plan[list[str]]:
    said: list[str] = []
    for step in range(steps):
        text = f"{name} {step} {said} “déjà” \u2028 \ud83d"
        (completion,) = yield [Prompt((Message("user", (Piece(text),)),), Sampling(seed=step, logprobs=2))]
        said.append(completion.text if isinstance(completion, Ok) else "")
    return said


def answer(prompt: Prompt) -> Completion:
    """A text that depends on the prompt, with all that a trace must give back."""
    key = prompt.key("m")
    logprobs = ({"[1]": -0.1234567890123, "\udce4": float("-inf")},) if key[0] in "0123" else ()
    return Ok(
        f"{key} \u2028 \ud800 \n", "thought \x00", Usage(10, 4, 2, 1), "length" if key[1] < "8" else "stop", logprobs
    )


def run(trace: Trace | None, llm: Fake | None = None) -> dict[str, list[str]]:
    return drive({name: chain(name) for name in QUERIES}, llm or Fake(answer), trace)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, list[str]]]:
    """The trace of an unbroken run, and what the run found."""
    path = tmp_path_factory.mktemp("whole") / "trace.jsonl"
    with Trace(path) as trace:
        found = run(trace)
    return path.read_bytes(), found


def test_a_line_for_each_call_says_what_was_asked_and_what_came(whole: tuple[bytes, dict[str, list[str]]]) -> None:
    lines = [json.loads(line) for line in whole[0].splitlines()]
    assert len(lines) == 18 and len({line["key"] for line in lines}) == 18
    first = next(line for line in lines if line["query"] == "q2" and line["step"] == 1)
    assert first["messages"] == [{"role": "user", "content": "q2 0 [] “déjà” \u2028 \ud83d"}]
    assert first["status"] == "ok" and first["text"] == whole[1]["q2"][0] and first["reasoning"] == "thought \x00"
    assert first["usage"] == {"input": 10, "output": 4, "reasoning": 2, "cached": 1}
    assert first["sampling"]["seed"] == 0 and first["sample"] == 0 and first["retries"] == 0
    assert first["model"] == "fake" and first["finish"] in {"stop", "length"} and first["seconds"] >= 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_killed_at_any_byte_it_resumes_repeats_nothing_and_ends_the_same(
    data: st.DataObject, whole: tuple[bytes, dict[str, list[str]]], tmp_path: Path
) -> None:
    recorded, found = whole
    path, asked = tmp_path / "trace.jsonl", Counter[str]()
    kept = recorded[: data.draw(st.integers(0, len(recorded)))]
    path.write_bytes(kept)
    done = {json.loads(line)["key"] for line in {*kept.split(b"\n")} & {*recorded.splitlines()}}

    def count(prompt: Prompt) -> Completion:
        asked[prompt.key("fake")] += 1
        return answer(prompt)

    with Trace(path) as trace:
        assert trace.ledger.total.calls == len(done)
        assert run(trace, Fake(count)) == found
        assert trace.ledger.total.calls == 18 and trace.ledger.total.replayed == len(done)
        assert trace.ledger.total.usage == Usage(180, 72, 36, 18)
    assert set(asked.values()) <= {1} and not done & asked.keys() and len(done) + len(asked) == 18
    again = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(line["key"] for line in again) == sorted(done | asked.keys())
    with Trace(path) as trace:  # what is replayed is all that came, to the last bit
        for line in again:
            asked_then = Prompt(
                tuple(Message(said["role"], (Piece(said["content"]),)) for said in line["messages"]),
                Sampling(seed=line["sampling"]["seed"], logprobs=2),
            )
            assert trace.get(line["key"]) == sound(answer(asked_then))


@pytest.mark.parametrize("damage", [b"{", b"not json", b"{}", b"[]", b"null", b'{"key": 1}', b"\xff\xfe", b""])
def test_a_damaged_line_in_the_middle_is_told_with_file_and_line(
    whole: tuple[bytes, dict[str, list[str]]], tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "trace.jsonl"
    lines = whole[0].split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], damage, *lines[5:]]))
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"trace\.jsonl:5: this line of the trace is damaged.*delete the line"):
        Trace(path)
    assert path.read_bytes() == before
    with pytest.raises(BadInput, match=r"trace\.jsonl:5"):
        list(records(path))
    path.write_bytes(whole[0])
    with Trace(path) as trace:  # the lock was let go
        assert trace.ledger.total.calls == 18


def test_failed_calls_are_recorded_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trace.jsonl"
    with Trace(path) as trace:
        run(trace, Fake(lambda prompt: Failed("refusal", "I would rather not")))
        assert trace.ledger.total.failures == Counter(refusal=18)
    assert {line["kind"] for line in records(path)} == {"refusal"}
    with Trace(path) as trace:
        assert trace.ledger.total.failed == 18
        assert run(trace) == run(None)
        assert trace.ledger.total.calls >= 18 + 12 and trace.ledger.total.replayed == 0


def test_an_answer_stands_whatever_fails_after_it(tmp_path: Path) -> None:
    path, prompt = tmp_path / "trace.jsonl", Prompt((Message("user", (Piece("why?"),)),))
    key = prompt.key("m")
    with Trace(path) as trace:
        for came in (Ok("so"), Failed("server", "gone")):
            trace.add(Call(key, "m", "q", 1, came), prompt)
        assert trace.get(key) == Ok("so")
    with Trace(path) as trace:
        assert trace.get(key) == Ok("so") and trace.ledger.total.failed == 1


def test_one_writer_at_a_time_and_any_number_of_readers(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        run(trace)
        with pytest.raises(BadInput, match=r"trace\.jsonl: another run writes to this trace"):
            Trace(path)
        assert len(list(records(path))) == 18
        other = subprocess.run(
            [sys.executable, "-c", f"from whyrank.llm.trace import Trace; Trace({str(path)!r})"], capture_output=True
        )
        assert other.returncode and b"another run writes" in other.stderr
    Trace(path).close()


def test_a_trace_that_nobody_holds_any_more_is_free(tmp_path: Path) -> None:
    gc.disable()
    try:
        run(Trace(tmp_path / "trace.jsonl"))
        assert Trace(tmp_path / "trace.jsonl").ledger.total.calls == 18
    finally:
        gc.enable()


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    child = fork.Process(target=lambda: (there.send("up"), time.sleep(30)))
    child.start()
    try:
        assert here.recv() == "up"
        os.close(trace._journal._file)  # as the end of this process would
        trace._journal._file = None
        Trace(path).close()
    finally:
        child.kill()
        child.join()


def test_limits_need_prices_and_count_what_earlier_runs_spent(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"max_cost needs a price table.*--prices FILE"):
        Trace(max_cost=1.0)
    prices, path = Prices({"fake": Price(input=1e6, output=2e6, cached=0.0)}), tmp_path / "trace.jsonl"
    with Trace(path, prices) as trace:
        run(trace)
        assert trace.ledger.total.cost == 18 * (9 + 8) and trace.spent() is None
    with Trace(path, prices, max_cost=18 * 17) as trace:
        assert "cost 306.0000 of 306 (max_cost)" in str(trace.spent())
        assert run(trace) == run(None)  # all is there: nothing new is needed
    with Trace(path, prices, max_cost=18 * 17 + 1, max_tokens=10**6) as trace:
        assert trace.spent() is None
    with pytest.raises(BadInput, match="no model 'fake'"), Trace(prices=Prices({})) as trace:
        run(trace)


def test_a_closed_trace_records_no_more_and_says_so(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.jsonl") as trace:
        pass
    with pytest.raises(BadInput, match=r"trace\.jsonl: this trace was closed"):
        run(trace)


def test_memory_alone_remembers_within_the_run() -> None:
    with Trace() as trace:
        assert trace.get("k") is None
        trace.add(Call("k", "m", "q", 1, Ok("yes")), Prompt(()))
        assert trace.get("k") == Ok("yes")


SCRIPT = """
import sys
from pathlib import Path
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.digest import sound
from whyrank.llm.fake import Fake
from whyrank.llm.schedule import drive
from whyrank.llm.trace import Trace

def plan(name):
    order = list("abcdefgh")
    for step in range(6):
        (completion,) = yield [Prompt((Message("user", (Piece(f"{name} {step} {order}"),)),))]
        at = int(completion.text, 16) % len(order)
        order = [*order[at:], *order[:at]]
    return order

def answer(prompt):
    with open(sys.argv[2], "a") as asked:
        asked.write(prompt.key("m") + chr(10))
    return prompt.key("m")[:4]

folder = Path(sys.argv[1])
with Trace(folder / "trace.jsonl") as trace:
    orders = drive({f"q{at}": plan(f"q{at}") for at in range(40)}, Fake(answer, latency=0.004, concurrency=6), trace)
lines = [f"{name} Q0 {doc} {rank} {-rank} x" for name, order in orders.items() for rank, doc in enumerate(order)]
(folder / "run.trec").write_text("\\n".join(lines))
"""


def test_kill_9_again_and_again_then_the_run_file_is_byte_identical(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def start(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, str(script), str(folder), str(folder / "asked")])

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait(60) == 0
    trace, kills = broken / "trace.jsonl", 0
    for wanted in (5, 60, 150):
        process = start(broken)
        while process.poll() is None and not (trace.is_file() and trace.read_bytes().count(b"\n") >= wanted):
            time.sleep(0.002)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills == 3 and not (broken / "run.trec").exists()
    finished = {line["key"] for line in records(trace)}
    assert start(broken).wait(60) == 0
    assert (broken / "run.trec").read_bytes() == (whole / "run.trec").read_bytes()
    keys = [line["key"] for line in records(trace)]
    assert len(keys) == len(set(keys)) == 240 and finished <= set(keys)  # no finished call was asked again
    asked = (broken / "asked").read_text().split()
    assert len(asked) - 240 <= 3 * 6  # only what was under way at a kill was asked twice
