"""Ties: four rules for their order, what to expect of all orders, and a warning where the order decides."""

import itertools
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import by_slice, evaluate
from whyrank.io import read_run
from whyrank.types import Ranking, Run

IDS = list("abcdef")
SCORED = st.dictionaries(st.sampled_from(IDS), st.integers(0, 2).map(float), min_size=1)
GRADES = st.dictionaries(st.sampled_from([*IDS, "g"]), st.sampled_from([-1, 0, 1, 2, 3, 0.5]), min_size=1)
MEASURES = [
    "nDCG@3",
    "nDCG",
    "nDCG(gains={1:3})@2",
    "nDCG(dcg='exp-log2')@4",
    "P@2",
    "P(rel=2)@5",
    "R@3",
    "Rprec",
    "AP",
]
MEASURES += ["AP@3", "RR", "RR@2", "Success@1", "Success@3", "RBP(p=0.7)", "RBP@2", "Judged@3", "AP(judged_only=True)"]


def orders(scored):
    """All orders of a ranking's ties."""
    levels = sorted(set(scored.values()), reverse=True)
    blocks = [itertools.permutations([id for id in scored if scored[id] == level]) for level in levels]
    return [[id for block in chosen for id in block] for chosen in itertools.product(*blocks)]


@settings(deadline=None)
@given(SCORED, GRADES)
@pytest.mark.filterwarnings("ignore")
def test_the_expectation_is_the_mean_over_all_orders(scored, grades):
    every = orders(scored)
    run = Run.of({f"q{at}": ids for at, ids in enumerate(every)})
    naive = evaluate(run, {query: grades for query in run}, MEASURES).means
    report = evaluate(Run.of({"q": scored}), {"q": grades}, MEASURES, ties="expected")
    assert report.means == pytest.approx(naive, abs=1e-9)


@settings(deadline=None)
@given(SCORED, GRADES)
@pytest.mark.filterwarnings("ignore")
def test_each_rule_is_an_order_of_the_ties(scored, grades):
    run = Run.of({"q": scored})
    rising = sorted(scored, key=lambda id: (-scored[id], id))
    for rule, ids in (("rising", rising), ("id", list(run["q"].ids)), (None, list(run["q"].ids))):
        assert (
            evaluate(run, {"q": grades}, MEASURES, ties=rule).means
            == evaluate(Run.of({"q": ids}), {"q": grades}, MEASURES).means
        )


FORMS = {
    "run.trec": "q Q0 b 1 2.0 t\nq Q0 c 2 1.0 t\nq Q0 a 3 1.0 t\nq Q0 d 4 1.0 t\nz Q0 e 1 1 t\n",
    "mixed.trec": "q Q0 c 2 1.0 t\nz Q0 e 1 1 t\nq Q0 a 3 1.0 t\nq Q0 b 1 2.0 t\nq Q0 d 4 1.0 t\n",
    "run.json": json.dumps({"q": {"c": 1.0, "a": 1.0, "b": 2, "d": 1.0}, "z": {"e": 1}}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_keeps_the_order_of_its_lines(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    run = read_run(tmp_path / name)
    assert list(run["q"].ids) == ["b", "d", "c", "a"]  # trec_eval's

    def where(part, **rule):
        return [evaluate(part, {"q": {id: 1}, "z": {"e": 1}}, "RR", **rule).per_query["RR"]["q"] for id in "bcad"]

    for part in (run, run.only({"q"}), run.named("other"), run.top(4)):
        assert where(part, ties="file") == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
        assert where(part, ties="rising") == pytest.approx([1, 1 / 3, 1 / 2, 1 / 4])
        assert where(part) == where(part, ties="id") == pytest.approx([1, 1 / 3, 1 / 4, 1 / 2])


def test_a_run_in_memory_stands_as_it_is():
    run = Run.of({"q": Ranking(["a", "b"], np.ones(2))})
    assert [
        evaluate(run, {"q": {"a": 1}}, "RR", ties=rule)["RR"] for rule in (None, "file", "id", "rising", "expected")
    ] == [*(1, 1, 0.5, 1, 0.75)]


def test_it_is_told_where_ties_decide():
    run = Run.of({"q": dict.fromkeys("abc", 1.0), "r": ["a"]}, name="flat")
    qrels = {"q": {"a": 1}, "r": {"a": 1}}
    with pytest.warns(
        UserWarning,
        match=r"flat: the order of its 2 ties decides RR anywhere from 0.6667 to 1.0000: choose one by ties=",
    ):
        report = evaluate(run, qrels, ["RR", "R@3", "NumRel", lambda grades, ranking: 1.0])
    assert len(report.remarks) == 1 and "R@3" not in report.remarks[0]
    assert report.coverage["remarks"] == list(report.remarks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(run, qrels, ["RR"], ties="expected").remarks == ()
        assert evaluate(run, qrels, ["RR"], ties="file").remarks == ()
        assert evaluate(run, qrels, ["R@3", "SetP", "NumRel"]).remarks == ()
        assert (
            evaluate(Run.of({"q": dict.fromkeys("abc", 1.0)}), {"q": dict.fromkeys("abc", 1)}, ["RR", "AP"]).remarks
            == ()
        )
        below = {"q": {**{f"t{at}": 9.0 - at for at in range(5)}, "a": 1.0, "b": 1.0}}
        assert evaluate(Run.of(below), {"q": {"a": 1, "t0": 1}}, "P@5").remarks == ()  # all below the cut


def test_a_point_and_not_less():
    """Two of 200 queries hang on a tie: .5 each makes half a point; with 50 queries two."""
    for queries, told in ((200, False), (50, True)):
        run = Run.of({f"q{at}": {"a": 1.0, "b": 1.0 if at < 2 else 2.0} for at in range(queries)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert bool(evaluate(run, {query: {"a": 1} for query in run}, "RR").remarks) is told


def test_rules_and_measures_that_do_not_fit():
    run, qrels = Run.of({"q": {"a": 1.0, "b": 1.0}}), {"q": {"a": 1}}
    with pytest.raises(BadInput, match="ties must be one of id, rising, file, expected, not 'random'"):
        evaluate(run, qrels, "RR", ties="random")
    for measure in ("Bpref", "ERR@10", lambda grades, ranking: 1.0):
        with pytest.raises(BadInput, match="has no expectation over ties here, only nDCG, P, R"):
            evaluate(run, qrels, measure, ties="expected")
    assert evaluate(run, qrels, ["SetP", "NumRet"], ties="expected").means == {"SetP": 0.5, "NumRet": 2}
    assert by_slice(run, qrels, "RR", {"q": "one"}, ties="expected")[0]["RR"] == 0.75


def test_scores_are_compared_in_float32_as_trec_eval_9_does(tmp_path):
    """trec_eval 10 compares doubles, and has RR 1.0 here; what hangs on it is told, and the file's order can be had."""
    (tmp_path / "run.trec").write_text("q Q0 a 1 10.0000001 t\nq Q0 b 2 10.0 t\n")
    run = read_run(tmp_path / "run.trec")
    with pytest.warns(UserWarning, match="the order of its 1 ties decides RR anywhere from 0.5000 to 1.0000"):
        assert evaluate(run, {"q": {"a": 1, "b": 0}}, "RR")["RR"] == 0.5
    assert evaluate(run, {"q": {"a": 1, "b": 0}}, "RR", ties="file")["RR"] == 1.0
