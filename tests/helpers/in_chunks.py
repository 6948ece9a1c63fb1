"""A small task to do in chunks, and what one process makes of it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whyrank import experiment
from whyrank.datasets import load
from whyrank.distributed import Place
from whyrank.distributed.place import Take
from whyrank.distributed.work import Work
from whyrank.distributed.worker import Outcome, Worker
from whyrank.io import write_corpus, write_run
from whyrank.io.chunks import Chunk, Chunks
from whyrank.io.folders import write_lines
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.types import Corpus, Document, Run

QUERIES, DOCUMENTS = 24, 30


@dataclass(frozen=True)
class Here(Place):
    """Does chunks in this process, in the order of `seed`; some begin twice, as when a network splits."""

    workers: int = 1
    seed: int = 0
    twice: float = 0.0

    def mine(self, chunks: Chunks) -> list[Chunk]:
        return random.Random(self.seed).sample(list(chunks), len(chunks))

    def run(self, work: Work, start: str, take: Take) -> Iterator[Outcome]:
        crew, draw = [Worker(work, start) for _ in range(self.workers)], random.Random(self.seed)
        while (number := take()) is not None:
            if draw.random() < self.twice:
                Chunks.of(work.out)[number].begin(start)  # and its worker was never heard of again
            yield draw.choice(crew).do(number)


def write_task(folder: Path) -> Path:
    """Write `data` in BEIR's layout and a first stage, `first.trec`, with ties in it."""
    documents = [Document(f"d{at}", f"passage {at} tells " + "more " * (at % 7)) for at in range(DOCUMENTS)]
    write_corpus(Corpus(documents), folder / "data" / "corpus.jsonl")
    queries = ({"_id": f"q{at}", "text": f"what does number {at} tell?"} for at in range(QUERIES))
    write_lines(folder / "data" / "queries.jsonl", queries)
    scores = {
        f"q{at}": {f"d{(at * 7 + n) % DOCUMENTS}": float(12 - n // 2) for n in range(12)} for at in range(QUERIES)
    }
    write_run(Run.of(scores, name="first"), folder / "first.trec", exact=True)
    return folder


def spec(log: Path, **options: object) -> str:
    """A reranker whose model counts in `log`."""
    told = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"listwise(counting.Counting(log={str(log)!r}{told}), window=5, stride=3)"


def alone(task: Path, out: Path, reranker: str, depth: int = 10) -> Path:
    """What one process makes of the task, in a folder of that name."""
    experiment.rerank(task / "first.trec", make(reranker, Reranker), load(task / "data"), out, depth)
    return out


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same run and notes, byte for byte."""
    names = [name for name in ("run.trec", "notes.jsonl") if (one / name).exists() or (other / name).exists()]
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
