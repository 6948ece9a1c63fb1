"""Collections and queries as JSONL: one object a line, with the keys of BEIR, Pyserini or BRIGHT."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import lines
from whyrank.types import Corpus, Document, Query


def read_corpus(path: str | Path) -> Corpus:
    """Read a whole collection into memory; raises what `iter_corpus` raises."""
    return Corpus(iter_corpus(path))


def iter_corpus(path: str | Path) -> Iterator[Document]:
    """The documents of a JSONL file, one after the other, for collections that are larger than memory.

    Each line is an object with `_id` or `id`, with `text`, `contents` or `content`, and perhaps a `title`. An empty
    text is a document like any other.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: no JSON, an id that is missing, empty or given twice, a text that is missing.
    """
    seen: dict[str, int] = {}
    for where, number, given in _objects(path):
        id = _id(given, where, seen, number)
        title = given.get("title") or ""
        yield Document(id, _text(given, ("text", "contents", "content"), where), _clean(title, "title", where))
    if not seen:
        raise BadInput(f"{path}: the file has no documents")


def read_queries(path: str | Path) -> tuple[Query, ...]:
    """Read queries from JSONL: `_id` or `id`, `text` or `query`, and perhaps `excluded_ids`, documents never to return.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: no JSON, an id that is missing, empty or given twice, a text that is missing.
    """
    seen: dict[str, int] = {}
    queries = []
    for where, number, given in _objects(path):
        id = _id(given, where, seen, number)
        text = _text(given, ("text", "query"), where)
        excluded = given.get("excluded_ids") or []
        if not isinstance(excluded, list) or not all(isinstance(one, str) for one in excluded):
            raise BadInput(f"{where}: 'excluded_ids' must be a list of document ids, not {excluded!r}")
        queries.append(Query(id, text, frozenset(excluded) - {"N/A"}))
    if not queries:
        raise BadInput(f"{path}: the file has no queries")
    return tuple(queries)


def _objects(path: str | Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    for number, line in lines(path):
        where = f"{path}:{number}"
        try:
            given = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(
                f"{where}: not JSON: {error.msg} (column {error.colno}); is the file cut off here?"
            ) from None
        if not isinstance(given, dict):
            raise BadInput(f"{where}: expected a JSON object with an id and a text, found {line[:40]!r}")
        yield where, number, given


def _id(given: Mapping[str, Any], where: str, seen: dict[str, int], number: int) -> str:
    id = given.get("_id", given.get("id"))
    if type(id) is int:
        id = str(id)
    if not isinstance(id, str) or not id:
        raise BadInput(f"{where}: an id ('_id' or 'id') that is a text or a whole number is wanted, found {id!r}")
    if (before := seen.setdefault(_clean(id, "id", where), number)) != number:
        raise BadInput(f"{where}: the id {id!r} occurs twice, first in line {before}")
    return id


def _text(given: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    key = next((key for key in keys if key in given), None)
    if key is None:
        raise BadInput(f"{where}: no text: one of the keys {', '.join(keys)} is wanted, found {', '.join(given)}")
    return _clean(given[key], key, where)


def _clean(text: object, key: str, where: str) -> str:
    if not isinstance(text, str):
        raise BadInput(f"{where}: {key!r} must be a text, not {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{where}: {key!r} holds half of a surrogate pair, \\u{ord(text[error.start]):04x}") from None
    return text
