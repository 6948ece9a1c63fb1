"""A small collection, a retriever that remembers what it was asked, and what a rewriter makes it search for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from whyrank import BM25, Document, Query, Retriever, Run, Trace
from whyrank.llm.messages import Prompt
from whyrank.retrieval.rewrite import Combine, Rewriter, Rewritten

DOCUMENTS = [
    Document("d0", "Bees dance in the hive to tell where flowers are."),
    Document("d1", "A waggle run points to the flowers."),
    Document("d2", "Honey keeps for years in the hive."),
    Document("d3", "Flowers pay bees with nectar."),
    Document("d4", "Bees fly home by the sun."),
    Document("d5", "Ants follow a trail of scent to the food."),
    Document("d6", "Yeast breathes out gas, and so the loaf rises."),
    Document("d7", "The hive is warm in winter, since bees shiver."),
]
READY = BM25().index(DOCUMENTS)
QUERY = Query("q", "why do bees dance")


@dataclass(frozen=True)
class Recorder(Retriever):
    """BM25 that remembers what it was asked for."""

    asked: list[list[tuple[str, str]]] = field(default_factory=list, repr=False, compare=False)
    inner: BM25 = field(default_factory=BM25)

    def _index(self, corpus: Iterable[Document]) -> None:
        object.__setattr__(self, "inner", self.inner.index(corpus))

    def _search(self, queries: Sequence[Query], k: int):
        raise NotImplementedError  # `_run` is called instead

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        self.asked.append([(query.id, query.text) for query in queries])
        return self.inner.search(queries, k, trace)

    @property
    def texts(self) -> list[str]:
        return [text for search in self.asked for _, text in search]


def shown(prompt: Prompt) -> str:
    return "\n".join(turn["content"] for turn in prompt.chat)


def searched(rewriter: Rewriter, query: Query = QUERY, combine: Combine | None = None) -> tuple[Run, list[str]]:
    """The run for one query, and every text that was searched for."""
    recorder = Recorder()
    run = Rewritten(recorder, rewriter, combine).index(DOCUMENTS).search([query], k=8)
    return run, recorder.texts
