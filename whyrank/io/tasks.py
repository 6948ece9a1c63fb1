"""RankTasks as JSONL: one list to rank a line, texts and all, so that a file is a training set by itself."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import lines
from whyrank.io.folders import write_lines
from whyrank.types import Document, Query, RankTask


def read_tasks(path: str | Path) -> Iterator[RankTask]:
    """The tasks of a JSONL file, one after the other.

    A line is `{"query": {"id", "text", "excluded_ids"?: [ids]}, "documents": [{"id", "text", "title"?}, …],
    "grades": {id: grade}, "order"?: [ids], "thought"?: text, "source"?: {…}}`.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: no JSON, a missing or mistyped key, or what `RankTask` refuses.
    """
    for number, line in lines(path):
        where = f"{path}:{number}"
        try:
            yield task_from(json.loads(line))
        except json.JSONDecodeError as error:
            raise BadInput(f"{where}: not JSON: {error.msg}; is the file cut off here?") from None
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None


def write_tasks(tasks: Iterable[RankTask], path: str | Path) -> int:
    """Write tasks as JSONL, the whole file or nothing; returns how many."""
    return write_lines(Path(path), map(task_record, tasks))


def task_record(task: RankTask) -> dict[str, Any]:
    """The task as JSON has it; `task_from` reads it again."""
    documents = [
        {"id": one.id, "text": one.text} | ({"title": one.title} if one.title else {}) for one in task.documents
    ]
    excluded = {"excluded_ids": sorted(task.query.excluded)} if task.query.excluded else {}
    record: dict[str, Any] = {
        "query": {"id": task.query.id, "text": task.query.text, **excluded},
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
    except (TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"not a task: {error}") from None


def _task(given: Mapping[str, Any]) -> RankTask:
    if not isinstance(given, dict):
        raise TypeError(f"expected a JSON object, found {given!r:.40}")
    excluded = given["query"].get("excluded_ids", [])
    if not isinstance(excluded, list):
        raise TypeError(f"'excluded_ids' must be a list of document ids, not {excluded!r}")
    return RankTask(
        Query(_text(given["query"], "id"), _text(given["query"], "text"), frozenset(map(str, excluded))),
        tuple(
            Document(_text(one, "id"), _text(one, "text"), _text(one, "title") if one.get("title") else "")
            for one in given["documents"]
        ),
        {str(id): float(grade) for id, grade in given["grades"].items()},
        tuple(str(id) for id in given.get("order", ())),
        _text(given, "thought") if given.get("thought") else "",
        dict(given.get("source", {})),
    )


def _text(given: Mapping[str, Any], key: str) -> str:
    if not isinstance(given[key], str):
        raise TypeError(f"{key!r} must be a text, not {given[key]!r}")
    return str(given[key])
