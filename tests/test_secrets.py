import json
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput, BadSpec, NotFound
from whyrank.llm.answer import Failed
from whyrank.progress import warn
from whyrank.registry import make
from whyrank.secrets import SECRET, excerpt, masked, remember

KEY = 'p4ss"w\\ord-ü+x/8'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\r\n")


@pytest.mark.parametrize("form", [KEY, json.dumps(KEY)[1:-1], repr(KEY + "\r\n"), "p4ss%22w%5Cord-%C3%BC%2Bx%2F8"])
@pytest.mark.parametrize("around", ["{}", "x{}y", "said: {!r}", "a{0}b{0}c"])
def test_a_key_in_use_is_held_back_however_it_is_written(form: str, around: str) -> None:
    shown = masked(around.format(form))
    assert SECRET in shown and "p4ss" not in shown and "w\\" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "htp://user:S3CRETPW@host:80/v1 is no address",
        "http://user:p@S3CRETPW/x@host/v1",
        "https://S3CRETPW@host/v1",
        "cannot reach //me:S3CRETPW@host",
        "http://host/v1?api-key=S3CRETPW&n=3",
        "http://host/v1?n=3&X-Amz-Signature=S3CRETPW",
        "/v1?token=S3CRETPW#end",
        '{"authorization": "Bearer S3CRETPW"}',
        '{\\"Authorization\\": \\"Bearer S3CRETPW\\"}',
        "Authorization: Basic S3CRETPW",
        "[(b'x-api-key', b'S3CRETPW')]",
        "{'Proxy-Authorization': ['S3CRETPW']}",
        "got header 'Bearer S3CRETPW-0'",
        "set-cookie: S3CRETPW",
        "password = S3CRETPW",
        "no such key sk-proj-S3CRETPW0123456789",
    ],
)
def test_what_looks_like_a_secret_is_held_back(text: str) -> None:
    once = masked(text)
    assert SECRET in once and "S3CRETPW" not in once
    assert masked(once) == once and masked(masked(text, queries=True), queries=True) == masked(text, queries=True)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 512, stop_token_ids=[3], tokenizer='qwen', prompt_cache_key",
        "document 'https://medium.com/@me/story?id=71&page=2' is ranked twice",
        "http://localhost:8000/@x, http://host:8000/v1: All connection attempts failed",
        "Missing bearer token, for a basic understanding of keys",
        "KeyError: 'choices' in '{\"error\": \"none\"}'",
        "base_url must carry no user or password, since specs are written to files: use OPENAI_API_KEY",
        "me@host.org wrote: a = b?",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert masked(text) == text


def test_placeholders_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("HF_TOKEN", "")
    assert masked("none of them") == "none of them"


def test_a_key_is_remembered_when_its_variable_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    remember("kept-for-ever-1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert masked("kept-for-ever-1") == SECRET


def test_every_error_and_warning_and_failure_is_masked() -> None:
    for kind in (BadInput, BadSpec, NotFound):
        assert KEY not in str(kind(f"no {KEY}")) and SECRET in str(kind(f"no {KEY}"))
    assert Failed("server", f"said {KEY}").detail == f"said {SECRET}"
    assert Failed("server", "http://h/?x=S3CRETPW").detail == f"http://h/?x={SECRET}"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn(f"see {KEY}")
    assert str(told[0].message) == f"see {SECRET}"
    with pytest.raises(BadSpec) as caught:
        make("openai('m', base_url='http://h/v1?x=S3CRETPW', nonsense=3)")
    assert "S3CRETPW" not in str(caught.value) and "nonsense" in str(caught.value)


@given(st.integers(0, 300), st.integers(1, 80))
def test_a_key_that_is_cut_in_two_is_not_shown_by_half(before: int, repeats: int) -> None:
    remember("0123456789abcdefghij")
    assert "0123" not in excerpt("." * before + "0123456789abcdefghij" * repeats, 200)


@pytest.mark.parametrize("unit", ["//a:", "authorization", "sk-", "?a", "bearer ", "api_", "x-", "?key=", " ", "\n"])
def test_the_filter_is_linear(unit: str) -> None:
    began = time.perf_counter()
    masked(unit * (200_000 // len(unit)), queries=True)
    assert time.perf_counter() - began < 2
