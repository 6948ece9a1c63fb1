"""What Python's public entry points are handed: any iterable once, or one typed sentence that says what to hand in."""

from collections import UserDict, deque

import numpy as np
import pytest

from whyrank.datasets import load
from whyrank.errors import BadInput
from whyrank.eval import evaluate
from whyrank.io import read_qrels, read_queries, read_run, write_run
from whyrank.llm.fake import Fake
from whyrank.llm.trace import Trace
from whyrank.registry import make as make_part
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.types import Corpus, Dataset, Document, Qrels, Query, Run

RANKER = Listwise(Fake("<answer>[2] > [1]</answer>"))
DOCS = [Document("a", "kettle"), Document("b", "pan kettle")]


@pytest.mark.parametrize(
    "docs",
    [
        (text for text in ["a", "b"]),
        map(str, ["a", "b"]),
        iter(["a", "b"]),
        deque(["a", "b"]),
        ("a", "b"),
        np.array(["a", "b"]),
        {"a": 1, "b": 2}.keys(),
        dict(x="a", y="b").values(),
        filter(None, ["a", "", "b"]),
    ],
)
def test_any_iterable_of_texts_is_ranked_once(docs):
    ranked = RANKER.rank("q", docs)
    assert [(one.index, one.text) for one in ranked] == [(1, "b"), (0, "a")]


class Page:
    """As another library has them."""


@pytest.mark.parametrize(
    ("docs", "told"),
    [
        ({"a": "sky", "b": "sea"}, "docs is a mapping: hand in a list, such as [Document(id, text) for id, text in"),
        (UserDict(a="sky"), "docs is a mapping"),
        ("one text", "docs is one text"),
        (b"bytes", "docs is one text"),
        (Document("a", "x"), "docs is one text"),
        (None, "docs is None: hand in a list of texts or Documents"),
        (7, "docs is a int: hand in a list"),
        (["a", None], "docs[1] is a NoneType: hand in texts"),
        ([Page()], f"docs[0] is a {Page.__module__}.Page: hand in texts or whyrank's Documents"),
        ([["a"]], "docs[0] is a list"),
        ((text for text in ["a", 3]), "docs[1] is a int"),
        (["half \ud83d"], "docs[0]: document '0': the text holds half of a surrogate pair, \\ud83d"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(docs, told):
    with pytest.raises(BadInput) as caught:
        RANKER.rank("q", docs)
    assert told in str(caught.value)


@pytest.mark.parametrize("query", [None, 7, ["q"], b"q", "half \udc80"])
def test_what_is_no_question_is_refused(query):
    with pytest.raises(BadInput, match=r"query 'query': the text (must be a text, not|holds half)"):
        RANKER.rank(query, ["a", "b"])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Document(1, "x"), "a document's id must be a text, not 1: write '1'"),
        (lambda: Document(None, "x"), "a document's id must be a text, not None"),
        (lambda: Document("", "x"), "a document's id is empty"),
        (lambda: Document("a", None), "document 'a': the text must be a text, not None"),
        (lambda: Document("a", ["x"]), "document 'a': the text must be a text, not ['x']"),
        (lambda: Document("a", "x", None), "document 'a': the title must be a text, not None"),
        (lambda: Document("a", "x", float("nan")), "document 'a': the title must be a text, not nan"),
        (lambda: Document("a\ud83d", "x"), "the id holds half of a surrogate pair, \\ud83d"),
        (lambda: Document("a", "x\udfff"), "document 'a': the text holds half of a surrogate pair, \\udfff"),
        (lambda: Document("a", "x", "\ud800 y"), "the title holds half"),
        (lambda: Document(np.int64(3), "x"), "a document's id must be a text"),
        (lambda: Query(3, "x"), "a query's id must be a text, not 3: write '3'"),
        (lambda: Query("q", None), "query 'q': the text must be a text, not None"),
        (lambda: Query("q", "x\ud83d"), "query 'q': the text holds half"),
        (lambda: Query("q", "x", "d1"), "query 'q': excluded must be a set of document ids, not 'd1'"),
        (lambda: Query("q", "x", [1]), "query 'q': excluded must hold document ids as text, not 1"),
        (lambda: Query("q", "x", frozenset(), {"d": 1}), "query 'q': only must be a set of document ids"),
        (lambda: Corpus(["text"]), "in the collection is a str: a Document is wanted"),
        (lambda: Corpus([Document("a", "x"), None]), "in the collection is None"),
        (lambda: BM25().index(["text", 7]), "index: in the collection is a int: hand in a Corpus, or a list of texts"),
        (lambda: BM25().index(iter(["text", None])), "index: in the collection is None"),
        (lambda: BM25().index("one text"), "index: the collection is a str: hand in a Corpus, or a list of texts"),
        (lambda: BM25().index(Document("a", "x")), "index: the collection is a Document"),
        (lambda: BM25().index({"a": "x"}), "index: the collection is a dict"),
        (lambda: BM25().index(["x", Document("0", "y")]), "document '0' occurs twice"),
        (lambda: BM25().index(["x", ""]).search(7), "search: what is asked is a int: hand in texts or Queries"),
        (lambda: BM25().index(DOCS).search([["why"]]), "search: queries[0] is a list: hand in texts or Queries"),
        (lambda: BM25().index(DOCS).search(b"why"), "search: what is asked is a bytes"),
        (lambda: BM25().index(DOCS).search(["why", Query("0", "x")]), "query '0' is given twice"),
        (lambda: BM25().index(None), "index: the collection is None"),
        (lambda: evaluate(["d1"], {"0": {"d1": 1}}), "evaluate: the run is a list: hand in one Run"),
        (lambda: evaluate(Qrels({"0": {"d1": 1}}), {"0": {"d1": 1}}), "evaluate: the run is a Qrels"),
        (lambda: evaluate({"0": {"d1": "high"}}, {"0": {"d1": 1}}), "the scores of 'd1' and others are no numbers"),
        (lambda: BM25().index(DOCS).search({"q": "why"}), "search: what is asked is a dict"),
        (lambda: BM25().index(DOCS).search(None), "search: what is asked is None"),
        (lambda: RANKER.rerank("run.trec", Dataset("d")), "rerank: the run is a str: hand in a Run, such as read_run"),
        (lambda: RANKER.rerank({"q": ["a"]}, Dataset("d")), "rerank: the run is a dict"),
        (lambda: RANKER.rerank(Run.of({"q": ["a"]}), "toy"), "rerank: the data is a str: hand in a Dataset"),
        (lambda: RANKER.rerank(Run.of({"q": ["a"]}), Corpus(DOCS)), "rerank: the data is a Corpus"),
        (lambda: RANKER.rerank(Run.of({"q": ["a"]}), Dataset("d"), depth="10"), "depth must be at least 1, not '10'"),
        (lambda: BM25().index(DOCS).search([Query("q", "x")], k="3"), "k must be at least 1, not '3'"),
        (lambda: BM25().index(DOCS).search([Query("q", "x")], k=2.5), "k must be at least 1, not 2.5"),
        (lambda: BM25().index(DOCS).search([Query("q", "x")], k=None), "k must be at least 1, not None"),
        (lambda: BM25().index(DOCS).remove("ab"), "remove: 'ab' is one text: hand in a list of ids, such as ['ab']"),
        (lambda: Run.of([("q", ["a"])]), "run 'run' is a list: hand in {query id: ids, best first} or"),
        (lambda: Run.of(None), "run 'run' is None"),
        (lambda: write_run("run.trec", "x"), "write_run: the run is a str: hand in a Run first, then the path"),
        (lambda: write_run(Run.of({"q": ["a"]}), None), "the path of a file is None: hand in one"),
        (lambda: read_run(None), "the path of a file is None: hand in one, such as 'run.trec'"),
        (lambda: read_qrels(7), "the path of a file is a int"),
        (lambda: read_queries(None), "the path of a file is None"),
        (lambda: load(None), "load: the data set is None: hand in a name or a folder, such as load('toy')"),
        (lambda: load(["toy"]), "load: the data set is a list"),
        (lambda: make_part(None), 'a spec is a text, such as "bm25()", not None'),
        (lambda: make_part(BM25()), 'a spec is a text, such as "bm25()", not bm25()'),
    ],
)
def test_values_of_another_kind_are_refused_where_they_are_made(make, told):
    with pytest.raises(BadInput) as caught:
        make()
    assert told in str(caught.value)


def test_texts_of_numpy_and_pandas_are_texts():
    document = Document(np.str_("a"), np.str_("kettle"))
    run = BM25().index([document]).search([Query("q", np.str_("kettle"))])
    assert list(run["q"].ids) == ["a"] and write_run(run, "/dev/null") is None


TEXTS = ["Bees dance at home.", "Birds fly south.", "Ants follow a trail."]


@pytest.mark.parametrize("texts", [TEXTS, tuple(TEXTS), iter(TEXTS), np.array(TEXTS), (text for text in TEXTS)])
def test_texts_are_indexed_under_their_places(texts):
    assert BM25().index(texts).search("birds")["0"].ids == ["1"]


def test_texts_are_asked_under_their_places():
    engine = BM25().index(TEXTS)
    assert {id: list(found.ids) for id, found in engine.search(["ants", "bees"]).items()} == {"0": ["2"], "1": ["0"]}
    assert engine.search(Query("q", "ants"))["q"].ids == engine.search("ants")["0"].ids
    assert engine.search("") == engine.search([""]) and engine.search([]) == Run.of({})


def test_scores_in_dictionaries_are_a_run():
    scores, judged = {"q": {"a": 0.5, "b": 2.0}, "r": {"c": 1.0}}, {"q": {"b": 1}, "r": {"c": 0, "d": 1}}
    assert evaluate(scores, judged, ["RR@10", "nDCG@10"]).per_query == evaluate(Run.of(scores), judged,
        ["RR@10", "nDCG@10"]).per_query  # fmt: skip
    assert evaluate(scores, judged, "RR@10")["RR@10"] == 0.5


def test_answers_are_cut_and_give_their_texts():
    ranked = RANKER.rank("q", ["a", "b", "c"])
    assert ranked.top(2).texts == ranked.texts[:2] and len(ranked.top(9)) == 3 and sorted(ranked.texts) == list("abc")
    with pytest.raises(BadInput, match="k must be at least 1"):
        ranked.top(0)


def test_large_things_are_shown_in_brief():
    data, report = load("toy"), evaluate({"q": {"a": 1.0}}, {"q": {"a": 1}}, "nDCG@10")
    for one in (data, data.corpus, Trace(), Trace().ledger, report):
        assert len(repr(one)) < 200 and " at 0x" not in repr(one)
    assert repr(report) == "Report('run', nDCG@10=1, 1 queries)" and "nDCG@10</th>" in report._repr_html_()


def test_tables_of_notebooks_show_text_as_text():
    html = RANKER.rank("<script>q", ["<script>alert(1)</script>", "b"])._repr_html_()
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    html = Run.of({"<i>": {"<b>d</b>": 1.0}})._repr_html_()
    assert "<b>" not in html and "<i>" not in html and "&lt;b&gt;d" in html


def test_queries_come_from_any_iterable():
    index = BM25().index(document for document in DOCS)
    run = index.search(Query(str(at), "kettle") for at in range(2))
    assert {query: list(ids) for query, (ids, _) in run.items()} == {"0": ["a", "b"], "1": ["a", "b"]}


def test_ids_are_held_in_sets():
    query = Query("q", "kettle", ["a"], ("a", "b"))
    assert query.excluded == frozenset("a") and query.only == frozenset("ab") and hash(query)
    assert list(BM25().index(DOCS).search([query])["q"].ids) == ["b"]
