"""Recorded bodies of applications that cannot be installed here, and what each of them does with the answer.

How each reads it follows its source: Open WebUI's external reranker, Dify's OpenAI-compatible rerank model, RAGFlow's
SiliconFlow and LocalAI providers, Continue's openai, vllm and TEI rerankers.
"""

DOCS = ["Bees make honey.", "We know that a dance shows where food is."]
QUERY = "why do bees dance?"


def test_open_webui(client):
    body = {"model": "m", "query": QUERY, "documents": DOCS, "top_n": len(DOCS)}
    data = client.post("/v1/rerank", json=body).json()
    in_input_order = [result["relevance_score"] for result in sorted(data["results"], key=lambda one: one["index"])]
    kept = [(text, score) for text, score in zip(DOCS, in_input_order, strict=True) if score >= 0.6]
    assert [text for text, _ in kept] == [DOCS[1]]


def test_dify(client):
    body = {"model": "m", "query": QUERY, "documents": DOCS, "top_n": 2, "return_documents": True}
    results = client.post("/rerank", json=body).json()["results"]
    scores = [one["relevance_score"] for one in results]
    scaled = [(score - min(scores)) / (max(scores) - min(scores)) for score in scores]
    assert [(one["index"], one["document"]["text"]) for one in results] == [(1, DOCS[1]), (0, DOCS[0])]
    assert scaled == [1, 0]


def test_ragflow(client):
    body = {
        "model": "m",
        "query": QUERY,
        "documents": DOCS,
        "top_n": 2,
        "return_documents": False,
        "max_chunks_per_doc": 1024,
        "overlap_tokens": 80,
    }
    found = client.post("/v1/rerank", json=body).json()
    rank = [0.0] * len(DOCS)
    for one in found["results"]:
        rank[one["index"]] = one["relevance_score"]
    assert rank[1] > rank[0] > 0
    assert found["meta"]["tokens"]["input_tokens"] + found["meta"]["tokens"]["output_tokens"] > 0
    local = body | {"return_documents": "true"}
    texts = [one["document"]["text"] for one in client.post("/rerank", json=local).json()["results"]]
    assert texts == [DOCS[1], DOCS[0]]


def test_continue(client, two):
    body = {"model": "m", "query": QUERY, "documents": DOCS}
    by_openai = sorted(client.post("/v1/rerank", json=body).json()["data"], key=lambda one: one["index"])
    by_vllm = sorted(client.post("/rerank", json=body).json()["results"], key=lambda one: one["index"])
    by_tei = sorted(client.post("/rerank", json={"query": QUERY, "texts": DOCS}).json(), key=lambda one: one["index"])
    for scores in (
        [one["relevance_score"] for one in by_openai],
        [one["relevance_score"] for one in by_vllm],
        [one["score"] for one in by_tei],
    ):
        assert scores[1] > scores[0]
    assert client.get("/info").json()["model_type"].keys() == {"reranker"}
    old_vllm = {"model": "graded", "text_1": QUERY, "text_2": DOCS}
    assert [one["index"] for one in two.post("/score", json=old_vllm).json()["data"]] == [0, 1]


def test_dify_external_knowledge(client):
    body = {
        "knowledge_id": "docs",
        "query": QUERY,
        "retrieval_setting": {"top_k": 2, "score_threshold": 0.0},
        "metadata_condition": None,
    }
    for one in client.post("/retrieval", json=body).json()["records"]:
        assert one.keys() == {"content", "score", "title", "metadata"}
        assert isinstance(one["metadata"], dict)
