"""What GRPO does to the forms of answer that a finished model has: paid for one of them, and for both.

    python benchmarks/grpo_forms.py RUN [--arms bare both] [--seeds 0 1 2] [-o table.md]

RUN is the folder of `whyrank reproduce tiny`, whose last model thinks first as it was taught, and keeps to the form of
bare rankings on few lists. Each arm goes on from it over training's lists: paid for bare rankings alone, or asked in
both forms about each list. Measured, greedily and in both forms, is on lists of questions that training never asked,
and on windows of 20 of 40 documents that a search for the right words finds, as `listwise` would show them.

Run folders are gone on with: a killed command resumes, and a finished one only reads.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from grpo_world import Measured, answers, kept, parser_of, table

from whyrank.data_synth.world import LEVELS, World
from whyrank.data_synth.world_lists import WorldLists
from whyrank.reproduce.tiny import searched
from whyrank.rerank.formats import RankingFormat
from whyrank.train import grpo
from whyrank.train.config import GRPO, Loop, Model, Optimizer, Rewarded
from whyrank.types import RankTask

ARMS = {"bare": ("ranking(think='no')",), "both": ("ranking()", "ranking(think='no')")}
FORMS = {"bare": RankingFormat(think="no"), "with thought": RankingFormat()}
SHOWN = ("nDCG@10", "well-formed")
LESSONS = ("lists", "long", "found", "windows")
TOKENS = 400


def main() -> None:
    """Train each arm, measure, print."""
    parser = parser_of(__doc__, list(ARMS), checkpoint=1200, steps=80, lr=5e-5, out="runs/grpo-forms")
    parser.add_argument("--lists", type=int, default=100, help="held-out lists of each kind")
    asked = parser.parse_args()
    start = asked.run / "sft" / "checkpoints" / f"checkpoint-{asked.checkpoint}"
    models = {arm: [train(asked, start, arm, seed) for seed in asked.seeds] for arm in asked.arms}
    head = ("lists", "paid for", *(f"{form}: {what}" for form in FORMS for what in SHOWN))
    held_out: dict[str, Callable[[Path], Measured]] = {
        name: partial(measured, name=name, tasks=tasks, out=asked.out) for name, tasks in lists(asked.lists).items()
    }
    table(head, held_out, {"(start)": [start], **models}, asked.table)


def train(asked: argparse.Namespace, start: Path, arm: str, seed: int) -> Path:
    """The model of one arm."""
    return grpo.train(
        GRPO(
            output=str(asked.out / f"{arm}-{seed}"),
            model=Model(str(start)),
            tasks=tuple(str(asked.run / f"{name}.jsonl") for name in LESSONS),
            rewards=tuple(Rewarded(f"ndcg(repaired=0.7, format={format})") for format in ARMS[arm]),
            steps=asked.steps,
            format=ARMS[arm],
            max_completion=TOKENS,
            shuffle=False,
            loss="grpo",
            scale="none",
            optimizer=Optimizer(lr=asked.lr, schedule="linear", warmup=0.1),
            loop=Loop(batch=64, threads=1, checkpoint_every=20, log_every=1, report_to=()),
            seed=seed,
        )
    ).model


def lists(n: int) -> dict[str, list[RankTask]]:
    """`n` held-out lists of each kind."""
    world = World()
    named = {"5 to 10": "base", "20": "long", "20, at most two help": "sparse"}
    drawn = {told: [*WorldLists(world, LEVELS[level]).draw("test", n)] for told, level in named.items()}
    windows = (task for task in searched(world, n, seed=0, split="test") if task.relevant)
    return {**drawn, "windows": [*islice(windows, n)]}


def measured(model: Path, name: str, tasks: Sequence[RankTask], out: Path) -> Measured:
    """By list: nDCG@10 and form of greedy answers, bare and with thought; kept in a file."""

    def measure() -> Measured:
        told = {form: answers(model, tasks, format, 0.0, TOKENS) for form, format in FORMS.items()}
        return {f"{form}: {what}": one[what] for form, one in told.items() for what in SHOWN}

    return kept(out / f"measured-{model.parent.name}-{model.name}-{name}-{len(tasks)}.json", measure)


if __name__ == "__main__":
    main()
