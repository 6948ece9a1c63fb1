"""Strategies on the scheduler: a finished trace answers everything, and half of one is gone on with."""

import pytest
from one_query import best_first, shown

from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.trace import Trace
from whyrank.rerank.around.compose import Cascade, Hybrid
from whyrank.rerank.around.consensus import Consensus
from whyrank.rerank.base import Reranker, statuses
from whyrank.rerank.formats import Pair
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.rerank.strategies.pairwise import Pairwise
from whyrank.rerank.strategies.pointwise import Pointwise
from whyrank.testing import DOCUMENTS, QUERIES
from whyrank.types import Corpus, Dataset, Run

DATA = Dataset("check", Corpus(DOCUMENTS), QUERIES)
FIRST = Run.of({query.id: [document.id for document in DOCUMENTS] for query in QUERIES})
WARM = Sampling(temperature=0.6)


def longest(prompt: Prompt) -> str:
    """Likes long passages; of two alike the first, and every third grade cannot be read."""
    lengths = [len(text) for text in shown(prompt)]
    if len(lengths) == 1:
        return f"<score>{min(lengths[0], 100)}</score>" if (lengths[0] + prompt.sample) % 3 else "<score>?</score>"
    if len(lengths) == 2 and "Passage A" in prompt.chat[1]["content"]:
        return "A" if lengths[0] >= lengths[1] else "B"
    return "<answer>" + " > ".join(f"[{at + 1}]" for at in best_first(lengths)) + "</answer>"


LLM = Fake(longest)
STRATEGIES = [
    Pointwise(LLM, refine=4, refine_samples=3, sampling=WARM),
    Pairwise(LLM, "heapsort", 4, format=Pair()),
    Pairwise(LLM, "sliding", 4, format=Pair()),
    Consensus(LLM, 3),
    Adaptive(LLM, 3, 6, 4, min_uncertain=2),
    Cascade(Hybrid(Pointwise(LLM)), Adaptive(LLM, 2, window=3), depths=(12, 8)),
]


@pytest.mark.parametrize("reranker", STRATEGIES, ids=lambda part: repr(part).split("(")[0])
def test_what_is_in_the_trace_is_not_asked_again(reranker: Reranker, tmp_path):
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        whole = reranker.rerank(FIRST, DATA, trace=trace)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    with Trace(path) as trace:
        resumed = reranker.rerank(FIRST, DATA, trace=trace)
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(lines)
    assert resumed == whole and resumed.notes == whole.notes
    counted = statuses(whole)
    assert sum(counted.values()) == sum(len(note.calls) for note in whole.notes.values()) > 0
    assert counted["failed"] == counted["truncated"] == 0
