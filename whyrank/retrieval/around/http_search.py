"""Search in collections that live in OpenSearch, Elasticsearch or Vespa: one thin retriever, and no index here.

OpenSearch and Elasticsearch are asked by `_msearch`, several queries in one request, with term statistics of all shards
(`search_type=dfs_query_then_fetch`), so that scores do not depend on where a document lies; what a query may not find
is shut out before the cut. Vespa is asked query by query, by YQL.
"""

import dataclasses
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import bi_encoder
from whyrank.errors import BadInput, BadSpec, EngineError, need
from whyrank.fields import Above
from whyrank.llm.address import check_address, variable
from whyrank.llm.rerank_server import sentence
from whyrank.registry import HOW
from whyrank.retrieval.base import Retriever
from whyrank.secrets import remember
from whyrank.types import Query, Ranking

KEY = "WHYRANK_SEARCH_KEY"
"""The environment variable that holds an API key, or user:password."""

_NAME = re.compile(r"[\w.-]+")

TOGETHER = 50
"""Queries of one request of `_msearch`."""

MOST = 10_000
"""Documents that these servers give for one query, unless they were told otherwise."""


@dataclass(frozen=True)
class HTTPSearch(Retriever):
    """Searches an index of another engine; what is indexed here has no effect, and reranking needs its texts here.

    Document ids are the engine's own, `_id`; of Vespa, what stands behind `::`. An API key, or
    user:password, is taken from the environment variable WHYRANK_SEARCH_KEY.

    Attributes:
        url: the server, such as "http://localhost:9200".
        collection: the index, or Vespa's sources.
        dialect: "opensearch", "elasticsearch" or "vespa"; the first two differ in kNN alone.
        field: where is searched: a field of text by BM25, with `model` one of vectors; of Vespa a field set.
        model: a sentence-transformers model that encodes the queries; then the nearest vectors are found.
        ranking: Vespa's rank profile.
        timeout: seconds for one request.

    Raises:
        BadInput: `url` is no http address, or holds a key or password.
        BadSpec: Vespa's profile for another engine, or a model for Vespa.

    Examples:
        >>> HTTPSearch("http://localhost:9200", "msmarco", field="contents")
        http_search('http://localhost:9200', 'msmarco', field='contents')
    """

    url: str
    collection: str
    dialect: Literal["opensearch", "elasticsearch", "vespa"] = dataclasses.field(default="opensearch", kw_only=True)
    field: str = dataclasses.field(default="text", kw_only=True)
    model: str = dataclasses.field(default="", kw_only=True)
    ranking: str = dataclasses.field(default="", kw_only=True)
    timeout: Annotated[float, Above(0)] = dataclasses.field(default=60.0, metadata=HOW, kw_only=True)

    def __post_init__(self) -> None:
        """Check the address, and what belongs to which engine."""
        check_address(self.url, "url", KEY)
        for name, given in (("collection", self.collection), ("field", self.field)):
            if not _NAME.fullmatch(given):
                raise BadSpec(f"http_search: {name} is a name of letters, digits, '.', '_' and '-', not {given!r:.60}")
        if self.dialect == "vespa" and self.model:
            raise BadSpec("http_search: Vespa's nearest neighbours are not asked for: leave out model")
        if self.dialect != "vespa" and self.ranking:
            raise BadSpec(f"http_search: ranking is a profile of Vespa's, and the dialect is {self.dialect}")

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        httpx = need("httpx", extra="remote", asked_by="http_search(...)")
        if k > MOST:
            raise BadInput(f"{self!r} gives at most {MOST:,} documents for a query, not {k:,}")
        headers = {}
        if key := variable(KEY):
            sent = b64encode(key.encode()).decode() if ":" in key else key
            for secret in (key, sent):
                remember(secret)
            headers["authorization"] = f"{'Basic' if ':' in key else 'ApiKey'} {sent}"
        with httpx.Client(timeout=self.timeout, headers=headers) as client:
            if self.dialect == "vespa":
                return [self._of_vespa(httpx, client, query, k) for query in queries]
            found: list[Ranking] = []
            vectors = self._vectors(queries)
            for start in range(0, len(queries), TOGETHER):
                bodies = [self._body(query, k, vectors.get(query.id)) for query in queries[start : start + TOGETHER]]
                found += self._several(httpx, client, bodies)
            return found

    def _vectors(self, queries: Sequence[Query]) -> dict[str, NDArray[np.float32]]:
        if not self.model or not queries:
            return {}
        encoder = bi_encoder(
            self.model, device=None, max_length=None, trust_remote_code=False, asked_by="http_search(...)"
        )
        vectors = encoder.encode([query.text for query in queries], "query")
        return dict(zip([query.id for query in queries], vectors, strict=True))

    def _body(self, query: Query, k: int, vector: NDArray[np.float32] | None) -> dict[str, Any]:
        """What is asked for one query."""
        filters: dict[str, Any] = {}
        if query.excluded:
            filters["must_not"] = {"ids": {"values": sorted(query.excluded)}}
        if query.only is not None:
            filters["filter"] = {"ids": {"values": sorted(query.only)}}
        about = {"size": k, "_source": False}
        if vector is None:
            return about | {"query": {"bool": {"must": {"match": {self.field: query.text}}, **filters}}}
        kept = {"filter": {"bool": filters}} if filters else {}
        if self.dialect == "elasticsearch":
            near = {"field": self.field, "query_vector": vector.tolist(), "k": k, "num_candidates": min(MOST, 2 * k)}
            return about | {"knn": near | kept}
        return about | {"query": {"knn": {self.field: {"vector": vector.tolist(), "k": k, **kept}}}}

    def _several(self, httpx: Any, client: Any, bodies: Sequence[Mapping[str, Any]]) -> list[Ranking]:  # noqa: ANN401
        """Ask by `_msearch`."""
        lines = [json.dumps(line) for body in bodies for line in ({"index": self.collection}, body)]
        how = {} if self.model else {"search_type": "dfs_query_then_fetch"}
        told = self._post(
            httpx,
            client,
            "/_msearch",
            content="\n".join([*lines, ""]),
            params=how,
            headers={"content-type": "application/x-ndjson"},
        )
        try:
            responses = told["responses"]
            if failed := next((one["error"] for one in responses if "error" in one), None):
                reason = failed.get("reason", failed) if isinstance(failed, dict) else failed
                raise EngineError(f"{self!r} refuses a query: {reason!s:.500}")
            rankings = [_ranking(one["hits"]["hits"], "_id", "_score") for one in responses]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._unread(error) from None
        if len(rankings) != len(bodies):
            raise EngineError(f"{self!r} gives {len(rankings)} rankings for {len(bodies)} queries")
        return rankings

    def _of_vespa(self, httpx: Any, client: Any, query: Query, k: int) -> Ranking:  # noqa: ANN401
        where = f"({{defaultIndex: '{self.field}'}}userInput(@asked))"
        yql = f"select documentid from sources {self.collection} where {where}"
        body = {"yql": yql, "asked": query.text, "hits": k, "type": "any"}
        told = self._post(httpx, client, "/search/", json=body | ({"ranking": self.ranking} if self.ranking else {}))
        try:
            hits = told["root"].get("children", [])
            ranking = _ranking(hits, "id", "relevance")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._unread(error) from None
        return Ranking([id.rpartition("::")[2] for id in ranking.ids], ranking.scores)

    def _post(self, httpx: Any, client: Any, path: str, **what: Any) -> Any:  # noqa: ANN401
        try:
            response = client.post(f"{self.url.rstrip('/')}{path}", **what)
        except httpx.HTTPError as error:
            raise EngineError(f"{self!r} cannot be reached: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise EngineError(f"{self!r} answers HTTP {response.status_code}: {sentence(response.content)}")
        try:
            return response.json()
        except ValueError as error:
            raise self._unread(error) from None

    def _unread(self, error: Exception) -> EngineError:
        told = f"{type(error).__name__}: {error}"
        return EngineError(f"{self!r} gives an answer that cannot be read ({told}): is it {self.dialect}?")


def _ranking(hits: Sequence[Mapping[str, Any]], id: str, score: str) -> Ranking:
    scores = np.array([float(hit[score]) for hit in hits], dtype=np.float64)
    if not np.isfinite(scores).all() or (scores[1:] > scores[:-1]).any():
        raise ValueError("scores that rise, or are no numbers")
    return Ranking([str(hit[id]) for hit in hits], scores)
