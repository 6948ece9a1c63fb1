"""What a source of recommendation data holds, and how its rows become events, each checked where it stands."""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.types import Document, Interactions, Run

Fields = Mapping[str, str]
"""The text of an item, by key: title, brand, category, description, or whatever the source calls it."""

WORDS = {"title": 32, "description": 64}
"""How many words of a field's text are kept, and of any other 16 (Recformer; Li et al., 2023)."""

_MILLISECONDS = 1e11
"""A time above is in milliseconds: in seconds it would be after the year 5000."""


@dataclass(frozen=True)
class Log:
    """What a source holds.

    Attributes:
        name: what tables call it.
        digest: the beginning of the SHA-256 of the files that the events are from.
        events: the events of each user in the order of the source.
        texts: the fields of each item that has any; items that nobody has touched may be among them.
        users: the users who are evaluated, or None for all.
        lists: first-stage lists that the source publishes, by user, or None.
    """

    name: str
    digest: str
    events: Interactions
    texts: Mapping[str, Fields] = field(default_factory=dict)
    users: frozenset[str] | None = None
    lists: Run | None = None

    def documents(self, items: Sequence[str]) -> Iterator[Document]:
        """These items as documents, and after them those of which there is text and no event."""
        held, touched = set(items), set(self.events.items)
        for item in (*items, *(id for id in self.texts if id not in held and id not in touched)):
            yield document(item, self.texts.get(item, {}))


def document(item: str, fields: Fields) -> Document:
    """An item in words, `brand: … | category: …` in Recformer's order after its title; empty fields leave no trace."""
    keys = sorted(fields, key=lambda key: _ORDER.get(key, len(_ORDER)))
    cut = {key: " ".join(fields[key].split()[: WORDS.get(key, 16)]) for key in keys}
    text = " | ".join(f"{key}: {value}" for key, value in cut.items() if value and key != "title")
    return Document(item, text, cut.get("title", ""))


_ORDER = {"title": 0, "brand": 1, "category": 2, "description": 999}


def digest(*files: Path) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of these files, one after the other."""
    found = sha256()
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:12]


class EventRows:
    """Events as they are read, one row of a file after the other."""

    def __init__(self, scale: tuple[float, float] | None = None, repeats: bool = False) -> None:
        """Begin.

        Args:
            scale: the lowest and the highest rating that there can be.
            repeats: keep rows that say the same of the same user, item and time again, instead of refusing them.
        """
        self._scale, self._repeats = scale, repeats
        self._user_of, self._item_of = dict[str, int](), dict[str, int]()
        self._users, self._items, self._lines = array("i"), array("i"), array("q")
        self._times, self._ratings, self._parts = array("d"), array("f"), array("b")
        self.part: int | None = None
        """Of which part what follows is, where a source is split already: training 0, validation 1, test 2."""

    def add(self, where: str, line: int, user: str, item: str, time: str | None, rating: str | None) -> None:
        """Take one event.

        Raises:
            BadInput: an id is empty, the time is none, the rating is none or out of range; `where` says so.
        """
        if not user or not item:
            raise BadInput(f"{where}: the id of the {'item' if user else 'user'} is empty")
        if time is not None:
            self._times.append(_time(time, where))
        if rating is not None:
            self._ratings.append(self._rated(rating, where))
        self._users.append(self._user_of.setdefault(user, len(self._user_of)))
        self._items.append(self._item_of.setdefault(item, len(self._item_of)))
        self._lines.append(line)
        if self.part is not None:
            self._parts.append(self.part)

    def done(self, path: object) -> Interactions:
        """All events, user by user, each user's in the order of the file.

        Raises:
            BadInput: there are none, an event stands there twice, or times are partly in seconds, partly in
                milliseconds.
        """
        if not self._users:
            raise BadInput(f"{path}: no events: each line after the head tells of one")
        users, codes = np.array(self._users, dtype=np.int32), np.array(self._items, dtype=np.int32)
        times = np.array(self._times) if self._times else None
        if times is not None:
            self._refuse_two_units(times, path)
            if not self._repeats:
                self._refuse_repeats(users, codes, times, path)
        order = np.argsort(users, kind="stable")
        return Interactions(
            list(self._user_of),
            list(self._item_of),
            np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.int64),
            codes[order],
            None if times is None else times[order],
            np.array(self._ratings, dtype=np.float32)[order] if self._ratings else None,
            np.array(self._parts, dtype=np.int8)[order] if self._parts else None,
        )

    def _rated(self, text: str, where: str) -> float:
        try:
            rating = float(text)
        except ValueError:
            raise BadInput(f"{where}: the rating {text!r} is no number") from None
        low, high = self._scale or (-math.inf, math.inf)
        if not math.isfinite(rating) or not low <= rating <= high:
            within = f" from {low:g} to {high:g}" if self._scale else ""
            raise BadInput(f"{where}: the rating {text!r} is out of range: a number{within} is wanted")
        return rating

    def _refuse_two_units(self, times: NDArray[np.float64], path: object) -> None:
        long = times > _MILLISECONDS
        if long.any() and (times[~long] > _MILLISECONDS / 1000).any():
            one, two = int(np.argmax(~long & (times > _MILLISECONDS / 1000))), int(np.argmax(long))
            raise BadInput(
                f"{path}: line {self._lines[one]} has the time {times[one]:.0f}, in seconds, line {self._lines[two]} "
                f"{times[two]:.0f}, in milliseconds: bring all to one unit"
            )

    def _refuse_repeats(
        self, users: NDArray[np.int32], codes: NDArray[np.int32], times: NDArray[np.float64], path: object
    ) -> None:
        order = np.lexsort((times, codes, users))
        same = np.flatnonzero(
            (np.diff(users[order]) == 0) & (np.diff(codes[order]) == 0) & (np.diff(times[order]) == 0)
        )
        if same.size:
            one, two = sorted((int(order[same[0]]), int(order[same[0] + 1])))
            user, item = list(self._user_of)[users[one]], list(self._item_of)[codes[one]]
            raise BadInput(
                f"{path}:{self._lines[two]}: repeats line {self._lines[one]}: user {user!r}, item {item!r} at the same "
                "time: take it out, or say repeats=True if it did happen twice"
            )


def _time(text: str, where: str) -> float:
    """A number as it is, or an ISO 8601 date as seconds since 1970 (UTC where no zone is told)."""
    try:
        time = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            missing = "is missing: leave out the column of times if only the order is known" if not text else ""
            raise BadInput(
                f"{where}: the time {missing or f'{text!r} is neither a number nor a date such as 2024-05-31T12:00:00'}"
            ) from None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(time):
        raise BadInput(f"{where}: the time {text!r} is no time")
    return time
