"""What past runs teach: how hard queries are, and which way of ranking is worth its cost on which."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whyrank.errors import BadInput, NotFound
from whyrank.eval import evaluate
from whyrank.experiment import open_run, run_file
from whyrank.io import read_run
from whyrank.io.folders import read_json, read_manifest
from whyrank.rerank.around.radar import Radar, features
from whyrank.rerank.base import requests_of
from whyrank.types import Dataset


def learn_routes(folders: Sequence[str | Path], data: Dataset, measure: str = "nDCG@10") -> Radar:
    """Fit a model of difficulty to reranked runs of one first stage, for `route(…, by=difficulty(path))`.

    Take queries that are not those of the test; 300 and more. A choice succeeds on a query as far as `measure` says.
    It costs what its ledger says: money where all were priced, else tokens; a run without model calls costs nothing.

    Args:
        folders: run folders of `rerank`, one for each choice, in the order in which `route` will take them.
        data: the data set of the runs, with judgements.
        measure: one whose values lie from 0 to 1.

    Raises:
        NotFound: a folder holds no finished run.
        BadInput: fewer than two folders, or runs of different first stages, depths or data sets, or a changed first
            stage.

    Examples:
        >>> learn_routes(["runs/direct", "runs/reasoned"], data).save("radar.json")  # doctest: +SKIP
    """
    tasks = [_task(Path(folder)) for folder in folders]
    if len(tasks) < 2:
        raise BadInput(f"at least two runs are wanted to choose among, not {len(tasks)}")
    for folder, task in zip(folders, tasks, strict=True):
        for key in ("depth", "data", "sha256"):
            if _told(task, key) != _told(tasks[0], key):
                raise BadInput(
                    f"{folder} and {folders[0]} differ in {key}: rerank the same first stage, to the same depth"
                )
    if tasks[0]["data"]["name"] != data.name:
        raise BadInput(f"{folders[0]} is a run of {tasks[0]['data']['name']!r}, not of {data.name!r}")
    source = run_file(tasks[0]["input"]["run"])
    if hashlib.sha256(source.read_bytes()).hexdigest() != tasks[0]["input"]["sha256"]:
        raise BadInput(f"{source} has changed since {folders[0]} was made of it")
    first = read_run(source)
    requests, _ = requests_of(first.only(set(data.qrels)), data, tasks[0]["depth"])
    reports = [evaluate(open_run(folder), data.qrels, measure) for folder in folders]
    success = [[report.per_query[measure][one.query.id] for report in reports] for one in requests]
    return Radar.fit(
        np.array([features(one) for one in requests]), np.array(success), _costs(folders), [t["spec"] for t in tasks]
    )


def _task(folder: Path) -> Mapping[str, Any]:
    found = read_manifest(folder)
    if not found.get("finished") or found["task"]["verb"] != "rerank":
        raise NotFound(f"{folder} holds no finished run of rerank")
    task: dict[str, Any] = found["task"]
    return task


def _told(task: Mapping[str, Any], key: str) -> object:
    return task["input"][key] if key == "sha256" else task[key]


def _costs(folders: Sequence[str | Path]) -> list[float]:
    """Money for each query where every run with calls has some, else tokens."""
    reports = [read_json(Path(folder) / "report.json") for folder in folders]
    ledgers = [report.get("ledger") for report in reports]
    priced = all(ledger is None or (ledger["cost"] or 0) > 0 for ledger in ledgers)
    spent = [
        0.0 if ledger is None else ledger["cost"] if priced else ledger["input_tokens"] + ledger["output_tokens"]
        for ledger in ledgers
    ]
    return [each / max(report["queries"], 1) for each, report in zip(spent, reports, strict=True)]
