"""What a query may find, as row numbers of an index: the one way in which engines filter before they cut at k."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.types import Query

Numbers = NDArray[np.int64]


class Allowed(NamedTuple):
    """The rows that one query may find: those in `only`, or all rows where it is None, less those in `banned`.

    Attributes:
        only: (n,) rising row numbers, or None.
        banned: (m,) rising row numbers.
    """

    only: Numbers | None
    banned: Numbers

    def within(self, start: int, stop: int) -> "Allowed":
        """The same of the rows from `start` up to `stop`, numbered from 0."""
        return Allowed(
            None if self.only is None else _within(self.only, start, stop), _within(self.banned, start, stop)
        )

    def shut(self, scores: Any, nothing: float) -> None:  # noqa: ANN401 (an array, or a tensor where these are tensors too)
        """Set the scores (D,) of all other rows to `nothing`, where they are."""
        if self.only is not None:
            kept = scores[self.only]
            scores[:] = nothing
            scores[self.only] = kept
        scores[self.banned] = nothing

    def on(self, torch: Any, device: Any) -> "Allowed":  # noqa: ANN401 (the module; a device of it)
        """The same as tensors on a device, for scores that lie there."""
        only, banned = (None if rows is None else torch.from_numpy(rows).to(device) for rows in self)
        return Allowed(only, banned)  # type: ignore[arg-type]  # tensors, which index as arrays do

    def rest(self, size: int) -> Numbers:
        """The rows of `size` that the query may not find."""
        marked = np.zeros(size, dtype=np.float32)
        marked[:] = 1
        self.shut(marked, 0)
        return np.flatnonzero(marked == 0)


Filters = Mapping[int, Allowed]
"""By the place of a query, for those that may not find all."""


def allowed(queries: Sequence[Query], rows: Callable[[], Mapping[str, int]]) -> Filters:
    """What those of `queries` may find that may not find all.

    Args:
        queries: of one search; queries that share a set of ids share its row numbers.
        rows: tells the row of each document; called only where it is needed. Ids that it lacks count for nothing.
    """
    if not any(query.restricted for query in queries):
        return {}
    known, made = rows(), dict[int, Numbers]()

    def numbers(ids: Collection[str]) -> Numbers:
        if id(ids) not in made:
            made[id(ids)] = np.array(sorted(known[one] for one in ids if one in known), dtype=np.int64)
        return made[id(ids)]

    return {
        at: Allowed(None if query.only is None else numbers(query.only), numbers(query.excluded))
        for at, query in enumerate(queries)
        if query.restricted
    }


def filtering(
    query_ids: Collection[str],
    excluded: Mapping[str, Collection[str]] | None,
    only: Mapping[str, Collection[str]] | None,
) -> list[Query]:
    """Queries without text that filter as told by query id."""
    excluded, only = excluded or {}, only or {}
    return [
        Query(id, "", frozenset(excluded.get(id, ())), frozenset(only[id]) if id in only else None) for id in query_ids
    ]


def by_query(queries: Sequence[Query]) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """What queries exclude, and what those may find that may not find all, by query id; the reverse of `filtering`."""
    excluded = {query.id: query.excluded for query in queries if query.excluded}
    return excluded, {query.id: query.only for query in queries if query.only is not None}


def _within(numbers: Numbers, start: int, stop: int) -> Numbers:
    first, last = np.searchsorted(numbers, [start, stop])
    return numbers[first:last] - start
