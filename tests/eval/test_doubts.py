"""What is said where ids do not fit, queries lack, or scores say nothing."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from whyrank.errors import BadInput
from whyrank.eval import evaluate, same_orders
from whyrank.types import Run

QRELS = {f"q{at}": {"d1": 1, "d2": 0} for at in range(20)}


def remarks(run: dict[str, Any], qrels: Any = QRELS) -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate(Run.of(run, name="mine"), qrels, "nDCG@10").remarks


def good(**others: Any) -> dict[str, Any]:
    return {query: ["d1", "d2"] for query in QRELS} | others


def test_nothing_is_said_of_a_run_that_is_in_order() -> None:
    assert remarks(good()) == ()
    assert remarks({query: ids for query, ids in good().items() if query != "q3"}) == (), "one of twenty is 5 %"


def test_queries_that_lack_are_told_beyond_one_in_twenty() -> None:
    (told,) = remarks({query: ids for query, ids in good().items() if query not in ("q3", "q4")})
    assert told == "it lacks 2 of 20 judged queries (10.0%), which count 0"


@pytest.mark.parametrize("spelt", ["Q{}", " q{}", "q0{}", "q_{}", "q {}", "q00{}"])
def test_queries_that_are_spelt_otherwise_are_told(spelt: str) -> None:
    changed = {spelt.format(query[1:]) if int(query[1:]) in (7, 11, 12) else query: ["d1"] for query in QRELS}
    (told,) = remarks(changed)
    assert "ids differ by case, blanks, underscores or leading zeros, such as" in told and repr(spelt.format(7)) in told
    differ = "ids differ by case, blanks, underscores or leading zeros, such as"
    with pytest.raises(BadInput, match=re.escape(f"{differ} {spelt.format(7)!r}")):
        evaluate(Run.of({spelt.format(7): ["d1"]}), {"q7": {"d1": 1}})


@pytest.mark.parametrize("spelt", ["D1", "d01", "d_1", "d 1"])
def test_documents_that_are_spelt_otherwise_are_told(spelt: str) -> None:
    (told,) = remarks(good(q5=[spelt, "d2"]))
    assert told.startswith("documents that it ranks are judged under other ids") and f"{spelt!r} and 'd1'" in told
    (told,) = remarks({query: [spelt] for query in QRELS})
    assert told.startswith("none of the 20 documents") and f"{spelt!r} and 'd1'" in told
    assert remarks(good(q5=["d10", "d2"])) == remarks(good(q5=["e1", "d2"])) == (), "another id is another document"


def test_scores_that_are_all_the_same_are_told() -> None:
    same = {query: {"d1": 0.5, "d2": 0.5} for query in QRELS}
    assert any(told.startswith("all documents of a query have the same score") for told in remarks(same))
    assert not any("same score" in told for told in remarks(same | {"q3": {"d1": 2.0, "d2": 1.0}}))
    assert not any("same score" in told for told in remarks({query: {"d1": 0.5} for query in QRELS}))
    assert not any("same score" in told for told in remarks({"q1": same["q1"]})), "one query may be a tie"


def test_a_run_that_orders_as_another_does_is_told(tmp_path: Path) -> None:
    one, two = Run.of(good(), name="bm25"), Run.of(good(), name="reranked")
    assert [*same_orders([one, two])] == ["reranked: it ranks all 20 queries as bm25 does: did it do anything?"]
    assert [*same_orders([one, Run.of(good(q1=["d2", "d1"]))])] == [] == [*same_orders([Run.of({}), Run.of({})])]
    lines = "".join(f"q{at} Q0 d1 1 2 t\nq{at} Q0 d2 2 1 t\n" for at in range(3))
    for name in ("bm25", "reranked"):
        (tmp_path / f"{name}.trec").write_text(lines)
    (tmp_path / "qrels.txt").write_text("q0 0 d1 1\nq1 0 d1 1\nq2 0 d1 1\n")
    ended = call(tmp_path, "eval", "bm25.trec", "reranked.trec", "--qrels", "qrels.txt", "--json")
    assert "reranked: it ranks all 3 queries as bm25 does" in ended.err
    assert json.loads(ended.out)["bm25"]["nDCG@10"] == 1


def test_a_run_of_other_queries_is_refused_and_told_how_its_ids_differ(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_text("Q1 Q0 d1 1 2 t\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\n")
    assert call(tmp_path, "eval", "a.trec", "--qrels", "qrels.txt").code == 1
