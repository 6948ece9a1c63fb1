"""Prompts word for word, what of them may be cut, and the reading of completions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.report import thought_of
from whyrank.registry import make
from whyrank.rerank.formats import Format, Permutation, RankingFormat, clean, read

GOLDEN = Path(__file__).parent / "golden"
GOLDENS = {
    RankingFormat(): "ranking.txt",
    RankingFormat(think="native"): "ranking_native.txt",
    RankingFormat(think="no"): "ranking_direct.txt",
}
FORMATS = list(GOLDENS)
QUERY = "why do bees dance?\n(I mean the dance in the hive)"
PASSAGES = ["Bees make\n  honey [3].", "The waggle dance, as shown [ 12 ], tells\twhere food is.", " "]


def shown(prompt: Prompt) -> str:
    return "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_golden_prompt(format: Format[Permutation]) -> None:
    golden = (GOLDEN / GOLDENS[format]).read_text(encoding="utf-8")
    assert shown(format.render(QUERY, PASSAGES)) == golden


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_only_query_and_passages_may_be_cut(format: Format[Permutation]) -> None:
    prompt = format.render(QUERY, PASSAGES)
    pieces = [piece for message in prompt.messages for piece in message.pieces]
    assert [piece.text for piece in pieces if piece.cut == "query"] == [QUERY]
    assert [piece.text for piece in pieces if piece.cut == "document"] == [
        clean(text) or "(empty)" for text in PASSAGES
    ]
    fixed = "".join(piece.text for piece in pieces if piece.cut == "never")
    assert all(f"[{number}] " in fixed for number in (1, 2, 3))


@pytest.mark.parametrize("format", FORMATS, ids=repr)
@given(lists=st.lists(st.lists(st.text(min_size=1), min_size=2, max_size=5), min_size=2, max_size=2))
def test_prompts_of_one_query_share_everything_before_the_passages(
    format: Format[Permutation], lists: list[list[str]]
) -> None:
    one, two = (shown(format.render(QUERY, passages)) for passages in lists)
    shared = one[: one.index("\n[1] ")]
    assert two.startswith(shared) and QUERY in shared


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_sampling_goes_with_the_prompt(format: Format[Permutation]) -> None:
    assert format.render("q", ["a", "b"]).sampling == Sampling()
    assert format.render("q", ["a", "b"], Sampling(temperature=0.6)).sampling == Sampling(temperature=0.6)


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_spec(format: Format[Permutation]) -> None:
    assert make(repr(format), Format) == format
    assert repr(format) in {"ranking()", "ranking(think='native')", "ranking(think='no')"}


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_the_example_in_the_prompt_is_read_by_the_parser(format: Format[Permutation]) -> None:
    task = format.render("q", ["a", "b", "c"]).chat[0]["content"]
    assert format.parse(Ok(task[task.index("could be: ") :]), 3) == Permutation((1, 2, 0), "exact")


@given(st.text())
def test_clean_leaves_no_label_and_is_done_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\n" not in once and "  " not in once and once == once.strip()
    once.encode()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("see [12]", "see (12)"),
        ("[1] > [2]", "(1) > (2)"),
        ("【3】 and ［４］", "(3) and (４)"),
        ("[ 5 ] [\n6\n]", "(5) (6)"),
        ("a[i] = b[0][1]", "a[i] = b(0)(1)"),
        ("[[7]]", "[(7)]"),
        ("half a pair \ud83d of surrogates", "half a pair ? of surrogates"),
        ("\ta \u00a0 b\u2028c ", "a b c"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_cut_off_completion_is_truncated() -> None:
    completion = Ok("<answer>[2]", reasoning="hm", finish="length")
    assert RankingFormat().parse(completion, 2) == Permutation((1, 0), "truncated", missing=1)
    assert RankingFormat(think="no").parse(Ok("[2] > [", finish="length"), 2) == Permutation(
        (1, 0), "truncated", missing=1
    )
    assert RankingFormat(think="no").parse(Ok("", reasoning="I think [2]", finish="length"), 2) == Permutation(
        (0, 1), "truncated", missing=2
    )


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (Ok("<answer>[2] > [1]</answer>", reasoning="from the engine"), "from the engine"),
        (Ok("<think>from the text</think><answer>[2] > [1]</answer>"), "from the text"),
        (Ok("from the text</think><answer>[2] > [1]</answer>"), "from the text"),
        (Ok("Without tags.\n<answer>[2] > [1]</answer>"), "Without tags."),
        (Ok("[2] > [1]"), ""),
    ],
)
def test_thought_is_found_wherever_it_stands(completion: Ok, reason: str) -> None:
    parsed, report = read(RankingFormat(), completion, 2)
    assert parsed == Permutation((1, 0), "exact")
    assert thought_of(completion) == report.thought == reason
    assert report.to_dict() == {
        "status": "exact", "missing": 0, "duplicate": 0, "out_of_range": 0, "finish": "stop", "reason": reason
    }  # fmt: skip


def test_a_failed_call_is_never_parsed() -> None:
    parsed, report = read(RankingFormat(think="no"), Failed("rate_limit", "Error code: 429 … [3] > [1] > [2]"), 3)
    assert parsed == Permutation((0, 1, 2), "failed", missing=3)
    assert report.to_dict() == {
        "status": "failed",
        "failure": "rate_limit",
        "detail": "Error code: 429 … [3] > [1] > [2]",
    }


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            "listwise(fake(), format=yes_no())",
            "listwise: format must be one that orders the passages, such as ranking()",
        ),
        ("listwise(fake(), format=pair())", "such as ranking(), not pair()"),
        ("setwise(fake(), format=ranking(think='no'))", "setwise: format must be one that chooses a passage"),
        ("pairwise(fake(), format=ranking())", "pairwise: format must be one that compares two passages"),
        ("groupwise(fake(), format=best_worst())", "groupwise: format must be one that scores the passages"),
        (
            "dual_end(fake(), format=choice(think='no'))",
            "dual_end: format must be one that names the best and the worst",
        ),
        ("cascade(adaptive(fake(), format=rubric()))", "adaptive: format must be one that orders the passages"),
    ],
)
def test_a_format_of_another_kind_is_refused_when_the_strategy_is_made(spec, told):
    with pytest.raises(BadInput) as refused:
        make(spec)
    assert told in str(refused.value)


def test_what_another_kind_of_answer_is_called():
    assert make("listwise(fake(), format=first())") and make("pointwise(fake(), format=yes_no())")
    assert make("yes_no()").instead(int) == "one that gives int"
