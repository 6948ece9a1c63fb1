"""A MiniLM cross-encoder trained on a few hundred queries: BM25 reranked, against BM25 and against MiniLM's cosine.

    WHYRANK_DATA=… python benchmarks/train_encoder.py [--data beir/scifact] [--losses listmle plackett_luce]
        [--seeds 0 1 2] [--depth 100] [-o table.md] [--folder runs/train-encoder]

Every run is kept in the folder: a killed one goes on where it stopped, and a finished one is only read. Two commands
with one loss each, with OMP_NUM_THREADS=1, are faster than one with both.

Of the train queries some are held out; how much BM25 counts in a hybrid is chosen on those, and nothing at all on the
test queries. A hybrid is the weighted sum of min–max scores over the candidates, as `hybrid(…, norm='minmax')` has it.
Intervals are paired bootstraps over queries, for the mean of several seeds too; p of the paired randomisation test
after Holm's correction.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from whyrank import BM25, Dataset, Fusion, Run, compare, evaluate, experiment, load
from whyrank.eval import Report
from whyrank.io import write_tasks
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.train import encoders
from whyrank.train.config import Loop, Optimizer
from whyrank.train.lists import RankedLists, mined
from whyrank.train.scoring import Loss
from whyrank.types import Ranking

HEAD = ("run", "nDCG@10", "Δ to BM25, 95 % interval", "p", "Δ to MiniLM cosine, 95 % interval", "p")


def main() -> None:
    """Search, train, rerank, fuse, evaluate, print."""
    options = arguments()
    data, train = load(options.data), load(options.data, split="train")
    bm25 = BM25().index(data.corpus)
    first = bm25.search(data.queries, options.depth)
    asked = [query for query in train.queries if query.id in train.qrels]
    order = np.random.default_rng(0).permutation(len(asked))[: options.queries + options.held_out]
    dev, rest = ([asked[at] for at in part] for part in np.split(order, [options.held_out]))
    learnt = write(bm25.search(rest, options.candidates), train, options.folder / "train.jsonl", True)
    first_dev = bm25.search(dev, options.dev_depth)
    held = write(first_dev, train, options.folder / "dev.jsonl", False)
    pairs = {"dev": (first_dev, train), "test": (first, data)}

    def both(reranker: EncoderRerank, name: str) -> dict[str, Run]:
        """The runs on both sets of queries: all of the candidates, scored."""
        return {
            side: scored(*each, reranker, options.folder / f"{name}-{side}", options) for side, each in pairs.items()
        }

    settings = [config(options, loss, seed, learnt, held) for loss in options.losses for seed in options.seeds]
    found = {f"cross-encoder, {one.loss}, seed {one.seed}": encoders.train(one) for one in settings}
    runs = {"BM25": first}
    add(runs, "MiniLM cosine", both(EncoderRerank("minilm", max_length=options.cosine_length), "minilm"), pairs)
    for name, trained in found.items():
        add(runs, name, both(EncoderRerank(str(trained.model)), trained.folder.name), pairs)
    report([evaluate(run.named(title), data.qrels, ["nDCG@10"]) for title, run in runs.items()], options.out)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="beir/scifact")
    parser.add_argument("--losses", nargs="+", default=["listmle", "plackett_luce"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--head", default="cosine", choices=("cosine", "linear"))
    parser.add_argument("--depth", type=int, default=100, help="candidates of each test query that are reranked")
    parser.add_argument("--candidates", type=int, default=50, help="from which hard negatives are drawn")
    parser.add_argument("--queries", type=int, default=700, help="to learn from")
    parser.add_argument("--held-out", type=int, default=100, help="train queries on which hybrids are tuned")
    parser.add_argument("--dev-depth", type=int, default=30)
    parser.add_argument("--size", type=int, default=8, help="documents of a list in training")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--frozen", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--cosine-length", type=int, help="of MiniLM's cosine; its own bound is 256")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--folder", type=Path, default=Path("runs/train-encoder"))
    parser.add_argument("-o", "--out", type=Path, help="write the table to this file too")
    return parser.parse_args()


def config(options: argparse.Namespace, loss: Loss, seed: int, learnt: str, held: str) -> encoders.Encoder:
    """One training run."""
    return encoders.Encoder(
        str(options.folder / f"{options.head}-{loss}-{seed}"),
        (RankedLists(tasks=learnt),),
        head=options.head,
        loss=loss,
        size=options.size,
        epochs=options.epochs,
        max_length=options.max_length,
        frozen=options.frozen,
        held_out=RankedLists(tasks=held),
        every=10_000,
        optimizer=Optimizer(lr=options.lr, schedule="linear", warmup=0.1),
        loop=Loop(batch=4, threads=1, bf16=options.bf16, log_every=10, checkpoint_every=25, keep=1, report_to=()),
        seed=seed,
    )


def write(run: Run, data: Dataset, path: Path, add_relevant: bool) -> str:
    """The candidates of a run as a file of lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tasks(mined(data, run, depth=1000, add_relevant=add_relevant), path)
    return str(path)


def scored(run: Run, data: Dataset, reranker: EncoderRerank, out: Path, options: argparse.Namespace) -> Run:
    """The reranked run with the reranker's own scores."""
    import torch

    out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with torch.autocast("cpu", torch.bfloat16) if options.bf16 else nullcontext():
        depth = max(map(len, run.to_dict().values()))
        notes = experiment.rerank(first_of(run, out), reranker, data, out, depth).run.notes
    scores = {
        query: {id: score for id, score in note.scores.items() if score is not None} for query, note in notes.items()
    }
    return Run.of({query: ranking(some) for query, some in scores.items()})


def first_of(run: Run, out: Path) -> Path:
    """The first stage as a file beside the reranked run."""
    from whyrank.io import write_run

    path = out.parent / f"{out.name}.first.trec"
    if not path.exists():
        write_run(run, path)
    return path


def ranking(scores: Mapping[str, float]) -> Ranking:
    """Documents by score."""
    ids = sorted(scores, key=lambda id: -scores[id])
    return Ranking(ids, np.array([scores[id] for id in ids], dtype=np.float64))


def add(runs: dict[str, Run], name: str, found: Mapping[str, Run], pairs: Mapping[str, tuple[Run, Dataset]]) -> None:
    """Take up a reranked run, and its hybrid with BM25, weighted on the held-out queries."""
    first, train = pairs["dev"]
    judged = {query: train.qrels[query] for query in first}
    fusion = Fusion(method="combsum").tuned([first, found["dev"]], partial(quality, qrels=judged))
    runs[name] = found["test"]
    runs[f"hybrid: BM25 {fusion.weights[0]:.2f}, {name}"] = fusion.of([pairs["test"][0], found["test"]])


def quality(run: Run, qrels: Mapping[str, Mapping[str, float]]) -> float:
    """What the weights are tuned for."""
    return evaluate(run.top(10), qrels, "nDCG@10")["nDCG@10"]


def report(reports: Sequence[Report], out: Path | None) -> None:
    """Print the table, and write it."""
    bases = [{one.run: one for one in compare(reports, base).contrasts} for base in ("BM25", "MiniLM cosine")]
    lines = [row(HEAD), row(["---"] * len(HEAD))]
    for one in reports:
        cells = [one.name, f"{one['nDCG@10']:.4f}"]
        for against in (base.get(one.name) for base in bases):
            cells += (
                [f"{against.difference:+.4f} [{against.low:+.4f}, {against.high:+.4f}]", f"{against.p_holm:.4f}"]
                if against
                else ["", ""]
            )
        lines.append(row(cells))
    lines += means(reports)
    print("\n".join(lines), flush=True)
    if out:
        out.write_text("\n".join(lines) + "\n")


def means(reports: Sequence[Report]) -> Iterator[str]:
    """What was trained with several seeds: the mean, ± the standard deviation over seeds, and the mean's intervals."""
    named: dict[str, list[Report]] = {}
    for one in reports:
        kind, seed, _ = re.sub(r" \d\.\d+,", ",", one.name).partition(", seed ")
        named.setdefault(kind if seed else "", []).append(one)
    values = {one.name: np.array([*one.per_query["nDCG@10"].values()]) for one in reports}
    for kind, found in named.items():
        if kind and len(found) > 1:
            of_seeds = np.array([values[one.name] for one in found])
            cells = [f"{kind}, {len(found)} seeds", f"{of_seeds.mean():.4f} ± {of_seeds.mean(1).std(ddof=1):.4f}"]
            for base in ("BM25", "MiniLM cosine"):
                gain = of_seeds.mean(0) - values[base]
                drawn = gain[np.random.default_rng(0).integers(0, len(gain), (10_000, len(gain)))].mean(1)
                low, high = np.quantile(drawn, [0.025, 0.975])
                cells += [f"{gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]", ""]
            yield row(cells)


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
