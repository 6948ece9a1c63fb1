"""One completion in all the forms in which trainers hand it over; the calls of TRL and verl."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.io.tasks import task_record
from whyrank.llm.answer import Ok
from whyrank.registry import make
from whyrank.train.rewards import (
    ForTRL,
    ForVerl,
    Mix,
    NewDocuments,
    RetroStar,
    Reward,
    completion_of,
    formats_of,
    text_of,
)
from whyrank.types import Document, Query, RankTask

EACH = [
    make(spec, Reward)
    for spec in (
        "multiview(p=0.9)", "multiview(p=1.0, compat='reasonrank')", "ndcg()",
        "ndcg(format=ranking(think='no'))", "ndcg_gain()",
        "improvement()",
        "rearank()", "tfrank(shortest=2)", "log_rank()", "rank_ladder()", "prefix_ladder()", "rank_r1()",
        "rank_r1_list()", "grouprank()", "well_formed()", "cost()", "mix(ndcg(), cost(), weights=(1.0, 0.1))",
    )
]  # fmt: skip
GROUPED = [
    make(spec, Reward)
    for spec in ("retro_star()", "erank()", "sol_length(ndcg())", "mix(self_norm_length(ndcg()), cost())")
]
PIECES = [
    "<answer>", "</answer>", "<score>", "</score>", "[1]", "[2]", "[3]", "[0]", "[4]", " > ", "70", "5", " ",
    '{"1": 5, "2": 0, "3": 9}', "so", "[2] > [3] > [1]", "<answer>[2] > [3] > [1]</answer>", "<score>7</score>",
]  # fmt: skip
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
THOUGHTS = st.text(alphabet="ab \n", min_size=1, max_size=12)
TASK = RankTask(
    Query("q", "why?"), tuple(Document(id, id) for id in "abc"), {"b": 2, "c": 1}, ("b", "c", "a"), source={"by": "me"}
)
LINE = json.dumps(task_record(TASK))


def forms(thought: str, answer: str) -> list[Any]:
    """As text with both tags, with the closing one only, and as messages with either."""
    whole = f"<think>{thought}</think>{answer}"
    return [
        whole,
        f"{thought}</think>{answer}",
        Ok(answer, thought),
        [{"role": "assistant", "content": whole}],
        [{"role": "assistant", "content": answer, "reasoning_content": thought}],
        [{"role": "tool", "content": "x"}, {"role": "assistant", "content": [{"type": "text", "text": whole}]}],
    ]


@given(thought=THOUGHTS, answer=ANSWERS)
@settings(deadline=None)
def test_the_form_of_a_completion_does_not_matter(thought: str, answer: str) -> None:
    for reward in EACH:
        if "compat" not in repr(reward):
            assert len({reward(form, TASK) for form in forms(thought, answer)}) == 1, reward


@given(texts=st.lists(st.builds("<think>{}</think>{}".format, THOUGHTS, ANSWERS) | ANSWERS, min_size=1, max_size=4))
@settings(deadline=None)
def test_trl_and_verl_earn_alike(texts: list[str]) -> None:
    n, messages = len(texts), [[{"role": "assistant", "content": text}] for text in texts]
    columns: dict[str, Any] = {"task": [LINE] * n, "other": [1] * n, "trainer_state": None}
    for reward in EACH:
        plain = [reward(text, TASK) for text in texts]
        assert ForTRL(reward)(prompts=[""] * n, completions=texts, **columns) == plain, reward
        assert ForTRL(reward)(prompts=[""] * n, completions=messages, **columns) == plain, reward
        assert [ForVerl(reward)("world", text, LINE, {"index": 0}) for text in texts] == plain, reward
        assert ForVerl(reward).batch(["world"] * n, texts, [LINE] * n, None) == plain, reward


@pytest.mark.parametrize("reward", GROUPED, ids=repr)
@given(answers=st.lists(ANSWERS, min_size=2, max_size=6))
@settings(deadline=None)
def test_rewards_of_groups_too(reward: Reward, answers: list[str]) -> None:
    texts = [f"<think>a</think>{answer}" for answer in answers]
    tasks = [TASK] * len(texts)
    if "length" not in repr(reward):
        tasks = [RankTask(Query("q", "?"), (Document(id, id),), {id: 1} if id == "p" else {}) for id in "pn"] * 3
        tasks = tasks[: len(texts)]
    lines = [json.dumps(task_record(task)) for task in tasks]
    plain = reward.batch(texts, tasks)
    assert ForTRL(reward)(prompts=texts, completions=texts, task=lines) == plain
    assert ForVerl(reward).batch(["w"] * len(texts), texts, lines) == plain
    with pytest.raises(BadInput, match=r"use ForVerl\(…\).batch"):
        ForVerl(reward)("w", texts[0], lines[0])


def test_what_does_not_apply_is_none_in_trl_and_zero_in_verl(said: Callable[..., str]) -> None:
    line = json.dumps(task_record(RankTask(TASK.query, TASK.documents)))
    reward = make("ndcg()", Reward)
    assert ForTRL(reward)([""], [said([1, 2, 3])], task=[line]) == [None]
    assert ForVerl(reward)("w", said([1, 2, 3]), line) == 0.0


def brevity(text: str, task: RankTask) -> float:
    return 1 / len(text)


def test_a_function_of_ones_own_and_its_exception() -> None:
    assert ForTRL(brevity).__name__ == "brevity"
    assert ForTRL(brevity)([""], ["ab"], task=[TASK]) == [ForVerl(brevity)("w", "ab", LINE)] == [0.5]
    with pytest.raises(ZeroDivisionError):
        ForTRL(brevity)([""], [""], task=[LINE])
    with pytest.raises(ZeroDivisionError):
        ForVerl(brevity)("w", "", LINE)


@pytest.mark.parametrize("reward", [*EACH, *GROUPED, brevity])
def test_picklable(reward: Any) -> None:
    for adapter in (ForTRL(reward), ForVerl(reward)):
        again = pickle.loads(pickle.dumps(adapter))
        assert again == adapter


def test_tokens_are_counted_by_the_trainer() -> None:
    cost = make("cost(price=1000.0, unit='tokens')", Reward)
    assert ForTRL(cost)([""], ["ab c"], completion_ids=[[5, 6, 7]], task=[LINE]) == [-3.0]
    assert ForVerl(cost, count=len)("w", "ab c", LINE) == -4.0
    with pytest.raises(BadInput, match="set unit='words'"):
        ForVerl(cost)("w", "ab c", LINE)


def test_what_the_trainer_cut_off_is_malformed() -> None:
    reward = make("ndcg(format=ranking(think='no'))", Reward)
    text, ids = "[2] > [3] or rather [1]", [[0] * 8]
    assert ForTRL(reward, limit=8)([""], [text], completion_ids=ids, task=[TASK]) == [-1.0]
    assert ForTRL(reward, limit=9)([""], [text], completion_ids=ids, task=[TASK]) != [-1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f([""], ["a"], answers=["x"]), "no column 'task' with the tasks, only answers"),
        (lambda f: f([""], ["a"], task=["{"]), "a task is a line of JSON"),
        (lambda f: f([""], ["a"], task=['{"query": {"id": "q", "text": ""}}']), "the key 'documents' is missing"),
        (lambda f: f([""], ["a"], task=[{"query": 3}]), "not a task"),
        (lambda f: f([""], [[{"role": "tool", "content": ""}]], task=[LINE]), "one of the assistant"),
        (lambda f: f([""], [[{"role": "assistant", "content": 3}]], task=[LINE]), "the content of a message"),
        (lambda f: f([""] * 3, ["a"] * 3, task=[LINE] * 3), "3 completions of query 'q' are here, not 2"),
    ],
)
def test_wrong_data_stop_the_training(call: Callable[[ForTRL], object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call(ForTRL(brevity, generations=2 if "3 comp" in message else None))


def test_completions_as_text() -> None:
    assert completion_of([{"role": "assistant", "content": None, "reasoning_content": "x"}]) == Ok("", "x")
    assert text_of(Ok("a", "b")) == "<think>b</think>a" and text_of("a") == "a"


@pytest.mark.parametrize(
    ("spec", "works"),
    [
        (
            "rank_r1(format=ranking())",
            "rank_r1: format must be one that chooses a passage, such as choice(), not",
        ),
        ("grouprank(format=ranking())", "such as group_scores()"),
        ("multiview(format=choice(think='no'))", "such as ranking()"),
        ("ndcg(format=rubric())", "such as ranking()"),
        ("prefix_ladder(format=pair())", "such as ranking()"),
        ("retro_star(format=ranking(think='no'))", "grades one passage, such as rubric()"),
    ],
)
def test_a_format_of_another_kind_is_refused(spec: str, works: str) -> None:
    with pytest.raises(BadInput, match=works.replace("(", r"\(").replace(")", r"\)")):
        make(spec)


def test_the_formats_of_a_reward() -> None:
    def one(text: str, task: RankTask) -> float:
        return 1.0

    mixed = make("mix(sol_length(ndcg(format=ranking(think='no'))), cost(), well_formed(), mix(rank_r1()))", Mix)
    assert list(map(repr, formats_of(mixed))) == ["ranking(think='no')", "ranking()", "choice()"]
    assert list(map(repr, formats_of(make("retro_star()", RetroStar)))) == ["rubric()"]
    assert not [*formats_of(make("new_documents(bm25())", NewDocuments)), *formats_of(one)]
