"""Training of cross-encoders on sentence-transformers: listwise losses, and a policy gradient on nDCG."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from whyrank.encoders import CrossEncoder, Head, new_cross_encoder
from whyrank.errors import BadInput, need
from whyrank.fields import AtLeast, Below, Length, NotNegative, Positive
from whyrank.progress import progress
from whyrank.train import trainer as base
from whyrank.train.card import card
from whyrank.train.config import Config, Loop, Model, Optimizer, plain
from whyrank.train.lists import DrawnList, RankedLists
from whyrank.train.scoring import (
    Loss,
    loss_of,
    material,
    measured,
    padded,
    refuse_both,
    taught,
    whole_steps,
)

_USE = (
    'from whyrank import EncoderRerank\n\nEncoderRerank("this/folder").rank("a question", ["a passage", "another"])\n'
)


@dataclass(frozen=True)
class Encoder(Config):
    """A cross-encoder trained on lists: `whyrank train encoder conf.toml`.

    Attributes:
        output: the run folder; calling again goes on there.
        lists: what to learn from.
        model: where to start: "minilm", a folder, or a name on the hub; a bi-encoder will do.
        head: "cosine" of the two halves, which ranks before any training where the model is a bi-encoder; or "linear",
            fresh weights unless the model brings them.
        loss: of whyrank.train.losses; "plackett_luce" is the policy gradient on nDCG.
        size: documents of each list in a step, at least 2; new ones are drawn each epoch.
        epochs: how often each list is seen.
        samples: rankings drawn for each list under "plackett_luce".
        k: the cut-off of nDCG under "plackett_luce" and "lambdarank".
        max_length: pairs are cut at so many tokens.
        frozen: so many of the lowest layers stay as they are, and with them the embeddings: cheaper, and less to
            overfit; 0 trains all.
        dropout: while training; an architecture that has none wants 0.
        held_out: lists that are never trained on; or
        hold_out: so many of the training lists, drawn by the seed, are held out; other lists of their queries are then
            not learnt from.
        every: steps between measurements of nDCG@10 on them.
        optimizer, loop: how; the batch is of lists.
        seed: of everything that is drawn.
    """

    output: str
    lists: Annotated[tuple[RankedLists, ...], Length(1)]
    model: str = "minilm"
    head: Head = "cosine"
    loss: Loss = "listmle"
    size: Annotated[int, AtLeast(2)] = 8
    epochs: Positive = 1
    samples: Annotated[int, AtLeast(2)] = 16
    k: Positive = 10
    max_length: Annotated[int, AtLeast(8)] = 192
    frozen: NotNegative = 0
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    held_out: RankedLists | None = None
    hold_out: NotNegative = 0
    every: Positive = 100
    optimizer: Optimizer = field(default_factory=partial(Optimizer, lr=2e-5))
    loop: Loop = field(default_factory=Loop)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse two kinds of held-out lists."""
        refuse_both(self)


def train(config: Encoder) -> base.Trained:
    """Train as `config` says, and write the run folder; called again, it goes on from the last checkpoint.

    A step shows `loop.batch` · `loop.accumulation` short lists on each device; each document is scored with the query
    in view, and the loss is of the scores of a list together.

    Raises:
        BadInput: lists cannot be read, nothing can be learnt from them or measured by, the model has fewer layers than
            are to be frozen, or no dropout, or the folder holds another run.
        EngineError: the model cannot be loaded, or does not suit the head.
        NotFound: no such file.
        TrainingStopped: the disk is full; checkpoints so far are whole.
    """
    sources = [*config.lists, *([config.held_out] if config.held_out else [])]
    task = {"verb": "train encoder", "config": plain(config)}
    task["files"] = base.files([one.file for one in sources])
    folder = base.TrainingFolder(config.output, task)
    if folder.finished:
        return folder.done()
    library = need("sentence_transformers.cross_encoder", extra="train")
    torch = need("torch", extra="train")
    rows, counts, held_out = material(config)
    rows, steps = whole_steps(rows, config.loop)
    told = base.arguments(folder.path, config.loop, config.optimizer, steps, config.seed)
    torch.manual_seed(config.seed)
    device = "cpu" if told["use_cpu"] else None
    engine = new_cross_encoder(
        config.model, config.head, dropout=config.dropout, max_length=config.max_length, device=device,
        asked_by="train encoder",
    )  # fmt: skip
    _freeze(engine, config.frozen)
    folder.begin()
    kind: Any = type("Encoders", (InOrder, base.Additions, library.CrossEncoderTrainer), {"moves": config.optimizer})
    with progress("training", steps) as advance:
        trainer = kind(
            model=engine,
            args=library.CrossEncoderTrainingArguments(**told),
            train_dataset=_dataset(rows),
            loss=_loss(torch, engine, config),
        )
        measure = partial(measured, CrossEncoder(engine, config.model).score, held_out) if held_out else None
        seconds, last = taught(trainer, folder, config, measure, advance)
    report = {"steps": steps, "seconds": seconds, "examples": len(rows), "sources": counts, "held_out": last}
    _save(trainer, engine, folder, card(f"A cross-encoder, {config.loss}", Model(config.model), task, report, _USE))
    return folder.finish(report)


class InOrder:
    """Mixed into CrossEncoderTrainer: lists in the order drawn, checkpoints without cards."""

    def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> Any:
        """One list after the other."""
        data = need("torch.utils.data", extra="train")
        return data.BatchSampler(data.SequentialSampler(dataset), batch_size, drop_last)

    def add_model_card_callback(self, *_: Any, **__: Any) -> None:
        """The card is written at the end, by us."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        mine: Any = self
        mine.model.save_pretrained(output_dir or mine.args.output_dir, create_model_card=False)


def _loss(torch: Any, engine: Any, config: Encoder) -> Any:
    """The loss as a module that CrossEncoderTrainer calls with columns of texts and a gain for each document."""
    function = loss_of(config)

    class Listwise(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = engine

        def forward(self, columns: Any, gains: Any, prompt: Any = None, task: Any = None) -> Any:
            queries, documents = columns
            pairs = [(query, one) for query, some in zip(queries, documents, strict=True) for one in some]
            told = self.model.preprocess(pairs, prompt=prompt, task=task)
            told = {name: one.to(self.model.device) if torch.is_tensor(one) else one for name, one in told.items()}
            scores = self.model(told)["scores"].view(-1).float().split([len(some) for some in documents])
            return function(*padded(torch, scores, gains))

    return Listwise()


def _freeze(engine: Any, layers: int) -> None:
    """Keep the embeddings and the lowest `layers` as they are."""
    if not layers:
        return
    network = engine.transformers_model
    network = getattr(network, network.base_model_prefix, network)
    stack = getattr(getattr(network, "encoder", network), "layer", None) or getattr(network, "layers", None)
    if stack is None or layers > len(stack):
        found = "their place is not known" if stack is None else f"it has {len(stack)}"
        raise BadInput(f"'frozen' is {layers} layers of the model: {found}")
    for part in (getattr(network, "embeddings", None) or network.get_input_embeddings(), *stack[:layers]):
        part.requires_grad_(False)


def _dataset(rows: Sequence[DrawnList]) -> Any:
    datasets = need("datasets", extra="train")
    return datasets.Dataset.from_dict({
        "query": [row.query for row in rows],
        "documents": [list(row.documents) for row in rows],
        "labels": [list(row.gains) for row in rows],
    })  # fmt: skip


def _save(trainer: Any, engine: Any, folder: base.TrainingFolder, text: str) -> None:
    """Write the model with its tokenizer and card, the whole folder or nothing."""
    if not trainer.is_world_process_zero():
        return
    partial = folder.path / ".model.partial"
    with base.whole(partial, f"the model {folder.model}"):
        engine.save_pretrained(str(partial), create_model_card=False)
        (partial / "README.md").write_text(text, encoding="utf-8")
        shutil.rmtree(folder.model, ignore_errors=True)
        os.replace(partial, folder.model)
