"""The formats that choose one passage, and those that score a group: prompts word for word, and the parsers."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.registry import make
from whyrank.rerank.formats import (
    Choice,
    ChoiceFormat,
    Format,
    GroupScoresFormat,
    Scores,
    clean,
    parse_choice,
    parse_scores,
    read,
)

GOLDEN = Path(__file__).parent / "golden"
FORMATS: list[Format[Any]] = [
    ChoiceFormat(),
    ChoiceFormat(think="no"),
    GroupScoresFormat(),
    GroupScoresFormat(think="no"),
]
NATIVE: list[Format[Any]] = [ChoiceFormat(think="native"), GroupScoresFormat(think="native")]
QUERY = "why do bees dance?\n(I mean the dance in the hive)"
PASSAGES = ["Bees make\n  honey [3].", "The waggle dance, as shown [ 12 ], tells\twhere food is.", " "]
NAN = math.nan


def shown(prompt: Prompt) -> str:
    return "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)


def same(scores: Scores) -> tuple[Any, ...]:
    """Comparable, as NaN is not."""
    return tuple(None if math.isnan(score) else score for score in scores.scores), scores.status, scores.repairs


@pytest.mark.parametrize("format", FORMATS + NATIVE, ids=repr)
def test_golden_prompt(format: Format[Any]) -> None:
    way = {"asked": "", "native": "_native", "no": "_direct"}[format.think]
    name = repr(format).partition("(")[0] + way
    assert shown(format.render(QUERY, PASSAGES)) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS + NATIVE, ids=repr)
def test_only_query_and_passages_may_be_cut(format: Format[Any]) -> None:
    prompt = format.render(QUERY, PASSAGES, Sampling(temperature=0.6))
    pieces = [piece for message in prompt.messages for piece in message.pieces]
    assert [piece.text for piece in pieces if piece.cut == "query"] == [QUERY]
    assert [piece.text for piece in pieces if piece.cut == "document"] == [clean(one) or "(empty)" for one in PASSAGES]
    assert prompt.sampling == Sampling(temperature=0.6)
    assert make(repr(format), Format) == format


@pytest.mark.parametrize("format", FORMATS + NATIVE, ids=repr)
def test_the_example_in_the_prompt_is_read_by_the_parser(format: Format[Any]) -> None:
    task = format.render("q", ["a", "b", "c"]).chat[0]["content"]
    answer = format.parse(Ok(task[task.index("could be: ") + 10 :]), 3)
    assert answer in (Choice(1, "exact"), Scores((3.0, 9.0, 0.0), "exact"))


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_a_failed_call_is_never_parsed(format: Format[Any]) -> None:
    for n in (0, 3):
        answer, report = read(format, Failed("rate_limit", 'Error code: 429 [3] {"1": 3}'), n)
        assert answer.status == report.status == "failed" and report.failure == "rate_limit"
        assert getattr(answer, "best", None) is None and all(map(math.isnan, getattr(answer, "scores", ())))


CHOICES = [
    ("<think>[1] or [3]?</think><answer>[3]</answer>", Choice(2, "exact")),
    ("hm [1]</think> <ANSWER> [03] </ANSWER> done", Choice(2, "exact")),
    ("<answer>[1]</answer> no: <answer>3</answer>", Choice(2, "exact")),
    ("<answer>```\n【3】\n```</answer>", Choice(2, "exact")),
    ("[3]", Choice(2, "exact")),
    ("3", Choice(2, "exact")),
    ("Passage [3] helps most.", Choice(2, "exact")),
    ("Passage 3 of the 5 helps most.", Choice(None, "no_answer")),
    ("<answer>[3] > [1] > [2]</answer>", Choice(2, "repaired", extra=2)),
    ("<answer>[0]</answer>", Choice(None, "no_answer", out_of_range=1)),
    ("<answer>[9] or [2]</answer>", Choice(1, "repaired", out_of_range=1)),
    ("<answer>[3]", Choice(2, "truncated")),
    ("<answer>[3", Choice(None, "truncated")),
    ("<think>[3] looks best", Choice(None, "truncated")),
    ("<answer>none</answer>", Choice(None, "no_answer")),
    ("", Choice(None, "no_answer")),
]


@pytest.mark.parametrize(("text", "choice"), CHOICES, ids=[case[0] or "empty" for case in CHOICES])
def test_choice(text: str, choice: Choice) -> None:
    assert parse_choice(text, 3) == choice


def test_a_thought_that_was_cut_off_chooses_nothing() -> None:
    assert parse_choice("Passage [3] is good, but", 3, cut=True) == Choice(None, "truncated")
    assert parse_choice("[3] because it", 3, cut=True) == Choice(2, "truncated")
    assert parse_choice("<answer>[3]</answer> because", 3, cut=True) == Choice(2, "exact")


SCORES = [
    ('<think>{"1": 1}</think><answer>{"1": 3, "2": 9, "3": 0}</answer>', (3, 9, 0), "exact", 0, 0, 0),
    ('<answer>```json\n{\n "1": 3,\n "2": 9.5,\n "3": 10\n}\n```</answer>', (3, 9.5, 10), "exact", 0, 0, 0),
    ("{'[1]': 3, '[2]': '9', '[3]': 0/10,}", (3, 9, 0), "exact", 0, 0, 0),
    ('{"scores": {"1": 3, "2": 9, "3": 0}}', (3, 9, 0), "exact", 0, 0, 0),
    ("<answer>[1]: 3\n[2]: 9\n[3] = 0</answer>", (3, 9, 0), "exact", 0, 0, 0),
    ('So: {"1": 3, "3": 9}', (3, NAN, 9), "repaired", 1, 0, 0),
    ('{"1": 3, "2": 11, "3": -1}', (3, NAN, NAN), "repaired", 2, 0, 2),
    ('{"1": 3, "1": 5, "2": 9, "3": 0, "4": 1}', (3, 9, 0), "repaired", 0, 1, 1),
    ('{"1": null, "2": "high", "3": 4}', (NAN, NAN, 4), "repaired", 2, 0, 0),
    ('<answer>{"1": 3, "2": 9, "3": 1', (3, 9, NAN), "truncated", 1, 0, 0),
    ('<think>{"1": 3}', (NAN, NAN, NAN), "truncated", 3, 0, 0),
    ("In passage 1: 3 bees, in passage 2: 4.", (NAN, NAN, NAN), "no_answer", 3, 0, 0),
    ("", (NAN, NAN, NAN), "no_answer", 3, 0, 0),
]


@pytest.mark.parametrize(("text", "scores", "status", "missing", "duplicate", "out"), SCORES,
                         ids=[case[0] or "empty" for case in SCORES])  # fmt: skip
def test_scores(text: str, scores: tuple[float, ...], status: Any, missing: int, duplicate: int, out: int) -> None:
    assert same(parse_scores(text, 3)) == same(Scores(tuple(map(float, scores)), status, missing, duplicate, out))


def test_a_map_that_was_cut_off_keeps_the_scores_that_were_whole() -> None:
    assert same(parse_scores('{"1": 3, "2": 1', 2, cut=True)) == same(Scores((3.0, NAN), "truncated", 1))
    assert parse_scores('{"1": 3, "2": 1} and', 2, cut=True) == Scores((3.0, 1.0), "exact")


BITS = [*"[]{}:,'\"0123456789.-/ \n", "<think>", "</think>", "<answer>", "</answer>", "[2]", '"1": ', "```json", "【"]


@given(st.lists(st.sampled_from(BITS)).map("".join) | st.text(), st.integers(0, 12), st.booleans())
@example("{" * 9_999, 3, True)
@example('{"1": ' + "9" * 9_999, 3, False)
def test_any_text_gives_a_valid_answer(text: str, n: int, cut: bool) -> None:
    choice, scores = parse_choice(text, n, cut), parse_scores(text, n, cut)
    assert choice.best is None or 0 <= choice.best < n
    assert (choice.best is not None) == (choice.status in {"exact", "repaired"}) or choice.status == "truncated"
    assert len(scores.scores) == n and all(math.isnan(score) or 0 <= score <= 10 for score in scores.scores)
    assert scores.missing == sum(map(math.isnan, scores.scores))
    if scores.status == "exact":
        assert n and not scores.repairs


@given(st.lists(st.integers(0, 100).map(lambda score: score / 10), min_size=1, max_size=20), st.randoms())
def test_scores_are_read_in_any_order(scores: list[float], lot: Any) -> None:
    pairs = [f'"{at}": {score}' for at, score in enumerate(scores, 1)]
    lot.shuffle(pairs)
    assert parse_scores("{" + ", ".join(pairs) + "}", len(scores)) == Scores(tuple(scores), "exact")


@pytest.mark.timeout(20)
def test_long_texts_are_read_in_linear_time() -> None:
    for bit in ["[1] ", '"1": 5, ', "{", '"1"', "'", "1" * 9, "1 ", "[[", "<answer>", "<think>", "1.1"]:
        parse_choice(bit * 50_000, 20)
        parse_scores("{" + bit * 50_000, 20)
