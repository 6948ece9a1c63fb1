"""What there is to ask, as OpenAPI has it, made of the same tables that bodies are read by; and as a page."""

import html
from importlib.metadata import version
from typing import Any

from whyrank.llm.engine import LLM
from whyrank.parameters import walk
from whyrank.registry import Part, name_of
from whyrank.serve.dialects import KNOWN, OURS
from whyrank.serve.service import Service
from whyrank.serve.settings import KEYS, Settings

_TEXT, _WHOLE, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TYPES: dict[str, dict[str, Any]] = {
    "query": _TEXT,
    "model": _TEXT,
    "instruction": _TEXT,
    "top_n": {"type": ["integer", "null"], "minimum": 0},
    "top_k": {"type": ["integer", "null"], "minimum": 0},
    "return_documents": {"type": ["boolean", "string", "null"]},
    "return_text": {"type": ["boolean", "null"]},
    "return_input": {"type": ["boolean", "null"]},
    "rank_fields": {"type": ["array", "null"], "items": _TEXT},
    "max_tokens_per_doc": _WHOLE,
    "priority": _WHOLE,
    "explain": _FLAG,
    "raw_scores": _FLAG,
    "deadline": {"type": "number", "exclusiveMinimum": 0},
}
_DOCUMENTS = {"type": "array", "minItems": 1, "items": {"type": ["string", "object"]}}
_RESULT = {
    "type": "object",
    "required": ["index", "relevance_score"],
    "properties": {
        "index": _WHOLE,
        "relevance_score": {"type": "number"},
        "document": {"type": "object"},
        "reason": _TEXT,
        "spans": {"type": "array", "items": {"type": "object"}},
    },
}
_UNION = {
    "type": "object",
    "required": ["id", "model", "results", "data", "usage", "meta", "whyrank"],
    "properties": {
        "id": _TEXT,
        "model": _TEXT,
        "results": {"type": "array", "items": _RESULT},
        "data": {"type": "array", "items": _RESULT},
        "usage": {"type": "object", "additionalProperties": _WHOLE},
        "meta": {"type": "object"},
        "whyrank": {"type": "object", "required": ["scores", "statuses", "calls", "seconds"]},
    },
}
_ERROR = {
    "type": "object",
    "required": ["id", "message", "detail", "error"],
    "properties": {"id": _TEXT, "message": _TEXT, "detail": _TEXT, "error": {"type": "object"}},
}


def document(service: Service, settings: Settings) -> dict[str, Any]:
    """The OpenAPI document of a server."""
    paths: dict[str, Any] = {}
    if service.rerankers:
        told = "Put documents into a better order. The body decides the family: documents, texts, passages or input."
        for path in ("/v2/rerank", "/v1/rerank", "/rerank", "/v1/reranking", "/v1/ranking"):
            paths[path] = _post(told, _rerank_body(), _UNION if "rerank" in path and "ing" not in path else None)
        for path in ("/v1/score", "/score"):
            texts = {"type": ["string", "array"], "items": _TEXT}
            body = {"type": "object", "properties": {"text_1": texts, "text_2": texts, "model": _TEXT}}
            paths[path] = _post("Score pairs, as vLLM does.", body)
    if service.searchers:
        fields: dict[str, Any] = {
            "query": _TEXT,
            "queries": {"type": "array", "items": _TEXT},
            "collection": _TEXT,
            "k": {"type": "integer", "minimum": 1},
            "rerank": {"type": ["string", "boolean"]},
            "excluded": {"type": "array", "items": _TEXT},
            "where": {"type": "object"},
            "explain": _FLAG,
        }
        paths["/v1/search"] = _post("Search, and rerank what was found.", {"type": "object", "properties": fields})
        paths["/v1/vector_stores/{name}/search"] = _post(
            "Search as OpenAI's vector stores do.", {"type": "object", "required": ["query"]}, None, "name"
        )
        paths["/retrieval"] = _post("Search as Dify's external knowledge does.", {"type": "object"})
        paths["/v1/documents/{id}"] = {"get": _about("A document.") | {"parameters": [_parameter("id")]}}
    for path, told in (
        ("/v1/models", "What is served."),
        ("/info", "What TEI tells of itself."),
        ("/health", "It lives."),
        ("/ready", "It can answer."),
        ("/metrics", "Counters for Prometheus."),
    ):
        paths[path] = {"get": _about(told)}
    info = {"title": "whyrank", "version": version("whyrank"), "summary": "Reranking and search that say why."}
    schemes = {"key": {"type": "http", "scheme": "bearer", "description": f"One of {KEYS}, where they are set."}}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"securitySchemes": schemes}}


def as_page(told: dict[str, Any]) -> str:
    """The same for people."""
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td><td>{html.escape(one['summary'])}</td></tr>"
        for path, methods in told["paths"].items()
        for method, one in methods.items()
    )
    style = (
        "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
        "td{padding:.3rem 1rem .3rem 0;vertical-align:top}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>whyrank: what there is to ask</title><style>{style}</style><h1>whyrank {told['info']['version']}</h1>"
        f'<p><a href="/">Try it</a> · <a href="/openapi.json">openapi.json</a></p><table>{rows}</table></html>'
    )


def public(part: Part) -> str:
    """What is told of a part outside: what it is and which models it asks, and no address, path or text."""
    inner = [f"{name_of(type(one))}({one.model.rsplit('/', 1)[-1]!r})" for one in walk(part) if isinstance(one, LLM)]
    return f"{name_of(type(part))}({', '.join(dict.fromkeys(inner))})"


def _rerank_body() -> dict[str, Any]:
    names = sorted({name for known in KNOWN.values() for name in known} | OURS)
    held = {name: _DOCUMENTS for name in ("documents", "texts", "passages", "input")}
    query = {"query": {"type": ["string", "object"]}}
    properties = {name: _TYPES.get(name, {}) for name in names} | held | query
    return {"type": "object", "required": ["query"], "properties": properties}


def _post(told: str, body: dict[str, Any], answer: dict[str, Any] | None = None, *parameters: str) -> dict[str, Any]:
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    about = _about(told, answer) | {"requestBody": request}
    return {"post": about | ({"parameters": [_parameter(name) for name in parameters]} if parameters else {})}


def _about(told: str, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "The answer."}
    if answer is not None:
        good["content"] = {"application/json": {"schema": answer}}
    bad = {"description": "Why there is none.", "content": {"application/json": {"schema": _ERROR}}}
    statuses = ("400", "401", "402", "404", "413", "415", "429", "500", "502", "503")
    return {"summary": told, "responses": {"200": good} | dict.fromkeys(statuses, bad)}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}
