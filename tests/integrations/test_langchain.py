import asyncio
import json
import pickle

import pytest

documents = pytest.importorskip("langchain_core.documents", reason="group serve-frameworks is not installed")

from whyrank import Fake, Listwise  # noqa: E402 (after the framework is known to be there)
from whyrank.integrations.langchain import (  # noqa: E402
    WhyrankCompressor,
    WhyrankCrossEncoder,
    WhyrankRetriever,
    compressor,
)

ANSWER = "<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>"
SPEC = f"listwise(fake({ANSWER!r}))"
DOCS = [
    documents.Document(id=str(at), page_content=text, metadata={"page": at})
    for at, text in enumerate(["Bees make honey.", "A dance shows where food is.", "Ants dig."])
]


def test_the_compressor_gives_copies_with_all_metadata():
    best = WhyrankCompressor(reranker=SPEC, top_n=2).compress_documents(DOCS, "why do bees dance?")
    assert [one.id for one in best] == ["1", "2"]
    assert best[0].metadata.keys() == {"page", "relevance_score", "reason"}
    assert DOCS[1].metadata == {"page": 1}
    assert type(best[0].metadata["relevance_score"]) is float
    assert WhyrankCompressor(reranker=SPEC).compress_documents([], "why?") == []
    assert len(WhyrankCompressor(reranker=SPEC, top_n=None).compress_documents(DOCS, "why?")) == 3
    again = asyncio.run(compressor(Listwise(Fake(ANSWER)), 1).acompress_documents(DOCS, "why?"))
    assert [one.id for one in again] == ["1"]


def test_in_a_contextual_compression_retriever():
    classic = pytest.importorskip("langchain_classic.retrievers")
    base = WhyrankRetriever(retriever="bm25()", data="toy", k=5)
    both = classic.ContextualCompressionRetriever(base_compressor=compressor(SPEC, 2), base_retriever=base)
    first = base.invoke("why do bees dance?")
    assert [one.id for one in both.invoke("why do bees dance?")] == [first[1].id, first[2].id]


@pytest.mark.parametrize("part", [WhyrankCompressor(reranker=SPEC), WhyrankRetriever(retriever="bm25()", data="toy")])
def test_what_is_written_down_are_specs(part):
    kept = json.loads(part.model_dump_json())
    assert type(part)(**kept) == part
    assert pickle.loads(pickle.dumps(part)) == part
    assert part.model_copy(deep=True) == part


def test_wrong_arguments():
    with pytest.raises(ValueError, match="extra"):
        WhyrankCompressor(reranker=SPEC, top_k=3)
    with pytest.raises(ValueError, match="no part is called 'listwse'"):
        WhyrankCompressor(reranker="listwse(fake())").compress_documents(DOCS, "a")


def test_the_cross_encoder():
    pairs = [("why?", "a"), ("why?", "b")]
    scores = WhyrankCrossEncoder(reranker="pointwise(fake('<score>70</score>'))").score(pairs)
    assert scores == pytest.approx([0.7, 0.7])


def test_retrieved_documents_have_reasons_where_a_model_gave_them():
    found = WhyrankRetriever(retriever="bm25()", data="toy", reranker=SPEC, k=3).invoke("why do bees dance?", k=2)
    assert len(found) == 2
    assert found[0].metadata["reason"] == "[2] says where."
    assert found[0].metadata["relevance_score"] > found[1].metadata["relevance_score"]


try:
    from langchain_tests.integration_tests import RetrieversIntegrationTests
except ImportError:
    pass
else:

    @pytest.mark.asyncio
    class TestTheStandardTestsOfRetrievers(RetrieversIntegrationTests):
        @property
        def retriever_constructor(self):
            return WhyrankRetriever

        @property
        def retriever_constructor_params(self):
            return {"retriever": "bm25()", "data": "toy"}

        @property
        def retriever_query_example(self):
            return "why do bees dance in the dark of the hive?"
