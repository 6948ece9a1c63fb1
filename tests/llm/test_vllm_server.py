import dataclasses

import pytest
import tiny
from tiny import ask

from whyrank.llm.answer import Failed, Ok
from whyrank.llm.openai import OpenAI
from whyrank.llm.schedule import drive
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def served(server) -> OpenAI:
    return OpenAI(server.model, base_url=server.url)


def test_three_engines_give_the_same_greedy_answers(served: OpenAI, in_process: VLLM, tiny_lm) -> None:
    some = tiny.prompts()
    answers = [
        [(one.text, one.reasoning, one.finish, dataclasses.replace(one.usage, cached=0)) for one in llm.generate(some)]
        for llm in (Transformers(str(tiny_lm), device="cpu"), in_process, served)
    ]
    assert answers[0] == answers[1] == answers[2]
    assert {finish for _, _, finish, _ in answers[0]} == {"stop", "length"}


def test_the_servers_reasoning_parser_fills_the_reasoning(served: OpenAI) -> None:
    for word in tiny.ANSWERS:
        (completion,) = served.generate([ask(f"why do {word} sing?")])
        assert (completion.reasoning, completion.text) == tiny.answer(word)
        assert completion.usage.reasoning > 0


def test_sampling_reaches_the_server(served: OpenAI, in_process: VLLM) -> None:
    hot = [ask("the moon", temperature=1.5, top_p=0.9, top_k=40, seed=3, sample=sample) for sample in range(4)]
    local = [(one.text, one.reasoning) for one in in_process.generate(hot)]
    assert [(one.text, one.reasoning) for one in served.generate(hot)] == local
    (stopped,) = served.generate([ask("the bees", stop=(" [1]",))])
    assert (stopped.text, stopped.finish) == ("<answer>[2] >", "stop")


def test_logprobs_are_those_of_the_engine_in_process(served: OpenAI, in_process: VLLM) -> None:
    some = [ask("the bees", logprobs=3)]
    (got,), (wanted,) = served.generate(some), in_process.generate(some)
    assert len(got.logprobs) == len(wanted.logprobs) > 0
    for place, same in zip(got.logprobs, wanted.logprobs, strict=True):
        assert place == pytest.approx(same, abs=1e-3)


def test_a_prompt_that_is_too_long_is_of_class_context(served: OpenAI) -> None:
    long, unknown = (
        served.generate([ask("bread " * 5000)]),
        dataclasses.replace(served, model="gone").generate([ask("x")]),
    )
    assert isinstance(long[0], Failed) and long[0].kind == "context"
    assert isinstance(unknown[0], Failed) and unknown[0].kind == "not_found"


def test_a_hundred_plans_at_once_all_come_back(served: OpenAI) -> None:
    def plan(word: str, at: int):
        (completion,) = yield [ask(f"why do {word} sing in verse {at}?")]
        return completion.reasoning, completion.text

    words = [list(tiny.ANSWERS)[at % 3] for at in range(100)]
    answers = drive(
        {str(at): plan(word, at) for at, word in enumerate(words)}, dataclasses.replace(served, concurrency=100)
    )
    alone = [served.generate([ask(f"why do {word} sing in verse {at}?")])[0] for at, word in enumerate(words)]
    assert list(answers.values()) == [(one.reasoning, one.text) for one in alone]
    assert len(set(answers.values())) > 1


def test_the_scheduler_shortens_what_the_server_calls_too_long(served: OpenAI) -> None:
    def plan():
        (completion,) = yield [ask("bread " * 3000)]
        return completion

    assert isinstance(served.generate([ask("bread " * 3000)])[0], Failed)
    assert isinstance(drive({"q": plan()}, served)["q"], Ok)
