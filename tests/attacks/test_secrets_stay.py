"""No key or password reaches a file or a terminal, whatever the server does and wherever it was put by mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from raw_server import Bytes, RawServer

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.openai import OpenAI

KEY = "sk-S3CRETKEY-0123456789-abcdefghij"
ASKED = Prompt((Message("user", (Piece("[1] a [2] b"),)),))
ANSWER = "<think>x</think><answer>[2] > [1]</answer>"


def reply(body: str, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {len(body.encode())}\r\n{headers}\r\n"
    return (head + body).encode()


def answer(content: str = ANSWER, **more: object) -> bytes:
    return reply(json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop", **more}]}))


def echo(request: bytes) -> str:
    """The head of a request, as a gateway shows it in its errors."""
    return request.partition(b"\r\n\r\n")[0].decode()


ECHOES = {
    "headers": lambda request: reply(json.dumps({"error": {"message": echo(request)}}), "400 X"),
    "headers-as-json": lambda request: reply(
        json.dumps(
            {"error": {"message": json.dumps(dict(line.split(": ", 1) for line in echo(request).split("\r\n")[1:]))}}
        ),
        "500 X",
    ),
    "body": lambda request: reply(echo(request), "502 X"),
    "not-json": lambda request: reply(echo(request)),
    "finish": lambda request: answer(finish_reason=echo(request)),
    "refusal": lambda request: reply(json.dumps({"choices": [{"message": {"refusal": echo(request)}}]})),
    "cut-in-two": lambda request: reply("." * 190 + KEY),
    "status-line": lambda request: reply("", f"500 {KEY}"),
    "redirect": lambda request: reply("", "307 X", f"location: http://me:{KEY}@evil.test/?key={KEY}\r\n"),
    "in-the-answer": lambda request: answer(f"<think>{KEY}</think><answer>[2] > [1]</answer>"),
    "in-the-thought": lambda request: reply(
        json.dumps({"choices": [{"message": {"content": "[2] > [1]", "reasoning_content": echo(request)}}]})
    ),
}


def commands(folder: Path, url: str, key: str, base: str | None = None, extra: str = "") -> str:
    """Rerank, explain and rerank again with real commands; all that they printed and wrote, but the commands."""
    first = folder / "first.trec"
    first.write_text("q01 Q0 d01 1 3 x\nq01 Q0 d02 2 2 x\nq02 Q0 d03 1 3 x\nq02 Q0 d04 2 2 x\n")
    spec = f"listwise(openai('m'{f', base_url={url!r}' if base is None else ''}{extra}))"
    environment = {**os.environ, "OPENAI_API_KEY": key, "OPENAI_BASE_URL": base or "", "PYTHONDEVMODE": ""}
    rerank = ["rerank", str(first), spec, "--data", "toy", "-o", str(folder / "out")]
    shown = ""
    for arguments in (rerank, ["explain", str(folder / "out"), "-q", "q01"]):
        done = subprocess.run(
            [sys.executable, "-c", BRIEF, *arguments], capture_output=True, env=environment, timeout=120, check=False
        )
        shown += (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in shown
    written = "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())
    return shown + written


BRIEF = """
import sys
from whyrank import cli
from whyrank.llm import schedule
schedule.TRIES = {}
sys.exit(cli.main())
"""


@pytest.mark.parametrize("name", ECHOES)
def test_no_echo_of_a_server_puts_the_key_anywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with RawServer(ECHOES[name]) as server:
        said = OpenAI("m", server.url, timeout=20.0).generate([ASKED])[0]
    assert KEY.encode() in server.requests[0]
    assert "S3CRET" not in repr(said) and "sk-" not in repr(said)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "end"), [("headers-as-json", "\r\n"), ("in-the-answer", "")])
def test_real_commands_write_and_print_no_key(name: str, end: str, tmp_path: Path) -> None:
    with RawServer(ECHOES[name]) as server:
        held = commands(tmp_path, server.url, KEY + end)
    assert (
        KEY.encode() + b"\r\n" in server.requests[0]
    )  # it was sent, without the line end of the file that it came from
    assert "S3CRET" not in held


@pytest.mark.slow
def test_real_commands_keep_a_password_in_an_address_to_themselves(tmp_path: Path) -> None:
    held = commands(tmp_path, "", "", base="http://user:S3CRETPW@127.0.0.1:9/v1")
    assert "OPENAI_BASE_URL must carry no user or password" in held and "S3CRET" not in held


@pytest.mark.parametrize(
    "url",
    [
        "htp://user:S3CRETPW@host/v1",
        "http//user:S3CRETPW@host/v1",
        "https://user:S3CRETPW@host/v1",
        "https://S3CRETPW@host/v1",
        "http://host/v1?api-key=S3CRETPW",
        "http://host/v1?x=S3CRETPW",
        "http://host/v1#S3CRETPW",
        "http://user:S3CRETPW/@host:port/v1",
        "http://[S3CRETPW@host/v1",
    ],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="base_url must") as caught:
        OpenAI("m", url)
    assert "S3CRET" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    (said,) = OpenAI("m").generate([ASKED])
    assert isinstance(said, Failed) and said.kind == "auth" and "OPENAI_BASE_URL must" in said.detail
    assert "S3CRET" not in said.detail


@pytest.mark.parametrize(
    "extra",
    [
        {"api_key": "x1"},
        {"x": {"Authorization": "x1"}},
        {"x": [{"access_token": "x1"}]},
        {"headers": "Bearer S3CRETPW-1"},
        {"x": [f"use {KEY}"]},
        {"url": "http://me:S3CRETPW@host"},
    ],
)
def test_a_key_in_what_specs_show_is_refused(extra: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(BadInput, match="extra_body must carry no key") as caught:
        OpenAI("m", "http://host/v1", extra_body=extra)
    assert "x1" not in str(caught.value) and "S3CRET" not in str(caught.value)
    with pytest.raises(BadInput, match="model must carry no key"):
        OpenAI(KEY)


def test_what_is_no_key_may_stand_in_extra_body() -> None:
    harmless = {
        "stop_token_ids": [1],
        "max_tokens": 5,
        "skip_special_tokens": False,
        "prompt_cache_key": "a",
        "top_k": 1,
    }
    assert OpenAI("m", "http://host/v1", extra_body=harmless).extra_body == harmless


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize(
    "value", ["sk-S3CRÉT", "sk-S3CRET\r\nx: y", "sk S3CRET", "sk-S3CRET\udcff", "“sk-S3CRET”", "sk\x7fS3CRET"]
)
def test_a_key_that_no_header_can_carry_is_told_plainly(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv(name, value)
    replies: dict[str, Bytes] = {}
    with RawServer(replies) as server:
        (said,) = OpenAI("m", server.url).generate([ASKED])
    assert isinstance(said, Failed) and said.kind == "auth" and name in said.detail and "at place" in said.detail
    assert "S3CR" not in said.detail and not server.requests


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\r", "\t\n"])
def test_the_line_end_of_a_file_is_no_part_of_a_key(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + end)
    with RawServer(lambda _: answer()) as server:
        assert isinstance(OpenAI("m", server.url).generate([ASKED])[0], Ok)
    assert f"Bearer {KEY}\r\n".encode() in server.requests[0]
