"""Answers made of what models, passages and servers write: labels, tags, maps, prose, thoughts, errors, control tokens.

No reading may raise; and what stands only in a thought, in an error or in a quotation of a passage may not be read: an
answer that holds a *secret* order there, and none elsewhere, has to read as nothing.
"""

import math
import random
from collections import Counter
from typing import Any

from whyrank.llm.answer import Failed, Ok
from whyrank.registry import make
from whyrank.rerank.formats import Format, PointFormat, read
from whyrank.types import STATUSES

SPECS = (
    "ranking()", "ranking(think='native')", "ranking(think='no')", "choice()", "choice(think='no')", "group_scores()",
    "group_scores(think='no')", "best_worst()", "best_worst(think='no')", "first()", "first(think='asked')", "pair()",
    "pair(think='asked')", "yes_no()", "yes_no(think='no')", "rubric()", "rubric(think='no')",
    "rubric(top=10, weighted=True)",
)  # fmt: skip
FORMATS: dict[str, Format[Any]] = {spec: make(spec, Format) for spec in SPECS}
ANSWERS = (
    "[3] > [1] > [2]", "[3, 1, 2]", "3", "[3]", '{"3": 10, "1": 0, "2": 5}', "best: [3], worst: [1]", "C", "B", "yes",
    "90", "9", "no", "[3]-[1]", "[1] < [3]", "③ > ①", "(3) > (1)", "Passage 3 > Passage 1", "score: 90", "none", "",
)  # fmt: skip
PIECES = (
    *ANSWERS, "<think>", "</think>", "<answer>", "</answer>", "<score>", "</score>", "<thought>", "</thought>", "[",
    "]", "{", "}", '"', ":", ",", " > ", " < ", " = ", "-", "\n", "\n\n", " ", "I think ", "So: ", "Final ranking: ",
    "not ", "Passage 3 says ", "is the best", "```json", "```", "\\", "\ud83d", "\x00", "\u202e", "<|im_end|>",
    "<|channel|>", "Error code: 429", "9" * 60, "1e999", "NaN", "null", "٣", "³", "【3】", "&lt;answer&gt;", "1. ",
    "* ", "and ", "[A]",
)  # fmt: skip
SPELLINGS = (
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"), ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>"),
)  # fmt: skip
HARMLESS = ("I cannot do that.", "It is hard to tell.", "", "Hm.", "Let me see")


def shown_of(spec: str) -> int:
    return 1 if isinstance(FORMATS[spec], PointFormat) else 2 if spec.startswith("pair") else 3


def logprobs(draw: random.Random) -> tuple[dict[str, float], ...]:
    values = (-0.1, -3.0, 0.0, -math.inf, math.inf, math.nan, 800.0, 1e-9, -1e308)
    tokens = ("yes", "no", "A", "B", "C", "9", "90", " ", "", "</", "\ud83d")
    return tuple(
        {draw.choice(tokens): draw.choice(values) for _ in range(draw.randrange(4))} for _ in range(draw.randrange(4))
    )


def malformed(draw: random.Random) -> Ok:
    text = "".join(draw.choices(PIECES, k=draw.randrange(1, 16)))
    reasoning = draw.choice(("", "", "[3] > [1] > [2]", "yes"))
    return Ok(text, reasoning, finish=draw.choice(("stop", "length")), logprobs=logprobs(draw))


def hidden(draw: random.Random, spec: str) -> Ok | Failed:
    """A completion that holds an answer where none is read: in a thought, closed or cut, or in an error."""
    tag = "score" if spec.startswith("rubric") else "answer"
    secret = draw.choice(ANSWERS)
    secret = draw.choice((secret, f"<{tag}>{secret}</{tag}>", f"Final answer: {secret}"))
    opening, closing = draw.choice(SPELLINGS)
    before, after = draw.choice(("", "\n", "Well. ")), draw.choice(HARMLESS)
    kind = draw.randrange(4)
    if kind == 0:
        return Failed("server", secret)
    if kind == 1:
        return Ok(after, secret, finish=draw.choice(("stop", "length")))
    if kind == 2:
        return Ok(f"{before}{opening}{secret} {draw.choice(HARMLESS)}", finish=draw.choice(("stop", "length")))
    return Ok(f"{before}{opening}{secret}{closing}{after}")


def silent(answer: Any) -> bool:
    """Whether a reading tells nothing."""
    if answer.status == "failed" or answer.status == "no_answer":
        return True
    return (answer.status == "truncated" and bool(answer.repairs.missing)) or getattr(answer, "best", 0) is None


def check(spec: str, draw: random.Random) -> str:
    """One malformed answer and one hidden one; the status of the first."""
    format, n = FORMATS[spec], shown_of(spec)
    completion = malformed(draw)
    answer, report = read(format, completion, n)
    assert answer.status in STATUSES and report.status == answer.status, (spec, completion)
    if hasattr(answer, "permutation"):
        assert sorted(answer.permutation) == list(range(n)), (spec, completion)
    found, _ = read(format, secret := hidden(draw, spec), n)
    assert silent(found), (spec, secret, found)
    if hasattr(found, "permutation"):
        assert found.permutation == tuple(range(n)), (spec, secret, found)
    return str(answer.status)


def fuzz(answers: int, seed: int = 0) -> Counter[str]:
    """That many malformed answers, and as many hidden ones; how many had which status."""
    draw = random.Random(seed)
    return Counter(check(draw.choice(SPECS), draw) for _ in range(answers))
