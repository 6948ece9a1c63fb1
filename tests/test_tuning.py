"""Tuning of fusions in run folders: what was tried is kept, the folder is looked at first, and it knows its data."""

import json

import pytest

from whyrank import Fusion, Qrels, load, make, write_qrels
from whyrank.errors import BadInput
from whyrank.experiment import Tuning, fuse, fusing, fusion_of, open_runs, search

FUSION, RUNS = Fusion(method="combsum"), ("a", "b", "c")


class Stopped(BaseException):
    """A process that ends in the midst, as by Ctrl-C."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The toy collection with its judgements in dev and test, and three runs over all of its queries."""
    monkeypatch.chdir(tmp_path)
    toy, folder = load("toy"), tmp_path / "split"
    (folder / "qrels").mkdir(parents=True)
    lines = {"corpus": toy.corpus, "queries": toy.queries}
    for name, texts in lines.items():
        rows = ({"_id": each.id, "text": each.text} for each in texts)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, part in {"dev": toy.queries[::2], "test": toy.queries[1::2]}.items():
        write_qrels(Qrels({query.id: toy.qrels[query.id] for query in part}), folder / "qrels" / f"{name}.tsv")
    for name, spec in zip(RUNS, ("bm25()", "bm25q()", "rm3(bm25())"), strict=True):
        search(make(spec), toy, name, 30)
    return folder


@pytest.fixture
def measured(monkeypatch):
    """How many fused runs were measured; `stop` of them end the process."""
    real, seen = fusing.report_of, {"count": 0, "stop": -1}

    def report_of(*args, **more):
        if seen["count"] == seen["stop"]:
            raise Stopped
        seen["count"] += 1
        return real(*args, **more)

    monkeypatch.setattr(fusing, "report_of", report_of)
    return seen


def tuned(folder, out, **more):
    return fuse(RUNS, more.pop("fusion", FUSION), out, tuning=Tuning.on(str(folder), "dev", **more))


@pytest.mark.parametrize("stop", [1, 30])
def test_a_stopped_tuning_goes_on_and_ends_as_an_unstopped_one(folder, measured, stop):
    whole = tuned(folder, "whole")
    all_of_them = measured["count"]
    measured.update(count=0, stop=stop)
    with pytest.raises(Stopped):
        tuned(folder, "stopped")
    measured.update(count=0, stop=-1)
    assert tuned(folder, "stopped").report["tuned"] == whole.report["tuned"]
    assert 2 < measured["count"] <= all_of_them - stop
    assert open("stopped/run.trec").read().replace(" stopped\n", " whole\n") == open("whole/run.trec").read()
    assert fusion_of("stopped") == fusion_of("whole") == Fusion(method="combsum", weights=fusion_of("whole").weights)


def test_what_is_kept_is_the_tuning_in_memory_to_the_last_bit(folder):
    judged = load(str(folder), split="dev").qrels
    runs = [run.only(set(judged)) for run in open_runs(RUNS)]

    def value(run):
        return fusing.report_of(run, judged, "nDCG@10").means["nDCG@10"]

    weights = FUSION.tuned(runs, value)
    report = tuned(folder, "out").report
    assert report["spec"] == repr(weights) and report["tuned"]["value"] == value(weights.of(runs))


def test_a_finished_folder_is_not_tuned_again(folder, measured):
    first = tuned(folder, "out")
    measured.update(count=0)
    again = tuned(folder, "out")
    assert measured["count"] == 0 and again.report == first.report and again.run.to_dict() == first.run.to_dict()


@pytest.mark.parametrize(
    "other",
    [
        {"measure": "P@5"},
        {"judgements": True},
        {"queries": True},
        {"runs": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_tuning_is_refused_before_anything_is_tuned(folder, measured, other):
    tuned(folder, "out")
    measured.update(count=0)
    if other.pop("judgements", False):
        judged = dict(load(str(folder), split="dev").qrels)
        query, grades = next(iter(judged.items()))
        write_qrels(Qrels({**judged, query: {**grades, "d99": 1}}), folder / "qrels" / "dev.tsv")
    if other.pop("queries", False):
        file = folder / "queries.jsonl"
        file.write_text(file.read_text().replace("?", "??", 1))
    if other.pop("runs", False):
        search(make("bm25(k1=2.0)"), load("toy"), "other", 30)
        with pytest.raises(BadInput, match="holds another run"):
            fuse(("a", "b", "other"), FUSION, "out", tuning=Tuning.on(str(folder), "dev"))
    else:
        with pytest.raises(BadInput, match="holds another run"):
            tuned(folder, "out", **other)
    assert measured["count"] == 0


def test_a_folder_of_something_else_is_refused_before_anything_is_tuned(folder, measured, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-anna.txt").write_text("dear Anna")
    with pytest.raises(BadInput, match="holds no run"):
        tuned(folder, "letters")
    with pytest.raises(BadInput, match="holds another run"):
        tuned(folder, "a")
    assert measured["count"] == 0


def test_a_measure_that_there_is_not_leaves_no_folder(folder, tmp_path):
    with pytest.raises(BadInput, match="nDGC"):
        tuned(folder, "out", measure="nDGC@10")
    assert not (tmp_path / "out").exists()


def test_fusing_like_an_unfinished_one_says_so(folder, measured):
    measured["stop"] = 3
    with pytest.raises(Stopped):
        tuned(folder, "out")
    with pytest.raises(BadInput, match="not tuned yet"):
        fusion_of("out")


def test_the_manifest_of_an_earlier_version_tells_the_weights(folder, tmp_path):
    (tmp_path / "old").mkdir()
    spec = "fusion(method='combsum', weights=(0.3, 0.7))"
    about = {"data": "toy", "split": "dev", "measure": "nDCG@10", "queries": 8, "value": 0.5, "equal_weights": 0.4}
    task = {"verb": "fuse", "spec": spec, "inputs": [], "k": 10, "tuned": about}
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({"task": task, "finished": True}))
    assert repr(fusion_of("old")) == spec
    assert fusing.tuned_on("old", "toy", "dev") and not fusing.tuned_on("old", "toy", "test")
