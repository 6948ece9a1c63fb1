"""Training data made in chunks are those of one process, byte for byte."""

import json
from pathlib import Path

import pytest
from counting import asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_chunks import Here

from whyrank import distributed
from whyrank.data_synth.base import Synth
from whyrank.data_synth.folder import synthesise, tasks_of
from whyrank.datasets import load
from whyrank.errors import BadInput
from whyrank.registry import make
from whyrank.types import Dataset

TOY = load("toy")


def whole(method: str, out: Path, data: Dataset = TOY) -> Path:
    part = make(method, Synth)
    synthesise(part, tasks_of(None, data, part), out, data)
    return out


def same(one: Path, other: Path) -> bool:
    names = {path.name for folder in (one, other) for path in folder.glob("*.jsonl")} - {"trace.jsonl"}
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


METHODS = [
    "teacher_rankings(counting.Counting(log='log'))",
    "hard_negatives(bm25())",
    "draws(times=3, size=2)",
    "hard_queries(fake('<think>so</think><query>why do bees dance?</query>'))",
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(METHODS), size=st.integers(1, 20), seed=st.integers(0, 5))
def test_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, method: str, size: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("synth")
    monkeypatch.chdir(folder)
    job = distributed.synthesise(method, None, "toy", folder / "out", on=Here(seed=seed), chunk_size=size)
    assert same(folder / "out", whole(method, folder / "whole"))
    report = json.loads((folder / "whole" / "report.json").read_text())
    assert all(job.report[name] == report[name] for name in ("read", "made", "dropped", "counts", "calls"))
    assert len(set(asked(folder / "log").values()) - {2}) == 0  # once in chunks, once whole


def test_a_method_to_which_tasks_are_not_independent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be worked on in chunks"):
        distributed.synthesise("deduplicated()", None, "toy", tmp_path / "out", on=Here())
    assert not (tmp_path / "out").exists()


def test_on_the_command_line(run, tmp_path: Path) -> None:
    work = ("synth", "draws(times=3, size=2)", "--data", "toy", "-o", "out")
    code, out, _ = run(*work, "--chunk", "0/1")
    assert code == 0 and out.startswith("out: chunks: ")
    code, out, _ = run("join", "out")
    assert code == 0 and "tasks.jsonl" in out and "made of" in out
    assert same(tmp_path / "out", whole("draws(times=3, size=2)", tmp_path / "whole"))
    assert run(*work)[1] == out  # finished is finished
