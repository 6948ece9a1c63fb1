"""Form, length, cost, steps, sums."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.registry import make
from whyrank.rerank.formats import Format, RankingFormat
from whyrank.train.rewards import (
    NDCG,
    Cost,
    Each,
    LogRank,
    Mix,
    SelfNormLength,
    SolLength,
    WellFormed,
    step_rewards,
    steps_of,
    values_of,
)
from whyrank.types import Document, Query, RankTask, Usage


@dataclass(frozen=True)
class Says(Each):
    """The number that a completion begins with; none for a minus sign alone."""

    def _value(self, completion: Ok, task: RankTask) -> float | None:
        first = completion.text.split()[0]
        return None if first == "-" else float(first)


def words(worth: object, length: int) -> str:
    return " ".join([str(worth), *["w"] * (length - 1)])


def test_well_formed(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task = ask([0, 1])
    good = [said([2, 1]), "hm</think><answer>[1] > [2]</answer>"]
    bad = [said([2]), said([2, 2]), said([2, 1, 3]), "[2] > [1]", said([2, 1])[:-9], said([2, 1], " "), ""]
    assert [WellFormed()(text, task) for text in good + bad] == [1.0] * 2 + [0.0] * 7
    assert WellFormed(format=RankingFormat(think="no"))("[2] > [1]", task) == 1.0


def test_cost(ask: Callable[..., RankTask]) -> None:
    task = ask([1])
    assert Cost(price=0.5)(words(1, 100), task) == pytest.approx(-0.05)
    assert Cost()("<think>a b</think>c d", task) == Cost()(Ok("c d", "a b"), task) == pytest.approx(-0.0004)
    assert Cost(unit="tokens")(Ok("a", usage=Usage(output=500)), task) == pytest.approx(-0.05)
    with pytest.raises(BadInput, match="set unit='words'"):
        Cost(unit="tokens")("a", task)


def test_mix(ask: Callable[..., RankTask], said: Callable[..., str]) -> None:
    task, text = ask([0, 1]), said([2, 1])
    assert Mix(NDCG(), LogRank())(text, task) == 2.0
    assert Mix(NDCG(), Cost(price=100), weights=(0.5, 2.0))(text, task) == pytest.approx(0.5 - 0.2 * 4)
    assert Mix(NDCG(), Cost())(text, ask([0, 0])) == Cost()(text, task)
    assert Mix(NDCG(), LogRank())(text, ask([0, 0])) is None
    assert Mix(NDCG(), SolLength(NDCG())).grouped and not Mix(NDCG()).grouped
    with pytest.raises(BadInput, match="1 weights for 2"):
        Mix(NDCG(), Cost(), weights=(1.0,))
    with pytest.raises(BadInput, match="mix: rewards must be 1 or more"):
        Mix()


def test_sol_length(ask: Callable[..., RankTask]) -> None:
    tasks = [ask([1])] * 4 + [ask([1], query="r")] * 2 + [ask([1], query="s")]
    texts = [words(1, 30), words(1, 20), words(0, 5), words(1, 120), words(0, 10), words(-1, 30), words("-", 3)]
    # best is 1, the shortest of them 20 words; the second group has no success, its mean length is 20
    assert SolLength(Says()).batch(texts, tasks) == pytest.approx([1.99, 2.0, -0.015, 1.9, -0.01, -2.01, None])


def test_self_norm_length(ask: Callable[..., RankTask]) -> None:
    tasks = [ask([1])] * 3 + [ask([1], query="r")] * 2
    texts = [words(1, 10), words(1, 30), words(-1, 500), words(0.5, 10), words(0.5, 10)]
    sigma = 1 / (1 + 2.718281828459045)
    expected = [1 - 0.4 * sigma, 1 - 0.4 * (1 - sigma), -1, 0.4, 0.4]
    assert SelfNormLength(Says(), alpha=0.4).batch(texts, tasks) == pytest.approx(expected)
    with pytest.raises(BadInput, match="alpha"):
        SelfNormLength(Says(), alpha=1.0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 200)), min_size=2, max_size=8))
@settings(deadline=None)
def test_of_equal_answers_the_shortest_right_one_is_paid_best(rows: Sequence[tuple[float, int]]) -> None:
    task = RankTask(Query("q", "?"), (Document("a", "a"),), {"a": 1})
    for reward in (SolLength(Says()), SelfNormLength(Says())):
        paid = reward.batch([words(*row) for row in rows], [task] * len(rows))
        top = max(worth for worth, _ in rows)
        best = [(length, value) for (worth, length), value in zip(rows, paid, strict=True) if worth == top > 0]
        for length, value in best:
            assert value is not None and all(value >= other - 1e-9 for more, other in best if more >= length)


WORDS = st.sampled_from(["a b ", "But ", "So ", "wait ", "Wait", "."])


@given(st.text(alphabet="ab .\n") | st.lists(WORDS).map("".join))
@settings(deadline=None)
def test_steps_are_the_whole_thought(thought: str) -> None:
    steps = steps_of(thought, apart=3)
    assert "".join(steps) == thought
    assert len(steps) == 1 or all(len(step.split()) >= 3 for step in steps)


def test_step_rewards() -> None:
    assert step_rewards([0.2, 0.5, 0.4]) == pytest.approx([0.3, -0.1])
    assert step_rewards([0, 0, 0, 1], gamma=0.5) == [0.25, 0.5, 1.0]
    assert step_rewards([0, 0, 0, 1], gamma=0.5, ahead=1) == [0.0, 0.5, 1.0]
    assert step_rewards([0.5, 0.5], ahead=0) == [0.0]
    assert step_rewards([0.5]) == []


def test_a_plain_function_will_do_and_its_errors_are_not_zeros(ask: Callable[..., RankTask]) -> None:
    def brevity(text: str, task: RankTask) -> float:
        return 1 / len(text)

    assert values_of(brevity, ["ab", Ok("", "x")], [ask([1])] * 2) == [0.5, 1 / 16]
    with pytest.raises(ZeroDivisionError):
        values_of(brevity, [""], [ask([1])])
    with pytest.raises(BadInput, match=r"the reward brevity of task 'q' is nan"):
        values_of(_renamed(brevity), ["a"], [ask([1])])
    with pytest.raises(ValueError, match="could not convert"):
        Says()("word", ask([1]))
    with pytest.raises(BadInput, match="Says of task 'q' is inf"):
        Says()("inf", ask([1]))
    with pytest.raises(BadInput, match="2 completions, but 1 tasks"):
        Says().batch(["1", "2"], [ask([1])])


def _renamed(other: Callable[[str, RankTask], float]) -> Callable[[str, RankTask], float]:
    def brevity(text: str, task: RankTask) -> float:
        return other(text, task) * float("nan")

    return brevity


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ("ranking(think='no')", "[2] > [1]", "Let me weigh them. So [2] > [1]"),
        ("ranking(think='no')", "<think>\n\n</think>\n\n[2] > [1]", "<think>hm</think>[2] > [1]"),
        ("ranking(think='no')", "2, 1", "<thinking>hm</thinking>[2] > [1]"),
        ("choice(think='no')", "[2]", "Passage [2] helps most."),
        ("group_scores(think='no')", '{"1": 0, "2": 9}', 'Scores: {"1": 0, "2": 9}'),
        ("best_worst(think='no')", "best: [2], worst: [1]", "best: [2], worst: [1], since it says so"),
        ("pair()", "B", "<think>B</think>B"),
        ("yes_no(think='no')", "yes", "<reasoning>hm</reasoning>yes"),
        ("rubric(think='no')", "85", "<think>85</think>85"),
    ],
)
def test_nothing_else_means_nothing_else(ask: Callable[..., RankTask], spec: str, good: str, bad: str) -> None:
    reward = WellFormed(format=make(spec, Format))
    task = ask([1]) if spec.startswith(("yes", "rubric")) else ask([0, 1])
    assert (reward(good, task), reward(bad, task)) == (1.0, 0.0)
    assert reward(Ok(good.split("</think>")[-1].strip(), "a thought"), task) == 0.0
