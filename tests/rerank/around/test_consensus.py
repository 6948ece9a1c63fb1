"""Consensus: what the reranker inside promises holds, orders are aggregated as they say, places cancel out."""

import random
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.around.consensus import DRAWS, Consensus, agreement, consensus, overlap
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.pairwise import Pairwise
from whyrank.rerank.strategies.pointwise import Pointwise
from whyrank.testing import DOCUMENTS, QUERIES, check_reranker
from whyrank.types import Corpus, Dataset, Note, Run

AGGREGATES = ["borda", "rrf", "kemeny", "copeland", "plurality"]


HOT = Sampling(temperature=0.6)


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
    assert {call.place.shuffle for call in order.calls} == (set(range(3)) if n > 1 else set())


@pytest.mark.parametrize("aggregate", AGGREGATES)
@given(n=st.integers(2, 30), heard=st.integers(0, 2))
def test_a_shuffle_without_any_answer_does_not_count(aggregate, n, heard):
    part, asked = Consensus(Listwise(Fake(), 40), 3, aggregate), iter(range(3))
    silent = lambda prompt: perfect(prompt) if next(asked) < heard else Failed("server", "[2] > [1]")  # noqa: E731
    ranking = walk(part, request(range(n)), silent).order.ranking
    assert list(ranking) == (best_first(range(n)) if heard else list(range(n)))


def test_a_shuffle_that_was_cut_off_before_its_answer_does_not_count():
    cut = Ok("<think>it may be [3]", finish="length")
    heard = iter([True] + [False] * 4)
    walked = walk(Consensus(Fake(), 5), request(range(18)), lambda prompt: perfect(prompt) if next(heard) else cut)
    assert walked.order.ranking == tuple(range(17, -1, -1))
    assert walk(Consensus(Fake(), 5), request(range(18)), lambda _: cut).order.ranking == tuple(range(18))


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


@given(ORDERS)
def test_copeland_and_plurality_by_their_definitions(rankings):
    things = range(len(rankings[0]))
    borda = consensus(np.array(rankings), "borda").tolist()

    def won(one):
        """Majorities won less those lost."""
        places = [{thing: at for at, thing in enumerate(ranking)} for ranking in rankings]
        margins = [sum(np.sign(place[other] - place[one]) for place in places) for other in things]
        return sum(int(np.sign(margin)) for margin in margins)

    def firsts(one):
        return sum(ranking[0] == one for ranking in rankings)

    for aggregate, votes in (("copeland", won), ("plurality", firsts)):
        order = consensus(np.array(rankings), aggregate).tolist()
        assert order == sorted(borda, key=lambda one, votes=votes: -votes(one))


@given(st.integers(0, 12).flatmap(lambda n: st.tuples(st.permutations(range(n)), st.permutations(range(n)))))
def test_agreement_and_overlap_by_their_definitions(orders):
    one, other = orders
    n = len(one)
    pairs = [(one.index(a) - one.index(b)) * (other.index(a) - other.index(b)) for a, b in combinations(range(n), 2)]
    tau = sum(np.sign(pairs)) / len(pairs) if pairs else 1.0
    assert agreement(one, other) == pytest.approx(tau) == pytest.approx(agreement(other, one))
    assert overlap(one, one) == 1.0 and 0 <= overlap(one, other) <= 1
    assert overlap(one, other) == overlap(other, one)
    assert (overlap(one, other) == 1.0) == (list(one[:10]) == list(other[:10]))


def noisy(answers):
    """A model whose sample s of any prompt is the s-th answer."""
    seen = []

    def answer(prompt):
        seen.append(prompt)
        return answers[prompt.sample // DRAWS]

    return answer, seen


def test_the_majority_of_samples_shows_the_same_words_in_other_draws():
    says, seen = noisy(["[2] > [1] > [3]", "no idea", "[1] > [2] > [3]", "[2] > [3] > [1]", Failed("server", "x")])
    part = Consensus(Listwise(Fake(), sampling=HOT), 5, inputs="same")
    walked = walk(part, request("abc"), lambda prompt: said if isinstance(said := says(prompt), Failed) else Ok(said))
    assert list(walked.order.ranking) == [1, 0, 2] and len(walked.rounds) == 1
    assert len({prompt.messages for prompt in seen}) == 1 and len({prompt.sample for prompt in seen}) == 5
    assert [call.status for call in walked.order.calls] == ["exact", "no_answer", "exact", "exact", "failed"]


def test_samples_keep_the_first_stage_and_inner_samples_apart():
    part = Consensus(Pointwise(Fake(), samples=3, refine=0, sampling=HOT), 2, inputs="same")
    walked = walk(
        part, request("ab", [9.0, 8.0]), lambda prompt: Ok("50" if prompt.sample % 2 else "<score>50</score>")
    )
    samples = [prompt.sample for prompt in walked.rounds[0]]
    assert sorted(samples) == sorted(2 * [0, 1, 2, 1000, 1001, 1002]) and list(walked.order.ranking) == [0, 1]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 60), shuffles=st.integers(1, 9), halt=st.floats(0, 1))
def test_a_model_that_never_errs_is_asked_twice_where_passes_must_agree(n, shuffles, halt):
    inner = Listwise(Fake(), 70)
    walked = walk(Consensus(inner, shuffles, halt=halt), request(range(n)), perfect)
    asked = min(shuffles, 2)
    assert (walked.calls, len(walked.rounds)) == ((asked, 1) if n > 1 else (0, 0))
    assert walked.order.note == Note(shuffles=asked) and list(walked.order.ranking) == best_first(range(n))


def test_it_goes_on_while_the_orders_change():
    some = [[2, 1, 3, 4], [4, 3, 2, 1], *[[2, 1, 3, 4]] * 4]

    def answer(prompt):
        return Ok(" > ".join(f"[{number}]" for number in some[prompt.sample // DRAWS]))

    part = Consensus(Listwise(Fake(), sampling=HOT), 6, inputs="same", halt=0.95)
    walked = walk(part, request("abcd"), answer)
    assert walked.order.note == Note(shuffles=4) and [len(prompts) for prompts in walked.rounds] == [2, 1, 1]
    stubborn = walk(Consensus(Listwise(Fake()), 6, halt=1.0), request("abcd"), lambda _: Ok("none"))
    assert stubborn.order.note == Note(shuffles=6) and [len(prompts) for prompts in stubborn.rounds] == [2, 1, 1, 1, 1]
    assert list(stubborn.order.ranking) == [0, 1, 2, 3]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_what_was_left_out_shares_the_mean_of_the_places_left(aggregate):
    some = [[2, 1, 3, 4], [4], [4], [1, 2, 3, 4]]  # the first stage has no say in where 1, 2 and 3 stand after 4

    def answer(prompt):
        return Ok("<answer>" + " > ".join(f"[{number}]" for number in some[prompt.sample // DRAWS]) + "</answer>")

    part = Consensus(Listwise(Fake(), sampling=HOT), 4, aggregate, inputs="same")
    order = walk(part, request("abcd"), answer).order
    assert [call.repairs.missing for call in order.calls] == [0, 3, 3, 0]
    rankings = np.array([[1, 0, 2, 3], [3, 0, 1, 2], [3, 0, 1, 2], [0, 1, 2, 3]])
    assert list(order.ranking) == consensus(rankings, aggregate, [4, 1, 1, 4]).tolist()
    if aggregate == "borda":  # sums of ranks: 5, 5, 8, 6, where first-stage order would have given 3, 5, 8, 6
        assert consensus(rankings, aggregate, [4, 1, 1, 4]).tolist() == [0, 1, 3, 2]
        assert consensus(rankings[[0, 0, 1, 2]], aggregate, [4, 4, 1, 1]).tolist()[0] == 1


@given(ORDERS, st.sampled_from(AGGREGATES))
def test_orders_that_name_all_are_as_they_were(rankings, aggregate):
    n = len(rankings[0])
    orders = np.array(rankings)
    assert consensus(orders, aggregate, [n] * len(orders)).tolist() == consensus(orders, aggregate).tolist()
    assert consensus(orders, aggregate, [0] * len(orders)).tolist() == list(range(n))


def test_orders_against_the_consensus_are_left_out():
    some = [[0, 1, 2, 3, 4]] * 2 + [[0, 1, 2, 4, 3]] + [[4, 3, 2, 1, 0]] * 2

    def answer(prompt):
        return Ok(" > ".join(f"[{at + 1}]" for at in some[prompt.sample // DRAWS]))

    def found(**more):
        part = Consensus(Listwise(Fake(), sampling=HOT), 5, inputs="same", **more)
        return list(walk(part, request("abcde"), answer).order.ranking)

    assert agreement(some[0], some[2]) > 0 > agreement(some[0], some[4])
    assert found(consistent=True) == [0, 1, 2, 3, 4]
    assert found(aggregate="plurality")[0] == 0


def test_a_consensus_that_halts_repeats_no_call_on_resuming(tmp_path):
    data = Dataset("check", Corpus(DOCUMENTS), QUERIES[:2])
    first, seen = Run.of({query.id: [document.id for document in DOCUMENTS] for query in data.queries}), []

    def answer(prompt):
        seen.append(prompt)
        numbers = list(range(1, len(shown(prompt)) + 1))
        random.Random(prompt.key("m")).shuffle(numbers)
        return " > ".join(f"[{number}]" for number in numbers)

    part = Consensus(Listwise(Fake(answer), sampling=HOT), 6, halt=0.99, inputs="same")
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        run = part.rerank(first, data, trace=trace)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(seen) > 4
    for kept in range(len(lines) + 1):
        path.write_bytes(b"".join(lines[:kept]))
        seen.clear()
        with Trace(path) as trace:
            again = part.rerank(first, data, trace=trace)
        assert dict(again.notes) == dict(run.notes) and len(seen) == len(lines) - kept
        assert [again[id].ids for id in again] == [run[id].ids for id in run]


@pytest.mark.parametrize(
    "spec",
    [
        "consensus(fake(), shuffles=0)",
        "consensus(fake(), aggregate='mean')",
        "consensus(fake(), inputs='turned')",
        "consensus(fake(), inputs='same')",
        "consensus(fake(), halt=1.5)",
    ],
)
def test_bad_settings(spec):
    with pytest.raises(BadInput):
        make(spec)


def test_the_contract():
    check_reranker(Consensus(Fake("<answer>[2] > [1]</answer>"), 3))
    check_reranker(Consensus(Pairwise(Fake("A")), 2, "kemeny"))
