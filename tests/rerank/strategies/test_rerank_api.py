"""Rerank servers as rerankers: every dialect against a server that speaks it, and servers that misbehave."""

import json
import math
from collections.abc import Sequence
from typing import get_args

import pytest
from serve_helpers import listening
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from whyrank import Cascade, Fake, Listwise, Pointwise, Trace, make
from whyrank.errors import BadInput, EngineError
from whyrank.llm import schedule
from whyrank.llm.rerank_server import Dialect, address, read
from whyrank.rerank.strategies.rerank_api import RerankAPI
from whyrank.serve.http import application
from whyrank.serve.service import Service

QUERY = "why do bees dance?"
DOCS = ["Bees make honey.", "A dance shows where food is.", "Ants dig."]


def grade(prompt):
    said = prompt.chat[-1]["content"]
    return "<score>90</score>" if "shows" in said else "<score>40</score>" if "honey" in said else "<score>10</score>"


@pytest.fixture(scope="module")
def ours():
    with listening(application(Service({"graded": Pointwise(Fake(grade))}, strict=False))) as url:
        yield url


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_every_dialect(ours, dialect):
    ranked = RerankAPI(ours, "m", dialect=dialect).rank(QUERY, DOCS)
    assert [item.index for item in ranked] == [1, 0, 2]
    assert ranked[0].score == pytest.approx(0.9, abs=1e-5)
    assert ranked.statuses["exact"] == 1


class Scripted:
    """A server that answers what it is told to, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, object, dict[str, str]]) -> None:
        self.answers, self.bodies, self.headers = list(answers), [], []

    async def __call__(self, scope, receive, send):
        await Starlette(routes=[Route("/{rest:path}", self.answer, methods=["POST"])])(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body)
        return Response(content, status, headers, "application/json")


def results(*scores: float) -> dict:
    return {"results": [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]}


def ask(server: Scripted, docs: Sequence[str] = DOCS, **given):
    with listening(server) as url:
        return RerankAPI(url, **given).rank(QUERY, docs)


def test_what_comes_too_fast_is_tried_again(monkeypatch):
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.01)
    server = Scripted(
        (429, {"message": "slow"}, {"retry-after": "0"}), (503, {}, {}), (200, results(0.1, 0.9, 0.5), {})
    )
    assert [item.index for item in ask(server)] == [1, 2, 0]
    assert len(server.bodies) == 3


def test_a_wrong_key_or_model_is_an_error_with_the_servers_sentence(monkeypatch):
    monkeypatch.setenv("RERANK_API_KEY", "a-secret-key-1")
    server = Scripted((401, {"detail": "this key a-secret-key-1 is none"}, {}))
    with pytest.raises(EngineError, match=r"this key \*\*\* is none"):
        ask(server)
    assert server.headers[0]["authorization"] == "Bearer a-secret-key-1"
    with pytest.raises(EngineError, match="no such model"):
        ask(Scripted((404, {"error": {"message": "no such model"}}, {})))


def test_a_server_that_is_not_there():
    reranker = RerankAPI("http://127.0.0.1:9")
    assert reranker.rank(QUERY, DOCS, seconds=0.2).statuses["failed"] == 1


def test_documents_that_get_no_score_go_below_and_are_counted():
    ranked = ask(Scripted((200, {"data": [{"index": 2, "score": 0.5}]}, {})))
    assert [item.index for item in ranked] == [2, 0, 1]
    assert math.isnan(ranked[1].score)
    assert ranked.calls[0].status == "repaired"
    assert ranked.calls[0].repairs.missing == 2
    assert ask(Scripted((200, {"results": []}, {}))).calls[0].status == "no_answer"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[[",
        b"3",
        b"{}",
        b'{"results": 3}',
        b'{"results": [{"index": 0}]}',
        b'{"results": [{"index": 7, "score": 1}]}',
        b'{"results": [{"index": -1, "score": 1}]}',
        b'{"results": [{"index": true, "score": 1}]}',
        b'{"results": [{"index": "0", "score": 1}]}',
        b'{"results": [{"index": 0, "score": "high"}]}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_no_answer(body):
    assert read(body, 3).kind == "bad_answer"


def test_nan_from_a_server_is_no_score():
    assert json.loads(read(b'[{"index": 0, "score": NaN}, {"index": 1, "score": 2}]', 2).text) == [None, 2]


def test_many_documents_go_in_as_many_requests_as_the_server_wants():
    server = Scripted((200, [{"index": at, "score": at / 100} for at in range(6)], {}))
    ranked = ask(server, [f"text {n}" for n in range(70)], dialect="tei")
    assert sorted(len(body["texts"]) for body in server.bodies) == [6, 32, 32]
    assert len(ranked) == 70


def test_a_second_time_nothing_is_asked(ours):
    trace, reranker = Trace(), RerankAPI(ours, "m")
    first = reranker.rank(QUERY, DOCS, trace)
    again = reranker.rank(QUERY, DOCS, trace)
    assert [item.index for item in first] == [item.index for item in again]
    assert trace.ledger.total.calls == 1
    assert trace.ledger.total.replayed == 1


def test_local_and_remote_in_one_cascade(ours):
    cascade = Cascade(RerankAPI(ours, "m"), Listwise(Fake("<answer>[2] > [1]</answer>")), depths=(3, 2))
    assert [item.index for item in cascade.rank(QUERY, DOCS)] == [0, 1, 2]
    assert make(repr(cascade)) == cascade


@pytest.mark.parametrize(
    ("url", "dialect", "whole"),
    [
        ("http://h", "cohere", "http://h/v2/rerank"),
        ("http://h/", "jina", "http://h/v1/rerank"),
        ("http://h/v1", "voyage", "http://h/v1/rerank"),
        ("http://h/v1/", "vllm", "http://h/v1/rerank"),
        ("http://h/api/v2", "cohere", "http://h/api/v2/rerank"),
        ("http://h/v1", "tei", "http://h/v1/rerank"),
        ("http://h/some/rerank", "cohere", "http://h/some/rerank"),
        ("http://h", "mixedbread", "http://h/v1/reranking"),
    ],
)
def test_addresses(url, dialect, whole):
    assert address(url, dialect) == whole


def test_wrong_arguments():
    with pytest.raises(BadInput, match="url must be like"):
        RerankAPI("localhost:8000")
    with pytest.raises(BadInput, match="use RERANK_API_KEY"):
        RerankAPI("http://me:pa55word@host")
    with pytest.raises(BadInput, match="dialect"):
        RerankAPI("http://h", dialect="elastic")
