"""DSPy: a retrieval model for `dspy.configure(rm=…)`, and a function that `dspy.Tool` and agents take."""

from collections.abc import Callable
from dataclasses import dataclass

from whyrank.integrations.common import searcher
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Dataset


@dataclass(frozen=True)
class Passage:
    """What `dspy.Retrieve` reads: `long_text`; and what else is known."""

    long_text: str
    id: str
    score: float
    reason: str = ""


class WhyrankRM:
    """The passages for a query: `dspy.configure(rm=WhyrankRM("bm25()", "./folder"))`, then `dspy.Retrieve(k=3)`."""

    def __init__(
        self,
        retriever: str | Retriever,
        data: str | Corpus | Dataset,
        reranker: str | Reranker | None = None,
        depth: int = 50,
    ) -> None:
        """Take specs or parts, and a data set's name, a folder, a file or a collection."""
        self._searcher = searcher(retriever, data, reranker, depth)

    def __call__(self, query: str, k: int = 3, **ignored: object) -> list[Passage]:
        """The k best passages."""
        return [
            Passage(one.document.content, one.document.id, one.score, one.reason)
            for one in self._searcher.search(query, k)
            if one.document is not None
        ]


def search_tool(rm: WhyrankRM, k: int = 5) -> Callable[[str], list[str]]:
    """A function with types and a description, as `dspy.ReAct(…, tools=[search_tool(rm)])` wants it."""

    def search(query: str) -> list[str]:
        """Find the passages that answer a query, best first."""
        return [passage.long_text for passage in rm(query, k)]

    return search
