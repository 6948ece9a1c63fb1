"""A small task to do in chunks, and what one process makes of it."""

from pathlib import Path

from whyrank import experiment
from whyrank.datasets import load
from whyrank.io import write_corpus, write_run
from whyrank.io.folders import write_lines
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.types import Corpus, Document, Run

QUERIES, DOCUMENTS = 24, 30


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
