"""Every golden prompt byte for byte, from the authors' own files; what differs is listed with its reason.

`WHYRANK_CHECKPOINTS` names the folder; other cases may lie there. `-s` says per format how many lines were equal.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from checkpoints import FOLDER, Case, golden, template, tokenizer
from induced import induced

from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.templates.catalogue import form_named
from whyrank.rerank.templates.template import Template

ROOM = 10**6
EMPTY_TITLE = "the title is there and empty, which a Document does not tell from none: theirs has a blank more"
CONTROL = "their decoding drops what the stand-in calls a control token"


@dataclass(frozen=True)
class Golden:
    """How the prompts of a golden are made: the authors' file, what is given beside it, and what differs and why."""

    source: str
    given: Mapping[str, Any] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)


LISTS = "rank_llm/{}_template.yaml"
PLAIN = "texts(title='content', strip=True, mend=True, white='joined', labels='round', tokens={})"

GOLDENS: dict[str, Golden] = {
    "rank_zephyr_new": Golden(LISTS.format("rank_zephyr")),
    "rank_vicuna_new": Golden(LISTS.format("rank_zephyr")),
    "rank_zephyr_old": Golden("llm-rankers/prompt_listwise_rankzephyr.toml"),
    "first_new": Golden(LISTS.format("rank_zephyr_alpha")),
    "rank_gpt_new": Golden(LISTS.format("rank_gpt")),
    "rank_lrl_new": Golden(LISTS.format("rank_lrl")),
    "apeer_new": Golden(LISTS.format("rank_gpt_apeer")),
    "rank_llm_qwen_thinking": Golden(LISTS.format("qwen_thinking")),
    "rank_llm_qwen_non_thinking": Golden(LISTS.format("qwen_non_thinking")),
    "rank_llm_nemotron_thinking": Golden(LISTS.format("nemotron_thinking")),
    "reasonrank_rankllm": Golden(LISTS.format("reasonrank"), {"form": "reasonrank_rank_llm"}),
    "reasonrank_authors": Golden(LISTS.format("reasonrank")),
    "rank_r1_run_setwise": Golden("llm-rankers/prompt_setwise-R1.toml", {}, {"L03": EMPTY_TITLE}),
    "rank_r1_llmrankers": Golden("llm-rankers/prompt_setwise-R1.toml", {"form": "rank_r1_class"}, {"L03": EMPTY_TITLE}),
    "rank_r1_v02_run_setwise": Golden("llm-rankers/prompt_setwise-R1-v0.2.toml", {}, {"L03": EMPTY_TITLE}),
    "rank_r1_sft_llmrankers": Golden("llm-rankers/prompt_setwise.toml", {}, {"L03": EMPTY_TITLE}),
    "rank_r1_v02_training": Golden(
        "llm-rankers/prompt_setwise-R1-v0.2.toml", {"documents": "texts(strip=True, tokens=512)", "queries": "texts()"}
    ),
    "vllm_qwen3_reranker": Golden("vllm/qwen3_reranker.jinja", {"keep_newline": False}),
    "qwen3_reranker_transformers": Golden(
        "vllm/qwen3_reranker.jinja",
        {"values": {"instruction": "Given the user query, retrieval the relevant passages"}},
        {"P12": "theirs cuts query and document together from the right, so that the document is lost whole"},
    ),
    "qwen3_reranker_rcp_06b": Golden("rcp-ndcg/qwen3-reranker-0.6b/qwen3_reranker.jinja", {"keep_newline": False}),
    "qwen3_reranker_rcp_4b": Golden(
        "rcp-ndcg/qwen3-reranker-4b/template.jinja", {"form": "qwen3_reranker", "keep_newline": False}
    ),
    "prism_original_qwen3": Golden("vllm/qwen3_reranker.jinja"),
    "apeer_old": Golden(LISTS.format("rank_gpt_apeer"), {"queries": "texts()"}),
    "zerank2_vllm": Golden("vllm/zerank2.jinja", {"documents": "texts()", "queries": "texts()"}),
    "zerank1_rcp": Golden("rcp-ndcg/zerank-1-reranker/template.jinja", {"form": "zerank"}),
    "vllm_mxbai_v2": Golden(
        "vllm/mxbai_rerank_v2.jinja", {"keep_newline": False, "documents": "texts()", "queries": "texts()"}
    ),
    "mxbai_v2": Golden(
        "vllm/mxbai_rerank_v2.jinja",
        {},
        {"instruction": "the file has no place for the instruction that their code puts in"},
    ),
    "vllm_bge_reranker_v2_gemma": Golden(
        "vllm/bge-reranker-v2-gemma.jinja", {"documents": "texts()", "queries": "texts()"}
    ),
    "bge_reranker_v2_gemma": Golden("vllm/bge-reranker-v2-gemma.jinja"),
    **{
        f"ctxl_v2_{size}": Golden(
            f"rcp-ndcg/ctxl-rerank-v2-instruct-multilingual-{size}/template.jinja", {"form": "ctxl"}
        )
        for size in ("1b", "2b", "6b")
    },
    "vllm_nemotron_rerank": Golden("vllm/nemotron-rerank.jinja", {"answer": "logit(0)"}),
    "prism": Golden("Prism/reranker_raw.j2", {"values": {"system_prompt": "{system}", "instruction": "{instruction}"}}),
    "mono_t5_rankllm": Golden(LISTS.format("monot5"), {}, {"P10": CONTROL}),
    "monoelectra_rankllm": Golden(LISTS.format("monoelectra"), {"form": "mono_t5"}, {"P10": CONTROL}),
    "duo_t5_rankllm": Golden(LISTS.format("duot5"), {"documents": PLAIN.format(100)}),
    "rank_llm_pointwise_vllm": Golden(
        LISTS.format("pointwise_vllm"),
        {"answer": "softmax('yes', 'no')", "documents": PLAIN.format(3000), "queries": "texts(labels='round')"},
        {"P10": CONTROL},
    ),
}
"""The formats that are built from authors' files."""


def part(made: Golden, case: Case) -> Template:
    """The format of a case: specs and what the case's own options give are filled in."""
    given = {
        name: make(told) if name in ("answer", "documents", "queries") else told for name, told in made.given.items()
    }
    told = {
        name: text.format(**case.options) if "{" in text else text for name, text in given.get("values", {}).items()
    }
    if case.options.get("instruction") and "instruction" not in told:
        told["instruction"] = case.options["instruction"]
    return Template(template(made.source), **{**given, "values": told})


def asked(format: Template, case: Case) -> Prompt:
    """The prompt as it reaches the engine, the tokenizer being the goldens' own."""
    prompt = format.render(case.query, [format.passage(document) for document in case.documents])
    return prompt.prepare(prompt, tokenizer(), ROOM, lambda chat: None) if prompt.prepare else prompt


def same(prompt: Prompt, told: Mapping[str, Any]) -> bool:
    """Whether a prompt is the golden's, byte for byte; decoded ones in NFC, as the decoding leaves them."""
    chat = [turn for turn in prompt.chat if turn != {"role": "assistant", "content": "["}]
    if not prompt.raw:
        return json.dumps(chat) == json.dumps(told["messages"])
    text, wanted = prompt.chat[0]["content"], told["prompt"].removeprefix("<bos>")
    text = prompt.finish(text) if prompt.finish else text
    return text == wanted or unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", wanted)


@pytest.mark.parametrize("name", GOLDENS)
def test_a_published_prompt_byte_for_byte(name: str) -> None:
    made, equal = GOLDENS[name], 0
    cases = golden(name)
    for case in cases:
        differs = case.id in made.differs
        try:
            prompt = asked(part(made, case), case)
        except ValueError:
            assert "instruction" in made.differs and case.options["instruction"], case.id
            continue
        assert same(prompt, case.told) is not differs, case.id
        equal += not differs
    sys.stdout.write(f"{name}: {equal} of {len(cases)} equal; {dict(made.differs) or 'none differs'}" + "\n")
    assert equal >= len(cases) - 2


def test_the_whole_prompt_behind_the_chat_template() -> None:
    """rank_llm and ReasonRank mend the text once the chat template is around it."""
    equal = 0
    for name, chat in (
        ("rank_zephyr_new", "qwen2_5.jinja"),
        ("reasonrank_authors", "qwen2_5.jinja"),
        ("rank_gpt_new", "qwen2_5.jinja"),
    ):
        engine = tokenizer(chat)
        for case in golden(name):
            prompt = asked(part(GOLDENS[name], case), case)
            head = engine._templated(prompt.chat, {})
            equal += prompt.finish(head) == case.told["prompt"]
    sys.stdout.write(f"whole prompts: {equal} equal" + "\n")
    assert equal == 36


@pytest.mark.parametrize("name", ["rank_zephyr_new", "apeer_new", "first_new"])
def test_as_many_tokens_are_drawn_as_the_list_takes(name: str) -> None:
    if name == "first_new":
        pytest.skip("letters are weighed, not drawn")
    made = GOLDENS[name]
    for case in golden(name):
        prompt = asked(part(made, case), case)
        drawn, told = prompt.sampling, case.told["generation"]
        if part(made, case).form_of.list_length:
            assert (drawn.max_tokens, drawn.min_tokens) == (told["max_tokens"], told["min_tokens"])
        assert drawn.temperature == told["temperature"]


RANK_GPT = "texts(title='content', white='joined', without='Title: Content: ', words=300)"
CODE_ONLY: dict[str, Golden] = {
    "rearank": Golden("rearank"),
    "rearank_plain_rankgpt": Golden("rearank", {"documents": RANK_GPT.replace("words=300", "characters=300")}),
    "grouprank": Golden("grouprank"),
    "rank_k": Golden("rank_k", {}, {"L03": EMPTY_TITLE}),
    "rank_k_by_reasonrank": Golden("reasonrank_qwen3"),
    "rank_gpt_authors": Golden("rank_gpt", {"documents": RANK_GPT, "queries": "texts()"}),
    "rank_gpt_old": Golden("rank_gpt", {"queries": "texts()"}),
    "rank_lrl_old": Golden("rank_gpt", {"queries": "texts()"}),
    "dear_listwise": Golden(
        "rank_gpt", {"documents": "texts(title='content', words=300)", "queries": "texts()"}, {"L03": EMPTY_TITLE}
    ),
    "first_old": Golden("rank_first", {"queries": "texts(labels='round')"}),
    "first_authors_alpha": Golden(
        "rank_first",
        {"documents": "texts(title='stop', strip=True, words=300, labels='letters')", "queries": "texts()"},
    ),
    "first_authors_numeric": Golden(
        "rank_zephyr",
        {"documents": "texts(title='stop', strip=True, words=300, labels='round')", "queries": "texts()"},
    ),
    "reasonrank_authors_plain": Golden(
        "rank_zephyr",
        {
            "documents": "texts(title='content', strip=True, mend=True, tokens=100, labels='round')",
            "queries": "texts(labels='round', strip=True)",
        },
    ),
    "reasonrank_authors_qwen3": Golden("reasonrank_qwen3"),
    "rank_r1_training": Golden("rank_r1", {"documents": "texts(title='always')", "queries": "texts()"}),
    "rank_r1_sft_training": Golden("setwise_sft", {"documents": "texts(title='always')", "queries": "texts()"}),
    "rank1": Golden("prism", {"documents": "texts(title='blank')"}),
    "limrank": Golden("prism", {"documents": "texts(title='blank')"}),
    "retro_star_qwen25": Golden("retro_star"),
    "retro_star_qwen3": Golden("retro_star"),
    "tfrank_eval_no_think": Golden("prism"),
    "tfrank_eval_no_think_first_try": Golden("prism"),
    "tfrank_eval_think": Golden("prism"),
    "mono_t5_pygaggle": Golden("mono_t5", {"documents": "texts()", "queries": "texts()"}),
    "qwen3_reranker_vllm_example": Golden("prism", {}, {"P12": "theirs cuts the whole prompt, its end too"}),
    "qwen3_reranker_mteb": Golden("prism", {}, {"P12": "theirs cuts the whole prompt, its end too"}),
    "bge_reranker_v2_minicpm_layerwise": Golden("bge_gemma"),
    "bge_reranker_v25_gemma2_lightweight": Golden(
        "bge_gemma", {}, dict.fromkeys(("P06", "P12"), "its sentence is shorter, and so the pair that theirs allows")
    ),
    "rank_vicuna_old": Golden("rank_zephyr", {"queries": "texts(labels='round')"}),
    "rank_zephyr_old_fastchat": Golden("rank_zephyr", {"queries": "texts(labels='round')"}),
    "e2rank_eval": Golden("rank_k", {"documents": "texts(words=1024)", "queries": "texts()"}),
}
"""Those whose words stand in code alone: the template is made from one case, and the others are held against it."""


@pytest.mark.parametrize("name", CODE_ONLY)
def test_texts_are_prepared_as_code_prepares_them(name: str, tmp_path: Path) -> None:
    made, cases = CODE_ONLY[name], golden(name)
    given = {key: make(told) for key, told in made.given.items()}
    form = form_named(made.source)
    documents = given.get("documents", form.documents)
    cases = [
        case
        for case in cases
        if not {"task", "dataset", "instruction"} & {key for key, told in case.options.items() if told}
    ]
    start = next(case for case in cases if case.id in ("L02", "P01", "D01") or len(case.documents) == 2)
    path = induced(start, tmp_path, documents, letters=made.source == "rank_first" and "numeric" not in name)
    format = Template(path, made.source, **given)
    unequal = [case.id for case in cases if not same(asked(format, case), case.told)]
    sys.stdout.write(
        f"{name}: {len(cases) - len(unequal)} of {len(cases)} equal; {dict(made.differs) or 'none differs'}" + "\n"
    )
    assert set(unequal) == set(made.differs)


NOT_BUILT = {
    "insert_rank_new": "it shows the first stage's score of each passage, which formats are not given",
    "rank_r1_sft_run_setwise": "the authors' own code fails",
    "rankllama_tevatron": "an encoder's pair: encoder_rerank",
    "rankllama_legacy": "an encoder's pair: encoder_rerank",
    "lit5_distill": "fusion in the decoder: one input for each passage",
    "duo_t5_pygaggle": "the authors' file is rank_llm's, see duo_t5_rankllm; here the pair is shown without titles",
    "jina_reranker_v3_vllm": "hidden states of tokens inside the prompt are read, which no engine here tells",
    "tfrank_training_examples": "training data, not prompts of ours",
    "e2rank_readme": "documents carry an end token inside the prompt, which the authors' evaluation does not",
    "e2rank_training": "training data; the authors' evaluation is e2rank_eval",
}
"""Goldens that nothing here renders, and why."""


def test_no_golden_of_an_authors_file_is_passed_over() -> None:
    """What is not built is known, and why."""
    if not (FOLDER / "goldens").is_dir():
        pytest.skip(f"no goldens at {FOLDER}")
    there = {path.stem for path in (FOLDER / "goldens").glob("*.jsonl")} - {"cases"}
    unknown = there - set(GOLDENS) - set(CODE_ONLY) - set(NOT_BUILT)
    assert not unknown, f"goldens that no test looks at: {sorted(unknown)}"
