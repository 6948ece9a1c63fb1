"""Published runs scored by whyrank: TREC DL 2019 and 2020; BRIGHT's twelve tasks, alone and fused, and their mean.

    WHYRANK_DATA=… python benchmarks/published_runs.py

Needs trec_dl/ and bright/ under a data root, with the runs beside them (`rankvicuna-7b.dl19.trec`, `runs/…`).
"""

from pathlib import Path

from whyrank import Fusion, evaluate, load, read_run
from whyrank.datasets import roots
from whyrank.datasets.bright import TASKS
from whyrank.errors import NotFound

BRIGHT = {"xrr2_expand_bm25": "json", "reasonir_gpt4cot": "trec"}
FUSIONS = (
    Fusion(),
    Fusion(method="combsum"),
    Fusion(method="combsum", norm="zscore"),
    Fusion(method="combmnz"),
)
TREC_DL = ("rankgpt-gpt3.5", "rankvicuna-7b")


def find(name: str) -> Path:
    """The file `name` under the first data root that has it."""
    for root in roots():
        if (root / name).is_file():
            return root / name
    raise NotFound(f"no {name} under {', '.join(map(str, roots()))}")


def main() -> None:
    """Print nDCG@10 of each run."""
    for year in ("dl19", "dl20"):
        data = load(f"trec_dl/{year}")
        if data.candidates is not None:
            print(f"{year} bm25 top 100: {evaluate(data.candidates, data.qrels, 'nDCG@10')['nDCG@10']:.4f}")
        for name in TREC_DL:
            run = read_run(find(f"trec_dl/{name}.{year}.trec"))
            print(f"{year} {name}: {evaluate(run, data.qrels, 'nDCG@10')['nDCG@10']:.4f}")
    print("\nbright, nDCG@10 x 100: mean |", " | ".join(TASKS))
    for name, values in by_task().items():
        print(f"{name}: {100 * sum(values) / len(values):.2f} |", " | ".join(f"{100 * value:.1f}" for value in values))


def by_task() -> dict[str, list[float]]:
    """nDCG@10 on each task of BRIGHT: of each run, and of both fused with equal weights."""
    scores: dict[str, list[float]] = {}
    for task in TASKS:
        data = load(f"bright/{task}")
        files = {name: find(f"bright/runs/{name}/{task}.{ending}") for name, ending in BRIGHT.items()}
        runs = {name: read_run(path).without(data.queries) for name, path in files.items()}
        both = list(runs.values())
        for name, run in (runs | {repr(fusion): fusion.of(both) for fusion in FUSIONS}).items():
            scores.setdefault(name, []).append(evaluate(run, data.qrels, "nDCG@10")["nDCG@10"])
    return scores


if __name__ == "__main__":
    main()
