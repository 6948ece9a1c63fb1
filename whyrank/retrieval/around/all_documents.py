"""The first stage of a small collection: every document, so that the reranker sees them all."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Self

import numpy as np

from whyrank.errors import BadInput
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.around.fuse import many_times
from whyrank.retrieval.base import Retriever
from whyrank.types import Document, Query, Ranking, Run


@dataclass(frozen=True)
class AllDocuments(Retriever):
    """All documents that a query may find, up to `k`: what a retriever finds first, the others behind it.

    For collections that are small enough to be reranked as a whole, where a retriever by words leaves out what shares
    no word with the query.

    Attributes:
        retriever: what finds those that come first; without one all stand in the order of the collection.

    Examples:
        >>> from whyrank.retrieval.lexical.bm25 import BM25
        >>> documents = [Document("d1", "Ants follow scent."), Document("d2", "Wax."), Document("d3", "Bees dance.")]
        >>> AllDocuments(BM25()).index(documents).search([Query("q", "why do bees dance?")])["q"].ids
        ['d3', 'd1', 'd2']
    """

    retriever: Retriever | None = None
    _ids: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy that knows `corpus`, and whose retriever is ready for it."""
        several, ready = many_times(corpus), copy(self)
        ready._take(several, self.retriever and self.retriever.ready(several))
        return ready

    def _index(self, corpus: Iterable[Document]) -> None:
        several = many_times(corpus)
        self._take(several, self.retriever and self.retriever.index(several))

    def _take(self, corpus: Iterable[Document], retriever: Retriever | None) -> None:
        object.__setattr__(self, "retriever", retriever)
        object.__setattr__(self, "_ids", tuple(document.id for document in corpus))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        if not self._ids:
            raise BadInput(f"{self!r} knows no documents yet: call index(corpus)")
        first = None if self.retriever is None else self.retriever.search(queries, k, trace)
        found = {query.id: self._filled(query, None if first is None else first[query.id], k) for query in queries}
        return Run.of(found, name=name_of(type(self)), notes=first.notes if first is not None else None)

    def _filled(self, query: Query, first: Ranking | None, k: int) -> Ranking:
        """What was found first, then the others in the order of the collection, each with a score one lower."""
        ids = [] if first is None else list(first.ids)
        there = set(ids)
        rest = (id for id in self._ids if id not in there and query.allows(id))
        ids += islice(rest, k - len(ids))
        scores = np.empty(0) if first is None else np.asarray(first.scores, dtype=np.float64)
        below = scores[-1] if len(scores) else len(ids) + 1.0
        return Ranking(ids, np.concatenate([scores, below - np.arange(1, len(ids) - len(scores) + 1)]))
