"""BEIR (Thakur et al., 2021): `beir/<name>`, from a local folder, else through ir_datasets."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from whyrank.datasets import irds
from whyrank.datasets.family import Family
from whyrank.datasets.folder import read_folder
from whyrank.types import Dataset

FORUMS = "android english gaming gis mathematica physics programmers stats tex unix webmasters wordpress"

QUERIES_ARE_DOCUMENTS = {"arguana", "quora"}
"""Here a query has the id of a document, which is itself; as in BEIR's own evaluation it must not be returned."""


class Beir(Family):
    """BEIR's collections, and any other folder of that layout that lies beside them."""

    name = "beir"
    members = (
        *("arguana", "climate-fever", *(f"cqadupstack/{forum}" for forum in FORUMS.split()), "dbpedia-entity", "fever"),
        *("fiqa", "hotpotqa", "msmarco", "nfcorpus", "nq", "quora", "scidocs", "scifact", "trec-covid"),
        *("webis-touche2020", "webis-touche2020/v2"),
    )
    layout = "corpus.jsonl, queries.jsonl and qrels/test.tsv into beir/{member}/"
    splits = None

    def _present(self, folder: Path) -> Iterator[str]:
        for depth in ("*", "*/*"):
            for corpus in sorted(folder.glob(f"{depth}/corpus.jsonl*")):
                yield corpus.parent.relative_to(folder).as_posix()

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        return _not_itself(member, read_folder(folder / member, split))

    def _fetch(self, member: str, split: str | None) -> Dataset:
        ids = (f"beir/{member}/{split or 'test'}", *([f"beir/{member}"] if split in (None, "test") else []))
        return _not_itself(member, irds.fetch(ids, partial(self.absent, member)))


def _not_itself(member: str, data: Dataset) -> Dataset:
    if member not in QUERIES_ARE_DOCUMENTS:
        return data
    queries = (replace(query, excluded=query.excluded | {query.id}) for query in data.queries)
    return replace(data, queries=tuple(queries))
