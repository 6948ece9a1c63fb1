"""What engines that run the model on this machine share: chats become token ids, and token ids completions."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Literal, TypeVar
from weakref import WeakValueDictionary

from whyrank.errors import EngineError, need, no_near_miss, not_loaded, require
from whyrank.llm.base import LLM, Failed, Ok, Prompt, Sampling, Usage, split_reasoning, thinking
from whyrank.progress import quiet_hub
from whyrank.registry import name_of

T = TypeVar("T")

SHIPPED = {"tiny": Path(__file__).parent / "tiny"}
"""Models that come with whyrank, by name; see the README.md in each folder. `./tiny` is a folder of your own."""


def located(model: str) -> str:
    """Where an engine finds `model`: the folder of one that comes with whyrank, else the name as it is."""
    return str(SHIPPED.get(model, model))


_SAID = "An answer."
"""The words of a turn whose end is looked at."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as the model reads it.

    Attributes:
        ids: its tokens.
        opened: whether a thought is open already, by the chat template or in a turn that was begun, so that the
            completion lacks `<think>`.
        room: how many tokens the completion may have, bound by `max_tokens` and by the model's window.
    """

    ids: list[int]
    opened: bool
    room: int


def opens(head: str) -> bool:
    """Whether a chat template opened the thought for the model."""
    return head.rstrip().endswith("<think>")


class Chat:
    """A model's tokenizer with its chat template."""

    def __init__(self, tokenizer: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 (an optional package)
        """Take a Hugging Face tokenizer, and what its chat template is to be told."""
        self.tokenizer, self._options = tokenizer, dict(options)

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`, without special tokens."""
        clean = text.encode(errors="replace").decode()  # a lone surrogate has no UTF-8, which is what tokenizers take
        return list(self.tokenizer.encode(clean, add_special_tokens=False, verbose=False))  # no word on long texts

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def closing(self) -> tuple[int, ...]:
        """The tokens with which the template closes a turn of the assistant, up to the first special one.

        Where it closes none with a special token, the tokenizer's `eos_token` does; empty where there is none either.
        """
        turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SAID}]
        told = str(self.tokenizer.apply_chat_template(turn, tokenize=False, **self._options))
        special = {id for id, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        ids = self.encode(told.rpartition(_SAID)[2]) if _SAID in told else []
        for at, id in enumerate(ids):
            if id in special:
                return tuple(ids[: at + 1])
        end = self.tokenizer.eos_token_id
        return () if end is None else (end,)

    def answer(self, ids: Sequence[int]) -> str:
        """The text of what a model wrote, without special tokens such as the one that ends it."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def render(self, chat: list[dict[str, str]]) -> str:
        """The chat as one text, up to where the assistant goes on; raises jinja2's TemplateError if it may not be."""
        return "".join(self.parts(chat))

    def parts(self, chat: list[dict[str, str]]) -> tuple[str, str]:
        """The text of `render` in two: up to where the assistant begins, and what its turn already holds.

        A turn that was begun is put behind the template's opening as it is, since templates change the text of such
        turns (many take the thought out); `<think>` stands once where both have it.
        """
        begun = chat[-1]["content"] if chat and chat[-1]["role"] == "assistant" else ""
        asked = chat[:-1] if begun else chat
        head = self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, **self._options)
        return str(head), begun.removeprefix("<think>") if opens(head) else begun

    def ok(
        self,
        asked: Asked,
        ids: Sequence[int],
        text: str,
        finish: Literal["stop", "length"],
        logprobs: tuple[dict[str, float], ...] = (),
        cached: int = 0,
    ) -> Ok:
        """The completion that a model wrote as `ids`, which read `text`; reasoning is counted by encoding it again."""
        thinks = asked.opened and not text.lstrip().startswith("<think>")
        reasoning, answer = split_reasoning("<think>" + text if thinks else text)
        usage = Usage(len(asked.ids), len(ids), min(len(self.encode(reasoning)), len(ids)), cached)
        return Ok(answer, reasoning, usage, finish, logprobs)


@dataclass(frozen=True)
class Local(LLM):
    """A model on this machine, by its name on the Hugging Face hub or the folder where it lies.

    Attributes:
        model: name or folder; "tiny" is the small reasoning reranker that comes with whyrank.
        context: the window in tokens; the model's own where it is not given, less to save memory.
        dtype: the weights' type, such as "bfloat16"; "auto" takes the checkpoint's on a GPU, and float32 on the CPU.
        chat_template_kwargs: what the chat template is told, such as `{"enable_thinking": False}` for Qwen3.
    """

    extra: ClassVar[str]
    """The extra of whyrank that installs the engine."""

    packages: ClassVar[tuple[str, ...]]
    """What the engine needs installed: looked for before a model is."""

    model: str
    context: int | None = None
    dtype: str = "auto"
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def window(self) -> int | None:
        """`context`, or the number of positions that the model's configuration names."""
        return self.context if self.context is not None else self._positions

    @property
    def identity(self) -> str:
        """The model, and what its chat template is told; the same as of a server that is asked the same way."""
        if not self.chat_template_kwargs:
            return self.model
        return f"{self.model} {json.dumps({'chat_template_kwargs': self.chat_template_kwargs}, sort_keys=True)}"

    @cached_property
    def chat(self) -> Chat:
        """The model's tokenizer and chat template, loaded on first use.

        Raises:
            EngineError: there is no such model, or it has no chat template.
        """
        loaded = Chat(self._from_pretrained("AutoTokenizer"), self.chat_template_kwargs)
        if not loaded.tokenizer.chat_template:
            raise EngineError(
                f"{self!r} cannot be used: the tokenizer of {self.model} has no chat template. "
                "Take a model that is made to answer (its name often ends in Instruct or Chat)"
            )
        return loaded

    def tokenizer(self) -> Chat:
        """The model's own tokenizer."""
        return self.chat

    def chat_tokens(self, chat: list[dict[str, str]]) -> int | None:
        """The exact length of `chat`; None where the model's template refuses it."""
        try:
            return len(self.chat.encode(self.chat.render(chat)))
        except need("jinja2", extra=self.extra).TemplateError:
            return None

    def read(self, prompt: Prompt) -> Asked | Failed:
        """`prompt` as the model reads it; `Failed` if its template refuses it or its window is full."""
        try:
            head, begun = self.chat.parts(prompt.chat)
        except need("jinja2", extra=self.extra).TemplateError as error:
            return Failed("bad_request", f"the chat template of {self.model} refuses the prompt: {error}")
        ids, room = self.chat.encode(head + begun), prompt.sampling.max_tokens
        if self.window is not None:
            if len(ids) >= self.window:
                return Failed("context", f"the prompt has {len(ids)} tokens, the window of {self.model} {self.window}")
            room = min(room, self.window - len(ids))
        return Asked(ids, thinking("<think>" * opens(head) + begun), room)

    def temperature(self, drawn: Sampling) -> float:
        """What to draw at: the model's own temperature where `drawn` leaves it to the engine."""
        return self._own_temperature if drawn.temperature is None else drawn.temperature

    @cached_property
    def _own_temperature(self) -> float:
        try:
            own = self._from_pretrained("GenerationConfig")
        except EngineError:  # a model that comes with no settings is greedy, as transformers has it
            return 0.0
        return float(own.temperature or 1.0) if own.do_sample else 0.0

    @cached_property
    def _positions(self) -> int | None:
        config = self._from_pretrained("AutoConfig").get_text_config()
        return getattr(config, "max_position_embeddings", None)

    def _from_pretrained(self, kind: str, **options: Any) -> Any:  # noqa: ANN401 (an optional package)
        """What transformers' class of name `kind` loads for this model."""
        asked_by = f"{name_of(type(self))}(...)"
        for known in SHIPPED:
            no_near_miss(self.model, known, asked_by)
        require(*self.packages, extra=self.extra, asked_by=asked_by)
        transformers = need("transformers", extra=self.extra, asked_by=asked_by)
        quiet_hub()
        try:
            return getattr(transformers, kind).from_pretrained(located(self.model), **options)
        except (OSError, ValueError, UnpicklingError) as error:
            raise EngineError(f"{self!r} cannot be loaded: {not_loaded(self.model, error)}") from error


_engines: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = threading.Lock()


def shared(part: Local, start: Callable[[], T]) -> T:
    """The engine of `part`, started if no equal part keeps one already; it lives as long as one of them does."""
    with _lock:
        engine: T | None = _engines.get(repr(part))
        if engine is None:
            engine = _engines[repr(part)] = start()
        return engine
