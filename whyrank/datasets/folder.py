"""A folder of one's own: a collection, and perhaps queries, judgements of each split and a first stage."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import BadInput, NotFound
from whyrank.io import read_corpus, read_qrels, read_queries, read_run
from whyrank.io.pages import has_pages
from whyrank.progress import warn
from whyrank.types import Corpus, Dataset, Qrels, Query

ENDINGS = (".jsonl", ".json", ".parquet", ".tsv", ".csv")
CORPUS = tuple(f"{stem}{ending}" for stem in ("corpus", "collection") for ending in ENDINGS)
QUERIES = tuple(f"{stem}{ending}" for stem in ("queries", "topics") for ending in (*ENDINGS, ".txt", ".xml", ".sgml"))
JUDGED = (".tsv", ".txt", ".qrels", ".csv")
"""Names of the files of a folder, and endings of those in `qrels/`; each may end in `.gz`, too."""


def read_folder(folder: Path, split: str | None = None) -> Dataset:
    """Read a folder: BEIR's layout, `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`, or other forms of the same.

    The collection may also be a table or, where there is no such file, the texts in the folder (`iter_corpus`); queries
    may be a table or TREC topics (`read_queries`), or not there. Queries that the split does not judge are left out, as
    is usual with BEIR; a folder without any judgements keeps them all. `run.trec`, where there is one, becomes the
    candidates.

    Args:
        folder: the folder.
        split: which `qrels/<split>.tsv`; by default `test`, or the only one there is.

    Raises:
        NotFound: there is no collection.
        BadInput: there is no such split, it judges none of the queries, two files say the same thing in two forms, or a
            line is damaged (file and line are told).
    """
    corpus, questions = _one(folder, CORPUS), _one(folder, QUERIES)
    if corpus is None and not has_pages(folder):
        raise NotFound(
            f"no corpus.jsonl in {folder}: a data folder has corpus.jsonl (or .tsv, .csv, or texts as .txt and .md), "
            "queries.jsonl and qrels/test.tsv"
        )
    queries = () if questions is None else tuple(read_queries(questions))
    judged = _qrels(folder, split)
    kept = queries if judged is None else judged_only(queries, judged)
    if judged and queries and not kept:
        raise BadInput(
            f"{folder}: none of its {len(queries)} queries is judged: {questions.name if questions else ''} has "
            f"{queries[0].id!r}, the judgements have {next(iter(judged))!r}: give both the same ids, or another --split"
        )
    run = _one(folder, ("run.trec",))
    return Dataset(
        name=str(folder),
        corpus=LazyCorpus(complete(partial(read_corpus, corpus or folder), judged, str(folder))),
        queries=kept,
        qrels=judged or Qrels({}),
        candidates=None if run is None else read_run(run),
    )


def judged_only(queries: Iterable[Query], qrels: Qrels) -> tuple[Query, ...]:
    """The queries that have judgements, in their order."""
    return tuple(query for query in queries if query.id in qrels)


def complete(read: Callable[[], Corpus], qrels: Qrels | None, name: str) -> Callable[[], Corpus]:
    """A function that reads a collection, and warns of judged documents that it lacks: nothing finds them."""

    def checked() -> Corpus:
        corpus = read()
        judged = {id: grade for grades in (qrels or {}).values() for id, grade in grades.items()}
        if lacking := [id for id in judged if id not in corpus]:
            relevant = {id for grades in (qrels or {}).values() for id, grade in grades.items() if grade > 0}
            warn(
                f"{name}: the collection lacks {len(lacking):,} of {len(judged):,} judged documents, "
                f"{len(relevant.intersection(lacking)):,} of them relevant, such as {lacking[0]!r}: nothing finds them"
            )
        return corpus

    return checked


def splits_of(folder: Path) -> dict[str, Path]:
    """The files of judgements in `qrels/` by their splits; hidden files and those of other endings are none.

    Raises:
        BadInput: two files are of one split.
    """
    found: dict[str, Path] = {}
    for path in sorted((folder / "qrels").glob("*")):
        name = path.name.removesuffix(".gz")
        ending = next((ending for ending in JUDGED if name.endswith(ending)), None)
        if ending is None or name.startswith(".") or not path.is_file():
            continue
        split = name.removesuffix(ending)
        if split in found:
            raise BadInput(
                f"{folder}: {found[split].name} and {path.name} in qrels/ are both of the split {split!r}: keep one"
            )
        found[split] = path
    return found


def _one(folder: Path, names: Iterable[str]) -> Path | None:
    """The file of one of these names, as it is or compressed; None where there is none."""
    found = [path for path in _with_gz(folder, names) if path.is_file()]
    if len({path.name.removesuffix(".gz") for path in found}) > 1:
        raise BadInput(f"{folder}: {' and '.join(path.name for path in found)} say the same thing twice: keep one")
    return found[0] if found else None


def _qrels(folder: Path, split: str | None) -> Qrels | None:
    files = splits_of(folder)
    if not files and split is None:
        return None
    wanted = split or ("test" if len(files) != 1 else next(iter(files)))
    if wanted not in files:
        there = f"there are {', '.join(files)}" if files else "there are no files qrels/*.tsv"
        raise BadInput(f"{folder} has no split {wanted!r}: {there}")
    return read_qrels(files[wanted])


def _with_gz(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        yield folder / name
        yield folder / f"{name}.gz"
