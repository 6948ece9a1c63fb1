"""LangChain: a retriever, a document compressor, and a cross-encoder."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun, Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator

from whyrank.integrations.common import Placed, Searcher, ranker, searcher, spec
from whyrank.integrations.scorer import Scorer
from whyrank.rerank.base import Reranker


class WhyrankRetriever(BaseRetriever):
    """Searches `data`, and reranks what was found where a reranker is given.

    What is written down (JSON, pickle) are the specs and the name of the data. Found documents have `id`, the metadata
    of ours, `title`, `relevance_score` from 0 to 1 and, from a reranker, `reason`.

    Attributes:
        retriever: the spec of a retriever.
        data: a data set's name, a folder or a file.
        k: how many documents.
        reranker: the spec of a reranker.
        depth: how many documents are reranked.
    """

    retriever: str
    data: str
    k: int = 10
    reranker: str | None = None
    depth: int = 50
    _searcher: Searcher | None = PrivateAttr(default=None)

    _specs = field_validator("retriever", "reranker", mode="before")(spec)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [_found(one) for one in self._ready().search(query, self.k if k is None else k)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = await asyncio.to_thread(lambda: self._ready().search(query, self.k if k is None else k))
        return [_found(one) for one in found]

    def _ready(self) -> Searcher:
        if self._searcher is None:
            self._searcher = searcher(self.retriever, self.data, self.reranker, self.depth)
        return self._searcher


class WhyrankCompressor(BaseDocumentCompressor):
    """Reranks documents for `ContextualCompressionRetriever`; what comes back are copies, with all their metadata.

    `relevance_score`, from 0 to 1, and `reason` are added to the metadata.

    Attributes:
        reranker: the spec of a reranker.
        top_n: how many documents come back; None is all.
    """

    reranker: str
    top_n: int | None = 3

    model_config = ConfigDict(extra="forbid")

    _specs = field_validator("reranker", mode="before")(spec)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents, best first."""
        ranked = ranker(self.reranker).rank(query, [one.page_content for one in documents], self.top_n)
        return [_with(documents[one.index], one) for one in ranked]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The same, in a thread."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)


class WhyrankCrossEncoder(BaseModel, BaseCrossEncoder):
    """Scores pairs for LangChain's `CrossEncoderReranker`; for rerankers with own scores.

    Attributes:
        reranker: the spec of a reranker.
    """

    reranker: str
    _scorer: Scorer | None = PrivateAttr(default=None)

    _specs = field_validator("reranker", mode="before")(spec)

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """A score from 0 to 1 for each pair."""
        if self._scorer is None:
            self._scorer = Scorer(self.reranker)
        return [float(score) for score in self._scorer.predict(text_pairs)]


def compressor(reranker: str | Reranker, top_n: int | None = 3) -> WhyrankCompressor:
    """The compressor of a reranker, by its spec or as a part."""
    return WhyrankCompressor(reranker=str(spec(reranker)), top_n=top_n)


def _found(placed: Placed) -> Document:
    one = placed.document
    assert one is not None
    metadata: dict[str, Any] = {**one.metadata, "relevance_score": placed.score}
    metadata |= {"title": one.title} if one.title else {}
    metadata |= {"reason": placed.reason} if placed.reason else {}
    return Document(id=one.id, page_content=one.text, metadata=metadata)


def _with(document: Document, placed: Placed) -> Document:
    told = {"relevance_score": placed.score, **({"reason": placed.reason} if placed.reason else {})}
    return document.model_copy(update={"metadata": {**document.metadata, **told}})


__all__ = ["WhyrankCompressor", "WhyrankCrossEncoder", "WhyrankRetriever", "compressor"]
