"""The model to start from, the one that is written at the end, and models that are spread over devices (ZeRO-3)."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, EngineError, NotFound, need
from whyrank.llm.chat import Chat
from whyrank.llm.local import located
from whyrank.progress import no_bars, warn
from whyrank.train.config import HeldOut, Loop, Lora, Model
from whyrank.train.trainer import TrainingFolder, first, whole

_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")
"""How models name their layers."""


def load_model(config: Model, seed: int) -> tuple[Any, Chat]:
    """The model to train, and its chat; warns where all weights are to be trained in half precision.

    Raises:
        EngineError: it, or its tokenizer, cannot be loaded, or the tokenizer has no chat template, or is another's.
    """
    transformers, torch = need("transformers", extra="train"), need("torch", extra="train")
    path, where = located(config.path), located(config.tokenizer or config.path)
    try:
        chat = Chat(transformers.AutoTokenizer.from_pretrained(where), config.chat_template_kwargs)
        if not chat.tokenizer.chat_template:
            raise EngineError(f"the tokenizer of {where} has no chat template: take one of a model made to answer")
        if chat.tokenizer.pad_token is None:
            chat.tokenizer.pad_token = chat.tokenizer.eos_token
        if chat.closing:  # what ends a completion in training ends it in inference, too
            chat.tokenizer.eos_token = chat.tokenizer.convert_ids_to_tokens(chat.closing[-1])
        if config.path:
            dtype = config.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
            with no_bars(transformers.utils.logging):
                model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        else:
            model = _new(transformers, torch, config, chat.tokenizer, seed)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise EngineError(f"the model to start from cannot be loaded: {config.path or where}: {error}") from error
    _end_with(model, chat.tokenizer.eos_token_id)
    rows = model.get_input_embeddings().num_embeddings
    if len(chat.tokenizer) > rows:
        raise EngineError(
            f"the tokenizer of {where} has {len(chat.tokenizer)} tokens, the model {rows}: it is another model's"
        )
    if config.lora is None and model.dtype != torch.float32:
        warn(
            f"all weights are trained in {str(model.dtype).removeprefix('torch.')}, in which most updates round away, "
            "unless DeepSpeed keeps float32 beside it: leave dtype at 'float32', or train an adapter (lora)"
        )
    return model, chat


def _new(transformers: Any, torch: Any, config: Model, tokenizer: Any, seed: int) -> Any:
    shape = {"vocab_size": len(tokenizer), **config.config}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
           "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    torch.manual_seed(seed)
    made = transformers.AutoConfig.for_model(shape.pop("model_type", "qwen3"), **shape, **ids)
    model = transformers.AutoModelForCausalLM.from_config(made, dtype=getattr(torch, config.dtype))
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _end_with(model: Any, end: int | None) -> None:
    """Let generation end with this token, besides those with which it ends already."""
    ends = model.generation_config.eos_token_id
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if end is not None and end not in known:
        model.generation_config.eos_token_id = [*known, end] if known else end


def adapter(config: Model, model: Any) -> Any:
    """The adapter to train on `model`, or None.

    Raises:
        BadInput: it is to be put into more layers than there are.
    """
    if config.lora is None:
        return None
    lora, peft = config.lora, need("peft", extra="train")
    every = lora.targets == ("all-linear",)
    targets: Any = _in_layers(model, lora, every) if lora.layers else "all-linear" if every else list(lora.targets)
    return peft.LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


def _in_layers(model: Any, lora: Lora, every: bool) -> list[str]:
    """The names of the modules that are meant, in the highest layers alone."""
    linear, count = need("torch", extra="train").nn.Linear, model.config.get_text_config().num_hidden_layers
    if lora.layers > count:
        raise BadInput(f"an adapter in {lora.layers} layers is asked for, and the model has {count}")
    found = []
    for name, module in model.named_modules():
        layer = _LAYER.search(name)
        meant = isinstance(module, linear) if every else name.rpartition(".")[2] in lora.targets
        if layer and int(layer[1]) >= count - lora.layers and meant:
            found.append(name)
    return found


def save_model(trainer: Any, chat: Chat, folder: TrainingFolder, card: str) -> None:
    """Write the model with its tokenizer and card; an adapter is merged into it.

    All processes call it, as weights may be spread over them; the first writes, the others wait for it.
    """
    model, weights = trainer.accelerator.unwrap_model(trainer.model), None
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if first():
        partial = folder.path / ".model.partial"
        with whole(partial, f"the model {folder.model}"):
            model.save_pretrained(partial, state_dict=weights)
            chat.tokenizer.save_pretrained(partial)
            (partial / "README.md").write_text(card, encoding="utf-8")
            shutil.rmtree(folder.model, ignore_errors=True)
            os.replace(partial, folder.model)
    trainer.accelerator.wait_for_everyone()


def refuse_spread(loop: Loop, model: Model, held_out: HeldOut | None) -> None:
    """Refuse what needs the whole model on one device where each device holds a part of it (DeepSpeed's ZeRO-3).

    Raises:
        BadInput: an adapter is to be merged, held-out lists are to be ranked, or the model could not be written.
        NotFound: the file that `loop.deepspeed` names is not there.
    """
    zero = _zero(loop)
    if zero.get("stage") != 3:
        return
    if model.lora is not None:
        raise BadInput("with ZeRO-3 no adapter can be merged: leave 'lora' out, or take ZeRO-2")
    if held_out is not None:
        raise BadInput("with ZeRO-3 held-out lists cannot be ranked in training: leave [held_out] out, or take ZeRO-2")
    if not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise BadInput(
            "with ZeRO-3 the model is written only if 'stage3_gather_16bit_weights_on_model_save' is true "
            "('zero3_save_16bit_model' for accelerate)"
        )


def _zero(loop: Loop) -> Mapping[str, Any]:
    """What DeepSpeed is told of ZeRO: in a file of its own, or by `accelerate launch`; empty without DeepSpeed."""
    told = os.environ
    launched = told.get("ACCELERATE_USE_DEEPSPEED") == "true"
    path = loop.deepspeed or (told.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none") if launched else "none")
    if path != "none":
        try:
            zero: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")).get("zero_optimization", {})
            return zero
        except FileNotFoundError:
            raise NotFound(f"no such file: {path}") from None
        except (ValueError, RecursionError, AttributeError):
            raise BadInput(f"{path}: DeepSpeed's configuration is wanted, in JSON") from None
    saves = told.get("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL", "").lower() == "true"
    stage = int(told.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"))
    return {"stage": stage, "stage3_gather_16bit_weights_on_model_save": saves} if launched else {}
