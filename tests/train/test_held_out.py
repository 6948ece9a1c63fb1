"""Held-out lists and queries, with models that answer by rule."""

from dataclasses import dataclass, replace

import pytest
import toy_task
from toy_format import Short

from whyrank import Listwise
from whyrank.errors import BadInput
from whyrank.io import write_tasks
from whyrank.llm.answer import Ok
from whyrank.llm.chat import Chat
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Sampling
from whyrank.registry import make
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.train.config import HeldOut
from whyrank.train.data import prompts
from whyrank.train.held_out import HeldOutLists, HeldOutSearches, ranked, ranking_format
from whyrank.types import Document, RankTask


@pytest.fixture(scope="module")
def chat(words):
    from transformers import AutoTokenizer

    return Chat(AutoTokenizer.from_pretrained(words), {})


@pytest.fixture
def tasks(tmp_path) -> str:
    write_tasks(toy_task.tasks(3, 0), tmp_path / "tasks.jsonl")
    return str(tmp_path / "tasks.jsonl")


def asked(lists: HeldOutLists):
    """The prompts of a measurement."""
    seen = []
    lists.measure(Fake(lambda prompt: seen.append(prompt) or ""))
    return seen


def test_a_format_keeps_its_own_sampling(tasks, chat):
    wanted = {
        "ranking()": Sampling(max_tokens=5000),
        "rubric(weighted=True)": Sampling(max_tokens=5000, logprobs=10),
        "yes_no()": Sampling(max_tokens=5000, logprobs=10),
        "first()": Sampling(max_tokens=1, logprobs=20),
    }
    for format, sampling in wanted.items():
        prompts = asked(HeldOutLists(HeldOut(tasks, format, max_tokens=5000), chat))
        assert {prompt.sampling for prompt in prompts} == {sampling}, format


@dataclass(frozen=True)
class Loud(Short):
    """A format that prepares its passages in its own way."""

    def passage(self, document: Document) -> str:
        return f"{document.id}: {document.text.upper()}"


def test_training_asks_word_for_word_as_inference_does(chat):
    task, seen = toy_task.tasks(1, 0)[0], []
    Listwise(Fake(lambda prompt: seen.append(prompt) or ""), format=Loud()).rank(task.query, task.documents)
    (prompt,) = prompts(Loud(), task, chat)
    assert prompt.chat == seen[0].chat and f"{task.documents[0].id}: " in prompt.chat[0]["content"]


def test_format_and_passages_are_those_of_training(tasks, chat, tmp_path):
    lists = HeldOutLists(HeldOut(tasks), chat, toy_task.FORMAT)
    assert asked(lists)[0].messages[0].role == "user"  # toy_format has no turn of the system's
    assert (
        asked(HeldOutLists(HeldOut(tasks, "ranking(think='no')"), chat, toy_task.FORMAT))[0].messages[0].role
        == "system"
    )
    long = [replace(task, documents=(Document(task.documents[0].id, "oil " * 90), *task.documents[1:]))
            for task in toy_task.tasks(3, 0)]  # fmt: skip
    write_tasks(long, tmp_path / "long.jsonl")
    lengths = [
        len(
            asked(HeldOutLists(HeldOut(str(tmp_path / "long.jsonl")), chat, toy_task.FORMAT, most))[0]
            .messages[0]
            .content
        )
        for most in (20, 40, 1000)
    ]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("spec", ["pair()", "pair(think='asked')"])
def test_a_format_that_compares_two_is_refused(tasks, chat, spec):
    with pytest.raises(BadInput, match=r"compares two passages and ranks no list: take .*group_scores"):
        HeldOutLists(HeldOut(tasks, spec), chat)


@pytest.mark.parametrize(
    "spec",
    ["ranking()", "ranking(think='no')", "choice()", "choice(think='no')", "group_scores()", "group_scores(think='no')",
     "first()", "best_worst()"],
)  # fmt: skip
def test_all_others_rank_a_list(spec):
    format = ranking_format(spec)
    assert ranked(format, [format.write([0.2, 0.9, 0.1])], 3)[0][0] == 1
    assert sorted(ranked(format, [Ok("nonsense")], 3)[0]) == [0, 1, 2]


@pytest.mark.parametrize("spec", ["rubric()", "yes_no()", "yes_no(think='asked')"])
def test_or_one_document_after_the_other(spec):
    format = ranking_format(spec)
    assert ranked(format, [format.write([help]) for help in (0.2, 0.9, 0.1)], 3)[0] == [1, 0, 2]


def test_both_ends():
    format = ranking_format("best_worst()")
    assert ranked(format, [format.write([0.5, 0.1, 0.4, 0.9])], 4)[0] == [3, 0, 2, 1]
    assert ranked(format, [Ok("<answer>best: [3]</answer>")], 4)[0] == [2, 0, 1, 3]
    assert ranked(format, [Ok("")], 4)[0] == [0, 1, 2, 3]


@pytest.mark.parametrize(("measure", "wanted"), [("R@1000", 1.0), ("R@100", 0.0), ("nDCG@10", 0.0), ("AP", 1 / 151)])
def test_searches_go_as_deep_as_the_measure(tmp_path, measure, wanted):
    found = [Document(f"d{at}", "bees " * (200 - at)) for at in range(151)]
    BM25().at(tmp_path / "index").index(found)
    (one,) = toy_task.tasks(1, 0)
    write_tasks([RankTask(one.query, (found[-1],), {"d150": 1.0})], tmp_path / "queries.jsonl")
    search = make(f"rewritten(bm25(path={str(tmp_path / 'index')!r}), reasoned_query(fake()))", Retriever)
    held_out = HeldOut(str(tmp_path / "queries.jsonl"), measure=measure)
    figures = HeldOutSearches(held_out, search).measure(Fake("bees"))
    assert figures[measure] == pytest.approx(wanted, abs=1e-3)
