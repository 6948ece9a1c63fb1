"""A million documents: time, memory and disk of indexing beside bm25s and Lucene (Anserini), and search from disk.

    python benchmarks/large.py [--documents 1000000] [--length 60] [--json out.json]

Synthetic documents of 60 words that follow Zipf's law, as in `bm25.py` but half as long. Each engine starts in a
process of its own and reads the texts from JSONL; a second process opens its index from disk and searches 200 queries
of 8 words (drawn as the documents' words, so most are very frequent), k = 100, with 2 threads. Peak memory is the
resident memory of the process (VmHWM; with several processes the sum of their peaks), mapped files included; the first
query of bm25s has to compile its numba code.

whyrank streams: with 1 GB or 100 MB for postings, besides ids and vocabulary. `4-shards` are of 100 MB, searched as
one; that it finds the same is checked. bm25s holds all texts and tokens, and does not stem. Anserini indexes with 2
threads from two files; starting Java is not counted as time.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bm25 import Figures, print_table, zipf

from whyrank.types import Run

DEPTH, THREADS, TERMS, QUERIES = 100, 2, 8, 200


def main() -> None:
    """Write the collection, run all engines, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--json", type=Path, help="also write all figures there")
    parser.add_argument("--worker", nargs=3, metavar=("STEP", "ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        what, engine, place = options.worker
        print(json.dumps(ENGINES[engine][what == "search"](Path(place), engine)))
        return
    told: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.documents, options.length)
        for engine in options.engines:
            told[engine] = step("index", engine, folder) | disk(Path(folder, engine)) | step("search", engine, folder)
            print(engine, told[engine], file=sys.stderr, flush=True)
        found = [(Path(folder, f"{engine}.run")).read_bytes() for engine in options.engines if engine in parts()]
    print_table(f"{options.documents:,} documents of {options.length} words", told)
    print("\nall of whyrank's runs are the same:", len(set(found)) == 1)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


def prepare(folder: Path, documents: int, length: int) -> None:
    """Write the documents, one half in each of two files for Lucene, and the queries."""
    (folder / "jsonl").mkdir()
    draw = random.Random(1)
    queries: list[str] = []
    with (
        (folder / "corpus.jsonl").open("w") as whole,
        (folder / "jsonl" / "0.jsonl").open("w") as even,
        (folder / "jsonl" / "1.jsonl").open("w") as odd,
    ):
        for number, text in enumerate(zipf(documents, length)):
            whole.write(json.dumps({"_id": str(number), "text": text}) + "\n")
            (odd if number % 2 else even).write(json.dumps({"id": str(number), "contents": text}) + "\n")
            if number % max(1, documents // QUERIES) == 0 and len(queries) < QUERIES:
                queries.append(" ".join(draw.choices(text.split(), k=TERMS)))
    (folder / "queries.json").write_text(json.dumps(queries))


def step(what: str, engine: str, folder: str) -> Figures:
    """One step of one engine in a fresh process."""
    command = [sys.executable, __file__, "--worker", what, engine, folder]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: Figures = json.loads(answer.splitlines()[-1])
    return figures


def disk(folder: Path) -> Figures:
    """The size of an index."""
    return {"index: MB on disk": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6}


def peak(processes: int = 0) -> float:
    """The highest resident memory of this process and of each of its `processes` workers, in MB."""
    status = Path("/proc/self/status").read_text()
    workers = processes * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (int(status.split("VmHWM:")[1].split()[0]) + workers) * 1024 / 1e6


def indexed(work: Callable[[], object], processes: int = 0) -> Figures:
    """Time and memory of indexing."""
    start = time.perf_counter()
    work()
    return {"index: s": time.perf_counter() - start, "index: peak MB": peak(processes)}


def searched(folder: Path, open_index: Callable[[], Callable[[list[str]], object]]) -> Figures:
    """Time and memory of opening an index with a first query, and of searching twice with all queries."""
    queries = json.loads((folder / "queries.json").read_text())
    start = time.perf_counter()
    search = open_index()
    search(queries[:1])
    figures = {"open, first query: s": time.perf_counter() - start}
    for what in ("search: ms a query", "search again: ms a query"):
        start = time.perf_counter()
        search(queries)
        figures[what] = (time.perf_counter() - start) / len(queries) * 1e3
    return {**figures, "search: peak MB": peak()}


def parts() -> dict[str, Any]:
    """Our ways to index, by name."""
    from whyrank.retrieval.around.sharded import Sharded
    from whyrank.retrieval.lexical.bm25 import BM25

    return {
        "whyrank": BM25(memory="1GB", threads=THREADS),
        "100MB": BM25(memory="100MB", threads=THREADS),
        "2-processes": BM25(memory="100MB", threads=THREADS, processes=2),
        "4-shards": Sharded(BM25(memory="100MB", threads=THREADS), size=250_000),
    }


def index_whyrank(folder: Path, engine: str) -> Figures:
    """Stream the documents into an index on disk."""
    from whyrank.io import iter_corpus

    part = parts()[engine].at(folder / engine)
    return indexed(lambda: part.index(iter_corpus(folder / "corpus.jsonl")), 2 if engine == "2-processes" else 0)


def search_whyrank(folder: Path, engine: str) -> Figures:
    """Search the mapped index, and leave the run."""
    from whyrank.io import write_run
    from whyrank.types import Query

    part = parts()[engine].at(folder / engine)
    found: list[Run] = []

    def search(queries: list[str]) -> None:
        found[:] = [part.search([Query(str(number), text) for number, text in enumerate(queries)], DEPTH)]

    figures = searched(folder, lambda: search)
    write_run(found[0].named("whyrank"), folder / f"{engine}.run")
    return figures


def texts(folder: Path) -> Iterator[str]:
    """The texts of the collection."""
    with (folder / "corpus.jsonl").open() as lines:
        yield from (json.loads(line)["text"] for line in lines)


def index_bm25s(folder: Path, engine: str) -> Figures:
    """The package bm25s, index saved."""
    import bm25s

    def work() -> None:
        made = bm25s.BM25(k1=0.9, b=0.4, method="lucene", backend="numba")
        made.index(bm25s.tokenize(list(texts(folder)), show_progress=False), show_progress=False)
        made.save(str(folder / engine), show_progress=False)

    return indexed(work)


def search_bm25s(folder: Path, engine: str) -> Figures:
    """Its index, mapped."""
    import bm25s

    def open_index() -> Callable[[list[str]], object]:
        made = bm25s.BM25.load(str(folder / engine), mmap=True)
        return lambda queries: made.retrieve(
            bm25s.tokenize(queries, show_progress=False), k=DEPTH, n_threads=THREADS, show_progress=False
        )

    return searched(folder, open_index)


def index_lucene(folder: Path, engine: str) -> Figures:
    """Anserini's indexer, called as Pyserini calls it."""
    from whyrank.retrieval.lexical.lucene import start_jvm

    start_jvm()
    from jnius import autoclass

    arguments = ["-collection", "JsonCollection", "-input", str(folder / "jsonl"), "-index", str(folder / engine)]
    arguments += ["-generator", "DefaultLuceneDocumentGenerator", "-threads", str(THREADS)]
    return indexed(lambda: autoclass("io.anserini.index.IndexCollection").main(arguments))


def search_lucene(folder: Path, engine: str) -> Figures:
    """Anserini's batch search."""
    from whyrank.retrieval.lexical.lucene import start_jvm

    start_jvm()
    from jnius import autoclass

    def strings(given: list[str]) -> Any:  # noqa: ANN401 (a Java object)
        made = autoclass("java.util.ArrayList")()
        for text in given:
            made.add(autoclass("java.lang.String")(text))
        return made

    def open_index() -> Callable[[list[str]], object]:
        searcher = autoclass("io.anserini.search.SimpleSearcher")(str(folder / engine))
        searcher.set_bm25(0.9, 0.4)
        return lambda queries: searcher.batch_search(
            strings(queries), strings(list(map(str, range(len(queries))))), DEPTH, THREADS
        )

    return searched(folder, open_index)


ENGINES = {
    **dict.fromkeys(("whyrank", "100MB", "2-processes", "4-shards"), (index_whyrank, search_whyrank)),
    "bm25s": (index_bm25s, search_bm25s),
    "lucene": (index_lucene, search_lucene),
}

if __name__ == "__main__":
    main()
