"""Measures of the C/W/L framework: those of cwl_eval, whose values stand in `golden/cwl.json`."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import cwl, evaluate
from whyrank.types import Run

CASES = json.loads((Path(__file__).parent / "golden" / "cwl.json").read_text())["cases"]
GRADES = st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=1, max_size=20)


def value(grades, name):
    judged = {f"d{at}": grade for at, grade in enumerate(grades)}
    (found,) = evaluate(Run.of({"q": list(judged)}), {"q": {**judged, "best": 3}}, name).means.values()
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['ranking'])} documents")
def test_values_are_those_of_cwl_eval(case):
    assert len(case["values"]) == 16
    report = evaluate(Run.of({"q": case["ranking"]}), {"q": case["grades"]}, list(case["values"]))
    for name, wanted in case["values"].items():
        assert report.means[name] == pytest.approx(wanted, abs=1e-12), name


@given(grades=GRADES)
def test_some_are_what_they_are_known_to_be(grades):
    """By hand: precision and DCG, where the user does not look at gains; and 1 where all that is read is perfect."""
    k, gains = 5, [grade / 3 for grade in grades]
    discounts = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
    scaled = sum(d * g for d, g in zip(discounts, gains, strict=False)) / sum(discounts)
    assert value(grades, "SDCG(max_rel=3)@5") == pytest.approx(scaled)
    assert value(grades, "BPM(max_rel=3, T=99)@5") == pytest.approx(sum(gains[:k]) / k)
    first = next((rank for rank, grade in enumerate(grades, 1) if grade == 3), 99)
    only_best = [3 * (grade == 3) for grade in grades]
    assert value(only_best, "NERR8(max_rel=3)@10") == pytest.approx(1 / first if first <= 10 else 0)
    assert value([3] * 1000, "INST(max_rel=3)") == pytest.approx(1)


@given(grades=GRADES, name=st.sampled_from([f"{name}(max_rel=3)" for name in ("INST", "INSQ", "NERR10", "NERR11")]))
def test_a_better_document_is_never_worth_less(grades, name):
    better = [grades[0], *(min(grade + 1, 3) for grade in grades[1:])]
    assert 0 <= value(grades, name) <= 1
    if name.startswith("INSQ"):  # of the others the attention moves with the gains
        assert value(better, name) >= value(grades, name)


def test_fractions_and_what_is_beyond_the_scale_count():
    assert value([1.5], "NERR8(max_rel=3)@1") == 0.5
    assert value([-2], "NERR8(max_rel=3)@1") == 0 and value([9], "NERR8(max_rel=3)@1") == 1
    assert value([1, 2], "NERR8(min_rel=1, max_rel=3)@1") == 0


def test_every_user_is_a_measure_of_ir_measures_and_all_names_do():
    assert len(cwl.USERS) == 8
    assert value([3], "inst(max_rel=3, T=2)") == value([3], "INST(T=2.0,max_rel=3)")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("INST", r"max_rel must be given, as in INST\(max_rel=3\)"),
        ("INST@10", "INST takes the parameters T, min_rel, max_rel"),
        ("SDCG@10", r"as in SDCG\(max_rel=3\)@10"),
        ("SDCG(max_rel=3)", "SDCG takes a cut-off as in SDCG@10"),
        ("NERR8(max_rel=3)@0", "looks at no document"),
        ("NERR10(max_rel=3, p=1)", "has no such p"),
        ("INST(max_rel=3, T=0)", "has no such T"),
        ("INST(max_rel=0)", "needs the highest grade, above min_rel"),
        ("INSQ(max_rel=2, min_rel=2)", "needs the highest grade, above min_rel"),
        ("INST(max_rel='3')", "INST takes the parameters"),
        ("BPM(max_rel=3, T=None)@5", "BPM takes a cut-off"),
    ],
)
def test_what_they_need_is_told(name, told):
    with pytest.raises(BadInput, match=told):
        value([1], name)
