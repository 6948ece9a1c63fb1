"""The small model that comes with whyrank: small, the same on all engines, and good at what it was made for."""

import json

import pytest
from vllm_server import serving

from whyrank import BM25, Listwise, OpenAI, Transformers, evaluate, load
from whyrank.eval import by_slice
from whyrank.llm.answer import Ok
from whyrank.llm.local import SHIPPED, located
from whyrank.llm.messages import Sampling
from whyrank.llm.thought import Budget
from whyrank.llm.vllm import VLLM
from whyrank.registry import make
from whyrank.rerank.base import statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.retrieval.rewrite import HyDE, Rewritten

BRIEF = Sampling(max_tokens=400)
TINY = Transformers("tiny", batch=16)


def prompts(n=6):
    """Lists to order with and without thought, and questions to rewrite."""
    data = load("world/lists/unseen").head(n)
    for query in data.queries:
        passages = [data.corpus[id].text for id in data.candidates[query.id].ids]
        yield from (
            format.render(query.text, passages, BRIEF) for format in (RankingFormat(), RankingFormat(think="no"))
        )
        yield HyDE(TINY, BRIEF).ask(query.text)


def test_it_is_small_and_its_card_says_how_it_was_made():
    folder = SHIPPED["tiny"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12_000_000
    assert (folder / "model.safetensors").stat().st_size < 12_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "qwen3" and "auto_map" not in config
    assert "whyrank reproduce tiny" in (folder / "README.md").read_text()


def test_its_name_is_its_spec_and_a_path_is_a_path():
    assert repr(make("transformers('tiny')")) == "transformers('tiny')"
    assert located("tiny") == str(SHIPPED["tiny"]) and located("./tiny") == "./tiny"


@pytest.mark.engines
@pytest.mark.parametrize("member", ["world/lists", "world/lists/unseen", "world/lists/composed"])
def test_it_ranks_what_it_never_saw_and_thinking_is_why(member):
    data = load(member).head(40)

    def ranked(format):
        run = Listwise(TINY, format=format, sampling=BRIEF).rerank(data.candidates, data)
        return evaluate(run, data.qrels, "nDCG@10")["nDCG@10"], run

    thinking, run = ranked(RankingFormat())
    assert thinking > 0.95
    assert thinking > ranked(RankingFormat(think="no"))[0] + 0.1
    assert statuses(run)["exact"] >= 0.95 * len(run)
    assert min(report["nDCG@10"] for report in by_slice(run, data.qrels, "nDCG@10", data.slices["hops"])) > 0.9


@pytest.mark.engines
def test_it_rewrites_and_reranks_a_search_that_words_mislead():
    data = load("world").head(20)
    found = Rewritten(BM25(), HyDE(TINY, BRIEF)).index(data.corpus).search(data.queries, 30)
    final = Listwise(TINY, sampling=BRIEF).rerank(found, data, depth=30)
    rewritten, reranked = (evaluate(run, data.qrels, "nDCG@10")["nDCG@10"] for run in (found, final))
    assert rewritten > 0.5 and reranked > 0.88


@pytest.mark.engines
def test_the_defaults_just_work():
    data = load("world/lists").head(2)
    run = Listwise(Transformers("tiny")).rerank(data.candidates, data)
    assert statuses(run)["exact"] == 2


@pytest.mark.engines
def test_greedy_answers_are_the_same_on_all_engines(vllm_installed, tmp_path):
    asked = [*prompts()]
    wanted = TINY.generate(asked)
    assert all(isinstance(one, Ok) and one.finish == "stop" for one in wanted)
    inside = VLLM("tiny", concurrency=64).generate(asked)
    with serving(located("tiny"), tmp_path / "log.txt") as server:
        behind = OpenAI(server.model, base_url=server.url).generate(asked)
    for others in (inside, behind):
        assert [(one.text.strip(), one.reasoning.strip()) for one in others] == [
            (one.text.strip(), one.reasoning.strip()) for one in wanted
        ]


@pytest.mark.engines
def test_a_budget_that_cuts_nothing_changes_nothing():
    data = load("world/lists").head(24)
    plain, budgeted = (
        Listwise(llm, sampling=BRIEF).rerank(data.candidates, data) for llm in (TINY, Budget(TINY, think=400))
    )
    assert statuses(budgeted) == statuses(plain) and statuses(plain)["exact"] == 24
    assert {query: list(ranking.ids) for query, ranking in budgeted.items()} == {
        query: list(ranking.ids) for query, ranking in plain.items()
    }
