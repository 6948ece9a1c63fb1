"""A model's tokenizer with its chat template: chats become token ids, and token ids completions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal

from whyrank.errors import need
from whyrank.llm.answer import Ok
from whyrank.llm.messages import joined
from whyrank.llm.reasoning import THOUGHT_TAGS, opens_thought, split_reasoning
from whyrank.types import Usage

_SAID = "An answer."
"""The words of a turn whose end is looked at."""

_SPOKEN = re.compile(rf"</?(?:{THOUGHT_TAGS}|answer)>", re.IGNORECASE)
"""Special tokens that instructions speak of; formats keep them out of passages and queries."""

_MARKS = re.compile(
    rf"{_SPOKEN.pattern}|◁/?think▷|\[/?THINK\]|<\|(?:START|END)_(?:THINKING|RESPONSE)\|>"
    r"|<\|(?:begin|end)_of_(?:thought|solution)\|>|<\|(?:start|channel|message)\|>",
    re.IGNORECASE,
)
"""Special tokens of a completion that say what is thought and what answer; the others are of the engine only."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model reads it.

    Where a turn was begun, its last token is the model's to choose again (token healing): text that was cut in the
    middle of what the model writes as one token, such as `</think>` and a line break, would else be read as tokens
    that it has never seen.

    Attributes:
        ids: its tokens.
        opened: whether a thought is open already, by the chat template or in a turn that was begun, so that the
            completion lacks `<think>`.
        room: how many tokens the completion may have, bound by `max_tokens` and by the model's window.
        first: the tokens that it may begin with; empty where any may.
        lead: the text that these begin with, which is no part of the completion.
        weighed: the tokens whose value at the next position is asked for, in place of a completion.
    """

    ids: list[int]
    opened: bool
    room: int
    first: tuple[int, ...] = ()
    lead: str = ""
    weighed: tuple[int, ...] = ()


def opens(head: str) -> bool:
    """Whether a chat template opened the thought for the model."""
    return head.rstrip().endswith("<think>")


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """What finds any of `tokens`, the longest first; nothing where there are none."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


class Chat:
    """A model's tokenizer with its chat template.

    Attributes:
        marks: whether special tokens mark thoughts or answers, so that an engine must not drop all of them.
    """

    def __init__(self, tokenizer: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 (an optional package)
        """Take a Hugging Face tokenizer, and what its chat template is to be told."""
        self.tokenizer, self._options = tokenizer, dict(options)
        special = {id: str(token) for id, token in tokenizer.added_tokens_decoder.items() if token.special}
        special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        self._silent = frozenset(id for id, token in special.items() if not _MARKS.fullmatch(token.strip()))
        self.marks = len(self._silent) < len(special)
        self._control = _any_of(
            token for token in special.values() if len(token) > 1 and not _SPOKEN.fullmatch(token.strip())
        )
        self._joins = False
        self.starting = lru_cache(maxsize=64)(self._starting)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The token ids of `text`, without special tokens unless they are wanted."""
        clean = text.encode(errors="replace").decode()  # a lone surrogate has no UTF-8, which is what tokenizers take
        return list(self.tokenizer.encode(clean, add_special_tokens=special, verbose=False))  # no word on long texts

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
        """The text of what a model wrote, without special tokens but such as mark a thought."""
        return self.decode([id for id in ids if id not in self._silent])

    def spoken(self, text: str) -> str:
        """Decoded text without special tokens but such as mark a thought."""
        return _any_of(self.decode([id]) for id in self._silent).sub("", text)

    def plain(self, text: str) -> str:
        """`text` as it may stand in a turn: a special token of this tokenizer gets a blank behind its first character.

        So `<|im_end|>` in a passage ends no turn: it is read as the words `< |im_end|>`. Harmless text stays as it is.
        """
        while (found := self._control.sub(lambda token: f"{token[0][0]} {token[0][1:]}", text)) != text:
            text = found
        return text

    def _starting(self, id: int) -> tuple[int, ...]:
        """The tokens whose text begins with that of `id`, its own first; special ones are none of them."""
        heads = (self.tokenizer.convert_ids_to_tokens(id), self.decode([id]))
        vocabulary = self.tokenizer.get_vocab().items()
        longer = (other for token, other in vocabulary if token.startswith(heads) and other not in self._silent)
        return (id, *sorted(set(longer) - {id}))

    def render(self, chat: list[dict[str, str]]) -> str:
        """The chat as one text, up to where the assistant goes on; raises jinja2's TemplateError if it may not be."""
        return "".join(self.parts(chat))

    def parts(self, chat: list[dict[str, str]], options: Mapping[str, Any] = MappingProxyType({})) -> tuple[str, str]:
        """The text of `render` in two: up to where the assistant begins, and what its turn already holds.

        A turn that was begun is put behind the template's opening as it is, since templates change the text of such
        turns (many take the thought out); `<think>` stands once where both have it.
        """
        chat = [{**turn, "content": self.plain(turn["content"])} for turn in chat]
        begun = chat[-1]["content"] if chat and chat[-1]["role"] == "assistant" else ""
        head = self._head(chat[:-1] if begun else chat, options)
        return head, begun.removeprefix("<think>") if opens(head) else begun

    def _head(self, asked: list[dict[str, str]], options: Mapping[str, Any]) -> str:
        """The chat by the model's template; one that refuses a system turn is given the instructions in the user's."""
        refusal = need("jinja2", extra="transformers").TemplateError
        try:
            return self._templated(joined(asked) if self._joins else asked, options)
        except refusal:
            if self._joins or all(turn["role"] != "system" for turn in asked):
                raise
            try:
                head = self._templated(joined(asked), options)
            except refusal:
                head = None
            if head is None:
                raise
        self._joins = True
        return head

    def _templated(self, asked: list[dict[str, str]], options: Mapping[str, Any]) -> str:
        told = {"add_generation_prompt": True, **self._options, **options}
        return str(self.tokenizer.apply_chat_template(asked, tokenize=False, **told))

    def ok(
        self,
        asked: EncodedPrompt,
        ids: Sequence[int],
        text: str,
        finish: Literal["stop", "length"],
        logprobs: tuple[dict[str, float], ...] = (),
        cached: int = 0,
    ) -> Ok:
        """The completion that a model wrote as `ids`, which read `text`; reasoning is counted by encoding it again."""
        thinks = asked.opened and not opens_thought(text)
        reasoning, answer = split_reasoning("<think>" + text if thinks else text)
        usage = Usage(len(asked.ids), len(ids), min(len(self.encode(reasoning)), len(ids)), cached)
        return Ok(answer, reasoning, usage, finish, logprobs)
