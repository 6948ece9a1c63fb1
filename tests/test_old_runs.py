"""Run folders that whyrank 0.1 wrote: they open, tell why, are evaluated, and go on without asking a model again."""

import json
import shutil
from pathlib import Path

import pytest

from whyrank import Rewritten, evaluate, load
from whyrank.experiment import explain, open_run
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.base import Reranker, statuses
from whyrank.retrieval.agentic.agent import Agentic
from whyrank.retrieval.rewrite import outcomes
from whyrank.types import CallReport, Dataset, Place, Repairs, Run, Usage

FOLDERS = Path(__file__).parent / "data" / "runs_0_1"
NOTED = sorted(file.parent.name for file in FOLDERS.glob("*/notes.jsonl"))
RERANKED = ["cascade", "consensus", "listwise", "pointwise"]


@pytest.fixture(scope="module")
def toy() -> Dataset:
    return load("toy").head(2)


def test_all_kinds_are_there() -> None:
    assert NOTED == ["agentic", "cascade", "consensus", "listwise", "pointwise", "rewritten"]


@pytest.mark.parametrize("name", NOTED)
def test_notes_are_understood_to_the_last_word_and_written_as_they_were(name: str) -> None:
    notes = open_run(FOLDERS / name, notes=True).notes
    lines = [json.loads(line) for line in (FOLDERS / name / "notes.jsonl").read_text().splitlines()]
    assert [{"query": query, **json.loads(json.dumps(note.to_dict()))} for query, note in notes.items()] == lines
    assert not any(told.others for note in notes.values() for told in (note, *note.calls))
    assert json.loads((FOLDERS / name / "report.json").read_text())["calls"] == statuses(Run.of({}, notes=notes))


def test_what_a_call_told_has_its_place() -> None:
    note = open_run(FOLDERS / "listwise", notes=True).notes["q01"]
    assert note.candidates == ("d46", "d60", "d63", "d69", "d27", "d37") == tuple(note.first_scores)
    assert note.calls[0] == CallReport(
        "repaired",
        "f29a8920b3a4d4c4f90f14d6aceff07b",
        Usage(460, 28, 12),
        "stop",
        "Only passage 2 tells why. [1] is beside the point.",
        repairs=Repairs(0, 0, 2),
        shown=(2, 3, 4, 5),
        place=Place(window=(2, 6)),
    )


@pytest.mark.parametrize("name", RERANKED)
def test_they_are_explained_and_evaluated(name: str, toy: Dataset) -> None:
    told = explain(FOLDERS / name, "q01", toy)
    assert len(told) == 6 and any(item.reason for item in told) and all(item.text for item in told)
    assert all(call.seconds is not None for call in told.calls)
    assert "why: " in told.explain() and told.to_dict()["calls"][0]["shown"][0] in told.candidates
    assert evaluate(open_run(FOLDERS / name), toy.qrels, ["nDCG@10"]).means["nDCG@10"] > 0


def test_what_searches_told_is_found_again() -> None:
    assert outcomes(open_run(FOLDERS / "rewritten", notes=True)) == {"rewritten": 2, "fell_back": 0, "gated": 0}
    note = open_run(FOLDERS / "agentic", notes=True).notes["q01"]
    assert note.stopped == "repeats" and note.evidence[0].id == "d02" and note.searches[0].weakness == "off target"
    assert note.calls[0].hunted is not None and note.calls[0].hunted.rejected == ("water boils",)


@pytest.mark.parametrize("name", NOTED)
def test_they_go_on_without_asking_anything(name: str, toy: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    shutil.copy(FOLDERS / name / "trace.jsonl", path)
    known = path.read_bytes()
    part = make(json.loads((FOLDERS / name / "manifest.json").read_text())["task"]["spec"])
    with Trace(path) as trace:
        if isinstance(part, Reranker):
            run = part.rerank(open_run(FOLDERS / "bm25"), toy, 6, trace)
        else:
            assert isinstance(part, Rewritten | Agentic)
            run = part.index(toy.corpus).search(toy.queries, 6, trace)
    assert path.read_bytes() == known and known
    there = open_run(FOLDERS / name)
    assert {query: list(run[query].ids) for query in run} == {query: list(there[query].ids) for query in there}
