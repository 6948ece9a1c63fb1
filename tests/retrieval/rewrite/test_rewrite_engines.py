"""Rewriting on real engines, with the tiny language model: it answers a question about bees with a ranking of three."""

import pytest
import tiny

from whyrank import BM25, LLM, Document, Query, Sampling, Trace, Transformers
from whyrank.retrieval.rewrite import HyDE, LameR, ReasonedQuery, Rewritten, SubQueries, ThinkQE, outcomes

pytestmark = pytest.mark.engines

DOCUMENTS = [
    Document("d0", "bees [2] dance [1] in the hive [3]"),
    Document("d1", "birds read the sun and the stars"),
    Document("d2", "the moon pulls at the water, and 2 tides rise"),
]
QUERIES = [Query("q1", "why do bees dance in the rain?"), Query("q2", "the moon and birds")]
SHORT = Sampling(max_tokens=48)


@pytest.fixture(params=["transformers", "vllm"])
def llm(request, tiny_lm) -> LLM:
    if request.param == "vllm":
        return request.getfixturevalue("in_process")
    return Transformers(str(tiny_lm), device="cpu")


@pytest.mark.parametrize("kind", [HyDE, LameR, SubQueries, ThinkQE])
def test_rewriters_run_on_an_engine(llm, kind, tmp_path):
    part = Rewritten(BM25(), kind(llm, sampling=SHORT)).index(DOCUMENTS)
    with Trace(tmp_path / "trace.jsonl") as trace:
        run = part.search(QUERIES, trace=trace)
        calls = trace.ledger.total.calls
    notes = [run.notes[query.id] for query in QUERIES]
    assert calls == len(QUERIES) * (6 if kind is ThinkQE else 1) == sum(len(note.calls) for note in notes)
    assert outcomes(run)["rewritten"] + outcomes(run)["fell_back"] == 2
    for note in notes:
        assert not any("<" in text or "think" in text for text in note.rewritten)
    with Trace(tmp_path / "trace.jsonl") as trace:
        assert part.search(QUERIES, trace=trace) == run
        assert trace.ledger.total.calls == calls


def test_what_the_model_has_learnt_is_searched(llm):
    rewriter = ReasonedQuery(llm, sampling=SHORT, template="why do {query} come home?")
    run = Rewritten(BM25(), rewriter).index(DOCUMENTS).search([Query("q", "bees")])
    told = tiny.answer("bees")
    assert run.notes["q"].rewritten == (told.text.removeprefix("<answer>").removesuffix("</answer>"),)
    (call,) = run.notes["q"].calls
    assert (call.status, call.finish, call.thought) == ("exact", "stop", told.reasoning) and call.usage.output > 0
    assert run["q"].ids == ["d0", "d2"]
