"""Fusion as a retriever: several retrievers search, their rankings become one."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from whyrank.errors import BadSpec
from whyrank.fields import Length, Positive
from whyrank.fusion import RRF, Fusion, Method, Norm
from whyrank.llm.trace import Trace
from whyrank.registry import variadic
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Document, Query, Ranking, Run


@variadic
@dataclass(frozen=True)
class Fuse(Retriever, Fusion):
    """Search with several retrievers and fuse what they find, as `Fusion` says.

    Attributes:
        retrievers: two or more, given one by one: `fuse(bm25(), dense('minilm'))`.
        depth: how deep each retriever is searched, at least; a search for more documents goes as deep as it must.
        method: "rrf", "combsum" or "combmnz".
        norm: what is done to scores first: "minmax", "zscore" or "none".
        k: of "rrf": how little the first ranks differ.
        weights: one for each retriever; none at all means 1 for each.

    Examples:
        >>> from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
        >>> documents = [Document("d1", "Bees dance to tell where flowers are."), Document("d2", "Ants follow scent.")]
        >>> Fuse(BM25(), BM25Q(), weights=(1, 0.5)).index(documents).search([Query("q", "why do bees dance?")])["q"].ids
        ['d1']
    """

    retrievers: Annotated[tuple[Retriever, ...], Length(2)]
    depth: Positive = field(default=1000, kw_only=True)

    filters: ClassVar[bool] = True

    if TYPE_CHECKING:

        def __init__(
            self,
            *retrievers: Retriever,
            method: Method = "rrf",
            norm: Norm = "minmax",
            k: int = RRF,
            weights: tuple[float, ...] = (),
            depth: int = 1000,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Refuse weights that are not one for each retriever."""
        super().__post_init__()
        if self.weights and len(self.weights) != len(self.retrievers):
            raise BadSpec(f"{len(self.weights)} weights are given for {len(self.retrievers)} retrievers")

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy each of whose retrievers is ready: it opens the index that it has, or indexes `corpus`."""
        several, ready = many_times(corpus), copy(self)
        object.__setattr__(ready, "retrievers", tuple(retriever.ready(several) for retriever in self.retrievers))
        return ready

    def _index(self, corpus: Iterable[Document]) -> None:
        several = many_times(corpus)
        object.__setattr__(self, "retrievers", tuple(retriever.index(several) for retriever in self.retrievers))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        deep = max(k, self.depth)
        return self.of([retriever.search(queries, deep, trace) for retriever in self.retrievers])


def many_times(corpus: Iterable[Document]) -> Iterable[Document]:
    """The collection, held in memory where it could be read only once."""
    return corpus if isinstance(corpus, Corpus | Sequence) else Corpus(corpus)
