"""What GRPO with BM25 in the loop adds to a half-taught rewriter of the world, with a control of shuffled labels.

    python benchmarks/grpo_rewriter.py RUN [--arms gain control] [--seeds 0 1 2] [-o table.md]

RUN is the folder of `whyrank reproduce tiny`; its model after some hundred steps is where all arms start. A rewritten
query is worth what BM25 finds with it, nDCG@10 over the corpus of the world, less what BM25 finds with the question
(TongSearch's and LESER's way, with the measure itself as the reward). The control is paid for finding what answers
another question. Measured is on questions that training never asked, as drawn in training (temperature 1) and greedily.

Run folders are gone on with: a killed command resumes, and a finished one only reads.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from grpo_world import Measured, kept, parser_of, table

from whyrank import BM25, Dataset, Transformers, evaluate, load
from whyrank.io import write_tasks
from whyrank.llm.messages import Sampling
from whyrank.retrieval.rewrite import HyDE, Rewritten
from whyrank.train import grpo
from whyrank.train.config import GRPO, Loop, Model, Optimizer, Rewarded
from whyrank.train.draws import search_tasks
from whyrank.types import RankTask

CORPORA = ("world", "world/unseen", "world/composed")
TOKENS = 120


def main() -> None:
    """Train each arm, measure, print."""
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    train_set = load("world", split="train")
    index = asked.out / "index"
    if not index.exists():
        BM25(str(index)).index(train_set.corpus)
    tasks = [*islice(search_tasks(train_set), 2000)]
    files = {"gain": asked.out / "queries.jsonl", "control": asked.out / "shuffled.jsonl"}
    write_tasks(tasks, files["gain"])
    write_tasks(swapped(tasks), files["control"])
    start = asked.run / "sft" / "checkpoints" / f"checkpoint-{asked.checkpoint}"
    models = {arm: [train(asked, start, arm, seed, files[arm], index) for seed in asked.seeds] for arm in asked.arms}
    head = ("questions", "trained for", "drawn: nDCG@10", "well-formed", "greedy: nDCG@10", "well-formed")
    held_out = {name: partial(measured, data=load(name).head(asked.queries), out=asked.out) for name in CORPORA}
    table(head, held_out, {"(start)": [start], **models}, asked.table)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, ["gain", "control"], checkpoint=200, steps=200, lr=3e-4, out="runs/grpo-rewriter")
    parser.add_argument("--queries", type=int, default=200, help="held-out questions of each corpus")
    return parser.parse_args()


def swapped(tasks: Sequence[RankTask]) -> Iterator[RankTask]:
    """The tasks, each with what answers another question."""
    others = random.Random(0).sample(tasks, len(tasks))
    for task, other in zip(tasks, others, strict=True):
        yield replace(other, query=task.query)


def train(asked: argparse.Namespace, start: Path, arm: str, seed: int, tasks: Path, index: Path) -> Path:
    """The model of one arm."""
    return grpo.train(
        GRPO(
            output=str(asked.out / f"{arm}-{seed}"),
            model=Model(str(start)),
            tasks=(str(tasks),),
            search=f"rewritten(bm25(path={str(index)!r}), hyde(fake()))",
            rewards=(Rewarded(f"measure_gain(bm25(path={str(index)!r}), k=10)"),),
            steps=asked.steps,
            max_completion=TOKENS,
            optimizer=Optimizer(lr=asked.lr, schedule="linear", warmup=0.1),
            loop=Loop(batch=64, threads=1, checkpoint_every=25, log_every=1, report_to=()),
            seed=seed,
        )
    ).model


def measured(model: Path, data: Dataset, out: Path) -> Measured:
    """By question: nDCG@10 over the corpus and the share in the right form, drawn and greedy; kept in a file."""
    folder = model.parent if model.name == "model" else out / f"start-{model.name.rpartition('-')[2]}"

    def measure() -> Measured:
        values: dict[str, Sequence[float]] = {}
        for told, temperature in (("drawn", 1.0), ("greedy", 0.0)):
            rewriter = HyDE(Transformers(str(model), batch=50), Sampling(temperature=temperature, max_tokens=TOKENS))
            run = Rewritten(BM25(), rewriter).index(data.corpus).search(data.queries, 10)
            report = evaluate(run, data.qrels, ["nDCG@10"])
            values[f"{told} nDCG@10"] = [report.per_query["nDCG@10"].get(query.id, 0.0) for query in data.queries]
            values[f"{told} well-formed"] = [
                float(run.notes[query.id].outcome == "rewritten") for query in data.queries
            ]
        return values

    return kept(folder / f"measured-{data.name.replace('/', '-')}-{len(data.queries)}.json", measure)


if __name__ == "__main__":
    main()
