"""Collections in which each query has its own pool of passages: BIRCO and NovelEval."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from whyrank.datasets.family import Family
from whyrank.datasets.folder import complete
from whyrank.datasets.judged import read_judged
from whyrank.errors import BadInput
from whyrank.io import read_corpus, read_qrels, read_queries
from whyrank.types import Dataset, Qrels, Run


class Birco(Family):
    """BIRCO (Wang et al., 2024): queries with several objectives, each with a pool of about 50 to 75 passages."""

    name = "birco"
    members = ("arguana", "clinical-trial", "doris-mae", "relic", "whatsthatbook")
    layout = "corpus.jsonl, queries.jsonl and pool_qrels.tsv into birco/{member}/test/"
    splits = None

    def _present(self, folder: Path) -> Iterator[str]:
        return iter(sorted({path.parent.parent.name for path in folder.glob("*/*/pool_qrels.tsv")}))

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        there = sorted(path.parent.name for path in (folder / member).glob("*/pool_qrels.tsv"))
        wanted = split or ("test" if len(there) != 1 else there[0])
        if wanted not in there:
            raise BadInput(f"{self.title(member)!r} has no split {wanted!r}: there are {', '.join(there)}")
        place = folder / member / wanted
        qrels = read_qrels(place / "pool_qrels.tsv")
        return Dataset(
            name=self.title(member),
            corpus=complete(partial(read_corpus, place / "corpus.jsonl"), qrels, self.title(member))(),
            queries=tuple(read_queries(place / "queries.jsonl")),
            qrels=qrels,
            candidates=shuffled(qrels),
        )


class NovelEval(Family):
    """NovelEval (Sun et al., 2023): 21 questions of 2023 about that year, each with 20 passages graded 0 to 2."""

    name = "noveleval"
    members = ("",)
    layout = "data.json and qrels.txt into noveleval/"

    def _present(self, folder: Path) -> Iterator[str]:
        return iter([""] if (folder / "data.json").is_file() and (folder / "qrels.txt").is_file() else [])

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        data = read_judged(folder / "data.json", folder / "qrels.txt")
        return replace(data, candidates=data.candidates.named(self.name) if data.candidates else None)


def shuffled(qrels: Qrels) -> Run:
    """The judged documents of each query in an order that is fixed but knows no grades (by SHA-256 of both ids).

    The order of a pool file would be no fair first stage: BIRCO's ArguAna lists the relevant passages near the top.
    """
    return Run.of(
        {
            query: sorted(judged, key=lambda id: sha256(f"{query}\t{id}".encode()).digest())
            for query, judged in qrels.items()
        },
        name="pool",
    )
