"""What is asked: a `Prompt` is a chat of `Message`s made of `Piece`s, and the `Sampling` that draws its completion."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol

from whyrank.fields import Above, AtLeast, AtMost, NotNegative, Positive, Share
from whyrank.llm.constraint import Constraint
from whyrank.registry import Part

Cut = Literal["never", "document", "query"]

Unit = Literal["logit", "logprob", "any"]

RAW = "raw"
"""The role of the one message of a prompt that is a text for no chat template."""

EMPTY = "(empty)"
"""What stands in a prompt for a passage without text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a message, and whether it may be shortened when the prompt is too long for the model.

    Documents give way first, sharing what there is (`budget.py`); the query last, with a warning; the rest never.

    Attributes:
        text: what it says.
        cut: whether it gives way, and when.
        at_most: tokens that it has at most, whatever the model's window; longer ones are cut to this before the prompt
            is asked. None is no such bound.
    """

    text: str
    cut: Cut = "never"
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: `role` is system, user or assistant; of a raw prompt the one message, with the role RAW."""

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
        min_tokens: new tokens before which the completion may not end, for engines that can see to it.
        min_p: tokens less likely than this share of the likeliest are not drawn, for engines that know it.

    Raises:
        BadSpec: a number out of range.
    """

    temperature: Annotated[float, AtLeast(0)] | None = 0.0
    max_tokens: Positive = 3172
    top_p: Annotated[float, Above(0), AtMost(1)] = 1.0
    top_k: NotNegative = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: NotNegative = 0
    min_tokens: NotNegative = 0
    min_p: Share = 0.0

    file_fields: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "max_tokens", "top_p", "top_k", "seed", "stop", "logprobs", "min_tokens", "min_p"}
    )

    @property
    def told(self) -> dict[str, Any]:
        """The settings by name; those that came later only where they say something, so that old traces still hold."""
        return {name: value for name, value in vars(self).items() if value or name not in {"min_tokens", "min_p"}}


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
class Targets:
    """Tokens whose value at the next position is asked for, in place of a completion.

    Attributes:
        tokens: their ids in the model's vocabulary, or texts of one token each.
        unit: "logit" as the model gives it, "logprob" over the whole vocabulary, or "any" where both tell the same.
    """

    tokens: tuple[int | str, ...]
    unit: Unit = "any"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one call asks: the chat so far, how to draw the completion, and which of several draws this is.

    A last message of the assistant's is a turn that was begun: the completion goes on where it ends, and holds only
    what is new (`continued`). A raw prompt is one text that no chat template is put around.

    Attributes:
        messages: the chat.
        sampling: how to draw.
        sample: which draw this is.
        answer_tokens: what an answer takes at most, its thought apart, where the asker knows; None where not.
        reserve: tokens that are kept free in the model's window beside `max_tokens`, for a call that goes on.
        reads: whether a token is one whose log probabilities are read; others are not kept. None keeps all.
        constraint: what the completion may be, for engines that can keep the model to it.
        targets: tokens that are weighed instead of a completion; the answer's `values` are theirs.
        template_kwargs: what the chat template is told beside what the engine tells it, such as `enable_thinking`.
        special_tokens: whether the tokenizer puts its own special tokens around a raw prompt, such as `<s>`.
        finish: what is made of the text of the prompt once the chat template is around it; in this process alone.
        prepare: makes the prompt of the texts that are known before the model's tokenizer is: what is cut token by
            token, and what gives way in the format's own order. It is given the tokenizer, None where there is none,
            the tokens that there is room for, None where that is not known, and what counts a whole chat.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    sample: int = 0
    answer_tokens: int | None = None
    reserve: int = 0
    reads: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)
    constraint: Constraint | None = None
    targets: Targets | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    special_tokens: bool = False
    finish: Callable[[str], str] | None = field(default=None, compare=False, repr=False)
    prepare: "Prepare | None" = field(default=None, compare=False, repr=False)

    @property
    def raw(self) -> bool:
        """Whether it is one text, for no chat template."""
        return bool(self.messages) and self.messages[0].role == RAW

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as `{"role": …, "content": …}`, the form that engines take."""
        return [{"role": message.role, "content": message.content} for message in self.messages]

    @property
    def prefill(self) -> str:
        """What the assistant's turn already holds; empty where the completion begins it."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""

    def prefilled(self, text: str, sampling: "Sampling | None" = None) -> "Prompt":
        """The call that goes on after the assistant wrote `text`, such as a thought that was closed for it."""
        turn = Message("assistant", (Piece(self.prefill + text),))
        before = self.messages[:-1] if self.prefill else self.messages
        return replace(self, messages=(*before, turn), sampling=sampling or self.sampling)

    def with_documents(self, at_most: int) -> "Prompt":
        """The prompt whose documents have at most so many tokens each; those with a bound of their own keep it."""

        def bounded(piece: Piece) -> Piece:
            free = piece.cut == "document" and piece.at_most is None and piece.text != EMPTY
            return replace(piece, at_most=at_most) if free else piece

        return self.with_pieces(bounded)

    def with_pieces(self, changed: Callable[[Piece], Piece]) -> "Prompt":
        """The prompt with each of its pieces made another."""
        turns = (replace(turn, pieces=tuple(map(changed, turn.pieces))) for turn in self.messages)
        return replace(self, messages=tuple(turns))

    def key(self, model: str) -> str:
        """The identity of this call for cache and resume: model, messages, sampling, sample number, constraint."""
        kept: list[Any] = [self.constraint.grammar] if self.constraint else []
        told = {"template_kwargs": self.template_kwargs, "special_tokens": self.special_tokens}
        kept += [{name: value} for name, value in told.items() if value]
        kept += [["targets", self.targets.tokens, self.targets.unit]] if self.targets else []
        text = json.dumps([model, self.chat, self.sampling.told, self.sample, *kept])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Prepare(Protocol):
    """What makes a prompt final once the model's tokenizer is known, see `Prompt.prepare`."""

    def __call__(
        self,
        prompt: Prompt,
        tokenizer: "Tokenizer | None",
        room: int | None,
        chat_tokens: Callable[[list[dict[str, str]]], int | None],
    ) -> Prompt:
        """The prompt as it is asked."""


class Tokenizer(Protocol):
    """What the budget needs of a tokenizer; Hugging Face's fast tokenizers wrapped in `budget.py` have it."""

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`, without special tokens."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
