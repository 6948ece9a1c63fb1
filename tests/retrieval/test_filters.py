"""Searches kept to some documents, by ids or metadata: before the cut at k, in every way to search."""

from dataclasses import dataclass

import numpy as np
import pytest
from by_words import ByWords
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.fusion import Fusion
from whyrank.llm.fake import Fake
from whyrank.retrieval.agentic.agent import Agentic
from whyrank.retrieval.around.feedback import RM3, Rocchio
from whyrank.retrieval.around.fuse import Fuse
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.topk import SMALL
from whyrank.retrieval.rewrite.expand import HyDE, LameR
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.retrieval.tree.retriever import Tree
from whyrank.types import Corpus, Document, Query, Ranking, Run, meets

WORDS = ("bee", "dance", "sun", "hive", "trail", "ant", "scent", "tide", "moon", "salt")
LANGUAGES = ("de", "fr", "en")


def document(n):
    text = f"mark{n}x {WORDS[n % 10]} {WORDS[(3 * n + 1) % 10]} {WORDS[(7 * n + 2) % 10]}"
    known = {"lang": LANGUAGES[n % 3], "year": 2000 + n, "tags": [WORDS[n % 10], WORDS[(n + 1) % 10]]}
    return Document(f"d{n}", text, metadata=known if n % 5 else {})


CORPUS = Corpus(map(document, range(24)))
IDS = [each.id for each in CORPUS]
SHOWN: list[str] = []


def answer(prompt):
    SHOWN.append("".join(message.content for message in prompt.messages))
    return '<think>bee</think>{"queries": ["bee dance"], "scores": {"1": 80, "2": 20}}\n- bee dance\n- moon tide'


@dataclass(frozen=True)
class Third(Retriever):
    """A third party's engine, which knows no filters: shared letters; `most` is all that it ever gives."""

    most: int = 10**6

    def _index(self, corpus):
        object.__setattr__(self, "texts", {each.id: each.content for each in corpus})

    def _search(self, queries, k):
        for query in queries:
            shared = {id: len(set(query.text) & set(text)) for id, text in self.texts.items()}
            ids = sorted(shared, key=lambda id: -shared[id])[: min(k, self.most)]
            yield Ranking(ids, np.array([float(shared[id]) for id in ids]))


LLM = Fake(answer)
NAIVE = {  # filtering what an unfiltered search finds is right
    "bm25": BM25(),
    "bm25q": BM25Q(),
    "dense": ByWords("words"),
    "sharded": Sharded(BM25(), size=7),
    "sharded dense": Sharded(ByWords("words"), size=7),
    "hyde": Rewritten(BM25(), HyDE(LLM)),
    "third party": Third(),
}
OTHERS = {  # what is found depends on what may be found: by feedback, by ranks, by what a model reads
    "rm3": RM3(BM25()),
    "rocchio": Rocchio(BM25()),
    "rocchio dense": Rocchio(ByWords("words")),
    "fuse": Fuse(BM25(), ByWords("words")),
    "lamer": Rewritten(BM25(), LameR(LLM)),
    "tree": Tree(LLM, encoder=ByWords("words"), branching=4),
    "agentic": Agentic(RM3(BM25()), LLM),
    "all at once": Fuse(Rewritten(RM3(BM25()), LameR(LLM)), Agentic(BM25Q(), LLM), Rocchio(ByWords("words"))),
}
READY = {name: way.index(CORPUS) for name, way in {**NAIVE, **OTHERS}.items()}
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
SETS = st.frozensets(st.sampled_from([*IDS, "nowhere"]), max_size=24)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(NAIVE)), st.lists(st.tuples(TEXTS, SETS, st.none() | SETS), max_size=4), st.integers(1, 30))
def test_a_filtered_search_is_the_whole_search_filtered(way, asked, k):
    queries = [Query(f"q{at}", *each) for at, each in enumerate(asked)]
    found = READY[way].search(queries, k)
    whole = READY[way].search([Query(query.id, query.text) for query in queries], len(CORPUS))
    for query in queries:
        wanted = [(id, score) for id, score in zip(*whole[query.id], strict=True) if query.allows(id)][:k]
        assert list(zip(*found[query.id], strict=True)) == wanted


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(OTHERS)), TEXTS, SETS, SETS, st.integers(1, 30))
def test_what_is_not_allowed_is_neither_found_nor_shown(way, text, excluded, only, k):
    SHOWN.clear()
    query = Query("q", text, excluded, only)
    found, deep = (list(READY[way].search([query], depth)["q"].ids) for depth in (k, 1000))
    assert all(map(query.allows, deep))
    assert found == deep[:k]
    marks = [each.text.split()[0] for each in CORPUS if not query.allows(each.id)]
    assert not [mark for mark in marks for shown in SHOWN if mark in shown.split()]


@settings(max_examples=30, deadline=None)
@given(TEXTS, SETS)
def test_fusion_filters_before_it_fuses(text, only):
    parts = BM25().index(CORPUS), ByWords("words").index(CORPUS)
    naive = []
    for part in parts:
        ids, scores = part.search([Query("q", text)], 1000)["q"]
        kept = [at for at, id in enumerate(ids) if id in only]
        naive.append(Run.of({"q": Ranking([ids[at] for at in kept], scores[kept])}))
    found = READY["fuse"].search([Query("q", text, only=only)], 30)
    assert list(found["q"].ids) == list(Fusion().of(naive)["q"].ids)


@pytest.mark.parametrize("size", [SMALL, SMALL + 200])
def test_both_ways_of_scoring_filter(size):
    """Small collections are scored several queries at once, large ones query by query."""
    some = [Document(f"d{n}", f"bee {'dance ' * (n % 4)}") for n in range(size)]
    bm25 = BM25().index(some)
    only = frozenset(f"d{n}" for n in range(5, size, 4001))
    queries = [
        Query("a", "bee dance", only=only),
        Query("b", "bee dance"),
        Query("c", "dance", frozenset({"d3"}), only),
    ]
    found, whole = bm25.search(queries, 20), bm25.search([Query(q.id, q.text) for q in queries], size)
    for query in queries:
        assert list(found[query.id].ids) == [id for id in whole[query.id].ids if query.allows(id)][:20]


CONDITIONS = {
    "one value": {"lang": "de"},
    "one of two": {"lang": ["de", "fr"]},
    "a list in the document": {"tags": "bee"},
    "two conditions": {"lang": ("en",), "year": range(2004, 2012)},
    "nothing meets it": {"lang": "de", "year": 1},
    "a function": lambda known: known.get("year", 0) > 2010,
    "a function that bare documents meet": lambda known: known.get("lang") != "de",
    "no condition": {},
}


@pytest.mark.parametrize("way", list(READY))
@pytest.mark.parametrize("condition", list(CONDITIONS))
def test_where_by_metadata_is_where_by_ids(way, condition):
    where = CONDITIONS[condition]
    ids = CORPUS.where(where)
    assert ids == {each.id for each in CORPUS if meets(each.metadata, where)}
    queries = [Query("a", "bee dance"), Query("b", "tide moon salt", frozenset({"d8"}), frozenset(IDS[:15]))]
    found = READY[way].search(queries, 6, where=where)
    assert found == READY[way].search(queries, 6, where=sorted(ids))
    assert found == READY[way].search([Query(q.id, q.text, q.excluded, ids & (q.only or ids)) for q in queries], 6)


@given(st.sampled_from(list(CONDITIONS)))
def test_streams_lists_and_collections_know_the_same(condition):
    query, where = [Query("q", "bee dance tide")], CONDITIONS[condition]
    runs = [BM25().index(given).search(query, where=where) for given in (CORPUS, list(CORPUS), iter(CORPUS))]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("d1", "is one text"),
        ({"lnag": "de"}, "no document has the metadata 'lnag', only lang, tags, year"),
    ],
)
def test_a_wrong_condition_is_refused(where, told):
    with pytest.raises(BadInput, match=told):
        READY["bm25"].search([Query("q", "bee")], where=where)


def test_an_index_from_a_folder_filters_as_the_first_one_did(tmp_path):
    READY["bm25"].save(tmp_path / "index")
    opened, query = BM25.open(tmp_path / "index"), [Query("q", "bee")]
    assert opened.search(query, where={"lang": "de"}) == READY["bm25"].search(query, where={"lang": "de"})
    where = CORPUS.where({"lang": "de"})
    assert opened.search(query, where=where) == READY["bm25"].search(query, where={"lang": "de"})
    with pytest.raises(BadInput, match="knows no metadata"):
        BM25().index([Document("d", "bee")]).search(query, where={"lang": "de"})


def test_an_engine_without_filters_is_asked_for_more_and_no_more_than_it_has():
    asked = []

    @dataclass(frozen=True)
    class Counted(Third):
        def _search(self, queries, k):
            asked.append(k)
            return super()._search(queries, k)

    few = Counted(most=9).index(CORPUS)
    whole = list(few.search([Query("q", "hive")], 100)["q"].ids)
    asked.clear()
    assert list(few.search([Query("q", "hive", only=frozenset(IDS))], 3)["q"].ids) == whole[:3]
    assert asked == [3]
    asked.clear()
    assert list(few.search([Query("q", "hive", only=frozenset({whole[8]}))], 3)["q"].ids) == [whole[8]]
    assert asked == [3, 12]


def test_metadata_cannot_be_changed():
    given = {"year": 1927}
    held = Document("d", "x", metadata=given)
    given["year"] = 0
    assert held.metadata == {"year": 1927} == dict(held.metadata)
    assert hash(held) == hash(Document("d", "x", metadata={"year": 1927}))
    assert held != Document("d", "x")
    with pytest.raises(TypeError):
        held.metadata["year"] = 1
    with pytest.raises(BadInput, match="metadata must be a mapping"):
        Document("d", "x", metadata=["year"])
