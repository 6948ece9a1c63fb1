import asyncio

import pytest

schema = pytest.importorskip("llama_index.core.schema", reason="group serve-frameworks is not installed")

from whyrank.errors import BadInput  # noqa: E402 (after the framework is known to be there)
from whyrank.integrations.llama_index import WhyrankRerank, WhyrankRetriever  # noqa: E402

ANSWER = "<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>"
SPEC = f"listwise(fake({ANSWER!r}))"
TEXTS = ["Bees make honey.", "A dance shows where food is.", "Ants dig."]


def nodes():
    return [
        schema.NodeWithScore(node=schema.TextNode(id_=str(at), text=text, metadata={"page": at}), score=0.5)
        for at, text in enumerate(TEXTS)
    ]


def test_the_postprocessor():
    given = nodes()
    best = WhyrankRerank(reranker=SPEC, top_n=2).postprocess_nodes(given, query_str="why do bees dance?")
    assert [one.node.node_id for one in best] == ["1", "2"]
    assert type(best[0].score) is float
    assert best[0].score > best[1].score
    assert best[0].node.metadata == {"page": 1, "reason": "[2] says where."}
    assert "says where" not in best[0].node.get_content(schema.MetadataMode.LLM)
    assert given[1].score == 0.5 and given[1].node.metadata == {"page": 1}
    with pytest.raises(BadInput, match="a query is needed"):
        WhyrankRerank(reranker=SPEC).postprocess_nodes(given)
    again = asyncio.run(WhyrankRerank(reranker=SPEC, top_n=1).apostprocess_nodes(nodes(), query_str="why?"))
    assert [one.node.node_id for one in again] == ["1"]


def test_it_is_written_down_and_read():
    made = WhyrankRerank(reranker=SPEC, top_n=2)
    told = made.to_dict()
    assert (told["class_name"], told["reranker"]) == ("WhyrankRerank", SPEC)
    assert WhyrankRerank.from_dict(told).reranker == SPEC


def test_events_tell_of_it():
    handlers = pytest.importorskip("llama_index.core.instrumentation.event_handlers")
    seen = []

    class Seen(handlers.BaseEventHandler):
        def handle(self, event, **given):
            seen.append(event.class_name())

    from llama_index.core.instrumentation import get_dispatcher

    get_dispatcher().add_event_handler(Seen())
    WhyrankRerank(reranker=SPEC).postprocess_nodes(nodes(), query_str="why?")
    assert [name for name in seen if name.startswith("ReRank")] == ["ReRankStartEvent", "ReRankEndEvent"]


def test_the_retriever():
    found = WhyrankRetriever("bm25()", "toy", similarity_top_k=3).retrieve("why do bees dance?")
    assert len(found) == 3
    reranked = WhyrankRetriever("bm25()", "toy", similarity_top_k=1, reranker=SPEC).retrieve("why do bees dance?")
    assert [one.node.node_id for one in reranked] == [found[1].node.node_id]
    again = asyncio.run(WhyrankRetriever("bm25()", "toy", similarity_top_k=3).aretrieve("why do bees dance?"))
    assert [one.node.node_id for one in again] == [one.node.node_id for one in found]
