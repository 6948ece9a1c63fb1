"""Each measure equals itself asked alone, whatever stands beside it and in whatever order a set of names has."""

import json
import os
import random
import subprocess
import sys

import ir_measures
import pytest

from whyrank.eval import evaluate
from whyrank.types import Run

POOL = (
    *("nDCG@10", "nDCG@5", "nDCG@2", "nDCG", "nDCG(judged_only=True)@5", "nDCG(gains={1:1,2:3,3:7})@10"),
    *("nDCG(gains={1:1,2:3})@2", "nDCG(gains={1:0.5})@5", "nDCG(gains={0:1,1:0})", "nDCG(dcg='exp-log2')@5"),
    *("P@5", "P(rel=2)@5", "P(judged_only=True)@5", "P(judged_only=True,rel=2)@3", "R@5", "R(rel=2)@5", "AP", "AP@5"),
    *("AP(rel=2)", "AP(judged_only=True)", "RR", "RR@3", "RR(rel=2)", "RR(judged_only=True)", "Rprec", "Bpref"),
    *(
        "infAP",
        "IPrec@0.1",
        "IPrec@0.121",
        "IPrec@0.123",
        "SetP",
        "SetP(relative=True)",
        "SetR",
        "SetF",
        "SetF(beta=0.5)",
    ),
    *("SetF(beta=2.0)", "SetAP", "SetP(judged_only=True)", "Success@1", "Success(rel=2)@3", "Judged@3", "Judged@5"),
    *("NumQ", "NumRet", "NumRet(rel=2)", "NumRelRet", "NumRel", "NumRel(rel=2)", "ERR@5", "ERR", "RBP(p=0.8)", "RBP@5"),
    *("RBP(p=0.5,rel=2)", "Compat(p=0.9)", "Accuracy", "Accuracy(rel=2)@5"),
    *("INST(max_rel=3)", "SDCG(max_rel=3)@5"),
)

SCRIPT = """
import json, random, sys
sys.path.insert(0, sys.argv[1])
from test_alone import POOL, cases
from whyrank.eval import evaluate
draw, wrong = random.Random(int(sys.argv[2])), []
for run, qrels in cases(draw, 3):
    alone = {name: evaluate(run, qrels, name).per_query for name in POOL}
    for _ in range(40):
        some = draw.sample(POOL, draw.randint(2, 7))
        together = evaluate(run, qrels, some).per_query
        wrong += [(some, name) for name in some for key, value in alone[name].items() if together[key] != value]
print(json.dumps(wrong))
"""


def cases(draw, count):
    """Runs with judgements: ties, unjudged documents, grades from -1 to 3, one judged query that the run lacks."""
    for _ in range(count):
        ids = [f"d{at}" for at in range(20)]
        run = {q: {id: float(draw.randint(0, 12)) for id in draw.sample(ids, 12)} for q in ("q1", "q2", "q3")}
        qrels = {q: {id: draw.randint(-1, 3) for id in draw.sample(ids, 9)} for q in ("q1", "q2", "q3", "q4")}
        yield Run.of(run), qrels


@pytest.mark.parametrize("seed", [0, 2, 5, 9])
def test_a_measure_is_itself_beside_others_whatever_the_hash_seed(seed):
    here = os.path.dirname(__file__)
    env = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, here, str(seed)], env=env, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []


def test_the_smallest_case_of_mapped_gains_beside_none():
    run, qrels = Run.of({"q": ["a", "b"]}), {"q": {"a": 2, "b": 3}}
    report = evaluate(run, qrels, ["nDCG(gains={1:1,2:3})@2", "nDCG@2"])
    assert list(report.means.values()) == pytest.approx([1.0, 0.9134], abs=5e-5)


def test_every_measure_that_is_computed_here_has_a_value_for_odd_runs():
    """Nothing relevant, all relevant, one document, nothing judged: a number from 0 up, and no exception."""
    draw = random.Random(4)
    odd = [
        (Run.of({"q": ["a"]}), {"q": {"a": 1}}),
        (Run.of({"q": ["a", "b"]}), {"q": {"a": 1, "b": 2}}),
        (Run.of({"q": ["a"]}), {"q": {"b": 0}}),
        (Run.of({"q": ["a"]}), {"q": {"b": -1}}),
        (Run.of({"q": []}), {"q": {"b": 1}}),
        (Run.of({"q": ["a"]}), {"q": {"a": 0.25}}),
        *cases(draw, 2),
    ]
    for run, qrels in odd:
        for name, values in evaluate(run, qrels, POOL).per_query.items():
            assert all(0 <= value < float("inf") for value in values.values()), (name, run, qrels)


def test_each_measure_alone_is_that_of_ir_measures():
    """But for what ir_measures has not (fractional gains, ERR and RBP without Perl and cwl) or divides by zero for."""
    ours = {"nDCG(gains={1:0.5})@5", "nDCG(dcg='exp-log2')@5", "ERR@5", "ERR", "NumRel(rel=2)"}
    ours |= {"INST(max_rel=3)", "SDCG(max_rel=3)@5"}
    names = [name for name in POOL if name not in ours and not name.startswith("RBP")]
    for run, qrels in cases(random.Random(6), 4):
        ranked = {query: grades for query, grades in qrels.items() if query in run}
        floor = {q: {id: max(grade, 0) for id, grade in grades.items()} for q, grades in ranked.items()}  # -J drops -1
        for name in names:
            measure = ir_measures.parse_measure(name)
            judged = floor if "judged_only" in name else ranked
            report = evaluate(run, judged, name)
            for found in ir_measures.iter_calc([measure], judged, run.to_dict()):
                value = report.per_query[str(measure)][found.query_id]
                assert value == pytest.approx(found.value, abs=1e-9), (name, found.query_id)
