"""`whyrank reproduce smollm2`: from a small language model to rankers of real text, on a CPU, and what each is worth.

SmolLM2-135M-Instruct learns from the training queries of SciFact and NFCorpus, whose hard negatives BM25 finds: to
*score* (the logits that `scored(...)` reads, over lists, then by the policy gradient on nDCG), and to *order* (answers
of a listwise ranker by SFT, then by GRPO). `train/smollm2/*.toml` say how; MiniLM learns from the same lists. All are
measured on queries that none of them has seen, of the two collections learnt from and of four others.

found/            BM25 on the training queries
lists.jsonl       short lists for SFT and GRPO
score/ policy/ encoder/ sft/ grpo/   the trainings
tests/SET/WHO/    the runs; tests/SET/judged.json what is measured of them
README.md         the table
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from whyrank import experiment
from whyrank.datasets import load
from whyrank.eval import Report, compare, evaluate
from whyrank.fusion import Fusion
from whyrank.io import atomic_write, write_run, write_tasks
from whyrank.io.folders import read_json, write_manifest
from whyrank.io.taking import taking
from whyrank.llm.messages import Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.base import Reranker, statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.scored import Scored
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.train import encoders, grpo, score, sft
from whyrank.train.config import GRPO, SFT, read_config
from whyrank.train.lists import RankedLists, chosen, read, teaches
from whyrank.train.trainer import PACKAGES
from whyrank.types import Dataset, Ranking, RankTask, Run

TRAIN = ("beir/scifact", "beir/nfcorpus")
"""Whose training queries are learnt from."""

TESTS: Mapping[str, int] = {
    "beir/scifact": 300, "beir/nfcorpus": 300, "trec_dl/dl19": 43, "trec_dl/dl20": 54, "birco/arguana": 100,
    "birco/clinical-trial": 50,
}  # fmt: skip
"""What is measured on, and how many queries of it at most."""

SHORT = 800
"""How many short lists are learnt from by SFT and GRPO."""

T = TypeVar("T", score.Score, encoders.Encoder, SFT, GRPO)


class Ranker(NamedTuple):
    """What is measured: under which name, and where its runs go."""

    title: str
    folder: str
    reranker: Reranker


class Figures(NamedTuple):
    """What is found of a ranker on a set, alone and mixed half and half with the first stage."""

    alone: Report
    mixed: Report
    well_formed: float
    seconds: float


def smollm2(out: str | Path, seed: int = 0, share: float = 1.0, depth: int = 50, model: str = "smollm2") -> Path:
    """Train all rankers, measure them, and write the table; called again, it goes on where it stopped.

    Args:
        out: the folder to write.
        seed: of everything that is drawn.
        share: of the lists, steps and test queries, below 1 for a trial.
        depth: how many documents of each test query are reranked.
        model: the model to start from.

    Returns:
        The file with the table.

    Raises:
        BadInput: the folder holds another run.
        EngineError: the model is not here and cannot be fetched.
        MissingExtra: the extra `train`, or `minilm`, is not installed.
        NotFound: the data sets are not here and cannot be fetched.
    """
    folder = Path(out)
    task = {"reproduce": "smollm2", "seed": seed, "share": share, "depth": depth, "model": model}
    with taking(folder, task, PACKAGES):
        pass
    search(folder)
    short_lists(folder, seed, share)
    placing = Placing(folder, seed, share, model)
    score.train(placing(score.Score, "score.toml"))
    score.train(placing(score.Score, "policy.toml"))
    encoders.train(placing(encoders.Encoder, "encoder.toml"))
    sft.train(placing(SFT, "sft.toml"))
    grpo.train(placing(GRPO, "grpo.toml"))
    rankers = [*rankers_of(folder, model)]
    found = {name: measure(folder, name, rankers, max(2, round(n * share)), depth) for name, n in TESTS.items()}
    with atomic_write(folder / "README.md") as file:
        file.write(table(found, rankers, depth).encode())
    write_manifest(folder, task, PACKAGES, finished=True)
    return folder / "README.md"


def search(folder: Path, depth: int = 50) -> None:
    """BM25 on the training queries."""
    for name in TRAIN:
        experiment.search(BM25(), load(name, split="train"), folder / "found" / Path(name).name, depth)


def short_lists(folder: Path, seed: int, share: float, size: int = 5) -> None:
    """Write lists of a few documents, at least one of them relevant, for trainings that write orders."""
    if (path := folder / "lists.jsonl").exists():
        return
    lot, made = random.Random(seed), []
    for name in TRAIN:
        lists = RankedLists(data=name, run=str(folder / "found" / Path(name).name), depth=30)
        made += [shortened(task, size, seed + at) for at, task in enumerate(read(lists)) if teaches(task)]
    write_tasks(lot.sample(made, min(len(made), max(8, round(SHORT * share)))), path)


def shortened(task: RankTask, size: int, seed: int) -> RankTask:
    """Some documents of a list, in a drawn order; of those above the lowest grade at most half, and at least one."""
    kept = chosen(task, size, seed)
    random.Random(seed).shuffle(kept)
    documents = tuple(task.documents[at] for at in kept)
    grades = {one.id: task.grades[one.id] for one in documents if one.id in task.grades}
    return replace(task, documents=documents, grades=grades)


class Placing:
    """Recipes with their files in a folder, scaled by a share."""

    def __init__(self, folder: Path, seed: int, share: float, model: str) -> None:
        """Take what all recipes are given."""
        self._folder, self._seed, self._share, self._model = folder, seed, share, model

    def __call__(self, kind: type[T], recipe: str) -> T:
        """A recipe of `whyrank/train/smollm2`."""
        with as_file(files("whyrank.train") / "smollm2" / recipe) as path:
            config = read_config(path, kind)
        told: dict[str, Any] = {"output": self._placed(config.output), "seed": self._seed}
        if isinstance(config, score.Score | encoders.Encoder):
            told["lists"] = tuple(
                replace(one, run=self._placed(one.run), limit=self._scaled(one.limit)) for one in config.lists
            )
        if isinstance(config, score.Score | SFT | GRPO):
            path_of = self._model if config.model.path == "smollm2" else self._placed(config.model.path)
            told["model"] = replace(config.model, path=path_of)
        if isinstance(config, SFT):
            (stage,) = config.stages
            sources = tuple(replace(one, path=self._placed(one.path)) for one in stage.sources)
            told["stages"] = (replace(stage, sources=sources),)
        if isinstance(config, GRPO):
            told |= {"tasks": tuple(map(self._placed, config.tasks)), "steps": self._scaled(config.steps, 1)}
        return replace(config, **told)

    def _placed(self, path: str) -> str:
        return str(self._folder / path)

    def _scaled(self, n: int, least: int = 4) -> int:
        return max(least, round(n * self._share))


def rankers_of(folder: Path, model: str) -> Iterator[Ranker]:
    """All that is measured."""
    yield Ranker("MiniLM's cosine", "minilm", EncoderRerank("minilm", max_length=128))
    yield Ranker("MiniLM, taught on the same lists", "encoder", EncoderRerank(str(folder / "encoder" / "model")))
    for title, name, path in (
        ("score, zero-shot", "score-zero-shot", model),
        ("score, over lists", "score", str(folder / "score" / "model")),
        ("score, over lists, then policy gradient", "policy", str(folder / "policy" / "model")),
    ):
        yield Ranker(title, name, scorer(path))
    for title, name, path in (
        ("order, zero-shot", "order-zero-shot", model),
        ("order, SFT", "sft", str(folder / "sft" / "model")),
        ("order, SFT, then GRPO", "grpo", str(folder / "grpo" / "model")),
    ):
        yield Ranker(title, name, orderer(path))


def scorer(path: str) -> Scored:
    """The pointwise ranker: the logits of yes and no."""
    return Scored(Transformers(path, batch=16, dtype="bfloat16"), max_passage_tokens=128)


def orderer(path: str) -> Listwise:
    """The listwise ranker, in windows as short as the lists that it learnt from."""
    llm, format = Transformers(path, batch=16, dtype="bfloat16"), RankingFormat(think="no")
    return Listwise(llm, window=5, format=format, sampling=Sampling(max_tokens=32), max_passage_tokens=64)


def measure(folder: Path, name: str, rankers: list[Ranker], queries: int, depth: int) -> dict[str, Figures | Report]:
    """Rerank the first queries of a set by each ranker, and judge the runs; the first stage's report is under ""."""
    data = load(name).head(queries)
    tests = folder / "tests" / name.replace("/", "-")
    source = first_stage(data, tests, depth)
    first = experiment.open_run(source) if source.is_dir() else data.candidates or Run.of({})
    first = first.top(depth).named("first stage")
    found: dict[str, Figures | Report] = {"": evaluate(first, data.qrels, "nDCG@10")}
    for one in rankers:
        done = experiment.rerank(source, one.reranker, data, tests / one.folder, depth)
        run, calls = done.run.named(one.title), statuses(done.run)
        mixed = Fusion(method="combsum", norm="zscore").of([first, with_scores(run.top(depth))], f"{one.title}, mixed")
        found[one.folder] = Figures(
            evaluate(run, data.qrels, "nDCG@10"),
            evaluate(mixed, data.qrels, "nDCG@10"),
            calls["exact"] / sum(calls.values()) if calls else 1.0,
            read_json(tests / one.folder / "report.json")["seconds"] / len(run),
        )
    return found


def first_stage(data: Dataset, tests: Path, depth: int) -> Path:
    """What is reranked: the candidates that the set brings, else what BM25 finds."""
    if data.candidates is None:
        return experiment.search(BM25(), data, tests / "bm25", depth).folder
    if not (path := tests / "candidates.trec").exists():
        tests.mkdir(parents=True, exist_ok=True)
        write_run(data.candidates, path)
    return path


def with_scores(run: Run) -> Run:
    """The run with the scores of its notes, where all documents of a query have one; else as it is, by rank."""
    told = {}
    for query, ranking in run.items():
        known = run.notes[query].scores if query in run.notes else {}
        scores = [known.get(id) for id in ranking.ids]
        values = range(len(scores), 0, -1) if None in scores else scores
        told[query] = Ranking(ranking.ids, np.array(values, dtype=np.float64))
    return Run.of(told)


def table(found: Mapping[str, Mapping[str, Any]], rankers: list[Ranker], depth: int) -> str:
    """The figures as Markdown, a table for each set."""
    lines = ["# SmolLM2-135M-Instruct as a ranker", "", f"Made by `whyrank reproduce smollm2`; depth {depth}.", ""]
    for name, figures in found.items():
        first: Report = figures[""]
        lines += [
            f"## {name}, {len(first.per_query['nDCG@10'])} queries", "",
            "| run | nDCG@10 | Δ to the first stage, 95 % interval | mixed with it | Δ | well-formed | s/query |",
            "|---|---|---|---|---|---|---|",
            f"| first stage | {first['nDCG@10']:.4f} | | | | | |",
        ]  # fmt: skip
        for one in rankers:
            alone, mixed, well_formed, seconds = figures[one.folder]
            lines.append(
                f"| {one.title} | {alone['nDCG@10']:.4f} | {gain(first, alone)} | {mixed['nDCG@10']:.4f} | "
                f"{gain(first, mixed)} | {well_formed:.3f} | {seconds:.1f} |"
            )
        steps = [("policy gradient on the score", "score", "policy"), ("GRPO on the order", "sft", "grpo")]
        gains = [f"{title} {gain(figures[a].alone, figures[b].alone)}" for title, a, b in steps if b in figures]
        lines += ["", *([f"What reinforcement adds: {'; '.join(gains)}.", ""] if gains else [])]
    return "\n".join(lines)


def gain(base: Report, other: Report) -> str:
    """The mean difference and its interval."""
    (found,) = compare([base, other]).contrasts
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
