"""The families of rerank clients: a body decides by what it holds which it is, and is answered in the same words.

Cohere (v1 and v2), Jina, Voyage, vLLM, Infinity and their like send `documents` and get one union answer, which all of
their clients can read: the same items as `results` and as `data`. `texts` is TEI, `passages` NVIDIA NIM, `input`
Mixedbread, and a header tells Pinecone. Paths decide nothing, since several clients replace them.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from whyrank.serve.answer import Answer, finite, usage, why
from whyrank.serve.asked import (
    Asked,
    Family,
    clipped,
    count_of,
    documents_of,
    flag_of,
    seconds_of,
    text_of,
    whole_of,
    wrong,
)
from whyrank.serve.refusal import Refused

HOLDS: Mapping[str, Family] = {"texts": "tei", "passages": "nim", "input": "mixedbread", "documents": "union"}
"""By the field that holds what is ranked."""

OURS = {"model", "query", "explain", "deadline", "instruction", "priority", "user", "relevant_spans", "raw_scores"}
KNOWN: Mapping[Family, set[str]] = {
    "union": {
        "documents", "top_n", "top_k", "return_documents", "rank_fields", "max_tokens_per_doc", "max_chunks_per_doc",
        "truncation", "truncate_prompt_tokens", "use_activation", "encoding_format", "request_id", "client_name",
    },
    "tei": {"texts", "return_text", "truncate", "truncation_direction"},
    "nim": {"passages", "truncate"},
    "mixedbread": {"input", "top_k", "return_input", "rank_fields", "rewrite_query"},
    "pinecone": {"documents", "rank_fields", "return_documents", "top_n", "parameters"},
}  # fmt: skip


def family_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> Family:
    """Whose client sent this.

    Raises:
        Refused: it holds nothing that could be ranked.
    """
    if "x-pinecone-api-version" in headers and "documents" in body:
        return "pinecone"
    if (found := next((HOLDS[name] for name in HOLDS if name in body), None)) is None:
        raise Refused(
            400,
            'the body has nothing to rank: give {"query": "why?", "documents": ["one text", "another"]} (or "texts" as '
            'TEI, "passages" as NIM, "input" as Mixedbread have it)',
            param="documents",
        )
    return found


def read(body: Mapping[str, Any], headers: Mapping[str, str], most: int = 1000) -> Asked:
    """What a body asks for; `most` documents are taken.

    Raises:
        Refused: a field does not fit: which, and what is wanted.
    """
    family = family_of(body, headers)
    name = next(name for name in HOLDS if name in body)
    query = text_of(body, "query")
    if not query.strip():
        raise Refused(400, "query is empty: ask something", param="query")
    instruction = text_of(body, "instruction", default="")
    texts, given = documents_of(body, name, most, _fields(body))
    known = OURS | KNOWN[family]
    headed = headers.get("x-request-timeout") or headers.get("x-stainless-read-timeout")
    times = [seconds_of(body.get("deadline"), "deadline"), _header_seconds(headed)]
    spans = body.get("relevant_spans")
    raw = flag_of(body, "raw_scores") or body.get("use_activation") is False
    return Asked(
        family=family,
        query=f"{instruction}\n{query}" if instruction else query,
        texts=tuple(clipped(texts, count_of(body, "max_tokens_per_doc"))),
        documents=tuple(given),
        model=text_of(body, "model", default=""),
        top=count_of(body, "top_n", "top_k"),
        return_documents=_wants_documents(body, family),
        explain=flag_of(body, "explain") or (isinstance(spans, dict) and spans.get("mode") == "enabled"),
        raw=raw,
        seconds=min((time for time in times if time is not None), default=None),
        priority=whole_of(body, "priority", 0, -(10**6), 10**6),
        ignored=tuple(sorted(str(field)[:40] for field in body.keys() - known)),
    )


def write(asked: Asked, answer: Answer) -> Any:  # noqa: ANN401 (JSON)
    """The body of the answer, in the words of who asked.

    Raises:
        Refused: raw scores are asked for where there are none.
    """
    if asked.raw and any(finite(item.score) is None for item in answer.ranked.items):
        raise Refused(400, f"{answer.model!r} orders documents and gives no scores of its own: leave raw_scores out")
    return _WRITERS[asked.family](asked, answer)


def _union(asked: Asked, answer: Answer) -> dict[str, Any]:
    items = _with_documents(asked, answer, "relevance_score")
    return {"id": answer.id, "model": answer.model, "results": items, "data": items} | _about(asked, answer)


def _with_documents(asked: Asked, answer: Answer, name: str) -> list[dict[str, Any]]:
    """The best of what was asked for, each score under this name, each with its document where that is wanted."""
    items = []
    for item, score in answer.best(asked.top):
        told: dict[str, Any] = {"index": item.index, name: _number(asked, item.score, score)}
        if asked.return_documents:
            one = asked.documents[item.index]
            told["document"] = {"text": one} if isinstance(one, str) else one
        items.append(told | _why(asked, item))
    return items


def _tei(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    items = []
    for item, score in answer.best(None):
        told: dict[str, Any] = {"index": item.index, "score": _number(asked, item.score, score)}
        if asked.return_documents:
            told["text"] = asked.texts[item.index]
        items.append(told | _why(asked, item))
    return items


def _nim(asked: Asked, answer: Answer) -> dict[str, Any]:
    ranked = [
        {"index": item.index, "logit": _number(asked, item.score, score)} | _why(asked, item)
        for item, score in answer.best(asked.top)
    ]
    return {"rankings": ranked, "model": answer.model} | _about(asked, answer)


def _mixedbread(asked: Asked, answer: Answer) -> dict[str, Any]:
    items = [
        {
            "index": item.index,
            "score": _number(asked, item.score, score),
            "input": asked.documents[item.index] if asked.return_documents else None,
            "object": "rank_result",
        }
        | _why(asked, item)
        for item, score in answer.best(asked.top)
    ]
    head = {"model": answer.model, "data": items, "object": "list"}
    asked_for = {"top_k": asked.top or len(items), "return_input": asked.return_documents}
    return head | asked_for | _about(asked, answer)


def _pinecone(asked: Asked, answer: Answer) -> dict[str, Any]:
    items = _with_documents(asked, answer, "score")
    about = _about(asked, answer)
    about["usage"]["rerank_units"] = about["meta"]["billed_units"]["search_units"]
    return {"model": answer.model, "data": items} | about


_WRITERS: Mapping[Family, Callable[[Asked, Answer], Any]] = {
    "union": _union,
    "tei": _tei,
    "nim": _nim,
    "mixedbread": _mixedbread,
    "pinecone": _pinecone,
}


def _about(asked: Asked, answer: Answer) -> dict[str, Any]:
    """Usage in whole numbers, Cohere's `meta`, and what is ours."""
    read, written = answer.tokens
    units = -(-len(asked.texts) // 100)
    warnings = list(answer.warnings)
    if asked.ignored:
        warnings.append(f"ignored: {', '.join(asked.ignored)}")
    return {
        "usage": usage([answer.tokens]),
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": units},
            "tokens": {"input_tokens": read, "output_tokens": written},
            "warnings": warnings,
        },
        "whyrank": answer.told(),
    }


def _why(asked: Asked, item: Any) -> dict[str, Any]:  # noqa: ANN401
    return why(item) if asked.explain else {}


def _number(asked: Asked, own: float | None, score: float) -> float:
    return cast("float", own) if asked.raw else score


def _fields(body: Mapping[str, Any]) -> list[str]:
    fields = body.get("rank_fields")
    if fields is None:
        return []
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
        raise wrong("rank_fields", fields, "a list of names of fields")
    return fields


def _wants_documents(body: Mapping[str, Any], family: Family) -> bool:
    name = {"tei": "return_text", "mixedbread": "return_input"}.get(family, "return_documents")
    return flag_of(body, name) if body.get(name) is not None else family == "pinecone"


def _header_seconds(given: str | None) -> float | None:
    """A client's own time limit; one that cannot be read is none."""
    try:
        return seconds_of(given, "x-request-timeout")
    except Refused:
        return None
