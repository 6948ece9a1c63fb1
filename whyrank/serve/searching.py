"""Search over HTTP in three people's words: ours, OpenAI's vector stores, Dify's external knowledge."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whyrank.llm.hub import Caller
from whyrank.serve.answer import finite, usage, why
from whyrank.serve.asked import flag_of, readable, seconds_of, text_of, whole_of, wrong
from whyrank.serve.refusal import Refused
from whyrank.serve.scores import unit_scores
from whyrank.serve.service import Found, Service
from whyrank.types import Where

MOST = 1000
"""How many documents one query may ask for."""


@dataclass(frozen=True)
class Search:
    """A request to search.

    Attributes:
        queries: what is asked.
        name: the retriever.
        k: how many documents for each query.
        rerank: the reranker; None is none.
        excluded: ids that are never returned.
        where: a condition on what is known of documents; None is none.
        least: documents below this score are left out.
        explain: whether reasons are told.
        seconds: how long it may take, at most.
    """

    queries: tuple[str, ...]
    name: str
    k: int = 10
    rerank: str | None = None
    excluded: frozenset[str] = frozenset()
    where: Where | None = field(default=None, compare=False)
    least: float = 0.0
    explain: bool = False
    seconds: float | None = None


def found(service: Service, asked: Search, query: str, caller: Caller) -> Found:
    """What is found for one query."""
    only = None if asked.where is None or service.corpus is None else service.corpus.where(asked.where)
    return service.search(asked.name, query, asked.k, caller, asked.rerank, asked.excluded, only)


def read(body: Mapping[str, Any], service: Service) -> Search:
    """A body in our own words: query or queries, k, rerank, excluded, where, explain, deadline.

    Raises:
        Refused: a field does not fit.
    """
    excluded = body.get("excluded") or []
    if not isinstance(excluded, list) or not all(isinstance(id, str) for id in excluded):
        raise wrong("excluded", excluded, "a list of ids of documents")
    where = body.get("where")
    if where is not None and not isinstance(where, dict):
        raise wrong("where", where, 'an object such as {"lang": "de"}')
    return Search(
        queries=_queries(body.get("queries") if body.get("queries") is not None else body.get("query")),
        name=service.searcher(text_of(body, "collection", default="")),
        k=whole_of(body, "k", 10, 1, MOST),
        rerank=_reranker(body.get("rerank"), service),
        excluded=frozenset(excluded),
        where=where,
        explain=flag_of(body, "explain"),
        seconds=seconds_of(body.get("deadline"), "deadline"),
    )


def write(asked: Search, found: Sequence[Found], id: str) -> dict[str, Any]:
    """The answer in our own words; scores are the retriever's own, or the reranker's from 0 to 1."""
    results = []
    for one in found:
        reasons = (
            [{}] * len(one.hits) if one.answer is None else [_told(item, asked) for item, _ in one.answer.best(None)]
        )
        hits = [
            {
                "rank": rank,
                "id": hit.id,
                "title": hit.title,
                "text": hit.text,
                "score": score,
                "metadata": plain(hit.metadata),
            }
            | reason
            for rank, (hit, score, reason) in enumerate(zip(one.hits, one.scores, reasons, strict=False), 1)
        ]
        told = {} if one.answer is None else {"whyrank": one.answer.told(), "reranker": one.answer.model}
        results.append({"query": one.query, "hits": hits, "warnings": list(one.warnings)} | told)
    taken = usage(one.answer.tokens for one in found if one.answer is not None)
    return {"id": id, "collection": asked.name, "results": results, "usage": taken}


def read_vector_store(body: Mapping[str, Any], name: str, service: Service) -> Search:
    """A body of OpenAI's vector-store search; `ranking_options.ranker` may name one of our rerankers.

    Raises:
        Refused: a field does not fit.
    """
    options = body.get("ranking_options") or {}
    if not isinstance(options, dict):
        raise wrong("ranking_options", options, "an object")
    ranker = options.get("ranker")
    filters = body.get("filters")
    return Search(
        queries=_queries(body.get("query")),
        name=service.searcher(name),
        k=whole_of(body, "max_num_results", 10, 1, 50),
        rerank=ranker if isinstance(ranker, str) and ranker in service.rerankers else None,
        where=None if filters is None else _openai_filter(filters),
        least=_share(options.get("score_threshold"), "score_threshold"),
    )


def write_vector_store(asked: Search, found: Sequence[Found], id: str) -> dict[str, Any]:
    """A page of results in OpenAI's words."""
    data = [
        {
            "file_id": hit.id,
            "filename": hit.title or hit.id,
            "score": score,
            "attributes": plain(hit.metadata),
            "content": [{"type": "text", "text": hit.text}],
        }
        for one in found
        for hit, score in _scored(one, asked)
    ]
    head = {"object": "vector_store.search_results.page", "search_query": list(asked.queries)}
    return head | {"data": data, "has_more": False, "next_page": None}


def read_dify(body: Mapping[str, Any], service: Service) -> Search:
    """A body of Dify's external knowledge.

    Raises:
        Refused: a field does not fit.
    """
    setting = body.get("retrieval_setting") or {}
    if not isinstance(setting, dict):
        raise wrong("retrieval_setting", setting, "an object with top_k and score_threshold")
    conditions = body.get("metadata_condition")
    return Search(
        queries=(text_of(body, "query"),),
        name=service.searcher(text_of(body, "knowledge_id", default="")),
        k=whole_of(setting, "top_k", 10, 1, MOST),
        where=None if conditions is None else _dify_filter(conditions),
        least=_share(setting.get("score_threshold"), "score_threshold"),
    )


def write_dify(asked: Search, found: Sequence[Found], id: str) -> dict[str, Any]:
    """Records in Dify's words; `metadata` is never null."""
    return {
        "records": [
            {"content": hit.text, "score": score, "title": hit.title or hit.id, "metadata": plain(hit.metadata)}
            for one in found
            for hit, score in _scored(one, asked)
        ]
    }


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as JSON has them; what JSON has not is written as text."""
    return {str(name): _plain(value) for name, value in metadata.items()}


def _plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _told(item: Any, asked: Search) -> dict[str, Any]:  # noqa: ANN401
    own = finite(item.score)
    return (why(item) if asked.explain else {}) | ({} if own is None else {"own_score": own})


def _scored(one: Found, asked: Search) -> Iterator[tuple[Any, float]]:
    """The documents with scores from 0 to 1: the reranker's, or such as are made of ranks."""
    scores = one.scores if one.answer is not None else unit_scores([None] * len(one.hits), lambda score: None)[0]
    return ((hit, score) for hit, score in zip(one.hits, scores, strict=True) if score >= asked.least)


def _queries(given: object) -> tuple[str, ...]:
    listed = given if isinstance(given, list) else [given]
    several = [one for one in listed if isinstance(one, str) and one.strip()]
    if not several or len(several) < len(listed) or len(several) > 100:
        raise wrong("query", given, "a text, or a list of up to 100 texts")
    return tuple(readable(one, "query") for one in several)


def _reranker(given: object, service: Service) -> str | None:
    if given is None or given is False:
        return None
    if given is True:
        return service.reranker("")
    if not isinstance(given, str):
        raise wrong("rerank", given, "the name of a reranker, true or false")
    if given not in service.rerankers:
        names = ", ".join(service.rerankers) or "none"
        raise Refused(404, f"there is no reranker {given[:100]!r} here, only {names}", param="rerank")
    return given


def _share(given: object, name: str) -> float:
    if given is None:
        return 0.0
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise wrong(name, given, "a number from 0 to 1")
    return float(given)


_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda one, several: one in several,
    "nin": lambda one, several: one not in several,
}


def _openai_filter(given: object, depth: int = 0) -> Callable[[Mapping[str, Any]], bool]:
    """A condition as OpenAI writes it: one comparison, or several joined by and, or."""
    if not isinstance(given, dict) or depth > 20:
        raise wrong("filters", given, 'an object such as {"type": "eq", "key": "lang", "value": "de"}')
    kind = str(given.get("type"))
    if kind in {"and", "or"}:
        inner = given.get("filters")
        if not isinstance(inner, list):
            raise wrong("filters", inner, "a list of conditions")
        each = [_openai_filter(one, depth + 1) for one in inner]
        joined = all if kind == "and" else any
        return lambda metadata: joined(one(metadata) for one in each)
    if kind not in _COMPARED or not isinstance(given.get("key"), str):
        raise wrong("filters", kind, f"of a type among and, or, {', '.join(_COMPARED)}, with a key")
    return _condition(given["key"], _COMPARED[kind], given.get("value"))


_DIFY: Mapping[str, Callable[[Any, Any], bool]] = {
    "is": lambda one, value: str(one) == str(value),
    "is not": lambda one, value: str(one) != str(value),
    "contains": lambda one, value: str(value) in str(one),
    "not contains": lambda one, value: str(value) not in str(one),
    "start with": lambda one, value: str(one).startswith(str(value)),
    "end with": lambda one, value: str(one).endswith(str(value)),
    "=": lambda one, value: float(one) == float(value),
    "≠": lambda one, value: float(one) != float(value),
    ">": lambda one, value: float(one) > float(value),
    "<": lambda one, value: float(one) < float(value),
    "≥": lambda one, value: float(one) >= float(value),
    "≤": lambda one, value: float(one) <= float(value),
    "empty": lambda one, value: one in (None, ""),
    "not empty": lambda one, value: one not in (None, ""),
}


def _dify_filter(given: object) -> Callable[[Mapping[str, Any]], bool]:
    """Conditions as Dify writes them."""
    listed = given.get("conditions") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(listed, list):
        raise wrong("metadata_condition", given, "an object with conditions")
    joined = any if given.get("logical_operator") == "or" else all
    each = []
    for one in listed:
        kind = str(one.get("comparison_operator")) if isinstance(one, dict) else ""
        if kind not in _DIFY:
            raise wrong("comparison_operator", kind, f"one of {', '.join(_DIFY)}")
        names = one.get("name")
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str):
                raise wrong("name", name, "the name of what is known of a document")
            each.append(_condition(name, _DIFY[kind], one.get("value")))
    return lambda metadata: joined(one(metadata) for one in each)


def _condition(name: str, compare: Callable[[Any, Any], bool], value: object) -> Callable[[Mapping[str, Any]], bool]:
    """Whether what is known under a name compares so; what cannot be compared does not."""

    def met(metadata: Mapping[str, Any]) -> bool:
        try:
            return name in metadata and bool(compare(metadata[name], value))
        except (TypeError, ValueError):
            return False

    return met
