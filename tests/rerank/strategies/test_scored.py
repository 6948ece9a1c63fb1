"""Scores read from single tokens: each reading by its formula, missing tokens told, the order that of the scores."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.formats import YesNo
from whyrank.rerank.formats.weighed import Difference, Expectation, Logit, Softmax, TokenScore, Weighed
from whyrank.rerank.strategies.scored import Scored

TEXTS = ["Bees make honey.", "Bees dance to tell where food is.", "The moon pulls at the water."]
READINGS = [
    Softmax("yes", "no"),
    Softmax(9693, 2152, log=True),
    Difference("1", "0"),
    Logit("Yes"),
    Logit(9454, divided_by=5, sigmoid=True),
    Expectation("0", "1", "2", "3", "4"),
]


def model(values) -> Fake:
    """A model that gives these values to the tokens of each text."""
    shown = {text: told for text, told in zip(TEXTS, values, strict=True)}
    return Fake(lambda prompt: Ok("", values=next(shown[text] for text in TEXTS if text in prompt.chat[1]["content"])))


def test_the_order_is_that_of_the_scores() -> None:
    best = Scored(model([(0.0, 1.0), (2.0, 1.0), (0.0, 5.0)])).rank("why do bees dance?", TEXTS)
    assert [one.index for one in best] == [1, 0, 2]
    assert [one.score for one in best] == pytest.approx([1 / (1 + math.exp(-d)) for d in (1, -1, -5)])
    assert {call.status for call in best.calls} == {"exact"} and len(best.calls) == len(TEXTS)
    assert [call.score for call in best.calls] == pytest.approx([1 / (1 + math.exp(-d)) for d in (-1, 1, -5)])


@pytest.mark.parametrize(
    ("reading", "values", "score"),
    [
        (Softmax("yes", "no"), (1.5, 0.5), 1 / (1 + math.exp(-1))),
        (Softmax("yes", "no", log=True), (1.5, 0.5), math.log(1 / (1 + math.exp(-1)))),
        (Softmax("yes", "no"), (-1000.0, 0.0), 0.0),
        (Softmax("yes", "no"), (1000.0, 0.0), 1.0),
        (Difference("1", "0"), (1.5, -0.5), 2.0),
        (Logit("Yes"), (-7.25,), -7.25),
        (Logit("Yes", divided_by=5, sigmoid=True), (10.0,), 1 / (1 + math.exp(-2))),
        (Expectation("0", "1", "2"), (0.0, 0.0, 0.0), 0.5),
        (Expectation("0", "1", "2"), (math.log(0.1), math.log(0.2), math.log(0.7)), 0.8),
    ],
)
def test_readings_by_their_formulas(reading: TokenScore, values: tuple[float, ...], score: float) -> None:
    assert reading.score(values) == pytest.approx(score)
    parsed = Weighed(YesNo("no"), reading).parse(Ok("never mind the words", values=values), 1)
    assert (parsed.score, parsed.status) == (pytest.approx(score), "exact")


@given(st.sampled_from(READINGS), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_what_is_written_is_read_in_order(reading: TokenScore, one: float, other: float) -> None:
    format = Weighed(YesNo("no"), reading)
    low, high = (format.parse(format.write([utility]), 1) for utility in sorted((one, other)))
    assert (low.status, high.status) == ("exact", "exact")
    assert low.score <= high.score + 1e-12


@given(st.sampled_from(READINGS), st.lists(st.floats(-50, 50), min_size=5, max_size=5), st.floats(-20, 20))
def test_readings_of_several_tokens_do_not_hang_on_the_normaliser(reading: TokenScore, values, shift: float) -> None:
    values = values[: len(reading.targets.tokens)]
    moved = reading.score([value + shift for value in values])
    if reading.targets.unit == "any":
        assert moved == pytest.approx(reading.score(values), abs=1e-6)


@pytest.mark.parametrize(
    "values", [(), (1.0,), (1.0, math.nan), (math.inf, 0.0), (-math.inf, -math.inf), (1.0, 2.0, 3.0)]
)
def test_a_token_of_which_nothing_is_told_is_no_score(values: tuple[float, ...]) -> None:
    best = Scored(model([(0.0, 1.0), values, (0.0, 5.0)])).rank("why do bees dance?", TEXTS)
    by_index = {one.index: one.score for one in best}
    assert math.isnan(by_index[1]) and not any(math.isnan(by_index[at]) for at in (0, 2))
    assert sorted(call.status for call in best.calls) == ["exact", "exact", "no_answer"]
    assert [one.index for one in best] == [0, 1, 2]  # it keeps its place


def test_a_call_that_fails_is_no_score() -> None:
    best = Scored(Fake(lambda prompt: Failed("bad_request", "no such token"))).rank("why?", TEXTS)
    assert [one.index for one in best] == [0, 1, 2] and {call.status for call in best.calls} == {"failed"}


def test_a_prompt_that_weighs_writes_nothing_and_is_another_call() -> None:
    asked = []
    Scored(Fake(lambda prompt: asked.append(prompt) or Ok("", values=(0.0, 0.0)))).rank("why?", TEXTS[:1])
    (prompt,) = asked
    assert prompt.targets is not None and prompt.targets.tokens == ("yes", "no")
    assert (prompt.sampling.max_tokens, prompt.sampling.temperature, prompt.sampling.logprobs) == (1, 0.0, 0)
    words = YesNo("no").render("why?", TEXTS[:1])
    assert prompt.chat == words.chat and prompt.key("m") != words.key("m")


def test_yes_and_no_are_read_where_they_are_asked_for() -> None:
    assert Scored(Fake(), format=YesNo("no")) == Scored(Fake())
    part = make("scored(fake(), format=weighed(yes_no('no'), expectation(0, 1, 2)))")
    assert make(repr(part)) == part


@pytest.mark.parametrize(
    "spec",
    [
        "scored(fake(), format=rubric('no'))",
        "scored(fake(), format=weighed(yes_no('asked'), softmax('yes', 'no')))",
        "scored(fake(), format=weighed(yes_no('no'), expectation('1')))",
        "scored(fake(), format=weighed(yes_no('no'), logit('Yes', divided_by=0)))",
        "scored(fake(), format=ranking(think='no'))",
        "scored(fake(), format=weighed(ranking(think='no'), softmax('yes', 'no')))",
    ],
)
def test_what_reads_no_token_is_refused(spec: str) -> None:
    with pytest.raises(BadInput):
        make(spec)


def test_values_are_resumed_from_a_trace(tmp_path) -> None:
    first = [(0.0, 1.0), (2.0, -math.inf), (math.nan, 5.0)]
    with Trace(tmp_path / "trace.jsonl") as trace:
        told = Scored(model(first)).rank("why?", TEXTS, trace=trace)
    with Trace(tmp_path / "trace.jsonl") as trace:
        again = Scored(Fake(lambda prompt: Failed("bad_request", "asked again"))).rank("why?", TEXTS, trace=trace)
    assert [(one.index, str(one.score)) for one in told] == [(one.index, str(one.score)) for one in again]
