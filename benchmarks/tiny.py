"""What the small model does on the world: lists of all splits, and search from end to end.

    python benchmarks/tiny.py [MODEL ...] [--formats direct reasoned] [--corpora world world/unseen world/composed]

A MODEL is "tiny", which comes with whyrank, or the `model` of a folder that `whyrank reproduce` wrote.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from whyrank import BM25, Dataset, Run, Transformers, evaluate, load
from whyrank.llm.messages import Sampling
from whyrank.rerank.base import statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.rewrite import HyDE, Rewritten

LISTS = tuple(f"world/lists{name}" for name in ("", "/unseen", "/composed", "/sparse", "/long"))
CORPORA = ("world", "world/unseen", "world/composed")
FORMATS = {"direct": RankingFormat(think="no"), "reasoned": RankingFormat()}
SHORT = Sampling(max_tokens=400)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny"])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--corpora", nargs="*", default=list(CORPORA), choices=list(CORPORA))
    asked = parser.parse_args()
    print("| model | lists | nDCG@10, 95 % interval | well-formed |\n|---|---|---|---|")
    lists = {name: load(name) for name in LISTS}
    for name, data in lists.items():
        assert data.candidates is not None
        print(f"| shuffled | {name} | {interval(data.candidates, data)} | |")
        print(f"| BM25 | {name} | {interval(by_words(data), data)} | |")
    for model in asked.models:
        for name, data in lists.items():
            for told, run in reranked(model, data, asked.formats):
                print(f"| {told} | {name} | {interval(run, data)} | {well_formed(run)} |", flush=True)
    print("\n| model | corpus | nDCG@10, 95 % interval | well-formed |\n|---|---|---|---|")
    for model in asked.models:
        for name in asked.corpora:
            data = load(name)
            first = BM25().index(data.corpus).search(data.queries, 40)
            print(f"| BM25 | {name} | {interval(first, data)} | |")
            rewriter = HyDE(Transformers(model, batch=32), SHORT)
            found = Rewritten(BM25(), rewriter).index(data.corpus).search(data.queries, 40)
            print(f"| {model}: BM25 on rewritten queries | {name} | {interval(found, data)} | |", flush=True)
            searched = Dataset(data.name, data.corpus, data.queries, data.qrels, found)
            for told, run in reranked(model, searched, asked.formats):
                print(f"| {told} | {name} | {interval(run, data)} | {well_formed(run)} |", flush=True)


def reranked(model: str, data: Dataset, formats: Sequence[str]) -> Iterator[tuple[str, Run]]:
    """The candidates as the model orders them without and with thought."""
    assert data.candidates is not None
    for told in formats:
        reranker = Listwise(Transformers(model, batch=32), format=FORMATS[told], sampling=SHORT)
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
    main()
