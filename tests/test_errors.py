"""Names of models that are nearly right, and warnings of the command line, in one line each."""

import warnings

import pytest

from whyrank import progress
from whyrank.encoders import bi_encoder, kind_of
from whyrank.errors import EngineError, no_near_miss, not_loaded
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM

TAKEN = {"device": None, "max_length": None, "trust_remote_code": False, "asked_by": "dense(...)"}


@pytest.mark.parametrize(
    ("load", "meant"),
    [
        (lambda: Transformers("tinny").window, r"transformers\(...\): .* 'tinny': did you mean 'tiny'"),
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
