import json
import random
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import toy_task

from whyrank.errors import BadInput
from whyrank.io import write_tasks
from whyrank.io.tasks import task_record
from whyrank.llm.answer import Ok
from whyrank.llm.chat import Chat
from whyrank.rerank.formats import RankingFormat
from whyrank.train.completions import CompletionFigures, _correlation
from whyrank.train.config import GRPO, Loop, Model, Rewarded
from whyrank.train.draws import DrawnPrompts, RankingPrompts, RewritingPrompts, asks_of, search_tasks
from whyrank.train.grpo import Groups, Paid, _read, _rewards
from whyrank.train.rewards import NDCG, Cost
from whyrank.types import Corpus, Dataset, Document, Qrels, Query

BOTH = ("ranking()", "ranking(think='no')")


@pytest.fixture(scope="module")
def chat(words):
    from transformers import AutoTokenizer

    return Chat(AutoTokenizer.from_pretrained(words), {})


def asked(path, **more) -> GRPO:
    given = {"format": toy_task.FORMAT, "max_completion": 24, "loop": Loop(batch=16), **more}
    return GRPO("out", Model("model"), (str(path),), (Rewarded("ndcg()"),), 1, **given)


def draws(path, tasks, chat, positions=128, **more) -> DrawnPrompts:
    write_tasks(tasks, path)
    config = asked(path, **more)
    return DrawnPrompts(config, asks_of(config, chat), chat, positions)


def test_each_draw_shows_another_order_and_the_prompt_shows_it(tmp_path, chat):
    made = draws(tmp_path / "tasks.jsonl", toy_task.tasks(5, 0), chat)
    orders: dict[str, set] = {}
    for number in range(200):
        row = made.row(number)
        texts = [piece.text for piece in row.prompt.messages[0].pieces if piece.cut == "document"]
        assert texts == [document.text for document in row.task.documents]
        orders.setdefault(row.task.query.id, set()).add(tuple(texts))
    assert len(orders) == 5 and all(len(some) == 6 for some in orders.values())
    epochs = {tuple(made.row(epoch * 5 + at).task.query.id for at in range(5)) for epoch in range(10)}
    assert len(epochs) > 5 and all(len(set(epoch)) == 5 for epoch in epochs)  # all tasks each time, in other orders
    assert made.row(7) == draws(tmp_path / "tasks.jsonl", toy_task.tasks(5, 0), chat).row(7)


def test_without_shuffling_lists_stay_as_they_are(tmp_path, chat):
    tasks = toy_task.tasks(3, 0)
    made = draws(tmp_path / "tasks.jsonl", tasks, chat, shuffle=False)
    assert {made.row(at).task.documents for at in range(9)} == {task.documents for task in tasks}


def test_what_is_left_out_is_counted(tmp_path, chat):
    tasks = toy_task.tasks(5, 0)
    tasks[0] = replace(tasks[0], grades={})
    tasks[1] = replace(tasks[1], grades={one.id: 1.0 for one in tasks[1].documents})
    tasks[2] = replace(tasks[2], query=Query("long", "rust " * 60))
    path = tmp_path / "tasks.jsonl"
    assert draws(path, tasks, chat).counts == {
        str(path): {"nothing_relevant": 1, "all_alike": 1, "too_long": 1, "used": 2}
    }
    with pytest.raises(BadInput, match=r"nothing can be learnt from .*nothing_relevant"):
        draws(path, tasks[:1], chat)
    with pytest.raises(BadInput, match=r"leaves no room"):
        draws(path, tasks, chat, positions=24)


def test_formats_of_one_document_see_a_relevant_one_and_another(tmp_path, chat):
    made = draws(tmp_path / "tasks.jsonl", toy_task.tasks(4, 0), chat, positions=None, format="rubric()")
    for draw in range(8):
        one, other = made.row(2 * draw).task, made.row(2 * draw + 1).task
        assert one.query == other.query and (one.relevant, other.relevant) == (1, 0)
        assert len(one.documents) == len(other.documents) == 1


def test_formats_of_one_document_need_an_irrelevant_one_and_room_for_each(tmp_path, chat):
    tasks = toy_task.tasks(12, 0)
    tasks[0] = replace(tasks[0], grades={one.id: 1.0 + at for at, one in enumerate(tasks[0].documents)})
    for at in range(1, 7):  # a draw of two of three shows it more often than not
        last = Document(tasks[at].documents[-1].id, "oil " * 100)
        tasks[at] = replace(tasks[at], documents=(*tasks[at].documents[:-1], last))
    path = tmp_path / "tasks.jsonl"
    longest = max(len(chat.encode(chat.render(one.chat))) for one in prompts_of(tasks[7:], path, chat))
    made = draws(path, tasks, chat, positions=None, format="rubric()", max_prompt=longest)
    assert made.counts == {str(path): {"all_relevant": 1, "too_long": 6, "used": 5}}
    for number in range(20):
        row = made.row(number)
        assert row.task.relevant == (number % 2 == 0) and len(chat.encode(chat.render(row.prompt.chat))) <= longest


def prompts_of(tasks, path, chat):
    ask = RankingPrompts("rubric()", asked(path), chat)
    return [prompt for task in tasks for prompt in ask.prompts(task)]


def test_each_device_holds_whole_draws(chat, monkeypatch):
    for devices in ("1", "2"):
        monkeypatch.setenv("WORLD_SIZE", devices)
        with pytest.raises(BadInput, match=r"whole draws on each device: .* 1 groups of 8, and rubric\(\) takes 2"):
            asks_of(asked("tasks.jsonl", format="rubric()", loop=Loop(batch=8)), chat)
    asks_of(asked("tasks.jsonl", loop=Loop(batch=8)), chat)
    asks_of(asked("tasks.jsonl", format="rubric()", loop=Loop(batch=4, accumulation=4)), chat)
    with pytest.raises(BadInput, match=r"2 groups of 8, and ranking\(\), rubric\(\) takes 3 a draw"):
        asks_of(asked("tasks.jsonl", format=("ranking()", "rubric()")), chat)


def test_a_format_that_compares_two_is_refused(chat):
    with pytest.raises(BadInput, match=r"compares two passages and ranks no list"):
        RankingPrompts("pair()", asked("tasks.jsonl"), chat)


def test_several_formats_ask_about_the_same_list(tmp_path, chat):
    tasks = toy_task.tasks(5, 0)
    tasks[0] = replace(tasks[0], grades={one.id: 1.0 + at for at, one in enumerate(tasks[0].documents)})
    three = ("ranking()", "ranking(think='no')", "rubric()")
    made = draws(tmp_path / "t", tasks, chat, positions=None, format=three, loop=Loop(batch=32))
    assert made.counts == {str(tmp_path / "t"): {"used": 4, "all_relevant": 1}}  # as one of the formats cannot use it
    alone = draws(tmp_path / "alone", tasks[1:], chat, positions=None, format="ranking()")
    for number in range(0, 40, 4):
        rows = [made.row(number + at) for at in range(4)]
        assert [row.format for row in rows] == ["ranking()", "ranking(think='no')", "rubric()", "rubric()"]
        assert rows[0].task == rows[1].task == alone.row(number // 4).task
        assert rows[0].prompt != rows[1].prompt and [len(row.task.documents) for row in rows] == [3, 3, 1, 1]
        assert len({row.task.query for row in rows}) == 1


def test_a_reward_is_for_the_prompts_in_its_format():
    config = asked("t", format=BOTH)
    task = json.dumps(task_record(toy_task.tasks(1, 0)[0]))
    columns = {"task": [task] * 4, "opened": [False] * 4, "format": ["ranking()", "ranking(think='no')"] * 2}
    said = ["<think>t</think><answer>[1] > [2] > [3]</answer>", "[1] > [2] > [3]"] * 2
    ids = [[1] * 9, [1] * 5] * 2
    worth = {name: Paid(one, name, config)([""] * 4, said, ids, **columns) for name, one in
             {"thought": NDCG(),
              "direct": NDCG(format=RankingFormat("no")), "cost": Cost(unit="tokens")}.items()}  # fmt: skip
    gain = NDCG()(said[0], toy_task.tasks(1, 0)[0])
    assert worth["thought"] == [gain, None] * 2 and worth["direct"] == [None, gain] * 2
    assert worth["cost"][0] == worth["cost"][2] < worth["cost"][1] == worth["cost"][3] < 0


@pytest.mark.parametrize(
    ("format", "specs", "told"),
    [
        (BOTH, ["ndcg()", "ndcg(format=ranking(think='no'))"], ""),
        (BOTH, ["ndcg()", "cost()"], ""),
        (BOTH, ["ndcg()"], r"no reward is for prompts in ranking\(think='no'\): add one with format=ranking"),
        ("ranking()", ["ndcg(format=ranking(think='no'))"], r"reads ranking\(think='no'\), but prompts are "),
        (BOTH, ["ndcg(format=first())", "cost()"], r"reads first\(\), but prompts are .* or ranking\(think='no'\)"),
        (BOTH, ["mix(ndcg(), ndcg(format=ranking(think='no')))"], "reads several formats: give one for each"),
    ],
)  # fmt: skip
def test_rewards_and_formats_must_agree(format, specs, told):
    config = replace(asked("t", format=format), rewards=tuple(map(Rewarded, specs)))
    if not told:
        assert len(_rewards(config)) == len(specs)
        return
    with pytest.raises(BadInput, match=told):
        _rewards(config)


def test_figures_of_several_formats_go_by_format(chat):
    seen = CompletionFigures([RankingFormat(), RankingFormat(think="no")], chat)
    told = {}
    seen.tell = told.update
    task = toy_task.tasks(1, 0)[0]
    said = [Ok("<think>t</think><answer>[2] > [1] > [3]</answer>"), Ok("[1] > [2] > [3]"), Ok("[1]")]
    figures = seen(said, [task] * 3, ["ranking()", "ranking(think='no')", "ranking(think='no')"])
    assert figures["ranking()/well_formed"] == 1 and figures["ranking(think='no')/well_formed"] == 0.5
    assert figures["ranking(think='no')/position_bias"] == pytest.approx(1) and "well_formed" not in figures
    assert told["ranking(think='no')/rank_by_place"] == [-1, 0, 1]
    assert "ranking(think='no')/well_formed" not in seen(said[:1], [task], ["ranking()"])


def test_rewriters_are_asked_as_in_inference(tmp_path, chat):
    data = Dataset(
        "bees",
        Corpus([Document("d1", "hive"), Document("d2", "wax")]),
        (Query("q", "why?"), Query("none", "?")),
        Qrels({"q": {"d2": 1, "gone": 1}}),
    )
    (task,) = search_tasks(data)
    assert [one.id for one in task.documents] == ["d2"] and task.grades == {"d2": 1.0}
    config = asked(tmp_path / "tasks.jsonl", format="", search="rewritten(bm25(), reasoned_query(fake()))")
    ask = RewritingPrompts(config)
    assert ask.shown(task, random.Random(0)) == [task] and "why?" in ask.prompts(task)[0].messages[-1].content
    for wrong in ("bm25()", "rewritten(bm25(), from_file('some.json'))"):
        with pytest.raises(BadInput, match=r"a rewriter that asks a model is wanted"):
            RewritingPrompts(replace(config, search=wrong))


@pytest.mark.parametrize("rewriter", ["reasoned_query", "hyde", "query2doc", "step_back"])
def test_rewriters_whose_text_is_the_answer_can_be_trained(rewriter):
    search = f"rewritten(bm25(), {rewriter}(fake()))"
    assert RewritingPrompts(asked("tasks.jsonl", format="", search=search)).rewriter.llm


@pytest.mark.parametrize("rewriter", ["subqueries", "keywords", "lamer", "thinkqe"])
def test_rewriters_that_rewards_would_read_otherwise_are_refused(rewriter):
    search = f"rewritten(bm25(), {rewriter}(fake()))"
    with pytest.raises(BadInput, match=rf"{rewriter}\(fake\(\)\) does not search .* reasoned_query, hyde"):
        RewritingPrompts(asked("tasks.jsonl", format="", search=search))


@pytest.mark.parametrize(
    ("given", "opened", "read"),
    [
        ("<think>why</think>[1]", False, Ok("<think>why</think>[1]")),
        ("why</think>[1]", True, Ok("[1]", "why")),
        ("<think>why</think>[1]", True, Ok("<think>why</think>[1]")),
        ("still thinking of [1]", True, Ok("", "still thinking of [1]")),
        ([{"role": "assistant", "content": "[1]", "reasoning_content": "why"}], True, Ok("[1]", "why")),
    ],
)
def test_thoughts_come_in_three_forms(given, opened, read):
    assert _read(given, opened) == read


def test_what_was_cut_off_is_not_well_formed(chat, tmp_path):
    import torch

    class Base:
        max_completion_length, model = 3, SimpleNamespace(training=True)

        def _calculate_rewards(self, *_):
            return torch.zeros(2, 1)

    class Trainer(Groups, Base):
        look = CompletionFigures([None], chat)

        def __init__(self):
            self._metrics = {"train": defaultdict(list)}

    row = {"task": json.dumps(task_record(toy_task.tasks(1, 0)[0])), "opened": False, "format": ""}
    trainer = Trainer()
    trainer._calculate_rewards([row, row], [], ["oil", "oil oil oil"], [[1, 2], [1, 2, 3]])
    assert trainer._metrics["train"]["well_formed"] == [0.5]


def test_groups_must_fill_steps():
    with pytest.raises(BadInput, match=r"must be whole groups"):
        asked("tasks.jsonl", generations=3)
    with pytest.raises(BadInput, match=r"either 'format'"):
        asked("tasks.jsonl", search="rewritten(bm25(), hyde(fake()))")


def test_correlation():
    assert _correlation([(0, 0), (1, 1), (2, 2)]) == pytest.approx(1)
    assert _correlation([(0, 2), (1, 1), (2, 0)]) == pytest.approx(-1)
    assert _correlation([(0, 1), (1, 1)]) != _correlation([(0, 1), (1, 1)])
