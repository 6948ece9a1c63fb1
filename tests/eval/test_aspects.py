"""α-nDCG and aspect recall: as NIST's ndeval computes them, from files, and refused where nobody judged aspects."""

import json
from itertools import permutations
from pathlib import Path

import pytest
from command_line import call
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import evaluate
from whyrank.eval.aspects import alpha_ndcg, aspect_recall
from whyrank.io import read_qrels
from whyrank.types import Qrels, Run

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ndeval.json").read_text())
DIVERSITY = "q 1 a 1\nq 2 a 1\nq 1 b 2\nq 3 c 1\nq 2 d 0\n"
ASPECTS = st.dictionaries(st.sampled_from("123"), st.integers(0, 2))
COVERS = st.dictionaries(st.sampled_from("abcde"), ASPECTS, min_size=1)
NAMES = {
    "alpha-nDCG@5": "alpha-ndcg@5",
    "alpha-nDCG@10": "alpha_nDCG@10",
    "strec@5": "StRecall@5",
    "strec@10": "a-recall@10",
}


@pytest.mark.parametrize("at", range(len(GOLDEN["cases"])))
def test_as_ndeval_has_it(at: int) -> None:
    case = GOLDEN["cases"][at]
    grades = {id: max(aspects.values()) for id, aspects in case["judged"].items()}
    qrels = Qrels({"q": grades}, aspects={"q": case["judged"]})
    report = evaluate(Run.of({"q": case["ranking"]}), qrels, [*NAMES.values()])
    for theirs, ours in NAMES.items():
        assert report[ours] == pytest.approx(case["values"][theirs], abs=1e-9)


@given(COVERS, st.permutations("abcde"), st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_no_order_is_better_than_one_that_finds_all_and_worth_is_from_0_to_1(
    covered: dict[str, dict[str, int]], order: list[str], k: int, alpha: float
) -> None:
    value = alpha_ndcg(covered, order, {"cutoff": k, "alpha": alpha})
    assert 0 <= value <= 1.2, "the greedy ideal may be beaten, by little"
    if alpha == 0:
        best = max(alpha_ndcg(covered, one, {"cutoff": k, "alpha": 0.0}) for one in permutations("abcde"))
        assert value <= 1 + 1e-9 and best in (0, pytest.approx(1)), "without novelty the greedy order is the best"
    assert aspect_recall(covered, order, {"cutoff": k}) <= aspect_recall(covered, order, {"cutoff": k + 1})


def test_a_document_that_says_it_again_is_worth_less() -> None:
    covered = {"a": {"1": 1}, "b": {"1": 1}, "c": {"2": 1}}
    assert alpha_ndcg(covered, "acb", {"cutoff": 2}) == 1 > alpha_ndcg(covered, "abc", {"cutoff": 2})
    assert alpha_ndcg(covered, "abc", {"cutoff": 2, "alpha": 0.0}) == 1
    assert aspect_recall(covered, "abc", {"cutoff": 2}) == 0.5
    assert alpha_ndcg({"a": {"1": 0}}, "a", {}) == aspect_recall({"a": {"1": 0}}, "a", {}) == 0


def test_judgements_with_aspects_are_read(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text(DIVERSITY)
    qrels = read_qrels(tmp_path / "qrels.txt", aspects=True)
    assert dict(qrels["q"]) == {"a": 1, "b": 2, "c": 1, "d": 0}
    assert qrels.aspects["q"]["a"] == {"1": 1, "2": 1}
    with pytest.raises(BadInput, match=r"qrels\.txt:1: aspects are TREC's second column, and this file has three"):
        (tmp_path / "qrels.txt").write_text("q\ta\t1\n")
        read_qrels(tmp_path / "qrels.txt", aspects=True)
    with pytest.raises(BadInput, match=r"qrels\.txt:2: query 'q': document 'a' has two grades, 1 and 2"):
        (tmp_path / "qrels.txt").write_text("q 1 a 1\nq 1 a 2\n")
        read_qrels(tmp_path / "qrels.txt", aspects=True)


def test_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text(DIVERSITY)
    (tmp_path / "mine.trec").write_text("q Q0 a 1 2 t\nq Q0 b 2 1 t\n")
    names = ("-m", "StRecall@2", "-m", "alpha_nDCG@2", "-m", "nDCG@2")
    ended = call(tmp_path, "eval", "mine.trec", "--qrels", "qrels.txt", "--aspects", *names, "--json")
    told = json.loads(ended.out)["mine"]
    assert told["StRecall@2"] == pytest.approx(2 / 3) and 0 < told["alpha_nDCG@2"] < 1
    (tmp_path / "plain.txt").write_text("q 0 a 1\n")
    assert "eval --qrels FILE --aspects" in call(tmp_path, "eval", "mine.trec", "--qrels", "plain.txt", *names).last
    assert "--aspects has no effect here: it is of --qrels" in call(
        tmp_path, "eval", "mine.trec", "--data", "toy", "--aspects"
    ).last  # fmt: skip
