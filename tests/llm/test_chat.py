"""How chats become tokens: what a text says is never a control token, and a begun turn is read as it was written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.llm.answer import Failed, Ok
from whyrank.llm.chat import EncodedPrompt
from whyrank.llm.constraint import one_of
from whyrank.llm.engine import LLM
from whyrank.llm.local import SHIPPED
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.thought import Budget
from whyrank.llm.transformers import Transformers, _Row
from whyrank.llm.vllm import VLLM

pytestmark = pytest.mark.engines

TINY = Transformers("tiny", device="cpu")
CONTROL = ["<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"]
TAGS = ("<think>", "</think>", "</think>\n")


def ask(*turns: tuple[str, str], **sampling: Any) -> Prompt:
    return Prompt(tuple(Message(role, (Piece(text),)) for role, text in turns), Sampling(**sampling))


def copy(folder: Path, template: str = "{}", special: tuple[str, ...] = ()) -> Transformers:
    """The small model with another chat template, or with tokens that are special."""
    shutil.copytree(SHIPPED["tiny"], folder)
    path = folder / "chat_template.jinja"
    path.write_text(template.replace("{}", path.read_text()))
    told = json.loads((folder / "tokenizer.json").read_text())
    for token in told["added_tokens"]:
        token["special"] |= token["content"] in special
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return Transformers(str(folder), device="cpu", batch=10)


def ids(llm: Transformers, prompt: Prompt) -> list[int]:
    read = llm.read(prompt)
    assert isinstance(read, EncodedPrompt)
    return read.ids


def controls(llm: Transformers, found: list[int]) -> list[str]:
    return [text for text in (llm.chat.decode([id]) for id in found) if text in CONTROL]


PARTS = [*CONTROL, "<", "<|", "|>", "|", "end", "en", "d", "user", " ", "bees", "</s>", "<|end", "|end|>", "\n", "é"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), st.sampled_from(["user", "begun", "earlier"]))
def test_no_text_is_read_as_a_control_token(text: str, where: str) -> None:
    turns = {
        "user": [("user", text)],
        "begun": [("user", "why?"), ("assistant", f"<think>{text}")],
        "earlier": [("user", "why?"), ("assistant", f"so {text}"), ("user", "and?")],
    }[where]
    read = TINY.read(ask(*turns))
    assert isinstance(read, EncodedPrompt)
    assert controls(TINY, read.ids) == controls(TINY, ids(TINY, ask(*[(role, "bees") for role, _ in turns])))
    said = (TINY.chat.decode(read.ids) + read.lead).replace(" ", "")
    assert text.replace(" ", "") in said


@pytest.mark.parametrize(
    "text", ["bees dance", "a < b | c > d", "<end> <s> [INST] <|odd|>", "é\n\n🐝", "<answer>[2] > [1]</answer>"]
)
def test_harmless_text_is_read_token_for_token(text: str) -> None:
    assert ids(TINY, ask(("user", text))) == TINY.chat.tokenizer.encode(
        f"<|user|>{text}<|assistant|>", add_special_tokens=False
    )


def test_tags_that_are_special_tokens_are_kept_and_stop(tmp_path: Path) -> None:
    special = copy(tmp_path / "special", special=TAGS)
    wrote = special.chat.encode("<think>bees</think>\n<answer>[1]</answer><|end|>")
    assert special.chat.answer(wrote) == "<think>bees</think>\n<answer>[1]</answer>"
    assert special.chat.marks and not TINY.chat.marks
    prompts = [ask(("user", "Query: why do bees dance?"), max_tokens=200)]
    for wrap in (lambda llm: llm, lambda llm: Budget(llm, think=12), lambda llm: Budget(llm, think=400)):
        assert wrap(special).generate(prompts) == wrap(TINY).generate(prompts)


REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}{}"


def test_instructions_are_put_before_the_question_where_the_template_takes_no_system_turn(tmp_path: Path) -> None:
    llm = copy(tmp_path / "nosys", REFUSES)
    told = ask(("system", "Rank."), ("user", "bees"))
    assert ids(llm, told) == ids(llm, ask(("user", "Rank.\n\nbees")))
    assert llm.chat_tokens(told.chat) == len(ids(llm, told))
    assert isinstance(llm.generate([ask(("system", "Rank."), ("user", "bees"), max_tokens=3)])[0], Ok)
    assert ids(llm, ask(("system", "Rank."), ("user", "bees"), ("assistant", "<think>so"))) == ids(
        llm, ask(("user", "Rank.\n\nbees"), ("assistant", "<think>so"))
    )


def test_a_template_that_refuses_all_is_told(tmp_path: Path) -> None:
    llm = copy(tmp_path / "none", "{{ raise_exception('closed today') }}{}")
    said = llm.read(ask(("system", "Rank."), ("user", "bees")))
    assert isinstance(said, Failed) and said.kind == "bad_request" and "closed today" in said.detail


def test_a_begun_turn_is_gone_on_with_as_the_model_would_have_written_it() -> None:
    whole = TINY.generate([ask(("user", "Query: why do bees dance?"), max_tokens=120)])[0]
    assert isinstance(whole, Ok) and whole.reasoning and whole.text
    begun = ask(
        ("user", "Query: why do bees dance?"), ("assistant", f"<think>{whole.reasoning}</think>"), max_tokens=120
    )
    read = TINY.read(begun)
    assert isinstance(read, EncodedPrompt) and read.lead == "</think>"
    assert [TINY.chat.decode([id]) for id in read.first] == ["</think>", "</think>\n"]
    (rest,) = TINY.generate([begun])
    assert isinstance(rest, Ok) and rest.text.strip() == whole.text.strip()


def test_the_first_token_of_an_answer_keeps_its_place_in_the_log_probabilities() -> None:
    begun = ask(("user", "Query: why?"), ("assistant", "<think>x</think>"), max_tokens=4, logprobs=3)
    (said,) = TINY.generate([begun])
    assert isinstance(said, Ok)
    best = "".join(max(place, key=lambda token: place[token]) for place in said.logprobs)
    assert best.replace("<|end|>", "").strip() == said.text.strip()


def test_a_temperature_that_is_left_to_the_model_is_its_own(tmp_path: Path) -> None:
    assert TINY.temperature(Sampling(temperature=None)) == 0.0
    warm = copy(tmp_path / "warm")
    (tmp_path / "warm" / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.7}')
    assert warm.temperature(Sampling(temperature=None)) == 0.7 and warm.temperature(Sampling(temperature=0.2)) == 0.2


@pytest.mark.timeout(300)
def test_vllm_reads_and_writes_the_same(tmp_path: Path, vllm_installed: None) -> None:
    """One engine of a model whose tags are special tokens, and whose template takes no system turn."""
    twin = copy(tmp_path / "special", REFUSES, special=TAGS)
    llm = VLLM(twin.model, context=1024, concurrency=8)
    question = "Query: why do bees dance?"
    prompts = [
        ask(("user", question), max_tokens=200),
        ask(("system", question), ("user", "<|end|> so"), max_tokens=20),
        ask(("user", question), ("assistant", "<think>bees</think>"), max_tokens=60),
    ]

    def said(engine: LLM) -> list[tuple[str, str]]:
        return [(one.reasoning, one.text) for one in engine.generate(prompts) if isinstance(one, Ok)]

    assert said(llm) == said(twin) and len(said(llm)) == 3
    assert any(reasoning for reasoning, _ in said(llm))
    kept = replace(ask(("user", question), max_tokens=30), constraint=one_of(["a zebra", "some [2]"]))
    begun = replace(
        ask(("user", question), ("assistant", "<think>x</think>"), max_tokens=30), constraint=one_of(["[7]"])
    )
    found = llm.generate([kept, begun])
    assert isinstance(found[0], Ok) and found[0].text in ("a zebra", "some [2]")
    assert isinstance(found[1], Ok) and found[1].text.strip() == "[7]"
    for think in (12, 100):
        assert said(Budget(llm, think=think)) == said(Budget(twin, think=think))


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_a_begun_turn_begins_with_none_but_the_tokens_that_go_on_with_it(temperature: float) -> None:
    begun = ask(("user", "why?"), ("assistant", "<think>x</think>"), temperature=temperature, seed=1)
    read = TINY.read(begun)
    assert isinstance(read, EncodedPrompt) and len(read.first) == 2
    row = _Row(read, begun, TINY.chat, temperature)
    for favourite in range(0, 1500, 100):
        scores = torch.zeros(1530)
        scores[favourite] = 50.0
        assert row.draws and int(row.draw(torch, scores, ()).argmax()) in read.first
    row.written.append(read.first[0])
    scores = torch.zeros(1530)
    scores[7] = 500.0
    assert int(row.draw(torch, scores, ()).argmax()) == 7
