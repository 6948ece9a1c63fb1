"""The two experiments that models take part in: searching, and reranking what was found."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from whyrank.errors import BadInput
from whyrank.experiment.finished import texts_of
from whyrank.experiment.folder import Limits, Result, about, asked_of, once
from whyrank.experiment.runs import run_file
from whyrank.io import read_run
from whyrank.llm.trace import Trace
from whyrank.progress import note
from whyrank.registry import parameters, walk
from whyrank.rerank.base import Reranker, requests_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite import FromFile, outcomes
from whyrank.types import Dataset, Run


def search(retriever: Retriever, data: Dataset, out: str | Path, k: int = 100, limits: Limits | None = None) -> Result:
    """Search all queries of `data` and write the run folder `out`.

    Raises:
        BadInput: `out` holds another experiment, `data` has no documents or no queries, or the retriever's index or
            its file of rewrites is of other data.
        BudgetSpent, EngineError: as for `rerank`.
    """
    if not data.queries:
        raise BadInput(f"{data.name!r} has no queries to search for")
    task = {"verb": "search", "spec": repr(retriever), "part": parameters(retriever), "data": about(data), "k": k}
    if files := [part for part in walk(retriever) if isinstance(part, FromFile)]:
        task["rewrites"] = {file.path: file.sha256() for file in files}
        for file in files:
            file.refuse_foreign(data.queries)

    def work(report: dict[str, Any], trace: Trace) -> Run:
        start = time.perf_counter()
        for path in _unwritten(retriever):
            note(f"{path}: no index lies there yet, so it is written there")
        ready = retriever.ready(data.corpus)
        report["index_seconds"] = round(time.perf_counter() - start, 3)
        run = ready.search(data.queries, k, trace)
        foreign = next((id for code in np.unique(run.codes) if (id := run.documents[code]) not in data.corpus), None)
        if foreign is not None:
            raise BadInput(
                f"{retriever!r} found {foreign!r}, which {data.name!r} does not have: its index is another's"
            )
        if rewrites := outcomes(run):
            report["rewrites"] = rewrites
        return run

    return once(Path(out), task, retriever, limits or Limits(), work)


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
) -> Result:
    """Rerank the run at `source` (a run folder or a file) and write the run folder `out`.

    Args:
        source: the first stage.
        reranker: the part.
        data: the texts; None where `source` is a file of candidates, which brings its own.
        out: the folder.
        depth: how many documents of each query are reranked.
        limits: on what model calls may cost.

    Raises:
        BadInput: `out` holds another experiment, the run and `data` do not belong together, or there is no text.
        BudgetSpent: a limit was reached; the same call with a higher limit goes on.
        EngineError: the engine cannot be used, or every single model call failed.
    """
    data = texts_of(source) if data is None else data
    first = read_run(run_file(source))
    requests, _ = requests_of(first, data, depth)
    shown = (document for request in requests for document in request.documents)
    task = {
        "verb": "rerank",
        "spec": repr(reranker),
        "part": parameters(reranker),
        "data": about(data, [request.query for request in requests], shown),
        "depth": depth,
        "input": asked_of(source),
    }
    return once(
        Path(out),
        task,
        reranker,
        limits or Limits(),
        lambda _, trace: reranker.rerank(first, data, depth, trace),
        partial=True,
    )
