"""Grades, probabilities and pairs from real engines: a model that babbles loses nothing and is counted."""

import pytest

from whyrank import Cascade, Pairwise, Pointwise, Sampling, Transformers, load
from whyrank.formats import Rubric, YesNo
from whyrank.rerank.base import statuses
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.types import Run

pytestmark = pytest.mark.engines

SHORT = Sampling(max_tokens=8)
SETTINGS = {"sampling": SHORT, "max_passage_tokens": 24}


@pytest.fixture(params=["transformers", "vllm"])
def llm(request, tiny_lm):
    return Transformers(str(tiny_lm)) if request.param == "transformers" else request.getfixturevalue("in_process")


def test_babble_loses_nothing(llm):
    data = load("toy").head(2)
    ids = [document.id for document in data.corpus][:6]
    first = Run.of({query.id: ids for query in data.queries})
    for part in (
        Pointwise(llm, format=Rubric("no", top=10, weighted=True), **SETTINGS),
        Pointwise(llm, format=YesNo(), **SETTINGS),
        Pairwise(llm, k=2, **SETTINGS),
        Cascade(Adaptive(llm, window=3, calls=3, **SETTINGS), Pointwise(llm, retries=0, **SETTINGS), depths=(6, 3)),
    ):
        run = part.rerank(first, data)
        assert {query: sorted(run[query].ids) for query in run} == dict.fromkeys(first, sorted(ids))
        assert statuses(run)["failed"] == 0 and sum(statuses(run).values()) >= 2 * 3
