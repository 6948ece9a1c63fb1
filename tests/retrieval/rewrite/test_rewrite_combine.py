"""What is searched for under each policy, fusion by ranks, and the gate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import QUERY, READY, searched, shown

from whyrank import Fake, Query, load
from whyrank.datasets.bright import TASKS
from whyrank.llm.answer import Failed
from whyrank.retrieval.rewrite import (
    Append,
    FuseOriginal,
    Gate,
    HyDE,
    Repeat,
    Replace,
    Rewritten,
    StepBack,
    SubQueries,
    outcomes,
)


@pytest.mark.parametrize(
    ("combine", "texts"),
    [
        (Replace(), ["a b", "c"]),
        (Append(), ["why do bees dance\na b\nc"]),
        (Repeat(n=2), ["why do bees dance\nwhy do bees dance\na b\nc"]),
        (Repeat(), ["why do bees dance\na b\nc"]),
        (FuseOriginal(weight=0.5), ["why do bees dance", "a b", "c"]),
        (Gate(), ["a b", "c"]),
        (Gate(then=Append()), ["why do bees dance\na b\nc"]),
    ],
    ids=repr,
)
def test_combine_policies(combine, texts):
    assert searched(SubQueries(Fake("a b\nc")), combine=combine)[1] == texts


@given(words=st.integers(0, 60), asked=st.integers(1, 6), ratio=st.sampled_from([1.0, 2.5, 3.0]))
def test_mugis_rule(words, asked, ratio):
    half = words // 2
    times = Repeat(ratio=ratio).count("q " * asked, ["w " * half, "w " * (words - half)])
    assert times == max(1, int(words / (asked * ratio)))


def test_rankings_are_fused_by_weighted_reciprocal_ranks():
    run, _ = searched(SubQueries(Fake("honey\nscent of ants")), combine=FuseOriginal(weight=2.0))
    lists = [READY.search([Query("x", text)], 1000)["x"].ids for text in (QUERY.text, "honey", "scent of ants")]
    score = {
        id: sum(weight / (60 + each.index(id) + 1) for weight, each in zip((2, 1, 1), lists, strict=True) if id in each)
        for each in lists
        for id in each
    }
    assert list(run["q"].ids) == sorted(score, key=lambda id: -score[id])
    assert run["q"].scores.tolist() == pytest.approx(sorted(score.values(), reverse=True))


def test_a_query_that_fell_back_keeps_its_scores_beside_fused_ones():
    llm = Fake(lambda prompt: Failed("refusal", "no") if "ants" in shown(prompt) else "waggle")
    queries = [QUERY, Query("p", "ants and honey")]
    run = Rewritten(READY, StepBack(llm)).search(queries)
    alone = READY.search(queries)
    assert list(run["p"].ids) == alone["p"].ids and run["p"].scores.tolist() == alone["p"].scores.tolist()
    assert run["q"].scores[0] < 1 < alone["q"].scores[0]


def test_a_gate_asks_no_model_and_is_counted():
    asked = []
    llm = Fake(lambda prompt: asked.append(shown(prompt)) or "waggle")
    queries = [QUERY, Query("m", "Let $x^2 + 3x = 0$ for bees, find all $x$")]
    run = Rewritten(READY, HyDE(llm), Gate()).search(queries)
    assert len(asked) == 1 and "dance" in asked[0]
    assert run["m"].ids == READY.search(queries)["m"].ids
    assert outcomes(run) == {"rewritten": 1, "fell_back": 0, "gated": 1}
    assert run.notes["m"].to_dict() == {"outcome": "gated", "rewritten": [], "calls": []}


def test_the_gates_threshold():
    text = "one word in ten of these does hold number 7"
    assert not Gate(max_formal=0.05).wants(text) and Gate(max_formal=0.1).wants(text)
    assert Gate(max_formal=1.0).wants("$1 $2 $3") and not Gate(then=Gate(max_formal=0.0)).wants("all the 2 words")


def test_the_gate_on_bright(shared_data, monkeypatch):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    kept = {}
    for task in TASKS:
        queries = load(f"bright/{task}").queries
        kept[task] = round(100 * sum(not Gate().wants(query.text) for query in queries) / len(queries))
    assert (kept.pop("leetcode"), kept.pop("aops")) == (77, 92)
    assert (min(kept.values()), max(kept.values()), kept["stackoverflow"]) == (0, 25, 25)
