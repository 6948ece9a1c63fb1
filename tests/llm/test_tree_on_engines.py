"""Hierarchical search on real engines: MiniLM clusters, a tiny model writes the summaries and walks."""

import pytest

from whyrank import VLLM, Sampling, Transformers, Tree, load
from whyrank.experiment import search
from whyrank.retrieval.tree.summaries import Written

pytestmark = pytest.mark.engines


@pytest.fixture(params=["transformers", "vllm"])
def llm(request, tiny_lm):
    return Transformers(str(tiny_lm)) if request.param == "transformers" else request.getfixturevalue("in_process")


def test_a_model_that_babbles_breaks_and_loses_nothing(llm, tmp_path):
    asked, data = Sampling(max_tokens=32), load("toy").head(2)
    tree = Tree(llm, path=str(tmp_path / "idx"), summaries=Written(llm, asked), iterations=3, sampling=asked)
    result = search(tree, data, tmp_path / "run", k=20)
    calls = result.report["calls"]
    assert calls["failed"] == 0 and sum(calls.values()) == result.report["ledger"]["calls"] > 2
    assert all(len(result.run[query.id].ids) > 0 for query in data.queries)
    opened = Tree.open(tmp_path / "idx", llm, summaries=tree.summaries)
    assert opened == tree and isinstance(opened.llm, VLLM | Transformers)
    assert opened.search(data.queries, k=20) == result.run
    again = search(tree, data, tmp_path / "run", k=20).run
    assert all(list(again[query.id].ids) == list(result.run[query.id].ids) for query in data.queries)
