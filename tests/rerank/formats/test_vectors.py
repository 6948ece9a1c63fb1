"""What each format reads in answers of all kinds, from the files in `vectors`: text, reading, status."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from vector_reading import reading

from whyrank.llm.answer import Ok
from whyrank.llm.reasoning import parted, split_reasoning, thinking
from whyrank.registry import make
from whyrank.rerank.formats import Format, Graded
from whyrank.rerank.formats.point import probabilities

FILES = sorted((Path(__file__).parent / "vectors").glob("*.json"))
VECTORS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
ANSWERS = [(name, one) for name, file in VECTORS.items() for one in file["answers"]]


@pytest.mark.parametrize(("name", "vector"), ANSWERS, ids=[f"{name}: {one['text'][:60]!r}" for name, one in ANSWERS])
def test_vector(name: str, vector: dict[str, Any]) -> None:
    format: Format[Any] = make(VECTORS[name]["format"], Format)
    answer = format.parse(Ok(vector["text"]), VECTORS[name]["n"])
    assert (reading(answer), answer.status) == (vector["reading"], vector["status"])


def test_every_format_has_vectors() -> None:
    assert all(len(file["answers"]) >= 25 for file in VECTORS.values()) and len(VECTORS) == 16


THOUGHTS = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"), ("<THOUGHTS>", "</THOUGHTS>"),
    ("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>"), ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]  # fmt: skip


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_every_spelling_of_a_thought(opening: str, closing: str) -> None:
    said = f"\n{opening}[1] > [2]?\n{closing}\n[2] > [1]"
    assert split_reasoning(said) == ("[1] > [2]?", "[2] > [1]")
    assert split_reasoning(f"[1] > [2]?{closing}[2] > [1]") == ("[1] > [2]?", "[2] > [1]")
    assert split_reasoning(f"{opening}[1] > [2]? ") == ("[1] > [2]? ", "")
    assert parted(f"[2] > [1] {opening}[1]") == ("[1]", "[2] > [1] ", True)
    assert parted(f"{opening}[1]") == ("[1]", "", True) and not parted(said).open
    assert thinking(f"{opening}hm") and not thinking(said) and not thinking("hm")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("analysisWe weigh [1] > [2].assistantfinal[2] > [1]", "[2] > [1]"),
        ("analysisWe weigh [1] > [2].", ""),
        ("analysis of [1]: so", "analysis of [1]: so"),
        ("[2] > [1]<|END_RESPONSE|>", "[2] > [1]"),
        ("<think>x</think>[2] > [1]<|return|>\n<|im_end|>", "[2] > [1]"),
        ("a |> b |>", "a |> b |>"),
    ],
)
def test_dropped_and_left_over_tokens(text: str, answer: str) -> None:
    assert parted(text).answer == answer


@pytest.mark.parametrize("absurd", [math.nan, math.inf, 1.0, 800.0, 1e308])
def test_numbers_that_are_no_log_probabilities_are_no_answer(absurd: float) -> None:
    place = {"yes": absurd, "no": -1.0}
    for think in ("no", "native"):
        found = make(f"yes_no({think!r})", Format).parse(Ok("yes", logprobs=(place,)), 1)
        assert math.isnan(found.score) and found.status == "no_answer"
    assert math.isnan(make("yes_no('no')", Format).parse(Ok("The", logprobs=({"The": 0.0, "yes": absurd},)), 1).score)
    graded = make("rubric('no', weighted=True)", Format).parse(Ok("85", logprobs=({"85": absurd},)), 1)
    assert math.isnan(graded.score) and graded.status == "no_answer"
    for think in ("no", "asked"):
        said = Ok("B" if think == "no" else "<answer>B</answer>", logprobs=({"B": absurd, "A": -1.0},))
        first = make(f"first({think!r})", Format).parse(said, 2)
        assert first.permutation == (0, 1) and first.status == "no_answer" and first.missing == 2


def test_rounding_and_impossible_tokens_are_log_probabilities() -> None:
    assert probabilities({"a": 0.0005, "b": -math.inf}) == {"a": pytest.approx(1.0, abs=1e-3), "b": 0.0}
    found = make("yes_no('no')", Format).parse(Ok("yes", logprobs=({"yes": 1e-7, "no": -math.inf},)), 1)
    assert found == Graded(1.0, "exact")
