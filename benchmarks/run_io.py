"""Reading, writing and scoring a run of 1,384 queries × 1,000 hits, beside ranx, pytrec_eval and ir_measures.

    python benchmarks/run_io.py [--queries 1384] [--hits 1000] [--rounds 5]

All engines work on the same file, in turns, after a warm-up; times are the best of the rounds, in seconds of CPU time
(which neighbours on the machine disturb less than the clock). Peak memory is what a fresh process has taken at most
while it reads the file, less what it took before (Linux). A ratio below 1 means that whyrank takes less.
"""

import argparse
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import whyrank

MEASURES = {
    "nDCG@10, R@100": (["nDCG@10", "R@100"], ["ndcg@10", "recall@100"]),
    "AP, nDCG": (["AP", "nDCG"], ["map", "ndcg"]),
}


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("queries", 1384), ("hits", 1000), ("rounds", 5)):
        asked.add_argument(f"--{name}", type=int, default=default)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for digits in ("float32 scores in full, as ranx writes them", "six decimals, as Lucene writes them"):
            file = Path(folder) / f"{digits[:3]}.trec"
            _make(file, options.queries, options.hits, six=digits.startswith("six"))
            print(f"\n{options.queries:,} × {options.hits:,} entries, {digits}: {file.stat().st_size / 1e6:.0f} MB")
            _compare("read", _readers(file), options.rounds)
            _memory("peak memory of reading", {name: (name, str(file)) for name in _readers(file)})
        _compare("write", _writers(file, Path(folder)), options.rounds)
        for names in MEASURES:
            _compare(f"evaluate {names} (the run in memory)", _scorers(file, *MEASURES[names]), options.rounds)


def _readers(file: Path) -> dict[str, Callable[[], Any]]:
    return {"whyrank": lambda: whyrank.read_run(file), "pytrec_eval": lambda: _parse(file), "ranx": lambda: _ranx(file)}


def _writers(file: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    ours, theirs = whyrank.read_run(file), _ranx(file)
    return {
        "whyrank": lambda: whyrank.write_run(ours, folder / "ours.trec"),
        "ranx": lambda: theirs.save(str(folder / "theirs.trec"), kind="trec"),
    }


def _scorers(file: Path, names: list[str], ranx_names: list[str]) -> dict[str, Callable[[], Any]]:
    import ir_measures
    import ranx

    rng = np.random.default_rng(1)
    run, given, theirs = whyrank.read_run(file), _parse(file), _ranx(file)
    grades = {
        query: {id: int(rng.integers(1, 4)) for id in rng.choice(run[query].ids, 10, replace=False).tolist()}
        for query in run
    }
    qrels, measures = ranx.Qrels(grades), [ir_measures.parse_measure(name) for name in names]
    return {
        "whyrank": lambda: whyrank.evaluate(run, grades, names),
        "ir_measures": lambda: ir_measures.calc(measures, grades, given),
        "ranx": lambda: ranx.evaluate(qrels, theirs, ranx_names),
    }


def _parse(file: Path) -> Any:  # noqa: ANN401 (peers have no types)
    import pytrec_eval

    with file.open() as lines:
        return pytrec_eval.parse_run(lines)


def _ranx(file: Path) -> Any:  # noqa: ANN401 (a peer without types)
    import ranx

    return ranx.Run.from_file(str(file), kind="trec")


def _make(file: Path, queries: int, hits: int, six: bool) -> None:
    rng = np.random.default_rng(0)
    with file.open("w") as out:
        for query in range(queries):
            documents = rng.choice(max(500_000, hits), hits, replace=False).tolist()
            scores = np.sort(rng.gamma(2, 5, hits).astype(np.float32))[::-1].tolist()
            for rank, (document, score) in enumerate(zip(documents, scores, strict=True), 1):
                out.write(f"{query} Q0 doc_{document:07d} {rank} {f'{score:.6f}' if six else score} bm25\n")


def _compare(what: str, engines: dict[str, Callable[[], Any]], rounds: int) -> None:
    best = dict.fromkeys(engines, float("inf"))
    for turn in range(rounds + 1):
        for name, work in engines.items():
            gc.collect()
            start = time.process_time()
            result = work()
            seconds = time.process_time() - start
            del result
            if turn:  # the first warms up
                best[name] = min(best[name], seconds)
    _print(what, best, "s", 3)


def _memory(what: str, tasks: dict[str, tuple[str, str]]) -> None:
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for name, task in tasks.items():
        with context.Pool(1) as pool:
            peaks[name] = pool.apply(_peak, task)
    _print(what, peaks, "MB", 0)


def _peak(name: str, file: str) -> float:
    import pytrec_eval  # noqa: F401 (loaded before, so as not to be counted)

    if name == "ranx":
        import ranx

        ranx.Run({"q": {"d": 1.0}})
    before = _high_water()
    kept = _readers(Path(file))[name]()
    assert kept is not None
    return _high_water() - before


def _high_water() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _print(what: str, values: dict[str, float], unit: str, decimals: int) -> None:
    ours = values["whyrank"]
    cells = [f"{name} {value:.{decimals}f} {unit}" for name, value in values.items()]
    ratios = [f"{ours / value:.2f} of {name}'s" for name, value in values.items() if name != "whyrank"]
    print(f"{what:45} {', '.join(cells)}: {', '.join(ratios)}")


if __name__ == "__main__":
    main()
