"""MTEB: any retriever, any reranker, or both, as a model that `mteb.evaluate` takes for retrieval and reranking."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mteb.models import ModelMeta

from whyrank.errors import BadInput
from whyrank.llm.trace import Trace
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Dataset, Document, Query, Ranking, Run


class WhyrankModel:
    """Searches, and reranks the first `depth`; of a reranking task it reranks what the task hands in.

    Attributes:
        mteb_model_meta: what MTEB writes beside the results.
    """

    def __init__(
        self, retriever: Retriever | None = None, reranker: Reranker | None = None, depth: int = 100, name: str = ""
    ) -> None:
        """Take a retriever, a reranker, or both.

        Raises:
            BadInput: neither is given.
        """
        if retriever is None and reranker is None:
            raise BadInput("give a retriever, a reranker, or both")
        self._retriever, self._reranker, self._depth = retriever, reranker, depth
        self._trace, self._ready, self._corpus = Trace(keep=100_000), retriever, Corpus(())
        parts = [type(part).__name__ for part in (retriever, reranker) if part is not None]
        self.mteb_model_meta = _meta(name or f"whyrank/{'-'.join(parts)}")

    def index(self, corpus: Any, **ignored: Any) -> None:  # noqa: ANN401 (a datasets.Dataset)
        """Take a collection of rows with `id`, `text` and `title`."""
        self._corpus = Corpus(Document(str(row["id"]), row.get("text") or "", row.get("title") or "") for row in corpus)
        self._ready = None if self._retriever is None else self._retriever.index(self._corpus)

    def search(
        self,
        queries: Any,  # noqa: ANN401 (a datasets.Dataset)
        *,
        top_k: int,
        top_ranked: Mapping[str, list[str]] | None = None,
        **ignored: Any,  # noqa: ANN401
    ) -> dict[str, dict[str, float]]:
        """Scores of documents by query: n, n-1, … 1 along the order, where a reranker made it.

        Raises:
            BadInput: there is no retriever, and the task hands no candidates in.
        """
        asked = [Query(str(row["id"]), row["text"]) for row in queries]
        if top_ranked is not None:
            run = Run.of({query.id: _falling(top_ranked[query.id]) for query in asked if query.id in top_ranked})
        elif self._ready is not None:
            run = self._ready.search(asked, top_k, self._trace)
        else:
            raise BadInput("this task hands no candidates in: a retriever is needed")
        if self._reranker is not None:
            data = Dataset("mteb", self._corpus, tuple(asked))
            run = self._reranker.rerank(run, data, self._depth if top_ranked is None else 10**9, self._trace)
        return {id: dict(zip(found.ids, map(float, found.scores), strict=True)) for id, found in run.items()}


def _falling(ids: list[str]) -> Ranking:

    return Ranking([str(id) for id in ids], np.arange(len(ids), 0, -1, dtype=np.float64))


def _meta(name: str) -> ModelMeta:
    """What MTEB wants to know of a model, as far as it can be known."""
    return ModelMeta.create_empty({"name": name, "revision": "local"})
