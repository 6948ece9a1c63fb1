"""What all adapters share: a spec or a part, texts in, and places with scores and reasons out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from whyrank.datasets import load
from whyrank.errors import BadInput
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.serve.scores import unit_scores
from whyrank.types import Corpus, Dataset, Document, Query

KEPT = 10_000
"""Model calls that stay in memory, so that the same question is not asked twice."""


@dataclass(frozen=True)
class Placed:
    """A document in its place.

    Attributes:
        index: where it stood in the list that was handed in, or that was found.
        score: from 0 to 1, strictly falling along the order; see `whyrank.serve.scores`.
        reason: why it stands there, where a model said it.
        document: what was found; None where texts were handed in.
    """

    index: int
    score: float
    reason: str = ""
    document: Document | None = None


@dataclass
class Ranker:
    """A reranker, by its spec or as a part; its model calls are remembered as long as it lives."""

    reranker: Reranker
    trace: Trace = field(default_factory=lambda: Trace(keep=KEPT), repr=False)

    def rank(self, query: str, texts: Sequence[str], top: int | None = None) -> list[Placed]:
        """The texts, best first; `top` of them, or all."""
        if not texts:
            return []
        ranked = self.reranker.rank(query, texts, self.trace)
        scores, _ = unit_scores([item.score for item in ranked], self.reranker.unit)
        placed = [Placed(item.index, score, item.reason) for item, score in zip(ranked, scores, strict=True)]
        return placed[:top]


@dataclass
class Searcher:
    """A retriever over a collection, and a reranker behind it, if there is one."""

    retriever: Retriever
    corpus: Corpus
    ranker: Ranker | None = None
    depth: int = 50
    trace: Trace = field(default_factory=lambda: Trace(keep=KEPT), repr=False)

    def search(self, query: str, k: int) -> list[Placed]:
        """The k best documents; those of the reranker have reasons."""
        if k < 1:
            raise BadInput(f"k must be at least 1, not {k!r}")
        depth = k if self.ranker is None else max(k, self.depth)
        run = self.retriever.search([Query("query", query)], depth, self.trace)
        found = [self.corpus[id] for id in run["query"].ids if id in self.corpus]
        if self.ranker is None:
            scores, _ = unit_scores([None] * len(found), lambda score: None)
            return [Placed(at, score, "", one) for at, (one, score) in enumerate(zip(found, scores, strict=True))]
        ranked = self.ranker.rank(query, [one.content for one in found], k)
        return [Placed(one.index, one.score, one.reason, found[one.index]) for one in ranked]


def ranker(given: str | Reranker) -> Ranker:
    """The reranker of a spec, made once however often it is asked for; or a part as it is."""
    return _ranker(given) if isinstance(given, str) else Ranker(given)


def searcher(
    retriever: str | Retriever, data: str | Corpus | Dataset, reranker: str | Reranker | None = None, depth: int = 50
) -> Searcher:
    """What searches `data`: a data set's name, a folder, a file, or a collection.

    Raises:
        BadSpec: a spec is none.
        NotFound: there is no such data.
    """
    part = make(retriever, Retriever) if isinstance(retriever, str) else retriever
    found = load(data) if isinstance(data, str) else data
    corpus = found.corpus if isinstance(found, Dataset) else found
    return Searcher(part.ready(corpus), corpus, None if reranker is None else ranker(reranker), depth)


def spec(given: object) -> object:
    """The spec of a part, and everything else as it is: what adapters keep, so that they can be written down."""
    return repr(given) if isinstance(given, Reranker | Retriever) else given


@lru_cache(maxsize=16)
def _ranker(given: str) -> Ranker:
    return Ranker(make(given, Reranker))
