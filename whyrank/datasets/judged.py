"""Candidate files with the judgements that lie beside them."""

from dataclasses import replace
from pathlib import Path

from whyrank.datasets.folder import judged_only
from whyrank.errors import BadInput
from whyrank.io import read_candidates, read_qrels
from whyrank.types import Dataset


def read_judged(path: Path, qrels: Path | None = None) -> Dataset:
    """Read a candidate file, and its judgements where there are any; queries that they do not judge are left out.

    Raises:
        BadInput: as `read_candidates` and `read_qrels` say.
    """
    data = read_candidates(path)
    if qrels is None:
        return data
    judged = read_qrels(qrels)
    return replace(data, queries=judged_only(data.queries, judged), qrels=judged)


def qrels_beside(path: Path, split: str | None = None) -> Path | None:
    """The judgements in the folder of a candidate file: for `dl19.bm25.json`, `qrels.dl19.txt`, else `qrels.txt`.

    Args:
        path: the candidate file.
        split: take `qrels/<split>.tsv` instead.

    Raises:
        BadInput: there are no judgements for `split`.
    """
    stem = path.name.partition(".")[0]
    named = (f"qrels.{stem}.txt", f"{stem}.qrels", "qrels.txt", "qrels/test.tsv")
    names = (f"qrels/{split}.tsv",) if split else named
    found = next((place for name in names if (place := path.parent / name).is_file()), None)
    if split and not found:
        raise BadInput(f"{path} has no split {split!r}: there is no {path.parent / names[0]}")
    return found
