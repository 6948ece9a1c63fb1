"""What a benchmark is: conditions, each with its runs or parts, its data sets, and the figures that are expected."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from math import isfinite
from pathlib import Path
from typing import Annotated

from whyrank.errors import BadInput, NotFound
from whyrank.eval.measures import parse_measures
from whyrank.eval.ties import RULES
from whyrank.fields import AtLeast, Positive
from whyrank.train.config import Config, read_config

MEAN = "mean"
"""What the unweighted mean over all tasks of a condition is called where figures are expected."""

CANDIDATES = "candidates"
"""The run of a condition whose data set brings it along."""


@dataclass(frozen=True)
class Condition(Config):
    """One line of a published table: how rankings come about, on which data, and what they are worth.

    One of `run` and `search` says where rankings come from; `rerank` then reranks them. In `run` and `data`, `{task}`
    stands for the task.

    Attributes:
        name: what it is called in tables.
        data: the data set of a task, as `load` takes it.
        expected: by measure and task the figure that is expected, `mean` being that over all tasks.
        run: a published run, as a file under one of the data roots; "candidates" is what the data set brings along.
        search: the spec of a retriever.
        rerank: the spec of a reranker.
        k: how many documents are searched for.
        depth: how many documents are reranked.
        ties: in which order equal scores stand, as `evaluate` takes it; by falling id, as in trec_eval, if empty.
        tolerance: how far a figure may be off and still count as reproduced.
        source: where the figures are from.
    """

    name: str
    data: str
    expected: Mapping[str, Mapping[str, float]]
    run: str = ""
    search: str = ""
    rerank: str = ""
    k: Positive = 1000
    depth: Positive = 100
    ties: str = ""
    tolerance: Annotated[float, AtLeast(0)] = 0.00005
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be run or compared.

        Raises:
            BadInput: not one of `run` and `search`; an unknown measure or rule for ties; a figure that is no number.
        """
        super().__post_init__()
        if bool(self.run) == bool(self.search):
            raise BadInput(f"condition {self.name!r} needs either run or search")
        if self.ties and self.ties not in RULES:
            raise BadInput(f"condition {self.name!r}: ties must be one of {', '.join(RULES)}, not {self.ties!r}")
        parse_measures(list(self.expected))
        for measure, figures in self.expected.items():
            if not isinstance(figures, Mapping):
                raise BadInput(f"condition {self.name!r}: expected {measure} must be a table of figures by task")
            for task, figure in figures.items():
                if type(figure) not in (int, float) or not isfinite(figure):
                    raise BadInput(f"condition {self.name!r}: expected {measure} of {task} is no number: {figure!r}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of which something is expected, in order."""
        named = dict.fromkeys(task for figures in self.expected.values() for task in figures)
        return tuple(task for task in named if task != MEAN)

    @property
    def slug(self) -> str:
        """The name as a folder has it."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "condition"


@dataclass(frozen=True)
class Benchmark(Config):
    """A matrix of conditions and tasks.

    Attributes:
        about: what it is, in a line.
        conditions: the lines of the table.
        source: where its figures are from, for conditions that say nothing of it.
        licence: of what is fetched or read.
        name: what the file is called.
    """

    about: str
    conditions: tuple[Condition, ...]
    source: str = ""
    licence: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a matrix without conditions, or with one twice.

        Raises:
            BadInput: it is so.
        """
        super().__post_init__()
        if not self.conditions:
            raise BadInput("a benchmark needs conditions")
        slugs = [condition.slug for condition in self.conditions]
        if twice := next((one.name for one in self.conditions if slugs.count(one.slug) > 1), None):
            raise BadInput(f"two conditions are called {twice!r}")

    @property
    def rows(self) -> int:
        """How many figures are expected."""
        return sum(len(figures) for one in self.conditions for figures in one.expected.values())


def names() -> tuple[str, ...]:
    """The benchmarks that come with whyrank."""
    return tuple(sorted(_stems()))


def read_benchmark(name: str | Path) -> Benchmark:
    """The benchmark of that name, or the one that a TOML file holds.

    Raises:
        NotFound: there is none.
        BadInput: the file holds no benchmark: the key that is wrong is told.
    """
    if str(name).endswith(".toml"):
        return replace(read_config(name, Benchmark), name=Path(name).stem)
    if str(name) not in (known := names()):
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}, or give a .toml file"
        raise NotFound(f"there is no benchmark {str(name)!r}: {hint}")
    with as_file(files("whyrank.benchmarks") / f"{name}.toml") as path:
        return replace(read_config(path, Benchmark), name=str(name))


def _stems() -> Iterator[str]:
    return (
        one.name.removesuffix(".toml") for one in files("whyrank.benchmarks").iterdir() if one.name.endswith(".toml")
    )
