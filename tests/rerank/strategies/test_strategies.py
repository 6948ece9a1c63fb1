"""Strategies over one driver: exact tops from a perfect model, permutations from any, and calls and rounds as told."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, isnan, log2
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from one_query import as_asked

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.registry import make
from whyrank.rerank.base import LLMReranker, Order, Request
from whyrank.rerank.formats import BestWorst, ChoiceFormat, Format, GroupScoresFormat
from whyrank.rerank.strategies.dual_end import DualEnd
from whyrank.rerank.strategies.groupwise import Groupwise, imputed
from whyrank.rerank.strategies.merge_tree import MergeTree
from whyrank.rerank.strategies.setwise import Setwise
from whyrank.rerank.strategies.top_down import TopDown
from whyrank.rerank.strategies.tournament import Tournament, stages
from whyrank.testing import check_reranker
from whyrank.types import Document, Query

FAKE = Fake()
EVERY: list[LLMReranker] = [
    Setwise(FAKE),
    Setwise(FAKE, method="insertion"),
    MergeTree(FAKE),
    TopDown(FAKE),
    Tournament(FAKE),
    Groupwise(FAKE),
    DualEnd(FAKE),
    DualEnd(FAKE, window=20),
]
utilities = st.integers(0, 250).flatmap(lambda n: st.permutations(range(n)))
quick = settings(max_examples=60, deadline=None)


def shown(prompt: Prompt) -> list[int]:
    return [int(piece.text) for message in prompt.messages for piece in message.pieces if piece.cut == "document"]


def orders(prompt: Prompt) -> Ok:
    """A perfect model for passages that are numbers: the highest first."""
    texts = shown(prompt)
    best = sorted(range(len(texts)), key=lambda at: -texts[at])
    return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in best) + "</answer>")


def chooses(prompt: Prompt) -> Ok:
    texts = shown(prompt)
    return Ok(f"<answer>[{texts.index(max(texts)) + 1}]</answer>")


def scores(prompt: Prompt) -> Ok:
    """A perfect grader: the number itself, which must be 0 to 10."""
    return Ok(f"<answer>{json.dumps({str(at): score for at, score in enumerate(shown(prompt), 1)})}</answer>")


def names_both(prompt: Prompt) -> Ok:
    return BestWorst().write(shown(prompt))


def perfect(reranker: LLMReranker) -> Callable[[Prompt], Ok]:
    if isinstance(reranker, DualEnd):
        return names_both
    return chooses if isinstance(reranker, Setwise) else scores if isinstance(reranker, Groupwise) else orders


def walk(
    reranker: LLMReranker, texts: Sequence[int], answer: Callable[[Prompt], Completion] | None = None
) -> tuple[Order, list[list[Prompt]]]:
    """The plan alone, without a scheduler: its order, and the prompts of each round."""
    documents = tuple(Document(f"d{at}", str(text)) for at, text in enumerate(texts))
    asked = Request(Query("q", "which is the highest?"), documents, tuple(float(n) for n in range(len(texts), 0, -1)))
    plan, rounds, batch = reranker.plan(asked), list[list[Prompt]](), None
    try:
        while True:
            rounds.append(list(plan.send(batch)))  # type: ignore[arg-type]
            assert rounds[-1], "an empty round"
            batch = [(answer or perfect(reranker))(prompt) for prompt in rounds[-1]]
    except StopIteration as end:
        order = end.value
    assert sorted(order.ranking) == list(range(len(texts)))
    assert [call.place.round for call in order.calls] == [at for at, asked in enumerate(rounds) for _ in asked]
    assert [[int(texts[at]) for at in call.shown] for call in order.calls] == [shown(p) for r in rounds for p in r]
    return order, rounds


def best(texts: Sequence[int]) -> list[int]:
    return sorted(range(len(texts)), key=lambda at: -texts[at])


def count(rounds: list[list[Prompt]]) -> int:
    return sum(map(len, rounds))


def first_stage(lot: random.Random, n: int = 100) -> list[int]:
    """Numbers 0 to n - 1 as a first stage leaves them that errs as much as it knows."""
    worth = sorted(lot.gauss(0, 1) for _ in range(n))
    return sorted(range(n), key=lambda at: -(worth[at] + lot.gauss(0, 1)))


def averages(reranker: LLMReranker, times: int = 50) -> tuple[float, float]:
    """Mean calls and rounds for 100 candidates."""
    draws = [walk(reranker, first_stage(random.Random(seed)))[1] for seed in range(times)]
    return sum(map(count, draws)) / times, sum(map(len, draws)) / times


# what every strategy keeps to


@pytest.mark.parametrize("reranker", EVERY, ids=repr)
def test_contract(reranker: LLMReranker) -> None:
    check_reranker(replace(reranker, llm=Fake("<answer>[2] > [1]</answer>")))


@pytest.mark.parametrize("reranker", EVERY, ids=repr)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), n=st.integers(0, 120))
def test_whatever_the_model_writes_nothing_is_lost(reranker: LLMReranker, data: st.DataObject, n: int) -> None:
    lot = random.Random(data.draw(st.integers()))

    def answer(prompt: Prompt) -> Completion:
        label = lot.randint(0, 25)
        texts = [f"[{label}]", f"<answer>[{label}] > [2]", f'{{"{label}": {lot.randint(-1, 11)}}}', "", "none", "[9"]
        kinds: list[Completion] = [*map(Ok, texts), Failed("server", "[2] > [1]"), Ok("[2", finish="length")]
        return lot.choice([*kinds, perfect(reranker)(prompt)])

    order, _ = walk(reranker, [at % 11 for at in range(n)], answer)
    assert {call.status for call in order.calls} <= {"exact", "repaired", "truncated", "no_answer", "failed"}


@pytest.mark.parametrize("reranker", EVERY, ids=repr)
@pytest.mark.parametrize(
    "answer", [Ok("None helps."), Failed("timeout", "[3] > [1]"), Ok("<think>[3]", finish="length")]
)
def test_without_any_answer_the_input_order_stands(reranker: LLMReranker, answer: Completion) -> None:
    for n in (2, 19, 20, 21, 45, 100, 113):
        order, _ = walk(reranker, range(n), lambda _: answer)
        assert order.ranking == tuple(range(n))
        assert order.calls and {call.status for call in order.calls} <= {"no_answer", "failed", "truncated"}


@pytest.mark.parametrize("reranker", EVERY, ids=repr)
def test_nothing_to_order_asks_nothing(reranker: LLMReranker) -> None:
    for n in (0, 1):
        order, rounds = walk(reranker, range(n))
        assert (order.ranking, rounds) == (tuple(range(n)), [])


@pytest.mark.parametrize("reranker", EVERY, ids=repr)
def test_sampling_and_length_reach_the_prompt(reranker: LLMReranker) -> None:
    sampling = Sampling(temperature=0.6)
    asked = Request(Query("q", "?"), (Document("a", "x" * 900), Document("b", "y")), (2.0, 1.0))
    (prompt, *_) = map(as_asked, next(replace(reranker, sampling=sampling, max_passage_tokens=3).plan(asked)))  # type: ignore[call-arg]
    assert prompt.sampling == sampling and len(prompt.chat[1]["content"]) < 400


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("setwise(fake(), k=0)", "setwise: k must be at least 1, not 0"),
        ("setwise(fake(), children=0)", "setwise: children must be at least 1, not 0"),
        ("merge_tree(fake(), window=1)", "merge_tree: window must be at least 2, not 1"),
        ("merge_tree(fake(), keep=11)", "merge_tree: keep must be from 1 to half the window, 10, .* not 11"),
        ("merge_tree(fake(), keep=0)", "merge_tree: keep must be at least 1, not 0"),
        ("top_down(fake(), k=20)", "top_down: k must be from 1 to 19, less than the window, not 20"),
        ("top_down(fake(), window=1)", "top_down: window must be at least 2, not 1"),
        ("tournament(fake(), window=5)", "tournament: window must be at least 6, not 5"),
        ("tournament(fake(), repeats=0)", "tournament: repeats must be at least 1, not 0"),
        ("dual_end(fake(), k=0)", "dual_end: k must be at least 1, not 0"),
        ("dual_end(fake(), window=1)", "dual_end: window must be at least 2, not 1"),
        ("groupwise(fake(), group=0)", "groupwise: group must be at least 1, not 0"),
        ("groupwise(fake(), retries=-1)", "groupwise: retries must be at least 0, not -1"),
        ("groupwise(fake(), max_passage_tokens=0)", "groupwise: max_passage_tokens must be at least 1, not 0"),
    ],
)
def test_bad_sizes_are_refused(spec: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make(spec)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(BadInput, match="setwise: method must be 'heap' or 'insertion', not 'bubble'"):
        Setwise(FAKE, method="bubble")  # type: ignore[arg-type]


# setwise


@quick
@given(utilities, st.integers(1, 30), st.integers(1, 60), st.sampled_from(["heap", "insertion"]))
def test_setwise_finds_the_top(texts: list[int], k: int, children: int, method: Any) -> None:
    order, rounds = walk(Setwise(FAKE, k, children, method), texts)
    assert list(order.ranking[:k]) == best(texts)[:k]
    assert list(order.ranking[k:]) == sorted(best(texts)[k:])
    assert all(2 <= len(shown(prompt)) <= children + 1 for asked in rounds for prompt in asked)


@pytest.mark.parametrize(("children", "calls", "rounds"), [(19, 20.6, 16.6), (9, 30.2, 22.2), (3, 75.5, 42.3)])
def test_heap_sort_costs_what_it_says(children: int, calls: float, rounds: float) -> None:
    assert averages(Setwise(FAKE, children=children)) == (pytest.approx(calls, abs=1), pytest.approx(rounds, abs=1))


@pytest.mark.parametrize(("children", "calls"), [(19, 41.2), (3, 78.3)])
def test_insertion_costs_what_it_says(children: int, calls: float) -> None:
    found, _ = averages(Setwise(FAKE, children=children, method="insertion"))
    assert found == pytest.approx(calls, abs=3)


def test_insertion_uses_the_order_of_the_first_stage() -> None:
    _, rounds = walk(Setwise(FAKE, method="insertion"), range(100, 0, -1))
    assert count(rounds) == 9 + ceil(90 / 19)


@pytest.mark.parametrize("method", ["heap", "insertion"])
def test_without_a_choice_the_first_stage_decides(method: Any) -> None:
    def answer(prompt: Prompt) -> Completion:
        return Failed("timeout", "") if 7 not in shown(prompt) else chooses(prompt)

    order, _ = walk(Setwise(FAKE, 3, 4, method), [0, 1, 2, 3, 4, 5, 6, 7, -1, -2, -3, -4], answer)
    assert order.ranking[0] == 7 and order.ranking[1:] == tuple(at for at in range(12) if at != 7)


# merge tree


@quick
@given(utilities, st.integers(2, 60).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w // 2))))
@example(list(range(41)), (20, 10))
def test_merge_tree_finds_what_it_keeps(texts: list[int], size: tuple[int, int]) -> None:
    window, keep = size
    order, rounds = walk(MergeTree(FAKE, window, keep), texts)
    sure = len(texts) if len(texts) <= window else keep
    assert list(order.ranking[:sure]) == best(texts)[:sure]
    leaves = ceil(len(texts) / window)
    if leaves:
        assert count(rounds) <= 2 * leaves - 1 and len(rounds) <= 1 + ceil(log2(leaves))
    assert all(2 <= len(shown(prompt)) <= window for asked in rounds for prompt in asked)


def test_merge_tree_needs_the_calls_of_sliding_and_under_half_its_rounds() -> None:
    _, rounds = walk(MergeTree(FAKE), range(100))
    assert [len(asked) for asked in rounds] == [5, 2, 1, 1]
    _, rounds = walk(MergeTree(FAKE, keep=4), range(100))
    assert [len(asked) for asked in rounds] == [5, 1]


def test_what_drops_out_follows_by_how_far_it_came() -> None:
    order, _ = walk(MergeTree(FAKE, window=4), [1, 2, 3, 4, 5, 6, 7, 8])
    assert order.ranking == (7, 6, 5, 4, 2, 3, 0, 1)


# top-down


@quick
@given(utilities, st.integers(2, 60).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w - 1))))
def test_top_down_finds_the_top(texts: list[int], size: tuple[int, int]) -> None:
    window, k = size
    order, rounds = walk(TopDown(FAKE, window, k), texts)
    sure = len(texts) if len(texts) <= window else k
    assert list(order.ranking[:sure]) == best(texts)[:sure]
    assert all(2 <= len(shown(prompt)) <= window for asked in rounds for prompt in asked)


def test_top_down_is_quick_where_the_first_stage_is_right() -> None:
    _, rounds = walk(TopDown(FAKE), range(100, 0, -1))
    assert [len(asked) for asked in rounds] == [1, 5]
    assert averages(TopDown(FAKE)) == (pytest.approx(7.1, abs=0.3), pytest.approx(3.1, abs=0.3))


# tournament


@quick
@given(utilities, st.integers(6, 60), st.integers(1, 3))
def test_tournament_finds_the_best_two(texts: list[int], window: int, repeats: int) -> None:
    order, rounds = walk(Tournament(FAKE, repeats, window), texts)
    sure = len(texts) if len(texts) <= window else 2
    assert list(order.ranking[:sure]) == best(texts)[:sure]
    assert all(2 <= len(shown(prompt)) <= window for asked in rounds for prompt in asked)
    assert len(rounds) == len(stages(len(texts), window))


@pytest.mark.parametrize("repeats", [1, 2, 10])
def test_a_hundred_candidates_meet_as_in_tourrank(repeats: int) -> None:
    _, rounds = walk(Tournament(FAKE, repeats), random.Random(0).sample(range(100), 100))
    assert [len(asked) for asked in rounds] == [5 * repeats, 5 * repeats, repeats, repeats, repeats]
    assert sum(len(shown(prompt)) for asked in rounds for prompt in asked) == 185 * repeats


@pytest.mark.parametrize("window", [6, 7, 10, 20, 37, 100, 300])
def test_stages_end_and_leave_two_of_each_group(window: int) -> None:
    for n in range(2, 400):
        left = n
        for goal, size in stages(n, window):
            groups = ceil(left / size)
            assert 1 <= goal < left and ceil(left / groups) <= window
            assert groups == 1 or goal >= 2 * groups
            left = goal
        assert left == (1 if n < 4 else 2)


def test_more_tournaments_help_against_noise() -> None:
    def found(repeats: int) -> int:
        right = 0
        for seed in range(20):
            lot = random.Random(seed)

            def answer(prompt: Prompt, lot: random.Random = lot) -> Ok:
                texts = [text + lot.gauss(0, 30) for text in shown(prompt)]
                some = sorted(range(len(texts)), key=lambda at: -texts[at])
                return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in some) + "</answer>")

            texts = lot.sample(range(100), 100)
            order, _ = walk(Tournament(FAKE, repeats), texts, answer)
            right += len(set(order.ranking[:10]) & set(best(texts)[:10]))
        return right

    assert found(1) < found(4) - 10


# dual end


@quick
@given(utilities, st.integers(1, 60), st.integers(2, 120) | st.just(250))
@example(list(range(250)), 60, 2)
@example(list(range(101)), 60, 100)
def test_dual_end_finds_the_top(texts: list[int], k: int, window: int) -> None:
    order, rounds = walk(DualEnd(FAKE, k, window), texts)
    n = len(texts)
    assert list(order.ranking[:k]) == best(texts)[:k]
    assert all(2 <= len(shown(prompt)) <= window for asked in rounds for prompt in asked)
    if n <= window:
        assert [len(asked) for asked in rounds] == [1] * min(k, n // 2)
        assert list(order.ranking[n - len(rounds) :]) == best(texts)[n - len(rounds) :]
        assert list(order.ranking[k : n - len(rounds)]) == sorted(order.ranking[k : n - len(rounds)])
    elif n <= window**2:
        assert count(rounds) <= ceil(n / window) + 2 * k - 1 and len(rounds) <= 2 * k
        assert list(order.ranking[k:]) == sorted(order.ranking[k:])
    assert all(list(call.shown) == sorted(call.shown) for call in order.calls)  # as the first stage has them


def test_dual_end_costs_what_it_says() -> None:
    _, rounds = walk(DualEnd(FAKE), range(100))
    assert count(rounds) == len(rounds) == 10 and sum(len(shown(prompt)) for (prompt,) in rounds) == 910
    order, rounds = walk(DualEnd(FAKE, k=50), random.Random(0).sample(range(100), 100))
    assert count(rounds) == len(rounds) == 50
    texts = random.Random(0).sample(range(100), 100)
    order, rounds = walk(DualEnd(FAKE, window=20), texts)
    assert (count(rounds), len(rounds)) == (24, 20) and list(order.ranking[:10]) == best(texts)[:10]
    assert 280 < sum(len(shown(prompt)) for asked in rounds for prompt in asked) < 310


def test_an_end_that_is_not_named_is_the_first_stages() -> None:
    order, rounds = walk(DualEnd(FAKE, 4), range(9), lambda prompt: Ok("best: [4]"))
    assert order.ranking == (3, 4, 5, 0, 1, 2, 6, 7, 8) and count(rounds) == 4
    order, rounds = walk(DualEnd(FAKE, 2), range(9), lambda prompt: Ok("best: [0], worst: [1]"))
    assert order.ranking == (1, 3, 4, 5, 6, 7, 8, 2, 0) and count(rounds) == 2


# groupwise


@quick
@given(st.lists(st.integers(0, 10), max_size=250), st.integers(1, 40), st.integers(1, 4))
def test_groupwise_orders_by_score(grades: list[int], group: int, repeats: int) -> None:
    order, rounds = walk(Groupwise(FAKE, repeats, group), grades)
    assert list(order.ranking) == best(grades)
    if len(grades) > 1:
        assert [len(asked) for asked in rounds] == [repeats * ceil(len(grades) / group)]
        assert order.scores == tuple(map(float, grades))
        sizes = {len(shown(prompt)) for prompt in rounds[0]}
        assert max(sizes) <= group and max(sizes) - min(sizes) <= 1


def test_each_repeat_is_a_draw_of_its_own() -> None:
    _, (asked,) = walk(Groupwise(FAKE, repeats=8), [3, 4])
    assert len({prompt.key("m") for prompt in asked}) == 8


def test_scores_that_could_not_be_read_are_asked_for_again_within_the_bound() -> None:
    def answer(prompt: Prompt) -> Completion:
        return Failed("timeout", "") if 10 in shown(prompt) else scores(prompt)

    grades = [at % 10 for at in range(60)]
    grades[33] = 10
    order, rounds = walk(Groupwise(FAKE, repeats=1, retries=2), grades, answer)
    assert [len(asked) for asked in rounds] == [3, 1, 1]
    assert isnan(order.scores[33]) and sum(map(isnan, order.scores)) == 20
    assert [call.status for call in order.calls].count("failed") == 3
    order, rounds = walk(Groupwise(FAKE, repeats=1, retries=0), grades, answer)
    assert [len(asked) for asked in rounds] == [3] and sum(map(isnan, order.scores)) == 20


def test_other_repeats_make_up_for_what_is_missing() -> None:
    failed = iter([True] + [False] * 99)
    order, rounds = walk(
        Groupwise(FAKE, retries=0), [at % 11 for at in range(60)],
        lambda prompt: Failed("server", "") if next(failed) else scores(prompt),
    )  # fmt: skip
    assert count(rounds) == 6 and order.scores == tuple(float(at % 11) for at in range(60))


def test_a_missing_score_is_never_zero() -> None:
    nan = float("nan")
    assert imputed([nan, nan, 6.0, nan, nan, 2.0, nan]) == [6.0, 6.0, 6.0, 4.0, 4.0, 2.0, 2.0]
    order, _ = walk(Groupwise(FAKE, 1, retries=0), [1, 9, 2, 3], lambda p: Ok(
        json.dumps({str(at): grade for at, grade in enumerate(shown(p), 1) if grade != 9})
    ))  # fmt: skip
    assert order.ranking == (3, 2, 1, 0) and isnan(order.scores[1])


@pytest.mark.parametrize("format", [ChoiceFormat(think="no"), ChoiceFormat(think="native")])
def test_a_strategy_takes_any_format_of_its_kind(format: Format[Any]) -> None:
    order, _ = walk(Setwise(FAKE, format=format), range(50))
    assert order.ranking[:10] == tuple(range(49, 39, -1))


@pytest.mark.parametrize("format", [GroupScoresFormat(think="no"), GroupScoresFormat(think="native")])
def test_groupwise_takes_any_format_of_scores(format: Format[Any]) -> None:
    order, _ = walk(Groupwise(FAKE, format=format), range(11))
    assert order.ranking == tuple(range(10, -1, -1))
