"""What SFT learns as the end of a turn is what the model's template ends turns with."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from whyrank.errors import BadInput
from whyrank.llm.chat import Chat
from whyrank.llm.local import SHIPPED
from whyrank.train.config import LessonSource
from whyrank.train.data import _lessons
from whyrank.train.models import _end_with

TURN = (
    "{% for turn in messages %}OPEN{{ turn['content'] }}CLOSE{% endfor %}{% if add_generation_prompt %}OPEN{% endif %}"
)


@pytest.fixture
def chat():
    """Makes a chat of the small model's tokenizer: `chat(eos="<|user|>", close="<|end|>\\n")`."""

    def make(eos="<|end|>", close=None, template=None):
        tokenizer = AutoTokenizer.from_pretrained(SHIPPED["tiny"])
        tokenizer.eos_token = eos
        if close is not None:
            template = TURN.replace("OPEN", "<|user|>").replace("CLOSE", close)
        if template is not None:
            tokenizer.chat_template = template
        return Chat(tokenizer, {})

    return make


def learnt(chat, tmp_path):
    (tmp_path / "s.jsonl").write_text(json.dumps({"prompt": "say a", "completion": "a"}) + "\n")
    (lesson,) = _lessons(LessonSource(path=str(tmp_path / "s.jsonl")), chat, 100, Counter())
    return chat.decode(lesson.ids[lesson.asked :].tolist())


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ({}, "<|end|>"),
        ({"eos": "<|user|>"}, "<|end|>"),  # a tokenizer whose eos is another: base models with a chat template
        ({"eos": "<|pad|>", "close": "<|end|>\n"}, "<|end|>"),  # white space behind it is no part of the answer
        ({"eos": "<|end|>", "close": "<|user|>"}, "<|user|>"),
        ({"eos": "<|user|>", "close": "\n<|end|>"}, "\n<|end|>"),  # what stands before it is
        ({"eos": "<|user|>", "close": "\n\n"}, "<|user|>"),  # no special token closes a turn: the tokenizer's does
        ({"eos": "<|user|>", "template": "no word of the chat <|end|>"}, "<|user|>"),
    ],
)
def test_the_last_thing_learnt_is_what_closes_a_turn(chat, tmp_path, given, end):
    assert learnt(chat(**given), tmp_path) == "a" + end


def test_where_nothing_ends_a_turn_that_is_told(chat, tmp_path):
    with pytest.raises(BadInput, match="closes no turn with a special token, and the tokenizer has no eos_token"):
        learnt(chat(eos=None, close="\n"), tmp_path)


@pytest.mark.parametrize(
    ("before", "after"), [(None, 7), (7, 7), ([7, 3], [7, 3]), (3, [3, 7]), ([3, 4], [3, 4, 7]), ([], 7)]
)
def test_the_trained_model_ends_there_too(before, after):
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=before))
    _end_with(model, 7)
    assert model.generation_config.eos_token_id == after


def test_a_long_text_is_encoded_without_a_word(caplog, chat):
    made = chat()
    assert len(made.encode("bees dance " * 4000)) > made.tokenizer.model_max_length
    assert "longer than" not in caplog.text
