"""Recommenders against naive versions of their formulas, and what all of them promise: masks, ties, blocks, pools."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import BM25, evaluate, make
from whyrank.datasets import load
from whyrank.errors import BadInput, BadSpec
from whyrank.fusion import Fusion
from whyrank.retrieval.recommend import Recommender
from whyrank.retrieval.recommend.counts import Chain, ItemKNN, Popularity, Recent, Swing
from whyrank.retrieval.recommend.lm_linear import LMLinear
from whyrank.retrieval.recommend.pagerank import PageRank
from whyrank.retrieval.recommend.texts import KeywordGraph, Titles
from whyrank.types import Catalogue, Document, Event, Interactions, Note, Query

COUNTING = ["popularity()", "recent()", "chain()", "item_knn()", "swing()", "pagerank()"]
READING = ["titles(bm25())", "titles(bm25(), popular=True)", "keyword_graph()"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = shop.write(tmp_path_factory.mktemp("shop"))
    return load(f"interactions('{folder}/clicks.csv', items='{folder}/items.csv')")


def catalogue(histories, texts=None):
    train = Interactions.of((str(at), items) for at, items in enumerate(histories))
    return Catalogue([Document(id, "", (texts or {}).get(id, "")) for id in train.items], train)


def asked(*items, **more):
    return Query("q", "", history=tuple(Event(item) for item in items), **more)


histories = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=8), min_size=1, max_size=8)
one = st.lists(st.sampled_from("abcdefgz"), min_size=1, max_size=6)


def found(recommender, train, history):
    return dict(zip(*recommender.index(catalogue(train)).search([asked(*history)])["q"], strict=True))


def same(got, wanted):
    assert got.keys() == {item for item, score in wanted.items() if score > 0}
    for item, score in got.items():
        assert score == pytest.approx(wanted[item], rel=1e-9)


@settings(deadline=None)
@given(histories, one)
def test_chain_is_its_formula(train, history):
    known = {item for items in train for item in items}
    recent = [item for item in history if item in known][::-1][:5]
    popular = Counter(item for items in train for item in items)
    wanted = {item: 1e-9 * popular[item] for item in known}
    for ago, item in enumerate(recent):
        for items in train:
            for at, before in enumerate(items):
                for gap, weight in ((1, 1.0), (2, 0.5), (3, 0.25)):
                    if before == item and at + gap < len(items):
                        wanted[items[at + gap]] += 0.5**ago * weight
    same(found(Chain(), train, history), wanted)


@settings(deadline=None)
@given(histories, one)
def test_itemknn_is_its_formula(train, history):
    having = {item: {at for at, items in enumerate(train) if item in items} for items in train for item in items}
    recent = {item for item in history if item in having}
    wanted = {
        item: sum(
            len(users & having[other]) / math.sqrt(len(users) * len(having[other])) for other in recent if other != item
        )
        for item, users in having.items()
    }
    same(found(ItemKNN(), train, history), wanted)


@settings(deadline=None)
@given(histories, one)
def test_swing_is_its_formula(train, history):
    sets = [set(items) for items in train]
    known = set().union(*sets)
    weight = [(len(own) + 5) ** -0.5 for own in sets]
    wanted = dict.fromkeys(known, 0.0)
    for item in {item for item in history if item in known}:
        for other in known - {item}:
            having = sum(other in own for own in sets)
            both = [at for at, own in enumerate(sets) if {item, other} <= own]
            pairs = (weight[u] * weight[v] / (len(sets[u] & sets[v]) + 1) for u, v in combinations(both, 2))
            wanted[other] += sum(pairs) / math.sqrt(having)
    same(found(Swing(), train, history), wanted)


@settings(deadline=None)
@given(histories, one)
def test_pagerank_ends_where_no_step_changes_it(train, history):
    ranks = found(PageRank(steps=300, restart=0.2), train, history)
    start = {item for item in history if any(item in items for items in train)}
    having = {item: [own for own in map(set, train) if item in own] for items in train for item in items}
    for item, rank in ranks.items():
        arrives = sum(  # two steps back: from each item through each user who has both
            ranks.get(other, 0) / len(having[other]) / len(own) for own in having[item] for other in own
        )
        # users hold what came in the step before; at rest, both steps are of the same r
        assert rank == pytest.approx(0.2 * (item in start) / len(start) + 0.8 * 0.8 * arrives, rel=1e-6, abs=1e-12)


def test_popularity_counts_and_recent_counts_a_window():
    train = Interactions.of([("u", ["a", "a", "b", "c", "c", "c"])])
    timed = replace(train, times=np.array([0.0, 1.0, 8.0, 20.0, 30.0, 40.0]))
    items = Catalogue([Document(id, "") for id in train.items], timed)
    query = Query("q", "", history=(Event("z", 9.0),))
    assert list(Popularity().index(items).search([query])["q"].ids) == ["c", "a", "b"]
    assert list(Recent(window=5.0).index(items).search([query])["q"].ids) == ["b", "c", "a"]
    late = replace(query, history=(Event("z", 900.0),))  # training ends before: its last days count
    assert next(iter(Recent(window=15.0).index(items).search([late])["q"].ids)) == "c"


def test_recent_without_times_is_refused():
    with pytest.raises(BadInput, match="popularity\\(\\) needs none"):
        Recent().index(catalogue([["a", "b"]]))


@pytest.mark.parametrize("spec", COUNTING + READING)
def test_seen_items_never_come_back_and_the_size_of_blocks_does_not_matter(data, spec):
    recommender = make(spec, Recommender).index(data.corpus)
    run = recommender.search(data.queries, 20)
    for query in data.queries:
        assert not set(run[query.id].ids) & set(query.history.items)
        assert len(run[query.id].ids) <= 20
    object.__setattr__(recommender, "memory", 1)
    for query in data.queries[::7]:
        assert recommender.search([query], 20)[query.id].ids == run[query.id].ids


@pytest.mark.parametrize("spec", [*COUNTING[2:], *READING])
def test_better_than_chance(data, spec):
    run = make(spec, Recommender).index(data.corpus).search(data.queries, 20)
    chance = 5 / 52
    assert evaluate(run, data.qrels, "Success@5", ties="expected")["Success@5"] > (
        0.4 if "chain" in spec else 0.8 * chance
    )


@pytest.mark.parametrize("spec", COUNTING + READING)
def test_a_pool_is_ranked_whole(data, spec):
    recommender = make(spec, Recommender).index(data.corpus)
    queries = [replace(query, only=frozenset(data.corpus.train.items[:12])) for query in data.queries]
    for query, ranking in recommender.search(queries, 50).items():
        asked = next(one for one in queries if one.id == query)
        assert set(ranking.ids) == asked.only - asked.excluded


@dataclass(frozen=True)
class Same(Recommender):
    """Says the same of every item."""

    def _fit(self, catalogue):
        return None

    def _scores(self, histories):
        return np.ones((len(histories), histories.size))


@pytest.mark.parametrize("place", [0, -1])
def test_ties_are_drawn_by_hash_so_that_no_order_of_ids_pays(place):
    """A target that is always the first item of the catalogue, or the last: an order by id would find all or none."""
    items = Catalogue(
        [Document(f"i{at:03}", "") for at in range(100)],
        Interactions((), [f"i{at:03}" for at in range(100)], np.zeros(1, np.int64), np.empty(0, np.int32)),
    )
    target = items.train.items[place]
    queries = [Query(f"q{at}", "", frozenset({f"i{50 + at % 40:03}"})) for at in range(1000)]
    run = Same().index(items).search(queries, 10)
    hits = sum(target in run[query.id].ids for query in queries)
    assert 60 <= hits <= 145  # 10 of 99, ± 4 standard deviations
    assert run.notes["q0"].to_dict() == {"tied": [[1, 99]]}
    other = Same(seed=1).index(items).search(queries, 10)
    assert other["q0"].ids != run["q0"].ids
    backwards = Catalogue(list(items)[::-1], replace(items.train, items=items.train.items[::-1]))
    assert Same().index(backwards).search(queries, 10)["q7"].ids == run["q7"].ids
    assert evaluate(run, {q.id: {target: 1} for q in queries}, "Success@10", ties="expected")["Success@10"] > 0


def test_tied_ranks_are_noted_through_the_cut(data):
    run = Popularity().index(data.corpus).search(data.queries, 10)
    counts = dict(zip(data.corpus.train.items, data.corpus.train.popularity.tolist(), strict=True))
    for query in data.queries:
        left = sorted((counts[item] for item in counts if query.allows(item) and counts[item]), reverse=True)
        groups = [(left.index(n) + 1, left.index(n) + left.count(n)) for n in dict.fromkeys(left) if left.count(n) > 1]
        told = [list(pair) for pair in run.notes.get(query.id, Note()).ties]
        assert [tuple(group) for group in told] == [group for group in groups if group[0] <= 10]
    fused = Fusion().of([run, run])
    assert not any(note.ties for note in fused.notes.values())


def test_what_learns_from_users_needs_a_catalogue():
    with pytest.raises(BadInput, match=r"chain learns from what users did, and this collection does not tell"):
        Chain().index([Document("d", "text")])
    with pytest.raises(BadInput, match="has learnt nothing yet"):
        Chain().search([asked("a")])


@pytest.mark.parametrize("recommender", [Titles(BM25()), KeywordGraph()])
def test_what_reads_texts_needs_some(recommender):
    with pytest.raises(BadInput, match="no item here has any"):
        recommender.index(catalogue([["a", "b"]]))


def test_titles_adds_up_what_each_title_finds():
    texts = {"a": "green tea", "b": "black tea pot", "c": "iron pot", "d": "garden chair", "e": ""}
    items = catalogue([list("abcde")], texts)
    ranking = Titles(BM25()).index(items).search([asked("d", "e", "a", "c", excluded=frozenset("dac"))])["q"]
    engine = BM25().index(items)
    score = {id: engine.search([Query("q", texts[id])])["q"] for id in "dac"}
    wanted = sum(
        decay * dict(zip(*score[id], strict=True)).get("b", 0.0)
        for id, decay in zip("cad", (1, 0.7, 0.343), strict=True)
    )
    assert dict(zip(*ranking, strict=True)) == {"b": pytest.approx(wanted, rel=1e-6)}


def test_keywords_without_a_history_are_those_of_the_query():
    texts = {"a": "green tea", "b": "black tea pot", "c": "iron pot", "d": "garden chair"}
    graph = KeywordGraph().index(catalogue([list("abcd"), list("ad")], texts))
    assert list(graph.search([Query("q", "a chair")])["q"].ids) == ["d"]
    assert set(graph.search([Query("q", "teapots")])["q"].ids) <= {"a", "b", "c"}  # the nearest word that is known
    assert list(graph.search([asked("c", excluded=frozenset("c"))])["q"].ids) == ["b"]


@pytest.mark.parametrize(
    "spec",
    [
        "chain(last=0)",
        "chain(weights=())",
        "recent(window=0)",
        "swing(max_users=1)",
        "pagerank(restart=1.0)",
        "popularity(memory=0)",
        "titles(bm25(), depth=0)",
        "keyword_graph(keywords=0)",
        "lm_linear(temperature=0.0)",
    ],
)
def test_settings_that_make_no_sense(spec):
    with pytest.raises(BadSpec):
        make(spec)


def test_fused_recommenders_keep_masks_and_pools(data):
    queries = [replace(query, only=frozenset(data.corpus.train.items[:20])) for query in data.queries]
    run = make("fuse(chain(), item_knn(), titles(bm25()))").index(data.corpus).search(queries, 20)
    for query in queries:
        assert set(run[query.id].ids) == query.only - query.excluded


@pytest.mark.engines
@pytest.mark.parametrize("layers", [0, 2])
def test_lm_linear_learns_what_texts_do_not_say(layers):
    """Whoever likes comets likes orchards, and lanterns go with meadows; no encoder knows."""
    names = {f"{series}{part}": f"{series}, volume {part}" for series in shop.SERIES for part in range(6)}
    pairs, chance = (("comet", "orchard"), ("lantern", "meadow"), ("harbour", "glacier")), np.random.default_rng(0)
    train = [chance.permutation([f"{one}{part}" for one in pair for part in range(6)]).tolist() for pair in pairs * 8]
    items = catalogue(train, names)
    comets = [f"comet{part}" for part in range(6)]

    def first(epochs):
        learnt = LMLinear(epochs=epochs, batch_size=32, layers=layers).index(items)
        return learnt.search([asked(*comets, excluded=frozenset(comets))], 6)["q"].ids

    assert all(id.startswith("orchard") for id in first(30))
    assert not all(id.startswith("orchard") for id in first(0)) or layers  # the rounds over users know it as well
