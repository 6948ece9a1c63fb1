"""Lists for models that score: from files or from a first stage's candidates, and the short ones drawn for training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from whyrank.datasets import load
from whyrank.errors import BadInput
from whyrank.fields import AtLeast, NotNegative
from whyrank.io import read_run, read_tasks
from whyrank.progress import warn
from whyrank.train.config import Config
from whyrank.types import Dataset, RankTask, Run


@dataclass(frozen=True)
class RankedLists(Config):
    """Lists for a model that scores: from a file, or what a first stage found in a data set.

    Attributes:
        tasks: RankTasks as JSONL; or
        data: a data set, such as "beir/scifact", with
        run: a run over its queries, as a run folder or file: what it ranks high and is irrelevant is a hard negative.
        split: which judgements of `data`.
        depth: how many candidates of each query.
        as_found: leave the candidates as the run has them; otherwise relevant documents that it missed are added.
        limit: how many lists, from the first; 0 is all.
    """

    tasks: str = ""
    data: str = ""
    run: str = ""
    split: str = "train"
    depth: Annotated[int, AtLeast(2)] = 100
    as_found: bool = False
    limit: NotNegative = 0

    def __post_init__(self) -> None:
        """Refuse what names no lists, and what names two."""
        if bool(self.tasks) == bool(self.data) or bool(self.data) != bool(self.run):
            raise BadInput("lists come either from 'tasks', a file, or from 'data' with a 'run'")

    @property
    def name(self) -> str:
        """What reports call these lists."""
        return self.tasks or f"{self.data} {self.split} {self.run}"

    @property
    def file(self) -> str:
        """The file that is read, of tasks or of a run."""
        inside = Path(self.run, "run.trec")
        return str(inside) if self.run and inside.is_file() else self.run or self.tasks


class DrawnList(NamedTuple):
    """A short list as the model sees it in a step: texts, and the gain of each."""

    query: str
    documents: tuple[str, ...]
    gains: tuple[float, ...]


def read(lists: RankedLists) -> list[RankTask]:
    """The lists that are asked for.

    Raises:
        BadInput: a line cannot be read, the run is of other queries or documents, or nothing is there.
        NotFound: no such file or data set.
    """
    found = read_tasks(lists.tasks) if lists.tasks else _candidates(lists)
    tasks = list(islice(found, lists.limit or None))
    if not tasks:
        raise BadInput(f"{lists.name}: there is no list in it")
    return tasks


def mined(data: Dataset, run: Run, *, depth: int = 100, add_relevant: bool = True) -> Iterator[RankTask]:
    """A list for each judged query of `run`: its first `depth` candidates, so that what is irrelevant is hard.

    Args:
        data: with texts and judgements; grades below 0 count 0.
        run: the first stage.
        depth: candidates of each query.
        add_relevant: relevant documents that the first stage missed are added at the end, to learn from.

    Raises:
        BadInput: a query or document of the run, or a relevant document to add, is not in `data`.
    """
    queries = {query.id: query for query in data.queries}
    for id, ranking in run.without(data.queries).items():
        if id not in data.qrels:
            continue
        if id not in queries:
            raise BadInput(f"run {run.name!r}: query {id!r} is not among the queries of {data.name!r}")
        grades = {one: float(grade) for one, grade in data.qrels[id].items() if grade > 0}
        ids = list(dict.fromkeys([*ranking.ids[:depth], *(grades if add_relevant else ())]))
        if missing := next((one for one in ids if one not in data.corpus), None):
            raise BadInput(f"query {id!r}: document {missing!r} is not among the documents of {data.name!r}")
        if ids:
            known = {one: grades[one] for one in ids if one in grades}
            yield RankTask(queries[id], tuple(data.corpus[one] for one in ids), known, source={"run": run.name})


def drawn(tasks: Sequence[RankTask], size: int, epochs: int, seed: int) -> list[DrawnList]:
    """Short lists in the order of training, new ones each epoch, of the tasks that teach something.

    Each holds at most `size` documents: of those above the lowest gain at most half, and at least one; the rest have
    the lowest, and are filled up with more of the first kind where there are too few.
    """
    lot = np.random.default_rng(seed)
    useful = [task for task in tasks if teaches(task)]
    return [_drawn(useful[at], size, lot) for _ in range(epochs) for at in lot.permutation(len(useful))]


def teaches(task: RankTask) -> bool:
    """Whether some document is better than another: nothing can be learnt from a list in which all gains are equal."""
    return len(set(gains_of(task))) > 1


def gains_of(task: RankTask) -> tuple[float, ...]:
    """(n,) the grades; where there are none, by a teacher's order from 1 for the first to 0 for the last."""
    return task.gains if task.grades or not task.order else by_order(task)


def by_order(task: RankTask) -> tuple[float, ...]:
    """(n,) gains by the teacher's order, evenly from 1 for the first to 0 for the last."""
    rank = {id: at for at, id in enumerate(task.order)}
    last = max(len(rank) - 1, 1)
    return tuple(1 - rank[document.id] / last for document in task.documents)


def _drawn(task: RankTask, size: int, lot: np.random.Generator) -> DrawnList:
    gains, kept = gains_of(task), chosen(task, size, lot)
    return DrawnList(
        task.query.text, tuple(task.documents[at].content for at in kept), tuple(float(gains[at]) for at in kept)
    )


def chosen(task: RankTask, size: int, seed: int | np.random.Generator) -> list[int]:
    """The places of a short list's documents, as `drawn` takes them: first those above the lowest gain."""
    lot = np.random.default_rng(seed)
    gains = np.array(gains_of(task))
    good = lot.permutation(np.flatnonzero(gains > gains.min()))
    bad = lot.permutation(np.flatnonzero(gains == gains.min()))
    many = max(min(len(good), size // 2), size - len(bad))
    return [int(at) for at in (*good[:many], *bad[: size - min(many, len(good))])]


def _candidates(lists: RankedLists) -> Iterator[RankTask]:
    data = load(lists.data, split=lists.split)
    if lists.split == "test":
        warn(f"lists are of the test split of {lists.data}: what is learnt from it is not to be measured on it")
    return mined(data, read_run(lists.file), depth=lists.depth, add_relevant=not lists.as_found)
