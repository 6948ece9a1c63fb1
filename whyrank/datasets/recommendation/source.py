"""A source of recommendation data: a part that `load` takes in place of a name, `"s3('Beauty.txt')"`."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import groupby

import numpy as np

from whyrank.datasets.recommendation.log import Log
from whyrank.datasets.recommendation.pools import PoolQuery
from whyrank.datasets.recommendation.slices import slices
from whyrank.datasets.recommendation.split import LeaveOneOut, Protocol, Split
from whyrank.errors import BadInput
from whyrank.registry import Part
from whyrank.types import Catalogue, Dataset, History, Interactions, Qrels, Query, Run

SHOWN = 20
"""How many of the last events a query tells in words."""


@dataclass(frozen=True)
class Source(Part, ABC):
    """Reads what users did; a protocol makes queries of it.

    Attributes:
        protocol: how it is split, and what counts.
    """

    _: KW_ONLY
    protocol: Protocol = field(default_factory=LeaveOneOut)

    @abstractmethod
    def read(self) -> Log:
        """The events and the texts of items.

        Raises:
            NotFound, BadInput: a file is missing or damaged: file and line.
        """

    def load(self, split: str | None = None) -> Dataset:
        """The data set of one part of the split, "test" (by default) or "dev".

        Raises:
            BadInput: there is no such part, the split leaks, or nothing is left of the data.
            NotFound: a file is missing.
        """
        if split not in (None, "test", "dev"):
            raise BadInput(f"{self!r} has no split {split!r}: there are test and dev")
        log = self.read()
        found = self.protocol.split(log.events, "dev" if split == "dev" else "test")
        if log.users is not None:
            users = [log.events.users[row] in log.users for row in found.log.rows[found.targets].tolist()]
            found = found.only(np.array(users, dtype=bool), "users who are not evaluated")
        return _dataset(log, found, self.protocol, repr(self), "" if split != "dev" else "dev:")


def _dataset(log: Log, split: Split, protocol: Protocol, name: str, part: str) -> Dataset:
    documents = list(log.documents(split.log.items))
    table = [one.id for one in documents]
    train = Interactions(split.train.users, table, split.train.offsets, split.train.codes, split.train.times)
    told = Interactions(split.log.users, table, split.log.offsets, split.log.codes, split.log.times, split.log.ratings)
    asked = list(_asked(split))
    titles = [one.title or one.text or one.id for one in documents]
    pools = list(protocol.pools.of(asked, train, protocol.seed)) if protocol.pools else [None] * len(asked)
    mask = protocol.repeats != "allow"
    queries = tuple(
        Query(
            one.id,
            in_words([titles[code] for code in one.history[-SHOWN:].tolist()], len(one.history)),
            frozenset(table[code] for code in one.history.tolist()) if mask else frozenset(),
            None if pool is None else frozenset(pool),
            History(told, start, cut),
        )
        for one, start, cut, pool in zip(asked, split.starts.tolist(), split.cuts.tolist(), pools, strict=True)
    )
    judged = part + protocol.id(f"{log.name}@{log.digest}", log.events.times is not None)
    qrels = Qrels({one.id: {table[one.target]: 1} for one in asked}, judged)
    return Dataset(
        name=name,
        corpus=Catalogue(documents, train),
        queries=queries,
        qrels=qrels,
        candidates=_candidates(log, asked, pools),
        slices=slices(split, [one.id for one in asked]),
        left_out=split.left_out,
    )


def in_words(titles: Sequence[str], count: int) -> str:
    """A history as text: numbered, the newest last, and the newest once more.

    Example:
        >>> print(in_words(["Bee", "Ant"], 3))
        2. Bee
        3. Ant
        The latest was Ant.
    """
    first = count - len(titles) + 1
    told = [f"{at}. {title}" for at, title in enumerate(titles, first)]
    return "\n".join([*told, f"The latest was {titles[-1]}."])


def _asked(split: Split) -> Iterator[PoolQuery]:
    """The queries; a user with one query gives it the id, of several each has its number."""
    log, rows = split.log, split.log.rows[split.targets].tolist()
    counts = Counter(rows)
    places = zip(split.starts.tolist(), split.cuts.tolist(), split.targets.tolist(), strict=True)
    for row, group in groupby(zip(rows, places, strict=True), key=lambda pair: pair[0]):
        for number, (_, (start, cut, target)) in enumerate(group, 1):
            id = f"u{log.users[row]}" + (f".t{number}" if counts[row] > 1 else "")
            yield PoolQuery(id, log.users[row], log.codes[start:cut], int(log.codes[target]))


def _candidates(log: Log, asked: Sequence[PoolQuery], pools: Sequence[Sequence[str] | None]) -> Run | None:
    if pools and pools[0] is not None:
        return Run.of({one.id: pool or () for one, pool in zip(asked, pools, strict=True)}, name="pool")
    if log.lists is None:
        return None
    lists = {one.id: log.lists[one.user].ids for one in asked if one.user in log.lists}
    return Run.of(lists, name=log.lists.name)
