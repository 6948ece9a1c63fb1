"""The toy collection: well formed, and hard in the way that it claims."""

import re

import pytest

from whyrank.datasets import load


def test_it_is_whole(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = load("toy")
    assert (len(data.corpus), len(data.queries)) == (80, 15)
    assert {query.id for query in data.queries} == set(data.qrels)
    for judged in data.qrels.values():
        assert all(id in data.corpus for id in judged)
        assert list(judged.values()).count(2) == 1
        assert 1 <= len(judged) <= 3 and set(judged.values()) <= {1, 2}


def test_passages_are_short_prose():
    corpus = load("toy").corpus
    assert len({document.title for document in corpus}) == len({document.text for document in corpus}) == len(corpus)
    for document in corpus:
        sentences = re.findall(r"[.!?](?= [A-Z]|$)", document.text)
        assert 2 <= len(sentences) <= 4, document.title
        assert 80 < len(document.text) < 400, document.title


def words(text):
    return {word[:5] for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 3}


def test_words_mislead():
    """The passage that shares most words with a question is never the one that answers it."""
    data = load("toy")
    for query in data.queries:
        most = max(data.corpus, key=lambda document: len(words(document.content) & words(query.text)))
        assert data.qrels[query.id].get(most.id, 0) < 2, query.text


@pytest.mark.engines
def test_an_encoder_beats_bm25_and_leaves_room():
    from whyrank.eval import evaluate
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker
    from whyrank.retrieval.base import Retriever

    data = load("toy")
    first = make("bm25()", Retriever).index(data.corpus).search(data.queries, k=80)
    final = make("encoder_rerank('minilm')", Reranker).rerank(first, data, depth=80)
    bm25, minilm = (evaluate(run, data.qrels, ["nDCG@10"]).means["nDCG@10"] for run in (first, final))
    assert bm25 < 0.3
    assert bm25 + 0.2 < minilm < 0.7
