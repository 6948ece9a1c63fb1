"""The model that is written, and models that are spread over devices."""

import json
from types import SimpleNamespace

import pytest

from whyrank.errors import BadInput, NotFound
from whyrank.train.config import HeldOut, Loop, Lora, Model
from whyrank.train.models import refuse_spread, save_model

GATHERS = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
WHOLE, LORA = Model("some/model"), Model("some/model", lora=Lora())


@pytest.fixture
def told(tmp_path):
    def write(zero) -> Loop:
        (tmp_path / "zero.json").write_text(json.dumps({"zero_optimization": zero}))
        return Loop(deepspeed=str(tmp_path / "zero.json"))

    return write


def test_what_needs_the_whole_model_is_refused_where_it_is_spread(told):
    refuse_spread(Loop(), LORA, HeldOut("dev.jsonl"))
    refuse_spread(told({"stage": 2}), LORA, HeldOut("dev.jsonl"))
    refuse_spread(told(GATHERS), WHOLE, None)
    for zero, model, held_out, why in (
        (GATHERS, LORA, None, "no adapter can be merged"),
        (GATHERS, WHOLE, HeldOut("dev.jsonl"), "held-out lists cannot be ranked"),
        ({"stage": 3}, WHOLE, None, "stage3_gather_16bit_weights_on_model_save"),
    ):
        with pytest.raises(BadInput, match=why):
            refuse_spread(told(zero), model, held_out)


def test_accelerate_may_tell_it(told, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    refuse_spread(Loop(), WHOLE, None)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(BadInput, match="zero3_save_16bit_model"):
        refuse_spread(Loop(), WHOLE, None)
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL", "true")
    refuse_spread(Loop(), WHOLE, None)
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", told({"stage": 3}).deepspeed)
    with pytest.raises(BadInput, match="zero3_save_16bit_model"):
        refuse_spread(Loop(), WHOLE, None)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFound, match=r"zero.json"):
        refuse_spread(Loop(deepspeed=str(tmp_path / "zero.json")), WHOLE, None)
    (tmp_path / "zero.json").write_text("stage: 3")
    with pytest.raises(BadInput, match="in JSON"):
        refuse_spread(Loop(deepspeed=str(tmp_path / "zero.json")), WHOLE, None)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_all_processes_gather_and_the_first_writes(tmp_path, monkeypatch, rank):
    monkeypatch.setenv("RANK", rank)
    did: list[str] = []

    def save(partial, state_dict):
        partial.mkdir()
        (partial / "weights").write_text(state_dict)

    def gather(wrapped):
        did.append(f"gather {wrapped}")
        return "whole"

    model = SimpleNamespace(save_pretrained=save)
    accelerator = SimpleNamespace(
        unwrap_model=lambda _: model, get_state_dict=gather, wait_for_everyone=lambda: did.append("wait")
    )
    trainer = SimpleNamespace(accelerator=accelerator, model=model, model_wrapped="engine")
    folder = SimpleNamespace(path=tmp_path, model=tmp_path / "model")
    chat = SimpleNamespace(tokenizer=SimpleNamespace(save_pretrained=lambda _: did.append("tokenizer")))
    save_model(trainer, chat, folder, "card")
    assert did == ["gather engine", *(["tokenizer"] if rank == "0" else []), "wait"]
    assert folder.model.exists() == (rank == "0")
    assert rank == "1" or (folder.model / "weights").read_text() == "whole"
