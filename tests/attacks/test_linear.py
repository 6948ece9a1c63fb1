"""Reading takes time in proportion to the text: every expression and every reader of model text on hostile ones."""

import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator

import pytest

import whyrank
from whyrank.llm.answer import Ok
from whyrank.llm.content import neutral, one_line
from whyrank.llm.reasoning import parted, split_reasoning, thinking
from whyrank.registry import make
from whyrank.rerank.answer.mentions import mentions
from whyrank.rerank.formats import Format
from whyrank.retrieval.agentic.step import parse as parse_step
from whyrank.retrieval.rewrite.base import read as read_rewriting
from whyrank.retrieval.tree.slates import parse as parse_slate

ROOMS = (
    "whyrank.llm.reasoning", "whyrank.llm.content", "whyrank.rerank.formats", "whyrank.rerank.answer.mentions",
    "whyrank.retrieval.rewrite", "whyrank.retrieval.agentic", "whyrank.retrieval.tree",
    "whyrank.train.rewards", "whyrank.data_synth",
)  # fmt: skip
BITS = [
    "\n", " ", "-", ".", "*", "\\", '"', "'", "[", "]", "(", "{", "<", ">", "1", "a", "A", "_", "#", ",", "`", "…",
    ">> ", "[1] ", "[1]-[2] ", "[1],", "[1, ", "1 > ", "1. ", "1.", "e.g. A ", "A and ", "best ", "<think>",
    "</think>", "<answer>", "</answer>", "<score>", "<search>", "<|", "|>", "<|end|>", '"1": 5, ', '"scores"',
    '{"1":', "score ",
    "passage ", "passages 1, ", "the ", "final ", "answer: ", "yes ", "A is ", "[A", "key words", "! ", ".\" ", "\n[1]",
    "\n1. [1]: ", "so ", "[1] < ", "(1) > ", "①", "\t", " \n", "``` ",
]  # fmt: skip
FORMATS = (
    "ranking()", "ranking(think='no')", "choice()", "choice(think='no')", "group_scores()", "group_scores(think='no')",
    "best_worst()", "best_worst(think='no')", "first()", "first(think='asked')", "pair()", "pair(think='asked')",
    "yes_no()", "yes_no(think='no')", "rubric()", "rubric(think='no')",
)  # fmt: skip
MEGABYTE = 1_000_000


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every expression of the rooms where model text is read."""
    for found in pkgutil.walk_packages(whyrank.__path__, "whyrank."):
        if found.name.startswith(ROOMS):
            for name, value in vars(importlib.import_module(found.name)).items():
                several = value if isinstance(value, tuple) else (value,)
                for at, one in enumerate(several):
                    if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
                        yield f"{found.name}.{name}" + (f"[{at}]" if at else ""), one


PATTERNS = dict(patterns())


def took(work: Callable[[], object]) -> float:
    """Processor seconds, since other processes share the machine."""
    start = time.process_time()
    work()
    return time.process_time() - start


def quick(work: Callable[[], object], limit: float) -> bool:
    """Whether it takes less than `limit` seconds, in the best of three tries."""
    return any(took(work) < limit for _ in range(3))


def every(pattern: re.Pattern[str], text: str) -> None:
    for _ in pattern.finditer(text):
        pass
    pattern.match(text)
    pattern.fullmatch(text)


@pytest.mark.parametrize("name", PATTERNS)
def test_no_expression_is_quadratic(name: str) -> None:
    size = 10_000  # a quadratic one takes 10^8 steps or more, half a second and up
    for bit in BITS:
        for text in (bit * (size // len(bit)), bit * (size // len(bit)) + "!x", "x [1" + bit * (size // len(bit))):
            assert quick(lambda text=text: every(PATTERNS[name], text), 0.25), (name, bit)


READERS: dict[str, Callable[[str], object]] = {
    "split_reasoning": split_reasoning,
    "parted": parted,
    "thinking": thinking,
    "neutral": neutral,
    "one_line": one_line,
    "mentions": lambda text: mentions(text, "1"),
    "agent": lambda text: parse_step(Ok(text), 3),
    "rewriting": lambda text: read_rewriting(Ok(text)),
    "slate": lambda text: parse_slate(text, 20),
}


@pytest.mark.parametrize("bit", BITS)
def test_no_reader_is_quadratic(bit: str) -> None:
    text = bit * (25_000 // len(bit))
    for name, reader in READERS.items():
        assert quick(lambda reader=reader: reader(text), 0.5), name
    for spec in FORMATS:
        format = make(spec, Format)
        n = 1 if spec.startswith(("yes", "rubric")) else 2 if spec.startswith("pair") else 20
        opening = "<score>" if spec.startswith("rubric") else "<answer>"
        for given in (text, opening + text):
            assert quick(lambda format=format, n=n, given=given: format.parse(Ok(given), n), 0.5), spec


def test_the_known_cases() -> None:
    assert quick(lambda: split_reasoning("\n" * MEGABYTE), 0.5)
    assert quick(lambda: make("ranking()", Format).parse(Ok("<answer>" + "[1]-[2] " * 125_000), 20), 2)
    assert quick(lambda: mentions("e.g. A " * 140_000, "A"), 2)
    assert quick(lambda: mentions("-" * MEGABYTE, "A"), 2)
    assert quick(lambda: make("best_worst()", Format).parse(Ok("<answer>" + "1" * MEGABYTE + "x"), 20), 1)
