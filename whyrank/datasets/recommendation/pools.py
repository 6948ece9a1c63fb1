"""What is ranked instead of the whole catalogue: modes to compare with published figures, named in the protocol's id.

Sampled pools can turn the order of systems round (Krichene and Rendle, 2020), so they are never the default.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.datasets.recommendation.log import digest
from whyrank.errors import BadInput, NotFound
from whyrank.fields import AtLeast, NotNegative, Positive
from whyrank.io import read_run
from whyrank.io.files import lines
from whyrank.registry import Part
from whyrank.types import Interactions, Run
from whyrank.types.hashing import id_keys, mixed


class PoolQuery(NamedTuple):
    """A query as a pool is made for it: its id, its user, the codes of its history and of its target."""

    id: str
    user: str
    history: NDArray[np.int32]
    target: int


class Pools(Part, ABC):
    """Gives each query the items that are ranked for it."""

    @property
    @abstractmethod
    def id(self) -> str:
        """What the protocol's id says of it."""

    @abstractmethod
    def of(self, asked: Sequence[PoolQuery], train: Interactions, seed: int) -> Iterator[Sequence[str]]:
        """The pool of each query, in an order that knows nothing of the target unless a published list has it."""


@dataclass(frozen=True)
class Uni(Pools):
    """The target and `size` other items, all as likely: uni100 of RecBole. Items of the history are never drawn.

    Attributes:
        size: how many others, without replacement.
    """

    size: Positive = 100

    @property
    def id(self) -> str:
        """Such as uni100."""
        return f"uni{self.size}"

    def of(self, asked: Sequence[PoolQuery], train: Interactions, seed: int) -> Iterator[Sequence[str]]:
        """The pools."""
        items, priority = id_keys(train.items), self._priority(train)
        for one, key in zip(asked, id_keys(one.id for one in asked), strict=True):
            order = priority(mixed(seed, np.asarray(key), items))
            order[one.history] = order[one.target] = np.inf
            free = int(np.count_nonzero(order < np.inf))
            if free < self.size:
                raise BadInput(f"query {one.id!r}: {self.size} items are to be drawn, and only {free} can be")
            drawn = np.append(np.argpartition(order, self.size - 1)[: self.size], one.target)
            shuffled = drawn[np.argsort(mixed(seed + 1, np.asarray(key), items[drawn]), kind="stable")]
            yield [train.items[code] for code in shuffled.tolist()]

    def _priority(self, train: Interactions) -> Callable[[NDArray[np.uint64]], NDArray[np.float64]]:
        """Turns one evenly spread number for each item into an order of drawing, the smallest first."""
        return lambda keys: keys.astype(np.float64)


@dataclass(frozen=True)
class Pop(Uni):
    """The target and `size` other items, drawn by how often they occur in training (BERT4Rec, 2019): pop100."""

    @property
    def id(self) -> str:
        """Such as pop100."""
        return f"pop{self.size}"

    def _priority(self, train: Interactions) -> Callable[[NDArray[np.uint64]], NDArray[np.float64]]:
        weights = train.popularity.astype(np.float64)

        def drawn(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
            with np.errstate(divide="ignore"):  # an item that never occurs is never drawn
                return -np.log((keys.astype(np.float64) + 1) / 2.0**64) / weights  # Efraimidis and Spirakis, 2006

        return drawn


@dataclass(frozen=True)
class Lists(Pools):
    """Published candidates: lines `user<TAB>item item …`, or a run of these queries, as they are.

    Attributes:
        path: the file, or a run folder.
        size: so many of the first items only; 0 takes all.
    """

    path: str
    size: NotNegative = 0

    @property
    def id(self) -> str:
        """Such as list:Games-6k.sasrec@0123456789ab."""
        return f"list:{self._source}{f':{self.size}' if self.size else ''}"

    @property
    def _source(self) -> str:
        return f"{Path(self.path).name}@{digest(_file(self.path))}"

    def of(self, asked: Sequence[PoolQuery], train: Interactions, seed: int) -> Iterator[Sequence[str]]:
        """The pools."""
        known, found = set(train.items), read_lists(_file(self.path))
        for one in asked:
            items = list(found.get(one.id, found.get(one.user, ())))
            if (foreign := next((item for item in items if item not in known), None)) is not None:
                raise BadInput(f"{self.path}: query {one.id!r} lists {foreign!r}, which is not in the catalogue")
            yield self._pool(one, items, train, seed)

    def _pool(self, one: PoolQuery, items: list[str], train: Interactions, seed: int) -> Sequence[str]:
        return items[: self.size or None]


@dataclass(frozen=True)
class Norm(Lists):
    """The first `size` items of a generator's run as they are: what is not among them cannot be found (norm20)."""

    size: Positive = 20

    @property
    def id(self) -> str:
        """Such as norm20:sasrec@0123456789ab."""
        return f"norm{self.size}:{self._source}"


@dataclass(frozen=True)
class Gt(Lists):
    """The first items of a generator's run and the target among them, in random order, `size` in all (gt20).

    Reranking where finding has succeeded: the ceiling is 1, and figures do not compare with those of `norm`.
    """

    size: Annotated[int, AtLeast(2)] = 20

    @property
    def id(self) -> str:
        """Such as gt20:sasrec@0123456789ab."""
        return f"gt{self.size}:{self._source}"

    def _pool(self, one: PoolQuery, items: list[str], train: Interactions, seed: int) -> Sequence[str]:
        target = train.items[one.target]
        pool = [target, *[item for item in items if item != target][: self.size - 1]]
        order = np.argsort(mixed(seed, id_keys([one.id]), id_keys(pool)), kind="stable")
        return [pool[at] for at in order.tolist()]


def read_lists(path: Path) -> Mapping[str, Sequence[str]]:
    """Lists by user or query: lines `user<TAB>item item …`, each item once, or a run as `read_run` takes it."""
    _, first = next(lines(path))
    if path.suffix in {".json", ".jsonl", ".trec", ".gz"} or first.count("\t") != 1:
        return {query: ranking.ids for query, ranking in read_run(path).items()}
    found: dict[str, list[str]] = {}
    for number, line in lines(path):
        user, tab, items = line.partition("\t")
        if not tab or user in found:
            raise BadInput(f"{path}:{number}: expected a new user, a tab and items, found {line[:40]!r}")
        found[user] = list(dict.fromkeys(items.split()))
    return found


def as_run(lists: Mapping[str, Sequence[str]], name: str) -> Run:
    """Lists as a run, in their order."""
    return Run.of(lists, name=name)


def _file(path: str) -> Path:
    place = Path(path)
    file = place / "run.trec" if place.is_dir() else place
    if not file.is_file():
        raise NotFound(f"no lists at {file}: give a run folder, a run, or a file of lines `user<TAB>item item …`")
    return file
