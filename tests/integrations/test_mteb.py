import pytest

mteb = pytest.importorskip("mteb", reason="group serve-frameworks is not installed")
datasets = pytest.importorskip("datasets")

from whyrank import BM25, Fake, Listwise, evaluate, load  # noqa: E402 (after the framework is known to be there)
from whyrank.errors import BadInput  # noqa: E402
from whyrank.integrations.mteb import WhyrankModel  # noqa: E402

DATA = load("toy")


def task():
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Toy(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="WhyrankToy",
            description="A task in memory.",
            dataset={"path": "none", "revision": "none"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *given, **named):
            rows = [{"id": one.id, "text": one.text, "title": one.title} for one in DATA.corpus]
            asked = [{"id": query.id, "text": query.text} for query in DATA.queries]
            judged = {id: {doc: int(grade) for doc, grade in DATA.qrels[id].items()} for id in DATA.qrels}
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": datasets.Dataset.from_list(rows),
                        "queries": datasets.Dataset.from_list(asked),
                        "relevant_docs": judged,
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    return Toy()


@pytest.mark.parametrize("reranker", [None, Listwise(Fake("<answer>[2] > [1]</answer>"), window=2, stride=1)])
def test_mteb_finds_what_evaluate_finds(reranker):
    run = BM25().index(DATA.corpus).search(DATA.queries, 1000)
    run = run if reranker is None else reranker.rerank(run, DATA, 100)
    ours = evaluate(run, DATA.qrels, ["nDCG@10"])["nDCG@10"]
    model = WhyrankModel(BM25(), reranker)
    result = mteb.evaluate(model, task(), cache=None, overwrite_strategy="always")
    theirs = result.task_results[0].scores["test"][0]["ndcg_at_10"]
    assert theirs == pytest.approx(ours, abs=5e-5)


def test_a_model_of_nothing():
    with pytest.raises(BadInput, match="a retriever, a reranker, or both"):
        WhyrankModel()
