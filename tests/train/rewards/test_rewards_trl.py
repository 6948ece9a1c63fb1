"""Rewards in a real GRPOTrainer: they are called, logged by name, and stop the training when they raise."""

import json
from pathlib import Path
from typing import Any

import pytest

from whyrank.io.tasks import task_record
from whyrank.train.rewards import ForTRL, MultiView, SelfNormLength, WellFormed
from whyrank.types import Document, Query, RankTask

pytestmark = pytest.mark.engines
trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")

TASK = RankTask(
    Query("q", "why do bees dance?"), tuple(Document(id, f"passage {id}") for id in "abc"), {"b": 1}, tuple("bac")
)


def trainer(model: Path, folder: Path, *rewards: Any) -> Any:
    prompt = [{"role": "user", "content": "Rank the passages about bees."}]
    rows = [{"prompt": prompt, "task": json.dumps(task_record(TASK))}] * 4
    settings = trl.GRPOConfig(
        str(folder), per_device_train_batch_size=4, num_generations=4, max_completion_length=64, max_steps=1,
        logging_steps=1, report_to=[], bf16=False, use_cpu=True, gradient_checkpointing=False, save_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    return trl.GRPOTrainer(str(model), list(rewards), args=settings, train_dataset=datasets.Dataset.from_list(rows))


def test_a_step_of_grpo(tiny_lm: Path, tmp_path: Path) -> None:
    length = SelfNormLength(MultiView(p=0.9), unit="tokens")
    given = trainer(tiny_lm, tmp_path, ForTRL(MultiView(p=0.9)), ForTRL(WellFormed()), ForTRL(length, generations=4))
    given.train()
    (step,) = [line for line in given.state.log_history if "reward" in line]
    parts = [step[f"rewards/{name}/mean"] for name in ("multiview", "well_formed", "self_norm_length")]
    assert sum(parts) == pytest.approx(step["reward"], abs=1e-4)
    assert parts[0] > 1 and parts[1] > 0.5  # the tiny model knows this answer by heart


def test_what_raises_stops_the_training(tiny_lm: Path, tmp_path: Path) -> None:
    def broken(text: str, task: RankTask) -> float:
        raise RuntimeError("out of coffee")

    with pytest.raises(RuntimeError, match="out of coffee"):
        trainer(tiny_lm, tmp_path, ForTRL(broken)).train()
