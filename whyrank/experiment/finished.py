"""What a finished run can tell: why its documents stand where they do, and its texts for other tools."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from whyrank.datasets import load
from whyrank.errors import BadInput, Untrusted
from whyrank.experiment.runs import made_on, open_run, run_file, task_of
from whyrank.io import read_candidates, write_candidates
from whyrank.io.chunks import Chunks
from whyrank.llm.trace import records
from whyrank.progress import warn
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.types import Corpus, Dataset, Ranking, Run


def explain(
    folder: str | Path, query_id: str | None = None, data: Dataset | None = None, *, trust: bool = False
) -> RankedList:
    """Why a finished run ranks the documents of one query as it does: print its `explain()`.

    Args:
        folder: the folder of a reranked run.
        query_id: the query; may be left out where there is only one.
        data: where texts are taken from; None takes the run's own data set where that is at hand.
        trust: let the folder name that data set by a function, which is then imported and called.

    Returns:
        The documents with reasons and calls; seconds come from the trace.

    Raises:
        NotFound: there is no finished run.
        BadInput: the run has no such query, was not made by a reranker, or is not of `data`.
        Untrusted: the folder names its data by a function.
    """
    run, task = open_run(folder, notes=True), task_of(folder)
    if task.get("verb") in {"search", "fuse"}:
        raise BadInput(f"{folder} was made by {task['verb']}, which gives no reasons: rerank it, and explain that run")
    if query_id is None and len(run) != 1:
        some = ", ".join(list(run)[:5])
        raise BadInput(f"{folder} has {len(run)} queries: name one by --query, such as {some}")
    query_id = query_id or next(iter(run))
    if query_id not in run:
        raise BadInput(f"{folder} has no query {query_id!r}; its {len(run)} queries begin with {', '.join([*run][:5])}")
    if data is not None:
        _refuse_foreign(folder, query_id, run, data)
    seconds = _seconds(Path(folder), query_id)
    if note := run.notes.get(query_id):
        calls = tuple(replace(call, seconds=seconds.get(call.key)) for call in note.calls)
        run = run.with_notes({query_id: replace(note, calls=calls)})
    texts = data or data_of(folder, trust)
    if texts is None:
        warn(f"{folder}{made_on(folder)}: its texts are not at hand, and ids stand alone: say by --data where they are")
    return RankedList.of(run.named(task.get("spec", run.name)), query_id, texts)


def _refuse_foreign(folder: str | Path, query_id: str, run: Run, data: Dataset) -> None:
    """Refuse texts that are another collection's."""
    lost = next((id for id in run[query_id].ids if id not in data.corpus), None)
    if lost is not None or query_id not in {query.id for query in data.queries}:
        what = f"document {lost!r} of query {query_id!r}" if lost is not None else f"query {query_id!r}"
        raise BadInput(f"{folder}{made_on(folder)}: {what} is not in {data.name!r}: check --data and --split")


def _seconds(folder: Path, query_id: str) -> dict[str, float]:
    """How long the calls of a query took, by key; the last try of each counts."""
    traces = [folder, *(attempt.folder for chunk in Chunks.of(folder) or () for attempt in chunk.attempts())]
    calls = chain.from_iterable(records(path) for at in traces if (path := at / "trace.jsonl").is_file())
    return {call["key"]: call["seconds"] for call in calls if call["query"] == query_id}


def export(
    source: str | Path, out: str | Path, data: Dataset | None = None, k: int | None = None, *, trust: bool = False
) -> Run:
    """Write the run at `source` with its texts as candidates, the form that rank_llm reads; see `write_candidates`.

    The scores of a query are the model's own where a run folder has them for all that is written and they fall with
    the ranks, as those of encoders do; else those of the run.

    Args:
        source: a run folder or a file.
        out: the file, `.jsonl` or `.json`.
        data: the texts; None takes the data set that the manifest of a run folder tells.
        k: how many documents of each query; None is all.
        trust: let the folder name its data set by a function, which is then imported and called.

    Raises:
        BadInput: there are no texts, or not those of the run.
        Untrusted: the folder names its data by a function.
    """
    run = _by_own_scores(open_run(source, notes=True), k)
    if data is None and (data := data_of(source, trust)) is None:
        data = texts_of(source)
    write_candidates(run, data, out, k)
    return run


def _by_own_scores(run: Run, k: int | None) -> Run:
    """The first k documents of each query, with the model's own scores where they are all known and never rise."""
    rankings = {}
    for id, (ids, scores) in run.items():
        known = run.notes[id].scores if id in run.notes else {}
        own = np.array([known.get(doc) for doc in ids[:k]], dtype=np.float64)  # None is NaN, which is never in order
        rankings[id] = Ranking(ids[:k], own if len(own) and (own[1:] <= own[:-1]).all() else scores[:k])
    return Run.of(rankings, name=run.name)


def texts_of(source: str | Path) -> Dataset:
    """The data set that a file of candidates is by itself."""
    path = run_file(source)
    if ".json" not in path.suffixes and ".jsonl" not in path.suffixes:
        raise BadInput(f"{source}: a run has no texts: give its data set by --data")
    return read_candidates(path)


def data_of(folder: str | Path, trust: bool) -> Dataset | None:
    """The data set of an experiment, as far as it is at hand: by the name that its folder tells, or in the file."""
    try:
        name = task_of(folder)["data"]["name"]
        data = read_candidates(name) if Path(name).is_file() else load(name, told_by=None if trust else folder)
    except Untrusted:
        raise
    except (KeyError, TypeError, OSError, BadInput):
        return None
    return data if len(data.corpus) else replace(data, corpus=Corpus(()))
