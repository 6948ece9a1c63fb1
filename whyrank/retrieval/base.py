"""What every retriever is: `index` a collection, `search` it. The public methods guard, the hooks work."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

from whyrank.errors import BadInput
from whyrank.registry import Part, name_of
from whyrank.types import Document, Query, Ranking, Run


class Retriever(Part, ABC):
    """Finds the documents of a collection that answer a query. Subclasses are frozen dataclasses.

    To write one, give `_search`, and `_index` where there is something to prepare; see `docs/add-your-own.md`.
    """

    masks_excluded: ClassVar[bool] = False
    """Whether `_search` itself leaves excluded documents out *before* it cuts at k; if not, it is asked for more."""

    def index(self, corpus: Iterable[Document]) -> Self:
        """A copy of this retriever that searches `corpus`; this one stays as it is.

        Raises:
            BadInput: the collection is empty.
        """
        ready = copy(self)
        ready._index(corpus)
        return ready

    def search(self, queries: Sequence[Query], k: int = 100) -> Run:
        """The `k` best documents of each query; a query's excluded documents never return.

        Returns:
            A run with every query, in the order given; a query that matches nothing has an empty ranking.

        Raises:
            BadInput: `k` is below 1, or a query id is given twice.
        """
        if k < 1:
            raise BadInput(f"k must be at least 1, not {k}")
        if len({query.id for query in queries}) < len(queries):
            raise BadInput("a query id is given twice: ids must be unique")
        extra = 0 if self.masks_excluded else max((len(query.excluded) for query in queries), default=0)
        found = self._search(queries, k + extra)
        rankings = {query.id: ranking for query, ranking in zip(queries, found, strict=True)}
        return Run.of(rankings, name=name_of(type(self))).without(queries).top(k)

    def save(self, path: str | Path) -> None:
        """Write the index to the folder `path`."""
        raise BadInput(f"{name_of(type(self))} keeps no index of its own that could be saved")

    @abstractmethod
    def _search(self, queries: Sequence[Query], k: int) -> Iterable[Ranking]:
        """One ranking for each query, at most `k` long, best first."""

    def _index(self, corpus: Iterable[Document]) -> None:  # noqa: B027 (a retriever over a remote engine needs none)
        """Prepare this (fresh) copy for `corpus`; state is set with `object.__setattr__`, since parts are frozen."""
