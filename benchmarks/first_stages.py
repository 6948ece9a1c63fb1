"""First stages on five collections: BM25, BM25Q, RM3, MiniLM and two fusions of BM25 and MiniLM, tested over queries.

    WHYRANK_DATA=… python benchmarks/first_stages.py [--vectors DIR] [--collections scifact …] [-o table.md]

Prints a table in Markdown, each collection as soon as it is done. Encoding all five took MiniLM 25 minutes on two
busy cores; the vectors stay in DIR, so a second run takes a few minutes, and a killed one goes on where it stopped.

"tuned" is the weighted sum of min-max scores (CombSUM), its weights chosen for nDCG@10 on other queries than the ones
that it is evaluated on: those of a dev or train split where the collection has one, else by cross-validation, in which
each fifth of the test queries is fused with the weights that are best for the other four fifths.

p values are of the paired randomisation test for nDCG@10, after Holm's correction within a collection and for both
measures; a star says that R@100 differs from BM25's at the level of 5 %.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from whyrank import BM25, Dense, Fusion, Retriever, Run, compare, evaluate, load
from whyrank.eval import Report
from whyrank.retrieval.around.feedback import RM3
from whyrank.retrieval.lexical.bm25 import BM25Q
from whyrank.types import Ranking

COLLECTIONS = ("scifact", "nfcorpus", "cacm", "cranfield", "vaswani")
TUNED_ON = {"scifact": "train", "nfcorpus": "dev"}
FOLDS = 5
DEPTH = 1000
MEASURES = ("nDCG@10", "R@100")
LEVEL = 0.05
HEAD = ("collection", "run", "nDCG@10", "Δ to BM25, 95 % interval", "p, to BM25", "p, to MiniLM", "R@100")

Grades = Mapping[str, Mapping[str, float]]


def main() -> None:
    """Search, fuse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=Path(".cache/vectors"), help="where the dense indexes are kept")
    parser.add_argument("--collections", nargs="+", default=list(COLLECTIONS), choices=COLLECTIONS, metavar="NAME")
    parser.add_argument("-o", "--out", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    lines = []
    for line in [row(HEAD), row(["---"] * len(HEAD))]:
        print(line)
        lines.append(line)
    for name in options.collections:
        for line in measured(name, options.vectors):
            print(line, flush=True)
            lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def measured(name: str, vectors: Path) -> list[str]:
    """The lines of one collection."""
    data = load(f"beir/{name}")
    bm25 = BM25().index(data.corpus)
    dense = Dense("minilm", path=str(vectors / name)).index(data.corpus)
    alone: dict[str, Retriever] = {"BM25": bm25, "BM25Q": BM25Q().index(data.corpus), "RM3": RM3(bm25), "MiniLM": dense}
    runs = {title: part.search(data.queries, DEPTH) for title, part in alone.items()}
    pair = [runs["BM25"], runs["MiniLM"]]
    if split := TUNED_ON.get(name):
        other = load(f"beir/{name}", split=split)
        fitted = fit([part.search(other.queries, DEPTH) for part in (bm25, dense)], other.qrels)
        tuned, weights = fitted.of(pair), [fitted.weights]
    else:
        tuned, weights = cross_validated(pair, data.qrels)
    how = f"on {split}" if split else f"in {FOLDS} folds"
    runs |= {"RRF": Fusion().of(pair), f"tuned {how}: {spelt(weights)}": tuned}
    return rows(name, [evaluate(run.named(title), data.qrels, MEASURES) for title, run in runs.items()])


def fit(runs: Sequence[Run], qrels: Grades) -> Fusion:
    """The weighted sum that ranks these queries best."""
    return Fusion(method="combsum").tuned(runs, partial(quality, qrels=qrels))


def quality(run: Run, qrels: Grades) -> float:
    """What the weights are tuned for."""
    return evaluate(run.top(10), qrels, "nDCG@10")["nDCG@10"]


def cross_validated(runs: Sequence[Run], qrels: Grades) -> tuple[Run, list[tuple[float, ...]]]:
    """Each fold fused with the weights that suit the other folds best, as one run; and those weights."""
    queries, fused, weights = list(qrels), dict[str, Ranking](), []
    for fold in range(FOLDS):
        held = set(queries[fold::FOLDS])
        rest = set(queries) - held
        fitted = fit([run.only(rest) for run in runs], {query: qrels[query] for query in rest})
        fused |= fitted.of([run.only(held) for run in runs])
        weights.append(fitted.weights)
    return Run.of(fused), weights


def spelt(weights: Sequence[tuple[float, ...]]) -> str:
    """BM25's weight, the lowest and the highest of the folds; MiniLM has the rest."""
    low, high = (f"{share:.2f}".lstrip("0") for share in (min(weights)[0], max(weights)[0]))
    return f"BM25 {low}" if low == high else f"BM25 {low} to {high}"


def rows(name: str, reports: Sequence[Report]) -> list[str]:
    """A line for each run."""
    base, *others = reports
    lexical = {(one.run, one.measure): one for one in compare(reports, "BM25").contrasts}
    fusions = [report for report in others if report.name not in {"BM25Q", "RM3"}]
    dense = {(one.run, one.measure): one for one in compare(fusions, "MiniLM").contrasts}
    lines = [
        [f"{name}, {len(base.queries)} queries", "BM25", f"{base['nDCG@10']:.4f}", "", "", "", f"{base['R@100']:.4f}"]
    ]
    for report in others:
        ndcg, recall = (lexical[report.name, measure] for measure in MEASURES)
        against = dense.get((report.name, "nDCG@10"))
        tests = [f"{ndcg.p_holm:.4f}", f"{against.p_holm:.4f}" if against else ""]
        difference = f"{ndcg.difference:+.4f} [{ndcg.low:+.4f}, {ndcg.high:+.4f}]"
        found = f"{recall.mean:.4f}{'*' if recall.p_holm < LEVEL else ''}"
        lines.append(["", report.name, f"{ndcg.mean:.4f}", difference, *tests, found])
    return [row(line) for line in lines]


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
