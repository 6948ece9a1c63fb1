"""What GRPO adds to a half-taught model of the world, by reward, with a control whose labels are shuffled.

    python benchmarks/grpo_world.py START LESSONS [--steps 30] [--arms multiview ndcg rank_r1 control]
        [--seed 0] [--lr 1e-4]

START is a model from the middle of `whyrank reproduce tiny` (a checkpoint of its `sft/`, say `checkpoint-700`), LESSONS
that run's folder. Each arm goes the same steps from the same start; run folders are gone on with. Printed are means on
held-out lists with the difference to the start and its 95 % interval (paired bootstrap over lists).
"""

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from whyrank.eval import evaluate
from whyrank.io import read_tasks, write_tasks
from whyrank.llm.base import Ok, Prompt, Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.formats import Reasoned
from whyrank.train import grpo
from whyrank.train.config import GRPO, HeldOut, Loop, Model, Optimizer, Rewarded
from whyrank.train.data import prompts
from whyrank.train.held_out import grades, ranked
from whyrank.train.rewards import MultiView
from whyrank.types import RankTask, Run

ARMS = {"multiview": "multiview(p=0.9)", "ndcg": "ndcg()", "rank_r1": "rank_r1_list()", "control": "multiview(p=0.9)"}
TOKENS = 220


def main() -> None:
    """Train each arm, then measure start and arms on the same lists."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("start", type=Path)
    given.add_argument("lessons", type=Path)
    given.add_argument("--out", type=Path, default=Path("runs/grpo-world"))
    given.add_argument("--steps", type=int, default=30)
    given.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--lr", type=float, default=1e-4)
    given.add_argument("--lists", type=int, default=300)
    asked = given.parse_args()
    right = [task for task in read_tasks(asked.lessons / "lists.jsonl") if task.relevant and len(task.documents) > 4]
    asked.out.mkdir(parents=True, exist_ok=True)
    write_tasks(right[:3000], asked.out / "lists.jsonl")
    write_tasks(map(shuffled, right[:3000]), asked.out / "shuffled.jsonl")
    models = {"start": asked.start}
    for arm in asked.arms:
        tasks = asked.out / ("shuffled.jsonl" if arm == "control" else "lists.jsonl")
        models[arm] = train(asked, arm, tasks)
    for split in ("test", "unseen", "composed"):
        lists = [task for task in islice(read_tasks(asked.lessons / f"{split}.jsonl"), asked.lists) if task.relevant]
        values = {name: measured(model, lists) for name, model in models.items()}
        for name, found in values.items():
            told = (f"{what} {compared(found[what], values['start'][what])}" for what in found)
            print(f"{split:9} {name:10} " + "   ".join(told), flush=True)


def train(asked: argparse.Namespace, arm: str, tasks: Path) -> Path:
    """The model of one arm."""
    return grpo.train(
        GRPO(
            output=str(asked.out / f"{arm}-{asked.steps}-{asked.lr:g}-{asked.seed}"),
            model=Model(str(asked.start)),
            tasks=(str(tasks),),
            rewards=(Rewarded(ARMS[arm]),),
            steps=asked.steps,
            format="reasoned()",
            max_completion=TOKENS,
            optimizer=Optimizer(lr=asked.lr, schedule="constant", warmup=0.0),
            loop=Loop(batch=64, threads=1, checkpoint_every=10, log_every=1),
            held_out=HeldOut(str(asked.lessons / "test.jsonl"), every=asked.steps, limit=60, max_tokens=TOKENS),
            seed=asked.seed,
        )
    ).model


def shuffled(task: RankTask) -> RankTask:
    """The list with its grades and its order given to other documents by lot."""
    ids = [one.id for one in task.documents]
    to = dict(zip(ids, random.Random(task.query.id).sample(ids, len(ids)), strict=True))
    moved = {to[id]: grade for id, grade in task.grades.items()}
    return replace(task, grades=moved, order=tuple(to[id] for id in task.order), thought="")


def measured(model: Path, lists: Sequence[RankTask]) -> dict[str, list[float]]:
    """By list: multi-view reward, nDCG@10, and whether the greedy answer kept to the form; written beside the model."""
    kept = model.parent / f"measured-{model.name}-{lists[0].query.id}-{len(lists)}.json"
    if kept.exists():
        found: dict[str, list[float]] = json.loads(kept.read_text())
        return found
    llm, format = Transformers(str(model), batch=32), Reasoned()
    asked = [one for task in lists for one in prompts(format, task, llm.chat)]
    told = llm.generate([Prompt(one.messages, Sampling(max_tokens=TOKENS)) for one in asked])
    read = [ranked(format, [one], len(task.documents)) for one, task in zip(told, lists, strict=True)]
    run = {str(at): [lists[at].documents[place].id for place in order] for at, (order, _) in enumerate(read)}
    report = evaluate(Run.of(run), {str(at): grades(task) for at, task in enumerate(lists)}, ["nDCG@10"])
    found = {
        "reward": [
            value or 0.0 for value in MultiView(p=0.9).batch([one for one in told if isinstance(one, Ok)], lists)
        ],
        "nDCG@10": [report.per_query["nDCG@10"][str(at)] for at in range(len(lists))],
        "well-formed": [float(call["status"] == "exact") for _, (call,) in read],
    }
    kept.write_text(json.dumps(found))
    return found


def compared(values: Iterable[float], start: Iterable[float]) -> str:
    """The mean, and the difference to the start with its interval."""
    now, then = np.array(list(values)), np.array(list(start))
    drawn = np.random.default_rng(0).integers(0, len(now), (10000, len(now)))
    low, high = np.quantile((now - then)[drawn].mean(1), [0.025, 0.975])
    return f"{now.mean():.3f} ({(now - then).mean():+.3f} [{low:+.3f}, {high:+.3f}])"


if __name__ == "__main__":
    main()
