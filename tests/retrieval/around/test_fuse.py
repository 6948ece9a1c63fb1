"""`fuse(...)` as a part: what its retrievers find, fused; their exclusions, their model calls, their indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput, BadSpec
from whyrank.fusion import Fusion
from whyrank.registry import make
from whyrank.retrieval.around.feedback import RM3, Rocchio
from whyrank.retrieval.around.fuse import Fuse
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import CallReport, Note, Query, Run

PARTS = (
    Fuse(BM25(), BM25Q()),
    Fuse(BM25(), BM25Q(), BM25(b=0.9), method="combsum", norm="zscore", weights=(1, 2, 0)),
    Fuse(BM25(), Fuse(BM25Q(), BM25(k1=2)), method="combmnz", depth=3),
    Fuse(RM3(BM25()), Rocchio(BM25(), max_df=1.0), method="combsum"),
    RM3(BM25(), fb_docs=2, max_df=1.0),
    Rocchio(BM25(), fb_docs=3, fb_terms=30, max_df=1.0),
)


@dataclass(frozen=True)
class Asking(Retriever):
    """Finds what it is told, and says so in its notes."""

    ids: tuple[str, ...]
    filters = True

    def _search(self, queries: Sequence[Query], k: int) -> list:
        raise AssertionError("unused")

    def _run(self, queries, k, trace):
        notes = {query.id: Note((CallReport("exact", key=trace),)) for query in queries}
        return Run.of({query.id: self.ids[:k] for query in queries}, notes=notes)


@pytest.mark.parametrize("part", PARTS[:3], ids=repr)
def test_it_keeps_the_contract(part):
    check_retriever(part)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([part.index(DOCUMENTS) for part in PARTS]),
    st.sets(st.sampled_from([document.id for document in DOCUMENTS])),
    st.integers(1, 12),
)
def test_what_is_excluded_never_returns(part, banned, k):
    queries = [replace(query, excluded=frozenset(banned)) for query in QUERIES]
    found = part.search(queries, k)
    assert not banned & {id for ranking in found.values() for id in ranking.ids}
    assert {query: list(ranking.ids) for query, ranking in part.search(queries, 12).top(k).items()} == {
        query: list(ranking.ids) for query, ranking in found.items()
    }


def test_it_is_the_fusion_of_what_its_retrievers_find():
    both = Fuse(BM25(), BM25Q(), method="combsum", weights=(1, 0.5)).index(iter(DOCUMENTS))
    runs = [part.index(DOCUMENTS).search(QUERIES, 1000) for part in (BM25(), BM25Q())]
    assert both.search(QUERIES, 4) == Fusion(method="combsum", weights=(1, 0.5)).of(runs).top(4)


def test_depth_is_how_deep_the_retrievers_are_searched():
    one, other = Asking(tuple("abcdef")), Asking(tuple("fedcba"))
    assert set(Fuse(one, other, depth=2).search([Query("q", "")], 1)["q"].ids) <= set("abfe")
    assert len(Fuse(one, other, depth=2).search([Query("q", "")], 2)["q"].ids) == 2
    assert len(Fuse(one, other, depth=1).search([Query("q", "")], 6)["q"].ids) == 6


def test_model_calls_and_the_trace_travel_through():
    found = Fuse(Asking(("a",)), Asking(("b",))).search([Query("q", "")], trace="trace")  # type: ignore[arg-type]
    assert found.notes["q"].calls == (CallReport("exact", key="trace"),) * 2


def test_ready_opens_what_is_there_and_indexes_the_rest(tmp_path):
    BM25(path=tmp_path / "bm25").index(DOCUMENTS)
    part = Fuse(BM25(path=tmp_path / "bm25"), BM25Q())
    wanted = Fuse(BM25(), BM25Q()).index(DOCUMENTS).search(QUERIES, 5)
    assert part.ready(iter(DOCUMENTS)).search(QUERIES, 5) == wanted
    assert RM3(BM25(path=tmp_path / "bm25")).ready(DOCUMENTS).search(QUERIES) == RM3(BM25()).index(DOCUMENTS).search(
        QUERIES
    )
    with pytest.raises(BadInput, match="has no index yet"):
        part.search(QUERIES)


def test_the_spec_carries_the_parts_one_by_one():
    part = make("fuse(bm25(), dense('minilm'), method='combsum', weights=(0.3, 0.7))")
    assert part == Fuse(BM25(), make("dense('minilm')"), method="combsum", weights=(0.3, 0.7))
    assert repr(replace(part, weights=())) == "fuse(bm25(), dense('minilm'), method='combsum')"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fuse(bm25())", "fuse: retrievers must be 2 or more"),
        ("fuse()", "fuse: retrievers must be 2 or more"),
        ("fuse(bm25(), bm25q(), weights=(1.0,))", "1 weights are given for 2 retrievers"),
        ("fuse(bm25(), bm25q(), depth=0)", "depth must be at least 1"),
        ("fuse(bm25(), bm25q(), method='best')", "'best'"),
        ("fuse(bm25(), ranking(think='no'))", r"each of retrievers must be a Retriever, not ranking\(think='no'\)"),
    ],
)
def test_what_cannot_be_fused_is_refused(spec, message):
    with pytest.raises(BadSpec, match=message):
        make(spec)
