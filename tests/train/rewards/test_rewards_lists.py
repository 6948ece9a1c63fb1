"""Rewards for orders and choices: published vectors and formulas by hand."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval.orders import ndcg
from whyrank.registry import make
from whyrank.rerank.formats import RankingFormat
from whyrank.train.rewards import (
    NDCG,
    REARANK,
    Improvement,
    LogRank,
    MultiView,
    NDCGGain,
    PrefixLadder,
    RankLadder,
    RankR1,
    RankR1List,
    Reward,
    TFRank,
)
from whyrank.types import Document, Query, RankTask

GOLD, IDENTITY, REVERSE = [3, 1, 2, 5, 4], [1, 2, 3, 4, 5], [4, 5, 2, 1, 3]
LOG3 = 1 / math.log2(3)


@pytest.fixture
def task(ask: Callable[..., RankTask]) -> RankTask:
    return ask([1, 0, 1, 0, 0], "cabed")


VECTORS = {
    "gold": ("<think>t</think> <answer>[3] > [1] > [2] > [5] > [4]</answer>", 1.3),
    "identity": ("<think>t</think><answer>[1] > [2] > [3] > [4] > [5]</answer>", 1.184721),
    "reverse": ("<think>t</think><answer>[4] > [5] > [2] > [1] > [3]</answer>", 0.742933),
    "missing": ("<think>t</think><answer>[3] > [1] > [2] > [5]</answer>", 0.0),
    "twice": ("<think>t</think><answer>[3] > [1] > [2] > [5] > [5]</answer>", 0.0),
    "no tags": ("[3] > [1] > [2] > [5] > [4]", -1.0),
    "no thought": ("<answer>[3] > [1] > [2] > [5] > [4]</answer>", -1.0),
    "prose": ("Well. <think>t</think><answer>[3] > [1] > [2] > [5] > [4]</answer>", 1.3),
    "upper case": ("<THINK>t</THINK><ANSWER>[3] > [1] > [2] > [5] > [4]</ANSWER>", -1.0),
    "zero": ("<think>t</think><answer>[3] > [1] > [2] > [5] > [0]</answer>", 1.296),
    "out of range": ("<think>t</think><answer>[9] > [3] > [1] > [2] > [5]</answer>", 1.254),
}


@pytest.mark.parametrize("name", VECTORS)
def test_compat_has_the_vectors_of_the_published_code(task: RankTask, name: str) -> None:
    text, worth = VECTORS[name]
    assert MultiView(p=1.0, compat="reasonrank")(text, task) == pytest.approx(worth, abs=5e-4)


@pytest.mark.parametrize("name", VECTORS)
def test_the_default_has_neither_leak_and_reads_as_inference_does(task: RankTask, name: str) -> None:
    text, worth = VECTORS[name]
    changed = {"zero": 0.0, "out of range": 0.0, "upper case": 1.3}
    assert MultiView(p=1.0)(text, task) == pytest.approx(changed.get(name, worth), abs=1e-6)


def test_multiview_weighs_its_views(task: RankTask, said: Callable[..., str]) -> None:
    text = said(IDENTITY)
    ndcg = 1.5 / (1 + LOG3)
    overlap = 0.1 * (0.5 * 0.9 + 0.81 + 0.75 * 0.729 + 0.6561) + 0.9**5
    assert MultiView(p=0.9)(text, task) == pytest.approx(ndcg + 0.2 + 0.1 * overlap)
    assert MultiView(p=0.9, recall=0.0, rbo=1.0)(text, task) == pytest.approx(ndcg + overlap)
    assert MultiView(rbo=0.0, recall=0.0)(text, task) == NDCG()(text, task)
    with pytest.raises(BadInput, match=r"'q' carries no order, .* or set rbo=0\.0"):
        MultiView()(text, RankTask(task.query, task.documents, task.grades))
    with pytest.raises(BadInput, match=r"set p=1\.0"):
        make("multiview(p=0.9, compat='reasonrank')")


def test_binary_or_graded(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([1, 2, 0], "bac")
    assert MultiView(rbo=0.0)(said([1, 2, 3]), task) == pytest.approx(1.2)
    graded = (1 + 2 * LOG3) / (2 + LOG3)
    assert MultiView(rbo=0.0, binary=False)(said([1, 2, 3]), task) == pytest.approx(graded + 0.2)


def test_a_wrong_list_may_earn_a_share_of_its_repair(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task, reward = ask([0, 1, 0]), make("ndcg(repaired=0.5)")
    assert reward(said([2, 1, 3]), task) == 1.0
    assert reward(said([2, 1]), task) == 0.5  # [3] is put behind
    assert reward(said([1, 1]), task) == pytest.approx(0.5 * LOG3)
    assert reward("[2] > [1] > [3]", task) == -1.0
    assert reward(said([2]), ask([0, 0, 0])) is None
    with pytest.raises(BadInput, match=r"repaired must be at least 0 and below 1, not 1\.0"):
        NDCG(repaired=1.0)


def test_gain_is_over_the_list_as_shown(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([0, 1, 0])
    assert NDCGGain()(said([2, 1, 3]), task) == pytest.approx(1 - LOG3)
    assert NDCGGain()(said([1, 2, 3]), task) == 0.0
    assert NDCGGain()(said([1, 3, 2]), task) == pytest.approx(0.5 - LOG3)
    assert NDCGGain()(said([1, 3]), task) == -1.0


@settings(deadline=None)
@given(gains=st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0]), min_size=2, max_size=12).filter(any), data=st.data())
def test_improvement_pays_a_policy_that_copies_nothing(
    ask: Callable[..., RankTask], said: Callable[..., str], gains: list[float], data: st.DataObject
) -> None:
    task, places = ask(gains), range(len(gains))
    ideal = sorted(places, key=lambda at: -gains[at])
    if ndcg(gains, 10) > 1 - 1e-9:
        assert Improvement()(said([at + 1 for at in places]), task) is None
        return
    assert Improvement()(said([at + 1 for at in places]), task) == 0.0  # the order as shown
    assert Improvement()(said([at + 1 for at in ideal]), task) == pytest.approx(1.0)
    order = data.draw(st.permutations(places))
    gain = ndcg([gains[at] for at in order], 10) - ndcg(gains, 10)
    wanted = max(0.0, gain) / (1 - ndcg(gains, 10))
    assert Improvement()(said([at + 1 for at in order]), task) == pytest.approx(wanted)


def test_rearank(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([0, 1, 0])
    reward = REARANK()
    assert reward(said([2, 1, 3]), task) == pytest.approx(1.0)
    assert reward(said([1, 2, 3]), task) == pytest.approx(0.2)
    assert reward(said([1, 3, 2]), task) == pytest.approx(0.8 * (0.5 - LOG3) / (1 - LOG3) + 0.2)
    assert reward(said([2, 1]), task) == pytest.approx(-0.8 + 0.1)
    assert reward("[2] > [1] > [3]", task) == pytest.approx(-0.8)
    ideal = ask([1, 0, 0])
    assert reward(said([1, 3, 2]), ideal) == pytest.approx(1.0)
    assert reward(said([2, 1, 3]), ideal) == pytest.approx(-0.6)
    with pytest.raises(BadInput, match="at most 0"):
        REARANK(floor=0.5)(said([2, 1, 3]), task)


def test_tfrank(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task, proper = ask([0, 1, 0]), "x" * 256
    assert TFRank()(said([2, 1, 3], proper), task) == pytest.approx(1.5)
    assert TFRank()(said([2, 1, 3]), task) == pytest.approx(1.0)
    assert TFRank()(said([2, 1, 3], "x" * 4097), task) == pytest.approx(1.0)
    assert TFRank()(said([1, 2, 3], proper), task) == pytest.approx(0.5)
    assert TFRank()(said([1, 3], proper), task) == pytest.approx(-2.0)


def test_ranks_of_the_first_relevant(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([1] + [0] * 24)

    def at(rank: int) -> str:
        rest = list(range(2, 26))
        return said([*rest[: rank - 1], 1, *rest[rank - 1 :]])

    assert [RankLadder()(at(rank), task) for rank in (1, 2, 5, 6, 10, 11, 20, 21)] == [
        1.0, 0.5, 0.5, 0.0, 0.0, -0.5, -0.5, -1.0,
    ]  # fmt: skip
    assert LogRank()(at(3), task) == pytest.approx(0.5)
    assert LogRank()(at(3), task) == pytest.approx(NDCG()(at(3), task))


def test_prefix_ladder(said: Callable[..., str]) -> None:
    ids = ["sea/fish/cod/7", "sea/fish/cod/8", "sea/fish/eel/1", "sea/kelp/a/1", "land/ox/a/1", "sea/fish/cod/7/x"]
    task = RankTask(Query("q", "?"), tuple(Document(id, id) for id in ids), {ids[0]: 1})
    worth = [PrefixLadder()(said([at, *(n for n in range(1, 7) if n != at)]), task) for at in range(1, 7)]
    assert worth == [1.0, 0.866, 0.707, 0.5, 0.0, 0.95]
    with pytest.raises(BadInput, match="must rise"):
        PrefixLadder(steps=(0.5, 1.0))


def test_rank_r1(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([0, 2, 1])
    worth = {"[2]": 1.0, "[3]": 0.0, "[1]": 0.0, "[2] [3]": 0.0, "[9]": 0.0, "": 0.0}
    assert {answer: RankR1()(said(answer), task) for answer in worth} == worth
    assert RankR1()("[2]", task) == 0.0
    assert RankR1List()(said([2, 1, 3]), task) == 1.0
    assert RankR1List()(said([3, 2, 1]), task) == 0.0


@pytest.mark.parametrize("reward", [NDCG(), MultiView(rbo=0.0), NDCGGain(), REARANK(), TFRank(), LogRank(), RankR1()])
def test_nothing_relevant_is_no_zero(reward: Reward, ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    assert reward(said([1, 2]), ask([0, 0])) is None


def test_the_format_of_the_prompt_decides(ask: Callable[..., RankTask]) -> None:
    task, bare = ask([0, 1]), "[2] > [1]"
    assert NDCG()(bare, task) == -1.0
    assert NDCG(format=RankingFormat(think="no"))(bare, task) == 1.0
    assert NDCG(format=RankingFormat(think="native"))(bare, task) == -1.0
    assert NDCG(format=RankingFormat(think="native"))(f"<answer>{bare}</answer>", task) == 1.0
    assert make("ndcg(k=5, format=ranking(think='no'))") == NDCG(k=5, format=RankingFormat(think="no"))
