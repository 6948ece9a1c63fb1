"""What a worker is told, in text and numbers, and the verbs whose work can be cut: how it is asked, cut and done."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whyrank import experiment
from whyrank.data_synth.base import Synth
from whyrank.data_synth.folder import synthesise, synthesising, tasks_of
from whyrank.datasets import load
from whyrank.errors import BadInput, BadSpec
from whyrank.experiment import Limits, run_file
from whyrank.experiment.finished import texts_of
from whyrank.experiment.folder import about_content, content_of_queries
from whyrank.experiment.stages import Kept, reranking, searching
from whyrank.io.candidates import write_candidates
from whyrank.io.chunks import Attempt, Chunk, Chunks, concatenate
from whyrank.io.folders import write_json
from whyrank.io.runs import read_run_parts, write_run
from whyrank.io.tasks import read_tasks, write_tasks
from whyrank.parameters import parameters
from whyrank.registry import Part, make
from whyrank.rerank.base import Reranker, allowed, document_in
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.base import Retriever
from whyrank.types import Dataset, Document, Query, RankTask, Run, fingerprint, trec_order

_SHARD = "shard"
"""In the folder of an attempt: the index that it makes."""

PART = 256
"""So many lists are looked at at a time where work is cut."""


@dataclass(frozen=True)
class Work:
    """All that a worker is told of the work.

    Attributes:
        verb: "rerank", "search", "synth" or "index".
        spec: the part that does it, as text.
        out: the folder.
        data: the data set by name, or itself where workers are on this machine; None where the input has its own texts.
        split: which of its splits.
        source: the run to rerank, or what a synthesis starts from.
        depth: how many documents of each query are reranked, or found.
        limit: of how many tasks a synthesis starts.
        limits: on what the calls of the whole work may cost.
        trace: what is recorded of each model call, as for `whyrank.experiment.rerank`.
        workers: how many there are; each stops at its share of what is left.
    """

    verb: str
    spec: str
    out: str
    data: str | Dataset | None = None
    split: str | None = None
    source: str = ""
    depth: int = 100
    limit: int | None = None
    limits: Limits = field(default_factory=Limits)
    trace: Kept = "lean"
    workers: int = 1


class Verb(ABC):
    """A verb whose work can be cut."""

    def __init__(self, work: Work) -> None:
        """Build the part and load the data.

        Raises:
            BadSpec: the part cannot be said in text: workers build it from its spec.
            NotFound, BadInput: as for `load`.
        """
        self.work = work

    @property
    @abstractmethod
    def part(self) -> Part:
        """What does it."""

    @abstractmethod
    def asked(self) -> tuple[dict[str, Any], int]:
        """The task, as the manifest of one process would have it, and how many lists there are."""

    @abstractmethod
    def cut(self, chunks: Chunks) -> None:
        """Write the inputs of the chunks, where they need one and have none yet."""

    @abstractmethod
    def do(self, chunk: Chunk, lists: range, attempt: Attempt, limits: Limits) -> Mapping[str, Any]:
        """Do one chunk in the folder of an attempt; returns its report."""

    @property
    def size(self) -> int | None:
        """How many lists a chunk has, where the part says it."""
        return None

    @staticmethod
    def files(results: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
        """Which files of these folders are joined, the most important first; and what else the manifest then tells."""
        return ["run.trec", "notes.jsonl"], {}

    @classmethod
    def gather(cls, folder: Path, results: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
        """Make of these folders what `folder` holds in the end; returns what `files` does."""
        names, told = cls.files(results)
        for name in names:
            if any((result / name).is_file() for result in results):
                concatenate(results, name, folder / name)
        return names, told

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        given = self.work.data
        return given if isinstance(given, Dataset) else load(str(given), split=self.work.split)


class Reranking(Verb):
    """Chunks of the lists of a run."""

    @cached_property
    def part(self) -> Reranker:
        """The reranker."""
        return make(self.work.spec, Reranker)

    @cached_property
    def data(self) -> Dataset:
        """The texts."""
        return texts_of(self.work.source) if self.work.data is None else super().data

    @cached_property
    def _queries(self) -> dict[str, Query]:
        return {query.id: query for query in self.data.queries}

    def asked(self) -> tuple[dict[str, Any], int]:
        """The task: all lists are looked at, a part of them at a time."""
        lists, queries = 0, list[Query]()

        def shown() -> Iterator[Document]:
            nonlocal lists
            seen = set[str]()
            for part in self._parts():
                lists += len(part)
                for query, (ids, _) in allowed(part, self._of(part)):
                    queries.append(query)
                    for id in ids[: self.work.depth]:
                        if id not in seen:
                            seen.add(id)
                            yield document_in(self.data, id, part.name, query)

        documents = fingerprint(shown())
        used = about_content(self.data, {"queries": content_of_queries(queries), "documents": documents})
        return reranking(self.work.source, self.part, used, self.work.depth), lists

    def cut(self, chunks: Chunks) -> None:
        """Write the lists of each chunk, with their scores as they are."""
        missing = {chunk.number for chunk in chunks if chunk.input() is None}
        if not missing:
            return
        for number, part in enumerate(read_run_parts(run_file(self.work.source), chunks.cut.size)):
            if number in missing:
                folder = chunks[number].folder
                if self.work.data is None or not _in_trec_order(part):
                    write_candidates(part, self._of(part), folder / "input.jsonl", exact=True)
                else:
                    write_run(part, folder / "input.trec", exact=True)

    def do(self, chunk: Chunk, lists: range, attempt: Attempt, limits: Limits) -> Mapping[str, Any]:
        """Rerank the lists of the chunk."""
        source = _there(chunk)
        data = None if self.work.data is None else self._of(next(read_run_parts(source, len(lists))))
        out, depth = attempt.folder, self.work.depth
        return experiment.rerank(
            source, self.part, data, out, depth, limits, trace=self.work.trace, attempt=attempt
        ).report

    def _parts(self) -> Iterator[Run]:
        return read_run_parts(run_file(self.work.source), PART)

    def _of(self, run: Run) -> Dataset:
        """The data with the queries of a run alone."""
        known = (self._queries.get(id) for id in run)
        return replace(self.data, queries=tuple(filter(None, known)))


class Searching(Verb):
    """Chunks of the queries of a data set."""

    @cached_property
    def part(self) -> Retriever:
        """The retriever."""
        return make(self.work.spec, Retriever)

    def asked(self) -> tuple[dict[str, Any], int]:
        """The task."""
        return searching(self.part, self.data, self.work.depth), len(self.data.queries)

    def cut(self, chunks: Chunks) -> None:
        """Nothing: queries are found by their places."""

    @cached_property
    def _ready(self) -> Retriever:
        return self.part.ready(self.data.corpus)

    def do(self, chunk: Chunk, lists: range, attempt: Attempt, limits: Limits) -> Mapping[str, Any]:
        """Search for the queries of the chunk."""
        data = replace(self.data, queries=self.data.queries[lists.start : lists.stop])
        out, k = attempt.folder, self.work.depth
        one = (self.part, data, out, k, limits)
        return experiment.search(*one, trace=self.work.trace, attempt=attempt, ready=self._ready).report


class Synthesising(Verb):
    """Chunks of the tasks that a method of synthesis starts from."""

    @cached_property
    def part(self) -> Synth:
        """The method."""
        method = make(self.work.spec, Synth)
        if not method.apart:
            raise BadInput(
                f"{self.work.spec}: what becomes of a task depends on the others, so that they cannot be worked on in "
                "chunks: leave out --on and --chunk"
            )
        return method

    @cached_property
    def _collection(self) -> Dataset | None:
        return None if self.work.data is None else self.data

    @cached_property
    def _tasks(self) -> list[RankTask]:
        source = self.work.source or None
        return tasks_of(source, self._collection, self.part, self.work.depth, self.work.limit)

    def asked(self) -> tuple[dict[str, Any], int]:
        """The task."""
        return synthesising(self.part, self._tasks, self._collection), len(self._tasks)

    def cut(self, chunks: Chunks) -> None:
        """Write the tasks of each chunk, texts and all."""
        for chunk in chunks:
            if chunk.input() is None:
                lists = chunks.cut.span(chunk.number)
                write_tasks(self._tasks[lists.start : lists.stop], chunk.folder / "input.jsonl")

    def do(self, chunk: Chunk, lists: range, attempt: Attempt, limits: Limits) -> Mapping[str, Any]:
        """Work on the tasks of the chunk."""
        return synthesise(
            self.part,
            list(read_tasks(_there(chunk))),
            attempt.folder,
            self._collection,
            prices=limits.prices,
            max_cost=limits.max_cost,
            max_tokens=limits.max_tokens,
            trace=self.work.trace,
            attempt=attempt,
        ).report

    @staticmethod
    def files(results: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
        """Tasks or pairs, and what was dropped."""
        made = "pairs.jsonl" if any((result / "pairs.jsonl").is_file() for result in results) else "tasks.jsonl"
        return [made, "dropped.jsonl"], {"file": made}


class Indexing(Verb):
    """Shards of a collection, each of them a chunk; an encoding that was killed goes on where it stopped."""

    @cached_property
    def part(self) -> Sharded:
        """The retriever over shards."""
        part = make(self.work.spec, Retriever)
        if not isinstance(part, Sharded) or part.path is not None:
            raise BadInput(
                f"{self.work.spec}: what is indexed in chunks is shards, as by sharded(bm25(), size=1000000)"
            )
        return part

    @property
    def size(self) -> int:
        """How many documents a shard has."""
        return self.part.size

    def asked(self) -> tuple[dict[str, Any], int]:
        """The task."""
        corpus = self.data.corpus
        content = {"documents": corpus.fingerprint}
        about = {"name": self.data.name, "documents": len(corpus), "content": content}
        told = {"verb": "index", "spec": repr(self.part), "part": parameters(self.part), "data": about}
        return told, len(corpus)

    def cut(self, chunks: Chunks) -> None:
        """Nothing: documents are found by their places."""

    def do(self, chunk: Chunk, lists: range, attempt: Attempt, limits: Limits) -> Mapping[str, Any]:
        """Index one shard."""
        attempt.folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        for older in reversed(attempt.older):
            with suppress(OSError):  # what it encoded, if it did, is gone on with
                os.rename(older / _SHARD, attempt.folder / _SHARD)
        shard = self.part.retriever.at(attempt.folder / _SHARD)
        shard.index(self.data.corpus.part(lists.start, lists.stop))
        report = {"documents": len(lists), "seconds": round(time.perf_counter() - start, 3)}
        write_json(attempt.folder / "report.json", report)
        return report

    @staticmethod
    def files(results: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
        """None: shards lie in folders."""
        return [], {}

    @classmethod
    def gather(cls, folder: Path, results: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
        """Put the shards where `sharded(…, path=folder)` finds them."""
        for number, result in enumerate(results):
            if (result / _SHARD).exists():
                os.rename(result / _SHARD, folder / str(number))
        return cls.files(results)


VERBS: dict[str, type[Verb]] = {
    "rerank": Reranking,
    "search": Searching,
    "synth": Synthesising,
    "index": Indexing,
}


def _there(chunk: Chunk) -> Path:
    """The input of a chunk."""
    if (source := chunk.input()) is None:
        raise BadInput(f"{chunk.folder}: the lists of this chunk are gone: run the command that began it again")
    return source


def spec_of(part: Part | str) -> str:
    """The text from which workers build a part.

    Raises:
        BadSpec: no text says what it is.
    """
    if isinstance(part, str):
        return part
    try:
        if make(repr(part)) == part:
            return repr(part)
    except BadSpec:
        pass
    raise BadSpec(
        f"workers build a part from its spec, and {part!r:.200} is none: give what it holds a module of its own, and "
        "name it by its dotted path"
    )


def _in_trec_order(run: Run) -> bool:
    """Whether a TREC file would keep the order, ties and all."""
    return not run.ties or all(
        np.array_equal(trec_order(*ranking), range(len(ranking.ids))) for ranking in run.values()
    )
