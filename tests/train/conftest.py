"""A model small enough to be trained in a test."""

from pathlib import Path
from typing import Any

import pytest
import toy_task
from toy_task import SHAPE

from whyrank.train.config import SFT, HeldOut, LessonSource, Loop, Model, Optimizer, Stage


@pytest.fixture(autouse=True)
def plain_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_task.tokenizer(tmp_path_factory.mktemp("words"))


@pytest.fixture
def config(tmp_path: Path, words: str) -> Any:
    """Makes configurations: `config("name", steps=4, batch=8)`."""
    train, test = toy_task.write(tmp_path, 60, 6)

    def make(name: str = "run", steps: int = 4, held_out: bool = False, **loop: Any) -> SFT:
        return SFT(
            str(tmp_path / name),
            Model(tokenizer=words, config=SHAPE),
            (Stage((LessonSource(train, toy_task.FORMAT),), steps=steps),),
            optimizer=Optimizer("muon", lr=3e-3),
            loop=Loop(**{"batch": 8, "threads": 1, "checkpoint_every": 0, "log_every": 1, "report_to": (), **loop}),
            held_out=HeldOut(test, toy_task.FORMAT, every=steps, max_tokens=20) if held_out else None,
        )

    return make
