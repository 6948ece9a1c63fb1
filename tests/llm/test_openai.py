import asyncio
import json
import re
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fault_server import FaultServer
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.response import read_completion, refused
from whyrank.registry import make
from whyrank.types import Usage

SPECS = [
    "openai('Qwen/Qwen3-8B', base_url='http://localhost:8000/v1')",
    "openai('gpt', concurrency=4, timeout=30.0, context=8192, tokenizer_from='models/gpt')",
    "openai('m', extra_body={'chat_template_kwargs': {'enable_thinking': False}})",
]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def prompt(text: str = "[1] a [2] b", sample: int = 0, **sampling: Any) -> Prompt:
    return Prompt((Message("system", (Piece("Rank."),)), Message("user", (Piece(text),))), Sampling(**sampling), sample)


def ask(server: FaultServer, asked: Prompt | None = None, **options: Any) -> Completion:
    (said,) = OpenAI("tiny", server.url, **options).generate([asked or prompt()])
    return said


@pytest.mark.parametrize("spec", SPECS)
def test_its_spec_makes_it_again(spec: str) -> None:
    assert repr(make(spec, OpenAI)) == spec and make(spec) == make(spec)
    assert hash(make(spec)) == hash(make(spec))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:8000", "must be like"),
        ("ftp://host/v1", "must be like"),
        ("https://me:secret@host/v1", "no user or password"),
    ],
)
def test_a_wrong_address_is_refused_and_no_secret_shown(url: str, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        OpenAI("m", url)
    assert "secret" not in str(caught.value)


def test_a_healthy_call_and_what_was_sent() -> None:
    with FaultServer() as server:
        said = ask(server, prompt(max_tokens=77))
        assert said == Ok("<answer>[2] > [1]</answer>", "the last is best", Usage(21, 14))
        (sent,) = server.bodies
        assert sent == {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Rank."}, {"role": "user", "content": "[1] a [2] b"}],
            "temperature": 0.0,
            "max_tokens": 77,
        }
        more = prompt(sample=2, temperature=0.6, top_p=0.95, top_k=20, seed=5, stop=("END",), logprobs=3)
        ask(server, more, extra_body={"min_p": 0.1})
        del (sent := server.bodies[1])["messages"], sent["model"]
        assert sent == {
            "temperature": 0.6,
            "max_tokens": 3172,
            "top_p": 0.95,
            "top_k": 20,
            "seed": 7,
            "stop": ["END"],
            "logprobs": True,
            "top_logprobs": 3,
            "min_p": 0.1,
        }


def test_the_key_comes_from_the_environment_and_a_server_of_ones_own_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (failed,) = OpenAI("m").generate([prompt()])
    assert isinstance(failed, Failed) and failed.kind == "auth" and "OPENAI_API_KEY" in failed.detail
    with FaultServer() as server:
        ask(server)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        ask(server)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert isinstance(OpenAI("m").generate([prompt()])[0], Ok)
    assert [headers["authorization"] for headers in server.headers][1:] == ["Bearer sk-test"] * 2
    assert "sk-test" not in repr(OpenAI("m")) and server.bodies[2]["max_completion_tokens"] == 3172


@pytest.mark.parametrize(
    ("action", "kind", "detail"),
    [
        ("bad_json", "bad_answer", "JSONDecodeError"),
        ("html", "bad_answer", "<html>"),
        ("no_choices", "bad_answer", "IndexError"),
        ("wrong_finish", "bad_answer", "finish_reason 'abort'"),
        ("rate_limit", "rate_limit", "HTTP 429: .*too many requests"),
        ("quota", "auth", "no money left"),
        ("error_500", "server", "HTTP 500"),
        ("error_503", "server", "overloaded"),
        ("cut", "connection", "http://127.0.0.1"),
        ("cut_in_body", "connection", "http://127.0.0.1"),
        ("hang", "timeout", "no answer within 0.3 s"),
        ("auth", "auth", "this key is wrong"),
        ("forbidden", "auth", "not for you"),
        ("not_found", "not_found", "no such model"),
        ("bad_request", "bad_request", "temperature must be positive"),
        ("unprocessable", "bad_request", "field required"),
        ("too_long", "context", "maximum context length"),
        ("too_long_plain", "context", "available context size"),
        ("filtered", "refusal", "was filtered"),
        ("refusal", "refusal", "I would rather not"),
    ],
)
def test_each_fault_has_its_kind_and_is_asked_once(action: str, kind: str, detail: str) -> None:
    with FaultServer(script={"a": [action]}) as server:
        said = ask(server, timeout=0.3 if action == "hang" else 20.0)
        assert isinstance(said, Failed) and said.kind == kind
        assert re.search(detail, said.detail)
        assert said.retry_after == (0.02 if action == "rate_limit" else None)
        assert len(server.log) == 1  # the package's own retries are off


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = OpenAI("m", f"http://127.0.0.1:{taken.getsockname()[1]}/v1").generate([prompt()])[0]
    assert isinstance(said, Failed) and said.kind == "connection" and "127.0.0.1" in said.detail


def test_a_text_without_utf8_harms_no_other_call() -> None:
    with FaultServer() as server:
        bad, good = OpenAI("m", server.url).generate([prompt("[1] \ud83d"), prompt("[1] fine")])
    assert isinstance(bad, Ok | Failed) and (isinstance(bad, Ok) or bad.kind == "bad_request") and isinstance(good, Ok)


def test_one_part_serves_many_loops_at_once() -> None:
    with FaultServer(seconds=0.01) as server:
        llm, found = OpenAI("m", server.url), []
        threads = [
            threading.Thread(target=lambda: found.extend(llm.generate([prompt("[1] a"), prompt("[1] b")])))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8 and all(isinstance(said, Ok) for said in found)
    assert not llm._clients


def body(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> str:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish, **more}]})


@pytest.mark.parametrize(
    "message",
    [
        {"content": "[2] > [1]", "reasoning_content": "bees"},
        {"content": "[2] > [1]", "reasoning": "bees"},
        {"content": "<think>bees</think>\n[2] > [1]"},
        {"content": "bees</think>[2] > [1]", "reasoning_content": None},
        {"content": [{"type": "text", "text": "<think>bees</think>"}, {"type": "text", "text": "[2] > [1]"}]},
    ],
)
def test_reasoning_is_found_wherever_it_comes(message: dict[str, Any]) -> None:
    assert read_completion(body(message)) == Ok("[2] > [1]", "bees")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (body({"content": None, "reasoning_content": "I was still"}, "length"), Ok("", "I was still", finish="length")),
        (body({"content": "<think>I was still"}, "length"), Ok("", "I was still", finish="length")),
        (body({"content": ""}), Ok("")),
        (body({"role": "assistant"}), Ok("")),
        (body({"content": "yes"}, "eos_token"), Ok("yes")),
        (body({"content": "[1]", "refusal": "no"}), Failed("refusal", "no")),
    ],
)
def test_answers_that_are_cut_empty_orrefused(text: str, expected: Completion) -> None:
    assert read_completion(text) == expected


@pytest.mark.parametrize("finish", ["tool_calls", "abort", "error", "ABORT"])
def test_an_answer_that_did_not_end_rightly_is_a_bad_one(finish: Any) -> None:
    said = read_completion(body({"content": "[3] > [1]"}, finish))
    assert isinstance(said, Failed) and said.kind == "bad_answer"


@pytest.mark.parametrize("finish", [None, "", "STOP", "Eos", "banana", 3, ["stop"], {"a": 1}])
def test_an_answer_that_is_there_counts_whatever_its_end_is_called(finish: Any) -> None:
    assert read_completion(body({"content": "<think>x</think>[3] > [1]"}, finish)) == Ok("[3] > [1]", "x")
    missing = json.loads(body({"content": "[3] > [1]"}))
    del missing["choices"][0]["finish_reason"]
    assert read_completion(json.dumps(missing)) == Ok("[3] > [1]")


@pytest.mark.parametrize("finish", [None, "", "banana", 3])
@pytest.mark.parametrize("content", [None, "", "<think>[2] is"])
def test_no_answer_with_an_end_that_is_not_known_is_a_bad_one(finish: Any, content: Any) -> None:
    said = read_completion(body({"content": content}, finish))
    assert isinstance(said, Failed) and said.kind == "bad_answer"


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", None, "banana"])
def test_an_answer_that_used_up_its_tokens_was_cut(finish: Any) -> None:
    used = json.loads(body({"content": "[3] >"}, finish)) | {"usage": {"completion_tokens": 7}}
    said = read_completion(json.dumps(used), prompt(max_tokens=7))
    assert said == Ok("[3] >", usage=Usage(output=7), finish="length")


def test_usage_and_log_probabilities() -> None:
    text = json.loads(
        body(
            {"content": "[1]"},
            logprobs={
                "content": [
                    {
                        "token": "[",
                        "logprob": -0.1,
                        "top_logprobs": [{"token": "[", "logprob": -0.1}, {"token": "(", "logprob": -3}],
                    },
                    {"token": "1", "logprob": -0.5, "top_logprobs": []},
                ]
            },
        )
    )
    text["usage"] = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 30},
        "prompt_tokens_details": {"cached_tokens": 64},
    }
    said = read_completion(json.dumps(text))
    assert said == Ok("[1]", usage=Usage(100, 50, 30, 64), logprobs=({"[": -0.1, "(": -3.0}, {"1": -0.5}))
    for empty in (None, {}, {"prompt_tokens": None, "prompt_tokens_details": None}):
        assert read_completion(json.dumps(text | {"usage": empty})).usage == Usage()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "finish_reason", "usage", "text", "type", "logprobs"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.text(max_size=20))
def test_no_answer_whatever_its_form_raises(value: Any, text: str) -> None:
    for said in (
        json.dumps(value),
        text,
        body(value),
        json.dumps({"choices": [value], "usage": value}),
        body({"content": value}),
    ):
        assert isinstance(read_completion(said), Ok | Failed)


def test_the_wait_that_a_server_asks_for_is_seconds_or_a_date() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    for header, least, most in (("3", 3, 3), ("0.5", 0.5, 0.5), ("-1", 0, 0), (in_an_hour, 3000, 3601)):
        failed = refused(429, "slow down", None, {"retry-after": header})
        assert failed.retry_after is not None and least <= failed.retry_after <= most
    for nothing in ({}, {"retry-after": ""}, {"retry-after": "soon"}, {"retry-after": "Mon, 99 Foo 2020"}):
        assert refused(503, "busy", None, nothing).retry_after is None


def test_identity_is_the_model_and_what_the_request_adds() -> None:
    assert OpenAI("m").identity == OpenAI("m", "http://host/v1", concurrency=2).identity == "m"
    assert OpenAI("m", extra_body={"a": 1, "b": 2}).identity == OpenAI("m", extra_body={"b": 2, "a": 1}).identity != "m"


def test_concurrent_prompts_of_one_request_go_side_by_side() -> None:
    async def both(llm: OpenAI) -> list[Completion]:
        try:
            return list(await llm.agenerate([prompt(f"[1] {at}") for at in range(5)]))
        finally:
            await llm.aclose()

    with FaultServer(seconds=0.05) as server:
        assert all(isinstance(said, Ok) for said in asyncio.run(both(OpenAI("m", server.url))))
    assert server.most_under_way == 5
