import asyncio
import os

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

haystack = pytest.importorskip("haystack", reason="group serve-frameworks is not installed")

from haystack_integrations.components.rankers.whyrank import WhyrankRanker  # noqa: E402 (after the framework)
from haystack_integrations.components.retrievers.whyrank import WhyrankRetriever  # noqa: E402

ANSWER = "<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>"
SPEC = f"listwise(fake({ANSWER!r}))"


def documents():
    texts = ["Bees make honey.", "A dance shows where food is.", "Ants dig."]
    return [haystack.Document(id=str(at), content=text, meta={"page": at}) for at, text in enumerate(texts)]


def test_the_ranker():
    given = documents()
    best = WhyrankRanker(SPEC, top_k=2).run(query="why do bees dance?", documents=given)["documents"]
    assert [one.id for one in best] == ["1", "2"]
    assert best[0].meta == {"page": 1, "reason": "[2] says where."}
    assert best[0].score > best[1].score
    assert given[1].score is None
    assert WhyrankRanker(SPEC).run(query="why?", documents=[])["documents"] == []
    assert len(WhyrankRanker(SPEC, score_threshold=0.6).run(query="why?", documents=given)["documents"]) == 2
    again = asyncio.run(WhyrankRanker(SPEC).run_async(query="why?", documents=given, top_k=1))
    assert [one.id for one in again["documents"]] == ["1"]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="top_k must be at least 1"):
            WhyrankRanker(SPEC, top_k=wrong)


def test_a_pipeline_is_saved_and_loaded_without_being_told_whom_to_trust():
    pipeline = haystack.Pipeline()
    pipeline.add_component("search", WhyrankRetriever("bm25()", "toy", top_k=5))
    pipeline.add_component("rank", WhyrankRanker(SPEC, top_k=2))
    pipeline.connect("search.documents", "rank.documents")
    again = haystack.Pipeline.loads(pipeline.dumps())
    asked = {"search": {"query": "why do bees dance?"}, "rank": {"query": "why do bees dance?"}}
    first, second = (one.run(asked, include_outputs_from={"search"}) for one in (pipeline, again))
    found = [one.id for one in first["search"]["documents"]]
    assert [one.id for one in first["rank"]["documents"]] == [found[1], found[2]]
    assert [one.id for one in second["rank"]["documents"]] == [found[1], found[2]]


def test_what_is_written_down():
    told = WhyrankRanker(SPEC, top_k=3)
    data = haystack.core.serialization.default_to_dict(told, reranker=SPEC, top_k=3)
    assert data["type"] == "haystack_integrations.components.rankers.whyrank.WhyrankRanker"
    made = haystack.core.serialization.default_from_dict(WhyrankRanker, data)
    assert (made.reranker, made.top_k) == (SPEC, 3)


def test_the_retriever():
    found = WhyrankRetriever("bm25()", "toy", top_k=3).run(query="why do bees dance?")["documents"]
    assert len(found) == 3
    assert found[0].content and found[0].score > found[1].score
    reranked = asyncio.run(WhyrankRetriever("bm25()", "toy", top_k=1, reranker=SPEC).run_async("why do bees dance?"))
    assert [one.id for one in reranked["documents"]] == [found[1].id]
    assert reranked["documents"][0].meta["reason"] == "[2] says where."
