"""The door for asking: what is read, what never is, and what a passage is cut to before it is asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from one_query import request

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.ask import Question, Said, ask
from whyrank.llm.budget import clip, load_tokenizer
from whyrank.llm.engine import Tokenizer
from whyrank.llm.fake import Fake
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan, drive
from whyrank.registry import make
from whyrank.rerank.base import LLMReranker
from whyrank.types import CallReport

STRATEGIES = (
    "listwise setwise merge_tree top_down tournament groupwise dual_end pointwise pairwise adaptive within".split()
)


def read(completion: Completion) -> tuple[str, CallReport]:
    if isinstance(completion, Failed):
        return "", reported(completion)
    return completion.text.upper(), reported(completion)


def asked(*texts: str) -> list[Question[str]]:
    return [Question(Prompt((Message("user", (Piece(text, "document", 3),)),)), read) for text in texts]


@dataclass(frozen=True)
class Measured(Fake):
    """Has a tokenizer of one token a character, which counts what it is asked."""

    measured: Counter[str] = field(default_factory=Counter, repr=False, compare=False)

    def tokenizer(self) -> Tokenizer:
        return Letters(self.measured)


@dataclass(frozen=True)
class Letters:
    measured: Counter[str]

    def encode(self, text: str) -> list[int]:
        self.measured[text] += 1
        return list(map(ord, text))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


@dataclass(frozen=True)
class NoTokenizer(Fake):
    """Fails where a plan asks for its tokenizer."""

    def tokenizer(self) -> Tokenizer | None:
        raise AssertionError("a plan measures nothing")


def test_answers_and_reports_come_in_the_order_asked_and_a_failure_is_not_read() -> None:
    llm = Fake(lambda prompt: Failed("refusal", "bad") if prompt.chat[0]["content"] == "b" else Ok("x", "hm"))
    said: list[Said[str]] = drive({"q": ask(asked("a", "b", "c"))}, llm)["q"]
    assert [one.answer for one in said] == ["X", "", "X"]
    assert [one.status for one in said] == ["exact", "failed", "exact"] and said[0].thought == "hm"
    assert (said[1].report.failure, said[1].report.detail, said[1].report.usage.output) == ("refusal", "bad", 0)
    assert [one.prompt.chat[0]["content"] for one in said] == ["a", "b", "c"] and all(one.report.key for one in said)


def test_without_questions_there_is_no_round() -> None:
    with pytest.raises(StopIteration) as end:
        next(ask([]))
    assert end.value.value == []


def test_a_draw_is_the_same_question_with_another_number() -> None:
    (question,) = asked("a")
    assert question.drawn(2).prompt.sample == 2 and question.drawn(0) == question


@pytest.mark.parametrize("tokens", [1, 2, 5, 9])
def test_a_passage_is_cut_to_its_bound_once_however_often_it_is_asked_about(tokens: int) -> None:
    seen: list[str] = []
    llm = Measured(lambda prompt: seen.extend(piece.text for piece in prompt.messages[0].pieces) or "x")
    pieces = [Piece(text, "document", tokens) for text in ("böse Bienen", "Biene", EMPTY[:0] or "ä b")]
    prompts = [Prompt((Message("user", tuple(pieces)),), sample=number) for number in range(4)]

    def plan() -> Plan[None]:
        for prompt in prompts:
            yield [prompt]

    drive({"q": plan()}, llm)
    assert seen == [clip(piece.text, Letters(Counter()), tokens).rstrip() for piece in pieces] * 4
    assert llm.measured["böse Bienen"] == 1


def test_a_bound_leaves_what_stands_for_an_empty_passage() -> None:
    prompt = Prompt((Message("user", (Piece(EMPTY, "document"), Piece("words", "never"))),)).with_documents(2)
    assert all(piece.at_most is None for piece in prompt.messages[0].pieces)


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_knows_the_tokenizer(name: str) -> None:
    part = make(f"{name}(fake())", LLMReranker)  # type: ignore[type-abstract]
    object.__setattr__(part, "llm", NoTokenizer())
    prompts = next(part.plan(request(["long words " * 900] * 5)))
    assert all(piece.at_most == 512 for turn in prompts[0].messages for piece in turn.pieces if piece.cut == "document")


def test_the_bound_is_exact_with_a_models_own_tokenizer() -> None:
    tokenizer = load_tokenizer("whyrank/llm/tiny")
    text = "Bees dance to tell the others where flowers are. " * 9
    assert len(tokenizer.encode(clip(text, tokenizer, 40))) == 40
