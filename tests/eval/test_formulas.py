"""Measures computed here: equal to trec_eval on whole numbers, to gdeval where it runs, right by hand on fractions."""

import math
import random
import shutil

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import compare, evaluate, formulas
from whyrank.eval.measures import values
from whyrank.types import Qrels, Run

IDS = [f"d{at}" for at in range(12)]
RANKINGS = st.permutations(IDS).flatmap(lambda ids: st.integers(1, 12).map(lambda n: ids[:n]))
WHOLE = st.dictionaries(st.sampled_from(IDS), st.integers(-2, 3), min_size=1)
FRACTIONS = st.dictionaries(st.sampled_from(IDS), st.sampled_from([-0.5, 0, 1 / 23, 0.25, 0.4, 1, 1.5, 2]), min_size=1)


@settings(deadline=None)
@given(RANKINGS, WHOLE, st.sampled_from([None, 1, 3, 10]), st.sampled_from([{}, {1: 1, 2: 3, 3: 7}, {0: 1, 1: 0}]))
def test_ndcg_here_is_that_of_trec_eval_on_mapped_grades(ranking, grades, cutoff, gains):
    params = {"gains": gains} | ({"cutoff": cutoff} if cutoff else {})
    name = "nDCG" + (f"@{cutoff}" if cutoff else "")
    mapped = {id: gains.get(grade, grade) for id, grade in grades.items()}
    expected = evaluate(Run.of({"q": ranking}), {"q": mapped}, name)[name]
    assert formulas.ndcg(grades, ranking, params) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(RANKINGS, FRACTIONS)
def test_fractions_are_gains_of_ndcg_and_the_next_whole_number_elsewhere(ranking, grades):
    def dcg(found):
        return sum(max(grade, 0) / math.log2(rank + 1) for rank, grade in enumerate(found[:5], 1))

    run = Run.of({"q": ranking})
    best = dcg(sorted(grades.values(), reverse=True))
    report = evaluate(run, {"q": grades}, ["nDCG@5", "P@5", "P(rel=2)@5", "R@5", "AP", "RR", "NumRel", "Judged@5"])
    assert report["nDCG@5"] == pytest.approx(dcg([grades.get(id, 0) for id in ranking]) / best if best else 0, abs=1e-9)
    relevant = {id for id, grade in grades.items() if grade > 0}
    assert report["P@5"] == pytest.approx(len(relevant & set(ranking[:5])) / 5)
    assert report["P(rel=2)@5"] == pytest.approx(sum(grades.get(id, 0) > 1 for id in ranking[:5]) / 5)
    assert report["R@5"] == pytest.approx(len(relevant & set(ranking[:5])) / max(len(relevant), 1))
    assert report["NumRel"] == len(relevant) and (report.without_relevant == ("q",)) == (not relevant)
    binary = evaluate(run, {"q": {id: int(id in relevant) for id in grades}}, ["AP", "RR"])
    assert [report["AP"], report["RR"]] == pytest.approx([binary["AP"], binary["RR"]], abs=1e-9)


def test_one_fraction_anywhere_leaves_whole_grades_their_values():
    run = Run.of({"a": ["x", "y"], "b": ["y", "x"]})
    whole = evaluate(run, {"a": {"x": 1, "y": 2}, "b": {"x": 3}}, ["nDCG@10", "AP", "P(rel=2)@1"])
    mixed = evaluate(run, {"a": {"x": 1, "y": 2.0}, "b": {"x": 2.5}}, ["nDCG@10", "AP", "P(rel=2)@1"])
    assert mixed.per_query["nDCG@10"]["a"] == pytest.approx(whole.per_query["nDCG@10"]["a"], abs=1e-12)
    assert mixed.per_query["AP"] == whole.per_query["AP"] and mixed["P(rel=2)@1"] == whole["P(rel=2)@1"]


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a Perl program")
def test_exponential_gains_and_err_are_those_of_gdeval():
    draw = random.Random(1)
    run = {str(q): {id: float(-at) for at, id in enumerate(draw.sample(IDS, 9))} for q in range(1, 9)}
    qrels = {str(q): {id: draw.randint(-1, 4) for id in draw.sample(IDS, 6)} | {"d0": 2} for q in range(1, 9)}
    theirs = {}
    for name in ("nDCG(dcg='exp-log2')@5", "ERR@5", "nDCG(dcg='exp-log2')@20", "ERR@20"):
        measure = ir_measures.parse_measure(name)
        for found in ir_measures.gdeval.iter_calc([measure], qrels, run):
            theirs[name, found.query_id] = found.value
    report = evaluate(Run.of(run), qrels, ["nDCG(dcg='exp-log2')@5", "ERR@5", "nDCG(dcg='exp-log2')@20", "ERR@20"])
    for (name, query), value in theirs.items():
        assert report.per_query[name][query] == pytest.approx(value, abs=6e-6)  # gdeval prints five digits


def test_by_hand():
    run, qrels = Run.of({"q": ["a", "b", "c"]}), {"q": {"a": 1, "b": 3}}
    asked = [
        "nDCG(dcg='exp-log2')@10",
        "nDCG(gains={1:0.5})@10",
        "ERR@10",
        "RBP(p=0.8)",
        "RBP(p=0.5,rel=2)@2",
        "Accuracy",
    ]
    report = evaluate(run, qrels, asked)
    log = 1 / math.log2(3)
    assert list(report.means.values()) == pytest.approx(
        [
            (1 + 7 * log) / (7 + log),
            (0.5 + 3 * log) / (3 + 0.5 * log),
            1 / 16 + 15 / 16 * 7 / 16 / 2,
            0.2 * (1 + 0.8),
            0.25,
            1.0,
        ]
    )


@pytest.mark.parametrize(
    ("measure", "grade", "told"),
    [("ERR@10", 5, "ERR is defined for grades up to 4"), ("nDCG(dcg='exp-log2')", 100, "2\\^grade - 1 is no gain")],
)
def test_grades_beyond_what_a_measure_is_defined_for(measure, grade, told):
    with pytest.raises(BadInput, match=told):
        evaluate(Run.of({"q": ["a"]}), {"q": {"a": grade}}, measure)


# --- judged_only, of which trec_eval's -J drops grades below 0


def test_judged_only_keeps_what_was_judged_below_zero():
    run, qrels = Run.of({"q": ["new", "spam", "good"]}), {"q": {"spam": -2, "good": 1}}
    report = evaluate(run, qrels, ["P(judged_only=True)@1", "RR(judged_only=True)", "Judged@3", "RR"])
    assert list(report.means.values()) == pytest.approx([0, 1 / 2, 2 / 3, 1 / 3])


@settings(deadline=None)
@given(RANKINGS, st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1))
def test_judged_only_is_trec_evals_where_no_grade_is_below_zero(ranking, grades):
    names = ["P(judged_only=True)@3", "AP(judged_only=True)", "nDCG(judged_only=True)@5", "RR(judged_only=True)"]
    run = Run.of({"q": ranking})
    report = evaluate(run, {"q": grades}, names)
    for name in names:
        measure = ir_measures.parse_measure(name)
        (found,) = ir_measures.pytrec_eval.iter_calc([measure], {"q": grades}, run.to_dict())
        assert report[name] == pytest.approx(found.value, abs=1e-9)


# --- counts


def test_counts_are_sums_and_a_missing_query_has_its_own():
    run = Run.of({"a": ["x", "y", "z"], "extra": ["x"]})
    report = evaluate(
        run, {"a": {"x": 1, "y": 0}, "b": {"y": 2, "z": 1}}, ["NumQ", "NumRet", "NumRel", "NumRelRet", "RR"]
    )
    assert list(report.means.values()) == [2, 3, 3, 1, 0.5]
    assert report.per_query["NumRel"] == {"a": 1, "b": 2} and report.means_ranked["NumRel"] == 1
    head, _, row = str(report).splitlines()[:3]
    assert row.split()[1:7] == ["2", "(1)", "3", "(3)", "3", "(1)"] and "NumQ" in head


def test_counts_agree_with_ir_measures():
    draw = random.Random(2)
    run = Run.of({q: draw.sample(IDS, 7) for q in "abc"})
    qrels = {q: {id: draw.randint(-1, 2) for id in draw.sample(IDS, 6)} for q in "abc"}
    names = ["NumQ", "NumRet", "NumRel", "NumRelRet", "NumRet(rel=2)"]
    theirs = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in names], qrels, run.to_dict())
    assert list(evaluate(run, qrels, names).means.values()) == [theirs[ir_measures.parse_measure(n)] for n in names]


def test_counts_are_no_matter_of_significance():
    qrels = {"a": {"x": 1}, "b": {"x": 1}}
    reports = [
        evaluate(Run.of({q: ids for q in "ab"}, name=n), qrels, ["NumRel", "RR"])
        for n, ids in (("m", "x"), ("n", "yx"))
    ]
    assert {contrast.measure for contrast in compare(reports).contrasts} == {"RR"}
    counted = [evaluate(Run.of({"a": ["x"]}), qrels, ["NumRel"])] * 2
    with pytest.raises(BadInput, match="no measure in common but counts"):
        compare(counted)


# --- grades at the door


@pytest.mark.parametrize("grade", [np.int64(2), np.float32(2), 2.0, True + 1, np.uint8(2)])
def test_whole_grades_of_any_kind_are_whole_numbers(grade):
    kept = Qrels({"q": {"a": grade}})["q"]["a"]
    assert kept == 2 and type(kept) is int
    assert evaluate(Run.of({"q": ["a"]}), {"q": {"a": grade}}, ["P(rel=2)@1", "nDCG"]).means == {
        "P(rel=2)@1": 1,
        "nDCG": 1,
    }


@pytest.mark.parametrize(
    "grade", ["1", None, float("nan"), float("inf"), 10**400, -(10**7), 1j, [1], np.float64("nan")]
)
def test_what_is_no_grade_is_refused(grade):
    with pytest.raises(BadInput, match=r"query 'q', document 'a': the grade .* is not a number within"):
        evaluate(Run.of({"q": ["a"]}), {"q": {"a": grade}}, "RR")


@pytest.mark.parametrize("qrels", [{1: {"a": 1}}, {"q": {1: 1}}, {"q": ["a"]}, {"q": 1}, {"q": None}])
def test_ids_that_are_no_text_are_refused(qrels):
    with pytest.raises(BadInput, match=r"ids as text|is no text"):
        evaluate(Run.of({"q": ["a"]}), qrels, "RR")


def test_values_asked_directly_take_fractions_too():
    found = list(values({"f": lambda grades, ranking: grades["a"]}, Run.of({"q": ["a"]}), {"q": {"a": 0.5}}))
    assert found == [("f", "q", 0.5)]
