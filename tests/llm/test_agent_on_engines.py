"""The search agent on real engines, with a tiny model that has never heard of such a task."""

from pathlib import Path

import pytest

from whyrank.llm.messages import Sampling
from whyrank.llm.trace import Trace
from whyrank.llm.transformers import Transformers
from whyrank.llm.vllm import VLLM
from whyrank.retrieval.agentic.agent import Agentic
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.testing import DOCUMENTS, QUERIES

pytestmark = pytest.mark.engines
SEARCH = BM25(threads=1)


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_model_that_does_not_keep_to_the_form_loses_nothing(
    engine: str, request: pytest.FixtureRequest, tiny_lm: Path
):
    llm = request.getfixturevalue("in_process") if engine == "vllm" else Transformers(str(tiny_lm), device="cpu")
    assert isinstance(llm, VLLM | Transformers)
    agent = Agentic(SEARCH, llm, per_query=2, max_passage_tokens=16, sampling=Sampling(max_tokens=24)).index(DOCUMENTS)
    trace = Trace()
    run, plain = agent.search(QUERIES, 12, trace), SEARCH.index(DOCUMENTS).search(QUERIES, 12)
    assert {id: sorted(run[id].ids) for id in run} == {id: sorted(plain[id].ids) for id in plain}
    calls = [call for note in run.notes.values() for call in note.calls]
    assert len(calls) >= 2 * len(QUERIES) and {call.status for call in calls} <= {"no_answer", "truncated"}
    asked = trace.ledger.total.calls
    assert agent.search(QUERIES, 12, trace) == run and trace.ledger.total.calls == asked
