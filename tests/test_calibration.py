"""A model of difficulty is learnt from run folders, and a route takes it by its file."""

import json

import pytest

from whyrank.calibration import learn_routes
from whyrank.datasets import load
from whyrank.errors import BadInput, NotFound
from whyrank.experiment import rerank, search
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.rerank.around.radar import Radar
from whyrank.rerank.around.route import Difficulty, Route, routes
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.types import Dataset

EASY = Listwise(Fake("<answer>[1] > [2]</answer>"))
HARD = Listwise(Fake("<think>" + "long " * 99 + "</think><answer>[2] > [1]</answer>"))


@pytest.fixture(scope="module")
def toy() -> Dataset:
    return load("toy")


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    search(make("bm25()"), toy, root / "first", k=10)
    for name, part, depth in [("easy", EASY, 10), ("hard", HARD, 10), ("flat", HARD, 5)]:
        rerank(root / "first", part, toy, root / name, depth=depth)
    return root


def test_a_route_learnt_from_run_folders(toy, runs, tmp_path):
    radar = learn_routes([runs / "easy", runs / "hard"], toy)
    tokens = [json.loads((runs / name / "report.json").read_text())["ledger"] for name in ("easy", "hard")]
    spent = [(one["input_tokens"] + one["output_tokens"]) / len(toy.queries) for one in tokens]
    assert radar.choices == (repr(EASY), repr(HARD)) and list(radar.costs) == pytest.approx(spent)
    radar.save(tmp_path / "radar.json")
    part = Route(EASY, HARD, by=Difficulty(str(tmp_path / "radar.json"), weight=0.0))
    done = rerank(runs / "first", part, toy, tmp_path / "routed", depth=10)
    assert routes(done.run) == {0: len(toy.queries)} and done.report["routes"] == {0: len(toy.queries)}
    assert (tmp_path / "routed" / "run.trec").read_text().split()[:3] == (
        (runs / "easy" / "run.trec").read_text().split()[:3]
    )


def test_runs_that_cannot_be_compared_are_refused(toy, runs, tmp_path):
    with pytest.raises(BadInput, match="at least two"):
        learn_routes([runs / "easy"], toy)
    with pytest.raises(BadInput, match="differ in depth"):
        learn_routes([runs / "easy", runs / "flat"], toy)
    with pytest.raises(NotFound, match="no finished run of rerank"):
        learn_routes([runs / "easy", runs / "first"], toy)
    with pytest.raises(NotFound):
        learn_routes([runs / "easy", tmp_path], toy)
    with pytest.raises(BadInput, match="not of 'another'"):
        learn_routes([runs / "easy", runs / "hard"], Dataset("another", toy.corpus, toy.queries, toy.qrels))


def test_a_first_stage_that_changed_is_told(toy, runs, tmp_path):
    search(make("bm25()"), toy, tmp_path / "first", k=10)
    for name, part in [("easy", EASY), ("hard", HARD)]:
        rerank(tmp_path / "first", part, toy, tmp_path / name, depth=10)
    assert isinstance(learn_routes([tmp_path / "easy", tmp_path / "hard"], toy), Radar)
    file = tmp_path / "first" / "run.trec"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(BadInput, match="has changed since"):
        learn_routes([tmp_path / "easy", tmp_path / "hard"], toy)
