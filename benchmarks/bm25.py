"""BM25 beside bm25s (its numba back end) and Lucene (Anserini, as Pyserini runs it): seconds, queries, megabytes.

    python benchmarks/bm25.py [--data ../shared/data] [--json out.json] [--collections scifact vaswani zipf]

Each engine works in processes of its own, in turn, and of several rounds the best time counts. Indexing starts from raw
text in memory (Lucene: from two JSONL files, one for each of its threads; starting Java is not counted). Search starts
from query text and ends with what the engine gives: bm25s document numbers, Lucene its hits as Java objects, and
whyrank a checked `Run` with ids. bm25s does not stem; Lucene and
whyrank do. Peak memory is the process's after indexing and all searches, the texts included.
"""

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

STOP = set(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these".split()
)
TERMS, DEPTHS, THREADS = (8, 100), (100, 1000), (1, 2)
ENGINES = ("whyrank", "bm25s", "lucene")
Figures = dict[str, float]


def main() -> None:
    """Run all engines on all collections, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHYRANK_DATA", "../shared/data")))
    parser.add_argument("--collections", nargs="+", default=["scifact", "vaswani", "zipf"])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write all figures there")
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(WORKERS[options.worker[0]](Path(options.worker[1]))))
        return
    told = {}
    for name in options.collections:
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, options.data, Path(folder))
            told[name] = measure(options.engines, Path(folder), options.rounds)
        print_table(name, told[name])
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


def prepare(name: str, data: Path, folder: Path) -> None:
    """Write the texts and the queries of a collection as all engines read them."""
    texts = list(zipf(200_000, 120)) if name == "zipf" else real(data / "beir" / name / "corpus.jsonl")
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "jsonl").mkdir()
    for half in (0, 1):
        with (folder / "jsonl" / f"{half}.jsonl").open("w") as file:
            for number in range(half, len(texts), 2):
                file.write(json.dumps({"id": str(number), "contents": texts[number]}) + "\n")
    draw = random.Random(1)
    for length in TERMS:
        many = 1000 if len(texts) < 100_000 else 200
        queries = [" ".join(next(words(texts, draw)) for _ in range(length)) for _ in range(many)]
        (folder / f"queries{length}.json").write_text(json.dumps(queries))


def real(path: Path) -> list[str]:
    """Title and text of each document of a BEIR collection."""
    with path.open(encoding="utf-8") as lines:
        return [f"{document.get('title', '')} {document['text']}" for document in map(json.loads, lines)]


def zipf(documents: int, length: int, vocabulary: int = 200_000) -> Iterator[str]:
    """Texts whose words follow Zipf's law with exponent 1."""
    draw = np.random.default_rng(0)
    shares = np.cumsum(1 / np.arange(1, vocabulary + 1))
    for _ in range(documents):
        drawn = np.searchsorted(shares, draw.random(length) * shares[-1])
        yield " ".join(map("w{}".format, drawn.tolist()))


def words(texts: list[str], draw: random.Random) -> Iterator[str]:
    """Words as often as the collection has them, stop words left out."""
    while True:
        found = [word for word in re.findall(r"\w\w+", draw.choice(texts).lower()) if word not in STOP]
        if found:
            yield draw.choice(found)


def measure(engines: list[str], folder: Path, rounds: int) -> dict[str, Figures]:
    """The best figures of each engine in several rounds, each in a fresh process."""
    best: dict[str, Figures] = {engine: {} for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            command = [sys.executable, __file__, "--worker", engine, str(folder)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for what, figure in json.loads(answer.splitlines()[-1]).items():
                best[engine][what] = min(figure, best[engine].get(what, figure))
    return best


def print_table(name: str, figures: dict[str, Figures]) -> None:
    """One line a figure; the ratios say how many times as much the other engine needs."""
    ours, others = figures.get("whyrank", {}), [engine for engine in figures if engine != "whyrank"]
    head = "".join(f"{engine:>12}" for engine in figures) + "".join(f"{engine + ' ×':>12}" for engine in others)
    print(f"\n{name:<38}{head}")
    for what in dict.fromkeys(what for found in figures.values() for what in found):
        cells = "".join(f"{found[what]:>12.4g}" if what in found else f"{'':>12}" for found in figures.values())
        ratios = [figures[engine].get(what, np.nan) / ours.get(what, np.nan) for engine in others]
        print(
            f"{what:<38}{cells}" + "".join(f"{'' if np.isnan(r) else format(r, '.2f'):>12}" for r in ratios), flush=True
        )


def timed(work: Callable[[], object], repeats: int = 3) -> float:
    """The best of several times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def searches(folder: Path, search: Callable[[list[str], int, int], object]) -> Figures:
    """Microseconds a query for each length of query, depth and number of threads."""
    figures = {}
    for length in TERMS:
        queries = json.loads((folder / f"queries{length}.json").read_text())
        for k in DEPTHS:
            for threads in THREADS:
                seconds = timed(lambda: search(queries, k, threads))  # noqa: B023 (called at once)
                figures[f"{length} terms, k={k}, {threads} threads: µs"] = seconds / len(queries) * 1e6
    return figures


def peak() -> Figures:
    """The highest memory this process had."""
    return {"peak memory: MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run_whyrank(folder: Path) -> Figures:
    """Ours, indexing in one and in two processes."""
    from dataclasses import replace

    from whyrank.retrieval.lexical.bm25 import BM25
    from whyrank.types import Document, Query

    texts = json.loads((folder / "texts.json").read_text())
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    start = time.perf_counter()
    index = BM25().index(documents)
    figures = {"index: s": time.perf_counter() - start}
    held = {threads: replace(index, threads=threads) for threads in THREADS}
    for part in held.values():
        object.__setattr__(part, "_held", index._held)

    def search(queries: list[str], k: int, threads: int) -> object:
        return held[threads].search([Query(str(number), text) for number, text in enumerate(queries)], k)

    figures |= searches(folder, search)
    figures |= peak()
    start = time.perf_counter()
    BM25(processes=2).index(documents)
    figures["index, 2 processes: s"] = time.perf_counter() - start
    return figures


def run_bm25s(folder: Path) -> Figures:
    """The package bm25s with numba."""
    import bm25s

    texts = json.loads((folder / "texts.json").read_text())
    quiet: Any = {"show_progress": False}
    start = time.perf_counter()
    engine = bm25s.BM25(k1=0.9, b=0.4, method="lucene", backend="numba")
    engine.index(bm25s.tokenize(texts, **quiet), **quiet)
    figures = {"index: s": time.perf_counter() - start}
    for threads in THREADS:  # compile
        engine.retrieve(bm25s.tokenize(["warm up"], **quiet), k=10, n_threads=threads, **quiet)

    def search(queries: list[str], k: int, threads: int) -> object:
        return engine.retrieve(bm25s.tokenize(queries, **quiet), k=k, n_threads=threads, **quiet)

    figures |= searches(folder, search)
    return figures | peak()


def run_lucene(folder: Path) -> Figures:
    """Anserini's indexer and batch search, called as Pyserini calls them."""
    from whyrank.retrieval.lexical.lucene import start_jvm

    start_jvm()
    from jnius import autoclass

    arguments = ["-collection", "JsonCollection", "-input", str(folder / "jsonl"), "-index", str(folder / "lucene")]
    arguments += ["-generator", "DefaultLuceneDocumentGenerator", "-threads", "2"]
    start = time.perf_counter()
    autoclass("io.anserini.index.IndexCollection").main(arguments)
    figures = {"index: s": time.perf_counter() - start}
    searcher = autoclass("io.anserini.search.SimpleSearcher")(str(folder / "lucene"))
    searcher.set_bm25(0.9, 0.4)

    def strings(texts: list[str]) -> Any:  # noqa: ANN401 (a Java object)
        made = autoclass("java.util.ArrayList")()
        for text in texts:
            made.add(autoclass("java.lang.String")(text))
        return made

    def search(queries: list[str], k: int, threads: int) -> object:
        return searcher.batch_search(strings(queries), strings(list(map(str, range(len(queries))))), k, threads)

    figures |= searches(folder, search)
    return figures | peak()


WORKERS = {"whyrank": run_whyrank, "bm25s": run_bm25s, "lucene": run_lucene}

if __name__ == "__main__":
    main()
