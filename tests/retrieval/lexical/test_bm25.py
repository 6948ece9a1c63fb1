import json
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput, BadSpec, NotFound
from whyrank.registry import make
from whyrank.retrieval.filters import Allowed
from whyrank.retrieval.lexical import topk
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.postings import _BYTE_LENGTHS
from whyrank.testing import check_retriever
from whyrank.types import Document, Query

WORDS = st.sampled_from("bee ant fly moth wasp hive nest sting honey".split())
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
CORPORA = st.lists(TEXTS, min_size=1, max_size=30).map(
    lambda texts: [Document(f"d{number}", text) for number, text in enumerate(texts)]
)
QUERIES = st.lists(TEXTS, min_size=1, max_size=6).map(
    lambda texts: [Query(f"q{number}", text) for number, text in enumerate(texts)]
)
TERMS = {"analyzer": "terms"}


def naive(corpus, query, part):
    """BM25 from its formula: {document id: score} of the documents that hold a term of the query."""
    texts = [Counter(document.text.split()) for document in corpus]
    filled = [text for text in texts if text] if getattr(part, "lengths", "") == "lucene" else texts
    average = sum(map(Counter.total, texts)) / max(len(filled), 1)

    def weight(term, count, length):
        frequency = sum(term in text for text in texts)
        idf = math.log(1 + (len(filled) - frequency + 0.5) / (frequency + 0.5))
        return idf * count / (count + part.k1 * (1 - part.b + part.b * length / average))

    wanted = Counter(term for term in query.text.split() if any(term in text for text in texts))
    scores = {}
    for document, text in zip(corpus, texts, strict=True):
        held = [
            (weight(term, count, wanted.total()) if isinstance(part, BM25Q) else count)
            * weight(term, text[term], text.total())
            for term, count in wanted.items()
            if term in text
        ]
        if held:
            scores[document.id] = sum(held)
    return scores


def same(one, other):
    assert list(one) == list(other)
    for query in one:
        assert one[query].ids == other[query].ids
        assert one[query].scores.tolist() == other[query].scores.tolist()


@pytest.fixture(params=["together", "one by one"])
def way(request, monkeypatch):
    """Both ways to add scores up, the second with groups so small that few documents use them."""
    if request.param == "one by one":
        monkeypatch.setattr(topk, "SMALL", 0)
        monkeypatch.setattr(topk, "_GROUP", 2)


@pytest.mark.parametrize(
    "part",
    [
        BM25(**TERMS),
        BM25(k1=1.7, b=0.9, **TERMS),
        BM25(k1=0, b=1, **TERMS),
        BM25(lengths="exact", **TERMS),
        BM25Q(**TERMS),
    ],
)
def test_scores_and_order_are_those_of_the_formula(part, way):
    @settings(max_examples=60, deadline=None)
    @given(CORPORA, QUERIES, st.integers(1, 12), st.data())
    def check(corpus, queries, k, data):
        excluded = st.frozensets(st.sampled_from([document.id for document in corpus]), max_size=4)
        queries = [replace(query, excluded=data.draw(excluded)) for query in queries]
        run = part.index(corpus).search(queries, k)
        place = {document.id: number for number, document in enumerate(corpus)}
        for query in queries:
            expected = {id: score for id, score in naive(corpus, query, part).items() if id not in query.excluded}
            ids, scores = run[query.id]
            assert len(ids) == min(k, len(expected)) and set(ids) <= set(expected)
            np.testing.assert_allclose(scores, [expected[id] for id in ids], rtol=2e-6)
            np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[: len(ids)], rtol=2e-6)
            assert sorted(ids, key=lambda id: (-scores[ids.index(id)], place[id])) == list(ids)

    check()


def test_top_k_is_exact_whatever_the_threads(way):
    draw = np.random.default_rng(0)
    for size in (1, 7, 300):
        dense = draw.integers(0, 4, (40, size)).astype(np.float32) / 8
        counts = np.count_nonzero(dense, axis=1)
        terms, documents = np.nonzero(dense)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        matrix = topk.Matrix(offsets, documents.astype(np.int32), dense[terms, documents], size)
        asked = [draw.integers(0, 40, length) for length in draw.integers(0, 9, 50)]
        weights = draw.integers(1, 3, sum(map(len, asked))).astype(np.float32)
        bounds = np.cumsum([0, *map(len, asked)])
        banned = {query: draw.integers(0, size, 3) for query in range(0, 50, 7)}
        batch = topk.Batch(
            bounds, np.concatenate(asked), weights, {at: Allowed(None, np.unique(rows)) for at, rows in banned.items()}
        )
        for k in (1, 5, 1000):
            found = topk.search(matrix, batch, k, threads=1)
            for threads in (2, 5):
                again = topk.search(matrix, batch, k, threads)
                for query, count in enumerate(found.counts):
                    assert again.documents[query, :count].tolist() == found.documents[query, :count].tolist()
                assert again.scores.tolist() == found.scores.tolist()
            for query, (start, end) in enumerate(pairwise(bounds)):
                totals = weights[start:end] @ dense[asked[query]] if end > start else np.zeros(size, np.float32)
                totals[banned.get(query, [])] = 0
                order = [number for number in np.argsort(-totals, kind="stable") if totals[number] > 0][:k]
                assert found.documents[query, : found.counts[query]].tolist() == order
                assert found.scores[query, : len(order)].tolist() == totals[order].tolist()


@settings(max_examples=60, deadline=None)
@given(CORPORA, CORPORA, QUERIES)
def test_appending_equals_indexing_all(first, second, queries):
    second = [replace(document, id=f"e{document.id}") for document in second]
    appended, whole = BM25(**TERMS).index(first).append(second), BM25(**TERMS).index(first + second)
    same(appended.search(queries), whole.search(queries))
    for name in ("offsets", "documents", "counts", "lengths"):
        grown, built = getattr(appended._held.postings, name), getattr(whole._held.postings, name)
        assert grown.tolist() == built.tolist()
    assert appended._held.numbers == whole._held.numbers


@settings(max_examples=10, deadline=None)
@given(corpus=CORPORA, queries=QUERIES)
def test_a_saved_index_finds_the_same(tmp_path_factory, corpus, queries):
    built, path = BM25(k1=1.1).index(corpus), tmp_path_factory.mktemp("saved") / "index"
    built.save(path)
    assert BM25.open(path) == BM25(str(path), k1=1.1)
    same(BM25.open(path).search(queries), built.search(queries))
    same(make(repr(BM25.open(path)), BM25).search(queries), built.search(queries))
    same(BM25Q.open(path).search(queries), BM25Q(k1=1.1).index(corpus).search(queries))
    same(BM25(path, lengths="exact").search(queries), BM25(lengths="exact").index(corpus).search(queries))
    more = [Document("new", "a bee, a wasp and a hornet")]
    same(BM25.open(path).append(more).search(queries), built.append(more).search(queries))


@pytest.mark.parametrize("part", [BM25(), BM25Q(), BM25(lengths="exact", threads=1), BM25(analyzer="terms")])
def test_the_contract_of_retrievers(part):
    check_retriever(part)


def test_several_processes_read_the_same(monkeypatch):
    monkeypatch.setattr("whyrank.retrieval.lexical.tokenization.BLOCK", 3)
    corpus = [Document(f"d{n}", f"bee {n % 7} and ant{n % 5} of hive {n}") for n in range(20)]
    alone, together = BM25().index(corpus), BM25(processes=2).index(corpus)
    assert alone._held.numbers == together._held.numbers
    assert alone._held.weights.tolist() == together._held.weights.tolist()
    more = [Document(f"e{n}", f"bee {n} of nest {n % 3}") for n in range(7)]
    same(
        alone.append(more).search([Query("q", "nest bee 3")]), together.append(more).search([Query("q", "nest bee 3")])
    )


def test_arrays_of_an_opened_index_stay_on_disk(tmp_path, way):
    BM25().index([Document("d", "bee")]).save(tmp_path / "index")
    opened = BM25.open(tmp_path / "index")
    assert opened.search([Query("q", "bees")])["q"].ids == ["d"]
    weights = opened._held.weights
    assert isinstance(weights.base, np.memmap) and not weights.flags.writeable


def test_weighted_terms():
    bees = BM25(lengths="exact").index([Document("a", "bee bee ant"), Document("b", "bee wasp"), Document("c", "fly")])
    plain = bees.search([Query("q", "bee bee wasp")])
    weighted = bees.search_terms({"q": {"bee": 2, "wasp": 1, "unknown": 9}, "none": {}, "zero": {"fli": 0}})
    assert weighted["q"].ids == plain["q"].ids and weighted["q"].scores.tolist() == plain["q"].scores.tolist()
    assert list(weighted["none"].ids) == list(weighted["zero"].ids) == []
    assert list(bees.search_terms({"q": {"bee": 1}}, excluded={"q": {"b", "no such"}})["q"].ids) == ["a"]
    with pytest.raises(BadInput, match="query 'q': the weight of 'bee' is -1"):
        bees.search_terms({"q": {"bee": -1}})
    with pytest.raises(BadInput, match="k must be at least 1"):
        bees.search_terms({"q": {"bee": 1}}, k=0)


def test_a_query_of_any_length():
    corpus = [Document(f"d{n}", f"word{n}") for n in range(3000)]
    run = BM25().index(corpus).search([Query("q", " ".join(document.text for document in corpus))], 5000)
    assert run["q"].ids == [document.id for document in corpus]


def test_odd_documents_and_queries():
    bees = BM25().index(
        [Document("empty", ""), Document("stop", "the of and"), Document("a b", "bee"), Document("a  b", "ant")]
    )
    run = bees.search([Query("0", ""), Query("1", "the and of"), Query("2", "xyzzy"), Query("3", "Bees' ants")])
    assert [list(run[query].ids) for query in run] == [[], [], [], ["a b", "a  b"]]
    nothing = BM25().index([Document("empty", "")])
    assert list(nothing.search([Query("q", "bee")])["q"].ids) == []


def test_bad_input_is_told():
    with pytest.raises(BadInput, match=r"bm25\(\) has no index yet: call index\(corpus\)"):
        BM25().search([Query("q", "bee")])
    with pytest.raises(BadInput, match="the collection is empty"):
        BM25().index([])
    with pytest.raises(BadInput, match="document 'a' occurs twice: ids must be unique, in the index and"):
        BM25().index([Document("a", "bee")]).append([Document("a", "ant")])
    for wrong in ({"k1": -1}, {"b": 2}, {"lengths": "short"}, {"threads": 0}, {"processes": 0}):
        with pytest.raises(BadSpec, match=f"^bm25: {next(iter(wrong))} must be "):
            BM25(**wrong)
    with pytest.raises(BadSpec, match="no analyser is called 'latin'"):
        BM25(analyzer="latin")


def test_foreign_and_damaged_folders_are_refused(tmp_path):
    path = tmp_path / "index"
    BM25().index([Document("d", "bee bee ant")]).save(path)
    with pytest.raises(BadIndex, match="is not empty"):
        BM25().index([Document("d", "bee")]).save(path)
    with pytest.raises(NotFound, match="no such folder"):
        BM25.open(tmp_path / "nowhere")
    with pytest.raises(BadIndex, match=r"is not an index: it has no index\.json"):
        BM25.open(tmp_path)
    with pytest.raises(BadIndex, match="was indexed with analyzer='english'"):
        BM25(path, analyzer="terms").search([Query("q", "bee")])
    for name in sorted(file.name for file in path.iterdir()):
        whole = (path / name).read_bytes()
        flipped = (whole[:-1], whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:], b"") if whole else (b"{}\n",)
        for damaged in flipped:
            (path / name).write_bytes(damaged)
            with pytest.raises(BadIndex, match=f"{name} is damaged"):
                BM25.open(path)
        (path / name).unlink()
        with pytest.raises(BadIndex, match=name):
            BM25.open(path)
        (path / name).write_bytes(whole)
    told = json.loads((path / "index.json").read_text())
    for change, message in (
        ({"version": 99}, "format version 99"),
        ({"kind": "faiss"}, "kind 'faiss'"),
        ({"about": {}}, "damaged"),
    ):
        (path / "index.json").write_text(json.dumps(told | change))
        with pytest.raises(BadIndex, match=message):
            BM25.open(path)


def test_lengths_in_one_byte():
    assert _BYTE_LENGTHS[:42].tolist() == [*range(40), 40, 42]
    assert _BYTE_LENGTHS[-1] == 2013265944 and len(set(_BYTE_LENGTHS.tolist())) == 256
