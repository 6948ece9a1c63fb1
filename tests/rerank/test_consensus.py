"""Consensus: what the reranker inside promises holds, orders are aggregated as they say, places cancel out."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.base import Failed, Ok, Prompt
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.rerank.consensus import Consensus, consensus
from whyrank.rerank.listwise import Listwise
from whyrank.rerank.pairwise import Pairwise
from whyrank.testing import check_reranker

AGGREGATES = ["borda", "rrf", "kemeny"]


def perfect(prompt: Prompt) -> Ok:
    numbers = [int(text) for text in shown(prompt)]
    return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in best_first(numbers)) + "</answer>")


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("aggregate", AGGREGATES)
@given(data=st.data(), n=st.integers(0, 120), window=st.integers(2, 60), shuffles=st.integers(1, 5))
def test_a_perfect_model_gives_the_exact_top(aggregate, data, n, window, shuffles):
    numbers = data.draw(st.permutations(range(n)))
    inner = Listwise(Fake(), window)
    walked = walk(Consensus(inner, shuffles, aggregate), request(numbers), perfect)
    alone = walk(inner, request(numbers), perfect)
    assert sorted(walked.order.ranking) == list(range(n))
    sure = n if n <= window else window - inner.step
    assert list(walked.order.ranking[:sure]) == best_first(numbers)[:sure]
    assert (walked.calls, len(walked.rounds)) == (shuffles * alone.calls, len(alone.rounds))


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("aggregate", AGGREGATES)
@given(n=st.integers(0, 40), dice=st.randoms(use_true_random=False))
def test_whatever_the_model_writes_nothing_is_lost(aggregate, n, dice):
    part = Consensus(Listwise(Fake(), 8), 3, aggregate)
    order = walk(part, request(range(n)), lambda _: dice.choice((*BAD, Ok("<answer>[3] > [1]</answer>")))).order
    assert sorted(order.ranking) == list(range(n))
    assert {call["shuffle"] for call in order.calls} == (set(range(3)) if n > 1 else set())


@pytest.mark.parametrize("aggregate", AGGREGATES)
@given(n=st.integers(2, 30), heard=st.integers(0, 2))
def test_a_shuffle_without_any_answer_does_not_count(aggregate, n, heard):
    part, asked = Consensus(Listwise(Fake(), 40), 3, aggregate), iter(range(3))
    silent = lambda prompt: perfect(prompt) if next(asked) < heard else Failed("server", "[2] > [1]")  # noqa: E731
    ranking = walk(part, request(range(n)), silent).order.ranking
    assert list(ranking) == (best_first(range(n)) if heard else list(range(n)))


def distance(order, rankings):
    """How many pairs the order has otherwise than the rankings."""
    places = [{thing: at for at, thing in enumerate(ranking)} for ranking in rankings]
    return sum(place[one] > place[two] for one, two in combinations(order, 2) for place in places)


ORDERS = st.integers(1, 6).flatmap(lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=6))


@given(ORDERS)
def test_kemeny_is_at_least_as_near_as_borda_and_no_move_is_nearer(rankings):
    kemeny, borda = (consensus(np.array(rankings), how).tolist() for how in ("kemeny", "borda"))
    cost = distance(kemeny, rankings)
    assert min(distance(order, rankings) for order in permutations(range(len(borda)))) <= cost
    assert cost <= distance(borda, rankings)
    for thing in kemeny:
        others = [one for one in kemeny if one != thing]
        assert all(distance([*others[:at], thing, *others[at:]], rankings) >= cost for at in range(len(kemeny)))


@given(ORDERS)
def test_borda_and_rrf_by_their_definitions(rankings):
    n = len(rankings[0])
    ranks = {thing: [ranking.index(thing) + 1 for ranking in rankings] for thing in range(n)}
    by = {"borda": lambda thing: sum(ranks[thing]), "rrf": lambda thing: -sum(1 / (60 + rank) for rank in ranks[thing])}
    for aggregate, key in by.items():
        order = consensus(np.array(rankings), aggregate).tolist()
        assert sorted(order) == list(range(n))
        assert all(key(one) <= key(two) + 1e-12 for one, two in combinations(order, 2))
    assert consensus(np.array(rankings[:1] * 3), "kemeny").tolist() == list(rankings[0])


def test_a_majority_is_found_where_borda_errs():
    rankings = np.array([[0, 1, 2]] * 3 + [[1, 2, 0]] * 2)
    assert consensus(rankings, "borda").tolist() == [1, 0, 2]
    assert consensus(rankings, "kemeny").tolist() == [0, 1, 2]


def test_places_in_the_prompt_cancel_out():
    def early_bird(prompt):
        """Takes what stands earlier for better."""
        numbers = [int(text) - 2 * at for at, text in enumerate(shown(prompt))]
        return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in best_first(numbers)) + "</answer>")

    def found(part):
        return len(set(walk(part, request(range(20)), early_bird).order.ranking[:10]) & set(range(10, 20)))

    assert found(Listwise(Fake())) == 0
    for aggregate in AGGREGATES:
        assert found(Consensus(Listwise(Fake()), 40, aggregate)) >= 8


def test_a_model_stands_for_listwise_and_shuffles_differ_by_seed():
    part = make("consensus(fake(), shuffles=3, seed=1)")
    assert part.inner == Listwise(Fake())
    first, again = (walk(Consensus(Fake(), 4, seed=seed), request(range(9)), perfect).rounds[0] for seed in (1, 1))
    other = walk(Consensus(Fake(), 4, seed=2), request(range(9)), perfect).rounds[0]
    assert first == again != other
    assert len({tuple(shown(prompt)) for prompt in first}) == 4


@pytest.mark.parametrize("spec", ["consensus(fake(), shuffles=0)", "consensus(fake(), aggregate='mean')"])
def test_bad_settings(spec):
    with pytest.raises(BadInput):
        make(spec)


def test_the_contract():
    check_reranker(Consensus(Fake("<answer>[2] > [1]</answer>"), 3))
    check_reranker(Consensus(Pairwise(Fake("A")), 2, "kemeny"))
