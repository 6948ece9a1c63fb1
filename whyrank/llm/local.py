"""What engines that run the model on this machine share: how it is found, loaded, and its prompts read."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from whyrank.errors import EngineError, need, no_near_miss, not_loaded, require
from whyrank.fields import Positive
from whyrank.llm import gguf
from whyrank.llm.answer import Failed
from whyrank.llm.chat import Chat, EncodedPrompt, opens
from whyrank.llm.engine import LLM
from whyrank.llm.messages import RAW, Prompt, Sampling
from whyrank.llm.packaged import PACKAGED
from whyrank.llm.reasoning import thinking
from whyrank.progress import no_bars, quiet_hub
from whyrank.registry import name_of

T = TypeVar("T")

SHIPPED = {"tiny": Path(__file__).parent / "tiny"}
"""Models that come with whyrank, by name; see the README.md in each folder. `./tiny` is a folder of your own."""


def located(model: str) -> str:
    """Where an engine finds `model`: the folder of one that comes with whyrank or a package, else the name as it is.

    The weights of a package, and those of a GGUF file, are unpacked where that has not been done before.

    Raises:
        EngineError: a GGUF file cannot be read.
        MissingExtra: what reads GGUF is not installed.
    """
    if model in PACKAGED:
        return PACKAGED[model].located()
    if model.endswith(".gguf"):
        return str(gguf.unpacked(Path(model)))
    return str(SHIPPED.get(model, model))


def _known_by(model: str) -> str:
    """What answers of `model` are kept under: its name; for weights in GGUF, what these are."""
    if model in PACKAGED:
        return PACKAGED[model].identity
    return gguf.name(Path(model)) if model.endswith(".gguf") else model


@dataclass(frozen=True)
class Local(LLM):
    """A model on this machine, by its name on the Hugging Face hub, or the folder or GGUF file where it lies.

    Attributes:
        model: name, folder or GGUF file; "tiny" is the small reasoning reranker that comes with whyrank, "smollm2" a
            small language model whose weights a package carries.
        context: the window in tokens; the model's own where it is not given, less to save memory.
        dtype: the weights' type, such as "bfloat16"; "auto" takes the checkpoint's on a GPU, and float32 on the CPU.
        chat_template_kwargs: what the chat template is told, such as `{"enable_thinking": False}` for Qwen3.
    """

    extra: ClassVar[str]
    """The extra of whyrank that installs the engine."""

    packages: ClassVar[tuple[str, ...]]
    """What the engine needs installed: looked for before a model is."""

    model: str
    context: Positive | None = None
    dtype: str = "auto"
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def context_length(self) -> int | None:
        """`context`, or the number of positions that the model's configuration names."""
        return self.context if self.context is not None else self._positions

    @property
    def identity(self) -> str:
        """The model, and what its chat template is told; the same as of a server that is asked the same way."""
        known = _known_by(self.model)
        if not self.chat_template_kwargs:
            return known
        return f"{known} {json.dumps({'chat_template_kwargs': self.chat_template_kwargs}, sort_keys=True)}"

    @cached_property
    def chat(self) -> Chat:
        """The model's tokenizer and chat template, loaded on first use.

        Raises:
            EngineError: there is no such model.
        """
        return Chat(self._from_pretrained("AutoTokenizer"), self.chat_template_kwargs)

    def tokenizer(self) -> Chat:
        """The model's own tokenizer."""
        return self.chat

    def chat_tokens(self, chat: list[dict[str, str]]) -> int | None:
        """The exact length of `chat`; None where the model's template refuses it."""
        if chat and chat[0]["role"] == RAW:
            return len(self.chat.encode(chat[0]["content"], special=True))
        self._want_template()
        try:
            return len(self.chat.encode(self.chat.render(chat)))
        except need("jinja2", extra=self.extra).TemplateError:
            return None

    def read(self, prompt: Prompt) -> EncodedPrompt | Failed:
        """`prompt` as the model reads it; `Failed` if its template refuses it or its window is full."""
        try:
            head, begun = self._text(prompt)
        except need("jinja2", extra=self.extra).TemplateError as error:
            return Failed("bad_request", f"the chat template of {self.model} refuses the prompt: {error}")
        text = head + begun if prompt.finish is None else prompt.finish(head + begun)
        ids, room = self.chat.encode(text, special=prompt.raw and prompt.special_tokens), prompt.sampling.max_tokens
        if self.context_length is not None:
            if len(ids) >= self.context_length:
                return Failed(
                    "context", f"the prompt has {len(ids)} tokens, the window of {self.model} {self.context_length}"
                )
            room = min(room, self.context_length - len(ids))
        asked = EncodedPrompt(ids, thinking("<think>" * opens(head) + begun), room)
        return self._healed(asked, begun) if begun and prompt.targets is None else asked

    def targets(self, prompt: Prompt) -> list[int] | Failed:
        """The ids of the tokens that a prompt wants weighed; `Failed` where a text is not one token of this model."""
        wanted = prompt.targets.tokens if prompt.targets is not None else ()
        ids = {token: [token] if isinstance(token, int) else self.chat.encode(token) for token in wanted}
        if wrong := next((token for token, found in ids.items() if len(found) != 1), None):
            return Failed("bad_request", f"{wrong!r} is {len(ids[wrong])} tokens of {self.model}, and one is weighed")
        largest = len(self.chat.tokenizer)
        if beyond := next((found[0] for found in ids.values() if not 0 <= found[0] < largest), None):
            return Failed("bad_request", f"{self.model} has {largest} tokens, and none with the id {beyond}")
        return [ids[token][0] for token in wanted]

    def _text(self, prompt: Prompt) -> tuple[str, str]:
        """The text of a prompt in two, as `Chat.parts`; a raw one has no template, and its texts end no turn."""
        if prompt.raw:
            pieces = (piece for turn in prompt.messages for piece in turn.pieces)
            return "".join(one.text if one.cut == "never" else self.chat.plain(one.text) for one in pieces), ""
        self._want_template()
        return self.chat.parts(prompt.chat, prompt.template_kwargs)

    def _want_template(self) -> None:
        if not self.chat.tokenizer.chat_template:
            raise EngineError(
                f"{self!r} cannot be used: the tokenizer of {self.model} has no chat template. "
                "Take a model that is made to answer (its name often ends in Instruct or Chat)"
            )

    def _healed(self, asked: EncodedPrompt, begun: str) -> EncodedPrompt:
        """The same without its last token where the model may have written a longer one in its place."""
        *ids, last = asked.ids
        first, lead = self.chat.starting(last), self.chat.decode([last])
        if len(first) == 1 or not begun.endswith(lead):
            return asked
        return replace(asked, ids=ids, room=asked.room + 1, first=first, lead=lead)

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
    def encoder_decoder(self) -> bool:
        """Whether the model is of T5's kind, which reads with one half and writes with the other."""
        return bool(getattr(self._from_pretrained("AutoConfig"), "is_encoder_decoder", False))

    @cached_property
    def _positions(self) -> int | None:
        config = self._from_pretrained("AutoConfig").get_text_config()
        return getattr(config, "max_position_embeddings", None)

    def _from_pretrained(self, kind: str, **options: Any) -> Any:  # noqa: ANN401 (an optional package)
        """What transformers' class of name `kind` loads for this model."""
        asked_by = f"{name_of(type(self))}(...)"
        for known in (*SHIPPED, *PACKAGED):
            no_near_miss(self.model, known, asked_by)
        require(*self.packages, extra=self.extra, asked_by=asked_by)
        transformers = need("transformers", extra=self.extra, asked_by=asked_by)
        quiet_hub()
        try:
            with no_bars(transformers.utils.logging):
                return getattr(transformers, kind).from_pretrained(located(self.model), **options)
        except (OSError, ValueError, UnpicklingError) as error:
            packaged = PACKAGED.get(self.model)
            why = not_loaded(packaged.hub if packaged else self.model, error)
            bring = f". Its weights come with: {packaged.install}" if packaged else ""
            raise EngineError(f"{self!r} cannot be loaded: {why}{bring}") from error


_engines: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = threading.Lock()


def shared(part: Local, start: Callable[[], T]) -> T:
    """The engine of `part`, started if no equal part keeps one already; it lives as long as one of them does."""
    with _lock:
        engine: T | None = _engines.get(repr(part))
        if engine is None:
            engine = _engines[repr(part)] = start()
        return engine
