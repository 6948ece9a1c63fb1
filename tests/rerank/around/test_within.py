"""Budgets: never one call too many, whatever comes back; nothing lost; the entry of the table that was paid for."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.around.within import STAGES, Within
from whyrank.rerank.formats import RankingFormat
from whyrank.testing import check_reranker


def listed(prompt: Prompt) -> Ok:
    order = best_first([float(text) for text in shown(prompt)])
    return Ok("<answer>" + " > ".join(f"[{at + 1}]" for at in order) + "</answer>")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 250),
    st.sampled_from(sorted(STAGES)) | st.integers(1, 130),
    st.sampled_from(["right", "random", "bad"]),
    st.integers(0, 10**6),
)
def test_the_budget_holds_for_any_number_of_candidates_and_any_answers(n, calls, answers, seed):
    dice = random.Random(seed)

    def answer(prompt):
        good = {"right": listed(prompt), "random": Ok(str(dice.sample(range(1, 21), 20))), "bad": dice.choice(BAD)}
        return good[answers]

    walked = walk(Within(Fake(), calls), request(dice.sample(range(n), n)), answer)
    assert sorted(walked.order.ranking) == list(range(n))
    assert walked.calls == len(walked.order.calls) <= calls
    assert list(walked.order.ranking[100:]) == list(range(100, n))
    assert all(2 <= len(shown(prompt)) <= 20 for prompts in walked.rounds for prompt in prompts)


@pytest.mark.parametrize("calls", STAGES)
def test_the_budgets_of_the_table_add_up(calls):
    windows = {20: 1, 30: 2}
    assert calls == sum(number * (windows[depth] if kind == "shuffles" else 1) for kind, number, depth in STAGES[calls])
    assert all(20 <= depth <= 100 for _, _, depth in STAGES[calls])


@pytest.mark.parametrize(
    ("calls", "entry"), [(1, 1), (4, 1), (5, 5), (9, 5), (19, 10), (49, 20), (99, 50), (10**6, 100)]
)
def test_any_budget_takes_the_best_entry_that_it_pays_for(calls, entry):
    assert Within(Fake(), calls).stages == Within(Fake(), entry).stages


@pytest.mark.parametrize("calls", STAGES)
def test_one_window_is_the_models_order(calls):
    numbers = random.Random(0).sample(range(20), 20)
    assert list(walk(Within(Fake(), calls), request(numbers), listed).order.ranking) == best_first(numbers)


@pytest.mark.parametrize("calls", STAGES)
def test_settings_reach_every_call(calls):
    part = make(
        f"within(fake(), calls={calls}, format=ranking(think='no'), sampling=sampling(temperature=0.6), "
        "max_passage_tokens=2)",
        Within,
    )
    walked = walk(part, request([1000 + at for at in range(100)]), lambda _: Ok("none"))
    assert {prompt.sampling.temperature for prompts in walked.rounds for prompt in prompts} == {0.6}
    assert all(len(text) == 2 for prompts in walked.rounds for prompt in prompts for text in shown(prompt))
    assert walked.rounds[0][0].messages[0] == RankingFormat(think="no").render("", ["x"]).messages[0]
    assert {call.place.stage for call in walked.order.calls} == set(range(len(STAGES[calls])))
    assert walked.order.ranking == tuple(range(100)), "without any answer the input order stands"


@pytest.mark.parametrize("spec", ["within(fake(), calls=0)", "within(fake(), max_passage_tokens=0)"])
def test_bad_settings(spec):
    with pytest.raises(BadInput, match="within: "):
        make(spec)


def test_the_contract():
    check_reranker(Within(Fake("<answer>[2] > [1]</answer>")))
