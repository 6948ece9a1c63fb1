"""Pairs: exact first k, calls and rounds as documented, both orders asked, and garbage loses nothing."""

import random
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_query import BAD, best_first, request, shown, walk

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.formats import Pair, Preferred, read
from whyrank.rerank.strategies.pairwise import Pairwise
from whyrank.testing import check_reranker

GOLDEN = Path(__file__).parents[1] / "formats" / "golden"
GOLDENS = {Pair(): "pair.txt", Pair("asked"): "pair_reasoned.txt", Pair("native"): "pair_reasoned_native.txt"}
METHODS = ["allpair", "heapsort", "sliding"]


def higher(prompt: Prompt) -> Completion:
    one, two = map(int, shown(prompt))
    return Ok("A" if one > two else "B")


def bounds(method: str, n: int, k: int) -> tuple[int, int]:
    """Calls and rounds at most, as the docstring has them."""
    if n < 2:
        return 0, 0
    levels, k = n.bit_length() - 1, min(k, n)
    return {
        "allpair": (n * (n - 1), 1),
        "heapsort": (4 * (n + k * levels), levels * (levels + 1) + 2 * k * levels),
        "sliding": (min(k, n - 1) * (2 * n - min(k, n - 1) - 1), n + min(k, n - 1) - 2),
    }[method]


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("method", METHODS)
@given(data=st.data(), k=st.integers(1, 60))
def test_a_perfect_comparator_gives_the_exact_top(method, data, k):
    n = data.draw(st.integers(0, 40 if method == "allpair" else 250))
    numbers = data.draw(st.permutations(range(n)))
    walked = walk(Pairwise(Fake(), method, k), request(numbers), higher)
    calls, rounds = bounds(method, n, k)
    assert sorted(walked.order.ranking) == list(range(n))
    assert list(walked.order.ranking[:k]) == best_first(numbers)[:k]
    assert walked.calls == len(walked.order.calls) <= calls and len(walked.rounds) <= rounds
    asked = [tuple(shown(prompt)) for prompts in walked.rounds for prompt in prompts]
    assert len(set(asked)) == len(asked) and {pair[::-1] for pair in asked} == set(asked)


def test_the_calls_of_the_literature():
    rising = list(range(100))
    assert walk(Pairwise(Fake(), "allpair"), request(rising), higher).calls == 9900
    assert bounds("sliding", 100, 10) == (1890, 108)
    assert walk(Pairwise(Fake(), "sliding"), request(rising), higher).calls == 1890
    draw = random.Random(0)
    drawn = [
        [round(1000 * draw.gauss(-at, 30)) for at in range(100)] for _ in range(20)
    ]  # the first stage is some good
    heaps = [walk(Pairwise(Fake()), request(numbers), higher) for numbers in drawn]
    assert 380 < mean(walked.calls for walked in heaps) < 510
    assert mean(len(walked.rounds) for walked in heaps) < 150


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("think", ["no", "asked"])
@given(n=st.integers(0, 30), k=st.integers(1, 40), dice=st.randoms(use_true_random=False))
def test_whatever_the_model_writes_nothing_is_lost(method, think, n, k, dice):
    part = Pairwise(Fake(), method, k, format=Pair(think))
    walked = walk(part, request(range(n)), lambda _: dice.choice((*BAD, Ok("A"), Ok("<answer>B</answer>"))))
    assert sorted(walked.order.ranking) == list(range(n))
    assert walked.calls == len(walked.order.calls) <= bounds(method, n, k)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", [Ok("A"), Ok("B"), *BAD], ids=str)
def test_a_model_that_favours_a_place_or_says_nothing_changes_nothing(method, answer):
    assert walk(Pairwise(Fake(), method, 5), request(range(20)), lambda _: answer).order.ranking == tuple(range(20))


@pytest.mark.parametrize("method", METHODS)
def test_an_unreadable_answer_leaves_the_decision_to_the_other(method):
    def answer(prompt):
        one, two = map(int, shown(prompt))
        return higher(prompt) if one > two else Ok("Hm.")

    assert walk(Pairwise(Fake(), method, 9), request(range(9)), answer).order.ranking == tuple(range(8, -1, -1))


def test_calls_are_reported():
    order = walk(Pairwise(Fake()), request([1, 2]), higher).order
    assert order.ranking == (1, 0)
    assert [(call.shown, call.first, call.status) for call in order.calls] == [
        ((0, 1), False, "exact"), ((1, 0), True, "exact")
    ]  # fmt: skip


@pytest.mark.parametrize("format", GOLDENS, ids=repr)
def test_golden_prompt(format):
    prompt = format.render("why do bees dance?", ["Bees make  honey [3].", ""])
    written = "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)
    assert written == (GOLDEN / GOLDENS[format]).read_text(encoding="utf-8")
    assert shown(prompt) == ["Bees make honey (3).", "(empty)"]
    assert make(repr(format)) == format
    with pytest.raises(BadInput, match="compares two passages"):
        format.render("q", ["a"])


@pytest.mark.parametrize(
    ("think", "text", "first", "status"),
    [
        ("no", "A", True, "exact"),
        ("no", " B.\n", False, "exact"),
        ("no", "Passage B", False, "repaired"),
        ("no", "<answer>a</answer>", True, "repaired"),
        ("asked", "<think>A?</think><answer>B</answer>", False, "exact"),
        ("asked", "hm</think><answer>[A]</answer>", True, "exact"),
        ("asked", "<answer>B", False, "repaired"),
        ("asked", "A", True, "repaired"),
        ("asked", "A bee dances.", None, "no_answer"),
        ("asked", "<answer>A or B</answer>", None, "no_answer"),
        ("asked", "", None, "no_answer"),
        ("asked", "<think>B, I think", None, "truncated"),
    ],
)
def test_choices(think, text, first, status):
    assert Pair(think).parse(Ok(text), 2) == Preferred(first, status)


def test_cut_off_and_failed_calls():
    assert Pair().parse(Ok("", "I weigh", finish="length"), 2).status == "truncated"
    found, report = read(Pair(), Failed("server", "A"), 2)
    assert found == Preferred(None, "failed") and report.failure == "server"


@given(st.text() | st.text("<>/thinkanswerAB "), st.sampled_from(["no", "asked", "native"]))
def test_any_text_is_read(text, think):
    found = Pair(think).parse(Ok(text), 2)
    assert (found.first is None) == (found.status in {"truncated", "no_answer"})


@pytest.mark.parametrize("spec", ["pairwise(fake(), method='bubble')", "pair(think='maybe')", "pairwise(fake(), k=0)"])
def test_bad_settings(spec):
    with pytest.raises(BadInput):
        make(spec)


def test_the_contract():
    check_reranker(Pairwise(Fake("A"), "sliding", 3))
