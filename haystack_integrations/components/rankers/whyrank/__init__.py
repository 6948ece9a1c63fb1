"""A Haystack ranker; it stands in the namespace that Haystack trusts, so that saved pipelines load as they are."""

import asyncio
from dataclasses import replace
from typing import Any

from haystack import Document, component

from whyrank.errors import BadInput
from whyrank.integrations.common import ranker


@component
class WhyrankRanker:
    """Reranks documents; copies come back, with a score from 0 to 1 and, where there is one, a reason in `meta`."""

    def __init__(self, reranker: str, top_k: int = 10, score_threshold: float | None = None) -> None:
        """Keep what is written down; nothing is loaded.

        Args:
            reranker: the spec of a reranker, such as "listwise(openai('Qwen/Qwen3-8B'))".
            top_k: how many documents come back.
            score_threshold: documents below it are left out.
        """
        self.reranker, self.top_k, self.score_threshold = reranker, _positive(top_k), score_threshold

    def warm_up(self) -> None:
        """Make the reranker."""
        ranker(self.reranker)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """The documents, best first."""
        top = self.top_k if top_k is None else _positive(top_k)
        ranked = ranker(self.reranker).rank(query, [one.content or "" for one in documents], top)
        least = 0.0 if self.score_threshold is None else self.score_threshold
        found = []
        for one in ranked:
            if one.score >= least:
                given = documents[one.index]
                meta = {**given.meta, **({"reason": one.reason} if one.reason else {})}
                found.append(replace(given, score=one.score, meta=meta))
        return {"documents": found}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """The same, in a thread."""
        return await asyncio.to_thread(self.run, query, documents, top_k)


def _positive(top_k: int) -> int:
    if top_k < 1:
        raise BadInput(f"top_k must be at least 1, not {top_k!r}")
    return top_k
