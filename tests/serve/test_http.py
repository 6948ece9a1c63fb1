"""The application, in this process: paths, keys, limits, failures, searches, metrics."""

import json
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from serve_helpers import CORPUS, THOUGHT, Gated, serving, until

from whyrank import BM25, EncoderRerank, Fake, Listwise, Pointwise
from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.ledger import Price, Prices
from whyrank.llm.messages import Prompt
from whyrank.llm.trace import Trace
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.serve.http import RERANK
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings, keys

BODY = {"query": "why do bees dance?", "documents": ["Bees make honey.", "A dance shows where food is."]}


@pytest.mark.parametrize("path", [*RERANK, "/v1//rerank/", "/rerank//", "/v1/retrieval/nvidia/some-model/reranking"])
def test_every_path_ranks(client, path):
    found = client.post(path.replace("{model:path}", "m"), json=BODY)
    assert found.status_code == 200, found.text
    assert [one["index"] for one in found.json()["results"]] == [1, 0]


def test_an_answer_tells_what_it_took(client):
    found = client.post("/v2/rerank", json=BODY, headers={"x-request-id": "mine-7"})
    assert found.headers["x-request-id"] == "mine-7" == found.json()["id"]
    assert found.headers["x-whyrank-calls"] == "1"
    assert re.fullmatch(r"queue;dur=[\d.]+, model;dur=[\d.]+", found.headers["server-timing"])
    told = found.json()["whyrank"]
    assert (told["scores"], told["calls"], told["degraded"]) == ("rank", 1, None)
    assert told["statuses"]["exact"] == 1
    assert "compare within this answer only" in found.json()["meta"]["warnings"][0]
    other = client.post("/v2/rerank", json=BODY, headers={"x-request-id": "bad id\x7f"})
    assert re.fullmatch(r"[0-9a-f]{32}", other.headers["x-request-id"])


def test_own_scores_are_told_where_they_compare():
    with serving(Service({"graded": Pointwise(Fake("<score>70</score>"))})) as client:
        found = client.post("/rerank", json=BODY).json()
        assert found["whyrank"]["scores"] == "own"
        assert [round(one["relevance_score"], 5) for one in found["results"]] == [0.7, 0.7]
        assert found["results"][0]["relevance_score"] > found["results"][1]["relevance_score"]
        raw = client.post("/rerank", json=BODY | {"raw_scores": True}).json()
        assert [one["relevance_score"] for one in raw["results"]] == [70, 70]
    with serving(Service({"graded": Pointwise(Fake("<score>70</score>"))}, scores="rank")) as client:
        assert client.post("/rerank", json=BODY).json()["whyrank"]["scores"] == "rank"


def test_one_reranker_goes_by_any_name_and_several_by_their_own(client, two):
    assert client.post("/rerank", json=BODY | {"model": "rerank-v3.5"}).json()["model"] == "deep"
    assert two.post("/rerank", json=BODY).json()["model"] == "deep"
    assert two.post("/rerank", json=BODY | {"model": "graded"}).json()["model"] == "graded"
    refused = two.post("/rerank", json=BODY | {"model": "rerank-v3.5"})
    assert refused.status_code == 404
    assert refused.json()["message"] == "there is no model 'rerank-v3.5' here: there are deep, graded"


def test_one_document_needs_no_model(client):
    found = client.post("/rerank", json=BODY | {"documents": ["one"]}).json()
    assert [one["index"] for one in found["results"]] == [0]
    assert found["whyrank"]["calls"] == 0


def test_score_answers_in_the_order_of_the_input(two):
    body = {"model": "graded", "text_1": "why?", "text_2": ["a", "b", "a"]}
    found = two.post("/v1/score", json=body).json()
    assert [one["index"] for one in found["data"]] == [0, 1, 2]
    assert all(round(one["score"], 4) == 0.7 for one in found["data"])
    pairs = {"model": "graded", "queries": ["p", "q"], "documents": ["a", "b"]}
    assert len(two.post("/score", json=pairs).json()["data"]) == 2
    refused = two.post("/score", json=body | {"model": "deep"})
    assert refused.status_code == 400
    assert "gives no scores that compare" in refused.json()["detail"]
    wrong = two.post("/score", json={"model": "graded", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]})
    assert wrong.status_code == 400
    assert "text_1 has 2 texts and text_2 3" in wrong.json()["detail"]


def test_score_keeps_pairs_apart_that_differ_in_either_text():
    def grade(prompt: Prompt) -> str:
        said = prompt.chat[-1]["content"]
        return f"<score>{80 if 'apple' in said and 'red' in said else 20}</score>"

    with serving(Service({"graded": Pointwise(Fake(grade))})) as client:
        body = {"queries": ["red", "blue", "red"], "documents": ["apple", "apple", "pear"]}
        found = client.post("/score", json=body).json()["data"]
        assert [round(one["score"], 3) for one in found] == [0.8, 0.2, 0.2]


def test_what_there_is_to_ask(client):
    listed = client.get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == ["deep", "docs"]
    assert client.get("/models").json()["object"] == "list"
    assert client.get("/info").json()["max_client_batch_size"] == 1000
    assert client.get("/health").json() == client.get("/ping").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    told = client.get("/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    assert {"/v2/rerank", "/v1/search", "/metrics"} <= told["paths"].keys()
    assert "POST /v2/rerank" in client.get("/docs").text
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'none'")


def test_a_path_that_there_is_not(client):
    assert "there is no /v3/rerank here" in client.post("/v3/rerank", json=BODY).json()["message"]
    twice = client.post("/v1/v2/rerank", json=BODY)
    assert twice.status_code == 404
    assert "without /v1" in twice.json()["message"]
    assert client.get("/rerank").status_code == 405


# Search


def test_search_in_our_own_words(client):
    found = client.post("/v1/search", json={"query": "dance", "k": 2, "explain": True}).json()
    (result,) = found["results"]
    assert result["hits"][0] | {"score": 0} == {
        "rank": 1,
        "id": "d2",
        "title": "",
        "text": "We know that a dance shows where food is.",
        "score": 0,
        "metadata": {"lang": "en", "year": 1927},
    }
    several = client.post("/v1/search", json={"queries": ["honey", "dance"]}).json()["results"]
    assert [one["hits"][0]["id"] for one in several] == ["d1", "d2"]


def test_search_reranks_where_asked(client):
    body = {"query": "bees dance", "k": 1, "rerank": True, "explain": True}
    first = client.post("/v1/search", json={"query": "bees dance"}).json()["results"][0]["hits"]
    (result,) = client.post("/v1/search", json=body).json()["results"]
    assert result["reranker"] == "deep"
    assert [hit["id"] for hit in result["hits"]] == [first[1]["id"]]
    assert result["whyrank"]["calls"] == 1
    assert client.post("/v1/search", json=body | {"rerank": "none"}).status_code == 404


def test_search_heeds_what_is_excluded_and_what_is_known(client):
    body = {"query": "bees dance honey Bienen"}
    assert {hit["id"] for hit in client.post("/v1/search", json=body).json()["results"][0]["hits"]} == {
        "d1",
        "d2",
        "d/3",
    }
    excluded = client.post("/v1/search", json=body | {"excluded": ["d1"]}).json()["results"][0]["hits"]
    assert "d1" not in {hit["id"] for hit in excluded}
    german = client.post("/v1/search", json=body | {"where": {"lang": "de"}}).json()["results"][0]["hits"]
    assert [hit["id"] for hit in german] == ["d/3"]
    assert german[0]["metadata"]["odd"] is None


def test_search_as_openai_has_it(client):
    body = {"query": "bees dance honey Bienen", "max_num_results": 2, "rewrite_query": False}
    found = client.post("/v1/vector_stores/docs/search", json=body).json()
    assert found["object"] == "vector_store.search_results.page"
    assert found["search_query"] == ["bees dance honey Bienen"]
    assert len(found["data"]) == 2
    assert found["data"][0]["content"][0]["type"] == "text"
    assert 1 >= found["data"][0]["score"] > found["data"][1]["score"] >= 0
    old = {
        "type": "and",
        "filters": [{"type": "lt", "key": "year", "value": 1960}, {"type": "ne", "key": "year", "value": 1927}],
    }
    kept = client.post("/v1/vector_stores/docs/search", json=body | {"filters": old}).json()["data"]
    assert [one["file_id"] for one in kept] == ["d1"]
    ranked = body | {"ranking_options": {"ranker": "deep", "score_threshold": 0.7}}
    assert len(client.post("/v1/vector_stores/docs/search", json=ranked).json()["data"]) == 1
    assert client.post("/v1/vector_stores/other/search", json=body).status_code == 404
    assert client.post("/v1/vector_stores/docs/search", json=body | {"max_num_results": 51}).status_code == 400


def test_search_as_dify_has_it(client):
    body = {
        "knowledge_id": "docs",
        "query": "bees dance honey Bienen",
        "retrieval_setting": {"top_k": 3, "score_threshold": 0.0},
    }
    found = client.post("/retrieval", json=body).json()["records"]
    assert len(found) == 3
    assert all(isinstance(one["metadata"], dict) and 0 <= one["score"] <= 1 for one in found)
    condition = {
        "logical_operator": "and",
        "conditions": [{"name": ["year"], "comparison_operator": "<", "value": 1930}],
    }
    kept = client.post("/retrieval", json=body | {"metadata_condition": condition}).json()["records"]
    assert [one["content"] for one in kept] == [CORPUS["d2"].text]
    unknown = client.post("/retrieval", json=body | {"knowledge_id": "other"})
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, 2001)


def test_a_document_by_its_id(client):
    assert client.get("/v1/documents/d/3").json()["text"] == "Bienen tanzen."
    assert client.get("/v1/documents/d%2F3").json()["url"] == "whyrank://documents/d/3"
    assert client.get("/v1/documents/none").status_code == 404


# Keys, hosts, limits


def test_keys(monkeypatch):
    monkeypatch.setenv("WHYRANK_API_KEYS", "first-key-1, second-key-2,")
    assert keys() == ("first-key-1", "second-key-2")
    with serving(keys=keys()) as client:
        without = client.post("/rerank", json=BODY)
        assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
        wrong = client.post("/rerank", json=BODY, headers={"authorization": "Bearer first-key-2"})
        assert (wrong.status_code, wrong.json()["detail"]) == (401, "this key is none of this server's")
        for headers in (
            {"authorization": "Bearer second-key-2"},
            {"authorization": "bearer first-key-1"},
            {"api-key": "first-key-1"},
            {"x-api-key": "second-key-2"},
        ):
            assert client.post("/rerank", json=BODY, headers=headers).status_code == 200
        for path in ("/health", "/ready", "/metrics"):
            assert client.get(path).status_code == 200
        assert client.post("/retrieval", json={}).json()["error_code"] == 1002
        assert client.get("/v1/models").status_code == 401
    monkeypatch.setenv("WHYRANK_API_KEYS", "short")
    with pytest.raises(BadInput, match="give at least 8"):
        keys()


def test_a_name_that_is_not_the_servers_is_refused(client):
    refused = client.post("/rerank", json=BODY, headers={"host": "evil.example"})
    assert refused.status_code == 421
    assert "--allowed-host" in refused.json()["message"]
    with serving(allowed_hosts=("ranker",)) as named:
        assert named.post("/rerank", json=BODY, headers={"host": "ranker:8000"}).status_code == 200
    with serving(host="0.0.0.0") as open_to_all:
        assert open_to_all.post("/rerank", json=BODY, headers={"host": "any"}).status_code == 200


def test_only_json_is_read_so_that_no_web_page_can_ask_unseen(client):
    form = client.post("/rerank", content=json.dumps(BODY), headers={"content-type": "text/plain"})
    assert form.status_code == 415
    assert client.post("/rerank", content=json.dumps(BODY)).status_code == 415
    assert (
        client.post("/rerank", json=BODY, headers={"origin": "https://x.example"}).headers.get(
            "access-control-allow-origin"
        )
        is None
    )


def test_cors_only_for_named_origins():
    with serving(cors=("https://mine.example",)) as client:
        asked = {"origin": "https://mine.example", "access-control-request-method": "POST"}
        assert client.options("/rerank", headers=asked).headers["access-control-allow-origin"] == "https://mine.example"
        other = client.options("/rerank", headers=asked | {"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_bounds_on_documents_and_bytes():
    with serving(max_documents=3, max_body=2000) as client:
        assert client.post("/rerank", json=BODY | {"documents": ["a"] * 4}).status_code == 400
        large = client.post("/rerank", json=BODY | {"documents": ["a" * 3000]})
        assert large.status_code == 413
        assert "more than 2,000 bytes" in large.json()["message"]
        assert client.post("/rerank", json=BODY).status_code == 200


# Failures


def failing(kind: str, times: int = 99) -> Listwise:
    tries = iter([Failed(kind, f"no {kind} at http://secret-host:9/v1")] * times)  # type: ignore[arg-type]
    return Listwise(Fake(lambda prompt: next(tries, Ok(THOUGHT))))


@pytest.mark.parametrize("kind", ["refusal", "bad_request", "auth", "not_found", "context"])
def test_a_model_that_fails_is_502_and_tells_nothing_internal(kind, capsys):
    with serving(Service({"deep": failing(kind)})) as client:
        refused = client.post("/rerank", json=BODY)
        assert refused.status_code == 502
        assert "secret-host" not in refused.text
        assert "secret-host" in capsys.readouterr().err, "the log says why"
        if kind in {"auth", "not_found"}:
            assert client.get("/ready").status_code == 503


def test_a_model_that_fails_is_answered_in_the_order_given_where_that_is_wished():
    with serving(Service({"deep": failing("refusal")}, fail_open=True)) as client:
        found = client.post("/rerank", json=BODY)
        assert found.status_code == 200
        assert found.headers["x-whyrank-degraded"] == "answers"
        assert [one["index"] for one in found.json()["results"]] == [0, 1]
        assert found.json()["whyrank"]["degraded"] == "answers"
        assert "the reranker failed" in found.json()["meta"]["warnings"][0]
        assert 'whyrank_degraded_total{why="answers"} 1.0' in client.get("/metrics").text


def test_partly_failed_is_200_and_told():
    tries = iter([Failed("refusal", "not this one")])
    with serving(Service({"graded": Pointwise(Fake(lambda prompt: next(tries, "<score>70</score>")))})) as client:
        found = client.post("/rerank", json=BODY)
    assert found.status_code == 200
    assert found.json()["whyrank"]["statuses"]["failed"] == 1
    assert found.json()["whyrank"]["scores"] == "rank"
    assert "1 of 2 model calls failed: the order is made of the others" in found.json()["meta"]["warnings"]


@dataclass(frozen=True)
class Broken(Reranker):
    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        raise RuntimeError("a path: /home/me/secret.py")


def test_a_fault_of_ours_is_500_and_its_text_stays_in_the_log(capsys):
    with serving(Service({"deep": failing("refusal")})) as client:
        client.service.rerankers["deep"] = Broken()
        refused = client.post("/rerank", json=BODY)
    assert refused.status_code == 500
    assert "secret.py" not in refused.text
    assert "secret.py" in capsys.readouterr().err


def test_a_limit_on_tokens_is_402():
    trace = Trace(keep=100, max_tokens=1)
    with serving(Service({"deep": Listwise(Fake(THOUGHT))}, trace=trace)) as client:
        assert client.post("/rerank", json=BODY).status_code == 200
        again = client.post("/rerank", json=BODY | {"query": "another?"})
        assert again.status_code == 402
        assert client.post("/rerank", json=BODY).status_code == 200, "what was answered costs nothing"


def test_cost_is_told():
    trace = Trace(keep=100, prices=Prices({"fake": Price(1e6, 1e6)}))
    with serving(Service({"deep": Listwise(Fake(THOUGHT))}, trace=trace)) as client:
        assert client.post("/rerank", json=BODY).json()["whyrank"]["cost"] > 0
        assert "whyrank_cost_total" in client.get("/metrics").text


# Time and load


def test_a_deadline_before_any_answer_is_502_and_a_later_retry_finds_what_was_under_way():
    llm = Gated()
    with serving(Service({"deep": Listwise(llm)})) as client:
        late = client.post("/rerank", json=BODY | {"deadline": 0.1})
        assert late.status_code == 502
        assert "none of 1 model calls brought an answer (timeout 1)" in late.json()["message"]
        llm.gate.set()
        assert client.post("/rerank", json=BODY).status_code == 200
        assert len(llm.asked) == 1


def test_requests_beyond_the_bound_wait_and_then_are_refused():
    llm = Gated()
    service = Service({"deep": Listwise(llm)})
    with serving(service, max_requests=1, max_waiting=1, max_wait=0.2) as client, ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, "/rerank", json=BODY)
        until(lambda: llm.asked)
        second = pool.submit(client.post, "/rerank", json=BODY)
        until(lambda: client.server.admission.waiting == 1)
        full = client.post("/rerank", json=BODY)
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) >= 1
        assert second.result(30).status_code == 429, "it waited in vain"
        llm.gate.set()
        assert first.result(30).status_code == 200
        assert client.post("/rerank", json=BODY).status_code == 200


def test_a_hundred_requests_at_once_keep_to_the_bound_of_the_engine():
    under_way, most, lock = [0], [0], threading.Lock()

    @dataclass(frozen=True)
    class Counting(LLM):
        model: str = "counting"
        concurrency: int = 4

        async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
            import asyncio

            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            await asyncio.sleep(0.002)
            under_way[0] -= 1
            return [Ok(THOUGHT) for _ in prompts]

    with serving(Service({"deep": Listwise(Counting())})) as client, ThreadPoolExecutor(100) as pool:
        bodies = [BODY | {"query": f"question {n}"} for n in range(100)]
        found = list(pool.map(lambda body: client.post("/rerank", json=body), bodies))
    assert {one.status_code for one in found} == {200}
    assert most[0] <= 4


def test_while_it_drains_nothing_new_is_taken(client):
    client.server.admission.draining = True
    assert client.post("/rerank", json=BODY).status_code == 503
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200


def test_metrics_and_log_hold_no_texts(client, capsys):
    client.post("/rerank", json={"query": "a private question", "documents": ["a private passage", "b"]})
    client.post("/rerank", json={"query": "a private question", "documents": ["x"], "top_n": "a private number"})
    text, log = client.get("/metrics").text, capsys.readouterr().err
    assert 'whyrank_requests_total{family="union",model="deep",route="/rerank",status="200"} 1.0' in text
    assert 'whyrank_calls_total{model="fake",status="ok"} 1.0' in text
    assert "private" not in text + log
    assert "documents=2 calls=1" in log
    assert len(log.splitlines()) == 2


def test_the_log_as_json(capsys):
    with serving(json_logs=True) as client:
        client.post("/rerank", json=BODY, headers={"x-request-id": "r1"})
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (told["id"], told["status"], told["route"], told["model"]) == ("r1", 200, "/rerank", "deep")


def test_a_spec_in_a_body_is_a_name_and_nothing_more(two, tmp_path):
    spec = f"listwise(fake('x')) or __import__('os').system('touch {tmp_path}/made')"
    refused = two.post("/rerank", json=BODY | {"model": spec, "spec": spec, "base_url": "http://evil"})
    assert refused.status_code == 404
    assert not (tmp_path / "made").exists()


def test_settings_are_checked():
    with pytest.raises(BadInput, match="deadline"):
        Settings(deadline=0)
    with pytest.raises(BadInput, match="url must have"):
        Settings(url="https://here")
    with pytest.raises(BadInput, match="nothing to serve"):
        Service()
    with pytest.raises(BadInput, match="needs documents"):
        Service({}, {"docs": BM25().index(CORPUS)})


@pytest.mark.engines
def test_an_encoder_ranks_the_requests_of_many_clients_together():
    minilm = EncoderRerank("minilm")
    with serving(Service({"minilm": minilm})) as client, ThreadPoolExecutor(16) as pool:
        until = time.monotonic() + 120
        while client.get("/ready").status_code != 200 and time.monotonic() < until:
            time.sleep(0.1)
        bodies = [BODY | {"query": f"why do bees dance? {n}"} for n in range(32)]
        found = list(pool.map(lambda body: client.post("/rerank", json=body).json(), bodies))
    for body, one in zip(bodies, found, strict=True):
        alone = minilm.rank(body["query"], body["documents"])
        assert [item["index"] for item in one["results"]] == [item.index for item in alone]
        assert one["whyrank"]["scores"] == "own"
        own = [(1 + item.score) / 2 for item in alone]
        assert [item["relevance_score"] for item in one["results"]] == pytest.approx(own, abs=1e-4)
