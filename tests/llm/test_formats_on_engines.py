"""Every format on transformers and vLLM: the same readings and probabilities, and FIRST's order is the model's own."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny

from whyrank import Listwise, Pointwise, Sampling, Transformers
from whyrank.formats import BestWorst, First, Rubric, YesNo
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt
from whyrank.llm.vllm import VLLM
from whyrank.rerank.around.compose import WithScores
from whyrank.rerank.formats import (
    ChoiceFormat,
    Format,
    GroupScoresFormat,
    Pair,
    RankingFormat,
)
from whyrank.rerank.formats.first import LETTERS
from whyrank.rerank.strategies.dual_end import DualEnd

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

WAYS: list[Any] = ["asked", "native", "no"]
FORMATS: list[tuple[Format[Any], int]] = [
    *((form(way), 3) for form in (RankingFormat, ChoiceFormat, GroupScoresFormat) for way in WAYS),
    *((BestWorst(way), 5) for way in WAYS),
    *((First(way), 5) for way in WAYS),
    *((Pair(way), 2) for way in WAYS),
    *((YesNo(way), 1) for way in WAYS),
    *((Rubric(way, top, weighted=weighted), 1) for way in WAYS for top in (100, 10) for weighted in (False, True)),
]  # fmt: skip
PASSAGES = ["Salts grow on it.", "The rain is wet.", "It turns green.", "A dough rests.", "The sea is wide.", "Sugar."]
QUERIES = ["why do bees dance?", "how do birds find their way?", "what is the moon?"]
SHORT = Sampling(max_tokens=40)
ONE = Sampling(max_tokens=1)

Both = tuple[Transformers, VLLM]


@pytest.fixture(scope="module")
def engines(tiny_lm: Path, in_process: VLLM) -> Both:
    """A model that has learnt to think and to order, on both engines."""
    return Transformers(str(tiny_lm), device="cpu"), in_process


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory, vllm_installed: None) -> Both:
    """A model that says no, or perhaps yes, on both engines."""
    folder = str(tiny.judge(tmp_path_factory.mktemp("models") / "unsure", ("yes", "no")))
    return Transformers(folder, device="cpu"), VLLM(folder)


@pytest.fixture(scope="module")
def lettered(tmp_path_factory: pytest.TempPathFactory, vllm_installed: None) -> Both:
    """A model that says a grade or a letter, on both engines."""
    folder = str(tiny.judge(tmp_path_factory.mktemp("models") / "lettered", ("7", "8", "10", *LETTERS[:10])))
    return Transformers(folder, device="cpu"), VLLM(folder)


def answers(llm: Any, format: Format[Any], n: int, sampling: Sampling) -> list[Any]:
    completions = llm.generate([format.render(query, PASSAGES[:n], sampling) for query in QUERIES])
    assert all(isinstance(one, Ok) for one in completions)
    return [format.parse(one, n) for one in completions]


def test_every_format_reads_the_same_on_both(engines: Both) -> None:
    statuses = set()
    for format, n in FORMATS:
        for one, other in zip(*(answers(llm, format, n, SHORT) for llm in engines), strict=True):
            assert (one.status, one.repairs) == (other.status, other.repairs), format
            if hasattr(one, "score"):
                assert one.score == pytest.approx(other.score, abs=1e-3, nan_ok=True)
            elif not hasattr(one, "scores"):
                assert one == other
            statuses.add(one.status)
    assert statuses >= {"exact", "repaired", "no_answer"}


def test_the_probability_of_yes_agrees(unsure: Both) -> None:
    for one, other in zip(*(answers(llm, YesNo("no"), 1, ONE) for llm in unsure), strict=True):
        assert 0.01 < one.score < 0.99 and one.status == other.status == "exact"
        assert other.score == pytest.approx(one.score, abs=1e-3)


def all_logits(part: Transformers, prompt: Prompt) -> Any:
    """The log probabilities of the next token after a prompt, over the whole vocabulary, from the model itself."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([part.chat.encode(part.chat.render(prompt.chat))])
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(part.model, dtype="float32")
        return torch.log_softmax(model(input_ids=ids).logits[0, -1], -1)


@pytest.mark.parametrize("way", WAYS)
def test_a_thought_that_was_cut_off_is_closed_and_one_token_asked(unsure: Both, way: Any) -> None:
    format = YesNo(way)
    prompt = format.render(QUERIES[0], PASSAGES[:1], SHORT)
    closed = format.again(prompt, Ok("", "The salts grow. They", finish="length"))
    full = all_logits(unsure[0], closed)
    yes, no = (math.exp(full[unsure[0].chat.encode(word)[0]].item()) for word in ("yes", "no"))
    for llm in unsure:
        (completion,) = llm.generate([closed])
        assert completion.usage.output == 1
        assert format.parse(format.whole(closed, completion), 1).score == pytest.approx(yes / (yes + no), abs=1e-3)


def test_pointwise_closes_thoughts(unsure: Both) -> None:
    one, other = (
        Pointwise(llm, format=YesNo("native"), sampling=Sampling(max_tokens=4)).rank(QUERIES[0], PASSAGES)
        for llm in unsure
    )
    assert [item.index for item in one] == [item.index for item in other]
    assert [item.score for item in one] == pytest.approx([item.score for item in other], abs=1e-3)
    assert one.statuses == other.statuses == {**dict.fromkeys(one.statuses, 0), "truncated": 6, "repaired": 6}


@pytest.mark.parametrize("top", [10, 100])
def test_the_weighted_grade_agrees(lettered: Both, top: Any) -> None:
    format = Rubric("no", top, weighted=True)
    for one, other in zip(*(answers(llm, format, 1, ONE) for llm in lettered), strict=True):
        assert 0.5 < one.score < 6.5 and one.status == other.status == "exact"
        assert other.score == pytest.approx(one.score, abs=1e-3)


def by_all_logits(part: Transformers, n: int) -> tuple[list[int], list[float]]:
    """The passages by the model's own log probabilities of their letters, over its whole vocabulary."""
    full = all_logits(part, First().render(QUERIES[0], (PASSAGES * 5)[:n]))
    spellings = [[part.chat.encode(text) for text in (letter, f" {letter}")] for letter in LETTERS[:n]]
    found = [max(full[ids[0]].item() for ids in several if len(ids) == 1) for several in spellings]
    return sorted(range(n), key=lambda at: -found[at]), found


@pytest.mark.parametrize("n", [2, 5, 10, 20, 26])
def test_one_token_orders_as_all_logits_do(lettered: Both, n: int) -> None:
    """Letters that were reported stand as in the full distribution, above those that were not."""
    order, chances = by_all_logits(lettered[0], n)
    for llm in lettered:
        (completion,) = llm.generate([First().render(QUERIES[0], (PASSAGES * 5)[:n])])
        parsed = First().parse(completion, n)
        seen = n - parsed.missing
        assert completion.usage.output == 1 and seen >= min(n, 10) and parsed.out_of_range == 0
        assert list(parsed.permutation[:seen]) == order[:seen]
        assert list(parsed.permutation[seen:]) == sorted(order[seen:])
        for place in parsed.permutation[:seen]:
            reported = max(value for token, value in completion.logprobs[0].items() if token.strip() == LETTERS[place])
            assert reported == pytest.approx(chances[place], abs=1e-3)


def test_with_all_alternatives_all_letters_are_ordered(lettered: Both) -> None:
    format = First(alternatives=10_000)
    (completion,) = lettered[0].generate([format.render(QUERIES[0], (PASSAGES * 5)[:26])])
    parsed = format.parse(completion, 26)
    assert list(parsed.permutation) == by_all_logits(lettered[0], 26)[0] and parsed.missing == 0


def test_strategies_rank_with_them(engines: Both, lettered: Both) -> None:
    for llm in (*engines, *lettered):
        for part in (
            Listwise(llm, 4, format=First()),
            WithScores(Listwise(llm, 4, format=First("asked"), sampling=SHORT)),
            DualEnd(llm, 2, sampling=SHORT),
            DualEnd(llm, 2, window=3, format=BestWorst("native"), sampling=SHORT),
        ):
            ranked = part.rank(QUERIES[0], PASSAGES)
            assert sorted(item.index for item in ranked) == list(range(6)) and ranked.statuses["failed"] == 0
