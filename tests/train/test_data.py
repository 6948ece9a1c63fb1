from dataclasses import replace

import numpy as np
import pytest
import toy_task

from whyrank.errors import BadInput
from whyrank.io import write_tasks
from whyrank.llm.answer import Ok
from whyrank.llm.chat import Chat
from whyrank.rerank.formats import BestWorst, GroupScoresFormat, RankingFormat, Rubric
from whyrank.train.config import LessonSource, Stage
from whyrank.train.data import Lesson, Material, plan, utilities, written
from whyrank.types import Document, Query, RankTask


@pytest.fixture(scope="module")
def chat(words):
    from transformers import AutoTokenizer

    return Chat(AutoTokenizer.from_pretrained(words), {})


def material(*lengths: int) -> tuple[Material, list[LessonSource]]:
    """Sources of so many lessons, of random lengths."""
    lot = np.random.default_rng(0)
    made, sources = Material(), []
    for at, count in enumerate(lengths):
        begin = len(made.lessons)
        made.lessons += [Lesson(np.zeros(lot.integers(5, 100), np.int32), 2) for _ in range(count)]
        sources.append(LessonSource(f"{at}.jsonl"))
        made.sources[sources[-1]] = range(begin, len(made.lessons))
    return made, sources


def test_a_lesson_is_the_prompt_of_inference_and_the_right_answer(tmp_path, chat):
    write_tasks(toy_task.tasks(1, 0), tmp_path / "one.jsonl")
    source = LessonSource(str(tmp_path / "one.jsonl"), toy_task.FORMAT)
    (lesson,) = Material.read([source], chat, 100).lessons
    (task,) = toy_task.tasks(1, 0)
    at = task.gains.index(2.0) + 1
    told = chat.decode(lesson.ids[lesson.asked :])
    assert told.startswith(f"<think>{task.thought}</think><answer>[{at}] > ") and told.endswith("</answer><end>")
    assert chat.decode(lesson.ids[: lesson.asked]).startswith(f"<user>{task.query.text}[1]")


def test_what_is_left_out_is_counted(tmp_path, chat):
    tasks = toy_task.tasks(4, 0)
    tasks[0] = replace(tasks[0], grades={})
    tasks[1] = replace(tasks[1], thought="a thought " * 40)
    write_tasks(tasks, tmp_path / "some.jsonl")
    source = LessonSource(str(tmp_path / "some.jsonl"), toy_task.FORMAT)
    read = Material.read([source, replace(source, weight=2.0)], chat, 100)
    assert list(read.counts.values()) == [{"used": 2, "too_long": 1, "nothing_relevant": 1}]
    kept = Material.read([replace(source, keep_irrelevant=True)], chat, 100)
    assert next(iter(kept.counts.values()))["used"] == 3
    twice = Material.read([source, replace(source, limit=3)], chat, 100)
    assert list(twice.counts.values()) == [{"used": 3, "too_long": 2, "nothing_relevant": 2}]
    with pytest.raises(BadInput, match=r"nothing in it can be learnt from: .*too_long"):
        Material.read([source], chat, 5)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ('{"prompt": "a"}', "the key 'completion' is missing; RankTasks need a 'format'"),
        ('{"prompt": 3, "completion": "b"}', "a text, or a list"),
        ('{"prompt": "a", "completion": []}', "one turn of the assistant, not 0"),
    ],
)
def test_lines_that_are_no_examples(tmp_path, chat, line, told):
    (tmp_path / "told.jsonl").write_text(f"{line}\n")
    with pytest.raises(BadInput, match=rf"told.jsonl:1: .*{told}"):
        Material.read([LessonSource(str(tmp_path / "told.jsonl"))], chat, 100)


def test_a_thought_goes_where_the_template_wants_it():
    assert written(Ok("[1]", "why")) == "<think>why</think>\n[1]"
    assert written(Ok("[1]", "why"), opened=True) == "why</think>\n[1]"
    assert written(Ok("[1]"), opened=True) == "</think>\n[1]"
    assert written(Ok("<think>why</think>[1]"), opened=True) == "why</think>[1]"


def test_orders_follow_the_teacher_and_grades_the_labels():
    task = RankTask(Query("q", "?"), (Document("a", "A"), Document("b", "B"), Document("c", "C")), {"a": 2, "b": 1})
    assert utilities(task, RankingFormat(think="no"), 2) == [1.0, 0.5, 0.0]
    taught = replace(task, order=("c", "b", "a"))
    assert utilities(taught, RankingFormat(think="no"), 2) == [0.0, 0.5, 1.0]
    assert utilities(taught, BestWorst(), 2) == [0.0, 0.5, 1.0]
    assert utilities(taught, GroupScoresFormat(), 4) == utilities(taught, Rubric(), 4) == [0.5, 0.25, 0.0]


def test_grades_on_a_scale_are_told_on_that_scale(tmp_path, chat):
    tasks = [
        RankTask(Query("q", "rust"), (Document(f"{grade}", "oil"),), {f"{grade}": grade}, (), "so", {"scale": 100.0})
        for grade in (35, 60)
    ]
    write_tasks(tasks, tmp_path / "graded.jsonl")
    read = Material.read([LessonSource(str(tmp_path / "graded.jsonl"), "rubric()")], chat, 10_000)
    assert [Rubric().parse(Ok(chat.decode(one.ids[one.asked :])), 1).score for one in read.lessons] == [35, 60]
    assert utilities(replace(tasks[0], source={}), Rubric(), 60) == [35 / 60]
    with pytest.raises(BadInput, match=r"task 'q': the 'scale' of its source is the highest grade, not 'wide'"):
        utilities(replace(tasks[0], source={"scale": "wide"}), Rubric(), 60)


def test_epochs_see_each_lesson_as_often():
    made, sources = material(30, 10)
    order = plan(made, [Stage(tuple(sources), epochs=2)], batch=8, seed=0)
    assert sorted(order) == sorted([*range(40)] * 2)


def test_weights_and_stages_are_kept_to():
    made, (one, two) = material(30, 10)
    first = Stage((replace(one, weight=3.0), replace(two, weight=1.0)), steps=100)
    order = np.array(plan(made, [first, Stage((two,), steps=5)], batch=8, seed=0))
    assert len(order) == 105 * 8 and (order[800:] >= 30).all()
    assert 0.7 < (order[:800] < 30).mean() < 0.8
    counts = np.bincount(order[:800][order[:800] < 30])
    assert counts.max() - counts.min() <= 1


def test_the_order_is_that_of_the_seed_and_wastes_little_on_padding():
    made, (one,) = material(512)
    stages = [Stage((one,), steps=64)]
    order = plan(made, stages, batch=8, seed=1)
    assert order == plan(made, stages, batch=8, seed=1) != plan(made, stages, batch=8, seed=2)
    lengths = made.lengths[order].reshape(-1, 8)
    assert lengths.sum() / (8 * lengths.max(1)).sum() > 0.9
    mixed = made.lengths[plan(made, stages, batch=8, seed=1, window=1)].reshape(-1, 8)
    assert mixed.std(1).mean() > 5 * lengths.std(1).mean()  # all lengths in each step
    assert (
        np.diff(mixed, axis=1) >= 0
    ).all()  # shortest first, so that the forward passes of a step are of like length
