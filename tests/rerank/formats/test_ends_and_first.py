"""Both ends at once, and all by one token: prompts word for word, the parsers, and whatever a model writes."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_query import request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.registry import make
from whyrank.rerank.formats import BestWorst, Ends, First, Format, Permutation, clean, parse_ends, read
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.merge_tree import MergeTree

GOLDEN = Path(__file__).parent / "golden"
GOLDENS: dict[Format[Any], str] = {
    BestWorst(): "best_worst.txt",
    BestWorst("native"): "best_worst_native.txt",
    BestWorst("no"): "best_worst_direct.txt",
    First(): "first.txt",
    First("asked"): "first_reasoned.txt",
    First("native"): "first_reasoned_native.txt",
}
FORMATS = list(GOLDENS)
QUERY = "why do bees dance?\n(I mean the dance in the hive)"
PASSAGES = ["Bees make\n  honey [3].", "The waggle dance, as shown [ 12 ], tells\twhere food is.", " "]


def written(prompt: Prompt) -> str:
    return "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_golden_prompt(format: Format[Any]) -> None:
    assert written(format.render(QUERY, PASSAGES)) == (GOLDEN / GOLDENS[format]).read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_spec_and_what_may_be_cut(format: Format[Any]) -> None:
    assert make(repr(format), Format) == format
    prompt = format.render(QUERY, PASSAGES, Sampling(temperature=0.6))
    pieces = [piece for message in prompt.messages for piece in message.pieces]
    assert [piece.text for piece in pieces if piece.cut == "query"] == [QUERY]
    assert [piece.text for piece in pieces if piece.cut == "document"] == [clean(one) or "(empty)" for one in PASSAGES]
    assert prompt.sampling.temperature == 0.6


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_the_example_in_the_prompt_is_read_by_the_parser(format: Format[Any]) -> None:
    task = format.render("q", ["a", "b", "c"]).chat[0]["content"]
    answer = format.parse(Ok(task[task.index("could be: ") + 10 :]), 3)
    assert answer in (Ends(1, 2, "exact"), Permutation((1, 0, 2), "repaired", missing=2))


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_a_failed_call_is_never_parsed(format: Format[Any]) -> None:
    answer, report = read(format, Failed("rate_limit", "Error code: 429 best: [3] B"), 3)
    assert answer.status == report.status == "failed"
    assert answer.repairs.missing == (2 if isinstance(answer, Ends) else 3)


ENDS = [
    ("<think>best: [1]</think><answer>best: [3], worst: [1]</answer>", Ends(2, 0, "exact")),
    ("hm</think> <ANSWER> **Best**: 3\nWorst = [01] </ANSWER> done", Ends(2, 0, "exact")),
    ("Best: passage [3]. Worst: passage 1.", Ends(2, 0, "exact")),
    ("worst: [1], best: [3]", Ends(2, 0, "exact")),
    ('{"best": 3, "worst": 1}', Ends(2, 0, "exact")),
    ("<answer>```\nbest：【3】 worst: 【1】\n```</answer>", Ends(2, 0, "exact")),
    ("<answer>[3], [1]</answer>", Ends(2, 0, "repaired")),
    ("<answer>[3] > [2] > [1]</answer>", Ends(2, 0, "repaired", extra=1)),
    ("The best one is [3], the worst one is [1].", Ends(2, 0, "repaired")),
    ("<answer>best: [3]</answer>", Ends(2, None, "repaired")),
    ("<answer>best: [3], worst: [3]</answer>", Ends(2, None, "repaired")),
    ("<answer>best: [3], worst: [9]</answer>", Ends(2, None, "repaired", out_of_range=1)),
    ("<answer>best: [0], worst: [1]</answer>", Ends(None, 0, "repaired", out_of_range=1)),
    ("<answer>best: [3], worst: [1], best: [2]</answer>", Ends(2, 0, "repaired", extra=1)),
    ("<answer>best: [3], worst: [1]", Ends(2, 0, "truncated")),
    ("<answer>best: 3, worst: 1", Ends(2, None, "truncated")),
    ("<think>best: [3], worst: [1]", Ends(None, None, "truncated")),
    ("Passages 3 and 1.", Ends(None, None, "no_answer")),
    ("<answer>best: none, worst: none</answer>", Ends(None, None, "no_answer")),
    ("", Ends(None, None, "no_answer")),
]


@pytest.mark.parametrize(("text", "ends"), ENDS, ids=[case[0] or "empty" for case in ENDS])
def test_ends(text: str, ends: Ends) -> None:
    assert parse_ends(text, 3) == ends


def test_a_thought_that_was_cut_off_names_nothing() -> None:
    assert parse_ends("best: [3], worst: [1] since", 3, cut=True) == Ends(None, None, "truncated")
    assert parse_ends("<answer>best: [3], worst: [1]</answer> so", 3, cut=True) == Ends(2, 0, "exact")


def test_one_passage_is_both() -> None:
    assert parse_ends("best: [1], worst: [1]", 1) == Ends(0, 0, "exact")


def log(**chances: float) -> dict[str, float]:
    return {token: math.log(chance) for token, chance in chances.items()}


PLACE = log(**{"B": 0.4, " C": 0.3, "The": 0.2, "A": 0.05, " A": 0.01, "[": 0.02, "Z": 0.01, "a": 0.01})
FIRSTS = [
    (First(), Ok("B", finish="length", logprobs=(PLACE,)), Permutation((1, 2, 0), "exact")),
    (First(), Ok("The", finish="length", logprobs=(PLACE,)), Permutation((1, 2, 0), "repaired")),
    (First(), Ok("A", finish="length", logprobs=(log(**{"A": 0.5, "B": 0.3, " A": 0.1, "C": 0.05}),)),
     Permutation((0, 1, 2), "exact")),
    (First(), Ok("[", finish="length", logprobs=(log(B=0.1, A=0.05),)), Permutation((1, 0, 2), "repaired", 1)),
    (First(), Ok(" b.", finish="length"), Permutation((1, 0, 2), "repaired", 2)),
    (First(), Ok("Z", finish="length", logprobs=(log(Z=0.9, C=0.1),)), Permutation((2, 0, 1), "repaired", 2, 0, 1)),
    (First(), Ok("D", finish="length"), Permutation((0, 1, 2), "no_answer", 3, 0, 1)),
    (First(), Ok("The", finish="length", logprobs=(log(The=0.9),)), Permutation((0, 1, 2), "no_answer", 3)),
    (First(), Ok("", finish="length"), Permutation((0, 1, 2), "no_answer", 3)),
    (First(), Ok("<think>", finish="length", logprobs=(PLACE,)), Permutation((0, 1, 2), "truncated", 3)),
    (First(), Ok("", "So", finish="length", logprobs=(PLACE,)), Permutation((0, 1, 2), "truncated", 3)),
    (First(), Ok("B", "A thought, closed", finish="length", logprobs=(PLACE,)), Permutation((1, 2, 0), "exact")),
    (First("asked"), Ok("<answer>B</answer>", "A", logprobs=(log(A=1), PLACE, log(**{"</": 1}))),
     Permutation((1, 2, 0), "exact")),
    (First("asked"), Ok("<answer>[B]</answer>"), Permutation((1, 0, 2), "repaired", 2)),
    (First("asked"), Ok("B"), Permutation((1, 0, 2), "repaired", 2)),
    (First("asked"), Ok("<answer>B", finish="length", logprobs=(PLACE,)), Permutation((1, 2, 0), "truncated")),
    (First("asked"), Ok("<think>A", finish="length", logprobs=(log(A=1),)), Permutation((0, 1, 2), "truncated", 3)),
    (First("native"), Ok("", "A or", finish="length", logprobs=(log(A=1),)), Permutation((0, 1, 2), "truncated", 3)),
]  # fmt: skip


@pytest.mark.parametrize(("format", "completion", "parsed"), FIRSTS)
def test_first(format: First, completion: Ok, parsed: Permutation) -> None:
    assert format.parse(completion, 3) == parsed


def test_one_token_is_drawn_and_its_alternatives_asked_for() -> None:
    drawn = First().render("q", ["d"], Sampling(temperature=0.6, max_tokens=99, logprobs=3)).sampling
    assert drawn == Sampling(temperature=0.6, max_tokens=1, logprobs=20)
    assert First("asked", 5).render("q", ["d"], Sampling(max_tokens=99)).sampling == Sampling(max_tokens=99, logprobs=5)


def test_no_more_passages_than_letters() -> None:
    assert "[Z] z" in First().render("q", [chr(97 + at) for at in range(26)]).chat[1]["content"]
    for ask in (lambda: First().render("q", ["a"] * 27), lambda: First().write([0.5] * 27)):
        with pytest.raises(BadInput, match="up to 26 passages by letters, not 27: take a smaller window"):
            ask()


@pytest.mark.parametrize("spec", ["best_worst(think='maybe')", "first(think='maybe')", "first(alternatives=0)"])
def test_bad_settings(spec: str) -> None:
    with pytest.raises(BadInput):
        make(spec)


@pytest.mark.parametrize(
    "reranker", [Listwise(Fake(), 26, 13, format=First()), MergeTree(Fake(), 8, format=First("native"))]
)
@given(numbers=st.integers(0, 120).flatmap(lambda n: st.permutations(range(n))))
def test_listwise_strategies_take_it(reranker: Any, numbers: list[int]) -> None:
    walked = walk(reranker, request(numbers), lambda prompt: reranker.format.write([int(one) for one in shown(prompt)]))
    sure = 13 if isinstance(reranker, Listwise) else 4
    assert list(walked.order.ranking[:sure]) == sorted(range(len(numbers)), key=lambda at: -numbers[at])[:sure]
    assert {call.status for call in walked.order.calls} <= {"exact"}


BITS = [*"[]{}:,'\"0123456789.AbB \n", "<think>", "</think>", "<answer>", "</answer>", "best: [2]", "worst: ", "【"]
PLACES = st.lists(st.dictionaries(st.sampled_from(["A", " B", "C", "Z", "the"]), st.floats(-30, 0)), max_size=3)


@given(st.lists(st.sampled_from(BITS)).map("".join) | st.text(), st.integers(0, 30), st.booleans(), PLACES)
def test_any_text_gives_a_valid_answer(text: str, n: int, cut: bool, places: list[dict[str, float]]) -> None:
    ends = parse_ends(text, n, cut)
    assert all(end is None or 0 <= end < n for end in (ends.best, ends.worst))
    assert n < 2 or ends.best is None or ends.best != ends.worst
    assert ends.status != "exact" or not ends.repairs
    for format in (First(), First("asked")):
        parsed = format.parse(Ok(text, finish="length" if cut else "stop", logprobs=tuple(places)), n)
        assert sorted(parsed.permutation) == list(range(n)) and 0 <= parsed.missing <= n
        assert parsed.status != "exact" or not parsed.repairs
        assert (parsed.status != "no_answer") or parsed.missing == n


@pytest.mark.timeout(20)
def test_long_texts_are_read_in_linear_time() -> None:
    for bit in ["[1] ", "best: [1] ", "best ", "worst: 1", "((", "B ", "  ", "1" * 9, "<answer>"]:
        parse_ends(bit * 50_000, 20)
        First().parse(Ok(bit * 50_000), 20)
