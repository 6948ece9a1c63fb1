"""Feedback: Anserini's weights and measures to the last digit that counts, and excluded documents that stay silent."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank import evaluate
from whyrank.errors import BadInput, BadSpec
from whyrank.registry import make
from whyrank.retrieval.around.feedback import RM3, Rocchio
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.lucene import start_jvm
from whyrank.retrieval.lexical.postings import Postings
from whyrank.retrieval.vector.dense import Dense
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import Document, Query, Ranking, Run

TEXTS = ("tide moon moon sea", "moon landing apollo", "apollo program", "sea salt", "bread yeast", "yeast sugar")
SMALL = [Document(f"d{at}", text) for at, text in enumerate(TEXTS)]


@pytest.mark.parametrize(
    "part", [RM3(BM25()), RM3(BM25(), max_df=1.0, fb_docs=2), Rocchio(BM25(), max_df=1.0)], ids=repr
)
def test_it_keeps_the_contract(part):
    check_retriever(part)


@pytest.mark.engines
def test_rocchio_on_vectors_keeps_the_contract():
    check_retriever(Rocchio(Dense("minilm"), fb_docs=3))


def test_weights_by_hand():
    run = (
        RM3(BM25(), fb_docs=1, fb_terms=2, original_weight=0.6, max_df=1.0)
        .index(SMALL)
        .search([Query("q", "tide unknown")])
    )
    # of "tide moon moon sea" the two most frequent terms, of equal ones the first in the alphabet, are moon and sea
    assert run.notes["q"].terms == pytest.approx({"tide": 0.3, "unknown": 0.3, "moon": 0.4 * 2 / 3, "sea": 0.4 / 3})
    assert run.name == "rm3" and set(run["q"].ids) == {"d0", "d1", "d3"}
    run = Rocchio(BM25(), fb_docs=1, fb_terms=1, beta=0.5, max_df=1.0).index(SMALL).search([Query("q", "tide")])
    assert run.notes["q"].terms == pytest.approx({"tide": 1.0, "moon": 0.5})


def test_terms_that_are_common_short_long_or_odd_are_not_added():
    odd = [Document("d0", "query b naïve 12 " + "x" * 21), *(Document(f"e{at}", "common") for at in range(4))]
    run = RM3(BM25(), max_df=0.5).index(odd).search([Query("q", "query common")])
    assert set(run.notes["q"].terms) == {"queri", "common", "12"}
    run = Rocchio(BM25(), max_df=0.5).index(odd).search([Query("q", "query common")])
    assert set(run.notes["q"].terms) == {"queri", "common", "12", "naïv"}


@pytest.mark.parametrize("part", [RM3(BM25(), max_df=1.0, fb_docs=2), Rocchio(BM25(), max_df=1.0, fb_docs=2)], ids=repr)
def test_an_excluded_document_gives_no_feedback(part):
    ready = part.index(SMALL)
    heard = ready.search([Query("q", "moon")]).notes["q"].terms
    silent = ready.search([Query("q", "moon", frozenset({"d0"}))]).notes["q"].terms
    assert "tide" in heard and "tide" not in silent and "apollo" in silent


def test_a_query_that_finds_nothing_stays_empty():
    for part in (RM3(BM25()), Rocchio(BM25())):
        found = part.index(SMALL).search([Query("q", "xyzzy"), Query("r", "")])
        assert found.sizes == {"q": 0, "r": 0}


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6), st.data())
def test_terms_of_documents_are_those_that_were_counted(documents, data):
    lengths = np.array([len(document) for document in documents], dtype=np.int32)
    postings = Postings.of(np.array([term for one in documents for term in one], dtype=np.int32), lengths, 6)
    wanted = data.draw(st.lists(st.integers(0, len(documents) - 1), unique=True))
    found = postings.of_documents(np.array(wanted, dtype=np.int64)).toarray()
    assert found.tolist() == [[documents[at].count(term) for term in range(6)] for at in wanted]


def test_terms_of_documents_by_name():
    index = BM25().index(SMALL)
    assert index.document_terms(["d0", "d5"]) == {
        "d0": {"tide": 1, "moon": 2, "sea": 1},
        "d5": {"yeast": 1, "sugar": 1},
    }
    assert index.document_terms(["d0"], max_df=0.2) == {"d0": {"tide": 1}}
    assert index.document_terms([]) == {}
    with pytest.raises(BadInput, match="no document 'x'"):
        index.document_terms(["x"])


@pytest.mark.engines
def test_rocchio_moves_the_query_vector():
    dense = Dense("minilm").index(DOCUMENTS)
    query = QUERIES[0]
    top = dense.search([query], 2)[query.id].ids
    vector = 0.5 * dense.query_vectors([query])[0] + 2 * dense.document_vectors(top).mean(axis=0)
    wanted = dense.search_vectors({query.id: vector}, 5)
    assert Rocchio(Dense("minilm"), fb_docs=2, alpha=0.5, beta=2.0).index(DOCUMENTS).search([query], 5) == wanted
    banned = Query(query.id, query.text, frozenset(top))
    found = Rocchio(Dense("minilm"), fb_docs=2).index(DOCUMENTS).search([banned], 12)[query.id]
    others = dense.search([banned], 2)[query.id].ids
    moved = dense.query_vectors([query])[0] + 0.75 * dense.document_vectors(others).mean(axis=0)
    assert not set(top) & set(found.ids)
    assert found.ids == dense.search_vectors({query.id: moved}, 12, {query.id: top})[query.id].ids


@pytest.mark.engines
def test_vectors_that_do_not_fit_are_refused():
    dense = Dense("minilm").index(SMALL)
    with pytest.raises(BadInput, match="a vector of 384 finite numbers"):
        dense.search_vectors({"q": np.ones(3, dtype=np.float32)})
    with pytest.raises(BadInput, match="a vector of 384 finite numbers"):
        dense.search_vectors({"q": np.full(384, np.nan, dtype=np.float32)})
    with pytest.raises(BadInput, match="k must be at least 1"):
        dense.search_vectors({}, 0)
    with pytest.raises(BadInput, match="no document 'x'"):
        dense.document_vectors(["x"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rm3(bm25(), fb_docs=0)", "fb_docs must be at least 1"),
        ("rm3(bm25(), fb_terms=0)", "fb_terms must be at least 1"),
        ("rm3(bm25(), max_df=0.0)", "max_df must be above 0 and at most 1"),
        ("rm3(bm25(), original_weight=1.5)", "original_weight must be from 0 to 1"),
        ("rm3(dense('minilm'))", "rm3: retriever must be a BM25, not"),
        ("rocchio(bm25q())", "rocchio: retriever must be a BM25 or a Dense"),
        ("rocchio(bm25(), alpha=0.0, beta=0.0)", "not both be 0"),
        ("rocchio(bm25(), beta=-1.0)", "beta must be at least 0"),
    ],
)
def test_what_makes_no_feedback_is_refused(spec, message):
    with pytest.raises(BadSpec, match=message):
        make(spec)


def test_the_wrong_retriever_is_refused_in_python_too():
    with pytest.raises(BadSpec, match=r"rocchio: retriever must be a BM25 or a Dense, not bm25q\(\)"):
        Rocchio(BM25Q())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def collections(shared_data, tmp_path_factory):
    """A function that gives documents, queries, judgements, and Anserini on the same documents with their terms."""
    start_jvm()
    from jnius import autoclass

    def opened(name):
        folder, place = shared_data / "beir" / name, str(tmp_path_factory.mktemp(name))
        documents = [Document(row["_id"], row["text"], row.get("title", "")) for row in rows(folder / "corpus.jsonl")]
        qrels = {}
        for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
            query, document, grade = line.split("\t")
            qrels.setdefault(query, {})[document] = int(grade)
        queries = [Query(row["_id"], row["text"]) for row in rows(folder / "queries.jsonl") if row["_id"] in qrels]
        options = {"-input": "", "-index": place, "-collection": "JsonCollection", "-threads": "1"}
        indexer = autoclass("io.anserini.index.SimpleIndexer")(
            [word for option in options.items() for word in option] + ["-storeDocvectors"]
        )
        whole = [json.dumps({"id": doc.id, "contents": doc.content}) for doc in documents if doc.content.strip()]
        assert indexer.addRawDocuments(whole) == len(whole)
        indexer.close()
        searcher = autoclass("io.anserini.search.SimpleSearcher")(place)
        searcher.set_bm25(0.9, 0.4)
        return documents, queries, qrels, searcher

    return opened


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def expanded(searcher, query):
    found, entries = {}, searcher.get_feedback_terms(query.text).entrySet().iterator()
    while entries.hasNext():
        entry = entries.next()
        found[entry.getKey()] = entry.getValue()
    return found


def hits(searcher, query):
    found = searcher.search(query.text, 100)
    return Ranking([hit.docid for hit in found], np.minimum.accumulate([hit.score for hit in found]))


@pytest.mark.engines
@pytest.mark.parametrize("name", ["scifact", "cranfield"])  # of which Cranfield has empty documents
def test_weights_and_measures_equal_anserinis(name, collections):
    documents, queries, qrels, searcher = collections(name)
    queries = queries[:80]
    qrels = {query.id: qrels[query.id] for query in queries}
    bm25 = BM25().index(documents)
    for part in (RM3(bm25), RM3(bm25, fb_docs=5, fb_terms=20, original_weight=0.3), Rocchio(bm25)):
        if isinstance(part, RM3):
            searcher.set_rm3(part.fb_terms, part.fb_docs, part.original_weight)
        else:
            searcher.unset_rm3()
            searcher.set_rocchio(None, part.fb_terms, part.fb_docs, 10, 10, part.alpha, part.beta, 0.0, False, False)
        run = part.search(queries, 100)
        for query in queries:
            assert run.notes[query.id].terms == pytest.approx(expanded(searcher, query), abs=1e-6)
        theirs = Run.of({query.id: hits(searcher, query) for query in queries})
        for measure in ("nDCG@10", "R@100"):
            assert evaluate(run, qrels, measure)[measure] == pytest.approx(
                evaluate(theirs, qrels, measure)[measure], abs=1e-3
            )
