"""A task of ten rules for models made on the spot: each kind of thing needs its remedy, and words do not tell which."""

import json
import random
from pathlib import Path
from typing import Any

from whyrank.io import write_tasks
from whyrank.types import Document, Query, RankTask

NEEDS = ("rust", "frost", "thirst", "noise", "dark", "moth", "mould", "dust", "glare", "leak")
HELPS = ("oil", "straw", "well", "felt", "lamp", "cedar", "salt", "broom", "shade", "tar")
FORMAT = "toy_format.Short()"

SHAPE = {
    "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "tie_word_embeddings": True,
    "max_position_embeddings": 128,
}  # fmt: skip


def tasks(n: int, seed: int, size: int = 3) -> list[RankTask]:
    """Lists of `size` remedies, one of which is right; the thought names it."""
    lot = random.Random(seed)
    made = []
    for number in range(n):
        rule = lot.randrange(10)
        others = lot.sample([help for help in HELPS if help != HELPS[rule]], size - 1)
        shown = lot.sample([HELPS[rule], *others], size)
        documents = tuple(Document(f"d{at}", text) for at, text in enumerate(shown))
        right = f"d{shown.index(HELPS[rule])}"
        made.append(RankTask(Query(f"q{seed}-{number}", NEEDS[rule]), documents, {right: 2.0}, (), HELPS[rule]))
    return made


def write(folder: Path, train: int = 400, test: int = 40) -> tuple[str, str]:
    """The files of lists to learn from and of held-out ones."""
    write_tasks(tasks(train, 1), folder / "train.jsonl")
    write_tasks(tasks(test, 2), folder / "test.jsonl")
    return str(folder / "train.jsonl"), str(folder / "test.jsonl")


def tokenizer(folder: Path) -> str:
    """A tokenizer of whole words with a chat template, in `folder`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<end>", "<user>", "<system>", "<assistant>", *alphabet]
    made = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<pad>", "<end>", "<user>", "<system>", "<assistant>"])
    whole = ["<think>", "</think>", "<answer>", "</answer>", " > ", *(f"[{at}]" for at in range(1, 10)), *NEEDS, *HELPS]
    made.add_tokens([AddedToken(word, normalized=False) for word in whole])
    template = (
        "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    loaded = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<end>", pad_token="<pad>", chat_template=template
    )
    loaded.save_pretrained(folder)
    return str(folder)


def drills(path: Path, n: int = 50) -> str:
    """Plain examples: asked for a need, say the remedy."""
    lines = [{"prompt": NEEDS[at % 10], "completion": HELPS[at % 10]} for at in range(n)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def weights(folder: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path, tolerance: float = 0.0) -> bool:
    mine, its = weights(one), weights(other)
    return mine.keys() == its.keys() and all((mine[name] - its[name]).abs().max() <= tolerance for name in mine)
