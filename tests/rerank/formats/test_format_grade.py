"""Grades and probabilities: prompts word for word, every answer that models give, and nothing read where nothing is."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.registry import make
from whyrank.rerank.formats import Graded, PointFormat, Rubric, YesNo, read
from whyrank.types import Usage

GOLDEN = Path(__file__).parent / "golden"
GOLDENS = {
    Rubric(): "rubric.txt",
    Rubric("native", 10, "", "question", "theorem"): "rubric_10_native.txt",
    Rubric("no"): "rubric_direct.txt",
    YesNo(): "yes_no.txt",
    YesNo("native"): "yes_no_native.txt",
    YesNo("no"): "yes_no_direct.txt",
}
FORMATS = list(GOLDENS)


def written(prompt: Prompt) -> str:
    return "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_golden_prompt(format: PointFormat) -> None:
    prompt = format.render("why do bees dance?\n(in the hive)", ["The waggle  dance [12] tells where food is."])
    assert written(prompt) == (GOLDEN / GOLDENS[format]).read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_spec_and_what_may_be_cut(format: PointFormat) -> None:
    assert make(repr(format), PointFormat) == format
    prompt = format.render("why?", ["text [3]"])
    pieces = [piece for message in prompt.messages for piece in message.pieces if piece.cut != "never"]
    assert [(piece.text, piece.cut) for piece in pieces] == [("why?", "query"), ("text (3)", "document")]
    one, two = (written(format.render("why?", [text])) for text in ("xx", "yy"))
    assert one[: one.index("xx")] == two[: two.index("yy")]


@pytest.mark.parametrize("passages", [[], ["a", "b"]])
def test_one_passage_at_a_time(passages: list[str]) -> None:
    with pytest.raises(BadInput, match="judges one passage"):
        Rubric().render("q", passages)


@pytest.mark.parametrize(
    ("text", "score", "status"),
    [
        ("<think>It has 40 parts, <score>3</score>?</think><score>85</score>", 85, "exact"),
        ("thought without its opening tag</think>\n<score> 0 </score>", 0, "exact"),
        ("<SCORE>100</SCORE>", 100, "exact"),
        ("<score>20</score> or rather <score>70</score>", 70, "exact"),
        ("<score>**70**</score>", 70, "exact"),
        ("<score>85/100</score>", 85, "repaired"),
        ("<score>about 85</score>", 85, "repaired"),
        ("<score>72.5</score>", 72.5, "repaired"),
        ("<score>60", 60, "repaired"),
        ("64", 64, "repaired"),
        ("The three steps are done.\n**Score:** 64/100", 64, "repaired"),
        ("<score>120</score>", math.nan, "no_answer"),
        ("<score>-5</score>", math.nan, "no_answer"),
        ("<score>60-70</score>", math.nan, "no_answer"),
        ("<score>between 60 and 70</score>", math.nan, "no_answer"),
        ("<score>8/10</score>", math.nan, "no_answer"),
        ("<score></score>", math.nan, "no_answer"),
        ("", math.nan, "no_answer"),
        ("Passage 12 is about 40 bees.", math.nan, "no_answer"),
        ("Error code: 429", math.nan, "no_answer"),
        ("<think>I would say <score>70</score>", math.nan, "truncated"),
    ],
)
def test_grades(text: str, score: float, status: str) -> None:
    found = Rubric().parse(Ok(text), 1)
    assert (found.status, found.score) == (status, pytest.approx(score, nan_ok=True))


def test_a_grade_cut_in_half_is_none() -> None:
    assert Rubric().parse(Ok("<score>8", finish="length"), 1).status == "truncated"
    assert math.isnan(Rubric().parse(Ok("<score>8", finish="length"), 1).score)
    assert Rubric().parse(Ok("<score>80</score> and", finish="length"), 1) == Graded(80, "exact")
    assert Rubric("no").parse(Ok("", "I think 70", finish="length"), 1).status == "truncated"


def test_direct_and_small_scales() -> None:
    assert Rubric("no").parse(Ok("85"), 1) == Graded(85, "exact")
    assert Rubric("no").parse(Ok("<score>85</score>"), 1) == Graded(85, "repaired")
    assert Rubric(top=10).parse(Ok("<score>10</score>"), 1) == Graded(10, "exact")
    assert math.isnan(Rubric(top=10).parse(Ok("<score>11</score>"), 1).score)


def log(**chances: float) -> dict[str, float]:
    return {token: math.log(chance) for token, chance in chances.items()}


def test_a_weighted_grade_is_the_grade_times_its_probability() -> None:
    format = Rubric("no", top=10, weighted=True)
    assert format.render("q", ["d"]).sampling.logprobs == 10 and Rubric("no").render("q", ["d"]).sampling.logprobs == 0
    eight = Ok("8", logprobs=({**log(**{"3": 0.9})}, log(**{"and": 1.0}), log(**{"8": 0.6, " 8": 0.1, "7": 0.3})))
    assert format.parse(eight, 1) == Graded(pytest.approx(5.6), "exact")
    ten = Ok("10", logprobs=(log(**{"1": 0.5, "10": 0.25, "9": 0.25}), log(**{"0": 0.8})))
    assert format.parse(ten, 1) == Graded(pytest.approx(10 * (0.5 * 0.8 + 0.25)), "exact")
    assert format.parse(Ok("8"), 1) == Graded(8, "repaired")


@pytest.mark.parametrize(
    ("text", "score", "status"),
    [
        ("<think>yes? no!</think><answer>yes</answer>", 1, "exact"),
        ("<answer> No. </answer>", 0, "exact"),
        ("yes", 1, "repaired"),
        ("<answer>Yes, it names the dance.</answer>", 1, "repaired"),
        ("The dance is named.\n\n**No**", 0, "repaired"),
        ("<answer>yes", 1, "repaired"),
        ("<answer>maybe</answer>", math.nan, "no_answer"),
        ("There is no such passage", math.nan, "no_answer"),
        ("No idea", math.nan, "no_answer"),
        ("", math.nan, "no_answer"),
        ("<think>yes, I should say yes", math.nan, "truncated"),
    ],
)
def test_yes_and_no(text: str, score: float, status: str) -> None:
    found = YesNo().parse(Ok(text), 1)
    assert (found.status, found.score) == (status, pytest.approx(score, nan_ok=True))


def test_the_probability_is_read_where_the_answer_stands() -> None:
    thought = (log(no=0.99), log(bees=1.0))
    place = log(**{" yes": 0.3, "Yes": 0.3, "no": 0.1, "NO": 0.1, "perhaps": 0.2})
    answer = Ok("<answer>yes</answer>", "no bees", Usage(), "stop", (*thought, place, log(**{"</": 1.0})))
    assert YesNo().parse(answer, 1) == Graded(pytest.approx(0.75), "exact")
    assert YesNo("no").render("q", ["d"], Sampling(logprobs=20)).sampling.logprobs == 20
    assert YesNo("no").render("q", ["d"]).sampling.logprobs == 10


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_a_thought_that_was_cut_off_is_closed_and_gone_on_with(format: PointFormat) -> None:
    prompt = format.render("q", ["d"], Sampling(temperature=0.6))
    cut = format.again(prompt, Ok("<think>Bees know 3.5 ways. They", finish="length"))
    opening = "" if format.think == "no" else "<score>" if isinstance(format, Rubric) else "<answer>"
    assert cut.messages[:2] == prompt.messages and len(cut.messages) == 3
    assert cut.prefill == f"<think>\nBees know 3.5 ways.\n</think>\n\n{opening}"
    assert cut.sampling == replace(prompt.sampling, max_tokens=1 if isinstance(format, YesNo) else 32)
    assert format.again(prompt, Ok("", "no end", finish="length")).prefill.startswith("<think>\nno end\n</think>")
    grade = 9 if getattr(format, "top", 0) == 10 else 90
    if isinstance(format, YesNo):  # the one token
        said, told = Ok("no", finish="length"), Graded(0, "exact" if format.think == "no" else "repaired")
    else:
        said, told = Ok(f"{grade}{opening.replace('<', '</')}"), Graded(grade, "exact")
    assert format.parse(format.whole(cut, said), 1) == told
    odd = format.again(cut, format.whole(cut, Ok("hm", finish="length")))
    assert odd.messages[:2] == prompt.messages and odd.messages[2].content == f"{cut.prefill}hm" and not odd.prefill


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_asking_again(format: PointFormat) -> None:
    prompt = format.render("q", ["d"], Sampling(temperature=0.6))
    odd = format.again(prompt, Ok(""))
    assert odd.sampling == prompt.sampling and odd.chat[2]["content"] == "(empty)"
    assert odd.chat[3]["content"].startswith("I cannot read an answer")


def test_one_token_after_a_closed_thought_tells_the_odds() -> None:
    format = YesNo("native")
    closed = format.again(format.render("q", ["d"]), Ok("", "Hm. So", finish="length"))
    place = log(**{"The": 0.5, "yes": 0.3, " No": 0.1})
    told = format.parse(format.whole(closed, Ok("The", finish="length", logprobs=(place,))), 1)
    assert told == Graded(pytest.approx(0.75), "repaired")
    assert math.isnan(format.parse(format.whole(closed, Ok("The", finish="length", logprobs=(log(The=0.5),))), 1).score)
    assert math.isnan(format.parse(Ok("<answer>The dance</answer>", logprobs=(place, log(dance=1))), 1).score)
    assert math.isnan(YesNo("no").parse(Ok("", "So", finish="length", logprobs=(place,)), 1).score)
    assert math.isnan(YesNo("no").parse(Ok("<think>", finish="length", logprobs=(place,)), 1).score)


@pytest.mark.parametrize("format", FORMATS, ids=repr)
@given(text=st.text() | st.text("<>/thinkscoreaw0123456789 yesno"), cut=st.booleans())
def test_any_text_gives_a_score_on_the_scale_or_none(format: PointFormat, text: str, cut: bool) -> None:
    completion = Ok(text, finish="length" if cut else "stop")
    prompt = format.render("q", ["d"])
    found, report = read(format, completion, 1, prompt)
    assert math.isnan(found.score) == (found.status in {"truncated", "no_answer"}) == math.isnan(report.score)
    assert math.isnan(found.score) or 0 <= found.score <= getattr(format, "top", 1)
    written(format.again(prompt, completion)).encode()


def test_a_failed_call_is_never_parsed() -> None:
    found, report = read(Rubric(), Failed("server", "<score>90</score>"), 1, Rubric().render("q", ["d"]))
    assert math.isnan(found.score) and found.status == "failed"
    assert report.to_dict() == {"status": "failed", "score": None, "failure": "server", "detail": "<score>90</score>"}


@pytest.mark.parametrize("spec", ["rubric(think='maybe')", "rubric(top=5)", "yes_no(think=True)"])
def test_bad_settings_in_specs(spec: str) -> None:
    with pytest.raises(BadInput):
        make(spec)


def test_bad_settings_in_python() -> None:
    with pytest.raises(BadInput, match="top must be 100 or 10"):
        Rubric(top=5)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="think must be"):
        YesNo("maybe")  # type: ignore[arg-type]
