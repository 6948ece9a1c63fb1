"""Routes send queries where their rule says; the model of difficulty finds what a simulated world was made of."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_query import request

from whyrank.errors import BadInput, NotFound
from whyrank.llm.fake import Fake
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.around.compose import Cascade, Hybrid
from whyrank.rerank.around.radar import Radar, Tradeoff, _loss, entropy, features, hypervolume, margin, pareto, sweep
from whyrank.rerank.around.route import Difficulty, Entropy, Margin, Route, routes
from whyrank.rerank.base import Order, Reranker
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.testing import DOCUMENTS, QUERIES, check_reranker
from whyrank.types import Corpus, Dataset, Note, Ranking, Run

SCORES = st.lists(st.floats(-1e3, 1e3), max_size=40).map(lambda some: sorted(some, reverse=True))


@dataclass(frozen=True)
class Named(Reranker):
    """Reverses, and says in its scores who it is."""

    name: int = 0

    def _rank(self, requests, trace):
        return [
            Order(tuple(reversed(range(len(one.documents)))), (self.name,) * len(one.documents)) for one in requests
        ]


def routed(route, *requests):
    return list(route.rank_requests(requests, None))


@given(st.lists(SCORES, max_size=6), st.lists(st.floats(0, 4), min_size=1, max_size=3, unique=True))
def test_margins_send_each_query_to_one_choice(lists, limits):
    below = tuple(sorted(limits, reverse=True))
    choices = [Named(at) for at in range(len(below) + 1)]
    asked = [request([str(n) for n in range(len(some))], some) for some in lists]
    orders = routed(Route(*choices, by=Margin(below)), *asked)
    for one, order in zip(asked, orders, strict=True):
        number = sum(margin(one.scores) < limit for limit in below)
        assert order.note == Note(route=number) and set(order.scores) <= {number}
        assert list(order.ranking) == list(reversed(range(len(one.documents))))


@given(SCORES, st.floats(0.1, 10), st.floats(-100, 100))
def test_features_are_finite_and_those_of_shape_know_no_scale(scores, scale, shift):
    found = features(request([str(n) for n in range(len(scores))], scores))
    assert found.shape == (5,) and np.isfinite(found).all()
    assert margin(scores) >= 0 and 0 <= entropy(scores) <= 1 + 1e-9
    if len(scores) > 1 and np.std(scores[:20]) > 1e-3:
        moved = [scale * score + shift for score in scores]
        assert margin(moved) == pytest.approx(margin(scores), abs=1e-6)
        assert entropy(moved) == pytest.approx(entropy(scores), abs=1e-6)


def test_what_leads_clearly_is_easy():
    clear, close, even = [9.0, *[1.0] * 9], [9.0, 8.9, *[1.0] * 8], [1.0] * 10
    assert margin(clear) > 2 > 0.2 > margin(close) > margin(even) == 0
    assert entropy(clear) < entropy(close) < entropy(even) == 1
    asked = [request(range(10), scores) for scores in (clear, close, even)]
    three = [Named(0), Named(1), Named(2)]
    assert [one.note.route for one in routed(Route(*three, by=Margin((1.0, 0.01))), *asked)] == [0, 1, 2]
    assert [one.note.route for one in routed(Route(*three, by=Entropy((0.6, 0.95))), *asked)] == [0, 1, 2]


class World:
    """Queries and choices with known parameters, and how each choice does on each query."""

    u, v = np.array([0.8, 0.5, 0.0, -0.4]), np.array([0.3, 1.2, -0.8, 0.5])
    ability, costs = np.array([-0.6, 0.5, 1.6]), (1.0, 4.0, 16.0)

    def __init__(self, queries: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.features = random.normal(size=(queries, 3)) * [1, 5, 0.1] + [3, 0, -1]
        x = np.hstack([np.ones((queries, 1)), (self.features - [3, 0, -1]) / [1, 5, 0.1]])
        self.a, self.b = np.logaddexp(0, x @ self.u), x @ self.v
        self.chances = 1 / (1 + np.exp(-self.a[:, None] * (self.ability - self.b[:, None])))
        self.success = (random.random(self.chances.shape) < self.chances).astype(float)

    def fit(self) -> Radar:
        return Radar.fit(self.features, self.success, self.costs, ("off", "some", "much"))


def test_the_fit_finds_the_world():
    world, fresh = World(2000), World(500, seed=1)
    radar = world.fit()
    a, b = radar.difficulty(fresh.features)
    assert np.corrcoef(b, fresh.b)[0, 1] > 0.98 and np.corrcoef(a, fresh.a)[0, 1] > 0.9
    assert np.abs(radar.chances(fresh.features) - fresh.chances).mean() < 0.03
    assert np.diff(radar.ability) == pytest.approx(np.diff(World.ability), abs=0.35)


def test_the_gradient_is_that_of_the_loss():
    random, world = np.random.default_rng(0), World(20)
    success = np.where(random.random(world.success.shape) < 0.2, np.nan, world.success)
    x, at = np.hstack([np.ones((20, 1)), world.features]), random.normal(size=11)
    gradient = _loss(at, x, success)[1]
    steps = [(_loss(at + d, x, success)[0] - _loss(at - d, x, success)[0]) / 2e-6 for d in np.eye(11) * 1e-6]
    assert gradient == pytest.approx(steps, abs=1e-5)


def test_routing_beats_every_constant_and_every_mixture_of_them_at_equal_cost():
    radar, fresh = World(800).fit(), World(4000, seed=1)
    points = sweep(radar, fresh.features, fresh.chances)
    costs, means = np.array(World.costs) / 16, fresh.chances.mean(axis=0)
    assert points[0].cost == costs[0] and points[0].success == pytest.approx(means[0])
    assert points[-1].cost == costs[2] and points[-1].success == pytest.approx(means[2])
    lot = [np.interp(point.cost, costs, means) for point in points]  # what the constants bring, mixed by lot
    gains = [(point.cost, point.success - mixed) for point, mixed in zip(points, lot, strict=True)]
    assert min(gain for _, gain in gains) > -1e-9
    inside = [gain for cost, gain in gains if 0.1 < cost < 0.9]
    assert len(inside) > 20 and min(inside) > 0.01 and max(inside) > 0.04
    constants = [Tradeoff(0, float(mean), float(cost)) for cost, mean in zip(costs, means, strict=True)]
    assert hypervolume(points) > hypervolume(constants) + 0.1
    assert hypervolume(sweep(radar, fresh.features, fresh.chances, chebyshev=True)) > hypervolume(constants) + 0.05


def test_a_new_choice_is_learnt_from_the_fifty_queries_that_tell_most():
    errors = []
    for seed in range(5):
        world = World(1000, seed)
        radar = Radar.fit(world.features, world.success[:, :2], World.costs[:2], ("off", "some"))
        told = radar.informative(world.features, 50)
        a, b = radar.difficulty(world.features)
        p = 1 / (1 + np.exp(-a * (np.mean(radar.ability) - b)))
        information = a**2 * p * (1 - p)
        assert len(set(told.tolist())) == 50 and information[told].min() >= np.delete(information, told).max()
        more = radar.added("much", 16.0, world.features[told], world.success[told, 2])
        assert more.choices == ("off", "some", "much") and more.ability[:2] == radar.ability
        errors.append(np.abs(more.chances(world.features)[:, 2] - world.chances[:, 2]).mean())
    assert np.median(errors) < 0.05 and max(errors) < 0.15


def test_missing_measurements_are_left_out():
    world = World(1500)
    world.success[np.random.default_rng(0).random(world.success.shape) < 0.5] = np.nan
    assert np.abs(world.fit().chances(world.features) - world.chances).mean() < 0.05


POINTS = st.lists(st.builds(Tradeoff, st.just(0.0), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_and_its_area(points):
    front = pareto(points)
    for point in points:
        assert any(best.cost <= point.cost and best.success >= point.success for best in front)
    for one in front:
        assert not any(other is not one and other.cost <= one.cost and other.success >= one.success for other in front)
    grid = np.linspace(0, 1, 401)
    reached = [max((point.success for point in points if point.cost <= cost), default=0.0) for cost in grid]
    assert hypervolume(points) == pytest.approx(np.mean(reached), abs=0.02)
    assert hypervolume(points) == pytest.approx(hypervolume(front))


def test_a_trained_route_from_its_file(tmp_path: Path):
    random = np.random.default_rng(0)
    asked = []
    for at in range(300):
        lead = random.exponential(3)
        asked.append(request(range(12), sorted([10 + lead, *(10 * random.random(11))], reverse=True)))
        asked[-1] = replace(asked[-1], query=replace(asked[-1].query, id=f"q{at}"))
    x = np.array([features(one) for one in asked])
    hard = np.array([margin(one.scores) < 0.5 for one in asked])
    success = np.where(np.stack([hard, np.zeros_like(hard)], axis=1), 0.1, 0.9)
    path, choices = tmp_path / "radar.json", (Named(0), Named(1))
    radar = Radar.fit(x, success, (1.0, 10.0), tuple(map(repr, choices)))
    radar.save(path)
    assert Radar.open(path) == radar and path.stat().st_size < 4000
    orders = routed(Route(*choices, by=Difficulty(str(path), weight=0.7)), *asked)
    sent = np.array([order.note.route for order in orders])
    assert (sent == hard).mean() > 0.9
    assert {order.note.route for order in routed(Route(*choices, by=Difficulty(str(path), weight=0.0)), *asked)} == {0}
    assert {order.note.route for order in routed(Route(*choices, by=Difficulty(str(path), weight=1.0)), *asked)} == {1}
    with pytest.raises(BadInput, match="same choices in another order"):
        routed(Route(*reversed(choices), by=Difficulty(str(path))), *asked)
    with pytest.raises(BadInput, match="fitted to 2 choices, but 3"):
        routed(Route(*choices, Named(2), by=Difficulty(str(path))), *asked)
    assert routed(Route(*choices, by=Difficulty(str(path)))) == []


def test_routes_are_told_counted_and_resumed(tmp_path: Path):
    data = Dataset("check", Corpus(DOCUMENTS), QUERIES[:2])
    ids = [document.id for document in DOCUMENTS]
    scores = [np.array([float(best), *range(len(ids) - 1, 0, -1)]) for best in (99, len(ids))]
    first = Run.of({query.id: Ranking(ids, some) for query, some in zip(data.queries, scores, strict=True)})
    llm, seen = Fake("<answer>[2] > [1]</answer>"), []
    hard = Listwise(Fake(lambda prompt: seen.append(prompt) or "<answer>[3] > [1]</answer>", model="hard"))
    part = Cascade(Hybrid(Route(Listwise(llm), hard, by=Margin((1.0,)))))
    with Trace(tmp_path / "trace.jsonl") as trace:
        run = part.rerank(first, data, trace=trace)
        assert trace.ledger.total.calls == 2
    assert routes(run) == {0: 1, 1: 1} and [run.notes[query.id].route for query in data.queries] == [0, 1]
    assert len(seen) == 1
    with Trace(tmp_path / "trace.jsonl") as trace:
        again = part.rerank(first, data, trace=trace)
    assert len(seen) == 1 and dict(again.notes) == dict(run.notes)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Route(Named()), BadInput, "choices must be 2 or more"),
        (lambda: Margin(()), BadInput, "thresholds must be 1 or more"),
        (lambda: Margin((1.0, 1.0)), BadInput, "must fall"),
        (lambda: Entropy((0.9, 0.8)), BadInput, "must rise"),
        (lambda: Difficulty("x", weight=2), BadInput, "from 0 to 1"),
        (lambda: Difficulty("x", rule="best"), BadInput, "'linear' or 'chebyshev'"),
        (lambda: Difficulty("nowhere.json").radar, NotFound, "no model of difficulty at nowhere"),
        (lambda: routed(Route(Named(), Named(1), Named(2)), request([1])), BadInput, "1 thresholds part 2 choices"),
        (lambda: Radar.fit(np.ones((3, 2)), np.ones((3, 2)), (1.0,), ("a", "b")), BadInput, "queries × choices"),
        (lambda: Radar.fit(np.ones((3, 2)), np.full((3, 1), 2.0), (1.0,), ("a",)), BadInput, "from 0 to 1"),
        (lambda: Radar.fit(np.ones((3, 2)), np.full((3, 1), math.nan), (1.0,), ("a",)), BadInput, "no query"),
        (lambda: Radar.fit(np.ones((3, 2)), np.ones((3, 1)), (0.0,), ("a",)), BadInput, "costs"),
    ],
)
def test_bad_settings(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_broken_file_is_told(tmp_path: Path):
    for text in ("{", "[]", json.dumps({"choices": ["a"]})):
        (tmp_path / "radar.json").write_text(text)
        with pytest.raises(BadInput, match="no model of difficulty"):
            Radar.open(tmp_path / "radar.json")


def test_the_contract():
    llm = Fake("<answer>[2] > [1]</answer>")
    check_reranker(Route(Listwise(llm), Listwise(llm, window=2), by=Entropy()))
    text = "route(listwise(fake()), listwise(fake(), window=10), by=difficulty('radar.json', weight=0.5))"
    assert repr(make(text)) == text
