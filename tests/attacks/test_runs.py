"""Attacks on what a run keeps: traces, run folders, answers that cannot be digested, disks that are full."""

import errno
import json
import math
import os
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import Fake, Pointwise
from whyrank.errors import BadInput, WhyrankError
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.digest import LARGEST, read_places, sound
from whyrank.llm.ledger import Call
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.schedule import drive
from whyrank.llm.trace import Trace, records
from whyrank.registry import make
from whyrank.types import Usage


def ask(text: str, **sampling: int) -> Prompt:
    return Prompt((Message("user", (Piece(text),)),), Sampling(**sampling))


def plan(*texts: str, **sampling: int):
    return list((yield [ask(text, **sampling) for text in texts]))


# answers that cannot be digested


@pytest.mark.parametrize("format", ["yes_no('no')", "yes_no()", "rubric(weighted=True)", "rubric('no', weighted=True)"])
@pytest.mark.parametrize("odd", [1000.0, math.nan, 1e300, math.inf, 0.5])
def test_an_absurd_log_probability_is_a_bad_answer_and_poisons_nothing(tmp_path, format, odd, monkeypatch):
    monkeypatch.setattr("whyrank.llm.schedule.FIRST_WAIT", 0.0)
    sick = [True]

    def answer(prompt: Prompt) -> Ok:
        chance = odd if "second" in prompt.messages[-1].content and sick else -0.1
        return Ok("<answer>yes</answer><score>7</score>", logprobs=({"yes": chance, "7": chance, "no": -2.0},))

    reranker, path = Pointwise(Fake(answer), format=make(format)), tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        ranked = reranker.rank("q", ["first", "second", "third"], trace)
        assert trace.ledger.total.failures == {"bad_answer": 1}
    assert ranked.statuses["failed"] == 1
    sick.clear()
    with Trace(path) as trace:
        assert reranker.rank("q", ["first", "second", "third"], trace).statuses.get("failed", 0) == 0


@pytest.mark.parametrize("text", ["cut \ud83d", "\ude00 begins", "a \ud83d\ude00 whole one", "\udcff", "\x00\ud800"])
def test_half_characters_are_text_before_they_are_recorded(tmp_path, text):
    with Trace(tmp_path / "t.jsonl") as trace:
        (came,) = drive({"q": plan("x")}, Fake(lambda _: Ok(text, text)), trace)["q"]
    came.text.encode(), came.reasoning.encode()
    assert "😀" in came.text if "whole" in text else "\ufffd" in came.text
    with Trace(tmp_path / "t.jsonl") as trace:
        assert drive({"q": plan("x")}, Fake(lambda _: "never asked"), trace)["q"] == [came]


@pytest.mark.parametrize("digits", ["-1000000", "1e4300", "-1e4300", "1e18"])
def test_counts_that_cannot_be_are_printed_and_pass_no_limit(tmp_path, digits):
    mantissa, _, exponent = digits.partition("e")
    count = int(mantissa) * 10 ** int(exponent or 0)
    llm = Fake(lambda _: Ok("yes " * 100, usage=Usage(count, count, count, count)), concurrency=1)
    with Trace(tmp_path / "t.jsonl", max_tokens=1) as trace:
        with pytest.raises(Exception, match="of 1 tokens"):
            drive({str(at): plan(f"{at} {'word ' * 50}") for at in range(15)}, llm, trace)
        assert trace.ledger.total.calls == 1 and len(str(trace.ledger.total)) < 200
        json.dumps(trace.ledger.total.to_dict())
    with Trace(tmp_path / "t.jsonl", max_tokens=1) as trace:
        assert trace.spent() and 0 <= trace.ledger.total.usage.output <= LARGEST


@pytest.mark.parametrize(
    "odd",
    [
        Ok("x", usage=Usage("many")),
        Ok("x", usage=Usage(1.5)),
        Ok(None),
        Ok("x", finish="done"),
        Ok("x", reasoning=7),
        Failed("nonsense", "x"),
        Ok("x", usage=None),
        "a text",
    ],
)
def test_what_an_engine_of_others_gives_is_an_answer_or_a_failure(odd, monkeypatch):
    monkeypatch.setattr("whyrank.llm.schedule.FIRST_WAIT", 0.0)

    class Engine(Fake):
        async def _generate(self, prompts):
            return [odd for _ in prompts]

    (came,) = drive({"q": plan("x")}, Engine())["q"]
    assert isinstance(came, Failed) and came.kind == "bad_answer"


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.integers(), st.dictionaries(st.text(), st.floats()))
def test_what_is_sound_stays_so_and_is_written_and_read_back(text, count, place):
    came = sound(Ok(text, usage=Usage(count, count), logprobs=(place, {}, {}, place)))
    assert sound(came) == came
    if isinstance(came, Ok):
        came.text.encode()
        assert all(chance <= 0 for place in came.logprobs for chance in place.values())


@pytest.mark.parametrize("seed", [0, 3])
def test_an_answer_on_which_a_plan_of_others_fails_twice_is_asked_again(tmp_path, seed):
    path, said, asked = tmp_path / "t.jsonl", ["odd"] * 3, []

    def engine(prompt: Prompt) -> str:
        asked.append(prompt.messages[0].content)
        return said.pop() if asked[-1] == "x" and said else "good"

    def reads():
        (came,) = yield [ask("x")]
        return {"good": 1}[came.text]

    def go() -> dict[str, object]:
        with Trace(path) as trace:
            return drive({"q": reads(), **{str(at): plan(f"other {at}") for at in range(seed)}}, Fake(engine), trace)

    said[:] = ["odd"]
    with pytest.raises(WhyrankError, match="its plan failed: KeyError: 'odd'; it was reading the calls") as first:
        go()
    assert "set aside" not in str(first.value)
    paid = len(asked)
    with pytest.raises(WhyrankError, match="of which 1 are set aside: the same command asks them again"):
        go()
    assert asked.count("x") == 1 and len(asked) <= paid + seed  # what was paid is kept while the plan may be mended
    for _ in range(2):
        assert go()["q"] == 1 and asked.count("x") == 2
    path.write_bytes(path.read_bytes() * 2)
    assert go()["q"] == 1 and asked.count("x") == 2
    with Trace(path) as trace:
        assert trace.ledger.total.calls == len(asked)


@pytest.mark.parametrize("kind", [OSError, MemoryError, BadInput])
def test_no_answer_is_set_aside_for_what_lies_elsewhere(tmp_path, kind):
    def reads():
        yield [ask("x")]
        raise kind("not the answer's fault")

    for _ in range(3):
        with Trace(tmp_path / "t.jsonl") as trace, pytest.raises(WhyrankError) as caught:
            drive({"q": reads()}, Fake("a"), trace)
        assert "set aside" not in str(caught.value)
    assert (tmp_path / "t.jsonl").read_bytes().count(b"\n") == 1


# log probabilities are kept where they are read


@pytest.mark.parametrize("format", ["yes_no()", "rubric(weighted=True)", "yes_no('native')"])
def test_the_trace_keeps_the_log_probabilities_that_are_read_and_replays_to_the_same_score(tmp_path, format):
    thought = tuple({f"word{at % 50}": -0.1, **{f"other{j}": -1.2345678 - j for j in range(9)}} for at in range(2000))
    end = ({"<": -0.1}, {"yes": -0.1, "no": -2.3, "7": -3.0}, {"7": -0.2, "8": -1.9}, {"</": 0.0})

    class Thinks(Fake):
        async def _generate(self, prompts):
            return [Ok("<answer>yes</answer><score>7</score>", "word " * 2000, logprobs=thought + end) for _ in prompts]

    reranker, path = Pointwise(Thinks(), format=make(format)), tmp_path / "t.jsonl"
    with Trace(path) as trace:
        scores = [one.score for one in reranker.rank("q", ["a", "b"], trace)]
    assert path.stat().st_size / 2 < 15_000
    with Trace(path) as trace:
        assert scores == [one.score for one in reranker.rank("q", ["a", "b"], trace)]
    parsed = make(format).parse(Ok("<answer>yes</answer><score>7</score>", "word " * 2000, logprobs=thought + end), 1)
    assert scores == [parsed.score] * 2 and parsed.score not in (0.0, 1.0, 7.0)


_TOKENS = st.sampled_from(["yes", "no", " Yes", "maybe", "</", "7", "10", "0", " 1", "00", "A", " B", "C", ".", ""])
_PLACES = st.lists(st.dictionaries(_TOKENS, st.floats(-30, 0), max_size=4), max_size=12).map(tuple)


@settings(max_examples=120, deadline=None)
@given(_PLACES, st.sampled_from(["yes", "no", "maybe", "7", "10", "100", "A", "B"]))
@pytest.mark.parametrize("format", ["yes_no()", "yes_no('no')", "rubric(weighted=True)", "first()", "first('asked')"])
def test_no_format_reads_another_answer_from_the_places_that_are_kept(format, places, word):
    part = make(format)
    prompt = part.render("q", ["p"])
    for text in (word, f"<answer>{word}</answer><score>{word}</score>"):
        whole, kept = (part.parse(Ok(text, logprobs=some), 1) for some in (places, read_places(places, prompt.reads)))
        assert repr(whole) == repr(kept)


# lines of a trace


def line(**odd: object) -> bytes:
    told = {
        "key": "k", "model": "m", "query": "q", "step": 1, "status": "ok", "text": "x", "reasoning": "",
        "finish": "stop", "usage": {"input": 1, "output": 1, "reasoning": 0, "cached": 0}, "logprobs": [],
        "retries": 0, "seconds": 0.1, "cut": [], "sampling": {}, "sample": 0,
        "messages": [{"role": "user", "content": "x"}],
    }  # fmt: skip
    return json.dumps(told | odd).encode() + b"\n"


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {"inputs": 1}},
        {"usage": None},
        {"usage": []},
        {"key": [1]},
        {"key": None},
        {"query": {}},
        {"model": 7},
        {"step": "one"},
        {"retries": "none"},
        {"seconds": "long"},
        {"seconds": None},
        {"cut": 5},
        {"cut": [1]},
        {"logprobs": 5},
        {"logprobs": ["x"]},
        {"logprobs": [None]},
        {"messages": [1]},
        {"messages": 5},
        {"messages": [{"role": "user"}]},
        {"messages": [{"content": 5}]},
        {"status": "failed"},
    ],
)
def test_odd_types_in_a_line_are_told_with_file_and_line(tmp_path, odd):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(line(key="a") + line(**odd) + line(key="b"))
    for opened in (Trace, lambda path: list(records(path))):
        with pytest.raises(BadInput, match=r"trace\.jsonl:2: this line of the trace is damaged"):
            opened(path)


def test_deep_nesting_and_numbers_of_5000_digits_in_a_line_are_told(tmp_path):
    path = tmp_path / "trace.jsonl"
    for damage in (
        b"[" * 100_000,
        b'{"key": ' + b"9" * 5000 + b"}",
        line(step=1).replace(b'"step": 1', b'"step": 1e999'),
    ):
        path.write_bytes(line(key="a") + damage.rstrip() + b"\n" + line(key="b"))
        with pytest.raises(BadInput, match=r"trace\.jsonl:2"):
            Trace(path)


@pytest.mark.parametrize(
    "odd",
    [{"usage": {"input": "x"}}, {"text": 5}, {"finish": "odd"}, {"logprobs": [{"a": "x"}]}, {"logprobs": [{"a": 1e3}]}],
)
def test_an_answer_that_an_older_version_recorded_and_nothing_can_use_is_asked_again(tmp_path, odd):
    path, prompt = tmp_path / "trace.jsonl", ask("x")
    path.write_bytes(line(key=prompt.key("fake"), **odd))
    with Trace(path) as trace:
        assert drive({"q": plan("x")}, Fake(lambda _: "new"), trace)["q"] == [Ok("new", usage=Usage(0, 0))]


def test_lines_that_stand_twice_count_once(tmp_path):
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        drive({"q": plan(*"abc")}, Fake("yes"), trace)
        trace.add(Call("f", "fake", "q", 1, Failed("server", "no"), seconds=1.25), ask("f"))
    for times in (2, 3):
        path.write_bytes(path.read_bytes() * times)
        with Trace(path) as trace:
            assert trace.ledger.total.calls == 4 and trace.ledger.total.failed == 1


def test_every_line_is_json(tmp_path):
    path = tmp_path / "t.jsonl"
    llm = Fake(lambda _: Ok("a", logprobs=({"a": -math.inf, "b": -1.0}, {}, {})))
    with Trace(path) as trace:
        first = drive({"q": plan("x", logprobs=2)}, llm, trace)["q"]

    def refuse(text: str) -> None:
        raise AssertionError(text)

    json.loads(path.read_text(), parse_constant=refuse)
    with Trace(path) as trace:
        assert drive({"q": plan("x", logprobs=2)}, Fake(), trace)["q"] == first
    assert first[0].logprobs == ({"a": -math.inf, "b": -1.0}, {}, {})


@pytest.mark.parametrize("places", [[10**30], [10**6] * 1000, [1] * 100_000, [10**9, {"a": -1.0}]])
def test_a_short_line_does_not_unpack_to_gigabytes(tmp_path, places):
    path, prompt = tmp_path / "trace.jsonl", ask("x")
    path.write_bytes(line(key=prompt.key("fake"), logprobs=places))
    tracemalloc.start()
    with Trace(path) as trace:
        assert trace.get(prompt.key("fake")) is None  # it is asked again
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()


def test_what_many_blanks_were_drawn_for_is_an_answer(tmp_path):
    with Trace(tmp_path / "t.jsonl") as trace:
        trace.add(Call("k", "m", "q", 1, sound(Ok("yes", logprobs=({},) * 4000 + ({"yes": -0.1},)))), ask("x"))
    with Trace(tmp_path / "t.jsonl") as trace:
        assert trace.get("k").logprobs[-1] == {"yes": -0.1}


# links, torn writes, full disks


def test_nothing_is_written_through_a_link(tmp_path):
    victim = tmp_path / "token"
    victim.write_text("secret")
    for name, target in (("trace.jsonl", victim), ("dangling.jsonl", tmp_path / "nowhere")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(BadInput, match="is a link, and nothing is written through links"):
            Trace(tmp_path / name)
    assert victim.read_text() == "secret" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["trace.jsonl", "scores.jsonl"])
def test_nothing_is_written_through_another_name_or_a_pipe(tmp_path, name):
    (victim := tmp_path / "token").write_text("secret")
    (tmp_path / name).hardlink_to(victim)
    for what in ("has another name", "is no file that can be kept"):
        with pytest.raises(BadInput, match=f"{name} {what}.*, and is not written through"):
            Trace(None if "scores" in name else tmp_path / name, scores=tmp_path / "scores.jsonl")
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
    assert victim.read_text() == "secret"


@contextmanager
def limited(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [1, 50, 300])
def test_a_line_that_cannot_be_written_whole_is_taken_back(tmp_path, room):
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        trace.add(Call("a", "m", "q", 1, Ok("one")), ask("a"))
        whole = path.read_bytes()
        with limited(len(whole) + room), pytest.raises(OSError) as caught:
            trace.add(Call("b", "m", "q", 1, Ok("two" * 500)), ask("b"))
        assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
        assert path.read_bytes() == whole and trace.get("b") is None
        trace.add(Call("c", "m", "q", 1, Ok("three")), ask("c"))
    with Trace(path) as trace:
        assert trace.get("a") and trace.get("c") and trace.ledger.total.calls == 2


def test_a_disk_that_is_full_for_a_moment_loses_the_one_answer_only(tmp_path, monkeypatch):
    real, torn = os.write, []

    def write(file: int, data: bytes) -> int:
        if b"c 0" in data and not torn:
            torn.append(real(file, data[:40]))
            return torn[0]
        if torn == [40]:
            torn.append(0)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    llm = Fake(lambda prompt: Ok(prompt.messages[0].content), latency=0.01, concurrency=6)
    plans = lambda: {name: plan(f"{name} 0") for name in "abcdef"}  # noqa: E731
    with monkeypatch.context() as patch, Trace(tmp_path / "trace.jsonl") as trace:
        patch.setattr("whyrank.journal.os.write", write)
        with pytest.raises(OSError, match="No space left"):
            drive(plans(), llm, trace)
    asked: list[Prompt] = []
    with Trace(tmp_path / "trace.jsonl") as trace:
        drive(plans(), Fake(lambda prompt: asked.append(prompt) or "x"), trace)
    assert [prompt.messages[0].content for prompt in asked] == ["c 0"]
