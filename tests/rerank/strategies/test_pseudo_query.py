"""Pseudo queries: read with the best candidates, within what the encoder reads; on a toy encoder and on MiniLM."""

import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_query import request

from whyrank.encoders import BiEncoder
from whyrank.errors import BadInput, EngineError
from whyrank.registry import make
from whyrank.rerank.strategies import encoder as encoder_module
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.rerank.strategies.pseudo_query import PseudoQuery, pseudo_query
from whyrank.testing import check_reranker

WORDS = [f"w{at}" for at in range(12)]


class Toy:
    """An encoder whose vectors count words, and which reads no more than its bound."""

    def __init__(self, bound: int | None = 64) -> None:
        self.max_seq_length, self.prompts, self.read = bound, {}, list[str]()
        ids = {"encode": self._ids, "decode": lambda ids: " ".join(self._words[id] for id in ids)}
        self._words: dict[int, str] = {}
        self.tokenizer = SimpleNamespace(**ids)

    def _ids(self, text: str, **_: Any) -> list[int]:
        found = [zlib.crc32(word.encode()) for word in text.split()]
        self._words.update(zip(found, text.split(), strict=True))
        return found

    def _encode(self, texts: list[str], **_: Any) -> np.ndarray:
        vectors = np.zeros((len(texts), len(WORDS) + 1), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split()[: self.max_seq_length]:
                vectors[row, WORDS.index(word) if word in WORDS else -1] += 1
        vectors[:, -1] = 0
        return vectors

    def encode_query(self, texts: list[str], **told: Any) -> np.ndarray:
        self.read += texts
        return self._encode(texts, **told)

    encode_document = _encode


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    engine = Toy()
    monkeypatch.setattr(encoder_module, "bi_encoder", lambda *_, **__: BiEncoder(engine, "toy"))
    monkeypatch.setattr(encoder_module, "kind_of", lambda *_: "bi")
    return engine


TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), max_size=30)


def test_property(toy: Toy) -> None:
    @given(TEXTS, st.integers(1, 12), st.sampled_from([16, 64, 400, None]))
    def holds(texts: list[str], shown: int, bound: int | None) -> None:
        toy.read, toy.max_seq_length = [], bound
        asked = request(texts)
        (order,) = PseudoQuery(EncoderRerank("toy"), shown).rank_requests([asked], None)
        if not texts:
            assert order.ranking == () and toy.read == []
            return
        (read,) = toy.read
        assert bound in (None, 16) or len(read.split()) <= bound
        if bound is None or bound == 400:
            assert read == pseudo_query(asked.query.text, texts[:shown])
        vectors = toy._encode([read, *texts])
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        scores = vectors[1:] @ vectors[0]
        assert order.scores == pytest.approx(scores, abs=1e-5)
        assert all(
            scores[one] >= scores[two] - 1e-5 for one, two in zip(order.ranking, order.ranking[1:], strict=False)
        )

    holds()


def test_what_the_best_say_counts(toy: Toy) -> None:
    """A document without a word of the query rises where it shares words with the best candidates."""
    texts = ["w1 w2 w3", "w1 w2 w4", "w9", "w3 w4"]
    (order,) = PseudoQuery(EncoderRerank("toy"), 2).rank_requests([request(texts)], None)
    assert order.ranking[:2] == (0, 1) and order.ranking.index(3) < order.ranking.index(2)


def test_each_shown_passage_has_its_share_and_the_query_is_whole(toy: Toy) -> None:
    toy.max_seq_length = 100
    PseudoQuery(EncoderRerank("toy"), 5).rank_requests([request([" ".join([word] * 90) for word in WORDS])], None)
    (read,) = toy.read
    assert 80 < len(read.split()) <= 96 and read.endswith("which is the highest?")
    shares = {read.split().count(word) for word in WORDS[:5]}
    assert len(shares) == 1 and shares.pop() > 10 and not any(word in read.split() for word in WORDS[5:])


def test_a_long_query_takes_half(toy: Toy) -> None:
    asked = request(["w1 " * 90, "w2 " * 90])
    asked = type(asked)(type(asked.query)("q", "w3 " * 200), asked.documents, asked.scores)
    PseudoQuery(EncoderRerank("toy"), 2).rank_requests([asked], None)
    (read,) = toy.read
    assert read.split().count("w3") == 30 and read.split().count("w1") == read.split().count("w2") > 5


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="passages must be at least 1, not 0"):
        make("pseudo_query(encoder_rerank('minilm'), passages=0)")
    monkeypatch.setattr(encoder_module, "kind_of", lambda *_: "cross")
    with pytest.raises(EngineError, match=r"pseudo_query\(...\) needs a bi-encoder, and 'some' is a cross-encoder"):
        PseudoQuery(EncoderRerank("some")).rank("q", ["a", "b"])


@pytest.mark.engines
def test_minilm() -> None:
    part = PseudoQuery(EncoderRerank("minilm"), passages=2)
    check_reranker(part)
    docs = [
        "Honey bees dance in the hive to show where flowers are.",
        "The waggle of the dance points to the food, relative to the sun.",
        "Sourdough rises since yeast makes gas.",
        "Foragers fly out along the angle to the sun that they were told.",
    ]
    ranked = part.rank("why do bees dance?", docs)
    plain = part.encoder.rank("why do bees dance?", docs)
    assert ranked[-1].index == plain[-1].index == 2

    def score(several: Any, index: int) -> float:
        return next(item.score for item in several if item.index == index)

    assert score(ranked, 1) > score(plain, 1) + 0.1  # it was shown
    asked = pseudo_query("why do bees dance?", docs[:2])
    assert [item.score for item in part.encoder.rank(asked, docs)] == pytest.approx([item.score for item in ranked])


@pytest.mark.engines
def test_what_minilm_reads_is_never_cut_by_it() -> None:
    part = PseudoQuery(EncoderRerank("minilm"))
    engine = part.encoder.vectors("test").engine
    asked = request(["bees dance in the hive, relatedly " * 60] * 25)
    read = part._asked(part.encoder.vectors("test"), asked).query.text
    tokens = len(engine.tokenizer.encode(read))
    assert 200 < tokens <= engine.max_seq_length == 256 and read.endswith("which is the highest?")
