"""SFT on real TRL, with models made on the spot."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import toy_format
import toy_task
from toy_format import Short
from toy_task import SHAPE, same, weights

from whyrank.errors import BadInput, EngineError, NotFound, TrainingStopped
from whyrank.llm.messages import Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.train import sft
from whyrank.train.config import HeldOut, LessonSource, Lora, Model, Optimizer, Stage
from whyrank.train.monitor import Monitor, metrics

pytestmark = pytest.mark.engines


def test_it_learns_ten_rules(tmp_path, words, config):
    train, test = toy_task.write(tmp_path, 3000, 40)
    asked = replace(
        config("lift", batch=32, log_every=50, report_to=("tensorboard",)),
        optimizer=Optimizer("muon", lr=6e-3, schedule="wsd"),
        stages=(
            Stage((LessonSource(toy_task.drills(tmp_path / "drills.jsonl")),), steps=20),
            Stage((LessonSource(train, toy_task.FORMAT),), steps=380),
        ),
        held_out=HeldOut(test, toy_task.FORMAT, every=200, max_tokens=24),
    )
    done = sft.train(asked)
    seen = [line["held_out/nDCG@10"] for line in metrics(done.folder) if "held_out/nDCG@10" in line]
    assert len(seen) == 3 and seen[0] < 0.75 and seen[-1] > 0.95
    assert done.report["held_out"]["well_formed"] > 0.95
    assert {"README.md", "config.json", "tokenizer.json", "model.safetensors"} <= {
        path.name for path in done.model.iterdir()
    }
    assert (done.folder / "curves.png").read_bytes()[:4] == b"\x89PNG" and list((done.folder / "tensorboard").iterdir())
    assert sft.train(asked).report == done.report  # a finished run is not run again
    reranker = Listwise(Transformers(str(done.model)), format=Short(), sampling=Sampling(max_tokens=24))
    results = reranker.rank("rust", ["straw", "well", "oil"])
    assert results[0].index == 2


def test_a_resumed_run_is_an_unbroken_one(config, monkeypatch):
    unbroken = sft.train(config("unbroken", steps=8, held_out=True, checkpoint_every=3))
    step = Monitor.on_step_end

    def break_off(self, args, state, control, **more):
        step(self, args, state, control, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Monitor, "on_step_end", break_off)
        sft.train(config("broken", steps=8, held_out=True, checkpoint_every=3))
    resumed = sft.train(config("broken", steps=8, held_out=True, checkpoint_every=3))
    assert metrics(resumed.folder) == metrics(unbroken.folder)
    assert same(resumed.model, unbroken.model)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_is_the_same_however_it_is_cut(config, name):
    whole = replace(config("whole", batch=8), optimizer=Optimizer(name, lr=1e-3))
    cut = replace(config("cut", batch=1, accumulation=8), optimizer=Optimizer(name, lr=1e-3))
    one, other = sft.train(whole), sft.train(cut)
    losses = [[line["loss"] for line in metrics(done.folder)] for done in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert same(one.model, other.model, 2e-4)


def test_only_the_completion_is_learnt(config):
    """The loss is that of transformers' own on the completion's tokens, which a prompt of other words leaves alone."""
    import torch

    from whyrank.train.data import Material
    from whyrank.train.models import load_model

    asked = config(steps=1)
    model, chat = load_model(asked.model, 0)
    lessons = Material.read(asked.stages[0].sources, chat, 100).lessons[:5]
    batch = sft.Collator(0)([{"input_ids": lesson.ids, "asked": lesson.asked} for lesson in lessons])
    count = (batch["labels"] != -100).sum()
    assert count == sum(len(lesson.ids) - lesson.asked for lesson in lessons)
    with torch.no_grad():
        ours = sft.CompletionOnly().compute_loss(model, batch)
        theirs = model(**batch).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_lora_is_merged_into_what_is_written(config):
    start = sft.train(config("start", steps=2))
    asked = replace(config("lora", steps=2), model=Model(str(start.model), lora=Lora(4)), optimizer=Optimizer(lr=1e-2))
    done = sft.train(asked)
    assert weights(done.model).keys() == weights(start.model).keys() and not same(done.model, start.model)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
def test_schedules(config, schedule):
    asked = replace(config(schedule, steps=10), optimizer=Optimizer(lr=1e-3, schedule=schedule, warmup=0.2, decay=0.4))
    rates = [line["learning_rate"] for line in metrics(sft.train(asked).folder) if "loss" in line]
    assert rates[0] == 0 and max(rates) == 1e-3
    assert rates[-1] == 1e-3 if schedule == "constant" else rates[-1] < 5e-4
    assert rates[5] == 1e-3 if schedule in {"constant", "wsd"} else rates[5] < 1e-3


def test_a_full_disk_leaves_nothing_half_written(config, monkeypatch):
    import torch

    save = torch.save

    def full(what, where, *rest, **more):
        if "optimizer" in str(where) and "checkpoint-4" not in str(where):
            Path(where).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return save(what, where, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingStopped, match=r"checkpoint-2 cannot be written: .*No space left"):
            sft.train(config("full", steps=6, checkpoint_every=2))
    left = Path(config("full").output) / "checkpoints"
    assert not list(left.iterdir())
    assert sft.train(config("full", steps=6, checkpoint_every=2)).report["steps"] == 6


def test_another_run_is_refused(config):
    done = sft.train(config("taken", steps=1))
    longer = (
        r"holds another run \(they differ in config.stages\): .* go on .* say \[model\] path = '.*taken/model' there"
    )
    with pytest.raises(BadInput, match=longer):
        sft.train(config("taken", steps=2))
    assert (
        sft.train(config("taken", steps=1, held_out=True, log_every=5)).report == done.report
    )  # only watched otherwise
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["finished"] and manifest["task"]["files"]


def test_a_wrong_tokenizer(config, tmp_path, tiny_lm):
    small = sft.train(config("small", steps=1)).model
    with pytest.raises(EngineError, match="it is another model's"):
        sft.train(replace(config("mixed"), model=Model(str(small), tokenizer=str(tiny_lm))))
    with pytest.raises(EngineError, match="cannot be loaded"):
        sft.train(replace(config("none"), model=Model(str(tmp_path / "nowhere"))))
    assert not Path(config("mixed").output).exists() and not Path(config("none").output).exists()


def test_missing_files(config):
    asked = config("gone")
    with pytest.raises(NotFound, match=r"gone.jsonl"):
        sft.train(replace(asked, stages=(Stage((LessonSource("gone.jsonl", "ranking()"),), steps=1),)))


def test_two_devices_take_the_steps_of_one(config, tmp_path):
    """Two processes of this machine, half a batch each."""
    one = sft.train(config("one", steps=2, batch=8))
    two = config("two", steps=2, batch=4)
    source, shape = two.stages[0].sources[0], ", ".join(f"{name} = {json.dumps(is_)}" for name, is_ in SHAPE.items())
    conf = tmp_path / "conf.toml"
    conf.write_text(
        f"output = '{two.output}'\nmodel = {{ tokenizer = '{two.model.tokenizer}', config = {{ {shape} }} }}\n"
        f"loop = {{ batch = 4, threads = 1, checkpoint_every = 1, log_every = 1, report_to = [] }}\n"
        f"optimizer = {{ name = 'muon', lr = 3e-3 }}\n"
        f"[[stages]]\nsteps = 2\nsources = [{{ path = '{source.path}', format = '{source.format}' }}]\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launch = f"torch.distributed.run --nproc_per_node 2 --master_port {port} -m whyrank train sft {conf}".split()
    paths = os.pathsep.join([str(Path(toy_format.__file__).parent), str(Path(sft.__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", *launch], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = Path(two.output)
    half = sft.train(config("half", steps=2, batch=4))
    assert same(folder / "model", one.model, 1e-3)  # Muon's bfloat16 leaves a tenth of a step, by the processor
    assert not same(half.model, one.model, 1e-3)  # what half the batch alone would have learnt
    assert json.loads((folder / "manifest.json").read_text())["finished"]
    assert [line["step"] for line in metrics(folder) if "loss" in line] == [1, 2]
    kept = folder / "checkpoints" / "checkpoint-2"
    assert {path.name for path in kept.parent.iterdir()} == {"checkpoint-1", kept.name}
    assert {"rng_state_0.pth", "rng_state_1.pth", "tally.json"} <= {path.name for path in kept.iterdir()}
