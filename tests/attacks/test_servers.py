"""A model server may send any bytes at all: each call ends as a counted failure or with the right answer."""

import gzip
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from raw_server import Bytes, RawServer, drip

from whyrank.llm import http, schedule
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.response import read_completion
from whyrank.llm.trace import Trace, records
from whyrank.registry import make
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.types import Corpus, Dataset, Document, Query, Run

ANSWER = "<think>the second is best</think><answer>[2] > [1]</answer>"
RIGHT, FAILED = "right", "failed"


def reply(body: str | bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    size = len(data) if length is None else length
    return f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {size}\r\n{headers}\r\n".encode() + data


def chat(content: Any = ANSWER, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}, **more}


def sent(content: Any = ANSWER, finish: Any = "stop", **more: Any) -> bytes:
    return reply(json.dumps(chat(content, finish, **more)))


def choice(**fields: Any) -> bytes:
    """A body whose one choice has these fields besides the right answer."""
    body = chat()
    body["choices"][0] |= fields
    return reply(json.dumps(body))


def message(**fields: Any) -> bytes:
    body = chat()
    body["choices"][0]["message"] |= fields
    return reply(json.dumps(body))


def text(body: str, *found: tuple[str, str]) -> bytes:
    """A body as text, to hold what `json.dumps` would not write."""
    for old, new in found:
        assert old in body
        body = body.replace(old, new)
    return reply(body)


GOOD = json.dumps(chat())
DEEP = "[" * 100_000 + "]" * 100_000
HUGE = "9" * 400

BEHAVIOURS: dict[str, tuple[Bytes, str]] = {
    # what is right, however it is sent
    "plain": (sent(), RIGHT),
    "chunked": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(GOOD) + GOOD.encode() + b"\r\n0\r\n\r\n",
        RIGHT,
    ),
    "until-close": (b"HTTP/1.1 200 OK\r\n\r\n" + GOOD.encode(), RIGHT),
    "gzip": (reply(gzip.compress(GOOD.encode()), headers="content-encoding: gzip\r\n"), RIGHT),
    "x-gzip": (reply(gzip.compress(GOOD.encode()), headers="content-encoding: X-GZIP\r\n"), RIGHT),
    "deflate": (reply(zlib.compress(GOOD.encode()), headers="content-encoding: deflate\r\n"), RIGHT),
    "bom": (reply(b"\xef\xbb\xbf" + GOOD.encode()), RIGHT),
    "utf-16": (reply(GOOD.encode("utf-16")), RIGHT),
    "blanks-around": (reply("\r\n\r\n  " + GOOD + "\n" * 1000), RIGHT),
    "json-twice": (reply(json.dumps(GOOD)), RIGHT),
    "parts": (sent([{"type": "text", "text": ANSWER[:30]}, {"type": "text", "text": ANSWER[30:]}]), RIGHT),
    "two-choices": (reply(json.dumps({"choices": chat()["choices"] * 2})), RIGHT),
    "drip": (drip([reply(GOOD)[at : at + 40] for at in range(0, len(reply(GOOD)), 40)], 0.02), RIGHT),
    "status-201": (reply(GOOD, "201 Created"), RIGHT),
    "half-a-character": (sent(ANSWER + "\ud83d"), RIGHT),
    "bad-utf-8": (reply(GOOD.encode().replace(b"second", b"sec\xff\xfeond")), RIGHT),
    "nul-in-thought": (sent(ANSWER.replace("best", "b\x00est")), RIGHT),
    "escapes-in-thought": (sent(ANSWER.replace("best", "\x1b]0;x\x07\u202e")), RIGHT),
    "logprobs-not-asked": (choice(logprobs={"content": [{"token": "a", "logprob": 1000}]}), RIGHT),
    "logprobs-odd": (choice(logprobs={"content": None}), RIGHT),
    "logprobs-null": (choice(logprobs=None), RIGHT),
    "many-headers": (reply(GOOD, headers="".join(f"x-{at}: {at}\r\n" for at in range(90))), RIGHT),
    "cookies": (reply(GOOD, headers="set-cookie: a=b; expires=Mon, 99 Foo 99999\r\nset-cookie: =;;;=\r\n"), RIGHT),
    # charsets of the header: a body is JSON, and so UTF-8
    **{
        f"charset-{name}": (reply(GOOD, headers=f"content-type: application/json; charset={name}\r\n"), RIGHT)
        for name in ("utf-16", "idna", "undefined", "rot13", "hex", "zlib", "cp037", "nonsense", "base64", "punycode")
    },
    "type-html": (reply(GOOD, headers="content-type: text/html\r\n"), RIGHT),
    "type-odd": (reply(GOOD, headers="content-type: ;;=\r\n"), RIGHT),
    # ends
    **{
        f"finish-{at}": (sent(ANSWER, finish), RIGHT)
        for at, finish in enumerate([None, "", "STOP", "eos", "end_turn", "banana", 3, True, ["stop"], {"a": 1}])
    },
    "finish-missing": (text(GOOD, (', "finish_reason": "stop"', "")), RIGHT),
    "finish-deep": (text(GOOD, ('"stop"', '"stop", "x": ' + "[" * 500 + "]" * 500)), RIGHT),
    **{
        f"broken-{finish}": (sent(ANSWER, finish), FAILED)
        for finish in ("abort", "error", "cancelled", "tool_calls", "function_call", "content_filter", "safety")
    },
    # counts of tokens that are none
    **{
        f"usage-{at}": (text(GOOD, ('"prompt_tokens": 9', f'"prompt_tokens": {value}')), RIGHT)
        for at, value in enumerate(
            ["1e999", "-1e999", "Infinity", "NaN", "-1000000", "1e308", HUGE, '"x"', "[1]", "{}", "null", "true", "1.5"]
        )
    },
    "usage-list": (sent(usage=[1, 2]), RIGHT),
    "usage-text": (sent(usage="many"), RIGHT),
    "usage-null": (sent(usage=None), RIGHT),
    "usage-details": (sent(usage={"prompt_tokens_details": 5, "completion_tokens_details": ["x"]}), RIGHT),
    "usage-reasoning": (sent(usage={"completion_tokens_details": {"reasoning_tokens": -7}}), RIGHT),
    # messages and choices that are none
    **{
        f"content-{at}": (sent(value), FAILED)
        for at, value in enumerate([3, 1.5, True, {"text": ANSWER}, [3], [[ANSWER]], [{"type": "text", "text": 3}]])
    },
    **{f"empty-{at}": (sent(value), FAILED) for at, value in enumerate([None, "", " \n ", [], [{"type": "image"}]])},
    **{
        f"choices-{at}": (reply(json.dumps({"choices": value})), FAILED)
        for at, value in enumerate(
            [None, [], {}, 3, "x", [None], [[]], ["x"], [3], {"0": {}}, [{}], [{"message": None}]]
        )
    },
    **{
        f"json-{at}": (reply(value), FAILED)
        for at, value in enumerate(
            [
                "",
                "null",
                "3",
                '"x"',
                "[]",
                "{}",
                "NaN",
                GOOD[:-1],
                GOOD[: len(GOOD) // 2],
                GOOD + GOOD,
                "\x00" * 99,
                DEEP,
                HUGE,
            ]
        )
    },
    "deep-content": (text(GOOD, (json.dumps(ANSWER), DEEP)), FAILED),
    "deep-beside": (text(GOOD, ('"usage"', f'"x": {DEEP}, "usage"')), FAILED),
    "digits-beside": (text(GOOD, ('"usage"', f'"x": {"9" * 5000}, "usage"')), FAILED),
    "html": (reply("<html><answer>[2] > [1]</answer></html>", headers="content-type: text/html\r\n"), FAILED),
    "stream": (reply("".join(f'data: {{"choices": [{{"delta": "{c}"}}]}}\n\n' for c in "[2] > [1]")), FAILED),
    "only-reasoning": (message(content=None, reasoning_content=ANSWER), FAILED),
    "refusal": (message(refusal="I would rather not: <answer>[2] > [1]</answer>"), FAILED),
    "refusal-odd": (message(refusal={"a": ["[2] > [1]"]}), FAILED),
    "error-in-200": (reply(json.dumps({"error": {"message": ANSWER}})), FAILED),
    # more than anybody can want
    "content-of-5-mb": (sent(ANSWER + " " * 5_000_000), FAILED),
    "thought-of-5-mb": (message(reasoning_content="hm " * 1_700_000), FAILED),
    "newlines": (sent("\n" * 200_000), FAILED),
    "length-lies": (reply(GOOD, length=10**12), FAILED),
    "endless-line": (lambda: itertools.chain([b"HTTP/1.1 200 OK\r\nx: "], itertools.repeat(b"y" * 65536, 64)), FAILED),
    "headers-of-4-mb": (reply(GOOD, headers="".join(f"x-{at}: {'y' * 999}\r\n" for at in range(4000))), FAILED),
    "gzip-twice": (
        reply(gzip.compress(gzip.compress(GOOD.encode())), headers="content-encoding: gzip, gzip\r\n"),
        FAILED,
    ),
    "brotli": (reply(GOOD, headers="content-encoding: br\r\n"), FAILED),
    "zstd-bomb": (reply(GOOD, headers="content-encoding: zstd\r\n"), FAILED),
    "gzip-broken": (reply(gzip.compress(GOOD.encode())[:40] + b"x" * 40, headers="content-encoding: gzip\r\n"), FAILED),
    "gzip-none": (reply(GOOD, headers="content-encoding: gzip\r\n"), FAILED),
    # what is no HTTP
    "nothing": (b"", FAILED),
    "noise": (bytes(range(256)), FAILED),
    "http-0.9": (GOOD.encode(), FAILED),
    "status-none": (b"HTTP/1.1 \r\n\r\n", FAILED),
    "status-099": (reply(GOOD, "099 Odd"), FAILED),
    "status-999": (reply(GOOD, "999 Odd"), FAILED),
    "status-100-only": (b"HTTP/1.1 100 Continue\r\n\r\n", FAILED),
    "length-negative": (reply(GOOD, length=-5), FAILED),
    "length-two": (reply(GOOD, headers="content-length: 3\r\n"), FAILED),
    "chunk-odd": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + GOOD.encode(), FAILED),
    "chunk-cut": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n" + GOOD.encode(), FAILED),
    "body-cut": (reply(GOOD[:50], length=len(GOOD)), FAILED),
    "header-odd": (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n" + GOOD.encode(), FAILED),
    # refusals
    **{
        f"status-{status}": (reply(json.dumps({"error": {"message": ANSWER}}), f"{status} X"), FAILED)
        for status in (
            204,
            205,
            300,
            304,
            400,
            402,
            405,
            408,
            409,
            410,
            413,
            418,
            422,
            425,
            429,
            451,
            500,
            502,
            503,
            504,
            529,
            599,
        )
    },
    **{
        f"error-body-{at}": (reply(body, "500 X"), FAILED)
        for at, body in enumerate(
            ["", DEEP, '{"error": ' * 9, HUGE, "null", '{"error": {"code": [1], "message": 3}}', "\x00"]
        )
    },
    "error-deep-code": (reply('{"error": {"message": "x", "code": ' + DEEP[:200] + "}}", "400 X"), FAILED),
    "error-charset": (reply("{}", "400 X", "content-type: application/json; charset=rot13\r\n"), FAILED),
    "error-charset-hex": (reply("zz", "500 X", "content-type: text/plain; charset=hex\r\n"), FAILED),
    "error-of-5-mb": (reply(json.dumps({"error": {"message": "x" * 5_000_000}}), "400 X"), FAILED),
    "error-utf-8": (reply(b"\xff\xfe", "400 X"), FAILED),
    **{
        f"wait-{at}": (reply("{}", "429 X", f"retry-after: {value}\r\n"), FAILED)
        for at, value in enumerate(
            [
                "nan",
                "inf",
                "-inf",
                "-5",
                "1e999",
                "9" * 5000,
                "soon",
                "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
                "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
                "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
                "Mon, 01 Jan 2020 00:00:99999999999999999999 GMT",
                "Mon, 01 Jan 2020 99:99:99 GMT",
                "1 2 3",
                "\t",
            ]
        )
    },
    # addresses elsewhere
    "redirect-loop": (reply("", "307 X", "location: /v1/chat/completions\r\n"), FAILED),
    "redirect-file": (reply("", "307 X", "location: file:///etc/passwd\r\n"), FAILED),
    "redirect-odd": (reply("", "308 X", "location: http://[::1\r\n"), FAILED),
    "redirect-port": (reply("", "307 X", "location: http://127.0.0.1:99999999999/\r\n"), FAILED),
    "redirect-empty": (reply("", "302 X", "location: \r\n"), FAILED),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


Ended = tuple[dict[str, Any], list[str], dict[str, Any]]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Ended]:
    """What became of each behaviour in one run of a reranker: its report, its order, its line of the trace."""
    corpus = Corpus(Document(f"{name}-{at}", f"passage {at}") for name in BEHAVIOURS for at in (1, 2))
    data = Dataset("made", corpus, tuple(Query(name, f"behaviour {name} ?") for name in BEHAVIOURS))
    first = Run.of({name: [f"{name}-1", f"{name}-2"] for name in BEHAVIOURS}, name="first")
    path = tmp_path_factory.mktemp("servers") / "trace.jsonl"
    replies = {name: sends for name, (sends, _) in BEHAVIOURS.items()}
    with pytest.MonkeyPatch.context() as patched, RawServer(replies) as server:
        patched.setattr(schedule, "TRIES", {})
        patched.delenv("OPENAI_API_KEY", raising=False)
        llm = OpenAI("m", server.url, timeout=20.0, concurrency=16)
        with Trace(path) as trace, pytest.warns(UserWarning, match="numbers of tokens"):
            final = Listwise(llm, format=make("ranking()")).rerank(first, data, 2, trace)
            assert trace.ledger.total.calls == len(BEHAVIOURS)
    lines = {line["query"]: line for line in records(path)}
    return {name: (final.notes[name].calls[0], list(final[name].ids), lines[name]) for name in BEHAVIOURS}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_call_ends_as_a_counted_failure_or_with_the_right_answer(ended: Mapping[str, Ended], name: str) -> None:
    report, order, line = ended[name]
    if BEHAVIOURS[name][1] == RIGHT:
        assert report.status == "exact" and order == [f"{name}-2", f"{name}-1"]
        assert 0 <= line["usage"]["input"] < 10**9 and 0 <= line["usage"]["output"] < 10**9
    else:  # no order is made from a failed or empty call
        assert report.status in {"failed", "no_answer"} and order == [f"{name}-1", f"{name}-2"]
    assert len(json.dumps(line)) < 30_000 or name == "newlines"
    json.dumps(line, allow_nan=False)
    json.dumps(line, ensure_ascii=False).encode()


def test_there_are_more_than_125_behaviours() -> None:
    assert len(BEHAVIOURS) > 125


def prompt(text: str = "behaviour x", **sampling: Any) -> Prompt:
    return Prompt((Message("system", (Piece("Rank."),)), Message("user", (Piece(text),))), Sampling(**sampling))


def asked(replies: Mapping[str, Bytes] | Callable[[bytes], Bytes], name: str = "x", **options: Any) -> Completion:
    with RawServer(replies) as server:
        return OpenAI("m", server.url, **{"timeout": 20.0, **options}).generate([prompt(f"behaviour {name}")])[0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_knows_no_key_or_model_ends_the_run_in_an_error(status: int) -> None:
    said = asked({"x": reply('{"error": {"message": "no"}}', f"{status} X")})
    assert isinstance(said, Failed) and said.kind == ("not_found" if status == 404 else "auth")


BOMB = gzip.compress(b" " * 400_000_000, 9)


def endless(part: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(part))


@pytest.mark.parametrize(
    ("sends", "told"),
    [
        (endless(b" " * 65536), "more than 32 MiB"),
        (reply(b" " * (http.MOST + 1)), "more than 32 MiB"),
        (reply(b" " * (http.MOST + 1), "500 X"), "more than 32 MiB"),
        (reply(BOMB, headers="content-encoding: gzip\r\n"), "more than 32 MiB"),
        (reply(BOMB, "503 X", headers="content-encoding: gzip\r\n"), "more than 32 MiB"),
        (reply(zlib.compress(b"[" * 90_000_000), headers="content-encoding: deflate\r\n"), "more than 32 MiB"),
        (reply(gzip.compress(BOMB), headers="content-encoding: gzip, gzip\r\n"), "not asked for"),
        (reply(BOMB, headers="content-encoding: br\r\n"), "not asked for"),
    ],
)
def test_memory_is_bounded_whatever_a_server_sends(sends: Bytes, told: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = asked({"x": sends})
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert isinstance(said, Failed) and said.kind == "bad_answer" and told in said.detail
    assert grown < 200, f"{grown:.0f} MiB"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "to", ["http://127.0.0.1:{other}/v1/chat/completions", "http://localhost:{port}/", "//evil.test/"]
)
def test_prompts_go_to_no_other_server(status: int, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-victim-0123456789")
    with RawServer({"x": sent()}) as other:
        there = other.url.rpartition(":")[2].removesuffix("/v1")
        with RawServer(
            lambda _: reply("", f"{status} X", f"location: {to.format(other=there, port=port)}\r\n")
        ) as server:
            port = server.url.rpartition(":")[2].removesuffix("/v1")
            said = OpenAI("m", server.url, timeout=20.0).generate([prompt()])[0]
    assert isinstance(said, Failed) and said.kind == "bad_request" and "no other server" in said.detail
    assert not other.requests and len(server.requests) == 1


def test_a_redirection_within_a_server_is_followed() -> None:
    def replies(request: bytes) -> bytes:
        return sent() if b"completions/ HTTP" in request else reply("", "307 X", "location: /v1/chat/completions/\r\n")

    assert isinstance(asked(replies), Ok)


@pytest.mark.parametrize("value", [1000, 0.5, "NaN", "Infinity", "1e999", "9" * 400, None, "x", [1], {}])
def test_a_log_probability_that_is_none_makes_no_answer(value: Any) -> None:
    body = chat()
    body["choices"][0]["logprobs"] = {"content": [{"token": "yes", "logprob": "HERE"}]}
    number = value if isinstance(value, str) and value != "x" else json.dumps(value)
    said = read_completion(json.dumps(body).replace('"HERE"', number), prompt(logprobs=5))
    assert isinstance(said, Failed) and said.kind == "bad_answer"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "sends",
    [
        lambda: iter(lambda: time.sleep(60) or b"", None),
        drip(itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b" ")), 0.05),
        drip(itertools.chain([b"HTTP/1.1 200 OK\r\n"], (b"x-%d: y\r\n" % at for at in range(9999))), 0.05),
        reply("{}", "429 X", "retry-after: 36000\r\n"),
        reply("{}", "500 X"),
        endless(b"\n" * 65536),
    ],
    ids=["hang", "drip-body", "drip-headers", "wait-10-h", "500s", "endless"],
)
def test_an_interrupt_ends_it_in_two_seconds(sends: Bytes, tmp_path: Path) -> None:
    with RawServer(lambda _: sends) as server:
        first, spec = tmp_path / "run.trec", f"listwise(openai('m', base_url='{server.url}'))"
        first.write_text(
            "".join(f"q{at:02} Q0 d{3 * at + n:02} {n} {9 - n} x\n" for at in range(1, 5) for n in range(1, 4))
        )
        command = [
            sys.executable,
            "-m",
            "whyrank",
            "rerank",
            str(first),
            spec,
            "--data",
            "toy",
            "-o",
            str(tmp_path / "out"),
        ]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OPENAI_API_KEY": ""})
        while not server.requests:
            time.sleep(0.05)
            assert child.poll() is None
        time.sleep(0.5)
        began = time.perf_counter()
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=20)[1].decode()
    allowed = 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # seconds on a machine that does nothing else
    assert time.perf_counter() - began < allowed and child.returncode == 130 and "Traceback" not in said
