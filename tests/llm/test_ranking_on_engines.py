"""The main job on real engines: the same model ranks the same through transformers, vLLM and vLLM's server."""

import pytest

from whyrank import Listwise, OpenAI, Sampling, Transformers, load, read_run
from whyrank.experiment import rerank, search
from whyrank.formats import RankingFormat
from whyrank.retrieval.lexical.bm25 import BM25

pytestmark = pytest.mark.engines

DOCS = ["Honey is sweet.", "A waggle tells the way.", "Ants leave trails."]
ASKED = Sampling(max_tokens=64)


@pytest.fixture(params=["transformers", "vllm", "server"])
def llm(request, tiny_lm):
    if request.param == "transformers":
        return Transformers(str(tiny_lm))
    if request.param == "vllm":
        return request.getfixturevalue("in_process")
    server = request.getfixturevalue("server")
    return OpenAI(server.model, base_url=server.url)


@pytest.mark.parametrize(
    ("query", "order", "reason"),
    [
        ("why do bees dance?", [1, 0, 2], "bees dance in the hive"),
        ("how do birds find the way?", [2, 1, 0], "birds read the sun and the stars"),
    ],
)
def test_a_model_ranks_and_says_why(llm, query, order, reason):
    ranked = Listwise(llm, format=RankingFormat(think="no"), sampling=ASKED).rank(query, DOCS)
    assert [item.index for item in ranked] == order
    assert ranked.reason == reason
    assert ranked.statuses["failed"] == ranked.statuses["no_answer"] == 0


def test_a_run_of_babble_loses_nothing(llm, tmp_path):
    data = load("toy").head(4)
    first = search(BM25(), data, tmp_path / "bm25", k=12)
    spec = Listwise(llm, window=6, sampling=ASKED, max_passage_tokens=24)
    result = rerank(first.folder, spec, data, tmp_path / "out", depth=12)
    assert sum(result.report["calls"].values()) == result.report["ledger"]["calls"] == 4 * 3
    assert result.report["calls"]["failed"] == 0
    before, after = read_run(tmp_path / "bm25" / "run.trec"), read_run(tmp_path / "out" / "run.trec")
    assert {query: set(before[query].ids) for query in before} == {query: set(after[query].ids) for query in after}
