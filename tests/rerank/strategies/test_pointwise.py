"""Pointwise: exact with a model that never errs, calls as documented, and what is missing keeps its place."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.rerank.formats import Rubric, YesNo
from whyrank.rerank.strategies.pointwise import Pointwise
from whyrank.testing import check_reranker

WARM = Sampling(temperature=0.6)


def grade(prompt: Prompt) -> Completion:
    """A model that never errs: passages are their own grade."""
    return Ok(f"<score>{shown(prompt)[0]}</score>")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=250), st.integers(1, 3), st.integers(0, 40), st.integers(1, 4))
def test_a_model_that_never_errs_gives_the_exact_order(grades, samples, refine, more):
    reranker = Pointwise(Fake(), samples, refine, more, sampling=WARM)
    walked, n = walk(reranker, request(grades), grade), len(grades)
    assert list(walked.order.ranking) == best_first(grades)
    assert walked.order.scores == tuple(map(float, grades))
    assert walked.calls == len(walked.order.calls) == n * samples + min(n, refine) * more
    assert len(walked.rounds) == (0 if not n else 2 if refine else 1)


def test_the_calls_of_the_literature():
    grades = list(range(100))
    assert walk(Pointwise(Fake()), request(grades), grade).calls == 100
    assert walk(Pointwise(Fake(), 16, sampling=WARM), request(grades), grade).calls == 1600
    two = walk(Pointwise(Fake(), refine=30, sampling=WARM), request(grades), grade)
    assert (two.calls, len(two.rounds)) == (580, 2)
    assert {prompt.sample for prompt in two.rounds[1]} == set(range(1, 17))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10), st.integers(0, 3), st.randoms(use_true_random=False))
@pytest.mark.parametrize("format", [Rubric(), YesNo(), YesNo("no")], ids=repr)
def test_whatever_the_model_writes_nothing_is_lost(format, n, refine, retries, dice):
    reranker = Pointwise(Fake(), 2, refine, 2, retries, format=format, sampling=WARM)
    good = (Ok("<score>7</score>"), Ok("<answer>yes</answer>"), Ok("no"))
    walked = walk(reranker, request(range(n)), lambda _: dice.choice((*BAD, *good)))
    assert sorted(walked.order.ranking) == list(range(n))
    assert len(walked.rounds) <= (1 + bool(refine)) * (1 + retries)
    assert walked.calls == len(walked.order.calls) <= (2 * n + 2 * min(n, refine)) * (1 + retries)


@given(st.integers(0, 60), st.sampled_from(BAD))
def test_without_any_score_the_input_order_stands(n, bad):
    walked = walk(Pointwise(Fake()), request(range(n)), lambda _: bad)
    assert walked.order.ranking == tuple(range(n))
    assert len(walked.order.scores) == n and all(map(math.isnan, walked.order.scores))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=3, max_size=80, unique=True), st.randoms(use_true_random=False))
def test_a_missing_score_keeps_the_place_of_the_first_stage(grades, dice):
    missing = dice.randrange(len(grades))
    answer = lambda prompt: Ok("?") if shown(prompt)[0] == str(grades[missing]) else grade(prompt)  # noqa: E731
    order = walk(Pointwise(Fake()), request(grades), answer).order
    assert abs(order.ranking.index(missing) - missing) <= 1
    assert math.isnan(order.scores[missing])
    others = [at for at in best_first(grades) if at != missing]
    assert [at for at in order.ranking if at != missing] == others


def test_a_missing_sample_is_imputed_from_the_others_and_never_zero():
    def answer(prompt):
        return Ok("hm") if prompt.sample == 1 and shown(prompt)[0] == "80" else grade(prompt)

    order = walk(Pointwise(Fake(), 3, sampling=WARM), request([60, 80, 70]), answer).order
    assert order.ranking == (1, 2, 0) and order.scores == (60, 80, 70)
    assert [call.status for call in order.calls].count("no_answer") == 2


def test_a_refined_document_without_a_fresh_score_keeps_its_first():
    def answer(prompt):
        return Ok("hm") if prompt.sample and shown(prompt)[0] == "80" else grade(prompt)

    order = walk(Pointwise(Fake(), refine=2, refine_samples=2, sampling=WARM), request([60, 80, 70]), answer).order
    assert order.ranking == (1, 2, 0) and order.scores == (60, 80, 70)


def test_unreadable_answers_are_asked_for_again_and_failures_are_not():
    def answer(prompt):
        if shown(prompt)[0] == "9":
            return Failed("timeout", "600 s")
        cut = Ok("<think>it seems", finish="length")
        return cut if shown(prompt)[0] == "50" and len(prompt.messages) == 2 else grade(prompt)

    walked = walk(Pointwise(Fake(), retries=3), request([9, 50, 70]), answer)
    assert [len(prompts) for prompts in walked.rounds] == [3, 1]
    assert walked.order.scores[1:] == (50, 70) and walked.order.ranking == (0, 2, 1)
    assert [(call.shown, call.status) for call in walked.order.calls] == [
        ((0,), "failed"), ((1,), "truncated"), ((2,), "exact"), ((1,), "exact")
    ]  # fmt: skip


def test_more_samples_settle_noise():
    def noisy(prompt):
        draw = random.Random(f"{shown(prompt)} {prompt.sample}")
        return Ok(f"<score>{min(100, max(0, round(draw.gauss(int(shown(prompt)[0]), 15))))}</score>")

    def off(**how):
        order = walk(Pointwise(Fake(), sampling=WARM, **how), request(grades), noisy).order
        return sum(abs(rank - at) for rank, at in enumerate(reversed(order.ranking)))

    grades = list(range(10, 91, 8))
    assert max(off(samples=64), off(refine=11, refine_samples=64)) < off(samples=1)


@pytest.mark.parametrize("setting", ["samples", "refine", "refine_samples", "retries", "max_passage_tokens"])
def test_numbers_out_of_range(setting):
    with pytest.raises(BadInput, match=f"pointwise: {setting} must be at least"):
        Pointwise(Fake(), **{setting: -1})


def test_samples_that_cannot_differ_are_refused():
    for more in ({"samples": 2}, {"refine": 5}):
        with pytest.raises(BadInput, match="at temperature 0 all samples are the same"):
            Pointwise(Fake(), **more)
    assert Pointwise(Fake(), refine=5, refine_samples=1)


def test_the_contract():
    check_reranker(Pointwise(Fake("<score>40</score>")))


def test_what_was_said_after_a_closed_thought_is_shown_when_asked_again():
    said = iter([Ok("", "Hm. So", finish="length"), Ok("perhaps", finish="length"), Ok("<answer>yes</answer>")])
    walked = walk(Pointwise(Fake(), format=YesNo(), retries=2), request(["a"]), lambda prompt: next(said))
    closed, again = (prompts[0] for prompts in walked.rounds[1:])
    assert closed.prefill == "<think>\nHm.\n</think>\n\n<answer>"
    assert again.messages[2].content == f"{closed.prefill}perhaps" and not again.prefill
    assert walked.order.scores == (1.0,)
    assert [call.status for call in walked.order.calls] == ["truncated", "truncated", "exact"]
