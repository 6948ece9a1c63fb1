"""Fusing runs into one, with weights that were tuned on other queries than those they are tested on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.datasets import load
from whyrank.errors import BadInput, NotFound
from whyrank.eval.measures import parse_measures
from whyrank.eval.score import report_of
from whyrank.experiment.folder import Limits, Result, asked_of, content_of_queries, once
from whyrank.experiment.runs import open_runs, refuse_foreign, task_of
from whyrank.fusion import Fusion
from whyrank.io.folders import read_json
from whyrank.io.taking import meaning
from whyrank.llm.scores import ScoreRecord
from whyrank.llm.trace import Trace
from whyrank.parameters import parameters
from whyrank.progress import progress
from whyrank.registry import make, make_from_file
from whyrank.types import Dataset, Fingerprint, Qrels, Run


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
        parse_measures(measure)
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

    @property
    def about(self) -> dict[str, Any]:
        """What a manifest tells of it."""
        judged = Fingerprint()
        for query, grades in self.data.qrels.items():
            judged.add(query, *chain.from_iterable((id, repr(grade)) for id, grade in sorted(grades.items())))
        content = {"queries": content_of_queries(self.data.queries), "judgements": str(judged)}
        told = {"data": self.data.name, "split": self.split, "measure": self.measure, "queries": len(self.data.qrels)}
        return told | {"content": content}

    def judged(self, runs: Sequence[Run]) -> list[Run]:
        """The queries of each run that the split judges.

        Raises:
            BadInput: there are none.
        """
        found = [run.only(set(self.data.qrels)).without(self.data.queries) for run in runs]
        if not any(map(len, found)):
            raise BadInput(
                f"the runs have none of the queries of {self.split!r} in {self.data.name!r}: search with "
                f"--split {self.split}, tune there, and fuse the others with --like"
            )
        return found

    def tune(
        self, fusion: Fusion, judged: Sequence[Run], kept: ScoreRecord, task: object
    ) -> tuple[Fusion, dict[str, Any]]:
        """The fusion with its weights tuned on `judged`, and what was found.

        Args:
            fusion: without weights.
            judged: the runs, of judged queries only.
            kept: what each weights are worth, so that a stopped tuning goes on.
            task: all that this follows from.
        """

        def value(run: Run) -> float:
            return next(iter(report_of(run, self.data.qrels, self.measure).means.values()))

        def keep(weights: NDArray[np.float64], work: Callable[[], float]) -> float:
            (found,) = kept.of([task, weights.tolist()], 1, lambda: np.array([work()])).tolist()
            advance(1, f"{self.measure} {found:.4f}")
            return float(found)

        with progress("tuning weights", None) as advance:
            tuned = fusion.tuned(judged, value, keep)
        even = replace(fusion, weights=())
        told = {name: told for name, told in self.about.items() if name != "content"}
        return tuned, told | {"value": value(tuned.of(judged)), "equal_weights": value(even.of(judged))}


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
        out: the folder. Its report tells the fusion with its weights as a spec, and on what they were tuned.
        k: how many documents of each query are kept.
        data: where given, what its queries exclude is taken out.
        tuning: where given, the weights are tuned first; queries that it does not judge have no part in that. What
            was tried is kept in the folder, so that the same call goes on where it was stopped.

    Raises:
        BadInput: `out` holds another experiment, there are not as many runs as weights, nothing to tune on,
            or runs without a query in common, with each other or with `data`.
    """
    if len(sources) < 2:
        raise BadInput(f"a fusion is one of two runs or more, not of {len(sources)}")
    fusion.check(len(sources))
    excluding = (*(data.queries if data else ()), *(tuning.data.queries if tuning else ()))
    runs = [run.without(excluding) for run in open_runs(sources)]
    for at, (source, run) in enumerate(zip(sources, runs, strict=True)):
        others = dict.fromkeys(chain(*runs[:at], *runs[at + 1 :]))
        refuse_foreign([source], [run], others, "in another run", "fuse runs of the same queries")
    if data is not None:
        asked = dict.fromkeys(query.id for query in excluding)
        refuse_foreign(sources, runs, asked, f"in {data.name!r}", "check --data and --split")
    judged = tuning.judged(runs) if tuning else []
    task = {
        "verb": "fuse",
        "spec": repr(fusion),
        "part": parameters(fusion),
        "k": k,
        "inputs": [asked_of(source) for source in sources],
        **({"data": _about(data)} if data else {}),
        **({"tuned": tuning.about} if tuning else {}),
    }

    def work(report: dict[str, Any], trace: Trace) -> Run:
        weighted = fusion
        if tuning:
            weighted, report["tuned"] = tuning.tune(fusion, judged, trace.scores, meaning(task))
        fused = weighted.of(runs).top(k)
        report |= {"spec": repr(weighted), "lacks": {run.name: len(fused) - len(run) for run in runs}}
        return fused

    return once(Path(out), task, fusion, Limits(), work)


def _about(data: Dataset) -> dict[str, Any]:
    """What a manifest tells of the data set that a fusion is for: no text of it is used but what queries exclude."""
    return {"name": data.name, "queries": len(data.queries), "content": {"queries": content_of_queries(data.queries)}}


def fusion_of(folder: str | Path, *, trust: bool = False) -> Fusion:
    """The fusion, with its weights, that made the run in `folder`.

    Args:
        folder: the run folder.
        trust: build whatever fusion its manifest names, also one that has to be imported for that.

    Raises:
        NotFound: there is no such run folder.
        BadInput: it was not made by a fusion, or by one that no file may name.
    """
    task = task_of(folder)
    if not task:
        raise NotFound(f"no run folder at {folder}: it has no manifest.json")
    if task.get("verb") != "fuse":
        raise BadInput(f"the run in {folder} was made by {task.get('verb')}, not by fuse: it has no weights")
    spec, told = task.get("spec"), Path(folder) / "manifest.json"
    if "content" in task.get("tuned", {}):  # of earlier versions the manifest tells the weights
        told = Path(folder) / "report.json"
        if not told.is_file():
            raise BadInput(f"{folder} is unfinished, its weights are not tuned yet: the command that made it goes on")
        spec = read_json(told).get("spec")
    return make(str(spec), Fusion) if trust else make_from_file(spec, Fusion, told)


def tuned_on(source: str | Path, data: str | None, split: str | None) -> bool:
    """Whether the run at `source` is a fusion whose weights were fitted to this split of the data set `data`."""
    tuned = task_of(source).get("tuned", {})
    return bool(tuned) and (tuned["data"], tuned["split"]) == (data, split or "test")
