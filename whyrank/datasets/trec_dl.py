"""TREC Deep Learning 2019 and 2020, passage ranking (Craswell et al.): `trec_dl/dl19`, `trec_dl/dl20`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from whyrank.datasets import irds
from whyrank.datasets.family import Family
from whyrank.datasets.judged import read_judged
from whyrank.types import Dataset

YEARS = {"dl19": 2019, "dl20": 2020}


class TrecDL(Family):
    """The judged topics with the BM25 top 100 of each as candidates; the collection is those candidates' text.

    Fetched through ir_datasets there are no candidates, and the collection is all 8.8 million MS MARCO passages.
    """

    name = "trec_dl"
    members = tuple(YEARS)
    layout = "{member}.bm25.top100.json (rank_llm's candidates) and qrels.{member}.txt into trec_dl/"

    def _present(self, folder: Path) -> Iterator[str]:
        return (year for year in YEARS if _candidates(folder, year).is_file() and _qrels(folder, year).is_file())

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        return read_judged(_candidates(folder, member), _qrels(folder, member))

    def _fetch(self, member: str, split: str | None) -> Dataset:
        return irds.fetch((f"msmarco-passage/trec-dl-{YEARS[member]}/judged",), partial(self.absent, member))


def _candidates(folder: Path, member: str) -> Path:
    return folder / f"{member}.bm25.top100.json"


def _qrels(folder: Path, member: str) -> Path:
    return folder / f"qrels.{member}.txt"
