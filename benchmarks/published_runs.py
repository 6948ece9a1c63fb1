"""Published runs scored by whyrank: TREC DL 2019 and 2020, and BRIGHT's twelve tasks with their macro average.

    WHYRANK_DATA=… python benchmarks/published_runs.py

Needs trec_dl/ and bright/ under a data root, with the runs beside them (`rankvicuna-7b.dl19.trec`, `runs/…`).
"""

from pathlib import Path

from whyrank import evaluate, load, read_run
from whyrank.datasets import roots
from whyrank.datasets.bright import TASKS
from whyrank.errors import NotFound

BRIGHT = {"xrr2_expand_bm25": "json", "reasonir_gpt4cot": "trec"}
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
    for name, ending in BRIGHT.items():
        scores = [
            evaluate(read_run(find(f"bright/runs/{name}/{task}.{ending}")), load(f"bright/{task}").qrels, "nDCG@10")
            for task in TASKS
        ]
        each = ", ".join(f"{task} {report['nDCG@10']:.3f}" for task, report in zip(TASKS, scores, strict=True))
        print(f"bright {name}: macro mean {sum(report['nDCG@10'] for report in scores) / len(TASKS):.4f} ({each})")


if __name__ == "__main__":
    main()
