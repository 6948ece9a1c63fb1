"""What is seen of a run: metrics.jsonl as it grows and shrinks, and its picture."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from whyrank.errors import BadInput
from whyrank.progress import progress
from whyrank.train.monitor import Monitor, draw, last_held_out, metrics
from whyrank.train.trainer import checkpoints


def state(step: int, first: bool = True):
    return SimpleNamespace(global_step=step, is_world_process_zero=first)


def watch(folder, measure=None, every=2):
    with progress("", None) as advance:
        return Monitor(folder, every, measure, advance)


def test_it_measures_at_the_start_in_turn_and_at_the_end(tmp_path):
    told = iter([0.1, 0.2, 0.3, 0.4])
    seen = watch(tmp_path, lambda: {"nDCG@10": next(told)})
    seen.on_train_begin(None, state(0), None)
    for step in range(1, 6):
        seen.on_step_end(None, state(step), None)
    seen.on_log(None, state(5), None, {"loss": 1.0, "epoch": 2, "train_runtime": 3})
    seen.on_train_end(None, state(5), None)
    measured = [(line["step"], line["held_out/nDCG@10"]) for line in metrics(tmp_path) if "held_out/nDCG@10" in line]
    assert measured == [(0, 0.1), (2, 0.2), (4, 0.3), (5, 0.4)]
    assert {"step": 5, "loss": 1.0} in metrics(tmp_path)
    assert last_held_out(metrics(tmp_path)) == {"nDCG@10": 0.4}


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_no_figure_is_written_through_a_link(tmp_path, link):
    (victim := tmp_path / "victim").write_text("mine")
    seen = watch(tmp_path / "run")
    (tmp_path / "run").mkdir()
    link(tmp_path / "run" / "metrics.jsonl", victim)
    with pytest.raises(BadInput, match="is not written through"):
        seen.on_log(None, state(1), None, {"loss": 1.0})
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("line", ["5", "[]", "{}", '{"step": "x"}', '{"step": null}', "[" * 9999, "9" * 5000])
def test_a_line_that_is_none_ends_what_is_read(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    assert metrics(tmp_path) == [{"step": 1}] and last_held_out(metrics(tmp_path)) == {}
    watch(tmp_path).on_train_begin(None, state(3), None)


def test_only_folders_that_training_wrote_are_checkpoints(tmp_path):
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-x", "checkpoint--1", "checkpoint-", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-99").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "checkpoint-98").write_text("")
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-10"]


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path):
    lines = [{"step": step, "loss": 1.0} for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "lo')
    assert metrics(tmp_path) == lines
    watch(tmp_path).on_train_begin(None, state(3), None)
    assert metrics(tmp_path) == lines[:3]


def test_what_was_measured_at_the_checkpoint_is_not_measured_again(tmp_path):
    for step, measured in ((4, [0.5]), (3, [0.5, 0.9])):
        (tmp_path / "metrics.jsonl").write_text(
            '{"step": 3, "loss": 1}\n' * 2 + f'{{"step": {step}, "held_out/R": 0.5}}'
        )
        seen = watch(tmp_path, lambda: {"R": 0.9}, every=0)
        seen.on_train_begin(None, state(4), None)
        seen.on_train_end(None, state(4), None)
        assert [line["held_out/R"] for line in metrics(tmp_path) if "held_out/R" in line] == measured


def test_only_the_first_process_writes(tmp_path):
    lines = [{"step": step, "loss": 1.0} for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen = watch(tmp_path, lambda: {"R": 0.9})
    seen.on_train_begin(None, state(3, first=False), None)
    seen.on_log(None, state(4, first=False), None, {"loss": 2.0})
    seen.on_train_end(None, state(4, first=False), None)
    assert metrics(tmp_path) == lines


def test_the_picture_shows_what_varies(tmp_path):
    assert draw(tmp_path) is None
    lines = [{"step": step, "loss": 1 / step, "same": 1, "rank_by_place": [-1, 0, 1]} for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert draw(tmp_path) == tmp_path / "curves.png"
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_other_hooks_do_nothing(tmp_path):
    assert watch(tmp_path).on_evaluate(None) is None
    assert not hasattr(watch(tmp_path), "elsewhere")
