"""What users did with items: Interactions of many users, the History of one, and the Catalogue of items."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.types.texts import Corpus, Document


class Event(NamedTuple):
    """One thing that a user did: with which item, when (in the unit of the source), how much it was liked."""

    item: str
    time: float | None = None
    rating: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Events user by user, oldest first: those of user u are `codes[i]` for i in `offsets[u]:offsets[u+1]`.

    Attributes:
        users: (U,) user ids.
        items: (I,) item ids.
        offsets: (U+1,) int64.
        codes: (N,) int32, positions in `items`.
        times: (N,) float64, or None where the source has none and only the order is known.
        ratings: (N,) float32, or None.
        parts: (N,) int8, 0 for training, 1 for validation, 2 for test, where the source is split already; else None.
    """

    users: Sequence[str]
    items: Sequence[str]
    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]
    times: NDArray[np.float64] | None = None
    ratings: NDArray[np.float32] | None = None
    parts: NDArray[np.int8] | None = None

    @classmethod
    def of(cls, histories: Iterable[tuple[str, Sequence[str]]]) -> "Interactions":
        """Build from (user, items oldest first).

        Example:
            >>> Interactions.of([("ann", ["a", "b"]), ("bob", ["b"])]).codes.tolist()
            [0, 1, 1]
        """
        users, sizes, codes, table = [], [0], [], dict[str, int]()
        for user, items in histories:
            users.append(user)
            sizes.append(len(items))
            codes += [table.setdefault(item, len(table)) for item in items]
        return cls(users, list(table), np.cumsum(sizes, dtype=np.int64), np.array(codes, dtype=np.int32))

    def __len__(self) -> int:
        """How many events there are."""
        return len(self.codes)

    def __repr__(self) -> str:
        """Size."""
        return f"Interactions({len(self.users):,} users, {len(self.items):,} items, {len(self):,} events)"

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """(N,) int32: which user each event belongs to."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.offsets))

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """(I,) how many events each item has."""
        return np.bincount(self.codes, minlength=len(self.items))

    def take(self, order: NDArray[np.integer[Any]]) -> "Interactions":
        """The events at these places, in this order within each user; users who have none stay, with none."""
        rows = self.rows[order]
        by_user = order[np.argsort(rows, kind="stable")]
        sizes = np.bincount(rows, minlength=len(self.users))
        return Interactions(
            self.users,
            self.items,
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            self.codes[by_user],
            None if self.times is None else self.times[by_user],
            None if self.ratings is None else self.ratings[by_user],
            None if self.parts is None else self.parts[by_user],
        )

    def event(self, at: int) -> Event:
        """The event at place `at`."""
        time = None if self.times is None else float(self.times[at])
        rating = None if self.ratings is None else float(self.ratings[at])
        return Event(self.items[self.codes[at]], time, rating)


@dataclass(frozen=True, slots=True)
class History(Sequence[Event]):
    """What one user did before a query, oldest first: the events `start` to `stop` of `log`, which is shared."""

    log: Interactions
    start: int
    stop: int

    def __len__(self) -> int:
        """How many events there are."""
        return self.stop - self.start

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> "History | tuple[Event, ...]": ...
    def __getitem__(self, at: int | slice) -> "Event | History | tuple[Event, ...]":
        """One event, or a part of the history."""
        span = range(self.start, self.stop)[at]
        if isinstance(span, int):
            return self.log.event(span)
        if span.step == 1:
            return History(self.log, span.start, max(span.start, span.stop))
        return tuple(map(self.log.event, span))

    def __iter__(self) -> Iterator[Event]:
        """The events."""
        return map(self.log.event, range(self.start, self.stop))

    @property
    def items(self) -> list[str]:
        """The item ids, oldest first."""
        return [self.log.items[code] for code in self.log.codes[self.start : self.stop].tolist()]

    def __eq__(self, other: object) -> bool:
        """Whether both tell the same events in the same order."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """By content, as `==` compares."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Size, and what was last."""
        return f"History({len(self)} events{f', the last {self[-1]}' if len(self) else ''})"


class Catalogue(Corpus):
    """A collection of items that knows what users did with them before the split: recommenders learn from that.

    Attributes:
        train: the events that may be learnt from; its table of items is the ids of the documents, in order.
    """

    def __init__(self, documents: Iterable[Document], train: Interactions) -> None:
        """Hold documents and events.

        Raises:
            BadInput: two documents have the same id, or the events are of other items than the documents.
        """
        super().__init__(documents)
        self.train = train
        if list(train.items) != list(self._documents):
            raise BadInput("the events of a catalogue must count items in the order of its documents")
