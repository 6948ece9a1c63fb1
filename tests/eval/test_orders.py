"""Measures in memory against trec_eval, published vectors and plain definitions."""

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval.measures import parse_measures, values
from whyrank.eval.orders import dcg, jensen_shannon, ndcg, rbo, recall, shared
from whyrank.types import Run

GOLD, IDENTITY = [3, 1, 2, 5, 4], [1, 2, 3, 4, 5]
GAINS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(GAINS, st.integers(1, 12))
@settings(deadline=None)
def test_ndcg_and_recall_are_those_that_are_reported(gains: list[int], k: int) -> None:
    ids = [f"d{at}" for at in range(len(gains))]
    measures = parse_measures([f"nDCG@{k}", f"R@{k}"])
    reported = {
        name: value
        for name, _, value in values(measures, Run.of({"q": ids}), {"q": dict(zip(ids, gains, strict=True))})
    }
    assert ndcg(gains, k) == pytest.approx(reported[f"nDCG@{k}"], abs=1e-6)
    assert recall(gains, k) == pytest.approx(reported[f"R@{k}"], abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6), st.integers(1, 6))
@settings(deadline=None)
def test_ties_are_worth_their_expectation(rows: list[tuple[int, int]], k: int) -> None:
    gains, scores = zip(*rows, strict=True)
    places = range(len(rows))
    orders = [order for order in permutations(places) if all(scores[a] >= scores[b] for a, b in pairwise(order))]
    mean = sum(dcg([gains[at] for at in order], k) for order in orders) / len(orders)
    assert dcg(shared(gains, scores), k) == pytest.approx(mean)


def test_rbo_vectors() -> None:
    assert rbo(IDENTITY, GOLD, 1.0) == pytest.approx(0.65)
    assert rbo(IDENTITY, GOLD, 0.9, extrapolated=False) == pytest.approx(0.2463, abs=1e-4)
    assert rbo(GOLD, GOLD, 0.9) == pytest.approx(1.0)
    assert rbo(GOLD, GOLD, 0.9, extrapolated=False) == pytest.approx(1 - 0.9**5)
    assert rbo([1, 2], [3, 4], 0.9) == 0.0


@given(st.permutations(IDENTITY), st.permutations(IDENTITY), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_rbo_is_symmetric_and_bounded(one: list[int], two: list[int], p: float) -> None:
    low, value = rbo(one, two, p, extrapolated=False), rbo(one, two, p)
    assert value == pytest.approx(rbo(two, one, p))
    assert 0 <= low <= value <= 1 + 1e-12
    overlap = [len({*one[:d]} & {*two[:d]}) / d for d in range(1, 6)]
    to_infinity = sum((1 - p) * p**at * overlap[min(at, 4)] for at in range(3000))
    assert value == pytest.approx(to_infinity)


@pytest.mark.parametrize("bad", [([], [], 0.9), ([1], [1, 2], 0.9), ([1], [1], 0.0), ([1], [1], 1.1)])
def test_rbo_refuses(bad: tuple[list[int], list[int], float]) -> None:
    with pytest.raises(BadInput, match="rbo"):
        rbo(*bad)


@given(st.lists(st.floats(0, 9), min_size=3, max_size=3), st.lists(st.floats(0, 9), min_size=3, max_size=3))
@settings(deadline=None)
def test_jensen_shannon_is_symmetric_and_bounded(one: list[float], two: list[float]) -> None:
    value = jensen_shannon(one, two)
    assert 0 <= value <= 1 and math.isclose(value, jensen_shannon(two, one), abs_tol=1e-9)
    assert jensen_shannon(one, one) == pytest.approx(0, abs=1e-9)


def test_jensen_shannon_vector() -> None:
    # of (.5, .5) and (1, 0): H(.75, .25) − (1 + 0) / 2 = .811278 − .5
    assert jensen_shannon([1, 1], [1, 0]) == pytest.approx(0.311278, abs=1e-6)
