import dataclasses
import gc
import json
import math
import shutil
import sys
import threading
import weakref
from pathlib import Path

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ask

from whyrank.errors import EngineError, MissingExtra
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.schedule import drive
from whyrank.llm.transformers import Transformers
from whyrank.registry import make

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def llm(tiny_lm: Path) -> Transformers:
    return Transformers(str(tiny_lm), device="cpu")


def plain(completion: object) -> tuple[object, ...]:
    """A completion without its numbers in floating point."""
    assert isinstance(completion, Ok)
    return completion.text, completion.reasoning, completion.usage, completion.finish


@pytest.mark.parametrize("word", tiny.ANSWERS)
def test_the_model_answers_what_it_has_learnt(llm: Transformers, word: str) -> None:
    (completion,) = llm.generate([ask(f"why do {word} come home?")])
    assert (completion.reasoning, completion.text, completion.finish) == (*tiny.answer(word), "stop")
    tokens = [len(llm.chat.encode(text)) for text in (tiny.ANSWERS[word], tiny.answer(word).reasoning)]
    assert (completion.usage.output, completion.usage.reasoning) == (tokens[0] + 1, tokens[1])


def test_greedy_answers_do_not_depend_on_the_batch(llm: Transformers) -> None:
    one, three, many = (
        [plain(completion) for completion in dataclasses.replace(llm, batch=batch).generate(tiny.prompts())]
        for batch in (1, 3, 24)
    )
    assert one == three == many
    assert len(set(one)) > 5


def test_greedy_answers_are_those_of_transformers_itself(llm: Transformers, tiny_lm: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_lm), AutoModelForCausalLM.from_pretrained(tiny_lm)
    for prompt, completion in zip(tiny.prompts(6), llm.generate(tiny.prompts(6)), strict=True):
        read = tokenizer.apply_chat_template(
            prompt.chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        (written,) = model.generate(**read, max_new_tokens=prompt.sampling.max_tokens)[:, read["input_ids"].shape[1] :]
        raw = tokenizer.decode(written, skip_special_tokens=True)
        closing = "</think>" if completion.text else ""
        assert raw == f"<think>{completion.reasoning}{closing}{completion.text}"
        assert (completion.usage.input, completion.usage.output) == (read["input_ids"].shape[1], len(written))


def test_sampled_answers_depend_on_seed_and_sample_but_not_on_company(llm: Transformers) -> None:
    hot = [ask("the moon", temperature=2.0, top_p=0.99, seed=7, sample=sample) for sample in range(6)]
    together = [plain(completion) for completion in llm.generate(hot)]
    alone = [plain(llm.generate([prompt])[0]) for prompt in hot]
    crowded = [plain(completion) for completion in llm.generate([*tiny.prompts(3), *hot])[3:]]
    assert together == alone == crowded
    assert len(set(together)) == 6
    (shifted,) = llm.generate([ask("the moon", temperature=2.0, top_p=0.99, seed=9)])
    assert plain(shifted) == together[2]


def test_draws_without_a_seed_differ(llm: Transformers) -> None:
    assert len({plain(completion) for completion in llm.generate([ask("rain", temperature=2.0)] * 4)}) == 4


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}], ids=str)
def test_a_draw_from_one_token_is_greedy(llm: Transformers, narrow: dict[str, float]) -> None:
    drawn = llm.generate([ask("some bees", **{"temperature": 1.0, **narrow})])
    assert [plain(one) for one in drawn] == [plain(one) for one in llm.generate([ask("some bees")])]


def test_draws_follow_the_distribution_that_the_settings_leave() -> None:
    import torch

    from whyrank.llm.messages import Sampling
    from whyrank.llm.transformers import _nucleus

    scores = torch.log(torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]))

    def kept(**settings: float) -> list[int]:
        return torch.isfinite(_nucleus(torch, scores, Sampling(**settings))).nonzero().flatten().tolist()

    assert kept() == [0, 1, 2, 3, 4]
    assert kept(top_k=2) == [1, 3]
    assert kept(top_p=0.3) == [1]
    assert kept(top_p=0.65) == [1, 3]
    assert kept(top_p=0.8) == [1, 3, 4]
    assert kept(top_p=0.8, top_k=2) == [1, 3]


def test_a_draw_is_as_likely_as_the_model_says(llm: Transformers) -> None:
    greedy = llm.generate([ask("green", logprobs=8, max_tokens=1)])[0]
    first, second = (math.exp(value / 2) for value in sorted(greedy.logprobs[0].values(), reverse=True)[:2])
    token = max(greedy.logprobs[0], key=greedy.logprobs[0].__getitem__)
    n = 400
    drawn = dataclasses.replace(llm, batch=n).generate(
        [ask("green", max_tokens=1, temperature=2.0, top_k=2, seed=0, sample=at) for at in range(n)]
    )
    share = sum(token in (one.text, f"<think>{one.reasoning}") for one in drawn) / n
    likely = first / (first + second)
    assert abs(share - likely) < 4 * math.sqrt(likely * (1 - likely) / n) + 1 / n


def test_max_tokens_cuts_and_says_so(llm: Transformers) -> None:
    thinking, answering = llm.generate([ask("the bees", max_tokens=4), ask("the bees", max_tokens=12)])
    assert (thinking.text, thinking.finish, thinking.usage.output) == ("", "length", 4)
    assert thinking.reasoning and tiny.answer("bees").reasoning.startswith(thinking.reasoning)
    assert (answering.reasoning, answering.finish) == (tiny.answer("bees").reasoning, "length")
    assert tiny.answer("bees").text.startswith(answering.text)


def test_stop_strings_end_the_answer_and_are_left_out(llm: Transformers) -> None:
    over, inside, never = llm.generate(
        [ask("the bees", stop=(" [1]", "> ")), ask("the bees", stop=("wer>[",)), ask("the bees", stop=("copper",))]
    )
    assert (over.text, over.finish) == ("<answer>[2] ", "stop")
    assert (inside.text, inside.finish) == ("<ans", "stop")
    assert over.usage.output < never.usage.output
    assert never.text == tiny.answer("bees").text


def test_logprobs_are_those_of_the_model(llm: Transformers, tiny_lm: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    short, long = llm.generate([ask("the bees", logprobs=4), ask("the tide " * 12, logprobs=2, max_tokens=5)])
    assert [len(place) for place in long.logprobs] == [2] * 5
    assert len(short.logprobs) == short.usage.output
    model = AutoModelForCausalLM.from_pretrained(tiny_lm)
    read = llm.chat.encode(llm.chat.render(ask("the bees").chat))
    written = llm.chat.encode(tiny.ANSWERS["bees"] + "<|im_end|>")
    logits = model(input_ids=torch.tensor([read + written])).logits[0, len(read) - 1 : -1]
    for place, row, id in zip(short.logprobs, torch.log_softmax(logits, -1), written, strict=True):
        assert next(iter(place)) == llm.chat.decode([id])
        assert list(place.values()) == pytest.approx(row.topk(4).values.tolist(), abs=1e-4)


def test_a_prompt_that_is_too_long_fails_alone(llm: Transformers) -> None:
    narrow = dataclasses.replace(llm, context=64)
    fits, long, full = narrow.generate([ask("bees"), ask("bread " * 80), ask("x " * 21)])
    assert isinstance(fits, Ok)
    assert isinstance(long, Failed) and long.kind == "context" and "64" in long.detail
    assert full.finish == "length" and full.usage.input + full.usage.output == 64


def test_the_window_is_the_models_own_unless_it_is_stated(llm: Transformers) -> None:
    assert (llm.context_length, dataclasses.replace(llm, context=100).context_length) == (4096, 100)


def test_memory_that_does_not_suffice_halves_the_batch(tiny_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = Transformers(str(tiny_lm), device="cpu", batch=8)
    whole = [plain(completion) for completion in llm.generate(tiny.prompts(8))]
    write, sizes = llm._model.write, []

    def scarce(rows: list[object], stopped: threading.Event) -> None:
        sizes.append(len(rows))
        write(rows[: limit + 1], stopped)
        if len(rows) > limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(llm._model, "write", scarce)
    limit = 2
    assert [plain(completion) for completion in llm.generate(tiny.prompts(8))] == whole
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    limit = 0
    (failed,) = llm.generate([ask("bees")])
    assert isinstance(failed, Failed) and failed.kind == "context" and "memory" in failed.detail


def test_a_call_that_is_given_up_stops_writing(llm: Transformers) -> None:
    stopped = threading.Event()
    stopped.set()
    (completion,) = llm._answer([ask("the moon", temperature=5.0, seed=0, max_tokens=2000)], stopped)
    assert completion.usage.output == 1


def test_a_template_that_opens_the_thought(tmp_path: Path) -> None:
    llm = Transformers(str(tiny.language_model(tmp_path, prefilled=True)), device="cpu")
    whole, cut, told = (
        *llm.generate([ask("the bees"), ask("the bees", max_tokens=3)]),
        *dataclasses.replace(llm, chat_template_kwargs={"enable_thinking": False}).generate([ask("the bees")]),
    )
    assert (whole.reasoning, whole.text) == tiny.answer("bees")
    assert cut.text == "" and tiny.answer("bees").reasoning.startswith(cut.reasoning) and cut.reasoning
    assert told.usage.input == whole.usage.input  # "<think></think>" instead of "<think>\n"


def test_chat_template_kwargs_reach_the_template_and_the_identity(llm: Transformers) -> None:
    told = dataclasses.replace(llm, chat_template_kwargs={"enable_thinking": False})
    assert told.chat.render(ask("bees").chat).endswith("<think></think>")
    assert not llm.chat.render(ask("bees").chat).endswith("<think></think>")
    assert told.identity != llm.identity == llm.model
    assert make(repr(told)) == told


def test_a_template_that_refuses_a_role(tiny_lm: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_lm, tmp_path, dirs_exist_ok=True)
    (template,) = tmp_path.glob("*.jinja")
    strict = "{% if messages[0].role == 'critic' %}{{ raise_exception('no such role') }}{% endif %}"
    template.write_text(strict + template.read_text())
    llm = Transformers(str(tmp_path), device="cpu")
    critic = Prompt((Message("critic", (Piece("Rank."),)), *ask("bees").messages), ask("bees").sampling)
    failed, fine = llm.generate([critic, ask("bees")])
    assert isinstance(failed, Failed) and failed.kind == "bad_request" and "no such role" in failed.detail
    assert isinstance(fine, Ok)
    assert llm.chat_tokens(critic.chat) is None


def test_a_model_without_a_chat_template_is_refused(tiny_lm: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_lm, tmp_path, dirs_exist_ok=True)
    (template,) = tmp_path.glob("*.jinja")
    template.unlink()
    with pytest.raises(EngineError, match="no chat template"):
        Transformers(str(tmp_path), device="cpu").generate([ask("bees")])


def test_a_model_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere.*cannot be loaded"):
        Transformers(str(tmp_path / "nowhere")).generate([ask("bees")])


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers\(\.\.\.\) needs .*pip install 'whyrank\[transformers\]'"):
        Transformers(str(tmp_path)).generate([ask("bees")])


def test_equal_parts_share_one_model_which_goes_with_the_last(tiny_lm: Path) -> None:
    one, same = (Transformers(str(tiny_lm), device="cpu", batch=5) for _ in range(2))
    assert one._model is same._model
    model = weakref.ref(one._model)
    del one
    gc.collect()
    assert model() is not None
    del same
    gc.collect()
    assert model() is None


def test_chat_tokens_are_exact(llm: Transformers) -> None:
    for prompt, completion in zip(tiny.prompts(5), llm.generate(tiny.prompts(5)), strict=True):
        assert llm.chat_tokens(prompt.chat) == completion.usage.input


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_survives_the_tokenizer(llm: Transformers, text: str) -> None:
    tokenizer = llm.tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text.encode(errors="replace").decode()


def test_a_lone_surrogate_does_no_harm(llm: Transformers) -> None:
    assert isinstance(llm.generate([ask("bees \ud800")])[0], Ok)


@given(
    model=st.text(),
    context=st.none() | st.integers(1, 9999),
    batch=st.integers(1, 99),
    kwargs=st.dictionaries(st.text(), st.booleans() | st.integers() | st.text()),
)
def test_the_spec_is_read_back(model: str, context: int | None, batch: int, kwargs: dict[str, object]) -> None:
    part = Transformers(model, context=context, batch=batch, chat_template_kwargs=kwargs)
    assert make(repr(part)) == part
    assert json.dumps(kwargs) == "{}" or part.identity != model


def test_plans_run_on_it_and_long_prompts_are_fitted(llm: Transformers) -> None:
    def plan(word: str):
        first, long = yield [ask(f"why do {word} sing?"), ask(f"{word} " + "bread and copper " * 100)]
        (again,) = yield [ask(first.text + word)]
        return first, long, again

    narrow = dataclasses.replace(llm, context=120)
    for word, (first, long, again) in drive({word: plan(word) for word in tiny.ANSWERS}, narrow).items():
        assert (first.reasoning, first.text) == tiny.answer(word)
        assert isinstance(long, Ok) and long.usage.input <= 120 - 48
        assert isinstance(again, Ok)
