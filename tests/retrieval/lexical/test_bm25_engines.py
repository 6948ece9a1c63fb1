"""BM25 against other programs: Lucene, gensim, bm25s."""

import json
from statistics import mean

import bm25s
import numpy as np
import pytest
import pytrec_eval
from gensim.corpora import Dictionary
from gensim.models import LuceneBM25Model
from gensim.similarities import SparseMatrixSimilarity
from hypothesis import given, settings

from tests.retrieval.lexical.test_bm25 import CORPORA, QUERIES, TERMS
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.types import Document, Query


def load(folder):
    with open(folder / "corpus.jsonl", encoding="utf-8") as lines:
        corpus = [Document(str(d["_id"]), d["text"], d.get("title", "")) for d in map(json.loads, lines)]
    with open(folder / "queries.jsonl", encoding="utf-8") as lines:
        return corpus, [Query(str(q["_id"]), q["text"]) for q in map(json.loads, lines)]


def test_scifact_scores_as_published(shared_data):
    corpus, queries = load(shared_data / "beir" / "scifact")
    qrels: dict[str, dict[str, int]] = {}
    for line in (shared_data / "beir/scifact/qrels/test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    run = BM25().index(corpus).search([query for query in queries if query.id in qrels], 1000)
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recall_100"}).evaluate(run.to_dict())
    assert len(found) == 300
    assert mean(scores["ndcg_cut_10"] for scores in found.values()) == pytest.approx(0.6789, abs=2e-4)
    assert mean(scores["recall_100"] for scores in found.values()) == pytest.approx(0.9253, abs=5e-4)


@settings(max_examples=100, deadline=None)
@given(CORPORA.filter(lambda corpus: any(document.text for document in corpus)), QUERIES)
def test_query_side_scores_equal_gensims(corpus, queries):
    words = [document.text.split() for document in corpus]
    dictionary = Dictionary(words)
    model = LuceneBM25Model(dictionary=dictionary, k1=0.9, b=0.4)
    bags = model[list(map(dictionary.doc2bow, words))]
    index = SparseMatrixSimilarity(
        bags, num_docs=len(words), num_terms=len(dictionary), normalize_queries=False, normalize_documents=False
    )
    run = BM25Q(**TERMS).index(corpus).search(queries, len(corpus))
    for query in queries:
        theirs = index[model[dictionary.doc2bow(query.text.split())]]
        ours = dict(zip(*run[query.id], strict=True))
        mine = [ours.get(document.id, 0.0) for document in corpus]
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(CORPORA.filter(lambda corpus: any(document.text for document in corpus)), QUERIES)
def test_scores_with_exact_lengths_equal_bm25s(corpus, queries):
    other = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    other.index([document.text.split() for document in corpus], show_progress=False)
    run = BM25(lengths="exact", **TERMS).index(corpus).search(queries, len(corpus))
    for query in queries:
        known = [word for word in query.text.split() if word in other.vocab_dict]
        theirs = other.get_scores(known) if known else np.zeros(len(corpus))
        ours = dict(zip(*run[query.id], strict=True))
        np.testing.assert_allclose([ours.get(d.id, 0.0) for d in corpus], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.engines
@pytest.mark.parametrize("name", ["scifact", "vaswani", "cacm"])
def test_the_ranking_is_lucenes_own(shared_data, name):
    lucene = pytest.importorskip("whyrank.retrieval.lexical.lucene")
    pytest.importorskip("pyserini.resources", reason="needs the extra lucene")
    corpus, queries = load(shared_data / "beir" / name)
    queries = queries[:200]
    theirs = lucene.Lucene().index(corpus).search(queries, 1000)
    ours = BM25().index(corpus).search(queries, 1000)
    for query in theirs:
        scores = dict(zip(*ours[query], strict=True))
        shared = [id for id in theirs[query].ids if id in scores]
        mine = np.array([scores[id] for id in shared])
        his = np.array([score for id, score in zip(*theirs[query], strict=True) if id in scores])
        np.testing.assert_allclose(mine, his, atol=2e-4)  # Anserini rounds to 1e-4 and separates ties by 1e-6
        assert (np.diff(mine) < 1e-5).all()  # no document stands before one with a higher score
        last = min(scores.values(), default=0) + 2e-4  # what is missing is as good as the last one found
        assert all(score <= last for id, score in zip(*theirs[query], strict=True) if id not in scores)
