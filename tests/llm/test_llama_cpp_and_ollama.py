"""What the servers of llama.cpp and Ollama answer is read: their shapes, their extras, their errors."""

import json
from typing import Any

import pytest
from raw_server import RawServer

from whyrank import Listwise, OpenAI, Pointwise, RankingFormat
from whyrank.errors import EngineError
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.rerank.formats import YesNo

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def reply(body: dict[str, Any], status: str = "200 OK") -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + data


def llama_cpp(text: str, finish: str = "stop", thought: str = "", places: Any = None) -> dict[str, Any]:
    """A completion as llama-server writes it: choices first, a build as fingerprint, timings behind the usage."""
    message = {"role": "assistant", "content": text} | ({"reasoning_content": thought} if thought else {})
    choice = {"finish_reason": finish, "index": 0, "message": message}
    if places is not None:
        choice["logprobs"] = {"content": places}
    return {
        "choices": [choice],
        "created": 1755667673,
        "model": "smollm2",
        "system_fingerprint": "b6210-a094f381",
        "object": "chat.completion",
        "usage": {"completion_tokens": 3, "prompt_tokens": 40, "total_tokens": 43},
        "id": "chatcmpl-x",
        "timings": {"cache_n": 0, "prompt_n": 40, "prompt_ms": 53.7, "predicted_n": 3, "predicted_ms": 9.1},
    }


def place(told: dict[str, float]) -> dict[str, Any]:
    """The alternatives at one place, with the ids and bytes that llama-server adds."""
    entries = [
        {"id": at, "token": token, "bytes": list(token.encode()), "logprob": chance}
        for at, (token, chance) in enumerate(told.items())
    ]
    return {**entries[0], "top_logprobs": entries}


def ollama(text: str, thought: str = "", finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text} | ({"reasoning": thought} if thought else {})
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "smollm2:135m",
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 3, "total_tokens": 43},
    }


def error(code: int, message: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": kind, **more}}


def asked(server: RawServer, text: str = "why?", **sampling: Any) -> Any:
    prompt = Prompt((Message("user", (Piece(text),)),), Sampling(**sampling))
    return OpenAI("smollm2", base_url=server.url).generate([prompt])[0]


def sent(server: RawServer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    return body


@pytest.mark.parametrize("shape", [llama_cpp, ollama])
def test_an_answer_a_thought_and_what_it_took(shape: Any) -> None:
    with RawServer(lambda request: reply(shape("Paris.", thought="France, so"))) as server:
        got = asked(server)
    assert isinstance(got, Ok) and (got.text, got.reasoning, got.finish) == ("Paris.", "France, so", "stop")
    assert (got.usage.input, got.usage.output) == (40, 3)
    assert b"/v1/chat/completions" in server.requests[0]


@pytest.mark.parametrize("shape", [llama_cpp, ollama])
def test_an_answer_that_was_cut_off_is_one(shape: Any) -> None:
    with RawServer(lambda request: reply(shape("[2] > ", finish="length"))) as server:
        got = asked(server)
    assert isinstance(got, Ok) and got.finish == "length"


def test_a_list_is_ranked_and_told_apart_from_babble() -> None:
    with RawServer(lambda request: reply(ollama("[2] > [1]"))) as server:
        llm = OpenAI("smollm2:135m", base_url=server.url)
        ranked = Listwise(llm, format=RankingFormat(think="no")).rank("q", ["one", "two"])
    assert [item.text for item in ranked] == ["two", "one"] and ranked.statuses["exact"] == 1


def test_log_probabilities_of_llama_cpp_score_yes_against_no() -> None:
    def answer(request: bytes) -> bytes:
        told = {"yes": -0.1, "no": -2.4} if b"honey" in request else {"no": -0.2, "yes": -1.8}
        return reply(llama_cpp(max(told, key=told.__getitem__), places=[place(told)]))

    with RawServer(answer) as server:
        llm = OpenAI("smollm2", base_url=server.url)
        ranked = Pointwise(llm, format=YesNo("no")).rank("what do bees make?", ["wax", "honey"])
    assert [item.text for item in ranked] == ["honey", "wax"]
    assert [round(item.score or 0, 3) for item in ranked] == [0.909, 0.168]
    assert sent(server)["logprobs"] is True


def test_ollama_without_log_probabilities_leaves_one_and_nought() -> None:
    with RawServer(lambda request: reply(ollama("yes" if b"honey" in request else "no"))) as server:
        llm = OpenAI("smollm2:135m", base_url=server.url)
        ranked = Pointwise(llm, format=YesNo("no")).rank("what do bees make?", ["wax", "honey"])
    assert [(item.text, item.score) for item in ranked] == [("honey", 1.0), ("wax", 0.0)]


def test_a_prompt_beyond_the_window_is_that_and_no_answer() -> None:
    said = "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it"
    told = error(400, said, "exceed_context_size_error", n_prompt_tokens=9000, n_ctx=4096)
    with RawServer(lambda request: reply(told, "400 Bad Request")) as server:
        got = asked(server)
    assert isinstance(got, Failed) and got.kind == "context"


def test_a_model_that_is_still_being_loaded_is_waited_for() -> None:
    def answer(request: bytes) -> bytes:
        if len(server.requests) < 2:
            return reply(error(503, "Loading model", "unavailable_error"), "503 Service Unavailable")
        return reply(llama_cpp("[2] > [1]"))

    with RawServer(answer) as server:
        llm = OpenAI("smollm2", base_url=server.url)
        ranked = Listwise(llm, format=RankingFormat(think="no")).rank("q", ["one", "two"])
    assert [item.text for item in ranked] == ["two", "one"] and len(server.requests) == 2


def test_a_model_that_was_never_pulled_ends_the_run_in_its_own_words() -> None:
    told = error(404, 'model "smollm2:135m" not found, try pulling it first', "not_found_error")
    with RawServer(lambda request: reply(told, "404 Not Found")) as server:
        llm = OpenAI("smollm2:135m", base_url=server.url)
        with pytest.raises(EngineError, match="try pulling it first"):
            Listwise(llm, format=RankingFormat(think="no")).rank("q", ["one", "two"])
