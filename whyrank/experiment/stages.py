"""The two experiments that models take part in: searching, and reranking what was found."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from whyrank.errors import BadInput
from whyrank.experiment.finished import texts_of
from whyrank.experiment.folder import Limits, Result, about, asked_of, once
from whyrank.experiment.runs import run_file
from whyrank.io import read_run
from whyrank.io.chunks import Attempt
from whyrank.llm.trace import Trace
from whyrank.parameters import parameters, walk
from whyrank.progress import note
from whyrank.rerank.base import Reranker, requests_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite import FromFile, outcomes
from whyrank.types import Dataset, Run

Kept: TypeAlias = Literal["full", "lean"]


def search(
    retriever: Retriever,
    data: Dataset,
    out: str | Path,
    k: int = 100,
    limits: Limits | None = None,
    *,
    trace: Kept = "full",
    attempt: Attempt | None = None,
    ready: Retriever | None = None,
) -> Result:
    """Search all queries of `data` and write the run folder `out`.

    Args:
        retriever: the part.
        data: the data set.
        out: the folder.
        k: how many documents for each query.
        limits: on what model calls may cost.
        trace: what is recorded of each model call: with the messages of its prompt ("full") or without ("lean").
        attempt: that the folder is an attempt at a chunk of a larger run.
        ready: the retriever, if it has indexed these documents already.

    Raises:
        BadInput: `out` holds another experiment, `data` has no documents or no queries, or the retriever's index or
            its file of rewrites is of other data.
        BudgetSpent, EngineError: as for `rerank`.
    """
    task = searching(retriever, data, k)

    def work(report: dict[str, Any], trace: Trace) -> Run:
        start = time.perf_counter()
        for path in _unwritten(retriever):
            note(f"{path}: no index lies there yet, so it is written there")
        searched = retriever.ready(data.corpus) if ready is None else ready
        report["index_seconds"] = round(time.perf_counter() - start, 3)
        run = searched.search(data.queries, k, trace)
        foreign = next((id for code in np.unique(run.codes) if (id := run.documents[code]) not in data.corpus), None)
        if foreign is not None:
            raise BadInput(
                f"{retriever!r} found {foreign!r}, which {data.name!r} does not have: its index is another's"
            )
        if rewrites := outcomes(run):
            report["rewrites"] = rewrites
        return run

    return once(Path(out), task, retriever, limits or Limits(), work, lean=trace == "lean", attempt=attempt)


def searching(retriever: Retriever, data: Dataset, k: int) -> dict[str, Any]:
    """What a manifest says is asked by a search.

    Raises:
        BadInput: `data` has no queries, or a file of rewrites has none of them.
    """
    if not data.queries:
        raise BadInput(f"{data.name!r} has no queries to search for")
    task = {"verb": "search", "spec": repr(retriever), "part": parameters(retriever), "data": about(data), "k": k}
    if files := [part for part in walk(retriever) if isinstance(part, FromFile)]:
        task["rewrites"] = {file.path: file.sha256() for file in files}
        for file in files:
            file.refuse_foreign(data.queries)
    return task


def _unwritten(retriever: Retriever) -> list[str]:
    """The folders that parts keep their indexes in and that are not there yet."""
    paths = [getattr(part, "path", None) for part in walk(retriever) if isinstance(part, Retriever)]
    return [path for path in paths if isinstance(path, str) and not Path(path).exists()]


def rerank(
    source: str | Path,
    reranker: Reranker,
    data: Dataset | None,
    out: str | Path,
    depth: int = 100,
    limits: Limits | None = None,
    *,
    trace: Kept = "full",
    attempt: Attempt | None = None,
) -> Result:
    """Rerank the run at `source` (a run folder or a file) and write the run folder `out`.

    Args:
        source: the first stage.
        reranker: the part.
        data: the texts; None where `source` is a file of candidates, which brings its own.
        out: the folder.
        depth: how many documents of each query are reranked.
        limits: on what model calls may cost.
        trace: what is recorded of each model call: with the messages of its prompt ("full") or without ("lean").
        attempt: that the folder is an attempt at a chunk of a larger run.

    Raises:
        BadInput: `out` holds another experiment, the run and `data` do not belong together, or there is no text.
        BudgetSpent: a limit was reached; the same call with a higher limit goes on.
        EngineError: the engine cannot be used, or every single model call failed.
    """
    data = texts_of(source) if data is None else data
    first = read_run(run_file(source))
    requests, _ = requests_of(first, data, depth)
    shown = (document for request in requests for document in request.documents)
    used = about(data, [request.query for request in requests], shown)
    return once(
        Path(out),
        reranking(source, reranker, used, depth),
        reranker,
        limits or Limits(),
        lambda _, trace: reranker.rerank(first, data, depth, trace),
        partial=attempt is None,
        lean=trace == "lean",
        attempt=attempt,
    )


def reranking(source: str | Path, reranker: Reranker, data: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """What a manifest says is asked by a reranking, of data that it tells of as `about` does."""
    return {
        "verb": "rerank",
        "spec": repr(reranker),
        "part": parameters(reranker),
        "data": data,
        "depth": depth,
        "input": asked_of(source),
    }
