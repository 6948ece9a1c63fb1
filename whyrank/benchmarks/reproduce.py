"""`reproduce`: run a benchmark and say of each figure whether it came out, by how much it is off, or what lacks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from whyrank import experiment
from whyrank.benchmarks.matrix import CANDIDATES, MEAN, Benchmark, Condition
from whyrank.datasets import available, judged_only, load, roots
from whyrank.errors import BadInput, BudgetSpent, MissingExtra, NotFound, WhyrankError
from whyrank.eval import Report, evaluate
from whyrank.eval.measures import parse_measures
from whyrank.eval.ties import Ties
from whyrank.io import read_run, write_run
from whyrank.progress import note
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Dataset, Run

State = Literal["reproduced", "off", "not at hand", "not compared"]
"""`not compared` is a figure of some of the queries (`limit`), of which nothing was published."""


@dataclass(frozen=True)
class Row:
    """One figure: what was expected, what came out.

    Attributes:
        condition: the condition's name.
        task: the task, or `mean`.
        measure: the measure, as `evaluate` names it.
        expected: the figure that was published.
        got: what came out; None where it could not be had.
        state: what came of it.
        tolerance: how far it may be off.
        why: what is missing, and where to get it; or what is wrong.
        source: where the figure is from.
    """

    condition: str
    task: str
    measure: str
    expected: float
    got: float | None
    state: State
    tolerance: float
    why: str = ""
    source: str = ""

    @property
    def difference(self) -> float | None:
        """How far it is off."""
        return None if self.got is None else self.got - self.expected

    def to_dict(self) -> dict[str, Any]:
        """In plain types."""
        return {**asdict(self), "difference": self.difference}


def reproduce(
    benchmark: Benchmark, out: str | Path = "runs", tasks: Iterable[str] = (), limit: int | None = None
) -> Iterator[Row]:
    """Run a benchmark, condition by condition; rows come as they are known.

    What is searched and reranked lies in run folders under `out`, so that a run that was stopped goes on. What is not
    at hand is told, and the rest runs.

    Args:
        benchmark: the matrix.
        out: the folder under which runs are written, `OUT/BENCHMARK/CONDITION/TASK`.
        tasks: only these; there is no mean then.
        limit: only so many queries of each; nothing is compared then.

    Raises:
        BadInput: a task that no condition has, or no query is left.
    """
    chosen = set(tasks)
    if stray := chosen - {task for one in benchmark.conditions for task in one.tasks}:
        known = dict.fromkeys(task for one in benchmark.conditions for task in one.tasks)
        raise BadInput(f"{benchmark.name} has no task {min(stray)!r}: it has {', '.join(known)}")
    if limit is not None and limit < 1:
        raise BadInput(f"limit must be at least 1, not {limit}")
    folder = Path(out) / (benchmark.name if limit is None else f"{benchmark.name}-{limit}")
    for condition in benchmark.conditions:
        yield from _rows(condition, benchmark, folder / condition.slug, chosen, limit)


def missing(condition: Condition, task: str) -> str:
    """What a condition lacks on a task, as far as a look at the data roots tells; empty where all is at hand."""
    name, here = condition.data.format(task=task), available()
    if name not in here and not Path(name).exists():
        return f"the data set {name}"
    if (condition.search or condition.rerank) and name in judged_only():
        return f"the documents of {name}"
    if condition.run and condition.run != CANDIDATES and _file(condition, task) is None:
        return condition.run.format(task=task)
    return ""


def _rows(
    condition: Condition, benchmark: Benchmark, folder: Path, chosen: set[str], limit: int | None
) -> Iterator[Row]:
    reports: dict[str, Report | WhyrankError] = {}
    for task in condition.tasks:
        if not chosen or task in chosen:
            note(f"{condition.name}: {task}")
            reports[task] = _tried(condition, task, folder / task, limit)
    source = condition.source or benchmark.source
    for measure, figures in condition.expected.items():
        (called,) = parse_measures(measure)
        for task, expected in figures.items():
            found: Report | WhyrankError | float | None = reports.get(task)
            if task == MEAN and not chosen:
                found = _mean(reports, called, condition)
            if found is not None:
                yield _row(condition, task, called, expected, found, limit, source)


def _row(
    condition: Condition,
    task: str,
    measure: str,
    expected: float,
    found: Report | WhyrankError | float,
    limit: int | None,
    source: str,
) -> Row:
    head = (condition.name, task, measure, expected)
    if isinstance(found, WhyrankError):
        state: State = "not at hand" if isinstance(found, NotFound | MissingExtra) else "off"
        return Row(*head, None, state, condition.tolerance, str(found), source)
    got = found[measure] if isinstance(found, Report) else found
    near = abs(got - expected) <= condition.tolerance
    return Row(
        *head, got, "not compared" if limit else "reproduced" if near else "off", condition.tolerance, source=source
    )


def _mean(reports: Mapping[str, Report | WhyrankError], measure: str, condition: Condition) -> float | WhyrankError:
    """The unweighted mean over all tasks, or why there is none."""
    lacking = {task: found for task, found in reports.items() if isinstance(found, WhyrankError)}
    if lacking:
        known = all(isinstance(found, NotFound | MissingExtra) for found in lacking.values())
        kind = NotFound if known else BadInput
        return kind(f"the mean of {condition.name} lacks {', '.join(lacking)}")
    values = [found[measure] for found in reports.values() if isinstance(found, Report)]
    return sum(values) / len(values)


def _tried(condition: Condition, task: str, folder: Path, limit: int | None) -> Report | WhyrankError:
    """The evaluation of a condition on a task, or the error that stands in its way."""
    try:
        data = load(condition.data.format(task=task))
        data = data if limit is None else data.head(limit)
        run = _run(condition, task, data, folder).without(data.queries)
        ties = cast(Ties, condition.ties) if condition.ties else None
        return evaluate(run, data.qrels, list(condition.expected), ties=ties)
    except BudgetSpent:
        raise
    except WhyrankError as error:
        return error


def _run(condition: Condition, task: str, data: Dataset, folder: Path) -> Run:
    if condition.search:
        first: Run = experiment.search(make(condition.search, Retriever), data, folder / "search", condition.k).run
        source = folder / "search"
    else:
        first, source = _published(condition, task, data, folder)
    if not condition.rerank:
        return first
    reranker = make(condition.rerank, Reranker)
    return experiment.rerank(source, reranker, data, folder / "rerank", condition.depth).run


def _published(condition: Condition, task: str, data: Dataset, folder: Path) -> tuple[Run, Path]:
    """A published run, and the file that it lies in."""
    if condition.run == CANDIDATES:
        if data.candidates is None:
            raise NotFound(f"{data.name} was fetched without its candidates: put them under one of the data roots")
        if condition.rerank:
            folder.mkdir(parents=True, exist_ok=True)
            write_run(data.candidates, folder / "candidates.trec")
        return data.candidates, folder / "candidates.trec"
    if (path := _file(condition, task)) is None:
        places = ", ".join(map(str, roots()))
        raise NotFound(
            f"the run {condition.run.format(task=task)} is not on this machine: put it under one of the data roots "
            f"({places}; WHYRANK_DATA adds more)" + (f"; it is from {condition.source}" if condition.source else "")
        )
    return read_run(path).only(set(data.qrels) | {query.id for query in data.queries}), path


def _file(condition: Condition, task: str) -> Path | None:
    found = (root / condition.run.format(task=task) for root in roots())
    return next((path for path in found if path.is_file()), None)
