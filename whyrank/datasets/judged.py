"""Data sets of one file: candidates with the judgements that lie beside them, or just a collection."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from whyrank.datasets.folder import judged_only
from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import BadInput
from whyrank.io import read_candidates, read_corpus, read_qrels
from whyrank.io.files import blocks, suffix
from whyrank.types import Dataset

_CANDIDATES = re.compile(rb'"(candidates|hits)"\s*:')


def read_file(path: Path, split: str | None = None) -> Dataset:
    """Read a file: candidates, as their first record tells, else a collection, see `iter_corpus`, without queries.

    Raises:
        BadInput: as `read_judged` and `qrels_beside` say, or a split of a collection, which has none.
    """
    if suffix(path) in (".json", ".jsonl") and _CANDIDATES.search(next(blocks(path)).data):
        return read_judged(path, qrels_beside(path, split))
    if split is not None:
        raise BadInput(f"{path} is a collection and has no split {split!r}: judgements lie in a folder, with queries")
    whole = suffix(path) == ".json"  # an array is in memory at once, or is damaged
    return Dataset(str(path), read_corpus(path) if whole else LazyCorpus(partial(read_corpus, path)))


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
