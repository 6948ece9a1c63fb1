"""Collections and queries: JSON with the keys of BEIR, Pyserini or BRIGHT, tables, TREC topics, folders of texts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import lines, place, suffix
from whyrank.io.folders import write_lines
from whyrank.io.pages import pages
from whyrank.io.records import from_json, records
from whyrank.io.tables import table
from whyrank.io.topics import topics
from whyrank.types import NO_METADATA, Document, Query

TEXTS = ("text", "contents", "content")
"""Under which keys a document may have its text."""

_DOCUMENT = frozenset({"_id", "id", "title", *TEXTS})


_LINE = 'write {"_id": "d1", "text": "…"}, or an id, a tab and a text, or a .csv whose first line names the columns'
_COLUMNS = (*TEXTS, "body", "passage", "document")
_ASKED = ("text", "query", "question", "title")
"""The names of a table's column of texts."""


def iter_corpus(path: str | Path) -> Iterator[Document]:
    """The documents of a collection, one after the other, for collections that are larger than memory.

    A JSONL file has a line for each: an object with `_id` or `id`, with `text`, `contents` or `content`, and perhaps a
    `title`. An empty text is a document like any other. All other keys are the document's metadata, together with what
    stands in an object `metadata`, as BEIR has it. `.json` may hold an array of such objects, `.parquet` rows.

    A table has its columns named in its first line (`.csv`, else parted by tabs), or is just an id, a tab and a text,
    as MS MARCO's `collection.tsv`. A folder has a document in each of its files of plain text and Markdown.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: another form, an id that is missing, empty or given twice, no text.
    """
    seen: dict[str, int] = {}
    for where, number, given in _objects(path, _COLUMNS):
        document = document_of(given, where)
        _refuse_twice(document.id, where, seen, number)
        yield document
    if not seen:
        raise BadInput(f"{path}: the file has no documents")


def documents_in(path: str | Path) -> Iterator[Document]:
    """As `iter_corpus`, for whoever sees to it that ids are unique: nothing is held of what has gone by."""
    return (document_of(given, where) for where, _, given in _objects(path, _COLUMNS))


def document_of(given: Mapping[str, Any], where: str) -> Document:
    """The document that a record holds, see `iter_corpus`.

    Raises:
        BadInput: an id that is missing or empty, no text; it begins with `where`.
    """
    id, title = _id(given, where), given.get("title") or ""
    text, title = _text(given, TEXTS, where), _clean(title, "title", where)
    try:
        return Document(id, text, title, metadata=metadata_of(given, _DOCUMENT))
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def write_corpus(documents: Iterable[Document], path: str | Path) -> int:
    """Write documents as `iter_corpus` reads them, metadata included; also `.gz`.

    Returns:
        How many there were.

    Raises:
        BadInput: metadata that JSON does not have.
    """
    return write_lines(Path(path), map(document_record, documents))


def document_record(document: Document) -> dict[str, Any]:
    """A document as JSON has it.

    Raises:
        BadInput: metadata that JSON does not have.
    """
    title = {"title": document.title} if document.title else {}
    return {"_id": document.id, **title, "text": document.text, **metadata_record(document)}


def metadata_record(document: Document) -> dict[str, Any]:
    """The key `metadata` of a document's record; nothing where it has none.

    Raises:
        BadInput: metadata that JSON does not have.
    """
    if not document.metadata:
        return {}
    try:
        json.dumps(told := dict(document.metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"document {document.id!r}: its metadata cannot be written as JSON: {error}") from None
    return {"metadata": told}


def metadata_of(given: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    """What a record says besides the keys that are `known`, with what stands in its object `metadata`."""
    if given.keys() <= known:
        return NO_METADATA
    rest = {key: value for key, value in given.items() if key not in known}
    own = rest.pop("metadata", None)
    return {**rest, **own} if isinstance(own, Mapping) else rest if own in (None, "", []) else {**rest, "metadata": own}


def read_queries(path: str | Path) -> tuple[Query, ...]:
    """Read queries from JSONL: `_id` or `id`, `text` or `query`, and perhaps lists of document ids.

    Those in `excluded_ids` are never returned; where there are `only_ids`, no others are. Also read are a `.json` array
    and `.parquet` of such objects, tables as by `iter_corpus` (`topics.tsv`: an id, a tab and a text), and TREC topics,
    SGML or XML.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: another form, an id that is missing, empty or given twice, no text.
    """
    seen: dict[str, int] = {}
    queries = []
    for where, number, given in _objects(path, _ASKED):
        id = _id(given, where)
        _refuse_twice(id, where, seen, number)
        text = _text(given, ("text", "query"), where)
        excluded, only = (_ids(given, key, where) for key in ("excluded_ids", "only_ids"))
        try:
            queries.append(Query(id, text, (excluded or frozenset()) - {"N/A"}, only))
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
    if not queries:
        raise BadInput(f"{path}: the file has no queries")
    return tuple(queries)


def _objects(path: str | Path, columns: Sequence[str]) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """The records of a file of any form: a place, a number in its file, and what it says by the keys of JSONL."""
    path = place(path)
    if path.is_dir() and columns is _COLUMNS:
        return pages(path)
    if suffix(path) in (".json", ".parquet"):
        return ((where, nth, given) for nth, (where, given) in enumerate(records(path), 1))
    if suffix(path) == ".jsonl" or not path.is_file():  # a pipe cannot be looked into
        return _jsonl(path)
    first = next((line for _, line in lines(path)), "")
    if first.lstrip().startswith("<") and columns is _ASKED:
        return topics(path)
    if suffix(path) == ".csv" or "\t" in first:
        return table(path, columns)
    return _jsonl(path)


def _jsonl(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    name = str(path)
    for number, line in lines(path):
        where = f"{name}:{number}"
        if not line.lstrip().startswith("{"):
            raise BadInput(f"{where}: not JSON, or no object, found {line[:40]!r}: {_LINE}")
        given = from_json(line, name, number)
        yield where, number, given


def _id(given: Mapping[str, Any], where: str) -> str:
    id = given.get("_id", given.get("id"))
    if type(id) is int:
        id = str(id)
    if not isinstance(id, str) or not id:
        raise BadInput(f"{where}: an id ('_id' or 'id') that is a text or a whole number is wanted, found {id!r}")
    return id


def _refuse_twice(id: str, where: str, seen: dict[str, int], number: int) -> None:
    if (before := seen.setdefault(id, number)) != number:
        raise BadInput(f"{where}: the id {id!r} occurs twice, first in line {before}")


def _ids(given: Mapping[str, Any], key: str, where: str) -> frozenset[str] | None:
    ids = given.get(key)
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise BadInput(f"{where}: {key!r} must be a list of document ids, not {ids!r}")
    return frozenset(ids)


def _text(given: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    for key in keys:
        if key in given:
            return _clean(given[key], key, where)
    raise BadInput(f"{where}: no text: one of the keys {', '.join(keys)} is wanted, found {', '.join(given)}")


def _clean(text: object, key: str, where: str) -> str:
    if not isinstance(text, str):
        raise BadInput(f"{where}: {key!r} must be a text, not {text!r}")
    return text
