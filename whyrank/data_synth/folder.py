"""A synth folder holds one synthesis: what was asked, what was made, what was dropped and why, and every model call.

    tasks.jsonl     what was made, as RankTasks with their provenance; or
    pairs.jsonl     preference pairs, as TRL reads them
    dropped.jsonl   each task of which something was dropped: reasons, details
    report.json     counts: read, made, dropped by reason; model calls by status, tokens, cost
    manifest.json   what was asked: method, input and its hash, versions; and whether it is finished
    trace.jsonl     every model call, as it ends: from it a stopped synthesis goes on

Calling the same thing again goes on where it stopped; a folder of something else is refused.
"""

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from whyrank.data_synth.base import Made, Preference, Synth
from whyrank.errors import BadInput, NotFound
from whyrank.io import read_run, read_tasks
from whyrank.io.chunks import Attempt
from whyrank.io.folders import read_json, write_json, write_lines, write_manifest
from whyrank.io.taking import outputs, taking
from whyrank.io.tasks import task_record
from whyrank.llm.engine import LLM
from whyrank.llm.ledger import Prices, refuse_all_failed
from whyrank.llm.trace import Trace
from whyrank.parameters import hows, parameters, walk
from whyrank.types import Dataset, Query, RankTask, Run


@dataclass(frozen=True)
class Synthesised:
    """What `synthesise` hands back: the file of what was made, and what happened on the way."""

    file: Path
    report: Mapping[str, Any]


def synthesise(
    method: Synth,
    tasks: Sequence[RankTask],
    out: str | Path,
    data: Dataset | None = None,
    *,
    prices: Prices | None = None,
    max_cost: float | None = None,
    max_tokens: int | None = None,
    trace: Literal["full", "lean"] = "full",
    attempt: Attempt | None = None,
) -> Synthesised:
    """Apply `method` to `tasks` and write the synth folder `out`; called again, it goes on where it was stopped.

    Args:
        method: the part.
        tasks: what is there, see `tasks_of`.
        out: the folder.
        data: the collection, for methods that search.
        prices: the price table; the report then tells the cost.
        max_cost: no new model call starts once they have cost this much.
        max_tokens: no new model call starts once they have taken this many tokens.
        trace: what is recorded of each model call: with the messages of its prompt ("full") or without ("lean").
        attempt: that the folder is an attempt at a chunk of a larger synthesis.

    Raises:
        BadInput: there are no tasks, or `out` holds something else.
        BudgetSpent: a limit was reached; the same call with a higher limit goes on.
        EngineError: the engine cannot be used, or every single model call failed.
    """
    folder, task = Path(out), synthesising(method, tasks, data)
    asks = any(isinstance(inner, LLM) for inner in walk(method))
    limits = (prices, max_cost, max_tokens)
    older = () if attempt is None else attempt.older
    with taking(folder, task, another="something else", nothing="no synthesis", how=hows(method)) as done:
        if done is not None:
            return Synthesised(folder / str(done["file"]), read_json(folder / "report.json"))
        start = time.perf_counter()
        with Trace(folder / "trace.jsonl" if asks else None, *limits, older=older, lean=trace == "lean") as calls:
            made = method.apply(tasks, data, calls)
            report = _report(made) | {"ledger": calls.ledger.total.to_dict()}
            if passing := calls.passing:
                report["unanswered"] = dict(sorted(passing.items()))
        if attempt is None:  # of a chunk they may well have; the whole is looked at when it is joined
            refuse_all_failed(report)
        report["seconds"] = round(time.perf_counter() - start, 3)
        file = folder / ("pairs.jsonl" if any(isinstance(one, Preference) for one in _items(made)) else "tasks.jsonl")
        write_lines(file, (_record(one) for one in _items(made)))
        write_lines(folder / "dropped.jsonl", _dropped(tasks, made))
        write_json(folder / "report.json", report)
        told = {"file": file.name, "outputs": outputs(folder, [file.name, "dropped.jsonl", "report.json"])}
        write_manifest(folder, task, (), finished="unanswered" not in report, **told)
        return Synthesised(file, report)


def synthesising(method: Synth, tasks: Sequence[RankTask], data: Dataset | None) -> dict[str, Any]:
    """What a manifest says is asked by a synthesis.

    Raises:
        BadInput: there are no tasks.
    """
    if not tasks:
        raise BadInput("nothing to synthesise from: there are no tasks")
    return {
        "verb": "synth",
        "spec": repr(method),
        "part": parameters(method),
        "input": {"tasks": len(tasks), "sha256": _hash(tasks)},
        **({} if data is None else {"data": _about(data)}),
    }


def _about(data: Dataset) -> dict[str, Any]:
    """What a manifest tells of the collection that a method searches."""
    return {"name": data.name, "documents": len(data.corpus), "content": {"documents": data.corpus.fingerprint}}


def tasks_of(
    source: str | Path | None, data: Dataset | None, method: Synth, depth: int = 100, limit: int | None = None
) -> list[RankTask]:
    """The tasks that a method starts from.

    Args:
        source: tasks as JSONL, a synth folder, or a run (a folder or a file) over `data`; None takes `data` alone:
            its documents or its judged queries, as the method wants it.
        data: the data set; tasks as JSONL need none.
        method: the part.
        depth: how many documents of each query of a run make its list.
        limit: the first so many; of documents a random choice, the same each time.

    Raises:
        BadInput: there is neither a source nor a data set, or a run and no data set.
        NotFound: there is no such file, or the folder is not finished.
    """
    if source is None:
        if data is None:
            raise BadInput("nothing to synthesise from: give tasks, a run, or a data set")
        return from_documents(data, limit) if method.reads == "documents" else from_queries(data, limit)
    file = _file(Path(source))
    if ".jsonl" in file.suffixes:
        return list(islice(read_tasks(file), limit))
    if data is None and not file.exists():
        raise NotFound(f"no such file or folder: {source}")
    if data is None:
        raise BadInput(f"{source}: a run has no texts: give its data set by --data")
    return from_run(read_run(file), data, depth, limit)


def from_documents(data: Dataset, limit: int | None = None, seed: int = 0) -> list[RankTask]:
    """Each document as a list of one whose query is still to be written; `limit` chooses at random."""
    documents = [one for one in data.corpus if one.content.strip()]
    if limit is not None and limit < len(documents):
        chosen = {one.id for one in random.Random(seed).sample(documents, limit)}
        documents = [one for one in documents if one.id in chosen]
    return [RankTask(Query(one.id, ""), (one,), source={"data": data.name}) for one in documents]


def from_queries(data: Dataset, limit: int | None = None) -> list[RankTask]:
    """Each judged query with its judged documents, as far as they are in the collection."""
    tasks = []
    for query in data.queries:
        grades = {id: float(grade) for id, grade in data.qrels.get(query.id, {}).items() if id in data.corpus}
        if grades:
            documents = tuple(data.corpus[id] for id in grades)
            tasks.append(RankTask(query, documents, grades, source={"data": data.name}))
    return tasks[:limit]


def from_run(run: Run, data: Dataset, depth: int = 100, limit: int | None = None) -> list[RankTask]:
    """The first `depth` documents of each query of a run, in its order, with their grades; empty rankings are left out.

    Raises:
        BadInput: the run has a query or a document that `data` does not have.
    """
    queries, tasks = {query.id: query for query in data.queries}, []
    for id, (ids, _) in islice(run.without(data.queries).items(), limit):
        shown = list(ids[:depth])
        if id not in queries or not all(one in data.corpus for one in shown):
            raise BadInput(f"run {run.name!r}, query {id!r}: it, or a document of it, is not in {data.name!r}")
        if shown:
            judged = data.qrels.get(id, {})
            grades = {one: float(judged[one]) for one in shown if one in judged}
            source = {"data": data.name, "first_stage": run.name}
            tasks.append(RankTask(queries[id], tuple(data.corpus[one] for one in shown), grades, source=source))
    return tasks


def _report(made: Sequence[Made]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for one in made:
        dropped.update(one.dropped)
        counts.update(one.counts)
    calls = Counter(call.status for one in made for call in one.calls)
    return {
        "read": len(made),
        "made": sum(len(one.items) for one in made),
        "dropped": dict(dropped.most_common()),
        "counts": dict(counts.most_common()),
        "calls": dict(calls.most_common()),
    }


def _items(made: Iterable[Made]) -> Iterable[RankTask | Preference]:
    return chain.from_iterable(one.items for one in made)


def _record(item: RankTask | Preference) -> dict[str, Any]:
    return item.record() if isinstance(item, Preference) else task_record(item)


def _dropped(tasks: Sequence[RankTask], made: Sequence[Made]) -> Iterable[dict[str, Any]]:
    for task, one in zip(tasks, made, strict=True):
        if one.dropped:
            calls = [call.to_dict() for call in one.calls if call.status != "exact"]
            yield {"query": task.query.id, "dropped": dict(one.dropped), **one.details, "calls": calls}


def _file(path: Path) -> Path:
    """The file that holds what is in a folder, or the path itself."""
    if not path.is_dir():
        return path
    for name in ("tasks.jsonl", "run.trec"):
        if (path / name).is_file():
            return path / name
    raise NotFound(f"{path} holds neither tasks.jsonl nor run.trec: is it finished?")


def _hash(tasks: Iterable[RankTask]) -> str:
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(json.dumps(task_record(task)).encode() + b"\n")
    return digest.hexdigest()
