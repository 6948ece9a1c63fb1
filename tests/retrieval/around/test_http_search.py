"""Search in OpenSearch, Elasticsearch and Vespa, against answers of the form that their documentation gives."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from whyrank.errors import BadInput, BadSpec, EngineError
from whyrank.registry import make
from whyrank.retrieval.around.http_search import HTTPSearch
from whyrank.retrieval.base import Retriever
from whyrank.types import Query

pytest.importorskip("httpx")

HITS = [("d3", 4.5), ("d1", 4.5), ("d7", 2.25), ("d2", 0.5)]


@contextmanager
def answering(answer: Callable[[str, dict[str, str], list[Any]], tuple[int, bytes]]) -> Iterator[str]:
    """A server on a free port; `answer` gets path, headers and the JSON lines of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            status, body = answer(self.path, dict(self.headers), [json.loads(line) for line in text.splitlines()])
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def found(body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one body of `_msearch`, as OpenSearch 2 gives it."""
    shut = body.get("query", {}).get("bool", {}).get("must_not", {}).get("ids", {}).get("values", [])
    hits = [{"_index": "i", "_id": id, "_score": score} for id, score in HITS if id not in shut][: body["size"]]
    total = {"value": len(hits), "relation": "eq"}
    return {"took": 1, "timed_out": False, "hits": {"total": total, "max_score": 4.5, "hits": hits}, "status": 200}


def test_many_queries_are_one_request_and_what_is_excluded_is_shut_out_before_the_cut() -> None:
    asked = []

    def answer(path: str, headers: dict[str, str], lines: list[Any]) -> tuple[int, bytes]:
        asked.append((path, lines))
        return 200, json.dumps({"took": 3, "responses": [found(body) for body in lines[1::2]]}).encode()

    queries = [Query(f"q{n}", f"why {n}?") for n in range(60)]
    queries[1] = Query("q1", 'why "1"?', excluded=frozenset({"d3", "d7"}))
    queries[2] = Query("q2", "why 2?", only=frozenset({"d2"}))
    with answering(answer) as url:
        part = HTTPSearch(url, "msmarco", field="contents")
        assert make(repr(part), Retriever) == part
        run = part.search(queries, 2)
    assert [len(lines) // 2 for _, lines in asked] == [50, 10]
    path, lines = asked[0]
    assert path == "/_msearch?search_type=dfs_query_then_fetch"
    assert lines[0] == {"index": "msmarco"}
    assert lines[1]["query"] == {"bool": {"must": {"match": {"contents": "why 0?"}}}} and lines[1]["_source"] is False
    assert lines[3]["query"]["bool"]["must"] == {"match": {"contents": 'why "1"?'}}
    assert lines[5]["query"]["bool"]["filter"] == {"ids": {"values": ["d2"]}}
    assert list(run["q0"].ids) == ["d3", "d1"] and run["q0"].scores.tolist() == [4.5, 4.5]
    assert list(run["q1"].ids) == ["d1", "d2"] and list(run["q2"].ids) == ["d2"]


@pytest.mark.parametrize("dialect", ["opensearch", "elasticsearch"])
def test_nearest_vectors(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder:
        def encode(self, texts: list[str], side: str) -> Any:
            assert side == "query"
            return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    monkeypatch.setattr("whyrank.retrieval.around.http_search.bi_encoder", lambda *_, **__: Encoder())
    asked = []

    def answer(path: str, headers: dict[str, str], lines: list[Any]) -> tuple[int, bytes]:
        asked.extend([path, *lines])
        return 200, json.dumps({"responses": [found(body) for body in lines[1::2]]}).encode()

    with answering(answer) as url:
        part = HTTPSearch(url, "i", dialect=dialect, field="vector", model="minilm")
        assert list(part.search([Query("q", "why?", frozenset({"d9"}))], 3)["q"].ids) == ["d3", "d1", "d7"]
    shut = {"bool": {"must_not": {"ids": {"values": ["d9"]}}}}
    depth = 4  # as many more as are excluded
    assert asked[0] == "/_msearch"
    if dialect == "opensearch":
        assert asked[2]["query"] == {"knn": {"vector": {"vector": [4.0, 1.0], "k": depth, "filter": shut}}}
    else:
        near = {"field": "vector", "query_vector": [4.0, 1.0], "k": depth, "num_candidates": 2 * depth, "filter": shut}
        assert asked[2]["knn"] == near


def test_vespa() -> None:
    asked = []

    def answer(path: str, headers: dict[str, str], lines: list[Any]) -> tuple[int, bytes]:
        asked.append((path, lines[0]))
        hits = [{"id": f"id:ns:passage::{id}", "relevance": score, "source": "passage"} for id, score in HITS]
        root = {"id": "toplevel", "relevance": 1.0, "children": hits[: lines[0]["hits"]]}
        return 200, json.dumps({"root": root if lines[0]["asked"] != "none" else {"id": "toplevel"}}).encode()

    with answering(answer) as url:
        part = HTTPSearch(url, "passage", dialect="vespa", field="default", ranking="bm25")
        run = part.search([Query("q", "why' or 1?", frozenset({"d1"})), Query("r", "none")], 2)
    assert list(run["q"].ids) == ["d3", "d7"] and list(run["r"].ids) == []
    path, body = asked[0]
    assert (path, body["asked"], body["ranking"], body["hits"]) == ("/search/", "why' or 1?", "bm25", 3)
    assert "why" not in body["yql"]


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("c2VjcmV0LWtleS1vZi1vdXJz", "ApiKey c2VjcmV0LWtleS1vZi1vdXJz"),
        ("user:pass-of-ours", "Basic dXNlcjpwYXNzLW9mLW91cnM="),
    ],
)
def test_keys_come_from_the_environment_and_are_never_told(
    monkeypatch: pytest.MonkeyPatch, key: str, sent: str
) -> None:
    seen = []

    def answer(path: str, headers: dict[str, str], lines: list[Any]) -> tuple[int, bytes]:
        given = {name.lower(): value for name, value in headers.items()}["authorization"]
        seen.append(given)
        return 401, json.dumps({"error": f"{given} is not allowed"}).encode()

    monkeypatch.setenv("WHYRANK_SEARCH_KEY", key)
    with answering(answer) as url, pytest.raises(EngineError, match="HTTP 401") as told:
        HTTPSearch(url, "i").search([Query("q", "why?")])
    assert seen == [sent]
    assert key not in str(told.value) and sent.split()[1] not in str(told.value)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"responses": []}', "0 rankings for 1"),
        (b'{"responses": [{"hits": 3}]}', "cannot be read"),
        (b'{"responses": [{"hits": {"hits": [{"_id": "a"}]}}]}', "cannot be read"),
        (b'{"responses": [{"hits": {"hits": [{"_id": "a", "_score": null}]}}]}', "cannot be read"),
        (b'{"responses": [{"hits": {"hits": [{"_id": "a", "_score": NaN}]}}]}', "cannot be read"),
        (b'{"responses": [{"error": {"reason": "no such index [i]"}, "status": 404}]}', r"no such index \[i\]"),
        (b'{"responses": [{"hits": {"hits": [{"_id":"a","_score":1},{"_id":"b","_score":2}]}}]}', "scores that rise"),
    ],
)
def test_other_answers_are_errors(body: bytes, why: str) -> None:
    with answering(lambda *_: (200, body)) as url, pytest.raises(EngineError, match=why):
        HTTPSearch(url, "i").search([Query("q", "why?")])


def test_wrong_calls() -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        HTTPSearch("http://127.0.0.1:9", "i").search([Query("q", "bees")])
    with pytest.raises(BadInput, match="use WHYRANK_SEARCH_KEY"):
        HTTPSearch("http://h/?key=1234567890", "i")
    with pytest.raises(BadInput, match="at most 10,000"):
        HTTPSearch("http://127.0.0.1:9", "i").search([Query("q", "bees")], 10_001)
    with pytest.raises(BadSpec, match="collection is a name"):
        HTTPSearch("http://h", "a where true", dialect="vespa")
    with pytest.raises(BadSpec, match="leave out model"):
        HTTPSearch("http://h", "i", dialect="vespa", model="minilm")
    with pytest.raises(BadSpec, match="ranking is a profile of Vespa's"):
        HTTPSearch("http://h", "i", ranking="bm25")
