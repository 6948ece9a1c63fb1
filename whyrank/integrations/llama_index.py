"""LlamaIndex: a node postprocessor and a retriever."""

import asyncio
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import field_validator

from whyrank.errors import BadInput
from whyrank.integrations.common import Placed, Searcher, ranker, searcher, spec
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Dataset

dispatcher = get_dispatcher(__name__)


class WhyrankRerank(BaseNodePostprocessor):
    """Reranks nodes; what comes back has the node that came in, a new score from 0 to 1, and the reason in `metadata`.

    Attributes:
        reranker: the spec of a reranker.
        top_n: how many nodes come back.
    """

    reranker: str
    top_n: int = 3

    _specs = field_validator("reranker", mode="before")(spec)

    @classmethod
    def class_name(cls) -> str:
        """The name under which it is written down."""
        return "WhyrankRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise BadInput("a query is needed: give query_str or query_bundle")
        start = ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.reranker)
        dispatcher.event(start)
        texts = [one.node.get_content(MetadataMode.EMBED) for one in nodes]
        ranked = ranker(self.reranker).rank(query_bundle.query_str, texts, self.top_n)
        found = [_with(nodes[one.index], one) for one in ranked]
        dispatcher.event(ReRankEndEvent(nodes=found))
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._postprocess_nodes, nodes, query_bundle)


class WhyrankRetriever(BaseRetriever):
    """Searches a collection, and reranks what was found where a reranker is given."""

    def __init__(
        self,
        retriever: str | Retriever,
        data: str | Corpus | Dataset,
        similarity_top_k: int = 10,
        reranker: str | Reranker | None = None,
        depth: int = 50,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Take specs or parts, and a data set's name, a folder, a file or a collection."""
        self._searcher: Searcher = searcher(retriever, data, reranker, depth)
        self.similarity_top_k = similarity_top_k
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(one) for one in self._searcher.search(query_bundle.query_str, self.similarity_top_k)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(placed: Placed) -> NodeWithScore:
    one = placed.document
    assert one is not None
    metadata: dict[str, Any] = {**one.metadata, **({"title": one.title} if one.title else {})}
    return _with(NodeWithScore(node=TextNode(id_=one.id, text=one.text, metadata=metadata)), placed)


def _with(given: NodeWithScore, placed: Placed) -> NodeWithScore:
    """The node with its score; the reason is in the metadata of a copy, and in no text for models."""
    if not placed.reason:
        return NodeWithScore(node=given.node, score=placed.score)
    node = given.node.model_copy(update={"metadata": {**given.node.metadata, "reason": placed.reason}})
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        setattr(node, name, [*getattr(node, name), "reason"])
    return NodeWithScore(node=node, score=placed.score)
