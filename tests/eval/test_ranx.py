"""ranx behind the extra `stats`: same means as ours, copies only, threads restored."""

import numpy as np
import pytest

from whyrank import Qrels, Run, evaluate
from whyrank.errors import BadInput, EngineError, MissingExtra
from whyrank.eval.ranx import ranx_compare, ranx_fuse

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(3)
    docs = [f"d{n}" for n in range(30)]
    runs = [Run.of({f"q{q}": list(rng.permutation(docs)[:10]) for q in range(25)}, name=name) for name in ("a", "b")]
    qrels = Qrels({f"q{q}": {d: int(rng.integers(0, 3)) for d in docs[:15]} for q in range(27)})
    return runs, Qrels({**qrels, "q0": dict.fromkeys(docs, 0)})


@pytest.mark.parametrize("test", ["student", "fisher", "tukey"])
def test_means_are_ours_and_missing_queries_count(made, test):
    runs, qrels = made
    report = ranx_compare(runs, qrels, ["nDCG@10", "R@10", "RR"], test)
    for run in runs:
        ours = evaluate(run, qrels, ["nDCG@10", "R@10", "RR"]).means
        theirs = report.results[run.name]
        assert list(theirs.values()) == pytest.approx(list(ours.values()), abs=1e-9)


def test_threads_are_restored_and_runs_untouched(made):
    import numba

    runs, qrels = made
    before, threads = runs[0].to_dict(), numba.get_num_threads()
    ranx_compare(runs, {query: qrels[query] for query in list(qrels)[:3]}, ["nDCG@10"])
    assert numba.get_num_threads() == threads
    assert runs[0].to_dict() == before


def test_fusion_gives_a_run(made):
    runs, _ = made
    lacking = runs[1].only(set(list(runs[1])[1:]))
    fused = ranx_fuse([runs[0], lacking], "rrf", norm=None, k=60)
    assert list(fused) == list(runs[0])
    first = next(iter(runs[0]))
    assert fused[first].ids == runs[0][first].ids
    assert fused[first].scores[0] == pytest.approx(1 / 61)


def test_bad_measure_and_missing_package(made, monkeypatch):
    runs, qrels = made
    with pytest.raises(BadInput, match="ERR@10"):
        ranx_compare(runs, qrels, ["ERR@10"])
    monkeypatch.setitem(__import__("sys").modules, "ranx", None)
    with pytest.raises(MissingExtra, match="stats"):
        ranx_compare(runs, qrels)


IDS = ["a", "bb", "ccc", "", "dddddddddddd", "é", "日本", "x" * 300, "A", "0", "00"]


@pytest.mark.parametrize("norm", [None, "min-max"])
@pytest.mark.parametrize("method", ["sum", "mnz", "max", "anz", "med", "rrf"])
def test_the_documents_that_go_in_come_out(method, norm):
    """ranx itself cuts ids to the length of those of another run: documents go, and others come that never were."""
    draw = np.random.default_rng(7)
    for _ in range(5):
        ids = [id or "empty" for id in draw.permutation(IDS)]
        runs = [
            Run.of({query: {str(id): draw.random() + 1 for id in draw.choice(ids, 4, replace=False)} for query in "qr"})
            for _ in range(2)
        ]
        fused = ranx_fuse(runs, method, norm=norm)
        for query in "qr":
            scores = [run.to_dict()[query] for run in runs]
            assert set(fused[query].ids) == set().union(*scores)
            if method == "sum" and norm is None:
                wanted = {id: sum(each.get(id, 0) for each in scores) for id in set().union(*scores)}
                assert dict(zip(*fused[query], strict=True)) == pytest.approx(wanted)


def test_the_case_of_two_names():
    fused = ranx_fuse([Run.of({"q": {"a": 1.0}}), Run.of({"q": {"bb": 2.0}})], "sum", norm=None)
    assert list(fused["q"].ids) == ["bb", "a"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": 1.0}, "2 documents went in and 1 came out, 'bb' in one only"),
        ({"a": 1.0, "bb": 2.0, "c": 1.0}, "2 documents went in and 3 came out, 'c' in one only"),
        ({"a": float("nan"), "bb": 1.0}, "the score of 'a' is nan"),
    ],
)
def test_what_ranx_loses_or_invents_is_refused(given, told, monkeypatch):
    monkeypatch.setattr("whyrank.eval.ranx._Codes.back", lambda self, run: {"q": given})
    with pytest.raises(EngineError, match=told):
        ranx_fuse([Run.of({"q": {"a": 1.0}}), Run.of({"q": {"bb": 2.0}})], "sum", norm=None)


def test_a_method_that_ranx_lacks_is_told():
    with pytest.raises(EngineError, match="ranx cannot fuse by 'magic'"):
        ranx_fuse([Run.of({"q": {"a": 1.0}}), Run.of({"q": {"bb": 2.0}})], "magic", norm=None)
