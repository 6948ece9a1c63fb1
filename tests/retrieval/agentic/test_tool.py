"""The search tool: one batched search for many queries, memory, exclusions, the ledger, and garbled calls."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.retrieval.agentic.tool import SearchTool, show
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.testing import DOCUMENTS
from whyrank.types import Corpus, Document, Query, Ranking

CORPUS = Corpus(DOCUMENTS)
READY = BM25(threads=1).index(CORPUS)
WORDS = ("bees dance in the hive", "flowers and nectar", "the sea and its salts", "sugar, gas and the loaf", "nothing")


@dataclass(frozen=True)
class Counted(Retriever):
    """Counts how often it is searched."""

    inner: Retriever
    sizes: list[int] = field(default_factory=list, repr=False, compare=False)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        self.sizes.append(len(queries))
        return list(self.inner.search(queries, k).values())


def test_queries_of_one_call_are_searched_in_one_batch():
    counted = Counted(READY)
    SearchTool(counted, CORPUS).search(WORDS)
    assert counted.sizes == [len(WORDS)]


def test_a_document_is_shown_once_and_keeps_its_number():
    tool = SearchTool(READY, CORPUS, k=3)
    (first,) = tool.search([WORDS[0]])
    (again,) = tool.search([WORDS[0]])
    assert first.new == len(first.hits) > 0 and again.new == 0
    assert [hit.number for hit in again.hits] == [hit.number for hit in first.hits] == list(tool.seen.values())
    assert [hit.text for hit in again.hits] == [""] * len(again.hits)
    assert (tool.ledger.calls, tool.ledger.queries, tool.ledger.new) == (2, 2, len(first.hits))
    assert tool.ledger.shown == 2 * len(first.hits)


@given(
    excluded=st.sets(st.sampled_from([document.id for document in DOCUMENTS])),
    calls=st.lists(st.lists(st.sampled_from(WORDS), max_size=3), max_size=4),
    k=st.integers(1, 5),
)
def test_excluded_documents_are_never_shown_and_cost_no_place(excluded, calls, k):
    tool = SearchTool(READY, CORPUS, k, excluded=excluded)
    for queries in calls:
        for query, found in zip(queries, tool.search(queries), strict=True):
            allowed = [id for id in READY.search([Query("q", query)], len(DOCUMENTS))["q"].ids if id not in excluded]
            assert [hit.id for hit in found.hits] == allowed[:k]
    assert not excluded & tool.seen.keys()


def test_texts_are_cut_to_so_many_tokens():
    tool = SearchTool(READY, CORPUS, k=1, max_tokens=10)
    (found,) = tool.search(["why is the sea salt? rivers carry salts into it"])
    assert found.hits[0].id == "long" and 0 < len(found.hits[0].text) <= 30
    assert CORPUS["long"].text.startswith(found.hits[0].text)


def test_a_tool_call_gets_json_and_the_schema_says_how():
    tool = SearchTool(READY, CORPUS, k=2, max_queries=2)
    asked = tool.schema["function"]["parameters"]["properties"]["queries"]
    assert tool.schema["function"]["name"] == "search" and asked["maxItems"] == 2
    answer = json.loads(tool.call(json.dumps({"queries": [*WORDS[:2], "third"]})))
    assert [found["query"] for found in answer["results"]] == list(WORDS[:2]) and answer["left_out"] == ["third"]
    assert answer["results"][0]["hits"][0]["title"] == "The waggle dance"


@pytest.mark.parametrize(
    "given", ['{"queries": "bees dance\\n\\nants"}', {"query": "bees dance\nants"}, '["bees dance", "ants"]']
)
def test_other_forms_of_the_same_call_are_read(given):
    tool = SearchTool(READY, CORPUS)
    assert [found["query"] for found in json.loads(tool.call(given))["results"]] == ["bees dance", "ants"]


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_a_garbled_call_is_answered_and_counted(text):
    tool = SearchTool(READY, CORPUS)
    answer = json.loads(tool.call(text))
    assert ("error" in answer) == (tool.ledger.refused == 1) == (tool.ledger.calls == 0)


def test_one_text_in_place_of_a_list_is_refused():
    with pytest.raises(BadInput, match="list of texts"):
        SearchTool(READY, CORPUS).search("bees dance")
    with pytest.raises(BadInput, match="at least 1"):
        SearchTool(READY, CORPUS, k=0)


def test_a_corpus_that_is_not_the_indexed_one_is_named():
    with pytest.raises(BadInput, match="which is not among the 1 given"):
        SearchTool(READY, Corpus([Document("other", "bees")])).search(["bees dance"])


def test_results_as_text_have_title_number_and_no_repetition():
    tool = SearchTool(READY, CORPUS, k=1)
    lines = show(tool.search([WORDS[0], WORDS[0]])).splitlines()
    assert lines[1].startswith("[1] The waggle dance: Bees dance in the hive")
    assert lines[3] == "[1] (shown before)"
