"""The goldens of published rerankers: what their authors' code made of our inputs, and the files that it reads."""

import copy
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from whyrank.llm.chat import Chat
from whyrank.types import Document

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("WHYRANK_CHECKPOINTS", ROOT.parent / "shared" / "data" / "checkpoints"))


@dataclass(frozen=True)
class Case:
    """One line of a golden: an input, and what came of it."""

    id: str
    query: str
    documents: tuple[Document, ...]
    told: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        return self.told["case"]["options"]

    @property
    def empty_title(self) -> bool:
        """Whether a title is there and empty, which a `Document` does not tell from none."""
        return any(one["title"] == "" for one in self.told["case"]["documents"])


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSONL file; texts hold other line breaks than these."""
    return (json.loads(line) for line in path.read_text("utf-8").split("\n") if line)


def golden(name: str) -> list[Case]:
    """The cases of a golden; the test skips where the folder is absent."""
    path = FOLDER / "goldens" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no golden at {path}: set WHYRANK_CHECKPOINTS to a folder with goldens/ and templates/")
    return [_case(told) for told in lines(path) if "error" not in told]


def _case(told: dict[str, Any]) -> Case:
    shown = told["case"]["documents"] or ()
    documents = tuple(Document(str(at), one["text"], one["title"] or "") for at, one in enumerate(shown))
    return Case(told["case_id"], told["case"]["query"], documents, told)


def template(path: str) -> str:
    """An authors' file."""
    return str(FOLDER / "templates" / path)


WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
    "<|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()


@cache
def qwen() -> Any:
    """The stand-in that the goldens were made with: Qwen's vocabulary with the added tokens of Qwen3."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = FOLDER.parent / "tokenizers" / "qwen3"
    loaded = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    loaded.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    loaded.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    loaded.decoder = decoders.ByteLevel()
    loaded.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROL])
    return PreTrainedTokenizerFast(tokenizer_object=loaded, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def tokenizer(template: str = "") -> Chat:
    """The same as whyrank's engines have it, with a chat template."""
    found = copy.deepcopy(qwen()) if template else qwen()
    if template:
        found.chat_template = (FOLDER / "templates" / "trl-chat" / template).read_text("utf-8")
    return Chat(found, {})
