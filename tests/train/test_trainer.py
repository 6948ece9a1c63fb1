"""Run folders, with many processes and with none; real trainers are in the tests of SFT and GRPO."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from whyrank.errors import BadInput, TrainingStopped
from whyrank.io.folders import read_manifest, write_manifest
from whyrank.train.config import GRPO, SFT, HeldOut, LessonSource, Model, Rewarded, Stage, plain
from whyrank.train.encoders import Encoder
from whyrank.train.lists import RankedLists
from whyrank.train.trainer import TALLY, Additions, TrainingFolder, run, whole


def task(config, **files):
    return {"verb": f"train {type(config).__name__.lower()}", "config": plain(config), "files": files}


def taken(path, task) -> TrainingFolder:
    folder = TrainingFolder(path, task)
    folder.begin()
    return folder


def learner(tasks="a.jsonl", held_out=None, every=100):
    watched = HeldOut(held_out, every=every) if held_out else None
    return SFT("out", Model("model"), (Stage((LessonSource(tasks, "ranking()"),), steps=2),), held_out=watched)


def test_a_folder_of_another_kind(tmp_path):
    write_manifest(tmp_path / "run", {"verb": "rerank", "spec": "listwise()"}, (), finished=True)
    write_manifest(tmp_path / "index", {}, (), finished=True)
    taken(tmp_path / "rl", task(GRPO("out", Model("m"), ("a.jsonl",), (Rewarded("ndcg()"),), 1, "ranking()")))
    for name in ("run", "index", "rl"):
        with pytest.raises(BadInput, match=r"holds another run \(they differ in verb\)"):
            TrainingFolder(tmp_path / name, task(learner()))


def test_held_out_lists_may_change_but_not_what_is_learnt(tmp_path):
    files = {"a.jsonl": "1", "b.jsonl": "2"}
    taken(tmp_path / "one", task(learner(held_out="b.jsonl"), **files))
    for watched in (learner(), learner(held_out="b.jsonl", every=5), learner(held_out="c.jsonl")):
        TrainingFolder(tmp_path / "one", task(watched, **files | {"b.jsonl": "3"}))
    taken(tmp_path / "same", task(learner(held_out="a.jsonl"), **{"a.jsonl": "1"}))
    TrainingFolder(tmp_path / "same", task(learner(), **{"a.jsonl": "1"}))
    for watched in (learner(held_out="a.jsonl"), learner()):
        with pytest.raises(BadInput, match=r"differ in files.a.jsonl"):
            TrainingFolder(tmp_path / "same", task(watched, **{"a.jsonl": "2"}))


def test_encoders_too(tmp_path):
    def encoder(run="runs/dev", every=100, learnt="runs/train"):
        return Encoder(
            "out", (RankedLists(data="toy", run=learnt),), held_out=RankedLists(data="toy", run=run), every=every
        )

    files = {"runs/train/run.trec": "1", "runs/dev/run.trec": "2"}
    taken(tmp_path / "one", task(encoder(), **files))
    TrainingFolder(tmp_path / "one", task(encoder(every=7), **files))
    TrainingFolder(
        tmp_path / "one", task(encoder("runs/test"), **{"runs/train/run.trec": "1", "runs/test/run.trec": "3"})
    )
    with pytest.raises(BadInput, match=r"differ in files.runs/train/run.trec"):
        TrainingFolder(tmp_path / "one", task(encoder(), **files | {"runs/train/run.trec": "4"}))


def test_one_process_writes_for_all(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    folder = taken(tmp_path / "run", task(learner()))
    assert not read_manifest(folder.path)
    assert folder.finish({"steps": 2}).report == {"steps": 2} and not (tmp_path / "run").exists()
    monkeypatch.setenv("RANK", "0")
    folder.begin()
    assert not read_manifest(folder.path)["finished"]
    folder.finish({"steps": 2})
    assert read_manifest(folder.path)["finished"]


def test_two_trainings_at_once_are_refused_and_a_broken_one_lets_the_next_go_on(tmp_path):
    path = tmp_path / "run"
    (path / "x").mkdir(parents=True)
    (path / "x").rmdir()
    (path / ".manifest.json.123-abcd1234.partial").touch()  # of a training that was killed at once: not foreign
    taken(path, task(learner()))
    assert [one.name for one in path.iterdir()] == ["manifest.json"]
    script = (
        "import sys, json; from whyrank.train.trainer import TrainingFolder as Folder\n"
        "Folder(sys.argv[1], json.loads(sys.argv[2])).begin()\n"
    )
    command = [sys.executable, "-c", script, str(path), json.dumps(task(learner()))]
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 1 and "another training writes to this folder" in other.stderr
    again = taken(path, task(learner()))  # the first was broken off, in this process
    again.finish({"steps": 2})
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_what_is_left_is_cleared_by_one_before_all_write(tmp_path, monkeypatch):
    partial = tmp_path / ".partial"
    for rank, left in (("1", True), ("0", False)):
        monkeypatch.setenv("RANK", rank)
        partial.mkdir()
        (partial / "theirs").touch()
        waited = []
        with whole(partial, "it", lambda: waited.append((partial / "theirs").exists())):  # noqa: B023
            assert waited == [left]
        (partial / "theirs").unlink(missing_ok=True)
        partial.exists() and partial.rmdir()
    with pytest.raises(TrainingStopped, match="it cannot be written: full"), whole(partial, "it"):
        partial.mkdir()
        raise OSError("full")
    assert not partial.exists()


class Saves:
    """What Additions are mixed into."""

    def __init__(self, folder: Path) -> None:
        self.args = SimpleNamespace(output_dir=str(folder), save_total_limit=2)
        self.state = SimpleNamespace(global_step=0)
        self.accelerator = SimpleNamespace(wait_for_everyone=lambda: None)

    def _save_checkpoint(self, model, trial):
        (Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}").mkdir(parents=True)


class Training(Additions, Saves):
    """A trainer that counts to `steps`."""

    def train(self, resume_from_checkpoint):
        for _ in range(2):
            time.sleep(0.02)
            self.state.global_step += 1
            self.counted["dropped_groups"] += 3
            self._save_checkpoint(None, None)


def test_seconds_and_counts_go_on_with_the_checkpoint(tmp_path):
    folder = TrainingFolder(tmp_path, task(learner()))
    first = run(one := Training(tmp_path / "checkpoints"), folder)
    assert one.counted == {"dropped_groups": 6} and first >= 0.04
    tally = json.loads(Path(folder.checkpoint, TALLY).read_text())
    assert tally["dropped_groups"] == 6 and 0.04 <= tally["seconds"] <= first + 0.01
    (Path(folder.checkpoint) / TALLY).write_text('{"seconds": 100, "dropped_groups": 6}')
    two = Training(tmp_path / "checkpoints")
    two.state.global_step = 2
    assert run(two, folder) >= 100.04 and two.counted == {"dropped_groups": 12}
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["checkpoint-3", "checkpoint-4"]
    Path(folder.checkpoint, TALLY).unlink()  # of an older version
    assert run(Training(tmp_path / "checkpoints"), folder) < 100
