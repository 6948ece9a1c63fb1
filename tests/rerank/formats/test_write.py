"""What a format writes for known utilities, its parser reads as exact, and as what the utilities say."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.report import thought_of
from whyrank.rerank.formats import (
    BestWorst,
    ChoiceFormat,
    First,
    Format,
    GroupScoresFormat,
    Pair,
    RankingFormat,
    Rubric,
    YesNo,
)

ORDERS: list[Format[Any]] = [RankingFormat(), RankingFormat(think="native"), RankingFormat(think="no")]
CHOICES: list[Format[Any]] = [ChoiceFormat(), ChoiceFormat(think="native"), ChoiceFormat(think="no")]
SCORES: list[Format[Any]] = [GroupScoresFormat(), GroupScoresFormat(think="native"), GroupScoresFormat(think="no")]
WAYS: list[Any] = ["asked", "native", "no"]
ENDS: list[Format[Any]] = [BestWorst(way) for way in WAYS]
FIRSTS: list[Format[Any]] = [First(way) for way in WAYS]
PAIRS: list[Format[Any]] = [Pair(), Pair("asked"), Pair("native")]
GRADES: list[Format[Any]] = [Rubric(way, top) for way in WAYS for top in (100, 10)]  # type: ignore[arg-type]
SURE: list[Format[Any]] = [YesNo(way) for way in WAYS] + [Rubric(way, 10, weighted=True) for way in WAYS]
EVERY = ORDERS + FIRSTS + CHOICES + ENDS + SCORES + PAIRS + GRADES + SURE

REAL = st.floats(-9, 9) | st.sampled_from([0.0, 0.5, 1.0])
UNIT = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
MARKS = ["<think>", "</think>", "<answer>", "[2]", "yes", " ", "a"]
THOUGHTS = st.text(max_size=40) | st.lists(st.sampled_from(MARKS), max_size=8).map("".join)


def best_first(utilities: Sequence[float]) -> tuple[int, ...]:
    return tuple(sorted(range(len(utilities)), key=lambda at: (-utilities[at], at)))


def back(format: Format[Any], utilities: Sequence[float], thinking: str) -> Any:
    """What is read of what is written, which keeps to the format, with the thought where the format has one."""
    written = format.write(utilities, thinking)
    read = format.parse(written, len(utilities))
    assert read.status == "exact" and not read.repairs
    assert thought_of(written).strip() == (thinking.strip() if format.think != "no" else "")
    return read


@pytest.mark.parametrize("format", ORDERS, ids=repr)
@given(utilities=st.lists(REAL, min_size=1, max_size=250), thinking=THOUGHTS)
def test_orders(format: Format[Any], utilities: list[float], thinking: str) -> None:
    assert back(format, utilities, thinking).permutation == best_first(utilities)


@pytest.mark.parametrize("format", FIRSTS, ids=repr)
@given(utilities=st.lists(REAL, min_size=1, max_size=26), thinking=THOUGHTS)
def test_orders_by_one_token(format: Format[Any], utilities: list[float], thinking: str) -> None:
    assert back(format, utilities, thinking).permutation == best_first(utilities)


@pytest.mark.parametrize("format", ENDS, ids=repr)
@given(utilities=st.lists(REAL, min_size=1, max_size=100), thinking=THOUGHTS)
def test_ends(format: Format[Any], utilities: list[float], thinking: str) -> None:
    read, order = back(format, utilities, thinking), best_first(utilities)
    assert (read.best, read.worst) == (order[0], order[-1])


@pytest.mark.parametrize("format", CHOICES, ids=repr)
@given(utilities=st.lists(REAL, min_size=1, max_size=100), thinking=THOUGHTS)
def test_choices(format: Format[Any], utilities: list[float], thinking: str) -> None:
    assert back(format, utilities, thinking).best == utilities.index(max(utilities))


@pytest.mark.parametrize("format", SCORES, ids=repr)
@given(utilities=st.lists(UNIT, min_size=1, max_size=100), thinking=THOUGHTS)
@example(utilities=[1e-12, 1 / 3, 0.07], thinking="")
def test_scores(format: Format[Any], utilities: list[float], thinking: str) -> None:
    assert back(format, utilities, thinking).scores == pytest.approx([10 * one for one in utilities], abs=1e-9)


@pytest.mark.parametrize("format", PAIRS, ids=repr)
@given(utilities=st.lists(REAL, min_size=2, max_size=2), thinking=THOUGHTS)
def test_pairs(format: Format[Any], utilities: list[float], thinking: str) -> None:
    assert back(format, utilities, thinking).first == (utilities[0] >= utilities[1])


@pytest.mark.parametrize("format", GRADES, ids=repr)
@given(utility=UNIT, thinking=THOUGHTS)
def test_grades(format: Rubric, utility: float, thinking: str) -> None:
    assert back(format, [utility], thinking).score == pytest.approx(format.top * utility, abs=0.5)


@pytest.mark.parametrize("format", SURE, ids=repr)
@given(utility=UNIT, thinking=THOUGHTS)
def test_probabilities(format: Format[Any], utility: float, thinking: str) -> None:
    assert back(format, [utility], thinking).score == pytest.approx(getattr(format, "top", 1) * utility)


def test_as_models_are_asked_to_write() -> None:
    utilities = [0.3, 0.9, 0]
    assert RankingFormat().write(utilities, "Hm.") == Ok("<think>Hm.</think>\n<answer>[2] > [1] > [3]</answer>")
    assert RankingFormat(think="native").write(utilities, "Hm.") == Ok("<answer>[2] > [1] > [3]</answer>", "Hm.")
    assert RankingFormat(think="no").write(utilities, "Hm.") == Ok("[2] > [1] > [3]")
    assert ChoiceFormat().write(utilities) == Ok("<think></think>\n<answer>[2]</answer>")
    assert GroupScoresFormat(think="no").write(utilities) == Ok('{"1": 3, "2": 9, "3": 0}')
    assert Rubric("no").write([0.85]) == Ok("85")
    assert YesNo("native").write([0.5]).text == "<answer>yes</answer>"


def test_scores_outside_are_clipped() -> None:
    assert GroupScoresFormat(think="no").write([-0.2, 1.2]).text == '{"1": 0, "2": 10}'
    assert Rubric("no").write([7]).text == "100" and YesNo("no").write([-1]).logprobs == ({"no": 0.0},)


@pytest.mark.parametrize("format", EVERY, ids=repr)
def test_what_says_nothing_is_refused(format: Format[Any]) -> None:
    few = 2 if format in PAIRS else 1
    with pytest.raises(BadInput, match="NaN"):
        format.write([math.nan] * few)
    for n in {0, 1, 2, 3} - {few} if format in PAIRS + GRADES + SURE else {0} if format in ENDS else ():
        with pytest.raises(BadInput, match="this format"):
            format.write([0.5] * n)
