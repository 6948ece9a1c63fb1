"""What GRPO adds to a model of the world whose teacher erred: rewards compared, with a control of shuffled labels.

    python benchmarks/grpo_world.py RUN [--arms ndcg multiview rank_r1 control] [--seeds 0 1 2] [-o table.md]

RUN is the folder of `whyrank reproduce tiny`. Its model from the middle of training is taught on for a few steps by a
teacher who is wrong in a third of his verdicts: what comes of that is where all arms start. GRPO sees no teacher,
only what a ranking is worth. Each arm goes the same steps over the same lists, which are of training's questions;
measured is on lists of other questions of all three splits, as drawn in training (temperature 1) and greedily.

Run folders are gone on with: a killed command resumes, a finished one only reads, and two commands with other seeds can
run side by side. Intervals are of the mean over lists and seeds, bootstrapped over lists.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from whyrank.data_synth.world import Level, World
from whyrank.data_synth.world_lists import WorldLists
from whyrank.eval import evaluate
from whyrank.io import read_tasks, write_tasks
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.transformers import Transformers
from whyrank.reproduce.tiny import HELD_OUT
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.train import grpo, sft
from whyrank.train.config import GRPO, SFT, LessonSource, Loop, Model, Optimizer, Rewarded, Stage
from whyrank.train.data import prompts
from whyrank.train.held_out import grades, ranked
from whyrank.train.rewards import MultiView
from whyrank.types import RankTask, Run

ARMS = {"ndcg": "ndcg()", "multiview": "multiview(p=0.9)", "rank_r1": "rank_r1_list()", "control": "ndcg()"}
LEVEL = Level(shortest=4, longest=8)
TOKENS = 200

Measured = Mapping[str, Sequence[float]]


def main() -> None:
    """Teach with noise, train each arm, measure, print."""
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    files = lists(asked.out, asked.lists)
    start = unsettled(asked.run / "sft" / "checkpoints" / f"checkpoint-{asked.checkpoint}", files["noisy"], asked.out)
    models = {arm: [train(asked, start, arm, seed, files) for seed in asked.seeds] for arm in asked.arms}
    head = ("lists", "trained for", "reward", "nDCG@10", "well-formed", "greedy: nDCG@10", "well-formed")
    held_out: dict[str, Callable[[Path], Measured]] = {
        split: partial(measured, tasks=[*read_tasks(files[split])]) for split in HELD_OUT
    }
    table(head, held_out, {"(start)": [start], **models}, asked.table)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, list(ARMS), checkpoint=800, steps=100, lr=2e-4, out="runs/grpo-world")
    parser.add_argument("--lists", type=int, default=200, help="held-out lists of each split")
    return parser.parse_args()


def parser_of(
    doc: str | None, arms: Sequence[str], *, checkpoint: int, steps: int, lr: float, out: str
) -> argparse.ArgumentParser:
    """The options of a command that trains arms from a checkpoint of RUN, with these defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--checkpoint", type=int, default=checkpoint, help="of RUN's training")
    parser.add_argument("--arms", nargs="+", default=arms, choices=arms)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("-o", "--table", type=Path, help="write the table to this file too")
    return parser


def table(
    head: Sequence[str],
    held_out: Mapping[str, Callable[[Path], Measured]],
    models: Mapping[str, Sequence[Path]],
    file: Path | None,
) -> None:
    """Print what the models of each arm measure on each held-out set, against the first arm's first model."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    start = next(iter(models.values()))[0]
    for name, measure in held_out.items():
        first = measure(start)
        for arm, of_seeds in models.items():
            found = [measure(model) for model in of_seeds]
            cells = (compared([one[what] for one in found], first[what]) for what in first)
            lines.append(f"| {name} | {arm} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if file:
        file.write_text("\n".join(lines) + "\n")


def lists(folder: Path, held_out: int) -> dict[str, Path]:
    """The files of lists, by name: with a teacher who errs, without him, with shuffled labels, and held out."""
    world = World()
    made: dict[str, Callable[[], Iterable[RankTask]]] = {
        "noisy": partial(drawn, WorldLists(world, replace(LEVEL, noise=0.35)), 6000, "noisy"),
        "lists": partial(drawn, WorldLists(world, LEVEL), 3000, "lists"),
        "shuffled": lambda: map(shuffled, drawn(WorldLists(world, LEVEL), 3000, "lists")),
        **{split: partial(WorldLists(world, LEVEL).draw, split, held_out) for split in HELD_OUT},
    }
    files = {name: folder / f"{name}.jsonl" for name in made}
    for name, write in made.items():
        if not files[name].exists():
            write_tasks(write(), files[name])
    return files


def drawn(lists: WorldLists, n: int, seed: str) -> Iterator[RankTask]:
    """`n` lists of training's questions."""
    draw = random.Random(seed)
    questions = [*lists.world.questions("train")]
    return (lists.task(draw.choice(questions), draw, f"q{at}") for at in range(n))


def shuffled(task: RankTask) -> RankTask:
    """The list with its grades and its order given to other documents by lot."""
    ids = [one.id for one in task.documents]
    to = dict(zip(ids, random.Random(task.query.id).sample(ids, len(ids)), strict=True))
    moved = {to[id]: grade for id, grade in task.grades.items()}
    return replace(task, grades=moved, order=tuple(to[id] for id in task.order), thought="")


def unsettled(model: Path, noisy: Path, out: Path) -> Path:
    """The model after a few steps with a teacher who errs."""
    return sft.train(
        SFT(
            output=str(out / "start"),
            model=Model(str(model)),
            stages=(Stage((LessonSource(str(noisy), "ranking()"),), steps=60),),
            optimizer=Optimizer("muon", lr=1e-3, schedule="linear", warmup=0.05, betas=(0.9, 0.98)),
            loop=Loop(batch=8, accumulation=4, like_length=1, threads=1, log_every=20, report_to=()),
        )
    ).model


def train(asked: argparse.Namespace, start: Path, arm: str, seed: int, files: Mapping[str, Path]) -> Path:
    """The model of one arm."""
    return grpo.train(
        GRPO(
            output=str(asked.out / f"{arm}-{seed}"),
            model=Model(str(start)),
            tasks=(str(files["shuffled" if arm == "control" else "lists"]),),
            rewards=(Rewarded(ARMS[arm]),),
            steps=asked.steps,
            format="ranking()",
            max_completion=TOKENS,
            optimizer=Optimizer(lr=asked.lr, schedule="linear", warmup=0.1),
            loop=Loop(batch=64, threads=1, checkpoint_every=25, log_every=1, report_to=()),
            seed=seed,
        )
    ).model


def measured(model: Path, tasks: Sequence[RankTask]) -> Measured:
    """By list: multi-view reward, nDCG@10 and form as drawn, then nDCG@10 and form when greedy; kept in a file."""

    def measure() -> Measured:
        drawn, greedy = (answers(model, tasks, RankingFormat(), temperature) for temperature in (1.0, 0.0))
        return {**drawn, **{f"greedy {name}": values for name, values in greedy.items() if name != "reward"}}

    return kept(model.parent / f"measured-{tasks[0].query.id}-{len(tasks)}.json", measure)


def kept(file: Path, measure: Callable[[], Measured]) -> Measured:
    """What `measure` gives, or gave before: it is kept in `file`."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measure()))
    found: Measured = json.loads(file.read_text())
    return found


def answers(
    model: Path, tasks: Sequence[RankTask], format: Format[Permutation], temperature: float, tokens: int = TOKENS
) -> Measured:
    """By list: multi-view reward, nDCG@10, and whether the answer kept to the form."""
    llm = Transformers(str(model), batch=50)
    sampling = Sampling(temperature=temperature, max_tokens=tokens)
    told = llm.generate([Prompt(one.messages, sampling) for task in tasks for one in prompts(format, task, llm.chat)])
    if failed := sum(not isinstance(one, Ok) for one in told):
        raise SystemExit(f"{failed} of {len(told)} answers failed")
    read = [ranked(format, [one], len(task.documents)) for one, task in zip(told, tasks, strict=True)]
    run = {str(at): [tasks[at].documents[place].id for place in order] for at, (order, _) in enumerate(read)}
    report = evaluate(Run.of(run), {str(at): grades(task) for at, task in enumerate(tasks)}, ["nDCG@10"])
    return {
        "reward": [
            value or 0.0
            for value in MultiView(p=0.9, format=format).batch([one for one in told if isinstance(one, Ok)], tasks)
        ],
        "nDCG@10": [report.per_query["nDCG@10"][str(at)] for at in range(len(tasks))],
        "well-formed": [float(call.status == "exact") for _, (call,) in read],
    }


def compared(of_seeds: Sequence[Sequence[float]], start: Sequence[float]) -> str:
    """The mean with its standard deviation over seeds, and the difference to the start with its interval."""
    found, then = np.array(of_seeds), np.array(start)
    if len(found) == 1 and (found[0] == then).all():
        return f"{then.mean():.3f}"
    gain = (found - then).mean(0)
    at = np.random.default_rng(0).integers(0, len(gain), (10_000, len(gain)))
    low, high = np.quantile(gain[at].mean(1), [0.025, 0.975])
    spread = f" ± {found.mean(1).std(ddof=1):.3f}" if len(found) > 1 else ""
    return f"{found.mean():.3f}{spread} ({gain.mean():+.3f} [{low:+.3f}, {high:+.3f}])"


if __name__ == "__main__":
    main()
