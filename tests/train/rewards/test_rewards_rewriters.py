"""Rewards for rewritten queries, with a real BM25 in the loop and a real encoder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whyrank.encoders import bi_encoder
from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.registry import make
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.rewrite.combine import Append, Replace
from whyrank.train.rewards import EmbeddingGain, EngineGain, ForTRL, MeasureGain, NewDocuments, OnTarget, Reward
from whyrank.types import Corpus, Document, Query, RankTask

DOCUMENTS = [
    Document("waggle", "The waggle dance of honey bees tells where nectar is"),
    Document("hive", "A hive holds one queen and many workers"),
    Document("ballet", "Why do people dance at home: a ballet school answers"),
    Document("tides", "The moon makes the tides"),
    Document("nectar", "Nectar is a sugar that flowers make"),
]
TASK = RankTask(
    Query("q", "why do they dance at home"), tuple(DOCUMENTS[:2] + DOCUMENTS[4:]), {"waggle": 2, "nectar": 1}
)


@pytest.fixture(scope="module")
def bm25() -> BM25:
    return BM25().index(Corpus(DOCUMENTS))


def answer(text: str) -> str:
    return f"<think>what dances?</think>{text}"


def test_engine_gain(bm25: BM25) -> None:
    reward = EngineGain(bm25, combine=Replace(), k=2, reach=3)
    # the query alone finds the ballet school and the waggle dance
    assert reward(answer("honey bees nectar"), TASK) == pytest.approx(1.0 + 0.5 * 0.5)
    nectar_first = 1 / (2 + 1 / np.log2(3))
    assert reward(answer("flowers sugar"), TASK) == pytest.approx(nectar_first + 0.5 * 0.5)
    assert reward(answer("moon"), TASK) == 0.0
    assert reward(answer("moon moon moon moon"), TASK) == pytest.approx(-0.1 * 0.75)


def test_the_policy_and_the_query_count_as_at_search(bm25: BM25) -> None:
    alone, both = OnTarget(bm25, combine=Replace(), k=2), OnTarget(bm25, combine=Append(), k=2)
    assert alone(answer("moon"), TASK) == 0.0
    assert both(answer("school"), TASK) == 1.0
    barred = replace(TASK, query=replace(TASK.query, excluded=frozenset({"waggle"})))
    assert both(answer("school"), barred) == 0.0


def test_new_documents(bm25: BM25) -> None:
    reward = NewDocuments(bm25, combine=Replace(), k=2)
    assert reward(answer("why do they dance at home"), TASK) == 0.0
    assert reward(answer("moon"), TASK) == 0.5
    assert reward(answer("moon hive"), TASK) == 1.0


def test_measure_gain_is_clipped_and_counts_what_finds_nothing(bm25: BM25) -> None:
    reward = MeasureGain(bm25, combine=Replace(), k=10)
    before = (2 / np.log2(3)) / (2 + 1 / np.log2(3))  # ballet, waggle; nectar is not found
    assert reward(answer("honey bees nectar"), TASK) == pytest.approx(1 - before)
    assert reward(answer("xyzzy"), TASK) == pytest.approx(-before)
    recall = MeasureGain(bm25, combine=Replace(), measure="R@1", k=1)
    assert recall(answer("bees"), TASK) == pytest.approx(0.5)
    with pytest.raises(BadInput, match=r"grade 0\.5: measure_gain takes whole numbers"):
        reward(answer("bees"), replace(TASK, grades={"waggle": 0.5}))
    with pytest.raises(BadInput, match="did you mean nDCG"):
        MeasureGain(bm25, measure="nDGC@10")(answer("bees"), TASK)


@pytest.mark.parametrize("kind", [EngineGain, NewDocuments, OnTarget, MeasureGain])
def test_no_text_earns_the_least(bm25: BM25, kind: Callable[..., Reward]) -> None:
    reward = kind(bm25)
    for nothing in ("", answer(""), answer("  "), "<think>bees and", "<answer></answer>"):
        assert reward(nothing, TASK) == -1.0
    assert reward(Ok("honey bees", "what dances?", finish="length"), TASK) == -1.0
    assert reward(answer("bees"), replace(TASK, grades={})) is None
    assert reward(answer("moon"), TASK) >= -1.0


def test_the_thought_is_not_searched_for(bm25: BM25) -> None:
    reward = OnTarget(bm25, combine=Replace())
    assert reward("<think>honey bees</think>moon", TASK) == 0.0
    assert reward("<think>moon</think>Here: <answer>honey bees</answer>", TASK) == 1.0


def test_a_batch_is_one_search_for_all(bm25: BM25, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    search = BM25.search

    def counted(self: BM25, queries: Any, *rest: Any, **named: Any) -> Any:
        asked.append(len(queries))
        return search(self, queries, *rest, **named)

    monkeypatch.setattr(BM25, "search", counted)
    reward, texts = EngineGain(bm25), [answer("honey bees"), "", answer("nectar"), answer("honey bees")]
    together = reward.batch(texts, [TASK] * 4)
    assert asked == [1, 3]
    assert together == [reward(text, TASK) for text in texts] and together[1] == -1.0


def test_specs(bm25: BM25) -> None:
    spec = "engine_gain(bm25(path='index'), combine=replace(), reach=20)"
    assert make(spec) == EngineGain(BM25(path="index"), combine=Replace(), reach=20)
    with pytest.raises(BadInput, match="k must be at least 1"):
        OnTarget(bm25, k=0)
    with pytest.raises(BadInput, match="on_target: retriever must be a Retriever"):
        make("on_target(fake())")


@pytest.mark.engines
def test_embedding_gain_with_minilm() -> None:
    reward = EmbeddingGain("minilm")
    texts = ["how do bees tell others where nectar and flowers are", "the moon and the tides", TASK.query.text]
    good, bad, same = reward.batch([answer(text) for text in texts], [TASK] * 3)
    assert good is not None and bad is not None and same is not None
    assert good > 1 > abs(bad) and same == pytest.approx(0, abs=1e-5)
    encoder = bi_encoder("minilm", device=None, max_length=None, trust_remote_code=False, asked_by="test")
    rows = encoder.encode([texts[0], TASK.query.text, DOCUMENTS[0].content, DOCUMENTS[4].content], "query")
    cosines = rows @ rows.T
    assert good == pytest.approx(10 * (cosines[0, 2:] - cosines[1, 2:]).mean(), abs=1e-4)
    assert ForTRL(reward)([""], [""], task=[TASK]) == [-1.0]
