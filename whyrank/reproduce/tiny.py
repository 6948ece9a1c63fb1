"""`whyrank reproduce tiny`: from a seed to the small reasoning reranker that comes with whyrank.

The world of `data_synth` writes the lessons, `train/tiny/tiny.toml` says how they are learnt, `train/sft.py` teaches
them. The folder that comes of it holds, besides the run of `train`, the lessons, the held-out lists of all splits, and
`model/`, which is what is shipped in `whyrank/llm/tiny`.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import cycle
from pathlib import Path
from typing import Any

from whyrank.data_synth.world import LEVELS, Level, Split, World, WorldQuestion
from whyrank.data_synth.world_lists import WorldLists, chain_of
from whyrank.datasets import load
from whyrank.errors import need
from whyrank.eval import evaluate
from whyrank.io import write_tasks
from whyrank.io.folders import read_manifest, write_lines, write_manifest
from whyrank.io.taking import taking
from whyrank.llm.messages import Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.base import statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.listwise import Listwise, windows
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.rewrite import prompts
from whyrank.train.config import SFT, read_config
from whyrank.train.sft import train
from whyrank.train.tokenizer import fixed_phrases, tokenizer
from whyrank.train.trainer import PACKAGES, whole
from whyrank.types import Query, RankTask, Run

LESSONS: Mapping[str, tuple[Level, int]] = {
    "drills": (Level(shortest=1, longest=3, balanced=True), 10000),
    "short": (Level(shortest=2, longest=6, balanced=True), 8000),
    "lists": (Level(shortest=3, longest=10), 9000),
    "long": (Level(shortest=10, longest=20, partial=3), 6000),
    "found": (Level(shortest=20, longest=20, best=6, partial=10, traps=(0.0, 0.25), sorted=0.5), 6000),
}
"""What is learnt from: lists by level, and how many; `found` are like what a search for the right words finds."""

CARD = """---
library_name: transformers
license: apache-2.0
pipeline_tag: text-ranking
tags: [reranking, reasoning, whyrank]
---

# tiny: a small reasoning reranker

Qwen3's architecture with about a million parameters and a tokenizer of its own, trained from nothing by whyrank, to
rerank, and to rewrite queries, in the closed world of `whyrank.data_synth`, whose facts it knows by heart. It makes
examples and tests run on a real model that reasons, offline. It knows nothing of any other text: it is no reranker for
your documents.

`listwise(transformers('tiny'))`, `vllm('tiny')`; `hyde(transformers('tiny'))` rewrites.

Made by `whyrank reproduce tiny --recipe {recipe} --seed {seed} -o runs/tiny`: supervised fine-tuning on lists that the
world's knowledge base ranks and gives reasons for, {steps:,} steps on {tokens:.1f} million tokens. Weights are stored
in half precision.

## nDCG@10 on held-out lists of 5 to 10 documents

{head}
{rows}

`unseen`: situations in places where training never saw them. `composed`: symptoms of kinds of things in which training
never saw them, so that two known facts meet anew.
"""

REWRITES, SEARCHES = 6000, 2000
HELD_OUT: tuple[Split, ...] = ("test", "unseen", "composed")


def tiny(out: str | Path, seed: int = 0, recipe: str = "tiny.toml", share: float = 1.0) -> Path:
    """Make the small model; returns its folder. Called again, it goes on where it stopped.

    Args:
        out: the folder to write.
        seed: of the lessons, the weights and the order; the world is always that of seed 0.
        recipe: a file in `whyrank/train/tiny`.
        share: of the lessons, steps and held-out lists, below 1 for a trial.

    Raises:
        BadInput: the folder holds another run, with another seed, recipe or share.
        MissingExtra: the extra `train` is not installed.
    """
    folder = Path(out)
    task = {"reproduce": "tiny", "recipe": recipe, "seed": seed, "share": share}
    config = _placed(read_recipe(recipe), folder, seed, share)
    if read_manifest(folder) or not Path(config.output).exists():  # a training without one knows what it was asked
        with taking(folder, task, PACKAGES):
            pass
    write_lessons(folder, seed, share)
    write_tokenizer(folder / "tokenizer")
    trained = train(config)
    if not (folder / "model" / "README.md").exists():
        model = ship(trained.model, folder / "model")
        measured = measure(model, max(1, round(300 * share)))
        (model / "README.md").write_text(card(recipe, seed, trained.report, measured), encoding="utf-8")
    write_manifest(folder, task, PACKAGES, finished=True)
    return folder / "model"


def write_lessons(folder: Path, seed: int = 0, share: float = 1.0) -> None:
    """Write lists with a teacher's thought, windows of searches, rewritten queries and held-out lists, unless there."""
    world = World()
    for name, (level, count) in LESSONS.items():
        if not (path := folder / f"{name}.jsonl").exists():
            write_tasks(_drawn(WorldLists(world, level), round(count * share), f"{seed} {name}"), path)
    if not (path := folder / "windows.jsonl").exists():
        write_tasks(searched(world, round(SEARCHES * share), seed), path)
    if not (path := folder / "rewrites.jsonl").exists():
        write_lines(path, rewrites(world, round(REWRITES * share), seed))
    for split in HELD_OUT:
        if not (path := folder / f"{split}.jsonl").exists():
            write_tasks(WorldLists(world, LEVELS["base"]).draw(split, 300), path)


def write_tokenizer(target: Path) -> None:
    """Write the tokenizer of the world, whole or not at all, unless it is there."""
    if target.exists():
        return
    partial = target.with_name(f".{target.name}.partial")
    with whole(partial, f"the tokenizer {target}"):
        _tokenizer().save_pretrained(partial)
        os.replace(partial, target)


def rewrites(world: World, n: int, seed: int) -> Iterator[dict[str, str]]:
    """`n` questions in HyDE's prompt, and what documents that answer them say, after the steps that lead there."""
    draw = random.Random(f"{seed} rewrites")
    questions = [*world.questions("train")]
    for _ in range(n):
        question = draw.choice(questions)
        need_ = world.need(question)
        prompt = prompts.HYDE.replace("{query}", world.ask(question, draw))
        yield {"prompt": prompt, "completion": f"<think>{chain_of(need_)}</think>\n{world.answer(need_)}"}


def searched(world: World, n: int, seed: int, depth: int = 40, split: Split = "train") -> Iterator[RankTask]:
    """The windows that `listwise` shows of `n` searches for the right words, if it ranks each of them perfectly."""
    lists, draw = WorldLists(world, LEVELS["base"]), random.Random(f"{seed} windows")
    asked = {f"q{at}": question for at, question in zip(range(n), _asked(lists, draw, split), strict=False)}
    engine = BM25().index(load("world").corpus)
    found = engine.search([Query(id, world.answer(world.need(question))) for id, question in asked.items()], depth)
    for id, question in asked.items():
        ids = [*found[id].ids]
        for start, end in windows(len(ids), Listwise.window, Listwise.window // 2):
            task = lists.listed(question, ids[start:end], draw, f"{id}-{start}")
            ids[start:end] = task.order
            yield task


def read_recipe(name: str) -> SFT:
    """A recipe of `whyrank/train/tiny`."""
    with as_file(files("whyrank.train") / "tiny" / name) as path:
        return read_config(path, SFT)


def ship(trained: Path, target: Path) -> Path:
    """Copy a trained model for shipping: half-precision weights, tokenizer, chat template; 2 MB."""
    transformers, torch = (need(name, extra="train") for name in ("transformers", "torch"))
    model = transformers.AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32)
    shutil.rmtree(target, ignore_errors=True)
    model.config.use_cache = True  # which training had switched off
    model.to(torch.float16).save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(trained).save_pretrained(target)
    described = target / "tokenizer_config.json"
    told = json.loads(described.read_text())
    kept = {name: told[name] for name in ("eos_token", "pad_token", "model_max_length", "clean_up_tokenization_spaces")}
    described.write_text(json.dumps({**kept, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")
    return target


def measure(model: str | Path, lists: int = 300) -> dict[str, dict[str, float]]:
    """nDCG@10 on the first `lists` of the world's held-out lists, and the share of answers that kept to the form."""
    found: dict[str, dict[str, float]] = {}
    for split in HELD_OUT:
        name = "world/lists" if split == "test" else f"world/lists/{split}"
        data = load(name).head(lists)
        run = data.candidates or Run.of({})
        found[name] = {"shuffled": _ndcg(run, data.qrels)}
        for told, format in (("without thought", RankingFormat(think="no")), ("with thought", RankingFormat())):
            reranker = Listwise(Transformers(str(model), batch=32), format=format, sampling=Sampling(max_tokens=400))
            ordered = reranker.rerank(run, data)
            calls = statuses(ordered)
            found[name][told] = _ndcg(ordered, data.qrels)
            found[name][f"well-formed {told}"] = calls["exact"] / sum(calls.values())
    return found


def card(recipe: str, seed: int, report: Mapping[str, Any], measured: Mapping[str, Mapping[str, float]]) -> str:
    """The README.md of the model."""
    columns = [*next(iter(measured.values()))]
    rows = [f"| {name} | {' | '.join(f'{values[one]:.3f}' for one in columns)} |" for name, values in measured.items()]
    return CARD.format(
        recipe=recipe,
        seed=seed,
        steps=report["steps"],
        tokens=report["tokens"] / 1e6,
        head=f"| lists | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}",
        rows="\n".join(rows),
    )


def _ndcg(run: Run, judged: Mapping[str, Mapping[str, float]]) -> float:
    return evaluate(run, judged, "nDCG@10")["nDCG@10"]


def _drawn(lists: WorldLists, n: int, seed: str) -> Iterator[RankTask]:
    """`n` lists of training's questions."""
    draw = random.Random(seed)
    for number, question in zip(range(n), _asked(lists, draw), strict=False):
        yield lists.task(question, draw, f"q{number}")


def _asked(lists: WorldLists, draw: random.Random, split: Split = "train") -> Iterator[WorldQuestion]:
    """Questions without end, of each count of hops in turn; a question may come again."""
    for pool in cycle([[*lists.world.questions(split, (hops,))] for hops in lists.level.hops]):
        yield draw.choice(pool)


def _tokenizer() -> Any:  # noqa: ANN401 (an optional package)
    """The tokenizer of the world; it depends on no seed, so that all models from here share one."""
    world = World()
    tasks = _drawn(WorldLists(world, LESSONS["lists"][0]), 3000, "tokenizer")
    texts = (text for task in tasks for text in (*(one.text for one in task.documents), task.query.text, task.thought))
    written = (lesson["prompt"] + lesson["completion"] for lesson in rewrites(world, 3000, 0))
    return tokenizer(
        [*texts, *written], fixed_phrases([RankingFormat(), RankingFormat(think="no")], [prompts.HYDE]), 1480
    )


def _placed(config: SFT, folder: Path, seed: int, share: float) -> SFT:
    """The recipe with its files in `folder`."""

    def placed(path: str) -> str:
        return str(folder / path)

    stages = tuple(
        replace(
            stage,
            steps=max(1, round(stage.steps * share)),
            sources=tuple(replace(source, path=placed(source.path)) for source in stage.sources),
        )
        for stage in config.stages
    )
    held_out = config.held_out and replace(
        config.held_out,
        tasks=placed(config.held_out.tasks),
        limit=max(1, round(config.held_out.limit * share)),
    )
    model = replace(config.model, tokenizer=placed(config.model.tokenizer))
    return replace(config, output=placed(config.output), model=model, stages=stages, held_out=held_out, seed=seed)
