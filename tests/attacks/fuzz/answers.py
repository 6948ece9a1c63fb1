"""Fuzz what models write: a format reads an order of what was shown, or none; nothing is read from thoughts."""

import math
from random import Random

from whyrank.llm.answer import Ok
from whyrank.llm.reasoning import split_reasoning
from whyrank.rerank.answer.mentions import mentions
from whyrank.rerank.formats import PointFormat
from whyrank.types import STATUSES

from .drive import Target, main
from .hidden import FORMATS, SPECS, check

SHOWN = 5
SEEDS = (
    b"<think>[2] names it. [1] does not.</think><answer>[2] > [1] > [3]</answer>",
    b"[3] > [1] > [2]",
    b"best: [1], worst: [2]",
    b'{"1": 10, "2": 3}',
    b"Score: 7",
    b"yes",
    b"Passage B",
    b"The answer is [2], not [1].",
    b"1. [2]\n2. [1]\n",
)
TOKENS = (
    b"<think>",
    b"</think>",
    b"<answer>",
    b"</answer>",
    b"<|end|>",
    b"<|im_end|>",
    b"<seed:think>",
    b"<reasoning>",
    b"[1]",
    b"[1, 2]",
    b" > ",
    b" < ",
    b"[1-3]",
    "【2】".encode(),
    "②".encode(),
    b"**2**",
    b"best:",
    b"worst:",
    b"A",
    b"[B]",
    b"no",
    b"-" * 200,
    b"e.g. A ",
    b"\n" * 100,
    b"```json\n",
)


def answer(data: bytes) -> None:
    """Each format reads the text as an answer, behind a thought, and as a thought that was cut off."""
    text = data.decode(errors="replace")
    thought, rest = split_reasoning(text)
    assert len(thought) + len(rest) <= len(text)
    mentions(text, "2")
    for format in FORMATS.values():
        shown = 1 if isinstance(format, PointFormat) else 2 if type(format).__name__ == "Pair" else SHOWN
        for completion in (Ok(text), Ok(rest, thought), Ok("", text), Ok(f"<think>{text}", "", finish="length")):
            read = format.parse(completion, shown)
            assert read.status in STATUSES, (format, read)
            ranking = getattr(read, "order", getattr(read, "permutation", None))
            assert ranking is None or sorted(ranking) == list(range(shown)), (format, read)
            value = getattr(read, "score", None)
            assert value is None or (isinstance(value, int | float) and (math.isnan(value) or math.isfinite(value)))
        silent = format.parse(Ok("", text), shown)
        assert silent.status not in ("exact", "repaired"), (format, silent)
    draw = Random(data)
    check(draw.choice(SPECS), draw)


TARGETS = [Target("answers", answer, SEEDS, TOKENS)]

if __name__ == "__main__":
    main(TARGETS)
