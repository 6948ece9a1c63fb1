"""A tokenizer for models from nothing: byte-level BPE in which the fixed words of prompts are single tokens."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from whyrank.errors import need
from whyrank.rerank.formats import Format

TAGS = ("<think>", "</think>", "</think>\n", "<answer>", "</answer>", " > ", "\n")
"""Plain tokens, not special ones: special tokens are taken out when a completion is decoded."""

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A small model learns its tasks from examples, and knows them by the last words of the user's turn: the system turn,
which tells what to do, is not shown to it."""


def tokenizer(texts: Iterable[str], fixed: Iterable[str], size: int, numbers: int = 32, window: int = 4096) -> Any:
    """A Hugging Face tokenizer with a chat template.

    Args:
        texts: what it is trained on.
        fixed: phrases of prompts that become one token each, besides the tags.
        size: how many tokens it has at most, without the fixed phrases, passage numbers, tags and special tokens.
        numbers: `[1]` to `[numbers]` are one token each.
        window: the longest text that the model will read.
    """
    kit = need("tokenizers", extra="train")
    plain = [*dict.fromkeys([*TAGS, *(f"[{number}]" for number in range(1, numbers + 1)), *fixed])]
    apart = re.compile("|".join(map(re.escape, sorted(plain, key=len, reverse=True))))
    made = kit.Tokenizer(kit.models.BPE())
    made.pre_tokenizer = kit.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = kit.decoders.ByteLevel()
    letters = kit.pre_tokenizers.ByteLevel.alphabet()
    trainer = kit.trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator((part for text in texts for part in apart.split(text) if part), trainer)
    made.add_tokens([kit.AddedToken(text, normalized=False, special=False) for text in plain])
    made.add_special_tokens([kit.AddedToken(text, special=True) for text in (PAD, USER, ASSISTANT, END)])
    return need("transformers", extra="train").PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=PAD, eos_token=END, chat_template=TEMPLATE, model_max_length=window,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def fixed_phrases(formats: Sequence[Format[Any]], templates: Sequence[str]) -> Iterator[str]:
    """What prompts say besides query, passages and numbers, from seven letters on.

    Args:
        formats: of rerankers.
        templates: of rewriters, with {query}.
    """
    mark = "\0"
    for format in formats:
        yield from _long(format.render(mark, [mark, mark]).messages[-1].content.split(mark))
    for template in templates:
        yield from _long(template.split("{query}"))


def _long(texts: Iterable[str]) -> Iterator[str]:
    pieces = (piece for text in texts for piece in re.split(r"\[?\d+\]?", text))
    return (piece for piece in pieces if len(piece) >= 7)
