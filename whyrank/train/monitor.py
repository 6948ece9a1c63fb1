"""What is seen of a run as it goes: metrics.jsonl, a curve of each figure in curves.png, a line of progress."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whyrank.errors import MissingExtra, need
from whyrank.io import atomic_write
from whyrank.io.folders import write_lines
from whyrank.io.locks import open_own
from whyrank.progress import Advance

LEFT_OUT = {"epoch", "total_flos", "train_runtime", "train_samples_per_second", "train_steps_per_second", "step"}
"""What TRL's trainers tell that says nothing about learning."""


class Monitor:
    """Hears of each step and writes down what is told; a callback of transformers' Trainer.

    Args:
        folder: the run folder.
        every: steps between measurements on held-out lists; 0 leaves them out.
        measure: gives the held-out figures by name.
        advance: moves the line of progress on.
    """

    def __init__(
        self, folder: Path, every: int, measure: Callable[[], Mapping[str, float]] | None, advance: Advance
    ) -> None:
        """Nothing is written yet."""
        self._file, self._folder, self._every = folder / "metrics.jsonl", folder, every
        self._measure, self._advance = measure, advance
        self._measured = -1

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Trainers call many hooks; those that are not written here do nothing."""
        if name.startswith("on_"):
            return lambda *_, **__: None
        raise AttributeError(name)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what was written after the checkpoint that training goes on from; measure the start."""
        if state.is_world_process_zero:
            lines = metrics(self._folder) if state.global_step else []
            kept = [line for line in lines if line["step"] <= state.global_step]
            write_lines(self._file, kept)
            self._measured = max((line["step"] for line in kept if last_held_out([line])), default=-1)
        if state.global_step == 0:
            self._held_out(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move on, and measure when it is time."""
        self._advance()
        if self._every and state.global_step % self._every == 0:
            self._held_out(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the end, and draw the curves."""
        if self._measured != state.global_step:
            self._held_out(state)
        if state.is_world_process_zero:
            draw(self._folder)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        """Write a line."""
        told = {name: value for name, value in logs.items() if name not in LEFT_OUT and not name.startswith("train_")}
        if told and state.is_world_process_zero:
            self.note(state.global_step, told)

    def note(self, step: int, figures: Mapping[str, Any]) -> None:
        """Write a line about a step; for the process that writes for all."""
        with open(open_own(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")

    def tell(self, state: Any, figures: Mapping[str, Any]) -> None:
        """Write down figures that did not come from the trainer; replaced by `attach` so that all callbacks hear."""
        self.on_log(None, state, None, figures)

    def _held_out(self, state: Any) -> None:
        self._measured = state.global_step
        if self._measure is not None and state.is_world_process_zero:
            self.tell(state, {f"held_out/{name}": value for name, value in self._measure().items()})


def metrics(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, up to one that was not written to its end, or that is none."""
    file, found = Path(folder) / "metrics.jsonl", []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not (isinstance(told, dict) and isinstance(told.get("step"), int)):
            break
        found.append(told)
    return found


def last_held_out(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The last held-out figures among lines of metrics.jsonl, by name."""
    told = [{name[9:]: value for name, value in line.items() if name.startswith("held_out/")} for line in lines]
    return next(filter(None, reversed(told)), {})


DETAILS = re.compile(r"clip_ratio|zero_std|terminated|completions/(min|max)|num_tokens|step_time")
"""Figures that are written down, but not drawn."""


def draw(folder: str | Path) -> Path | None:
    """Draw each figure in metrics.jsonl that varies; None where there is nothing to draw, or no matplotlib."""
    lines = metrics(folder)
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and not DETAILS.search(name):
                curves.setdefault(name, []).append((line["step"], value))
    curves = {name: points for name, points in curves.items() if len({value for _, value in points}) > 1}
    try:
        figures = need("matplotlib.figure", extra="train")
    except MissingExtra:
        return None
    if not curves:
        return None
    names = sorted(curves, key=lambda name: (not name.startswith("held_out/"), not name.startswith("reward")))
    places = [line["rank_by_place"] for line in lines if "rank_by_place" in line]
    columns = 4
    rows = math.ceil((len(names) + bool(places)) / columns)
    figure = figures.Figure(figsize=(3.4 * columns, 2.3 * rows), layout="constrained")
    panels = [figure.add_subplot(rows, columns, at + 1) for at in range(len(names) + bool(places))]
    for panel, name in zip(panels, names, strict=False):
        panel.plot(*zip(*curves[name], strict=True), marker="o" if name.startswith("held_out/") else None, markersize=3)
        panel.set_title(name, fontsize=8)
    if places:
        few = len(places) // 4 + 1
        for told, some in (("first steps", places[:few]), ("last steps", places[-few:])):
            means = [sum(column) / len(column) for column in zip(*some, strict=False)]
            panels[-1].plot(range(1, len(means) + 1), means, marker="o", markersize=3, label=told)
        panels[-1].legend(fontsize=7)
        panels[-1].set_title("rank answered, above or below the mean, by place shown", fontsize=8)
    for panel in panels:
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    path = Path(folder) / "curves.png"
    with atomic_write(path) as out:
        figure.savefig(out, format="png", dpi=110)
    return path
