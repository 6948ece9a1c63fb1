"""Search on another machine: a retriever that asks a server of ours, `whyrank serve --search`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from whyrank.errors import BadInput, EngineError, need
from whyrank.fields import Above
from whyrank.llm.address import check_address, variable
from whyrank.llm.rerank_server import sentence
from whyrank.registry import HOW
from whyrank.retrieval.base import Retriever
from whyrank.secrets import remember
from whyrank.types import Query, Ranking

KEY = "WHYRANK_API_KEY"

TOGETHER = 50
"""Queries of one request."""

MOST = 1000
"""Documents that the server gives for one query."""


@dataclass(frozen=True)
class Remote(Retriever):
    """Searches by `/v1/search` of `whyrank serve`; the index is the server's, and what is indexed here has no effect.

    What it finds are ids and scores of the server's collection: reranking needs the same documents here. The key is
    taken from the environment variable WHYRANK_API_KEY.

    Attributes:
        url: the server, such as "http://localhost:8000".
        collection: which of its retrievers; empty is its first.
        timeout: seconds for one request.

    Raises:
        BadInput: `url` is no http address, or holds a key or password.

    Examples:
        >>> Remote("http://localhost:8000", collection="docs")
        remote('http://localhost:8000', collection='docs')
    """

    url: str
    collection: str = ""
    timeout: Annotated[float, Above(0)] = field(default=60.0, metadata=HOW)

    def __post_init__(self) -> None:
        """Check the address."""
        check_address(self.url, "url", KEY)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        httpx = need("httpx", extra="remote", asked_by="remote(...)")
        if k > MOST:
            raise BadInput(f"{self!r} gives at most {MOST:,} documents for a query, not {k:,}")
        headers = {}
        if key := variable(KEY):
            remember(key)
            headers["authorization"] = f"Bearer {key}"
        found: list[Ranking] = []
        with httpx.Client(timeout=self.timeout, headers=headers) as client:
            for start in range(0, len(queries), TOGETHER):
                found += self._ask(httpx, client, queries[start : start + TOGETHER], k)
        return found

    def _ask(self, httpx: Any, client: Any, queries: Sequence[Query], k: int) -> list[Ranking]:  # noqa: ANN401
        body = {"queries": [query.text for query in queries], "k": k}
        body |= {"collection": self.collection} if self.collection else {}
        try:
            response = client.post(f"{self.url.rstrip('/')}/v1/search", json=body)
        except httpx.HTTPError as error:
            raise EngineError(f"{self!r} cannot be reached: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise EngineError(f"{self!r} answers HTTP {response.status_code}: {sentence(response.content)}")
        try:
            results = response.json()["results"]
            rankings = [_ranking(result["hits"]) for result in results]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise EngineError(f"{self!r} gives an answer that cannot be read ({told}): is it whyrank serve?") from None
        if len(rankings) != len(queries):
            raise EngineError(f"{self!r} gives {len(rankings)} rankings for {len(queries)} queries")
        return rankings


def _ranking(hits: Sequence[dict[str, Any]]) -> Ranking:
    return Ranking([str(hit["id"]) for hit in hits], np.array([float(hit["score"]) for hit in hits], dtype=np.float64))
