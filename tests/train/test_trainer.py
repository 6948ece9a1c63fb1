"""What SFT and GRPO share."""

import warnings

import pytest
from toy_task import SHAPE

from whyrank.train.config import Lora, Model
from whyrank.train.trainer import load_model


def test_training_all_weights_in_half_precision_is_warned_of(words: str) -> None:
    with pytest.warns(UserWarning, match="all weights are trained in bfloat16, in which most updates round away"):
        load_model(Model(tokenizer=words, config=SHAPE, dtype="bfloat16"), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(Model(tokenizer=words, config=SHAPE), 0)
        load_model(Model(tokenizer=words, config=SHAPE, dtype="bfloat16", lora=Lora()), 0)
