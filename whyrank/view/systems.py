"""The runs of a report, opened once: order, notes, evaluation, and what the model calls behind them took."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from whyrank.eval import Report, evaluate
from whyrank.experiment import open_runs, refuse_foreign
from whyrank.experiment.runs import task_of
from whyrank.io.folders import read_json
from whyrank.llm.trace import records
from whyrank.types import CallReport, Dataset, Run


@dataclass(frozen=True)
class System:
    """One run of a report.

    Attributes:
        run: the rankings, with notes where the folder has them.
        folder: where they are from, a run folder or a file.
        report: how good it is; None where nothing was judged.
        told: `report.json` of a run folder: seconds and the ledger of its model calls.
        spec: the part that made it; empty for a mere file.
        first: what it is told against where it has no list of its own that it was handed: the first run of the report.
    """

    run: Run
    folder: Path
    report: Report | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    spec: str = ""
    first: Run | None = None

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.run.name

    def before(self, query: str) -> dict[str, int]:
        """The rank, from 1, of each document before: in the list that a reranker was handed, else in the first run."""
        note = self.run.notes.get(query)
        if note and note.first_scores:
            return {id: rank for rank, id in enumerate(note.candidates, 1)}
        found = self.first[query].ids if self.first is not None and query in self.first else ()
        return {id: rank for rank, id in enumerate(found, 1)}

    def calls(self, query: str) -> tuple[CallReport, ...]:
        """The model calls behind the ranking of one query."""
        note = self.run.notes.get(query)
        return note.calls if note else ()

    def said(self, key: str) -> dict[str, Any]:
        """What the trace has of a model call, its messages, the answer's text and seconds; nothing where it is lost."""
        packed = self._trace.get(key)
        said: dict[str, Any] = {} if packed is None else json.loads(zlib.decompress(packed))
        return said

    @cached_property
    def _trace(self) -> Mapping[str, bytes]:
        """Each call of the trace by its key, packed: a trace may be larger than memory that one likes to spend."""
        path = self.folder / "trace.jsonl"
        return {record["key"]: _packed(record) for record in records(path)} if path.is_file() else {}


def open_systems(sources: Sequence[str | Path], data: Dataset, measures: Sequence[str]) -> list[System]:
    """Open runs with their notes, and evaluate them where `data` has judgements.

    Raises:
        NotFound: there is no such run.
        BadInput: a file is damaged, or a run has no query of `data`.
    """
    runs = open_runs(sources, notes=True)
    known = {query.id for query in data.queries} | set(data.qrels)
    refuse_foreign(sources, runs, known, f"known in {data.name!r}", "check --data and --split")
    judged = any(data.qrels.values())
    systems = []
    for source, run in zip(map(Path, sources), runs, strict=True):
        report = evaluate(run, data.qrels, measures) if judged else None
        told = read_json(path) if (path := source / "report.json").is_file() else {}
        first = None if run is runs[0] else runs[0]
        systems.append(System(run, source, report, told, str(task_of(source).get("spec", "")), first))
    return systems


def _packed(record: Mapping[str, Any]) -> bytes:
    said = {name: record[name] for name in ("messages", "text", "seconds") if name in record}
    return zlib.compress(json.dumps(said).encode(), 1)
