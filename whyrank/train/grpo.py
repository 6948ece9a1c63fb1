"""GRPO on TRL: completions are drawn, paid by what they are worth, and the better ones of a group made likelier."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from whyrank.errors import BadInput, TrainingStopped, WhyrankError, need, require
from whyrank.io.tasks import task_record
from whyrank.llm.answer import Ok
from whyrank.llm.reasoning import opens_thought, split_reasoning
from whyrank.progress import progress, warn
from whyrank.registry import make
from whyrank.rerank.formats import Format
from whyrank.train import trainer as base
from whyrank.train.card import card
from whyrank.train.completions import CompletionFigures
from whyrank.train.config import GRPO, plain
from whyrank.train.draws import DrawnPrompts, RewritingPrompts, asks_of, spec_of
from whyrank.train.held_out import HeldOutLists, HeldOutSearches, speaking
from whyrank.train.models import adapter, load_model, refuse_spread, save_model
from whyrank.train.monitor import Monitor, last_held_out, metrics
from whyrank.train.rewards import ForTRL, Reward
from whyrank.train.rewards.adapters import task_of
from whyrank.train.rewards.base import completion_of, formats_of, label


def train(config: GRPO) -> base.Trained:
    """Train as `config` says, and write the run folder; called again, it goes on from the last checkpoint.

    Each draw of a list shows its documents in a new order. Prompts that are too long, lists with nothing relevant and
    lists in which every order is as good are left out beforehand, groups without spread are dropped from the loss; all
    are counted in the report.

    Raises:
        BadInput: a file or a spec cannot be read, nothing can be learnt, or the folder holds another run.
        EngineError: the model cannot be loaded.
        NotFound: no such file.
        TrainingStopped: a reward raised, or the disk is full; checkpoints so far are whole.
    """
    held_out = [config.held_out.tasks] if config.held_out else []
    task = {"verb": "train grpo", "config": plain(config), "files": base.files([*config.tasks, *held_out])}
    folder = base.TrainingFolder(config.output, task)
    if folder.finished:
        return folder.done()
    refuse_spread(config.loop, config.model, config.held_out)
    if config.vllm is not None:
        require("vllm", extra="vllm", asked_by="[vllm], which may be left out,")
    rewards = _rewards(config)
    trl = need("trl", extra="train")
    model, chat = load_model(config.model, config.seed)
    asks = asks_of(config, chat)
    draws = DrawnPrompts(config, asks, chat, getattr(model.config, "max_position_embeddings", None))
    measured: HeldOutLists | HeldOutSearches | None = None
    if config.held_out is not None:
        measured = (
            HeldOutSearches(config.held_out, asks[0].search)
            if isinstance(asks[0], RewritingPrompts)
            else HeldOutLists(config.held_out, chat, config.formats[0], config.max_passage_tokens)
        )
    groups = config.loop.batch * config.loop.accumulation * base.devices() // config.generations
    rounds = config.steps // config.iterations
    folder.begin()
    kind: Any = type("GRPO", (Groups, base.Additions, trl.GRPOTrainer), {"moves": config.optimizer})
    kind.look, kind.drops = CompletionFigures([ask.format for ask in asks], chat), not config.keep_even
    with progress("training", config.steps) as advance:
        trainer = kind(
            model=model,
            reward_funcs=[Paid(*one, config) for one in zip(rewards, _names(rewards), strict=True)],
            args=trl.GRPOConfig(
                **base.arguments(folder.path, config.loop, config.optimizer, config.steps, config.seed),
                **_arguments(config),
            ),
            train_dataset=_dataset(draws, rounds * groups),
            processing_class=chat.tokenizer,
            peft_config=adapter(config.model, model),
        )

        def measure() -> Mapping[str, float]:
            assert measured is not None and config.held_out is not None
            with speaking(trainer.accelerator.unwrap_model(trainer.model), chat, config.held_out.batch) as llm:
                return measured.measure(llm)

        every = config.held_out.every if config.held_out else 0
        watch = Monitor(folder.path, every, measure if config.held_out else None, advance)
        base.attach(trainer, watch, folder.path, config.loop)
        if base.first():
            kind.look.tell = lambda figures: watch.note(trainer.state.global_step + 1, figures)  # the step to come
        seconds = base.run(trainer, folder)
    report = {
        "steps": config.steps, "seconds": seconds, "sources": draws.counts, "groups": rounds * groups,
        "dropped_groups": trainer.counted["dropped_groups"],
        "held_out": last_held_out(metrics(folder.path)),
    }  # fmt: skip
    if report["dropped_groups"] >= report["groups"]:
        warn(
            f"nothing was learnt: all {report['groups']:,} groups were dropped, since the completions of each were "
            "worth the same: take easier or harder tasks, more generations, a higher temperature, or another reward"
        )
    save_model(trainer, chat, folder, card("GRPO", config.model, task, report))
    return folder.finish(report)


class Groups:
    """Mixed into GRPOTrainer: groups whose completions are all worth the same leave the loss; completions are seen."""

    look: CompletionFigures
    drops: bool
    _rewards: Any

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        mine: Any = self
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        self._rewards = rewards
        read = [
            _read(one, bool(row["opened"]), len(ids) >= mine.max_completion_length)
            for one, row, ids in zip(completions, inputs, completion_ids_list, strict=True)
        ]
        seen = self.look(read, [task_of(one["task"]) for one in inputs], [one["format"] for one in inputs])
        for name, value in seen.items():
            mine._metrics["train" if mine.model.training else "eval"][name].append(value)
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """What could not be computed, such as the clipping of a dropped group, is no figure."""
        mine: Any = self
        for told in mine._metrics.values():
            for name in list(told):
                told[name] = [value for value in told[name] if not math.isnan(value)]
                if not told[name]:
                    del told[name]
        super().log(logs, start_time)  # type: ignore[misc]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        torch = need("torch", extra="train")
        trainer: Any = self
        worth = (
            (self._rewards * trainer.reward_weights.to(self._rewards.device))
            .nansum(1)
            .view(-1, trainer.num_generations)
        )
        spread = worth.max(1).values - worth.min(1).values > 1e-6
        trainer.counted["dropped_groups"] += int((~spread).sum())
        trainer._metrics["train"]["dropped_groups"].append(1 - spread.float().mean().item())
        if self.drops:
            kept = spread.repeat_interleave(trainer.num_generations)
            here = trainer.accelerator.process_index * len(inputs)
            output["completion_mask"] = output["completion_mask"] * kept[here : here + len(inputs), None]
            tokens = trainer.accelerator.gather(output["completion_mask"].sum()).sum()
            output["num_items_in_batch"] = torch.clamp(tokens, min=1)
        return output


class Paid:
    """A reward in TRL's form, for the prompts in its format: an opened thought has its tag, an exception says where."""

    def __init__(self, reward: Reward, name: str, config: GRPO) -> None:
        """Wrap it, and call it so."""
        generations = config.generations if reward.grouped else None
        self._reward = ForTRL(reward, generations=generations, limit=config.max_completion)
        self._reads = {*map(spec_of, formats_of(reward))}
        self.__name__ = name

    def __call__(self, prompts: Any, completions: Any, completion_ids: Any = None, **columns: Any) -> Any:
        """A reward for each completion, None where it does not apply.

        Raises:
            TrainingStopped: the reward raised.
        """
        mine = [at for at, format in enumerate(columns["format"]) if not self._reads or format in self._reads]
        given = [_read(completions[at], columns["opened"][at]) for at in mine]
        ids = None if completion_ids is None else [completion_ids[at] for at in mine]
        try:
            values = self._reward([prompts[at] for at in mine], given, ids, task=[columns["task"][at] for at in mine])
        except Exception as error:
            step = columns["trainer_state"].global_step + 1 if "trainer_state" in columns else "?"
            what = str(error) if isinstance(error, WhyrankError) else f"{type(error).__name__}: {error}"
            raise TrainingStopped(f"the reward {self.__name__} failed at step {step}: {what}") from error
        paid = dict(zip(mine, values, strict=True))
        return [paid.get(at) for at in range(len(completions))]


def _rewards(config: GRPO) -> list[Reward]:
    """The rewards, each of which must read one of the formats that prompts ask for, and each format have one."""
    rewards = [make(one.spec, Reward) for one in config.rewards]
    asked: list[Format[Any]] = [make(format, Format) for format in config.formats]
    read_by = [{*formats_of(reward)} for reward in rewards]
    for reward, read in zip(rewards, read_by, strict=True):
        if asked and (wrong := read - {*asked}):
            named = " or ".join(map(repr, asked))
            raise BadInput(
                f"the reward {reward!r} reads {wrong.pop()!r}, but prompts are {named}: write format={named}"
            )
        if len(read) > 1:
            raise BadInput(f"the reward {reward!r} reads several formats: give one for each, a reward is of one format")
    for format in asked:
        if all(read and format not in read for read in read_by):
            raise BadInput(f"no reward is for prompts in {format!r}: add one with format={format!r}")
    return rewards


def _names(rewards: Sequence[Reward]) -> list[str]:
    """What logs call the rewards: by name, or where several have the same, by spec."""
    names = Counter(map(label, rewards))
    return [label(reward) if names[label(reward)] == 1 else repr(reward) for reward in rewards]


def _read(given: Any, opened: bool, cut: bool = False) -> Ok:
    """A completion as parsers read it; where the template has opened the thought, its tag is put back.

    `cut` says that it was cut off at its bound.
    """
    completion = completion_of(given)
    if cut:
        completion = dataclasses.replace(completion, finish="length")
    if not opened or completion.reasoning or opens_thought(completion.text):
        return completion
    thought, answer = split_reasoning(f"<think>{completion.text}")
    return dataclasses.replace(completion, text=answer, reasoning=thought)


def _arguments(config: GRPO) -> dict[str, Any]:
    """What GRPOConfig is told besides what all trainers are."""
    given = {
        "num_generations": config.generations,
        "max_completion_length": config.max_completion,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "beta": config.beta,
        "epsilon": config.epsilon,
        "epsilon_high": config.epsilon_high,
        "loss_type": config.loss,
        "scale_rewards": config.scale,
        "num_iterations": config.iterations,
        "mask_truncated_completions": config.mask_cut,
        "reward_weights": [one.weight for one in config.rewards],
        "shuffle_dataset": False,  # the rows are in their order already
        "chat_template_kwargs": dict(config.model.chat_template_kwargs),
    }
    if config.vllm is not None:
        given |= {
            "use_vllm": True,
            "vllm_mode": config.vllm.mode,
            "vllm_gpu_memory_utilization": config.vllm.memory,
            "vllm_tensor_parallel_size": config.vllm.tensor_parallel,
            "vllm_enable_sleep_mode": config.vllm.sleep,
            "vllm_server_base_url": config.vllm.url or None,
        }
    return given


def _dataset(draws: DrawnPrompts, rows: int) -> Any:
    """The prompts of all steps, each written when it is asked for."""
    datasets = need("datasets", extra="train")

    def write(numbers: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        given = [draws.row(number) for number in numbers["number"]]
        return {
            "prompt": [row.prompt.chat for row in given],
            "task": [json.dumps(task_record(row.task)) for row in given],
            "opened": [row.opened for row in given],
            "format": [row.format for row in given],
        }

    return datasets.Dataset.from_dict({"number": list(range(rows))}).with_transform(write)
