"""Every document as a first stage: what a retriever finds first, and all the others behind it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput, BadSpec
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.retrieval.around.all_documents import AllDocuments
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.rewrite.expand import HyDE
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import Corpus, Document, Query

IDS = [document.id for document in DOCUMENTS]
PLAIN, BEHIND = AllDocuments().index(DOCUMENTS), AllDocuments(BM25()).index(iter(DOCUMENTS))


@pytest.mark.parametrize("part", [AllDocuments(), AllDocuments(BM25())], ids=repr)
def test_it_keeps_the_contract(part):
    check_retriever(part)


@given(
    banned=st.frozensets(st.sampled_from(IDS)),
    only=st.none() | st.frozensets(st.sampled_from([*IDS, "elsewhere"])),
    k=st.integers(1, len(IDS) + 3),
)
def test_all_that_may_be_found_is_found_in_order(banned, only, k):
    queries = [replace(query, excluded=banned, only=only) for query in QUERIES]
    allowed = [id for id in IDS if queries[0].allows(id)]
    first = BM25().index(DOCUMENTS).search(queries, k)
    plain, behind = PLAIN.search(queries, k), BEHIND.search(queries, k)
    for query in queries:
        assert list(plain[query.id].ids) == allowed[:k]
        found = list(first[query.id].ids)
        assert list(behind[query.id].ids) == [*found, *(id for id in allowed if id not in found)][:k]
        for run in (plain, behind):
            scores = list(run[query.id].scores)
            assert all(one > other for one, other in zip(scores[len(found) :], scores[len(found) + 1 :], strict=False))
        assert list(behind[query.id].scores[: len(found)]) == list(first[query.id].scores)


def test_an_index_that_is_there_is_opened_and_metadata_filter(tmp_path):
    corpus = Corpus(
        [Document("a", "bee", metadata={"n": 1}), Document("b", "ant", metadata={"n": 1}), Document("c", "x")]
    )
    BM25(str(tmp_path / "idx")).index(corpus)
    ready = make(f"all_documents(bm25(path={str(tmp_path / 'idx')!r}))", Retriever).ready(corpus)
    assert list(ready.search([Query("q", "ants")])["q"].ids) == ["b", "a", "c"]
    assert list(ready.search([Query("q", "ants")], where={"n": 1})["q"].ids) == ["b", "a"]


def test_notes_of_the_retriever_travel_along():
    part = AllDocuments(Rewritten(BM25(), HyDE(Fake("bees dance")))).index(DOCUMENTS)
    run = part.search(QUERIES[:1], len(IDS))
    assert run.notes[QUERIES[0].id].calls and len(run[QUERIES[0].id].ids) == len(IDS)


def test_what_it_cannot_do_it_says(tmp_path):
    with pytest.raises(BadInput, match="knows no documents yet"):
        AllDocuments().search(QUERIES)
    with pytest.raises(BadInput, match="keeps no index of its own"):
        AllDocuments().save(tmp_path / "x")
    with pytest.raises(BadSpec, match="Retriever"):
        make("all_documents(3)")


def test_on_the_command_line(run):
    code, out, _ = run("search", "all_documents(bm25())", "--data", "toy", "-k", 1000, "-o", "all")
    assert code == 0 and "15 queries, 1,200 entries" in out
