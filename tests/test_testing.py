"""The contracts themselves: parts that keep them pass, and each way of breaking one is told."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.fake import Fake
from whyrank.registry import Part
from whyrank.rerank.base import Order, Reranker
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.base import Retriever
from whyrank.testing import DOCUMENTS, ContractBroken, check_llm, check_reranker, check_retriever, check_spec
from whyrank.types import Ranking, Usage


@dataclass(frozen=True)
class Letters(Retriever):
    """Ranks by letters that query and document share; `fault` breaks one promise."""

    fault: str = ""
    texts: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def filters(self):
        return self.fault == "exclusion after the cut"

    def index(self, corpus):
        if self.fault == "empty collection":
            corpus = list(corpus) or [None]
            return self if corpus == [None] else super().index(corpus)
        if self.fault == "index in place":
            self._index(corpus)
            return self
        return super().index(corpus)

    def _index(self, corpus):
        kept = self.texts if self.fault == "shared state" else {}
        kept |= {document.id.strip() if self.fault == "ids" else document.id: document.content for document in corpus}
        object.__setattr__(self, "texts", kept)

    def _search(self, queries, k):
        if self.fault == "odd query" and any("\0" in query.text for query in queries):
            raise RuntimeError("cannot read that")
        return [self._one(query, k, len(queries)) for query in queries]

    def _one(self, query, k, n):
        ids = [id for id in self.texts if set(query.text) & set(self.texts[id]) or self.fault == "ids"]
        if self.fault == "nothing":
            ids = []
        if self.fault == "batch" and n > 1:
            ids = ids[::-1]
        if self.fault == "cut" and k > 5:
            ids = ids[::-1]
        return Ranking(ids[:k], np.zeros(len(ids[:k])))


@dataclass(frozen=True)
class Saved(Letters):
    """Saves, but forgets what."""

    def save(self, path):
        path.mkdir()

    @classmethod
    def open(cls, path):
        return cls().index(DOCUMENTS_BACKWARDS)


@dataclass(frozen=True)
class Shuffled(Reranker):
    """Reverses; `fault` breaks one promise."""

    fault: str = ""
    calls: list = field(default_factory=list, init=False, repr=False, compare=False)

    def rerank(self, run, data, depth=100, trace=None):
        if self.fault == "depth 0":
            depth = max(depth, 1)
        if self.fault == "excluded":
            data = replace(data, queries=tuple(replace(query, excluded=frozenset()) for query in data.queries))
        return super().rerank(run, data, depth + (self.fault == "deeper"), trace)

    def _rank(self, requests, trace):
        self.calls.append(len(requests))
        if self.fault == "empty" and not all(request.documents for request in requests):
            raise ZeroDivisionError
        turn = 1 if self.fault == "unsteady" and len(self.calls) > 1 else -1
        if self.fault == "batch" and len(requests) == 1:
            turn = 1
        return [Order(tuple(range(len(request.documents)))[::turn]) for request in requests]


@dataclass(frozen=True)
class Says(LLM):
    """Says what it is told to."""

    model: str = "says"
    answers: tuple = field(default=(), repr=False, compare=False)
    counted: list = field(default_factory=list, init=False, repr=False, compare=False)

    async def _generate(self, prompts):
        self.counted.append(len(prompts))
        return [answer() if callable(answer) else answer for answer in self.answers * len(prompts)][: len(prompts)]


@dataclass(frozen=True)
class Loses(Part):
    """A part whose spec forgets a field."""

    size: int = field(default=1, repr=False)


def stumble():
    raise OSError("connection reset")


DOCUMENTS_BACKWARDS = DOCUMENTS[::-1]


def test_parts_that_keep_their_promises_pass():
    check_retriever(Letters())
    check_reranker(Shuffled())
    check_reranker(Listwise(Fake("<answer>[2] > [1]</answer>"), window=4, stride=2))
    check_reranker(Shuffled("unsteady"), deterministic=False)
    check_llm(Fake("<think>a thought</think>an answer"))
    check_llm(Says(answers=(Ok("yes"),)))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("index in place", "must return a copy"),
        ("shared state", r"of the first three documents|which are not among"),
        ("ids", "asked for the text of document ' a b' it finds"),
        ("nothing", "nothing found"),
        ("batch", "alone it finds|gives another order"),
        ("cut", "gives another order than the first"),
        ("exclusion after the cut", "excluded documents go before the cut at k"),
        ("odd query", "a query of a NUL and an emoji: raised RuntimeError: cannot read that"),
        ("empty collection", "index of an empty collection was accepted, where BadInput is promised"),
    ],
)
def test_a_retriever_that_breaks_a_promise_is_told(fault, text):
    with pytest.raises((ContractBroken, BadInput), match=text):
        check_retriever(Letters(fault))


def test_a_retriever_that_saves_something_else_is_told():
    with pytest.raises(ContractBroken, match="saved and opened again it finds something else"):
        check_retriever(Saved())


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("deeper", "what lies below the depth keeps its place"),
        ("excluded", "excluded never returns"),
        ("depth 0", "rerank with depth=0 was accepted"),
        ("unsteady", "a second call gave another order"),
        ("batch", "alone it gives"),
    ],
)
def test_a_reranker_that_breaks_a_promise_is_told(fault, text):
    with pytest.raises(ContractBroken, match=text):
        check_reranker(Shuffled(fault))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("yes", "neither Ok nor Failed"),
        (Failed("auth", "wrong key"), "did not answer a short question"),
        (Failed("tired", "no kind of ours"), "Failed.kind is 'tired'"),
        (Ok("</think>yes"), "still holds the thought"),
        (Ok("yes", usage=Usage(output=99)), "99 new tokens, with max_tokens=16"),
        (Ok("yes", usage=Usage(output=3, reasoning=4)), "larger than its whole"),
        (Ok("yes", finish="done"), "finish is 'done'"),
        (stumble, "raised OSError: connection reset"),
    ],
    ids=["text", "failed", "kind", "thought", "too long", "parts", "finish", "raises"],
)
def test_a_backend_that_breaks_a_promise_is_told(answer, text):
    with pytest.raises(ContractBroken, match=text):
        check_llm(Says(answers=(answer,)))


def test_a_backend_that_answers_greedily_in_two_ways_is_told():
    count = iter(range(100))
    with pytest.raises(ContractBroken, match="greedy decoding gave different answers"):
        check_llm(Says(answers=(lambda: Ok(f"answer {next(count)}"),)))


def test_a_spec_that_forgets_is_told():
    check_spec(Loses())
    with pytest.raises(ContractBroken, match="not equal to the part itself"):
        check_spec(Loses(2))


def test_a_class_without_an_importable_path_has_no_spec():
    @dataclass(frozen=True)
    class Here(Letters):
        """Lives in a function."""

    check_retriever(Here())


def test_a_broken_contract_is_an_assertion():
    assert issubclass(ContractBroken, AssertionError)
