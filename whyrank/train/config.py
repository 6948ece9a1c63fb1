"""What a training run is told: dataclasses, read strictly from TOML; see `docs/training.md` and `recipes/`."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from whyrank.errors import BadInput, NotFound
from whyrank.fields import Above, AtLeast, AtMost, Below, Declared, Length, NotNegative, Positive, Share
from whyrank.registry import make
from whyrank.rerank.formats import Format
from whyrank.retrieval.base import Retriever
from whyrank.train.rewards.base import Reward

T = TypeVar("T")


class Config(Declared):
    """What a table of the file tells; errors begin with where it stands."""

    @classmethod
    def _called(cls) -> str:
        return ""


@dataclass(frozen=True)
class Lora(Config):
    """Low-rank adaptation (2106.09685, 2021); the adapter is merged into the model that is written at the end.

    Attributes:
        r: the rank.
        alpha: updates are scaled by alpha / r.
        dropout: on the adapter's input.
        targets: names of the modules to adapt; "all-linear" is every linear layer but the head.
        layers: adapt only so many of the highest layers, and spare the way back through those below; 0 is all.
    """

    r: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    layers: NotNegative = 0


@dataclass(frozen=True)
class Model(Config):
    """Where training starts from.

    Attributes:
        path: name on the Hugging Face hub, or folder; empty to start from random weights of the shape `config`.
        tokenizer: name or folder of the tokenizer with its chat template; by default that of `path`.
        config: the shape of a new model, as transformers names it: {model_type = "qwen3", hidden_size = 128, …}; the
            size of the vocabulary and the ids of special tokens are the tokenizer's.
        dtype: of the weights in training: "float32", "bfloat16", or "auto" as the checkpoint has them.
        lora: train an adapter instead of all weights.
        chat_template_kwargs: what the chat template is told, such as {enable_thinking = false}.
    """

    path: str = ""
    tokenizer: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    lora: Lora | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a start from nowhere, and from two places."""
        if bool(self.path) == bool(self.config):
            raise BadInput("give either 'path', to start from a model, or 'config', to start from random weights")
        if self.config and not self.tokenizer:
            raise BadInput("a model from random weights needs a 'tokenizer'")


@dataclass(frozen=True)
class Optimizer(Config):
    """How weights move.

    Attributes:
        name: "adamw", or "muon" for matrices with AdamW for embeddings, head and vectors.
        lr: the highest learning rate; Muon's updates are scaled to the size of AdamW's (2502.16982, 2025).
        lr_rest: with Muon, that of what AdamW trains; None is `lr`.
        schedule: after warm-up "constant", "linear" or "cosine" to `min_lr`, or "wsd": stable, then a decay.
        warmup: share of the steps in which the rate rises from 0.
        decay: share of the steps in which it falls, under "wsd".
        min_lr: where it ends, as a share of the highest; not for "constant" and "linear".
        weight_decay: of matrices.
        betas: of AdamW.
        max_grad_norm: longer gradients are cut to this; 0 leaves them.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: Annotated[float, AtLeast(0)] = 1e-5
    lr_rest: Annotated[float, AtLeast(0)] | None = None
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    warmup: Share = 0.05
    decay: Share = 0.2
    min_lr: Share = 0.0
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    betas: tuple[Annotated[float, AtLeast(0), Below(1)], ...] = (0.9, 0.999)
    max_grad_norm: Annotated[float, AtLeast(0)] = 1.0


@dataclass(frozen=True)
class Loop(Config):
    """How a run goes its steps, and what it leaves behind.

    Attributes:
        batch: sequences of one forward pass, on each device.
        accumulation: forward passes of one step; 8 × 1 and 1 × 8 are the same step.
        like_length: of how many steps the examples are sorted by length, to save padding; 1 mixes kinds of examples in
            each step, which small models need.
        bf16: compute in bfloat16 (autocast); None does so where there is a GPU for it.
        gradient_checkpointing: less memory for a third more time; not on CPUs.
        threads: of torch on a CPU; 0 leaves its choice.
        log_every: steps between lines of metrics.jsonl.
        checkpoint_every: steps between checkpoints; 0 makes none.
        keep: how many checkpoints stay.
        report_to: also tell "tensorboard", "trackio", "wandb".
        deepspeed: a DeepSpeed configuration, for several GPUs.
    """

    batch: Positive = 8
    accumulation: Positive = 1
    like_length: Positive = 16
    bf16: bool | None = None
    gradient_checkpointing: bool = False
    threads: NotNegative = 0
    log_every: Positive = 10
    checkpoint_every: NotNegative = 100
    keep: Positive = 2
    report_to: tuple[str, ...] = ("tensorboard",)
    deepspeed: str = ""


@dataclass(frozen=True)
class HeldOut(Config):
    """Lists that are never trained on, ranked by the model as it is, greedily, with the parser of inference.

    Attributes:
        tasks: RankTasks as JSONL.
        format: the format of the prompts; without it GRPO takes the first of training, SFT "ranking()"; for rewriters
            the search of training stands in its place.
        every: steps between measurements; there is always one before the first step and one after the last.
        limit: how many of the lists, from the first; 0 is all.
        measure: of the ranking, such as "nDCG@10".
        max_tokens: bound on a completion; formats that ask for less get less.
        batch: how many completions are written at once.
    """

    tasks: str
    format: str = ""
    every: int = 100
    limit: NotNegative = 0
    measure: str = "nDCG@10"
    max_tokens: Positive = 1024
    batch: Positive = 32

    def __post_init__(self) -> None:
        """Refuse a format that there is not."""
        _makes("format", self.format, Format)


@dataclass(frozen=True)
class LessonSource(Config):
    """Examples to learn from.

    Attributes:
        path: JSONL: RankTasks where `format` is given, else lines of {"prompt", "completion"}, each a text or a chat.
        format: the format in which RankTasks are put, such as "ranking()"; the target is what a model that knows their
            order (or their grades, where there is none) and their thought would answer.
        weight: share of the draws, against the other sources of its stage; without any, all examples count alike.
        limit: how many lines, from the first; 0 is all.
        keep_irrelevant: learn also from lists in which nothing is relevant and that no teacher has ordered.
        max_passage_tokens: longer passages are cut to this, as in inference.
    """

    path: str
    format: str = ""
    weight: Annotated[float, AtLeast(0)] | None = None
    limit: NotNegative = 0
    keep_irrelevant: bool = False
    max_passage_tokens: Positive = 512

    def __post_init__(self) -> None:
        """Refuse a format that there is not."""
        _makes("format", self.format, Format)


@dataclass(frozen=True)
class Stage(Config):
    """A stretch of training with one mixture of sources; stages follow each other, as a curriculum.

    Attributes:
        sources: what is drawn from.
        steps: how long; or
        epochs: how many times each example is seen, if sources have no weights.
        name: for the reports.
    """

    sources: Annotated[tuple[LessonSource, ...], Length(1)]
    steps: NotNegative = 0
    epochs: Annotated[float, AtLeast(0)] = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a stage of no length, and half-given weights."""
        if (self.steps > 0) == (self.epochs > 0):
            raise BadInput("a stage needs either 'steps' or 'epochs', above 0")
        given = [source.weight for source in self.sources if source.weight is not None]
        if given and (len(given) < len(self.sources) or not any(given)):
            raise BadInput("give a 'weight' to all sources of a stage, one of them above 0, or to none")


@dataclass(frozen=True)
class SFT(Config):
    """Supervised fine-tuning: `whyrank train sft conf.toml`.

    Attributes:
        output: the run folder; calling again goes on there.
        model: where to start.
        stages: what to learn, in order.
        max_length: longer examples, in tokens with prompt and completion, are left out and counted, never cut.
        optimizer, loop, held_out: how.
        seed: of everything that is drawn.
    """

    output: str
    model: Model
    stages: tuple[Stage, ...]
    max_length: Positive = 4096
    optimizer: Optimizer = Optimizer()
    loop: Loop = Loop()
    held_out: HeldOut | None = None
    seed: int = 0


@dataclass(frozen=True)
class Rewarded(Config):
    """A reward, and how much it counts.

    Attributes:
        spec: a reward such as "multiview(p=0.9)"; docs/rewards.md lists them.
        weight: in the sum.
    """

    spec: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a reward that there is not."""
        _makes("spec", self.spec, Reward)


@dataclass(frozen=True)
class VLLMRollouts(Config):
    """Let vLLM write the completions, on a GPU.

    Attributes:
        mode: "colocate" shares the GPUs of training; "server" asks a `trl vllm-serve` elsewhere.
        memory: with "colocate", the share of GPU memory that vLLM takes.
        tensor_parallel: with "colocate", over how many GPUs a model is spread.
        sleep: with "colocate", give the memory back while weights move.
        url: with "server", where it is.
    """

    mode: Literal["colocate", "server"] = "colocate"
    memory: Annotated[float, Above(0), AtMost(1)] = 0.3
    tensor_parallel: Positive = 1
    sleep: bool = False
    url: str = ""


@dataclass(frozen=True)
class GRPO(Config):
    """Reinforcement learning (GRPO, 2402.03300, 2024): `whyrank train grpo conf.toml`.

    One step draws `loop.batch` × `loop.accumulation` completions on each device, `generations` for each prompt.

    Attributes:
        output: the run folder; calling again goes on there.
        model: where to start.
        tasks: RankTasks as JSONL. To rank, lists; for rewriters, queries with the documents that should be found.
        rewards: what completions are worth.
        steps: how many.
        format: to train a ranker: the format of the prompts, such as "ranking()"; or several: each list is then asked
            about in each, and a reward is for the prompts in its own. Formats that show one document get one relevant
            document and one other of each list in turn.
        search: to train a rewriter: "rewritten(bm25(path='index'), reasoned_query(fake()))"; the model takes the place
            of the one that is named there.
        generations: completions of one prompt, a group.
        max_completion: bound on a completion, in tokens.
        max_prompt: longer prompts are left out and counted, never cut; 0 is what the model has room for.
        max_passage_tokens: longer passages are cut to this, as in inference.
        shuffle: show the documents of a list in a new order for each group, so that place tells nothing.
        keep_even: keep groups whose completions are all worth the same; else they are dropped from the loss, and
            counted.
        temperature, top_p, top_k: how completions are drawn; top_k 0 is all.
        beta: weight of the divergence from the model at the start; 0 spares holding that in memory.
        epsilon, epsilon_high: how far one step may move a token's probability, down and up; None is `epsilon`.
        loss: "dapo", "grpo", "dr_grpo", "bnpo" and others that TRL has.
        scale: divide advantages by the spread of the "group", of the "batch", or by nothing: "none".
        iterations: how many times completions are learnt from, a step each; steps and checkpoints are whole rounds.
        mask_cut: leave completions that were cut off out of the loss.
        vllm: let vLLM write the completions.
        optimizer, loop, held_out: how; `held_out.format` is that of training, or the first, unless given.
        seed: of everything that is drawn.
    """

    output: str
    model: Model
    tasks: Annotated[tuple[str, ...], Length(1)]
    rewards: Annotated[tuple[Rewarded, ...], Length(1)]
    steps: Positive
    format: str | tuple[str, ...] = ""
    search: str = ""
    generations: Annotated[int, AtLeast(2)] = 8
    max_completion: Positive = 1024
    max_prompt: NotNegative = 0
    max_passage_tokens: Positive = 512
    shuffle: bool = True
    keep_even: bool = False
    temperature: Annotated[float, AtLeast(0)] = 1.0
    top_p: Annotated[float, Above(0), AtMost(1)] = 1.0
    top_k: int = 0
    beta: Annotated[float, AtLeast(0)] = 0.0
    epsilon: Annotated[float, AtLeast(0)] = 0.2
    epsilon_high: Annotated[float, AtLeast(0)] | None = None
    loss: str = "dapo"
    scale: Literal["group", "batch", "none"] = "group"
    iterations: Positive = 1
    mask_cut: bool = False
    vllm: VLLMRollouts | None = None
    optimizer: Optimizer = Optimizer(lr=1e-6)
    loop: Loop = Loop()
    held_out: HeldOut | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is trained for nothing, or for two things at once, and what is left of a group or a round."""
        if bool(self.format) == bool(self.search):
            raise BadInput("give either 'format', to train a ranker, or 'search', to train a rewriter")
        for format in self.formats:
            _makes("format", format, Format)
        _makes("search", self.search, Retriever)
        if self.loop.batch * self.loop.accumulation % self.generations:
            raise BadInput(
                f"batch × accumulation ({self.loop.batch} × {self.loop.accumulation}) must be whole groups of "
                f"'generations' ({self.generations})"
            )
        for name, steps in {"steps": self.steps, "checkpoint_every": self.loop.checkpoint_every}.items():
            if steps % self.iterations:
                raise BadInput(
                    f"{name!r} ({steps}) must be a multiple of 'iterations' ({self.iterations}): a run "
                    "that goes on has lost the completions of a round"
                )

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the prompts; none for a rewriter."""
        return self.format if isinstance(self.format, tuple) else (self.format,) if self.format else ()


def read_config(path: str | Path, kind: type[T]) -> T:
    """The configuration in the TOML file at `path`.

    Raises:
        NotFound: no such file.
        BadInput: a folder; no TOML; a key that is unknown (the nearest is named), missing, or of the wrong type.
    """
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, a TOML file is wanted") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not TOML: {error}") from None
    return build(kind, given, str(path))


def build(kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """A `kind` with the values `given` by name, nested ones as mappings; raises what `read_config` does."""
    names = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            raise BadInput(f"{where}: no key is called {key!r}" + (
                f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            ))  # fmt: skip
    for name, one in names.items():
        if name not in given and one.default is MISSING and one.default_factory is MISSING:
            raise BadInput(f"{where}: the key {name!r} is missing")
    hints = get_type_hints(kind, include_extras=True)
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in given.items()}
    try:
        return kind(**values)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON can hold it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def _makes(key: str, spec: str, kind: type) -> None:
    """Refuse a spec, where one is given, that makes no part of this kind."""
    try:
        if spec:
            make(spec, kind)
    except (BadInput, NotFound) as error:
        raise BadInput(f"{key}: {error}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    """What TOML gives, as Python has it: tables are configurations, lists tuples; each checks itself when built."""
    kind, inside = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _value(inside[0], value, where)
    if kind in {Union, UnionType}:
        lists = [one for one in inside if get_origin(one) is tuple and isinstance(value, list)]
        return _value(next(one for one in (*lists, *inside) if one is not NoneType), value, where)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise BadInput(f"{where} must be a table, not {value!r}")
        return build(kind, value, where)  # type: ignore[arg-type]
    if kind is tuple and isinstance(value, list):
        return tuple(_value(inside[0], one, f"{where}[{at}]") for at, one in enumerate(value))
    return float(value) if kind is float and type(value) is int else value
