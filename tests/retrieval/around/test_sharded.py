"""Shards rank as one index does: every partition, every cut, exclusions and ties included."""

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.lexical.test_bm25 import CORPORA, QUERIES, TERMS
from whyrank.errors import BadIndex, BadInput, BadSpec, NotFound
from whyrank.registry import make
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.lexical import topk
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.lucene import Lucene
from whyrank.retrieval.vector.dense import Dense
from whyrank.testing import check_retriever
from whyrank.types import Document, Query


class Hashed:
    """An encoder whose few vectors depend on the text alone, so that scores often tie."""

    asked = 0

    def encode(self, texts, side, **_):
        Hashed.asked += side == "query"
        numbers = [[byte % 3 - 1 for byte in hashlib.sha256(text.encode()).digest()[:4]] for text in texts]
        return np.array(numbers, dtype=np.float32).reshape(len(texts), 4)


@pytest.fixture
def hashed(monkeypatch):
    monkeypatch.setattr(Dense, "_encoder", lambda self: Hashed())


@st.composite
def searches(draw):
    """A collection, where to cut it, queries that exclude something, and k."""
    corpus = draw(CORPORA)
    cuts = sorted(draw(st.sets(st.integers(1, len(corpus)), max_size=5)) | {len(corpus)})
    ids = st.frozensets(st.sampled_from([document.id for document in corpus]), max_size=4)
    queries = [replace(query, excluded=draw(ids)) for query in draw(QUERIES)]
    parts = [corpus[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    return corpus, parts, queries, draw(st.integers(1, 12))


@pytest.mark.parametrize(
    "part",
    [BM25(**TERMS), BM25(lengths="exact", k1=1.7, b=0.9, **TERMS), BM25Q(**TERMS), Dense("any", normalize=False)],
)
def test_shards_built_apart_rank_as_one_index(part, hashed, tmp_path_factory):
    @settings(max_examples=60, deadline=None)
    @given(searches())
    def check(search):
        corpus, parts, queries, k = search
        folder = tmp_path_factory.mktemp("shards")
        for number, documents in enumerate(parts):
            part.at(folder / str(number)).index(documents)
        shards, whole = Sharded(part, folder), part.index(corpus)
        assert shards.search(queries, k) == whole.search(queries, k)
        assert shards.search([], k) == whole.search([], k)

    check()


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("part", [BM25(threads=2, **TERMS), BM25Q(threads=1, **TERMS)])
def test_only_what_is_better_than_in_earlier_shards_is_taken_from_later_ones(part, small, monkeypatch):
    monkeypatch.setattr(topk, "SMALL", small)
    draw = random.Random(small)
    words = [f"w{n}" for n in range(30)]
    corpus = [Document(f"d{n}", " ".join(draw.choices(words, k=draw.randint(0, 6)))) for n in range(700)]
    ids = [document.id for document in corpus]
    queries = [
        Query(f"q{n}", " ".join(draw.choices([*words, "none"], k=n % 9)), frozenset(draw.sample(ids, n)))
        for n in range(40)
    ]
    whole = part.index(corpus)
    for size, k in [(1, 3), (50, 10), (100, 100), (300, 700), (699, 1)]:
        shards = Sharded(part, size=size).index(corpus)
        assert shards.search(queries, k) == whole.search(queries, k)
        assert shards.search(queries, k, where=ids[::3]) == whole.search(queries, k, where=ids[::3])


@pytest.mark.parametrize("part", [BM25(**TERMS), BM25Q(**TERMS)])
def test_other_parameters_than_the_shards_were_built_with(part, tmp_path):
    corpus = [Document(f"d{n}", f"bee{n % 2} ant ant{n % 3} " + "wasp " * n) for n in range(9)]
    Sharded(part, tmp_path / "idx", size=4).index(corpus)
    queries = [Query("q", "wasp ant2 bee1 nothing"), Query("p", "bee0 bee0")]
    other = replace(part, k1=2.5, b=0.1)
    assert Sharded(other, tmp_path / "idx").search(queries, 5) == other.index(corpus).search(queries, 5)


def test_a_stream_is_cut_into_shards_and_the_run_is_in_arrays(tmp_path):
    corpus = [Document(f"d{n}", f"bee{n % 2} ant ant{n % 3}") for n in range(9)]
    run = Sharded(BM25(), tmp_path / "idx", size=2).index(iter(corpus)).search([Query("q", "ant1 bee0")], 3)
    assert sorted(folder.name for folder in (tmp_path / "idx").iterdir()) == ["0", "1", "2", "3", "4"]
    assert run.name == "sharded" and run.codes.dtype == np.int32 and len(run.documents) == 3


def test_queries_are_encoded_once_for_all_shards(hashed):
    corpus = [Document(f"d{n}", f"bee {n}") for n in range(9)]
    shards = Sharded(Dense("any"), size=2).index(corpus)
    before = Hashed.asked
    shards.search([Query("q", "bee 1")])
    shards.search([Query("q", "bee 1"), Query("p", "bee 2")])
    assert Hashed.asked == before + 2


@pytest.mark.parametrize("part", [BM25(), BM25Q()])
def test_the_contract_of_retrievers(part):
    check_retriever(Sharded(part, size=3))


def test_a_spec_and_a_folder_are_enough(tmp_path):
    documents = [Document("a", "bee ant"), Document("b", "bee"), Document("c", "ant")]
    built = Sharded(BM25(k1=1.2), tmp_path / "idx", size=2).index(documents)
    assert repr(built) == f"sharded(bm25(k1=1.2), path={str(tmp_path / 'idx')!r}, size=2)"
    assert make(repr(built), Sharded).search([Query("q", "bees")]) == built.search([Query("q", "bees")])
    assert built.ready(documents).search([Query("q", "bees")]) == built.search([Query("q", "bees")])


def test_bad_shards_are_refused(tmp_path):
    document, queries = Document("a", "bee"), [Query("q", "bee")]
    with pytest.raises(NotFound, match="no shards at"):
        Sharded(BM25(), tmp_path / "nowhere").search(queries)
    with pytest.raises(BadInput, match=r"sharded\(bm25\(\)\) has no index yet"):
        Sharded(BM25()).search(queries)
    BM25(tmp_path / "idx" / "1").index([document])
    with pytest.raises(BadIndex, match="has no shard 0"):
        Sharded(BM25(), tmp_path / "idx").search(queries)
    BM25(tmp_path / "idx" / "0").index([document])
    with pytest.raises(BadInput, match="document 'a' occurs twice"):
        Sharded(BM25(), tmp_path / "idx").search(queries)
    with pytest.raises(BadIndex, match="was indexed with analyzer='english'"):
        Sharded(BM25(analyzer="terms"), tmp_path / "idx").search(queries)
    with pytest.raises(BadInput, match="lucene cannot be searched in shards"):
        Lucene._as_shards([Lucene()])
    with pytest.raises(BadSpec, match="leave out the path 'x'"):
        Sharded(BM25("x"))
    with pytest.raises(BadSpec, match="needs a retriever with an index of its own"):
        Sharded(Sharded(BM25()))
    with pytest.raises(BadSpec, match="size must be at least 1"):
        Sharded(BM25(), size=0)
