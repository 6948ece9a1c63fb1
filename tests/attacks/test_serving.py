"""What strangers send to a server: every body has its status and its sentence, and nothing of ours leaks."""

import json
import random
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from serve_helpers import serving, until

from whyrank import Fake, Listwise, Pointwise
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt
from whyrank.serve.service import Service

DOCS = ["Bees make honey.", "A dance shows where food is."]
ANSWER = "<think>[2] says it.</think><answer>[2] > [1]</answer>"
BODY = {"query": "why?", "documents": DOCS}
JSON = {"content-type": "application/json"}


@pytest.fixture
def client():
    with serving() as client:
        yield client


@pytest.fixture
def two():
    with serving(Service({"a": Listwise(Fake(ANSWER)), "b": Listwise(Fake(ANSWER))})) as client:
        yield client


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 400, "cannot be read as JSON"),
        (b"{", 400, "cannot be read as JSON"),
        (b"[" * 200_000, 400, "cannot be read as JSON"),
        (b'{"query": NaN, "documents": ["a"]}', 400, "NaN is no number of JSON's"),
        (b'{"query": "a", "documents": ["a"], "top_n": Infinity}', 400, "Infinity is no number"),
        (b'{"query": "a", "documents": ["\\ud800"]}', 400, "half of a surrogate pair"),
        (b'{"query": "a", "documents": null}', 400, "must be a list of texts, not null"),
        (b'{"query": "a", "documents": []}', 400, "documents is empty"),
        (b'{"query": "a", "texts": "b"}', 400, "texts must be a list"),
        (b'{"query": "a"}', 400, "nothing to rank"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}', 400, "nothing to rank"),
        (b'{"inputs": "an embedding"}', 400, "nothing to rank"),
        (json.dumps({"query": "a", "documents": ["x"] * 10_001}).encode(), 400, "10,001 documents"),
        (b'{"query": "a", "documents": ["b"], "top_n": 1e400}', 400, "top_n must be"),
        (b'{"query": "a", "documents": ["b"], "top_n": ' + b"9" * 5000 + b"}", 400, "JSON"),
        (b"\xff\xfe{}", 400, "cannot be read as JSON"),
    ],
)
def test_a_body_that_is_none(client, content, status, told):
    answer = client.post("/v1/rerank", content=content, headers=JSON)
    assert answer.status_code == status
    body = answer.json()
    assert told in (body["error"] if "error_type" in body else body["message"])
    assert "error_type" in body or body["message"] == body["detail"] == body["error"]["message"]


def test_a_body_of_33_mb_is_not_read_to_its_end(client):
    body = json.dumps({"query": "a", "documents": ["x" * (33 * 2**20)]}).encode()
    answer = client.post("/rerank", content=body, headers=JSON)
    assert answer.status_code == 413
    assert "more than 33,554,432 bytes" in answer.json()["message"]


def test_no_body_is_code_a_path_or_an_address(two, tmp_path):
    made = tmp_path / "made"
    for text in (
        f"__import__('os').system('touch {made}')",
        "tests.evil.Part()",
        "listwise(openai('m', base_url='http://127.0.0.1:9'))",
        "../../../etc/passwd",
        "file:///etc/passwd",
    ):
        for name in ("model", "spec", "reranker", "data", "trace", "config", "prices"):
            answer = two.post("/rerank", json=BODY | {name: text})
            assert answer.status_code == (404 if name == "model" else 200)
            assert "root:" not in answer.text
    assert not made.exists()


def test_a_document_is_found_by_its_id_and_no_file_is(client):
    for id in ("../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "d1%00"):
        answer = client.get(f"/v1/documents/{id}")
        assert answer.status_code == 404
        assert "root:" not in answer.text


@dataclass(frozen=True)
class Dying(LLM):
    """Answers twice, and is dead from then on."""

    kind: str = "auth"
    model: str = "dying"
    concurrency: int = 1
    asked: list[str] = field(default_factory=list, repr=False)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        self.asked.append("")
        dead = Failed(self.kind, "the key sk-0a1b2c3d4e5f6a7b8c9d of http://me:pa55word@inside/v1")  # type: ignore[arg-type]
        return [Ok("<score>70</score>") if len(self.asked) < 3 else dead]


@pytest.mark.parametrize(("kind", "status"), [("auth", 502), ("not_found", 502), ("refusal", 200)])
def test_an_engine_that_dies_at_the_third_of_nine_calls(kind, status, capsys):
    with serving(Service({"graded": Pointwise(Dying(kind))})) as client:
        answer = client.post("/rerank", json=BODY | {"documents": [f"text {n}" for n in range(9)]})
        metrics = client.get("/metrics").text
    said = answer.text + metrics + capsys.readouterr().err
    assert answer.status_code == status
    assert not re.search(r"sk-0a1b|pa55word", said), "no secret leaves, not into the log either"
    assert "inside" not in answer.text
    if status == 200:
        assert answer.json()["whyrank"]["statuses"]["failed"] == 7


def test_a_model_that_loads_for_a_minute(monkeypatch):
    from whyrank.serve import http

    loading = threading.Event()
    monkeypatch.setattr(http, "AT_ONCE", 0.05)
    monkeypatch.setattr(Service, "warm", lambda self: loading.wait(60))
    with serving() as client:
        early = client.post("/rerank", json=BODY)
        assert (early.status_code, early.headers["retry-after"]) == (503, "5")
        assert "a model is still being loaded" in early.json()["message"]
        assert "still loading" in client.get("/ready").json()["message"]
        assert client.get("/health").status_code == 200
        loading.set()
        until(lambda: client.get("/ready").status_code == 200)
        assert client.post("/rerank", json=BODY).status_code == 200


def test_texts_in_answers_and_logs_forge_nothing(client, capsys):
    name = "x\r\nset-cookie: a=b"
    answer = client.post("/rerank", json=BODY | {"model": name, "\x1b[2J\nfake": 1}, headers={"x-request-id": "a b"})
    assert "set-cookie" not in answer.headers
    log = capsys.readouterr().err
    assert "\x1b" not in log
    assert len(log.splitlines()) == 1


def test_a_key_is_not_told_by_what_is_said():
    with serving(keys=("right-key-0001",)) as client:
        wrong = (b"r", b"right-key-0002", b"\xe9")
        answers = [client.post("/rerank", json=BODY, headers={"api-key": key}) for key in wrong]
    assert {answer.json()["message"] for answer in answers} == {"this key is none of this server's"}


def test_no_body_made_by_chance_is_a_fault_of_ours(client):
    draw, end = random.Random(0), time.monotonic() + 8
    names = ["query", "documents", "texts", "passages", "input", "model", "top_n", "top_k", "return_documents"]
    names += ["rank_fields", "explain", "raw_scores", "deadline", "priority", "instruction", "relevant_spans"]
    values = [
        None,
        True,
        -1,
        0,
        3,
        1e308,
        "",
        "a",
        "true",
        [],
        ["a"],
        ["a", {"text": "b"}],
        [[]],
        {},
        {"text": "q"},
        {"mode": "enabled"},
    ]
    paths = ["/rerank", "/v1/score", "/v1/search", "/retrieval", "/v1/vector_stores/docs/search", "/v1/ranking"]
    names += ["text_1", "text_2", "queries", "k", "rerank", "where", "excluded", "filters", "max_num_results"]
    names += ["ranking_options", "retrieval_setting", "metadata_condition", "knowledge_id", "collection"]
    for _ in range(1500):
        body = {name: draw.choice(values) for name in draw.sample(names, draw.randint(1, 9))}
        body |= {"query": "why?"} if draw.random() < 0.6 else {}
        answer = client.post(draw.choice(paths), json=body)
        assert answer.status_code in {200, 400, 404}, (body, answer.text)
        json.loads(answer.text, parse_constant=lambda text: pytest.fail(f"{text} in an answer"))
        if time.monotonic() > end:
            break
