"""A turn of the assistant that was begun is gone on with, on every engine, and never begun again."""

import json
from pathlib import Path

import pytest
import tiny
from fault_server import FaultServer
from tiny import ask

from whyrank.llm.answer import Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.reasoning import split_reasoning, thinking
from whyrank.llm.response import read_completion
from whyrank.llm.transformers import Transformers

THOUGHT, ANSWER = tiny.answer("bees")


def go_on(llm: LLM, *texts: str, **sampling: object) -> list[Ok]:
    asked = ask("why do bees dance?", **sampling)
    return llm.generate([asked.prefilled(text) for text in texts])


def check(llm: LLM) -> None:
    closed, open, half, stopped = go_on(
        llm, f"<think>{THOUGHT}</think>", "<think>bees dance", f"<think>{THOUGHT}</think><answer>[2]", "<think>"
    )
    assert (closed.reasoning, closed.text, closed.finish) == ("", ANSWER, "stop")
    assert (open.reasoning.strip(), open.text) == (THOUGHT.removeprefix("bees dance").strip(), ANSWER)
    assert (half.reasoning, half.text) == ("", " > [1] > [3]</answer>")
    assert (stopped.reasoning, stopped.text) == (THOUGHT, ANSWER)
    (cut,) = go_on(llm, "<think>", stop=("</think>",))
    assert (cut.reasoning, cut.text, cut.finish) == (THOUGHT, "", "stop")
    (long,) = go_on(llm, "<think>bees", max_tokens=2)
    assert long.reasoning and THOUGHT.removeprefix("bees").startswith(long.reasoning)
    assert (long.text, long.finish) == ("", "length")
    (word,) = go_on(llm, f"<think>{THOUGHT}</think><answer>[", max_tokens=1, logprobs=3)
    assert word.text == "2" and max(word.logprobs[0].items(), key=lambda one: one[1])[0] == "2"


@pytest.mark.engines
def test_transformers(tiny_lm: Path) -> None:
    check(Transformers(str(tiny_lm), device="cpu"))


@pytest.mark.engines
@pytest.mark.timeout(300)
def test_vllm(in_process: LLM) -> None:
    check(in_process)


@pytest.mark.engines
@pytest.mark.timeout(300)
def test_a_server(server) -> None:
    check(OpenAI(server.model, base_url=server.url))


@pytest.mark.engines
def test_a_template_that_opens_the_thought(tmp_path: Path) -> None:
    llm = Transformers(str(tiny.language_model(tmp_path / "tiny", prefilled=True)), device="cpu")
    check(llm)
    chat = ask("bees").prefilled("<think>yes").chat
    assert llm.chat.render(chat).endswith("assistant\n<think>\nyes")


def test_prompts_that_go_on() -> None:
    asked = Prompt((Message("user", (Piece("why?"),)),))
    once = asked.prefilled("<think>a", Sampling(max_tokens=3))
    twice = once.prefilled("</think>")
    assert (asked.prefill, once.prefill, twice.prefill) == ("", "<think>a", "<think>a</think>")
    assert [message.role for message in twice.messages] == ["user", "assistant"]
    assert twice.sampling.max_tokens == 3 and len({one.key("m") for one in (asked, once, twice)}) == 3
    assert [thinking(text) for text in ("", "a", "<THINK>a", "<think>a</think>", "<think></think><think>")] == [
        False, False, True, False, True
    ]  # fmt: skip
    assert split_reasoning("<think> a\n") == (" a\n", "")


def test_servers_are_asked_to_go_on_or_given_notes() -> None:
    asked = ask("why do bees dance?").prefilled("<think>bees</think>")
    with FaultServer(answer=lambda messages: f"{messages[-1]['role']} [1]") as server:
        llm = OpenAI("m", base_url=server.url)
        assert [one.text for one in llm.generate([asked])] == ["assistant [1]"]
        first = server.bodies[-1]
        assert (first["continue_final_message"], first["add_generation_prompt"]) == (True, False)
        assert first["messages"] == asked.chat
        plain = OpenAI("m", base_url=server.url, prefill=False)
        assert [one.text for one in plain.generate([asked, ask("bees")])] == ["user [1]"] * 2
        bodies = [body for body in server.bodies[1:] if "notes" in str(body)]
        assert len(bodies) == 1 and "continue_final_message" not in bodies[0]
        (message,) = bodies[0]["messages"]
        assert message["content"].startswith("why do bees dance?\n\nYour notes so far:\nbees\n\nDo not think further")
    assert plain.identity != llm.identity == "m"


@pytest.mark.parametrize("message", [{"content": "[1]"}, {"content": None, "reasoning_content": "[1]"}])
def test_what_follows_a_closed_thought_is_the_answer(message) -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert read_completion(body, ask("why?").prefilled("<think>bees</think>")).text == "[1]"


def test_a_server_that_stops_at_the_end_of_a_thought_it_did_not_look_for() -> None:
    choice = {"message": {"content": "bees\n"}, "finish_reason": "stop", "stop_reason": "</think>"}
    found = read_completion(json.dumps({"choices": [choice]}))
    assert (found.reasoning, found.text) == ("bees\n", "")
