"""What the small model does on the world: lists of all splits, and search from end to end.

python benchmarks/tiny.py [MODEL ...]     "tiny", which comes with whyrank, or folders that `whyrank reproduce` wrote
"""

import sys
from collections.abc import Iterator

import numpy as np

from whyrank import BM25, Dataset, Run, Transformers, evaluate, load
from whyrank.llm.base import Sampling
from whyrank.rerank.base import statuses
from whyrank.rerank.formats import Direct, Reasoned
from whyrank.rerank.listwise import Listwise
from whyrank.retrieval.rewrite import HyDE, Rewritten

SPLITS = ("", "/unseen", "/composed")
SHORT = Sampling(max_tokens=400)


def main(models: list[str]) -> None:
    """Print both tables."""
    print("| model | lists | nDCG@10, 95 % interval | well-formed |\n|---|---|---|---|")
    lists = {name: load(f"world/lists{name}") for name in (*SPLITS, "/sparse", "/long")}
    for name, data in lists.items():
        assert data.candidates is not None
        print(f"| shuffled | world/lists{name} | {interval(data.candidates, data)} | |")
        print(f"| BM25 | world/lists{name} | {interval(by_words(data), data)} | |")
    for model in models:
        for name, data in lists.items():
            for told, run in reranked(model, data):
                print(f"| {told} | world/lists{name} | {interval(run, data)} | {well_formed(run)} |", flush=True)
    print("\n| model | corpus | nDCG@10, 95 % interval | well-formed |\n|---|---|---|---|")
    for model in models:
        for name in SPLITS:
            data = load(f"world{name}")
            first = BM25().index(data.corpus).search(data.queries, 40)
            print(f"| BM25 | world{name} | {interval(first, data)} | |")
            found = (
                Rewritten(BM25(), HyDE(Transformers(model, batch=32), SHORT))
                .index(data.corpus)
                .search(data.queries, 40)
            )
            print(f"| {model}: BM25 on rewritten queries | world{name} | {interval(found, data)} | |", flush=True)
            for told, run in reranked(model, Dataset(data.name, data.corpus, data.queries, data.qrels, found)):
                print(f"| {told} | world{name} | {interval(run, data)} | {well_formed(run)} |", flush=True)


def reranked(model: str, data: Dataset) -> Iterator[tuple[str, Run]]:
    """The candidates as the model orders them without and with thought."""
    assert data.candidates is not None
    for told, format in (("direct", Direct()), ("reasoned", Reasoned())):
        reranker = Listwise(Transformers(model, batch=32), format=format, sampling=SHORT)
        yield f"{model}, {told}", reranker.rerank(data.candidates, data, depth=40)


def by_words(data: Dataset) -> Run:
    """The candidates by BM25 over the corpus; those without a word of the query follow."""
    assert data.candidates is not None
    found = BM25().index(data.corpus).search(data.queries, len(data.corpus))
    ranks = {query: {id: at for at, id in enumerate(found[query].ids)} for query in found}
    last = len(data.corpus)
    return Run.of(
        {id: sorted(data.candidates[id].ids, key=lambda one: ranks[id].get(one, last)) for id in data.candidates}
    )


def interval(run: Run, data: Dataset) -> str:
    """nDCG@10 with a bootstrap interval over queries."""
    values = np.array([*evaluate(run, data.qrels, "nDCG@10").per_query["nDCG@10"].values()])
    draw = np.random.default_rng(0)
    means = draw.choice(values, (10_000, len(values))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def well_formed(run: Run) -> str:
    """The share of answers that kept to the form."""
    counts = statuses(run)
    return f"{counts.get('exact', 0) / sum(counts.values()):.3f}"


if __name__ == "__main__":
    main(sys.argv[1:] or ["tiny"])
