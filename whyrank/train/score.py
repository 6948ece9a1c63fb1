"""Training of the score that `scored(...)` reads: what a language model gives to single tokens, learnt over lists."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Annotated, Any

from whyrank.errors import BadInput, EngineError, need
from whyrank.fields import AtLeast, Length, NotNegative, Positive
from whyrank.llm.answer import Failed
from whyrank.llm.budget import clip
from whyrank.progress import progress
from whyrank.registry import make
from whyrank.rerank.formats import Format, YesNo, clean
from whyrank.rerank.formats.weighed import Softmax, Weighed
from whyrank.train import trainer as base
from whyrank.train.card import card
from whyrank.train.config import Config, Loop, Model, Optimizer, plain
from whyrank.train.held_out import Live, speaking
from whyrank.train.lists import DrawnList, RankedLists
from whyrank.train.models import adapter, load_model, refuse_spread, save_model
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
    "from whyrank import Transformers\nfrom whyrank.rerank.strategies.scored import Scored\n\n"
    'Scored(Transformers("this/folder")).rank("a question", ["a passage", "another"])\n'
)


@dataclass(frozen=True)
class Score(Config):
    """A language model that learns to score, over lists: `whyrank train score conf.toml`.

    Attributes:
        output: the run folder; calling again goes on there.
        lists: what to learn from.
        model: where to start, such as {path = "smollm2"}; `lora` trains an adapter.
        format: what `scored(...)` will ask: "yes_no('no')", of which "yes" is read against "no", or `weighed(...)` with
            a reading of one token or of two.
        loss: of whyrank.train.losses; "plackett_luce" is the policy gradient on nDCG.
        size: documents of each list in a step, at least 2; new ones are drawn each epoch.
        epochs: how often each list is seen.
        samples: rankings drawn for each list under "plackett_luce".
        k: the cut-off of nDCG under "plackett_luce" and "lambdarank".
        max_passage_tokens: longer passages are cut to this, as in inference.
        held_out: lists that are never trained on; or
        hold_out: so many of the training lists, drawn by the seed, are held out; other lists of their queries are then
            not learnt from.
        every: steps between measurements of nDCG@10 on them.
        optimizer, loop: how; the batch is of lists.
        seed: of everything that is drawn.
    """

    output: str
    lists: Annotated[tuple[RankedLists, ...], Length(1)]
    model: Model
    format: str = "yes_no('no')"
    loss: Loss = "ranknet"
    size: Annotated[int, AtLeast(2)] = 8
    epochs: Positive = 1
    samples: Annotated[int, AtLeast(2)] = 16
    k: Positive = 10
    max_passage_tokens: Positive = 512
    held_out: RankedLists | None = None
    hold_out: NotNegative = 0
    every: Positive = 100
    optimizer: Optimizer = field(default_factory=partial(Optimizer, lr=1e-4))
    loop: Loop = field(default_factory=Loop)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse two kinds of held-out lists, and a format of which no score is read."""
        refuse_both(self)
        _scoring_format(self.format)


def train(config: Score) -> base.Trained:
    """Train as `config` says, and write the run folder; called again, it goes on from the last checkpoint.

    A step shows `loop.batch` · `loop.accumulation` short lists on each device. Each passage is scored by the prompt of
    inference, token for token; what the prompts of a list begin with alike, instructions and query, is read once for
    all of them, and of the model's head only the tokens that are read are computed. The score is the logit of one
    token, or that of the first less that of the second, which every reading of two orders by.

    Raises:
        BadInput: lists cannot be read, nothing can be learnt from them or measured by, a prompt is longer than the
            model's window, or the folder holds another run.
        EngineError: the model cannot be loaded, or lacks a token that is read.
        NotFound: no such file.
        TrainingStopped: the disk is full; checkpoints so far are whole.
    """
    sources = [*config.lists, *([config.held_out] if config.held_out else [])]
    task = {"verb": "train score", "config": plain(config), "files": base.files([one.file for one in sources])}
    folder = base.TrainingFolder(config.output, task)
    if folder.finished:
        return folder.done()
    refuse_spread(config.loop, config.model, None)
    transformers = need("transformers", extra="train")
    rows, counts, held_out = material(config)
    rows, steps = whole_steps(rows, config.loop)
    told = base.arguments(folder.path, config.loop, config.optimizer, steps, config.seed)
    model, chat = load_model(config.model, config.seed)
    reader = Reader(config.format, chat, config.max_passage_tokens, model)
    network = model if config.model.lora is None else need("peft", extra="train").get_peft_model(
        model, adapter(config.model, model)
    )  # fmt: skip
    folder.begin()
    kind: Any = type("Scores", (OverLists, base.Additions, transformers.Trainer), {"moves": config.optimizer})
    kind.reader, kind.function = reader, staticmethod(loss_of(config))
    with progress("training", steps) as advance, cut_head(model, reader.ids):
        trainer = kind(
            model=network,
            args=transformers.TrainingArguments(**told),
            train_dataset=rows,
            data_collator=list,
            processing_class=chat.tokenizer,
        )
        measure = partial(measured, partial(reader.score, network), held_out) if held_out else None
        seconds, last = taught(trainer, folder, config, measure, advance)
    report = {"steps": steps, "seconds": seconds, "examples": len(rows), "sources": counts, "held_out": last}
    save_model(trainer, chat, folder, card(f"Its score over lists, {config.loss}", config.model, task, report, _USE))
    return folder.finish(report)


class Reader:
    """Reads scores of a model, with or without gradients.

    Attributes:
        ids: the tokens that are read: one, or two whose difference is the score.
    """

    def __init__(self, format: str, chat: Any, max_passage_tokens: int, model: Any) -> None:
        """Look for the tokens in the model's vocabulary.

        Raises:
            EngineError: one of them is not one token of the model's.
        """
        self._format, self._chat, self._most = _scoring_format(format), chat, max_passage_tokens
        with speaking(model, chat) as live:
            assert isinstance(live, Live)
            self._live = live
        found = live.targets(self._format.render("?", ["?"]))
        if isinstance(found, Failed):
            raise EngineError(found.detail)
        self.ids = found

    def score(self, model: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The scores of pairs of query and document, without gradients; neighbours of one query are read together."""
        training, found = model.training, []
        model.eval()
        with need("torch", extra="train").inference_mode():
            for query, some in groupby(pairs, key=lambda pair: pair[0]):
                found += self(model, query, [document for _, document in some]).tolist()
        model.train(training)
        return found

    def __call__(self, model: Any, query: str, documents: Sequence[str]) -> Any:
        """(documents,) float32 scores; what their prompts begin with alike is read once."""
        torch, rows = need("torch", extra="train"), [self._ids(query, document) for document in documents]
        shared = _alike(rows)
        width = max(map(len, rows)) - shared
        ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, width - len(row) + shared :] = torch.as_tensor(row[shared:])
            mask[at, width - len(row) + shared :] = 1
        places = shared + (mask.cumsum(-1) - 1).clamp(min=0)
        ids, mask, places = (one.to(model.device) for one in (ids, mask, places))
        past = None
        if shared:
            begin = torch.as_tensor([rows[0][:shared]], device=model.device)
            past = model(input_ids=begin, use_cache=True, logits_to_keep=1).past_key_values
            past.batch_repeat_interleave(len(rows))
            mask = torch.cat([mask.new_ones(len(rows), shared), mask], dim=1)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=past, use_cache=past is not None,
            logits_to_keep=1,
        ).logits[:, -1].float()  # fmt: skip
        return logits[:, 0] - logits[:, 1] if len(self.ids) == 2 else logits[:, 0]

    def _ids(self, query: str, document: str) -> list[int]:
        """The prompt of inference as token ids."""
        passage = clip(clean(document), self._chat, self._most)
        asked = self._live.read(self._format.render(query, [passage]))
        if isinstance(asked, Failed):
            raise BadInput(f"{asked.detail}; 'max_passage_tokens' is {self._most}: the query is {query[:60]!r}")
        return asked.ids


class OverLists:
    """Mixed into Trainer: lists in the order drawn, the loss of the scores of each list together."""

    reader: Reader
    function: Callable[..., Any]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return need("torch.utils.data", extra="train").SequentialSampler(train_dataset)

    def compute_loss(
        self, model: Any, inputs: Sequence[DrawnList], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the lists of a batch."""
        torch = need("torch", extra="train")
        scores = [self.reader(model, row.query, row.documents) for row in inputs]
        return self.function(*padded(torch, scores, [row.gains for row in inputs]))

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs


@contextmanager
def cut_head(model: Any, ids: Sequence[int]) -> Iterator[None]:
    """Let the model compute the logits of these tokens alone, in their order, as long as the block lasts."""
    torch, head = need("torch", extra="train"), model.get_output_embeddings()
    bias = getattr(head, "bias", None)

    def forward(hidden: Any) -> Any:
        return torch.nn.functional.linear(hidden, head.weight[ids], None if bias is None else bias[ids])

    head.forward = forward
    try:
        yield
    finally:
        del head.forward


def _scoring_format(spec: str) -> Format[Any]:
    """The format of a spec, as `scored(...)` takes it.

    Raises:
        BadInput: there is no such format, or it reads no tokens, or more than two.
    """
    format: Format[Any] = make(spec, Format)
    if isinstance(format, YesNo):
        format = Weighed(format, Softmax("yes", "no"))
    targets = format.render("?", ["?"]).targets
    if targets is None or len(targets.tokens) > 2:
        raise BadInput(
            f"format: of {spec} no score of one token or two is read: take yes_no('no'), or "
            "weighed(FORMAT, softmax('yes', 'no'))"
        )
    return format


def _alike(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with alike; each keeps at least one of its own."""
    first, last = min(rows), max(rows)
    most = min(map(len, rows)) - 1
    return next((at for at in range(most) if first[at] != last[at]), most)
