import asyncio
import time

import pytest

from whyrank.errors import BadSpec
from whyrank.llm.answer import RETRIED, Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.registry import Part, make
from whyrank.types import Usage


def prompt(text: str) -> Prompt:
    return Prompt((Message("user", (Piece(text),)),))


@pytest.mark.parametrize("spec", ["fake()", "fake(answer='<answer>[2] > [1]</answer>')", "fake(latency=0.5, seed=3)"])
def test_its_spec_makes_it_again(spec: str) -> None:
    assert repr(make(spec, Fake)) == spec
    assert make("fake('[2] > [1]')") == Fake("[2] > [1]")
    with pytest.raises(BadSpec):
        make("fake(anser='x')")


def test_it_says_what_it_is_told_thought_apart() -> None:
    (said,) = Fake("<think>two is better</think>[2] > [1]").generate([prompt("which? " * 4)])
    assert said == Ok("[2] > [1]", "two is better", Usage(input=7, output=9, reasoning=3))
    assert Fake().generate([prompt("x")]) == [Ok("")]
    shout = Fake(lambda prompt: prompt.messages[0].content.upper())
    assert [said.text for said in shout.generate([prompt("a"), prompt("b")])] == ["A", "B"]
    assert Fake(lambda prompt: Failed("refusal", "no")).generate([prompt("a")]) == [Failed("refusal", "no")]
    assert Fake("a").identity != Fake("b").identity != Fake("b", model="other").identity


def test_failures_and_times_depend_on_seed_prompt_and_try_alone() -> None:
    asked = [prompt(str(at)) for at in range(200)]

    def kinds(llm: Fake) -> list[str]:
        return [said.kind if isinstance(said, Failed) else "ok" for said in llm.generate(asked)]

    first, second = Fake("yes", failures=0.3, seed=1), Fake("yes", failures=0.3, seed=1)
    once = kinds(first)
    assert once == kinds(second) and set(once) == RETRIED | {"ok"}
    assert 0.6 < once.count("ok") / 200 < 0.8
    assert kinds(first) != once  # the second try of a prompt is drawn anew
    assert kinds(Fake("yes", failures=0.3, seed=2)) != once
    began = time.perf_counter()
    Fake("yes", latency=0.02).generate(asked)
    assert 0.02 < time.perf_counter() - began < 2.0  # side by side, not one after the other


def test_it_answers_inside_a_running_loop() -> None:
    async def inside() -> object:
        return Fake("yes").generate([prompt("a")])

    assert asyncio.run(inside()) == [Ok("yes", usage=Usage(input=0))]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("sampling(temperature=-1)", "temperature must be at least 0, not -1"),
        ("sampling(max_tokens=0)", "max_tokens must be at least 1, not 0"),
        ("sampling(top_p=0)", "top_p must be above 0 and at most 1, not 0"),
        ("sampling(top_p=1.5)", "top_p must be above 0 and at most 1, not 1.5"),
        ("sampling(top_k=-1)", "top_k must be at least 0, not -1"),
        ("sampling(logprobs=-1)", "logprobs must be at least 0, not -1"),
        ("fake(failures=1.5)", "fake: failures must be from 0 to 1, not 1.5"),
        ("fake(failures=-0.1)", "failures must be from 0 to 1, not -0.1"),
        ("fake(latency=-1)", "latency must be at least 0"),
    ],
)
def test_senseless_numbers_are_refused(spec, told):
    with pytest.raises(BadSpec, match=told):
        make(spec, Part)
