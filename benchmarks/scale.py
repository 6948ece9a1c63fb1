"""Work in chunks beside one process: CPU and memory of a reranking, and of a search over shards beside one index.

    python benchmarks/scale.py [--lists 500 2000] [--documents 100000] [--shards 4]

Lists of 100 synthetic passages are reranked by `listwise(fake())`, nine calls a list, once in one process and once by
one worker in chunks (`--on local:1`): what is told is milliseconds of CPU a list, as a ratio, and the peak of resident
memory of the largest process. Both must write the same bytes. Then BM25 over shards in one process is measured beside
one index of the same documents: microseconds of CPU a query, 300 queries of 12 words, k = 100, the best of 8.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from whyrank import BM25
from whyrank.retrieval.around.sharded import Sharded
from whyrank.types import Document, Query

SPEC = "listwise(fake('<answer>[2] > [1]</answer>'))"
PASSAGES, DEPTH, QUERIES, PASSES = 20_000, 100, 300, 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=4)
    told = parser.parse_args()
    for lists in told.lists:
        with tempfile.TemporaryDirectory() as folder:
            reranking(Path(folder), lists)
    searching(told.documents, told.shards)


def reranking(folder: Path, lists: int) -> None:
    """One process beside one worker."""
    draw = random.Random(0)
    words = [f"w{at}" for at in range(3000)]
    passages = ({"_id": f"d{at}", "text": " ".join(draw.choices(words, k=50))} for at in range(PASSAGES))
    queries = ({"_id": f"q{at}", "text": " ".join(draw.choices(words, k=8))} for at in range(lists))
    for name, records in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with (folder / "first.trec").open("w") as file:
        for at in range(lists):
            for rank in range(DEPTH):
                file.write(f"q{at} Q0 d{(at * 37 + rank * 13) % PASSAGES} {rank + 1} {DEPTH - rank}.0 first\n")
    whole = measured(folder, "whole", [])
    chunks = measured(folder, "chunks", ["--on", "local:1", "--chunk-size", "100"])
    same = all(
        (folder / "whole" / "x" / name).read_bytes() == (folder / "chunks" / "x" / name).read_bytes()
        for name in ("run.trec", "notes.jsonl")
    )
    print(
        f"{lists:,} lists: {whole[0] / lists * 1e3:.1f} ms of CPU a list in one process, "
        f"× {chunks[0] / whole[0]:.2f} in chunks; peak MB {whole[1]:.0f} and {chunks[1]:.0f}; same bytes: {same}"
    )


def measured(folder: Path, out: str, more: list[str]) -> tuple[float, float]:
    """Seconds of CPU of a command and all its processes, and the peak of the largest in MB."""
    work = ["rerank", str(folder / "first.trec"), SPEC, "--data", str(folder), "-o", str(folder / out / "x"), *more]
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", code, sys.executable, "-m", "whyrank", *work]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def searching(documents: int, shards: int) -> None:
    """One index beside shards."""
    import numpy as np

    draw = np.random.default_rng(0)
    chances = 1 / np.arange(1, 45_001)
    chances /= chances.sum()
    terms = draw.choice(len(chances), size=(documents, 60), p=chances)
    corpus = [Document(f"d{at}", " ".join(f"w{term}" for term in row)) for at, row in enumerate(terms)]
    asked = draw.choice(len(chances), size=(QUERIES, 12), p=chances)
    queries = [Query(f"q{at}", " ".join(f"w{term}" for term in row)) for at, row in enumerate(asked)]
    one = BM25(threads=1).index(corpus)
    many = Sharded(BM25(threads=1), size=-(-documents // shards)).index(corpus)
    same = one.search(queries, DEPTH) == many.search(queries, DEPTH)
    whole, parts = fastest(lambda: one.search(queries, DEPTH)), fastest(lambda: many.search(queries, DEPTH))
    print(
        f"{documents:,} documents: {whole / QUERIES * 1e6:.0f} µs of CPU a query by one index, × {parts / whole:.2f} "
        f"by {shards} shards; same run: {same}"
    )


def fastest(work: Callable[[], object]) -> float:
    """Seconds of CPU of the fastest of some passes."""
    taken = []
    for _ in range(PASSES):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    main()
