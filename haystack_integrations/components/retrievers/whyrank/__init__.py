"""A Haystack retriever over a collection of whyrank's, in the namespace that Haystack trusts."""

import asyncio
from typing import Any

from haystack import Document, component

from whyrank.errors import BadInput
from whyrank.integrations.common import Searcher, searcher


@component
class WhyrankRetriever:
    """Searches `data`, and reranks what was found where a reranker is given."""

    def __init__(
        self, retriever: str, data: str, top_k: int = 10, reranker: str | None = None, depth: int = 50
    ) -> None:
        """Keep what is written down; nothing is loaded.

        Args:
            retriever: the spec of a retriever, such as "bm25()".
            data: a data set's name, a folder or a file.
            top_k: how many documents.
            reranker: the spec of a reranker.
            depth: how many documents are reranked.
        """
        if top_k < 1:
            raise BadInput(f"top_k must be at least 1, not {top_k!r}")
        self.retriever, self.data, self.top_k, self.reranker, self.depth = retriever, data, top_k, reranker, depth
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Index the data, or open its index."""
        if self._searcher is None:
            self._searcher = searcher(self.retriever, self.data, self.reranker, self.depth)

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """The documents found, best first, with scores from 0 to 1."""
        self.warm_up()
        assert self._searcher is not None
        found = []
        for placed in self._searcher.search(query, self.top_k if top_k is None else top_k):
            one = placed.document
            assert one is not None
            meta = {**one.metadata, "title": one.title, **({"reason": placed.reason} if placed.reason else {})}
            found.append(Document(id=one.id, content=one.text, meta=meta, score=placed.score))
        return {"documents": found}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """The same, in a thread."""
        return await asyncio.to_thread(self.run, query, top_k)
