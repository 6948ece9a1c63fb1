"""Servers take different parameters and turns: what one refuses is asked otherwise, once for all calls."""

from collections.abc import Mapping
from typing import Any

import pytest
from fault_server import FaultServer

from whyrank.errors import BadSpec
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.registry import make

NO_LIMIT = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def prompt(text: str = "[1] a [2] b", **sampling: Any) -> Prompt:
    turns = (Message("system", (Piece("Rank."),)), Message("user", (Piece(text),)))
    return Prompt(turns, Sampling(**sampling))


def answered(server: FaultServer, *prompts: Prompt, **options: Any) -> list[Completion]:
    return OpenAI("m", server.url, **options).generate(prompts or [prompt()])


def reasoning_model(asked: Mapping[str, Any]) -> tuple[int, str] | None:
    if "max_tokens" in asked:
        return 400, NO_LIMIT
    if asked.get("temperature", 1) != 1:
        return (
            400,
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported.",
        )
    if "top_p" in asked:
        return 400, "Unsupported parameter: 'top_p' is not supported with this model."
    return None


def test_a_reasoning_model_is_asked_as_it_wants_and_that_is_remembered() -> None:
    with FaultServer(refuses=reasoning_model) as server, pytest.warns(UserWarning, match="takes no temperature"):
        llm = OpenAI("m", server.url)
        assert isinstance(llm.generate([prompt(max_tokens=50, top_p=0.9)])[0], Ok)
        assert len(server.bodies) == 4
        assert isinstance(llm.generate([prompt("[1] c [2] d", max_tokens=60)])[0], Ok)
    assert len(server.bodies) == 5
    assert server.bodies[4] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Rank."}, {"role": "user", "content": "[1] c [2] d"}],
        "max_completion_tokens": 60,
    }
    assert repr(llm) == f"openai('m', base_url='{server.url}')" and llm.identity == "m" and make(repr(llm)) == llm


def test_calls_that_were_under_way_are_asked_again_too() -> None:
    with FaultServer(refuses=reasoning_model, seconds=0.02) as server, pytest.warns(UserWarning):
        said = answered(server, *(prompt(f"[1] {at} [2] b") for at in range(8)))
    assert all(isinstance(one, Ok) for one in said) and len(server.bodies) <= 24


def test_an_older_server_is_given_the_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(asked: Mapping[str, Any]) -> tuple[int, str] | None:
        return (
            (422, "max_completion_tokens: extra inputs are not permitted") if "max_completion_tokens" in asked else None
        )

    with FaultServer(refuses=old) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert isinstance(OpenAI("m").generate([prompt()])[0], Ok)
    assert [sorted(body)[:2] for body in server.bodies] == [
        ["max_completion_tokens", "messages"],
        ["max_tokens", "messages"],
    ]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (500, "Jinja Exception: System role not supported"),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (400, "Developer instruction is not enabled for this model"),
        (422, "Only user and assistant roles are supported, not role 'system'"),
    ],
)
def test_instructions_are_put_before_the_question_where_no_system_turn_is_taken(status: int, told: str) -> None:
    def refuses(asked: Mapping[str, Any]) -> tuple[int, str] | None:
        return (status, told) if asked["messages"][0]["role"] == "system" else None

    with FaultServer(refuses=refuses) as server:
        llm = OpenAI("m", server.url)
        first, second = llm.generate([prompt("[1] a [2] b")]) + llm.generate([prompt("[1] c [2] d")])
    assert isinstance(first, Ok) and isinstance(second, Ok) and len(server.bodies) == 3
    assert server.bodies[2]["messages"] == [{"role": "user", "content": "Rank.\n\n[1] c [2] d"}]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "temperature must be positive"),
        (400, "max_tokens is too large"),
        (500, "unexpected system failure: the temperature of the rack is not supported"),
        (400, "the role of the user is not supported"),
        (400, "not supported"),
        (429, NO_LIMIT),
    ],
)
def test_other_refusals_are_asked_once(status: int, told: str) -> None:
    with FaultServer(refuses=lambda _: (status, told)) as server:
        (said,) = answered(server)
    assert isinstance(said, Failed) and told in said.detail and len(server.bodies) == 1


def test_a_server_that_refuses_everything_is_asked_a_few_times_and_no_more() -> None:
    everything = "not supported: max_tokens, max_completion_tokens, temperature, top_p, seed, system role"
    with FaultServer(refuses=lambda _: (400, everything)) as server, pytest.warns(UserWarning):
        (said,) = answered(server, prompt(top_p=0.5, seed=1))
    assert isinstance(said, Failed) and len(server.bodies) <= 4


def test_no_temperature_is_sent_where_none_is_given() -> None:
    with FaultServer() as server:
        answered(server, prompt(temperature=None))
    assert "temperature" not in server.bodies[0]
    assert make("sampling(temperature=None)") == Sampling(temperature=None) != Sampling()
    assert prompt(temperature=None).key("m") != prompt().key("m")
    with pytest.raises(BadSpec, match="temperature must be at least 0"):
        Sampling(temperature=-1.0)


def test_a_timeout_bounds_the_call_and_all_forms_of_it() -> None:
    with FaultServer(refuses=reasoning_model, seconds=0.4) as server:
        (said,) = answered(server, timeout=0.6)
    assert said == Failed("timeout", "no answer within 0.6 s") and len(server.bodies) <= 3
