"""A folder in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`, each also as `.gz`."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import BadInput, NotFound
from whyrank.io import read_corpus, read_qrels, read_queries, read_run
from whyrank.types import Dataset, Qrels, Query


def read_folder(folder: Path, split: str | None = None) -> Dataset:
    """Read a folder of `corpus.jsonl`, `queries.jsonl` (with `excluded_ids` where a query has them) and qrels.

    Queries that the split does not judge are left out, as is usual with BEIR; a folder without any judgements keeps
    them all. `run.trec`, where there is one, becomes the candidates.

    Args:
        folder: the folder.
        split: which `qrels/<split>.tsv`; by default `test`, or the only one there is.

    Raises:
        NotFound: the corpus or the queries are not there.
        BadInput: there is no such split, it judges none of the queries, or a line is damaged (file and line are told).
    """
    corpus, questions = (_file(folder, name) for name in ("corpus.jsonl", "queries.jsonl"))
    queries = tuple(read_queries(questions))
    judged = _qrels(folder, split)
    kept = queries if judged is None else judged_only(queries, judged)
    if judged and not kept:
        raise BadInput(
            f"{folder}: none of its {len(queries)} queries is judged: queries.jsonl has {queries[0].id!r}, "
            f"the judgements have {next(iter(judged))!r}: give both the same ids, or another --split"
        )
    candidates = next((read_run(path) for path in _with_gz(folder / "run.trec") if path.is_file()), None)
    return Dataset(
        name=str(folder),
        corpus=LazyCorpus(partial(read_corpus, corpus)),
        queries=kept,
        qrels=judged or Qrels({}),
        candidates=candidates,
    )


def judged_only(queries: Iterable[Query], qrels: Qrels) -> tuple[Query, ...]:
    """The queries that have judgements, in their order."""
    return tuple(query for query in queries if query.id in qrels)


def _file(folder: Path, name: str) -> Path:
    found = next((path for path in _with_gz(folder / name) if path.is_file()), None)
    if found is None:
        raise NotFound(f"no {name} in {folder}: a data folder has corpus.jsonl, queries.jsonl and qrels/test.tsv")
    return found


def _qrels(folder: Path, split: str | None) -> Qrels | None:
    files = {path.name.partition(".")[0]: path for path in sorted(folder.glob("qrels/*.tsv*"))}
    if not files and split is None:
        return None
    wanted = split or ("test" if len(files) != 1 else next(iter(files)))
    if wanted not in files:
        there = f"there are {', '.join(files)}" if files else "there are no files qrels/*.tsv"
        raise BadInput(f"{folder} has no split {wanted!r}: {there}")
    return read_qrels(files[wanted])


def _with_gz(path: Path) -> tuple[Path, Path]:
    return path, path.with_name(f"{path.name}.gz")
