"""Adaptive reranking: within its cap, nothing lost, better than a window at equal calls; beliefs are those of Bayes."""

import math
import random
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.rerank.strategies.beliefs import NOISE, Beliefs
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.testing import check_reranker


def perfect(prompt: Prompt) -> Ok:
    return listed([float(text) for text in shown(prompt)])


def listed(numbers: list[float]) -> Ok:
    return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in best_first(numbers)) + "</answer>")


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 250), st.integers(1, 15), st.integers(2, 40), st.integers(1, 20))
def test_the_cap_holds_and_nothing_is_lost(data, n, calls, window, k):
    dice = data.draw(st.randoms(use_true_random=False))
    part = Adaptive(Fake(), k, calls, window)
    walked = walk(part, request(range(n)), lambda prompt: dice.choice((*BAD, perfect(prompt), perfect(prompt))))
    assert sorted(walked.order.ranking) == list(range(n))
    assert len(walked.rounds) <= walked.calls == len(walked.order.calls) <= (calls if n > window else 1)
    assert all(2 <= len(shown(prompt)) <= window for prompts in walked.rounds for prompt in prompts)
    assert (walked.calls == 0) == (n < 2)


@given(st.permutations(range(20)), st.integers(0, 20))
def test_one_window_is_the_models_order(numbers, n):
    assert list(walk(Adaptive(Fake()), request(numbers[:n]), perfect).order.ranking) == best_first(numbers[:n])


@given(st.integers(0, 120), st.sampled_from(BAD[2:]))
def test_without_any_answer_the_input_order_stands(n, bad):
    walked = walk(Adaptive(Fake()), request(range(n)), lambda _: bad)
    assert walked.order.ranking == tuple(range(n))


def candidates(seed: int) -> tuple[list[float], list[float]]:
    """The utilities of 100 candidates in the order of a middling first stage, and its scores."""
    draw = random.Random(seed)
    drawn = sorted(((value := draw.betavariate(1, 6)) + draw.gauss(0, 0.15), value) for _ in range(100))[::-1]
    return [value for _, value in drawn], [score for score, _ in drawn]


def found(order: tuple[int, ...], utilities: list[float]) -> float:
    """The share of the best 5 among the first 5."""
    return len(set(order[:5]) & set(best_first(utilities)[:5])) / 5


def test_uncertain_documents_only_beats_a_sliding_window_at_the_same_calls():
    shares: dict[str, list[float]] = {"adaptive": [], "listwise": [], "sure": []}
    rounds = []
    for seed in range(40):
        utilities, scores = candidates(seed)
        draw = random.Random(seed)

        def noisy(prompt, draw=draw):
            return listed([float(text) + draw.gauss(0, 0.12) for text in shown(prompt)])

        asked = request(utilities, scores)
        adaptive, window = walk(Adaptive(Fake()), asked, noisy), walk(Listwise(Fake()), asked, noisy)
        assert adaptive.calls <= window.calls == 9
        rounds.append(len(adaptive.rounds))
        shares["adaptive"].append(found(adaptive.order.ranking, utilities))
        shares["listwise"].append(found(window.order.ranking, utilities))
        shares["sure"].append(found(walk(Adaptive(Fake()), asked, perfect).order.ranking, utilities))
    assert mean(shares["adaptive"]) > mean(shares["listwise"]) + 0.03
    assert mean(shares["sure"]) > 0.9
    assert mean(rounds) < 4


def test_calls_tell_round_and_documents():
    order = walk(Adaptive(Fake(), calls=4, window=10), request(range(30)), perfect).order
    assert [call.place.round for call in order.calls] == [0, 0, 0, 1]
    assert order.calls[0].shown == tuple(range(10))
    assert list(order.ranking) == best_first(order.scores) and len(order.scores) == 30


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=4))
def test_beliefs_are_the_posterior_by_sampling(means):
    beliefs, draw = Beliefs([0.0] * len(means)), np.random.default_rng(0)
    beliefs.mean = np.array(means)
    relevance = beliefs.mean + draw.standard_normal((400_000, len(means)))
    did = relevance + NOISE * draw.standard_normal(relevance.shape)
    kept = relevance[(np.diff(did, axis=1) < 0).all(axis=1)]
    beliefs.update(range(len(means)))
    if len(kept) > 2000:
        assert beliefs.mean == pytest.approx(kept.mean(axis=0), abs=0.08)
        assert beliefs.deviation == pytest.approx(kept.std(axis=0), abs=0.08)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(1, 30), st.randoms(use_true_random=False))
def test_beliefs_stay_finite_and_k_are_expected_among_the_first_k(scores, k, dice):
    beliefs = Beliefs(scores)
    for _ in range(3):
        some = dice.sample(range(len(scores)), min(len(scores), 20))
        beliefs.update(some)
        assert np.isfinite(beliefs.mean).all() and (beliefs.deviation > 0).all() and (beliefs.deviation <= 1).all()
    assert beliefs.among(k).sum() == pytest.approx(min(k, len(scores)), abs=1e-6)


def test_against_all_expectation():
    beliefs = Beliefs([3.0, 2.0, 1.0])
    beliefs.mean = np.array([-500.0, 0.0, 500.0])
    beliefs.update([0, 1, 2])
    assert all(map(math.isfinite, beliefs.mean.tolist()))
    assert np.ptp(beliefs.mean) < 1000


@pytest.mark.parametrize(
    "setting", ["k=0", "calls=0", "window=1", "min_uncertain=-1", "tolerance=0.5", "tolerance=0.0"]
)
def test_bad_settings(setting):
    with pytest.raises(BadInput, match="adaptive: "):
        make(f"adaptive(fake(), {setting})")


def test_the_contract():
    check_reranker(Adaptive(Fake("<answer>[2] > [1]</answer>"), window=2))
