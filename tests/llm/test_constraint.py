"""What formats keep an answer to, and what engines are told of it."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.constraint import Constraint, one_of
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.thought import Budget
from whyrank.registry import make

KEPT = [
    "ranking(think='no', constrained=True)",
    "choice(think='no', constrained=True)",
    "group_scores(think='no', constrained=True)",
]
YES_NO = "yes_no(think='no', constrained=True)"


def rendered(spec: str, n: int, **sampling: Any) -> Prompt:
    prompt: Prompt = make(spec).render("why?", [f"text {at}" for at in range(n)], Sampling(**sampling))
    return prompt


@pytest.mark.engines
@settings(deadline=None)
@given(st.sampled_from([*KEPT, YES_NO]), st.integers(1, 12), st.randoms())
def test_the_grammar_takes_what_a_perfect_model_writes_and_nothing_else(spec: str, n: int, draw: random.Random) -> None:
    accepts = pytest.importorskip("xgrammar.testing")._is_grammar_accept_string
    n = 1 if spec == YES_NO else n
    kept = rendered(spec, n).constraint
    assert isinstance(kept, Constraint)
    wrote = make(spec).write([draw.randrange(11) / 10 for _ in range(n)])
    assert accepts(kept.grammar, wrote.text)
    for other in (
        "",
        f"{wrote.text} ",
        f"So: {wrote.text}",
        f"<think>x</think>{wrote.text}",
        wrote.text[:-1],
        f"[{n + 1}]",
    ):
        assert not accepts(kept.grammar, other)


@pytest.mark.parametrize("spec", [*KEPT, YES_NO])
def test_only_who_wants_it_is_kept_and_the_words_stay(spec: str) -> None:
    n = 1 if spec == YES_NO else 3
    kept, free = rendered(spec, n), rendered(spec.replace("constrained=True", "constrained=False"), n)
    assert free.constraint is None and kept.chat == free.chat and repr(make(spec)) == spec
    assert kept.key("m") != free.key("m")


def test_keys_of_calls_without_a_constraint_are_what_they_were() -> None:
    prompt = Prompt((Message("user", (Piece("why?"),)),))
    assert prompt.key("m") == "033b1612adb370c2755568265a1a1a5b"


def test_a_thought_is_not_kept_to_two_words() -> None:
    with pytest.raises(BadInput, match="give think='no'"):
        make("yes_no(constrained=True)")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_server_of_ones_own_is_told_the_grammar_in_both_ways() -> None:
    with FaultServer() as server:
        OpenAI("m", server.url).generate([rendered(KEPT[1], 2), rendered("choice(think='no')", 2)])
    kept, free = sorted(server.bodies, key=lambda body: "grammar" not in body)
    assert kept["grammar"] == kept["structured_outputs"]["grammar"] == 'root ::= "[1]" | "[2]"'
    assert "structured_outputs" not in free and "response_format" not in free


def test_openai_is_told_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        OpenAI("m").generate([rendered(KEPT[2], 2), rendered(KEPT[1], 2)])
    with_schema, without = sorted(server.bodies, key=lambda body: "response_format" not in body)
    schema = with_schema["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["1", "2"] and not schema["additionalProperties"]
    assert not {"grammar", "structured_outputs", "response_format"} & set(without)


def test_a_server_that_knows_none_is_asked_without() -> None:
    def refuses(asked: Mapping[str, Any]) -> tuple[int, str] | None:
        found = next((name for name in ("structured_outputs", "grammar") if name in asked), None)
        return (422, f"{found}: extra fields not permitted") if found else None

    with FaultServer(refuses=refuses) as server, pytest.warns(UserWarning, match="takes no"):
        assert isinstance(OpenAI("m", server.url).generate([rendered(KEPT[1], 2)])[0], Ok)
    assert len(server.bodies) == 3


def test_a_budget_keeps_the_answer_and_not_the_thought() -> None:
    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return "<think>bees</think>[2]"

    kept = Prompt((Message("user", (Piece("why?"),)),), constraint=one_of(["[1]", "[2]"]))
    Budget(Fake(answer), think=50).generate([kept])
    assert [prompt.constraint for prompt in asked] == [None, kept.constraint]


def test_nothing_is_kept_inside_a_thought_that_is_open() -> None:
    begun = Prompt((Message("user", (Piece("why?"),)),), constraint=one_of(["[1]"])).prefilled("<think>so")
    with FaultServer() as server:
        OpenAI("m", server.url).generate([begun])
    assert "grammar" not in server.bodies[0]
