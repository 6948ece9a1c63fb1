"""The seam below every strategy: a `Prompt` goes in, a `Completion` comes out, be it `Ok` or `Failed`.

A backend writes one method, `_generate`. Which prompts are asked when, how often a call is tried again, what is
remembered and what it costs is the scheduler's (`schedule.py`) and the trace's (`trace.py`) business.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol, TypeAlias

from whyrank.errors import BadInput, BadSpec
from whyrank.llm.loop import run
from whyrank.llm.reasoning import split_reasoning as split_reasoning
from whyrank.llm.reasoning import thinking as thinking
from whyrank.registry import Part
from whyrank.secrets import excerpt

THOUGHT = "</think>"
"""What ends a thought; a call that stops there asks for the thought alone."""

Cut = Literal["never", "document", "query"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a message, and whether it may be shortened when the prompt is too long for the model.

    Documents give way first, sharing what there is (`budget.py`); the query last, with a warning; the rest never.
    """

    text: str
    cut: Cut = "never"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    pieces: tuple[Piece, ...]

    @property
    def content(self) -> str:
        """The text of the turn."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Sampling(Part):
    """How a completion is drawn; `None` leaves a setting to the engine.

    Attributes:
        temperature: 0 is greedy; None is the model's own, and servers are not told one.
        max_tokens: bound on new tokens, thought and answer together.
        top_p: nucleus.
        top_k: 0 is all.
        seed: for engines that take one.
        stop: strings that end the completion.
        logprobs: how many alternatives to report at each place; 0 is none.

    Raises:
        BadSpec: a number out of range.
    """

    temperature: float | None = 0.0
    max_tokens: int = 3172
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int = 0

    file_fields: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "max_tokens", "top_p", "top_k", "seed", "stop", "logprobs"}
    )

    def __post_init__(self) -> None:
        """Refuse what no engine can draw."""
        least = {"temperature": 0, "max_tokens": 1, "top_k": 0, "logprobs": 0}
        given = {name: getattr(self, name) for name in least}
        if low := next((name for name, value in given.items() if value is not None and not value >= least[name]), None):
            raise BadSpec(f"sampling: {low} must be {least[low]} or more, not {getattr(self, low)!r}")
        if not 0 < self.top_p <= 1:
            raise BadSpec(f"sampling: top_p must be above 0 and at most 1, not {self.top_p!r}")


def joined(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    r"""The chat with its system turns put in front of the user's first, for models that know no system turn.

    Examples:
        >>> joined([{"role": "system", "content": "Rank."}, {"role": "user", "content": "[1] bees"}])
        [{'role': 'user', 'content': 'Rank.\n\n[1] bees'}]
    """
    told = [turn["content"] for turn in chat if turn["role"] == "system"]
    others = [turn for turn in chat if turn["role"] != "system"]
    if not others or others[0]["role"] != "user":
        others = [{"role": "user", "content": ""}, *others]
    first = "\n\n".join(text for text in (*told, others[0]["content"]) if text)
    return [{"role": "user", "content": first}, *others[1:]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one call asks: the chat so far, how to draw the completion, and which of several draws this is.

    A last message of the assistant's is a turn that was begun: the completion goes on where it ends, and holds only
    what is new (`continued`).

    Attributes:
        messages: the chat.
        sampling: how to draw.
        sample: which draw this is.
        answer_tokens: what an answer takes at most, its thought apart, where the asker knows; None where not.
        reserve: tokens that are kept free in the model's window beside `max_tokens`, for a call that goes on.
        reads: whether a token is one whose log probabilities are read; others are not kept. None keeps all.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    sample: int = 0
    answer_tokens: int | None = None
    reserve: int = 0
    reads: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as `{"role": …, "content": …}`, the form that engines take."""
        return [{"role": message.role, "content": message.content} for message in self.messages]

    @property
    def begun(self) -> str:
        """What the assistant's turn already holds; empty where the completion begins it."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""

    def continued(self, text: str, sampling: "Sampling | None" = None) -> "Prompt":
        """The call that goes on after the assistant wrote `text`, such as a thought that was closed for it."""
        turn = Message("assistant", (Piece(self.begun + text),))
        before = self.messages[:-1] if self.begun else self.messages
        return replace(self, messages=(*before, turn), sampling=sampling or self.sampling)

    def key(self, model: str) -> str:
        """The identity of this call for cache and resume: model, messages, sampling, sample number."""
        text = json.dumps([model, self.chat, vars(self.sampling), self.sample])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of many added up; `reasoning` is part of `output`, `cached` part of `input`."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """The sum, field by field."""
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class Ok:
    """A model answered.

    Attributes:
        text: the answer, without the reasoning.
        reasoning: the thought, wherever the engine put it; empty where there is none.
        usage: tokens.
        finish: "stop", or "length" when `max_tokens` cut the completion.
        logprobs: per new token the {token: log probability} of the best alternatives, if asked for.
        key: which line of the trace holds the call, once the scheduler has delivered it; no part of what was answered.
        thought_cut: whether the thought was closed at its budget (`budget`), so that the answer rests on part of it.
    """

    text: str
    reasoning: str = ""
    usage: Usage = Usage()
    finish: Literal["stop", "length"] = "stop"
    logprobs: tuple[dict[str, float], ...] = ()
    key: str = field(default="", compare=False, repr=False)
    thought_cut: bool = False


Failure = Literal[
    "auth",
    "not_found",
    "bad_request",
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "context",
    "refusal",
    "bad_answer",
    "budget",
]


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that brought no answer; its text is for people and never reaches a parser.

    Attributes:
        kind: what class of failure; `RETRIED` says which are worth another try, `PASSING` which are the server's
            and may be gone tomorrow, `FATAL` which no call can escape.
        detail: what the engine said: its first 1,000 characters, without keys and passwords.
        retry_after: seconds that the server asked to wait, or None.
        key: as in `Ok`.
    """

    kind: Failure
    detail: str
    retry_after: float | None = None
    key: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Hold back secrets, whoever made the detail."""
        object.__setattr__(self, "detail", excerpt(self.detail, 1000))


Completion = Ok | Failed

Exchange: TypeAlias = Generator[Prompt, tuple[Prompt, Completion], Completion]
"""How one prompt is asked: yields a call, is sent it as it was asked and what came, and so on to the completion."""

RETRIED: frozenset[str] = frozenset({"rate_limit", "server", "timeout", "connection", "bad_answer"})
PASSING: frozenset[str] = frozenset({"rate_limit", "server", "timeout", "connection"})
FATAL: frozenset[str] = frozenset({"auth", "not_found"})


class Tokenizer(Protocol):
    """What the budget needs of a tokenizer; Hugging Face's fast tokenizers wrapped in `budget.py` have it."""

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`, without special tokens."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


class LLM(Part, ABC):
    """A language model behind some engine. Subclasses are frozen dataclasses with a field `model`."""

    model: str

    @property
    def batch(self) -> int:
        """How many prompts the engine likes in one `_generate`; above 1 the scheduler collects them."""
        return 1

    @property
    def concurrency(self) -> int:
        """How many `_generate` calls may be under way at once."""
        return 1

    @property
    def context(self) -> int | None:
        """The model's window in tokens, prompt and completion together; None where it is not known."""
        return None

    @property
    def window(self) -> int | None:
        """What prompts are fitted to: `context` where it is stated, else what the engine itself knows of its model."""
        return self.context

    @property
    def identity(self) -> str:
        """What tells this model from others in the trace; engines of one model with the same answers may share it."""
        return self.model

    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer; None where there is none at hand, then prompts are measured by characters."""
        return None

    def chat_tokens(self, chat: list[dict[str, str]]) -> int | None:
        """The exact length of a chat as the model reads it, template included; None where that is not known."""
        return None

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One completion for each prompt, in order: the engine as it is, without cache, retries or fitting."""

        async def ask() -> Sequence[Completion]:
            try:
                return await self._converse(prompts)
            finally:
                await self.aclose()

        return list(run(ask()))

    def exchange(self, prompt: Prompt) -> Exchange:
        """The calls that `prompt` takes: one, but for models whose thought is led (`budget`)."""
        _, completion = yield prompt
        return completion

    async def _converse(self, prompts: Sequence[Prompt]) -> list[Completion]:
        exchanges = [self.exchange(prompt) for prompt in prompts]
        calls = {at: next(exchange) for at, exchange in enumerate(exchanges)}
        ends: dict[int, Completion] = {}
        while calls:
            for (at, call), completion in zip(
                list(calls.items()), await self.agenerate(list(calls.values())), strict=True
            ):
                try:
                    calls[at] = exchanges[at].send((call, completion))
                except StopIteration as end:
                    ends[at] = end.value
                    del calls[at]
        return [ends[at] for at in range(len(prompts))]

    async def agenerate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        """Ask the engine once, and check that it kept to the contract: one `Ok` or `Failed` for each prompt."""
        completions = await self._generate(prompts)
        if len(completions) != len(prompts):
            raise BadInput(f"{self!r} gave {len(completions)} completions for {len(prompts)} prompts")
        return completions

    @abstractmethod
    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        """One completion for each prompt. A failure is returned as `Failed`, not raised."""

    async def aclose(self) -> None:
        """Release what the engine holds for one event loop, such as connections."""
