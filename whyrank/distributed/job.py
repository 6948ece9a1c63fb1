"""The whole of a work that is done in chunks: begun or gone on with, watched, and joined."""

import errno
import os
import secrets
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whyrank.data_synth.base import Synth
from whyrank.distributed.local import Local
from whyrank.distributed.place import Place
from whyrank.distributed.work import VERBS, Verb, Work, spec_of
from whyrank.distributed.worker import Outcome
from whyrank.errors import BadInput, BudgetSpent, ChunksFailed, EngineError, NotFound
from whyrank.experiment import Limits
from whyrank.experiment.folder import ENGINES, with_models
from whyrank.experiment.stages import Kept
from whyrank.io.chunks import Chunks, Cut, State, added, concatenate, size_of
from whyrank.io.folders import read_json, read_manifest, write_json, write_manifest
from whyrank.io.taking import BUSY, outputs, sharing
from whyrank.journal import holding
from whyrank.llm.ledger import refuse_all_failed
from whyrank.parameters import hows
from whyrank.progress import progress
from whyrank.rerank.base import Reranker
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.base import Retriever
from whyrank.types import Dataset


@dataclass(frozen=True)
class Job:
    """What work in chunks hands back.

    Attributes:
        folder: where it lies; once it is joined, `open_run` reads it as any run folder.
        report: the sums of what happened in all chunks; nothing before it is joined.
        chunks: how many chunks are in which state.
    """

    folder: Path
    report: Mapping[str, Any]
    chunks: Mapping[State, int]


def rerank(
    run: str | Path,
    reranker: Reranker | str,
    data: str | Path | Dataset | None,
    out: str | Path,
    depth: int = 100,
    limits: Limits | None = None,
    *,
    on: Place | None = None,
    chunk_size: int | None = None,
    split: str | None = None,
    trace: Kept = "lean",
) -> Job:
    """Rerank a run in chunks; as `whyrank.experiment.rerank`, whose files the folder holds in the end, byte for byte.

    Args:
        run: the first stage, a run folder or a file; of a TREC file a chunk is in memory at a time.
        reranker: the part, or its spec.
        data: the texts, by the name of a data set, or a data set where workers are on this machine; None where `run`
            is a file of candidates, which brings its own.
        out: the folder.
        depth: how many documents of each query are reranked.
        limits: on what all chunks together may cost; what is under way when one is reached ends.
        on: where; by default a process for each core.
        chunk_size: how many lists a chunk has; by default a 64th of all, and 1,024 at most.
        split: which split of `data`.
        trace: what is recorded of each model call, as for one process.

    Raises:
        BadInput, EngineError: as for one process.
        BudgetSpent: a limit was reached; the same call with a higher limit goes on.
        ChunksFailed: some chunks failed, be it that their workers died; the same call tries these again.
    """
    work = Work("rerank", spec_of(reranker), str(out), _data(data), split, str(run), depth)
    return do(replace(work, limits=limits or Limits(), trace=trace), on or Local(), chunk_size)


def search(
    retriever: Retriever | str,
    data: str | Path | Dataset,
    out: str | Path,
    k: int = 100,
    limits: Limits | None = None,
    *,
    on: Place | None = None,
    chunk_size: int | None = None,
    split: str | None = None,
    trace: Kept = "lean",
) -> Job:
    """Search all queries of a data set in chunks; as `whyrank.experiment.search`, and `rerank` here."""
    work = Work("search", spec_of(retriever), str(out), _data(data), split, depth=k)
    return do(replace(work, limits=limits or Limits(), trace=trace), on or Local(), chunk_size)


def synthesise(
    method: Synth | str,
    source: str | Path | None,
    data: str | Path | Dataset | None,
    out: str | Path,
    depth: int = 100,
    limits: Limits | None = None,
    *,
    limit: int | None = None,
    on: Place | None = None,
    chunk_size: int | None = None,
    split: str | None = None,
    trace: Kept = "lean",
) -> Job:
    """Make training data in chunks; as `whyrank.data_synth.folder.synthesise`, and `rerank` here.

    Args:
        method: the part, or its spec; one to which tasks are independent of each other.
        source: what to start from, as for `whyrank.data_synth.folder.tasks_of`.
        data: the collection, for methods that search, and for a source without texts.
        out: the folder.
        depth: how many documents of each query of a run make its list.
        limits: on what all chunks together may cost.
        limit: start from so many tasks only.
        on: where; by default a process for each core.
        chunk_size: how many tasks a chunk has.
        split: which split of `data`.
        trace: what is recorded of each model call.

    Raises:
        BadInput: as for one process, or what becomes of a task depends on the others.
        BudgetSpent, ChunksFailed, EngineError: as for `rerank`.
    """
    work = Work("synth", spec_of(method), str(out), _data(data), split, str(source or ""), depth, limit)
    return do(replace(work, limits=limits or Limits(), trace=trace), on or Local(), chunk_size)


def index(retriever: Sharded | str, data: str | Path | Dataset, out: str | Path, *, on: Place | None = None) -> Job:
    """Index a collection in shards, each of them a chunk: then `sharded(…, path=out)` searches it.

    Args:
        retriever: `sharded(…)` without a path, or its spec; its `size` is that of a shard.
        data: the collection.
        out: the folder.
        on: where; by default a process for each core.

    Raises:
        BadInput: what is to be indexed is no `sharded(…)`.
        ChunksFailed: as for `rerank`.
    """
    return do(Work("index", spec_of(retriever), str(out), _data(data)), on or Local())


def _data(given: str | Path | Dataset | None) -> str | Dataset | None:
    return str(given) if isinstance(given, Path) else given


def do(work: Work, on: Place, chunk_size: int | None = None) -> Job:
    """Do work in its folder, or what is left of it, and join it if all of it is done here."""
    verb, folder = VERBS[work.verb](work), Path(work.out)
    task, lists = verb.asked()
    if not lists:
        raise BadInput(f"{work.source or 'the data set'}: there is nothing to do")
    with _held(folder, on.joins):
        cut = Cut(lists, verb.size or chunk_size or _size_there(folder) or size_of(lists))
        task = with_models(task, verb.part)
        chunks = Chunks(folder, cut)
        done = sharing(folder, task, ENGINES, chunks.told(), how=hows(verb.part))
        if done is not None:
            return Job(folder, read_json(folder / "report.json"), {"done": cut.number})
        verb.cut(chunks)
        _refuse_open_end(_run(work, on, chunks), chunks)
        if not on.joins:
            return Job(folder, {}, _states(chunks))
        return _joined(chunks, verb)


def join(folder: str | Path, *, partial: bool = False) -> Job:
    """Join the chunks in a folder: then it is as the folder of a run that was never cut.

    Args:
        folder: the folder.
        partial: of what is there, too, if that is not all; then into `run.partial.trec` (or `tasks.partial.jsonl`), and
            nothing is finished.

    Raises:
        NotFound: there is no work in chunks.
        BadInput: chunks are missing, and a part is not wanted.
    """
    chunks = _chunks(folder)
    manifest = read_manifest(folder)
    verb = VERBS[manifest["task"]["verb"]]
    report = chunks.folder / "report.json"
    if manifest["finished"] and report.is_file() and manifest.get("outputs", {}).keys() <= set(os.listdir(folder)):
        return Job(chunks.folder, read_json(report), _states(chunks))
    results = [chunk.result() for chunk in chunks]
    missing = [chunk.number for chunk, result in zip(chunks, results, strict=True) if result is None]
    if missing and not partial:
        raise BadInput(
            f"{folder}: {len(missing):,} of {len(chunks):,} chunks are missing, {missing[0]} is the first (`whyrank "
            "status` tells more): do them, or join what is there with --partial"
        )
    if not missing:
        return _joined(chunks, verb)
    there = [result for result in results if result is not None]
    main = next(iter(verb.files(there)[0]), "")
    if not main:
        raise BadInput(
            f"{folder}: {len(missing):,} of {len(chunks):,} shards are missing, and an index is joined whole"
        )
    concatenate(there, main, chunks.folder / _partial(main))
    return Job(chunks.folder, {}, _states(chunks))


def status(folder: str | Path) -> dict[str, Any]:
    """How work in chunks stands.

    Returns:
        `verb`, `spec`, `lists`, `chunks` (how many in which state), `joined`, `failed` (each with its error) and the
        sums of the `ledger` of all that is done.

    Raises:
        NotFound: there is no work in chunks.
    """
    chunks, manifest = _chunks(folder), read_manifest(folder)
    task, states = manifest["task"], [chunk.state() for chunk in chunks]
    failed = [{"chunk": at, "error": why} for at, (state, why) in enumerate(states) if state == "failed"]
    told = {"folder": str(folder), "verb": task.get("verb"), "spec": task.get("spec"), "lists": chunks.cut.lists}
    counts = dict(Counter(state for state, _ in states))
    ledger = added(done["report"].get("ledger", {}) for chunk in chunks if (done := chunk.done()) is not None)
    return told | {"chunks": counts, "joined": manifest["finished"], "failed": failed, "ledger": ledger}


def _run(work: Work, on: Place, chunks: Chunks) -> list[Outcome]:
    """Do the chunks that are left; the last outcome of each, in order."""
    start = _start()
    waiting = deque(chunk.number for chunk in on.mine(chunks) if chunk.done() is None)
    last: dict[int, Outcome] = {}
    spent = False

    def take() -> int | None:
        return waiting.popleft() if waiting and not spent else None

    with progress(f"{work.verb}, chunks of {chunks.cut.size:,}", len(waiting)) as advance:
        for outcome in on.run(work, start, take):
            last[outcome.chunk] = outcome
            spent |= outcome.state == "stopped"
            if outcome.state == "begun":
                waiting.append(outcome.chunk)
            else:
                advance()
            _refuse_broken(outcome, list(last.values()), on)
    return [last[number] for number in sorted(last)]


def _refuse_broken(outcome: Outcome, so_far: list[Outcome], on: Place) -> None:
    """Stop where every further chunk would fail as those did: the disk is full, or no worker can use its engine."""
    if outcome.stop == "system":
        raise OSError(errno.ENOSPC, f"chunk {outcome.chunk} could not be written ({outcome.detail})")
    broken = sum(one.stop == "engine" for one in so_far)
    if outcome.stop == "engine" and broken == len(so_far) and broken >= min(on.workers, 3):
        raise EngineError(outcome.detail)


def _refuse_open_end(outcomes: list[Outcome], chunks: Chunks) -> None:
    """Say what is not done, if anything."""
    counts = Counter(outcome.state for outcome in outcomes)
    if failed := [outcome for outcome in outcomes if outcome.state == "failed"]:
        if len(failed) == len(outcomes) and all(outcome.stop == "engine" for outcome in failed):
            raise EngineError(failed[0].detail)
        raise ChunksFailed(
            f"{len(failed):,} of {len(chunks):,} chunks failed, and the others are done or kept: chunk "
            f"{failed[0].chunk}: {failed[0].detail}; the same command tries these again"
        )
    if stopped := next((outcome for outcome in outcomes if outcome.state == "stopped"), None):
        done = sum(chunk.done() is not None for chunk in chunks)
        raise BudgetSpent(
            f"{stopped.detail} ({done:,} of {len(chunks):,} chunks are done, {counts['stopped']} stopped)"
        )


def _joined(chunks: Chunks, verb: Verb | type[Verb]) -> Job:
    """Write the files of the whole, and say that it is finished."""
    folder, manifest = chunks.folder, read_manifest(chunks.folder)
    results = [result for chunk in chunks if (result := chunk.result()) is not None]
    report = added(read_json(result / "report.json") for result in results) | {"chunks": len(chunks)}
    if "ledger" in report:
        refuse_all_failed(report)
    names, more = verb.gather(folder, results)
    write_json(folder / "report.json", report)
    told = {"chunks": chunks.told(), "outputs": outputs(folder, [*names, "report.json"]), **more}
    write_manifest(folder, manifest["task"], ENGINES, finished="unanswered" not in report, **told)
    for name in names[:1]:
        (folder / _partial(name)).unlink(missing_ok=True)
    return Job(folder, report, _states(chunks))


def _partial(name: str) -> str:
    """What a file is called that holds a part of what it should: `run.partial.trec`."""
    return f"{Path(name).stem}.partial{Path(name).suffix}"


def _states(chunks: Chunks) -> dict[State, int]:
    return dict(Counter(chunk.state()[0] for chunk in chunks))


def _chunks(folder: str | Path) -> Chunks:
    if not Path(folder).is_dir() or (chunks := Chunks.of(folder)) is None:
        raise NotFound(f"no work in chunks at {folder}: it is the folder that --on or --chunk wrote")
    return chunks


def _size_there(folder: Path) -> int | None:
    chunks = Chunks.of(folder) if folder.is_dir() else None
    return None if chunks is None else chunks.cut.size


def _start() -> str:
    """What tells this start of the work from others; the jobs of one Slurm array, requeued or not, are one start."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"slurm-{array}" if array else secrets.token_hex(8)


@contextmanager
def _held(folder: Path, alone: bool) -> Iterator[None]:
    """Hold the folder, where all chunks are done from here."""
    if not alone:
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, and a folder is wanted: choose another with -o")
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder, BUSY):
        yield
