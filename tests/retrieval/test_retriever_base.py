"""What the base class guards, shown on a third party's retriever of 15 lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput, BadSpec
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.base import Retriever, new_folder
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.lucene import Lucene
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.vector.dense import Dense
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.testing import check_retriever
from whyrank.types import Corpus, Document, Query, Ranking


@dataclass(frozen=True)
class Overlap(Retriever):
    """Ranks by the number of words that query and document share, then by collection order."""

    least: int = 1
    words: dict[str, set[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _index(self, corpus: Iterable[Document]) -> None:
        object.__setattr__(self, "words", {doc.id: set(doc.content.lower().split()) for doc in corpus})

    def _search(self, queries: Sequence[Query], k: int) -> Iterable[Ranking]:
        for query in queries:
            shared = {id: len(words & set(query.text.lower().split())) for id, words in self.words.items()}
            best = sorted((id for id in shared if shared[id] >= self.least), key=lambda id: -shared[id])[:k]
            yield Ranking(best, np.array([shared[id] for id in best], dtype=float))


@dataclass(frozen=True)
class Broken(Retriever):
    """Gives whatever it is told to."""

    rankings: tuple[Ranking, ...] = ()

    def _search(self, queries, k):
        return self.rankings


DOCUMENTS = [Document(f"d{n}", " ".join(["bee"] * (n % 3) + ["ant"] * (n % 2) + ["x"])) for n in range(12)]
READY = Overlap().index(DOCUMENTS)


def test_a_retriever_of_15_lines_keeps_the_contract():
    check_retriever(Overlap())


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_at_least_1(k):
    with pytest.raises(BadInput, match=f"k must be at least 1, not {k}"):
        READY.search([Query("q", "bee")], k)


def test_a_query_id_given_twice_is_named():
    with pytest.raises(BadInput, match="'q' is given twice"):
        READY.search([Query("q", "bee"), Query("p", "ant"), Query("q", "ant")])


def test_the_run_has_the_name_of_the_part_and_every_query_in_order():
    run = READY.search([Query("z", "bee"), Query("a", "nothing of that"), Query("m", "ant")], k=3)
    assert run.name.endswith("test_retriever_base.Overlap")
    assert list(run) == ["z", "a", "m"]
    assert [len(run[id].ids) for id in run] == [3, 0, 3]


def test_no_queries_give_an_empty_run():
    assert len(READY.search([])) == 0


@given(excluded=st.sets(st.sampled_from([doc.id for doc in DOCUMENTS] + ["nowhere"])), k=st.integers(1, 15))
def test_excluded_documents_are_asked_for_beyond_k_and_cost_no_place(excluded, k):
    every = READY.search([Query("q", "bee ant x")], k=100)["q"].ids
    run = READY.search([Query("q", "bee ant x", frozenset(excluded)), Query("free", "bee ant x")], k)
    assert run["q"].ids == [id for id in every if id not in excluded][:k]
    assert run["free"].ids == every[:k]


def test_index_leaves_the_part_as_it_was():
    part = Overlap()
    part.index(DOCUMENTS)
    assert part.words == {} and part == Overlap()


@pytest.mark.parametrize("empty", [[], (), Corpus(()), iter(())], ids=["list", "tuple", "corpus", "iterator"])
def test_an_empty_collection_is_refused(empty):
    with pytest.raises(BadInput, match="the collection is empty"):
        Overlap().index(empty)


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_document_id_given_twice_is_named(kind):
    with pytest.raises(BadInput, match="'d3' occurs twice"):
        Overlap().index(kind([*DOCUMENTS, DOCUMENTS[3]]))


@pytest.mark.parametrize("kind", [list, iter, Corpus])
def test_any_iterable_is_a_collection(kind):
    assert list(Overlap().index(kind(DOCUMENTS)).words) == [doc.id for doc in DOCUMENTS]


@pytest.mark.parametrize(
    ("rankings", "text"),
    [
        ((), "gave 0 rankings for 1 queries"),
        ((Ranking(["a", "a"], np.array([2.0, 1.0])),), "'a' is ranked twice"),
        ((Ranking(["a", "b"], np.array([1.0, 2.0])),), "'b' has a higher score"),
        ((Ranking(["a"], np.array([np.nan])),), "'a' has the score nan"),
    ],
    ids=["too few", "twice", "rising", "nan"],
)
def test_a_hook_that_breaks_the_contract_is_told(rankings, text):
    with pytest.raises(BadInput, match=text):
        Broken(rankings).search([Query("q", "bee")])


def test_a_retriever_without_an_index_of_its_own_says_so(tmp_path):
    with pytest.raises(BadInput, match="keeps no index"):
        READY.save(tmp_path)
    with pytest.raises(BadInput, match="keeps no index"):
        Overlap.open(tmp_path)


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "deep" / "index"
    with pytest.raises(KeyError), new_folder(place) as part:
        (part / "file").write_text("half")
        raise KeyError
    assert list((tmp_path / "deep").iterdir()) == []
    with new_folder(place) as part:
        (part / "file").write_text("whole")
        assert not place.exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index"]
    with pytest.raises(BadIndex, match="is not empty"), new_folder(place):
        pass
    assert (place / "file").read_text() == "whole"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: BM25(0.9, 0.4), "bm25: path must be a folder, not 0.9: numbers go by name, k1=0.9 and b=0.4"),
        (lambda: BM25Q(2), "numbers go by name"),
        (lambda: Lucene(0.9, 0.4), "lucene: path must be a folder, not 0.9: numbers go by name"),
        (lambda: Dense("minilm", 512), "dense: path must be a folder, not 512"),
        (lambda: Splade("model", ["idx"]), "splade: path must be a folder"),
        (lambda: Late("model", b"idx"), "late: path must be a folder"),
        (lambda: Sharded(BM25(), 4), "sharded: path must be a folder"),
        (lambda: Tree(Fake("x"), 3), "tree: path must be a folder"),
        (lambda: BM25(k1="a"), "bm25: k1 must be a number, not 'a'"),
        (lambda: BM25Q(b=True), "bm25q: b must be a number, not True"),
    ],
)
def test_a_folder_is_a_path_and_a_parameter_a_number(made, told):
    with pytest.raises(BadSpec, match=told):
        made()


def test_a_folder_may_be_a_path_object(tmp_path):
    assert BM25(tmp_path / "x") == BM25(str(tmp_path / "x"))
    assert make(repr(BM25(tmp_path / "x"))).path == str(tmp_path / "x")
