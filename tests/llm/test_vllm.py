import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tiny import ask

from whyrank.errors import EngineError, MissingExtra
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.schedule import drive
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM
from whyrank.registry import make

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def reference(tiny_lm: Path) -> Transformers:
    return Transformers(str(tiny_lm), device="cpu")


@pytest.mark.timeout(300)
def test_it_starts_and_leaves_the_environment_alone(in_process: VLLM) -> None:
    before = dict(os.environ)
    (completion,) = in_process.generate([ask("why do bees dance?")])
    assert (completion.reasoning, completion.text) == tiny.answer("bees")
    assert dict(os.environ) == before


def test_greedy_answers_are_those_of_transformers(in_process: VLLM, reference: Transformers) -> None:
    some = tiny.prompts()
    for got, wanted in zip(in_process.generate(some), reference.generate(some), strict=True):
        assert dataclasses.replace(got, usage=dataclasses.replace(got.usage, cached=0)) == wanted


def test_logprobs_are_those_of_transformers(in_process: VLLM, reference: Transformers) -> None:
    some = [ask("the bees", logprobs=4), ask("bread rises", logprobs=1, max_tokens=5)]
    for got, wanted in zip(in_process.generate(some), reference.generate(some), strict=True):
        assert len(got.logprobs) == len(wanted.logprobs) > 0
        for place, same in zip(got.logprobs, wanted.logprobs, strict=True):
            assert place == pytest.approx(same, abs=1e-3)


def test_draws_depend_on_seed_and_sample(in_process: VLLM) -> None:
    hot = [ask("the moon", temperature=2.0, seed=7, sample=sample) for sample in range(5)]
    first, second = in_process.generate(hot), in_process.generate(hot[::-1])[::-1]
    assert [one.text + one.reasoning for one in first] == [one.text + one.reasoning for one in second]
    assert len({one.text + one.reasoning for one in first}) > 2
    (greedy,) = in_process.generate([ask("the moon", temperature=2.0, top_k=1)])
    assert greedy.text == in_process.generate([ask("the moon")])[0].text


def test_the_ends_of_answers(in_process: VLLM, reference: Transformers) -> None:
    some = [ask("the bees", stop=(" [1]", "> ")), ask("the bees", max_tokens=4), ask("the bees", max_tokens=12)]
    got, wanted = in_process.generate(some), reference.generate(some)
    assert [(one.text, one.reasoning, one.finish) for one in got] == [
        (one.text, one.reasoning, one.finish) for one in wanted
    ]
    assert [one.finish for one in got] == ["stop", "length", "length"]
    assert [one.usage.output for one in got] == [one.usage.output for one in wanted]


def test_calls_that_cannot_be_answered_fail_alone(in_process: VLLM) -> None:
    long, wrong, fine = in_process.generate([ask("bread " * 5000), ask("bees", logprobs=10_000), ask("bees")])
    assert isinstance(long, Failed) and long.kind == "context" and "4096" in long.detail
    assert isinstance(wrong, Failed) and wrong.kind == "bad_request" and "logprobs" in wrong.detail
    assert isinstance(fine, Ok)


def test_a_hundred_at_once_from_many_event_loops(in_process: VLLM, reference: Transformers) -> None:
    words = [list(tiny.ANSWERS)[at % 3] for at in range(100)]
    prompts = [ask(f"why do {word} sing in verse {at}?") for at, word in enumerate(words)]
    wanted = [(one.reasoning, one.text) for one in reference.generate(prompts)]
    assert len(set(wanted)) > 1
    for _ in range(2):
        assert [(one.reasoning, one.text) for one in in_process.generate(prompts)] == wanted


def test_chains_run_free(in_process: VLLM) -> None:
    def plan(word: str):
        said = word
        for _ in range(4):
            (completion,) = yield [ask(f"why do {word} sing? {said}")]
            said = completion.text
        return said

    plans = {f"{word} {at}": plan(word) for word in tiny.ANSWERS for at in range(10)}
    assert drive(plans, in_process) == {name: tiny.answer(name.split(" ")[0]).text for name in plans}


def test_a_cancelled_call_leaves_the_engine_usable(in_process: VLLM) -> None:
    async def give_up() -> None:
        slow = in_process.agenerate([ask("the moon", temperature=2.0, seed=at, max_tokens=4000) for at in range(64)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.05)

    asyncio.run(give_up())
    assert isinstance(in_process.generate([ask("bees")])[0], Ok)


def test_equal_parts_share_one_engine(in_process: VLLM) -> None:
    assert make(repr(in_process))._engine is in_process._engine


def test_an_engine_that_cannot_start_says_why(vllm_installed: None, tiny_lm: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)cannot be started.*9999.* is greater than"):
        VLLM(str(tiny_lm), context=9999).generate([ask("bees")])
    with pytest.raises(EngineError, match=r"nowhere.*cannot be loaded"):
        VLLM(str(tiny_lm / "nowhere")).generate([ask("bees")])


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tiny_lm: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtra, match=r"vllm\(\.\.\.\) needs the package vllm: pip install 'whyrank\[vllm\]'"):
        VLLM(str(tiny_lm), concurrency=1).generate([ask("bees")])


@given(
    model=st.text(),
    context=st.none() | st.integers(1, 9999),
    memory=st.floats(0.1, 1.0),
    kwargs=st.dictionaries(st.text(), st.booleans() | st.integers() | st.text()),
)
def test_the_spec_is_read_back(model: str, context: int | None, memory: float, kwargs: dict[str, object]) -> None:
    part = VLLM(model, context=context, gpu_memory=memory, chat_template_kwargs=kwargs)
    assert make(repr(part)) == part


SCRIPT = """
import contextlib, gc, json, sys
import psutil
from tiny import ask
from whyrank.llm.vllm import VLLM

def engines():
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child.pid)
    return found

if __name__ == "__main__":
    llm, said = VLLM(sys.argv[1], context=512), {}
    said["texts"] = [llm.generate([ask("why do bees dance?")])[0].text]
    said["engines"] = engines()
    if sys.argv[2] != "kept":
        for pid in engines():
            psutil.Process(pid).kill()
        said["failed"] = llm.generate([ask("why do bees dance?")])[0].kind
        said["texts"] += [llm.generate([ask("why do bees dance?")])[0].text]
        said["engines"] += engines()
        del llm
        gc.collect()
        said["left"] = engines()
    print(json.dumps(said))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fate", ["kept", "killed and dropped"])
def test_the_engine_in_a_program(vllm_installed: None, tiny_lm: Path, tmp_path: Path, fate: str) -> None:
    """It ends with the program or with the last part that uses it, and is started anew where it died."""
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    env = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}
    if fate != "kept":  # that one runs with vLLM's own choice of processes
        env["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    env["PYTHONPATH"] = os.pathsep.join([str(Path(tiny.__file__).parent), str(Path(tiny.__file__).parents[2])])
    done = subprocess.run([sys.executable, script, tiny_lm, fate], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # and nothing else stands on stdout
    assert set(said["texts"]) == {tiny.answer("bees").text}
    assert said["engines"] and not _alive(said["engines"])
    if fate == "kept":
        assert "Error" not in done.stderr
    else:
        assert (said["failed"], said["left"]) == ("server", [])


def _alive(processes: list[int]) -> list[int]:
    """Those that still run after a few seconds' grace."""
    until = time.monotonic() + 10
    while (left := [pid for pid in processes if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    return left
