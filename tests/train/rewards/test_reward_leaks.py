"""Nothing earns more than the honest ideal, and without a valid permutation nothing earns more than a failure."""

import re
from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whyrank.llm.answer import Ok
from whyrank.registry import make
from whyrank.rerank.formats import GroupScoresFormat, RankingFormat
from whyrank.train.rewards import NDCG, GroupRank, Improvement, MultiView, OrderReward, RankR1, RetroStar
from whyrank.train.rewards.lists import read_order
from whyrank.types import Document, Query, RankTask

FAILURES = {  # the most that a completion without a valid permutation may earn
    "multiview(p=0.9)": 0.0, "multiview(p=1.0, binary=False)": 0.0, "ndcg()": 0.0, "ndcg(k=2)": 0.0,
    "ndcg_gain()": -1.0, "improvement()": 0.0,
    "rearank()": -0.7, "tfrank()": -2.0, "log_rank()": 0.0, "rank_ladder()": -1.0,
    "prefix_ladder()": 0.0, "rank_r1_list()": 0.0,
}  # fmt: skip
REWARDS = [(make(spec, OrderReward), most) for spec, most in FAILURES.items()]
PAIR = (Document("a", "a"), Document("b", "b"))
NUMBERS = st.integers(-2, 9) | st.sampled_from([10**9, 10**12])
PIECES = st.sampled_from(
    ["<answer>", "</answer>", "<think>", "</think>", "<ANSWER>", " > ", ", ", "-", "[", "]", "top ", "\n", "0", "```"]
) | NUMBERS.map(lambda number: f"[{number}]")
LISTS = st.lists(NUMBERS, max_size=7).map(lambda given: " > ".join(f"[{number}]" for number in given))
TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(PIECES, max_size=14).map("".join),
    st.builds("<think>{}</think><answer>{}</answer>".format, st.sampled_from(["a", "", "x" * 300]), LISTS),
    st.builds("<think>a</think><answer>{}</answer>{}".format, LISTS, st.lists(PIECES, max_size=4).map("".join)),
    st.builds("<think>a{}</think>{}<answer>{}</answer>".format, LISTS, LISTS, LISTS),
)


@st.composite
def tasks(draw: st.DrawFn) -> RankTask:
    gains = draw(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0]), min_size=2, max_size=5).filter(any))
    ids = [f"x/{at}" for at in range(len(gains))]
    order = sorted(ids, key=lambda id: -gains[ids.index(id)])
    return RankTask(
        Query("q", "?"), tuple(Document(id, id) for id in ids), dict(zip(ids, gains, strict=True)), tuple(order)
    )


def honest(order: Sequence[int]) -> str:
    listed = " > ".join(f"[{at + 1}]" for at in order)
    return f"<think>{'x' * 300}</think><answer>{listed}</answer>"


def best(reward: Callable[[str, RankTask], float | None], task: RankTask) -> float:
    places = range(len(task.documents))
    return max(reward(honest(order), task) or 0.0 for order in permutations(places))


def names_all_once(text: str, n: int) -> bool:
    """An oracle that owes the parser nothing: whether the numbers of the last answer are 1 to n."""
    answer = re.split("<answer>", re.split("</think>", text, flags=re.I)[-1], flags=re.I)[-1]
    numbers = re.findall(r"-?\d+", re.split("</answer>", answer, flags=re.I)[0])
    return sorted(int(number.lstrip("-")) for number in numbers) == list(range(1, n + 1))


@given(task=tasks(), text=TEXTS)
@settings(max_examples=400, deadline=None)
def test_no_permutation_no_reward(task: RankTask, text: str) -> None:
    valid = names_all_once(text, len(task.documents))
    for reward, most in REWARDS:
        earned = reward(text, task)
        if earned is None:  # what is ideal already cannot improve
            assert isinstance(reward, Improvement), reward
            continue
        assert earned <= (best(reward, task) if valid else most) + 1e-9, reward


@given(task=tasks())
@settings(max_examples=20, deadline=None)
def test_a_bad_order_never_earns_less_than_none_and_the_ideal_earns_most(task: RankTask) -> None:
    for reward, most in REWARDS:
        worth = [reward(honest(order), task) or 0.0 for order in permutations(range(len(task.documents)))]
        assert min(worth) >= most - 1e-9, reward
        ids = [document.id for document in task.documents]
        ideal = reward(honest([ids.index(id) for id in task.order]), task) or 0.0
        assert ideal == pytest.approx(max(worth)), reward


@given(task=tasks(), text=TEXTS)
@settings(deadline=None)
def test_a_list_that_has_to_be_repaired_earns_its_share_and_no_other_does(task: RankTask, text: str) -> None:
    reward, strict = NDCG(repaired=0.7), NDCG()
    outcome, order = read_order(RankingFormat(), Ok(text), len(task.documents))
    repaired = strict(honest(order), task) or 0.0
    assert reward(text, task) == (0.7 * repaired if outcome == "wrong" else strict(text, task))
    assert (reward(text, task) or 0.0) < repaired or outcome != "wrong" or not repaired


def test_the_published_reward_leaks_and_the_search_would_find_it() -> None:
    task = RankTask(Query("q", "?"), (Document("a", ""), Document("b", "")), {"a": 1}, ("a", "b"))
    leaky, text = MultiView(p=1.0, compat="reasonrank"), "<think>t</think><answer>[1] > [0]</answer>"
    assert not names_all_once(text, 2)
    assert (leaky(text, task) or 0) > 1 > (MultiView(p=1.0)(text, task) or 0)


@given(task=tasks(), text=TEXTS)
@example(RankTask(Query("q", "?"), PAIR, {"a": 1}), "<think>a</think><answer>[1] > [-1]</answer>")
@settings(deadline=None)
def test_choosing_well_takes_one_number_in_range(task: RankTask, text: str) -> None:
    if RankR1()(text, task):
        answer = re.split("<answer>", text, flags=re.I)[-1]
        (number,) = re.findall(r"\d+", re.split("</answer>", answer, flags=re.I)[0])
        assert task.gains[int(number) - 1] == max(task.gains)


MAPS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(-1, 12) | st.floats(0, 10).map(lambda score: round(score, 2))), max_size=7
).map(lambda pairs: "{" + ", ".join(f'"{label}": {score}' for label, score in pairs) + "}")


@given(task=tasks(), answer=MAPS | LISTS)
@settings(deadline=None)
def test_no_scores_beat_the_grades_themselves(task: RankTask, answer: str) -> None:
    ideal = GroupScoresFormat().write([gain / 2 for gain in task.gains], "hm")
    top = GroupRank()(ideal, task)
    earned = GroupRank()(f"<think>hm</think><answer>{answer}</answer>", task)
    assert top == pytest.approx(1.3) and earned is not None and earned <= 1.3 + 1e-9
    labels = re.findall(r'"(\d+)":', answer)
    if sorted(labels) != [str(at) for at in range(1, len(task.documents) + 1)]:
        assert earned == -0.1


@given(st.lists(st.integers(0, 100) | st.none(), min_size=2, max_size=8))
@settings(deadline=None)
def test_no_grade_never_pays(grades: list[int | None]) -> None:
    pair = [RankTask(Query("q", "?"), (Document(id, ""),), {id: 1.0} if id == "p" else {}) for id in "pn"]
    tasks = [pair[at % 2] for at in range(len(grades))]
    texts = ["<think>hm</think>" + ("" if one is None else f"<score>{one}</score>") for one in grades]
    for value, grade in zip(RetroStar().batch(texts, tasks), grades, strict=True):
        assert value is not None and -0.75 <= value <= 1
        assert grade is not None or value == -0.75
