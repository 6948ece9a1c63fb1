"""Rewards for grades: of a group side by side, and of one passage among the completions of its query."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import pytest

from whyrank.errors import BadInput
from whyrank.eval.orders import jensen_shannon, ndcg
from whyrank.rerank.formats import GroupScoresFormat, Rubric
from whyrank.train.rewards import ERank, GroupRank, RetroStar
from whyrank.train.rewards.grades import inter, intra
from whyrank.types import Document, Query, RankTask


def scores(*given: float, thought: str = "hm") -> str:
    answer = json.dumps({str(at): score for at, score in enumerate(given, 1)})
    return f"<think>{thought}</think><answer>{answer}</answer>"


def grade(given: object) -> str:
    return f"<think>hm</think><score>{given}</score>"


def one(id: str, gain: float, query: str = "q") -> RankTask:
    return RankTask(Query(query, "why?"), (Document(id, id),), {id: gain} if gain else {})


def test_grouprank(ask: Callable[..., RankTask]) -> None:
    task = ask([0, 2, 1])
    reward = GroupRank()
    assert reward(GroupScoresFormat().write([0, 1, 0.5], "hm"), task) == pytest.approx(1.3)
    assert reward(scores(0, 10, 5), task) == pytest.approx(1.3)
    flat = 1.2 + 0.1 * (1 - jensen_shannon([9, 10, 9.5], [0, 2, 1]))
    assert reward(scores(9, 10, 9.5), task) == pytest.approx(flat)
    assert reward(scores(0, 10), task) == reward(scores(0, 10, 11), task) == -0.1
    assert reward("<think>hm</think><answer>no map</answer>", task) == -0.1
    assert reward('{"1": 0, "2": 10, "3": 5}', task) == -0.5
    assert reward(scores(0, 10, 5)[:-12], task) == -0.5
    assert reward(scores(1, 2, 3), ask([0, 0, 0])) is None


@pytest.mark.parametrize("score", [0, 4, 10])
def test_scoring_all_alike_earns_what_chance_does(ask: Callable[..., RankTask], score: int) -> None:
    gains = [2, 1, 0, 0]
    chance = np.mean([ndcg(order, 2) + 0.2 * sum(gain > 0 for gain in order[:2]) / 2 for order in permutations(gains)])
    alike = GroupRank(k=2, spread=0.0)(scores(*[score] * 4), ask(gains))
    assert alike == pytest.approx(chance)


def test_intra() -> None:
    def of(*given: float) -> Sequence[float]:
        values: Sequence[float] = intra(np.array(given), 20).tolist()
        return values

    assert of(80, 70, 20) == [0, 1, -1]  # mean 56.7
    assert of(60, 50, 55) == [0, 0, 0]  # the furthest is 5 away
    assert of(100, 0) == [0, 0]  # equally far
    assert of(50, 50, 100, 0) == [1, 1, -1, -1]
    assert of(math.nan, 80, 70, 20) == [0, 0, 1, -1]
    assert of(math.nan) == [0]


def test_inter() -> None:
    positive = np.array([True, True, False, False])
    assert inter(np.array([80.0, 30.0, 40.0, 10.0]), positive).tolist() == [1, 0.5, 0.5, 1]
    assert inter(np.array([50.0, 50.0, 50.0, 50.0]), positive).tolist() == [0, 0, 0, 0]
    assert inter(np.array([80.0, math.nan, 40.0, math.nan]), positive).tolist() == [1, 0, 1, 0]


def test_retro_star_sees_the_group() -> None:
    tasks = [one("p", 1)] * 3 + [one("n", 0)] * 3
    texts = [grade(90), grade(80), grade(10), grade(20), grade(30), "no grade"]
    # relevant: mean 60, gaps 30 20 50; above 20 and 30: 1, 1, 0. other: mean 25, below 90, 80, 10: 2/3
    expected = [0.25, 1.0, -0.75, 0.25 * 2 / 3, 0.25 * 2 / 3, -0.75]
    assert RetroStar().batch(texts, tasks) == pytest.approx(expected)
    shuffled = [3, 0, 5, 1, 4, 2]
    again = RetroStar().batch([texts[at] for at in shuffled], [tasks[at] for at in shuffled])
    assert again == pytest.approx([expected[at] for at in shuffled])
    assert RetroStar(alpha=0.0).batch(texts, tasks)[5] == 0.0
    with pytest.raises(BadInput, match="compares the completions of a group"):
        RetroStar()(texts[0], tasks[0])


def test_queries_do_not_mix() -> None:
    tasks = [one("p", 1), one("n", 0), one("p", 1, "other"), one("n", 0, "other")]
    assert RetroStar(alpha=0.0).batch([grade(5), grade(1), grade(50), grade(60)], tasks) == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("reward", [RetroStar(), ERank()])
def test_what_cannot_be_compared_is_an_error(reward: RetroStar | ERank, ask: Callable[..., RankTask]) -> None:
    with pytest.raises(BadInput, match="query 'q' has only relevant passages in this batch"):
        reward.batch([grade(5)], [one("p", 1)])
    with pytest.raises(BadInput, match="shows 2 passages"):
        reward.batch([grade(5)], [ask([1, 0])])


def test_erank() -> None:
    tasks = [one("p", 1), one("p", 1), one("n", 0), one("n", 0), one("m", 0)]
    texts = [grade(9), grade(4), grade(6), grade(2), grade(4)]
    # ranks: 9 is 1, 6 is 2, both 4 share 3 and 4
    assert ERank().batch(texts, tasks) == pytest.approx([1, 1 / 4, -1, -0.04, -0.16])
    assert ERank(ties="min").batch(texts, tasks)[1] == pytest.approx(1 / 3)
    assert ERank().batch([*texts[:4], "none"], tasks)[4] == -2.0
    alike = ERank().batch([grade(10)] * 5, tasks)
    assert max(alike) == pytest.approx(1 / 5)
    with pytest.raises(BadInput, match="missing <= penalty <= 0"):
        ERank(penalty=0.5)


def test_a_grade_needs_the_thought_that_was_asked_for() -> None:
    tasks = [one("p", 1), one("n", 0)]
    bare = ["<score>90</score>", "<score>10</score>"]
    assert RetroStar().batch(bare, tasks) == [-0.75, -0.75]
    assert RetroStar(format=Rubric(think="native")).batch(bare, tasks) == [0.25, 0.25]
