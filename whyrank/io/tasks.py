"""RankTasks as JSONL: one list to rank a line, texts and all, so that a file is a training set by itself."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import lines
from whyrank.io.folders import write_lines
from whyrank.io.records import from_json
from whyrank.io.texts import metadata_record
from whyrank.types import NO_METADATA, Document, Query, RankTask


def read_tasks(path: str | Path) -> Iterator[RankTask]:
    """The tasks of a JSONL file, one after the other.

    A line is `{"query": {"id", "text", "excluded_ids"?: [ids], "only_ids"?: [ids]},
    "documents": [{"id", "text", "title"?, "metadata"?}, …],
    "grades": {id: grade}, "order"?: [ids], "thought"?: text, "source"?: {…}}`.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: no JSON, a missing or mistyped key, or what `RankTask` refuses.
    """
    for number, line in lines(path):
        where = f"{path}:{number}"
        given = from_json(line, path, number)
        try:
            yield task_from(given)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None


def write_tasks(tasks: Iterable[RankTask], path: str | Path) -> int:
    """Write tasks as JSONL, the whole file or nothing; returns how many."""
    return write_lines(Path(path), map(task_record, tasks))


def task_record(task: RankTask) -> dict[str, Any]:
    """The task as JSON has it; `task_from` reads it again."""
    documents = [
        {"id": one.id, "text": one.text} | ({"title": one.title} if one.title else {}) | metadata_record(one)
        for one in task.documents
    ]
    excluded = {"excluded_ids": sorted(task.query.excluded)} if task.query.excluded else {}
    only = {} if task.query.only is None else {"only_ids": sorted(task.query.only)}
    record: dict[str, Any] = {
        "query": {"id": task.query.id, "text": task.query.text, **excluded, **only},
        "documents": documents,
        "grades": dict(task.grades),
    }
    rest = {"order": list(task.order), "thought": task.thought, "source": dict(task.source)}
    return record | {key: value for key, value in rest.items() if value}


def task_from(record: Mapping[str, Any]) -> RankTask:
    """The task that a record holds, see `read_tasks`.

    Raises:
        BadInput: a missing or mistyped key, or what `RankTask` refuses.
    """
    try:
        return _task(record)
    except KeyError as error:
        raise BadInput(f"the key {error.args[0]!r} is missing") from None
    except BadInput:
        raise
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise BadInput(f"not a task: {error}") from None


def _task(given: Mapping[str, Any]) -> RankTask:
    if not isinstance(given, dict):
        raise TypeError(f"expected a JSON object, found {given!r:.40}")
    asked = given["query"]
    excluded = _ids(asked, "excluded_ids") or frozenset()
    return RankTask(
        Query(_text(asked, "id"), _text(asked, "text"), excluded, _ids(asked, "only_ids")),
        tuple(map(_document, given["documents"])),
        {str(id): float(grade) for id, grade in given["grades"].items()},
        tuple(str(id) for id in given.get("order", ())),
        _text(given, "thought") if given.get("thought") else "",
        dict(given.get("source", {})),
    )


def _document(given: Mapping[str, Any]) -> Document:
    title = _text(given, "title") if given.get("title") else ""
    return Document(_text(given, "id"), _text(given, "text"), title, metadata=given.get("metadata", NO_METADATA))


def _ids(given: Mapping[str, Any], key: str) -> frozenset[str] | None:
    ids = given.get(key)
    if not (ids is None or isinstance(ids, list)):
        raise TypeError(f"{key!r} must be a list of document ids, not {ids!r}")
    return None if ids is None else frozenset(map(str, ids))


def _text(given: Mapping[str, Any], key: str) -> str:
    if not isinstance(given[key], str):
        raise TypeError(f"{key!r} must be a text, not {given[key]!r}")
    return str(given[key])
