"""The parser of orders: every test vector by name, and whatever a model may write besides."""

import json
from itertools import permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whyrank.llm.reasoning import split_reasoning
from whyrank.rerank.formats import Permutation, parse_permutation

EXACT = [
    ("exact", "<think>The second tells.</think>\n<answer>[2] > [3] > [1]</answer>"),
    ("answer alone", "<answer>[2] > [3] > [1]</answer>"),
    ("upper-case tags", "<THINK>hm</THINK><ANSWER>[2] > [3] > [1]</ANSWER>"),
    ("mixed-case tags", "<Think>hm</tHink><Answer>[2] > [3] > [1]</answer>"),
    ("prose before the tags", "Sure, here it is.\n<think>hm</think><answer>[2] > [3] > [1]</answer>"),
    ("prose before a list", "The top 10 passages, ranked: [2] > [3] > [1]"),
    ("code fence", "```\n[2] > [3] > [1]\n```"),
    ("code fence in the tags", "<answer>\n```json\n[2, 3, 1]\n```\n</answer>"),
    ("code fence around bare numbers", "```text\n2, 3, 1\n```"),
    ("code fence around a JSON map", '```json\n{"1": 0.5, "2": 9, "3": 7.5}\n```'),
    ("no spaces", "[2]>[3]>[1]"),
    ("bare numbers", "2 > 3 > 1"),
    ("bare numbers in the tags", "<answer>2 > 3 > 1</answer>"),
    ("bare numbers, lines", "2\n3\n1\n"),
    ("commas", "[2], [3], [1]"),
    ("leading zeros", "[02] > [03] > [01]"),
    ("bold", "**[2]** > **[3]** > **[1]**"),
    ("escaped", r"\[2\] > \[3\] > \[1\]"),
    ("numbered lines", "1. [2]\n2. [3]\n3. [1]"),
    ("lines with remarks", "[2] tells it all\n[3] tells a part\n[1] is about honey"),
    ("citations before the list", "Passage [1] is about honey, while [3] helps.\nSo: [2] > [3] > [1]"),
    ("citations after the list", "[2] > [3] > [1]\nHere [2] tells it all, and [1] is about honey."),
    ("two lists: the last", "At first sight [1] > [2] > [3]. On reflection [2] > [3] > [1]"),
    ("remarks in the tags", "<answer>[2] tells it all. [3] > [1] for the rest.</answer>"),
    ("two answers: the last", "<answer>[1] > [2] > [3]</answer> Wait. <answer>[2] > [3] > [1]</answer>"),
    ("answer inside the thought", "<think><answer>[1] > [2] > [3]</answer>?</think><answer>[2] > [3] > [1]</answer>"),
    ("only </think>", "The second tells, then [3].</think><answer>[2] > [3] > [1]</answer>"),
    ("only </answer>", "[2] > [3] > [1]</answer>"),
    ("all ties", "[2] = [3] = [1]"),
    ("a tie", "<answer>[2] > [3] = [1]</answer>"),
    ("full-width brackets", "【2】 > 【3】 > 【1】"),
    ("full-width throughout", "［２］＞［３］＞［１］"),
    ("JSON list", "[2, 3, 1]"),
    ("JSON list of texts", '["2", "3", "1"]'),
    ("JSON list of labels", '["[2]", "[3]", "[1]"]'),
    ("JSON object with a list", '{"ranking": [2, 3, 1]}'),
    ("JSON map to scores", '{"1": 0.5, "2": 9, "3": 7.5}'),
    ("JSON map of labels to scores", '{"[1]": 10, "[2]": 90, "[3]": 70}'),
    ("JSON map to ranks", '{"1": 3, "2": 1, "3": 2}'),
    ("JSON map in the tags", '<answer>{"2": 10, "3": 7, "1": 0}</answer>'),
]


@pytest.mark.parametrize("text", [text for _, text in EXACT], ids=[name for name, _ in EXACT])
def test_exact(text: str) -> None:
    assert parse_permutation(text, 3) == Permutation((1, 2, 0), "exact")


OTHERS = [
    # name, text, order counted from 1, status, missing, duplicate, out of range; always three passages
    ("duplicate", "<answer>[2] > [2] > [3] > [1]</answer>", [2, 3, 1], "repaired", 0, 1, 0),
    ("missing", "<answer>[3] > [1]</answer>", [3, 1, 2], "repaired", 1, 0, 0),
    ("one alone", "<answer>[3]</answer>", [3, 1, 2], "repaired", 2, 0, 0),
    ("one alone, bare", "3", [3, 1, 2], "repaired", 2, 0, 0),
    ("zero", "<answer>[0] > [2] > [1]</answer>", [2, 1, 3], "repaired", 1, 0, 1),
    ("zero beside all", "<answer>[2] > [3] > [1] > [0]</answer>", [2, 3, 1], "repaired", 0, 0, 1),
    ("out of range", "<answer>[9] > [2] > [3] > [1]</answer>", [2, 3, 1], "repaired", 0, 0, 1),
    ("far out of range", f"<answer>[{'9' * 5000}] > [2] > [3] > [1]</answer>", [2, 3, 1], "repaired", 0, 0, 1),
    ("everything at once", "<answer>[3] > [3] > [7] > [0]</answer>", [3, 1, 2], "repaired", 2, 1, 2),
    ("a range", "<answer>[1]-[3]</answer>", [1, 2, 3], "repaired", 1, 0, 0),
    ("a range in words", "[1] to [3]", [1, 2, 3], "repaired", 1, 0, 0),
    ("a dash that is no range", "<answer>[1] - [3] - [2]</answer>", [1, 3, 2], "exact", 0, 0, 0),
    ("a range that is too long", "<answer>[1]-[999999999]</answer>", [1, 2, 3], "repaired", 2, 0, 1),
    ("no </answer>", "<think>hm</think><answer>[3] > [2", [3, 1, 2], "truncated", 2, 0, 0),
    ("no </answer>, list complete", "<answer>[3] > [2] > [1]", [3, 2, 1], "truncated", 0, 0, 0),
    ("the last answer is cut", "<answer>[1] > [2] > [3]</answer> no: <answer>[3] > ", [3, 1, 2], "truncated", 2, 0, 0),
    ("no </think>", "<think>passage 7 looks best, then 3, so [3] > [2]", [1, 2, 3], "truncated", 3, 0, 0),
    ("no </think> after prose", "Well. <think>I like [3] > [2] > [1]", [1, 2, 3], "truncated", 3, 0, 0),
    ("answer in a thought without end", "<think><answer>[3] > [2] > [1]", [1, 2, 3], "truncated", 3, 0, 0),
    (
        "answer inside the thought alone",
        "<think><answer>[3] > [2] > [1]</answer></think>",
        [1, 2, 3],
        "no_answer",
        3,
        0,
        0,
    ),
    ("none is relevant", "None of the passages is relevant.", [1, 2, 3], "no_answer", 3, 0, 0),
    ("none, in the tags", "<think>[3]?</think><answer>none is relevant</answer>", [1, 2, 3], "no_answer", 3, 0, 0),
    ("empty", "", [1, 2, 3], "no_answer", 3, 0, 0),
    ("space", " \n\t ", [1, 2, 3], "no_answer", 3, 0, 0),
    ("empty answer", "<answer></answer>", [1, 2, 3], "no_answer", 3, 0, 0),
    ("refusal", "I'm sorry, but I cannot help with 1 of these 3 requests.", [1, 2, 3], "no_answer", 3, 0, 0),
    ("error text", "Error code: 429 - rate limit, try 3 again in 1 of 2 s", [1, 2, 3], "no_answer", 3, 0, 0),
    ("error word", "ERROR::reduce_length", [1, 2, 3], "no_answer", 3, 0, 0),
    ("bare number out of range", "429", [1, 2, 3], "no_answer", 3, 0, 1),
    ("a year in brackets", "As shown in [2019].", [1, 2, 3], "no_answer", 3, 0, 1),
    ("bare numbers in prose", "I would put 3 first, then 2 and 1.", [1, 2, 3], "no_answer", 3, 0, 0),
    ("JSON map to words", '{"1": "good", "2": "bad"}', [1, 2, 3], "no_answer", 3, 0, 0),
    ("JSON map with a key twice", '{"3": 5, "3": 4, "2": 1}', [3, 2, 1], "repaired", 1, 1, 0),
    ("JSON map to NaN", '{"1": NaN, "2": 1, "3": 2}', [1, 2, 3], "no_answer", 3, 0, 0),
    ("JSON map from pairs", '{"1 and 2": 5, "3": 7}', [1, 2, 3], "no_answer", 3, 0, 0),
    ("JSON map cut off", '{"3": 5, "2": ', [1, 2, 3], "no_answer", 3, 0, 0),
]


@pytest.mark.parametrize(("text", "order", "status", "missing", "duplicate", "out"), [case[1:] for case in OTHERS],
                         ids=[case[0] for case in OTHERS])  # fmt: skip
def test_repairs_and_blanks(text: str, order: list[int], status: str, missing: int, duplicate: int, out: int) -> None:
    permutation = tuple(number - 1 for number in order)
    assert parse_permutation(text, 3) == Permutation(permutation, status, missing, duplicate, out)  # type: ignore[arg-type]


def test_a_cut_completion_is_truncated_unless_its_answer_was_whole() -> None:
    assert parse_permutation("[3] > [1", 3, cut=True) == Permutation((2, 0, 1), "truncated", 2)
    assert parse_permutation("", 3, cut=True).status == "truncated"
    assert parse_permutation("[3] > [1] > [2]", 3, cut=True).status == "exact"
    assert parse_permutation("<answer>[3] > [1] > [2]</answer> And", 3, cut=True).status == "exact"
    assert parse_permutation("<answer>[3] > [1]</answer> And", 3, cut=True).status == "repaired"


def test_nothing_is_read_for_no_passages() -> None:
    assert parse_permutation("[1]", 0) == Permutation((), "no_answer", 0, 0, 1)


@pytest.mark.parametrize("n", range(1, 6))
def test_exact_means_each_number_once(n: int) -> None:
    for order in permutations(range(n)):
        text = " > ".join(f"[{at + 1}]" for at in order)
        assert parse_permutation(f"<answer>{text}</answer>", n) == Permutation(order, "exact")
        assert parse_permutation(f"<answer>{text}</answer>", n + 1).status == "repaired"
        if n > 1:
            assert parse_permutation(f"<answer>{text}</answer>", n - 1).status == "repaired"


def check(text: str, n: int, cut: bool) -> None:
    parsed = parse_permutation(text, n, cut)
    assert sorted(parsed.permutation) == list(range(n))
    assert parsed == parse_permutation(text, n, cut)
    assert 0 <= parsed.missing <= n
    counts = (parsed.missing, parsed.duplicate, parsed.out_of_range)
    if parsed.status == "exact":
        assert counts == (0, 0, 0)
    elif parsed.status == "repaired":
        assert counts != (0, 0, 0)
    elif parsed.status == "no_answer":
        assert parsed.permutation == tuple(range(n)) and parsed.missing == n
    else:
        assert parsed.status == "truncated"


@given(st.text(), st.integers(0, 30), st.booleans())
@example("[" * 10_000, 5, False)
@example('{"1":' * 10_000, 5, False)
@example("{" + "[" * 100_000 + "}", 5, False)
@example('{"1": 1e999, "2": NaN, "3": ' + "9" * 5000 + "}", 5, False)
@example("[²] > [١] > [1]", 5, True)
def test_any_text_gives_a_permutation(text: str, n: int, cut: bool) -> None:
    check(text, n, cut)


BITS = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "[",
    "]",
    "【",
    "】",
    "{",
    "}",
    '"',
    ":",
    ",",
    " > ",
    " = ",
    "-",
]
BITS += [
    "[1]",
    "[2]",
    "[02]",
    "[0]",
    "[9]",
    "[3, 1]",
    "7",
    "0",
    "-1",
    "2.5",
    "```json",
    "```",
    "\n",
    "to",
    "1. ",
    "none",
    "\\",
]


@given(st.lists(st.sampled_from(BITS)).map("".join), st.integers(0, 12), st.booleans())
def test_any_mix_of_what_models_write_gives_a_permutation(text: str, n: int, cut: bool) -> None:
    check(text, n, cut)


@given(st.lists(st.sampled_from(BITS)).map("".join), st.permutations(range(5)))
def test_the_thought_never_changes_the_order(thought: str, order: list[int]) -> None:
    answer = "<answer>" + " > ".join(f"[{at + 1}]" for at in order) + "</answer>"
    assert parse_permutation(f"<think>{thought}</think>{answer}", 5) == Permutation(tuple(order), "exact")
    _, rest = split_reasoning(f"<think>{thought}</think>{answer}")
    assert parse_permutation(rest, 5) == Permutation(tuple(order), "exact")


@given(st.permutations(range(8)), st.sampled_from([" > ", ">", ", ", " ", "\n", " = ", " ≥ ", "; ", " → ", " > \n"]))
def test_separators(order: list[int], separator: str) -> None:
    labels = separator.join(f"[{at + 1}]" for at in order)
    assert (
        parse_permutation(labels, 8)
        == parse_permutation(f"<answer>{labels}</answer>", 8)
        == Permutation(tuple(order), "exact")
    )


@given(st.permutations(range(8)))
def test_json_map_of_scores(order: list[int]) -> None:
    scores = {str(at + 1): 1.0 - place / 10 for place, at in enumerate(order)}
    assert parse_permutation(json.dumps(dict(sorted(scores.items()))), 8) == Permutation(tuple(order), "exact")


@pytest.mark.timeout(20)
def test_long_texts_are_read_in_linear_time() -> None:
    for bit in ["[1] ", "1 > ", "<think>", "<answer>", "[1,", "- ", "\n1. ", '"', "to ", "[1] - "]:
        check(bit * 50_000, 20, False)
