"""A budget closes the thought where it must, leaves the answer its own tokens, and repeats no call on resuming."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from killed import DATA, FIRST
from tiny import ask

from tests.llm.test_faults_of_strategies import STRATEGIES, Strategy, answer
from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.budget import count
from whyrank.llm.engine import LLM
from whyrank.llm.fake import Fake, _completion
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.schedule import drive
from whyrank.llm.thought import CLOSING, SEAM, Budget
from whyrank.llm.trace import Trace, records
from whyrank.llm.transformers import Transformers
from whyrank.registry import make
from whyrank.rerank.base import Reranker, statuses
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.rewrite.expand import HyDE
from whyrank.testing import check_llm, check_reranker
from whyrank.types import Query, Run

TEXT = st.text("ab c", min_size=1, max_size=60).filter(lambda text: text.strip() == text)


def once(prompt: Prompt) -> Iterator:
    (completion,) = yield [prompt]
    return completion


def answered(llm: LLM, *prompts: Prompt, trace: Trace | None = None) -> list[Completion]:
    plans = {str(at): once(prompt) for at, prompt in enumerate(prompts)}
    found = drive(plans, llm, trace)
    assert list(found.values()) == llm.generate(prompts)  # with and without the scheduler
    return list(found.values())


@given(TEXT, TEXT, st.integers(2, 20), st.integers(1, 20))
def test_the_thought_ends_at_its_budget_and_the_answer_is_there(thought, answer, think, room):
    llm = Budget(Fake(f"<think>{thought}</think>\n{answer}"), think, room)
    (came,) = answered(llm, ask("why?"))
    written = f"<think>{thought}"
    assert came.thought_cut == (len(written) >= 4 * think)
    assert came.reasoning == (written[: 4 * think][7:] if came.thought_cut else thought).strip()
    assert came.text == f"\n{answer}"[: 4 * room].lstrip()
    assert came.finish == ("length" if len(answer) + 1 >= 4 * room else "stop")
    assert came.usage.output <= think + room and came.usage.reasoning <= think


@given(TEXT, st.integers(1, 20), st.integers(1, 20))
def test_an_answer_without_a_thought_goes_on_unharmed(answer, think, room):
    (came,) = answered(Budget(Fake(answer), think, room), ask("why?"))
    assert came.text == answer[: 4 * (think + room)].lstrip() and not came.thought_cut and came.reasoning == ""


def test_each_call_stands_in_the_trace_and_none_is_repeated(tmp_path: Path):
    seen: list[Prompt] = []

    def say(prompt: Prompt) -> str:
        seen.append(prompt)
        return "<think>" + "bees dance " * 9 + "</think>[1]"

    path, llm, prompts = tmp_path / "t.jsonl", Budget(Fake(say), 8, 5), [ask("why?"), ask("how?")]
    with Trace(path) as trace:
        first = list(drive({str(at): once(prompt) for at, prompt in enumerate(prompts)}, llm, trace).values())
        assert (trace.ledger.total.calls, trace.ledger.total.cut_thoughts) == (4, 2)
        assert trace.ledger.total.usage.output == sum(one.usage.output for one in first)
        assert "2 thoughts cut" in str(trace.ledger.total)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [record["cut"] for record in records(path)].count(["thought"]) == 2
    assert [tuple(record["sampling"]["stop"]) for record in records(path)].count(("</think>",)) == 2
    for kept in range(len(lines) + 1):  # as if killed after so many calls
        path.write_bytes(b"".join(lines[:kept]))
        seen.clear()
        with Trace(path) as trace:
            again = drive({str(at): once(prompt) for at, prompt in enumerate(prompts)}, llm, trace)
        assert list(again.values()) == first and len(seen) == len(lines) - kept


def test_both_calls_show_the_same_documents_and_fit_the_window():
    seen: list[Prompt] = []

    def say(prompt: Prompt) -> str:
        seen.append(prompt)
        return "<think>short</think>" + "[1] > [2] > [3] " * 9

    pieces = [Piece("Query: "), Piece("why?", "query"), *(Piece(f" [{n}] " + "bees " * 200, "document") for n in "123")]
    prompt = Prompt((Message("user", tuple(pieces)),), Sampling(max_tokens=999), answer_tokens=30)
    (came,) = drive({"q": once(prompt)}, Budget(Fake(say, context=500), think=64)).values()
    thought, answer = seen
    assert thought.messages == answer.messages[:1] and thought.messages != prompt.messages
    assert count(thought.messages[0].content, None) + 64 + 30 < 500
    assert thought.reserve == 30 + SEAM  # the words between thought and answer are tokens too
    assert 0 < count(CLOSING, None) <= SEAM
    assert (thought.sampling.max_tokens, answer.sampling.max_tokens) == (64, 30)
    assert came.finish == "length" and len(came.text) == 120


def test_settings_reach_the_call_that_they_are_for():
    seen: list[Prompt] = []

    def say(prompt: Prompt) -> str:
        seen.append(prompt)
        return "<think>stop here</think>[1]; [2]"

    drawn = ask("why?", temperature=0.5, seed=3, stop=(";",), logprobs=4, max_tokens=50)
    (came,) = Budget(Fake(say), 9).generate([drawn])
    thought, answer = (prompt.sampling for prompt in seen)
    assert thought == replace(drawn.sampling, max_tokens=9, stop=("</think>",), logprobs=0)
    assert answer == drawn.sampling and came.text == "[1]"
    (direct,) = Budget(Fake("yes"), 9, answer=2).generate([drawn])
    assert direct.text == "yes"


def test_without_a_thought_one_call_is_left():
    seen: list[str] = []

    def say(prompt: Prompt) -> str:
        seen.append(prompt.prefill)
        return "<think>bees</think>[1]"

    llm = Budget(Fake(say), think=0, answer=5)
    for begun, asked in [
        ("", "<think>\n\n</think>\n\n"),
        ("<think>a", "<think>a\n</think>\n\n"),
        ("<think>a</think>b", ""),
    ]:
        prompt = ask("why?")
        (came,) = llm.generate([prompt.prefilled(begun) if begun else prompt])
        assert came.text.strip() == "[1]" and seen.pop() == (asked or begun) and not seen


def test_failures_of_either_call_reach_the_plan():
    late = Fake(lambda prompt: Failed("refusal", "no") if prompt.prefill else "<think>bees</think>[1]")
    for llm, calls in [(late, 2), (Fake(lambda _: Failed("refusal", "no")), 1)]:
        trace = Trace()
        assert drive({"q": once(ask("why?"))}, Budget(llm), trace) == {"q": Failed("refusal", "no")}
        assert trace.ledger.total.calls == calls


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("budget(fake(), think=-1)", "think must be at least 0"),
        ("budget(fake(), answer=0)", "answer must be at least 1"),
        ("budget(budget(fake()))", "has a budget already"),
    ],
)
def test_bad_settings(spec: str, message: str):
    with pytest.raises(BadInput, match=message):
        make(spec)


def test_rerankers_take_it_and_say_which_thoughts_were_cut():
    llm = Fake("<think>" + "bees dance " * 40 + "</think><answer>[2] > [1]</answer>")
    for think, cut in [(20, [True]), (500, [False])]:
        ranked = Listwise(Budget(llm, think)).rank("why?", ["one", "two"])
        assert [item.index for item in ranked] == [1, 0]
        assert [call.thought_cut for call in ranked.calls] == cut
        assert ranked.statuses["exact"] == 1 and ranked.reason.startswith("bees dance")


@dataclass(frozen=True)
class Judge(LLM):
    """Answers any format, some of them after a thought."""

    model: str = "judge"

    async def _generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        asked = [[turn for turn in prompt.chat if turn["role"] != "assistant"] for prompt in prompts]
        return [_completion(prompt, answer(turns)) for prompt, turns in zip(prompts, asked, strict=True)]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.spec)
def test_every_strategy_ranks_as_without_a_budget(strategy: Strategy):
    def ranked(llm: str) -> tuple[Run, Trace]:
        trace = Trace()
        part = make(re.sub(r"\bLLM\b", llm, strategy.spec), Reranker)
        return part.rerank(FIRST, DATA, strategy.depth, trace), trace

    judge = f"{__name__}.Judge()"
    plain, alone = ranked(judge)
    for think in (2, 500):  # two tokens hold no more than the tag
        run, trace = ranked(f"budget({judge}, think={think})")
        assert [run[query].ids for query in run] == [plain[query].ids for query in plain]
        assert statuses(run) == statuses(plain)
        assert alone.ledger.total.calls <= trace.ledger.total.calls <= 2 * alone.ledger.total.calls
        assert (trace.ledger.total.cut_thoughts > 0) <= (think == 2)
        notes = [call for note in run.notes.values() for call in note.calls]
        assert sum(call.thought_cut for call in notes) >= trace.ledger.total.cut_thoughts


def test_rewriters_take_it():
    def find(*_: object) -> NoReturn:
        raise AssertionError("it searches for nothing")

    llm = Fake("<think>" + "what is asked? " * 30 + "</think>a passage about bees")
    for think in (5, 500):
        rewritten = make(f"hyde({Budget(llm, think)!r})", HyDE).rewrite([Query("q", "why do bees dance?")], find)
        assert rewritten["q"].texts == ("a passage about bees",)


def test_the_contracts():
    llm = Budget(Fake("<think>bees</think><answer>[2] > [1]</answer>"), 2)
    check_llm(llm)
    check_reranker(Listwise(llm))


def check(llm: LLM) -> None:
    """On a real engine: as without a budget where the thought fits, else closed to the token, with an answer."""
    asked = [ask(f"why do {word} sing?") for word in tiny.ANSWERS]
    free = llm.generate(asked)
    for came, wanted in zip(Budget(llm, think=40, answer=40).generate(asked), free, strict=True):
        assert (came.text, came.reasoning, came.finish) == (wanted.text, wanted.reasoning, "stop")
        assert not came.thought_cut and came.usage.input > 2 * wanted.usage.input
    for think in (2, 3):
        trace = Trace()
        for came, wanted in zip(
            drive({str(at): once(one) for at, one in enumerate(asked)}, Budget(llm, think, 30), trace).values(),
            free,
            strict=True,
        ):
            assert came.thought_cut and wanted.reasoning.startswith(came.reasoning)
            assert len(came.reasoning) < len(wanted.reasoning) and came.usage.reasoning == think
            assert "[" in came.text and "think>" not in came.text and came.usage.output <= think + 30
        assert trace.ledger.total.cut_thoughts == trace.ledger.total.calls / 2 == len(asked)
    (off,) = Budget(llm, think=0, answer=30).generate(asked[:1])
    assert off.finish == "length" or "[" in off.text


@pytest.mark.engines
def test_transformers(tiny_lm: Path):
    check(Transformers(str(tiny_lm), device="cpu"))


@pytest.mark.engines
@pytest.mark.timeout(300)
def test_vllm(in_process: LLM):
    check(in_process)


@pytest.mark.engines
@pytest.mark.timeout(300)
def test_a_server(server):
    check(OpenAI(server.model, base_url=server.url))


@pytest.mark.engines
def test_a_template_that_opens_the_thought(tmp_path: Path):
    check(Transformers(str(tiny.language_model(tmp_path / "tiny", prefilled=True)), device="cpu"))
