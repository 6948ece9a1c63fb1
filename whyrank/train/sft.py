"""Supervised fine-tuning on TRL: a model learns to answer as a ranker that knows the order does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whyrank.errors import need
from whyrank.progress import progress
from whyrank.train import trainer as base
from whyrank.train.card import card
from whyrank.train.config import SFT, plain
from whyrank.train.data import Lesson, Material, plan
from whyrank.train.held_out import HeldOutLists, speaking
from whyrank.train.models import adapter, load_model, refuse_spread, save_model
from whyrank.train.monitor import Monitor, last_held_out, metrics


def train(config: SFT) -> base.Trained:
    """Train as `config` says, and write the run folder; called again, it goes on from the last checkpoint.

    The loss is that of the completion alone, a mean over the tokens of a step; prompts are those of inference, token
    for token. What is left out (too long, nothing relevant) is counted in the report.

    Raises:
        BadInput: a file cannot be read, nothing can be learnt from it, or the folder holds another run.
        EngineError: the model cannot be loaded, or its tokenizer is another's.
        NotFound: no such file.
        TrainingStopped: the disk is full; checkpoints so far are whole.
    """
    sources = [source for stage in config.stages for source in stage.sources]
    held_out = [config.held_out.tasks] if config.held_out else []
    task = {"verb": "train sft", "config": plain(config)}
    task["files"] = base.files([source.path for source in sources] + held_out)
    folder = base.TrainingFolder(config.output, task)
    if folder.finished:
        return folder.done()
    refuse_spread(config.loop, config.model, config.held_out)
    trl = need("trl", extra="train")
    model, chat = load_model(config.model, config.seed)
    positions = getattr(model.config, "max_position_embeddings", None) or config.max_length
    material = Material.read(sources, chat, min(config.max_length, positions))
    longest = max((source.max_passage_tokens for source in sources if source.format), default=512)
    lists = HeldOutLists(config.held_out, chat, max_passage_tokens=longest) if config.held_out else None
    size = config.loop.batch * config.loop.accumulation * base.devices()
    order = plan(material, config.stages, size, config.seed, config.loop.like_length)
    steps = len(order) // size
    folder.begin()
    kind: Any = type("SFT", (CompletionOnly, base.Additions, trl.SFTTrainer), {"moves": config.optimizer})
    kind.order = order
    with progress("training", steps) as advance:
        trainer = kind(
            model=model,
            args=trl.SFTConfig(
                **base.arguments(folder.path, config.loop, config.optimizer, steps, config.seed),
                dataset_kwargs={"skip_prepare_dataset": True},
                max_length=None,
            ),
            train_dataset=_dataset(material.lessons),
            data_collator=Collator(chat.tokenizer.pad_token_id),
            processing_class=chat.tokenizer,
            peft_config=adapter(config.model, model),
        )

        def measure() -> dict[str, float]:
            assert lists is not None and config.held_out is not None
            with speaking(trainer.accelerator.unwrap_model(trainer.model), chat, config.held_out.batch) as llm:
                return lists.measure(llm)

        every = config.held_out.every if config.held_out else 0
        base.attach(trainer, Monitor(folder.path, every, measure if lists else None, advance), folder.path, config.loop)
        seconds = base.run(trainer, folder)
    report = {
        "steps": steps, "seconds": seconds, "examples": len(order), "sources": material.counts,
        "tokens": int(material.lengths[order].sum()),
        "held_out": last_held_out(metrics(folder.path)),
    }  # fmt: skip
    save_model(trainer, chat, folder, card("SFT", config.model, task, report))
    return folder.finish(report)


class CompletionOnly:
    """Mixed into SFTTrainer: examples in a given order; on a CPU only the completions' tokens are scored."""

    order: Sequence[int]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self.order

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the completions' tokens of the whole step, however it is cut into forward passes."""
        labels = inputs["labels"]
        if labels.device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        torch = need("torch", extra="train")
        keep = labels.shape[1] - int((labels != -100).any(0).nonzero()[0]) + 1  # from the last prompt token that tells
        logits = model(input_ids=inputs["input_ids"], logits_to_keep=keep, use_cache=False).logits[:, :-1]
        wanted = labels[:, 1 - keep :]
        scored = wanted != -100
        loss = torch.nn.functional.cross_entropy(logits[scored].float(), wanted[scored], reduction="sum")
        if num_items_in_batch is None:
            return loss / scored.sum()
        # the count is that of all devices, whose gradients are averaged
        return loss * self.accelerator.num_processes / num_items_in_batch  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Collator:
    """Lessons as one batch, filled up on the right, where a causal model does not look; only completions are labelled.

    Attributes:
        pad: the token that fills up.
    """

    pad: int

    def __call__(self, lessons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """(batch, longest) "input_ids", "attention_mask" and "labels"."""
        torch = need("torch", extra="train")
        width = max(len(lesson["input_ids"]) for lesson in lessons)
        ids = torch.full((len(lessons), width), self.pad)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, lesson in enumerate(lessons):
            one, asked = torch.as_tensor(lesson["input_ids"], dtype=torch.long), int(lesson["asked"])
            ids[row, : len(one)] = one
            labels[row, asked : len(one)] = one[asked:]
            mask[row, : len(one)] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _dataset(lessons: Sequence[Lesson]) -> Any:
    datasets = need("datasets", extra="train")
    columns = {"input_ids": [lesson.ids for lesson in lessons], "asked": [lesson.asked for lesson in lessons]}
    return datasets.Dataset.from_dict(columns).with_format("numpy")
