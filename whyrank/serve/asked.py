"""What a body asks for, whichever family of clients it is from, and how its fields are read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whyrank.llm.budget import clip
from whyrank.serve.refusal import Refused

Family = Literal["union", "tei", "nim", "mixedbread", "pinecone"]


@dataclass(frozen=True)
class Asked:
    """A request to rerank.

    Attributes:
        family: in whose words it is answered.
        query: the question, behind an instruction if there is one.
        texts: (n,) what is ranked.
        documents: (n,) the same as they were handed in.
        model: which reranker; empty is the first.
        top: how many are returned; None is all.
        return_documents: whether the documents come back, too.
        explain: whether reasons are told.
        raw: whether scores are the model's own numbers.
        seconds: how long it may take, at most.
        priority: the lowest goes first.
        ignored: fields that nobody knows here.
    """

    family: Family
    query: str
    texts: tuple[str, ...]
    documents: tuple[Any, ...]
    model: str = ""
    top: int | None = None
    return_documents: bool = False
    explain: bool = False
    raw: bool = False
    seconds: float | None = None
    priority: int = 0
    ignored: tuple[str, ...] = ()


def wrong(name: str, value: object, wanted: str) -> Refused:
    """What is told of a field that does not fit."""
    shown = "null" if value is None else f"{value!r:.60}"
    return Refused(400, f"{name} must be {wanted}, not {shown}", param=name)


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        Refused: it is none, or holds NaN or Infinity, which JSON has not.
    """

    def no_number(text: str) -> None:
        raise ValueError(f"{text} is no number of JSON's")

    try:
        found = json.loads(body, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body cannot be read as JSON: {error or 'it is nested too deeply'}") from None
    if not isinstance(found, dict):
        raise wrong("the body", found, 'a JSON object, such as {"query": "why?", "documents": ["…"]}')
    return found


def text_of(body: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """A field that is a text, or an object with one, as NIM has it."""
    value = body.get(name, default)
    value = value.get("text") if isinstance(value, dict) else value
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise wrong(name, value, "a text")
    return readable(value, name)


def readable(text: str, name: str) -> str:
    """The text.

    Raises:
        Refused: it holds half of a surrogate pair, which no encoding can write.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise Refused(400, f"{name} holds half of a surrogate pair, {half}: replace it", param=name) from None
    return text


def flag_of(body: Mapping[str, Any], *names: str) -> bool:
    """Whether a switch is on, by the first of its names that is given: true, "true" (RAGFlow), 1."""
    name = next((name for name in names if body.get(name) is not None), None)
    value = False if name is None else body[name]
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise wrong(name or "", value, "true or false")


def count_of(body: Mapping[str, Any], *names: str) -> int | None:
    """A bound on how many, by the first of its names that is given; 0 and null are all, as vLLM and Voyage have it."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise wrong(name, value, "a whole number from 1 up, or 0 for all")
        return value or None
    return None


def whole_of(body: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A whole number within bounds; null is the default."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(name, value, f"a whole number from {low} to {high}")
    return value


def seconds_of(value: object, name: str) -> float | None:
    """A time in seconds; None where none is given."""
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise wrong(name, value, "a time in seconds, above 0")
    return seconds


def documents_of(
    body: Mapping[str, Any], name: str, most: int, fields: Sequence[str] = ()
) -> tuple[list[str], list[Any]]:
    """The texts to rank, and the documents as they were handed in.

    Args:
        body: the request.
        name: of the field.
        most: how many there may be.
        fields: which fields of an object are its text; none is its `text`, with its `title` before it.
    """
    given = body.get(name)
    if not isinstance(given, list):
        raise wrong(name, given, "a list of texts")
    if not given:
        raise Refused(400, f"{name} is empty: give at least one document to rank", param=name)
    if len(given) > most:
        raise Refused(
            400,
            f"{name} has {len(given):,} documents, and this server takes {most:,} at a time: send fewer",
            param=name,
        )
    return [_text(one, f"{name}[{at}]", fields) for at, one in enumerate(given)], given


def _text(document: object, where: str, fields: Sequence[str]) -> str:
    if isinstance(document, str):
        return readable(document, where)
    if not isinstance(document, dict):
        raise wrong(where, document, 'a text, or an object such as {"text": "…"}')
    if missing := [field for field in fields if field not in document]:
        raise Refused(400, f"{where} has no field {missing[0]!r}, which rank_fields names", param="rank_fields")
    names = fields or [name for name in ("title", "text") if isinstance(document.get(name), str)]
    if fields or "text" in names:
        values = (document[name] for name in names)
        joined = "\n".join(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
        )
    else:
        joined = json.dumps(document, ensure_ascii=False)
    return readable(joined, where)


def clipped(texts: Sequence[str], tokens: int | None) -> list[str]:
    """Texts of at most so many tokens each, as estimated; None is no bound."""
    return list(texts) if tokens is None else [clip(text, None, tokens) for text in texts]
