import unittest

import pytest

pt = pytest.importorskip("pyterrier", reason="group serve-frameworks is not installed")

import pandas as pd  # noqa: E402 (after the framework is known to be there)

from whyrank import BM25, Fake, Listwise, load  # noqa: E402
from whyrank.errors import BadInput  # noqa: E402
from whyrank.integrations.pyterrier import PyTerrierRetriever, as_pyterrier  # noqa: E402

ANSWER = "<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>"
DATA = load("toy")
TOPICS = pd.DataFrame([{"qid": query.id, "query": query.text} for query in DATA.queries[:4]])


def test_a_retriever_and_a_reranker_in_one_pipeline():
    first = as_pyterrier(BM25(), DATA, 3)
    found = first.transform(TOPICS)
    assert {"qid", "query", "docno", "text", "title", "score", "rank"} == set(found.columns)
    both = (first >> as_pyterrier(Listwise(Fake(ANSWER)))).transform(TOPICS)
    for qid in TOPICS["qid"]:
        before = found[found.qid == qid].sort_values("rank")["docno"].tolist()
        after = both[both.qid == qid].sort_values("rank")["docno"].tolist()
        assert after == [before[1], before[2], before[0]]
    assert set(both["reason"]) >= {"[2] says where."}


def test_no_rows_are_no_rows():
    empty = TOPICS.head(0)
    found = as_pyterrier(BM25(), DATA, 3).transform(empty)
    assert len(found) == 0 and "docno" in found.columns
    assert len(as_pyterrier(Listwise(Fake(ANSWER))).transform(found)) == 0


def test_a_pipeline_as_our_retriever():
    ours = BM25().index(DATA.corpus).search(DATA.queries[:4], 5)
    theirs = PyTerrierRetriever(as_pyterrier(BM25(), DATA, 20)).search(DATA.queries[:4], 5)
    assert {id: theirs[id].ids for id in theirs} == {id: ours[id].ids for id in ours}


def test_what_lacks_its_text_is_told():
    with pytest.raises(Exception, match="text"):
        as_pyterrier(Listwise(Fake(ANSWER))).transform(TOPICS.assign(docno="d", score=1.0, rank=0))
    with pytest.raises(BadInput, match="needs a collection"):
        as_pyterrier(BM25())


TestRetriever = pt.testing.transformer_test_class(lambda: as_pyterrier(BM25(), DATA, 3))
TestReranker = pt.testing.transformer_test_class(lambda: as_pyterrier(Listwise(Fake(ANSWER))))
assert issubclass(TestRetriever, unittest.TestCase)
