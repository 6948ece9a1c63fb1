"""How full the scheduler keeps an engine: wall time beside the bound, strategies beside each other, and rank_llm.

    python benchmarks/scheduler.py [--rank-llm PYTHON] [--queries 100] [--few 8] [--median 2] [--runs 1]

A server (`latency_server.py`, a process of its own) answers in log-normal time, 32 requests at a time. 100 queries with
100 documents each are reranked by a sliding window (9 calls a query, one after the other). From the server's own log of
the times it drew come

- bound: the longest query's calls one after the other, or all seconds / slots, whichever is more;
- blind: what nobody who does not know the draws beforehand can beat in the mean: the same draws as independent calls,
  without chains, started in random order whenever a slot is free (mean of 200 orders), or again the longest query.
  Calls are alike to who does not know how long they take, so no order is better than another, and chains only forbid.

`clock` is the same draws through the same scheduler in virtual time, where neither client nor server need any time of
their own: what the order alone costs. With a limit of tokens a second the bound is tokens / rate, less the one second's
worth that the bucket holds at the start.
"""

import argparse
import asyncio
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from whyrank.llm import schedule
from whyrank.llm.answer import Completion, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.openai import OpenAI
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Reranker, statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.merge_tree import MergeTree
from whyrank.types import Corpus, Dataset, Document, Query, Run

HERE, SLOTS, DOCUMENTS = Path(__file__).parent, 32, 100
Call = dict[str, Any]


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank-llm", metavar="PYTHON", help="of an environment as rank_llm_client.py describes it")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--few", type=int, default=8)
    parser.add_argument("--median", type=float, default=2.0, help="seconds of an answer")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none"
    with serving(0.001, 0.0) as url:
        reranked(Listwise, url, made(1))  # imports what the first call needs
    kept_full(options)
    under_a_rate(options)
    side_by_side(options)


def kept_full(options: argparse.Namespace) -> None:
    """Wall time over the bounds, for three spreads."""
    print(f"{options.queries} queries, {DOCUMENTS} documents, {SLOTS} slots, median {options.median:g} s")
    print(header("sigma", "wall s", "bound s", "wall / bound", "clock / bound", "wall / blind", "client CPU s", "load"))
    for sigma in (0.3, 0.6, 0.9):
        for run in range(options.runs):
            with serving(options.median, sigma) as url:
                wall, cpu = reranked(Listwise, url, made(options.queries, run))
                calls = log(url)["calls"]
            bound, blind = bounds(calls)
            ratios = (wall / bound, clock(calls) / bound, wall / blind)
            print(row(sigma, wall, bound, *ratios, cpu, os.getloadavg()[0]), flush=True)


def under_a_rate(options: argparse.Namespace) -> None:
    """The same where the server takes so many tokens a second only, a third and two thirds of what it could do."""
    print(f"\n{options.queries} queries, sigma 0.6, limited in tokens a second")
    print(header("median s", "tokens a second", "wall s", "bound s", "wall / bound", "calls", "refused", "load"))
    for median, rate in ((0.2, 100_000), (2.0, 20_000)):
        for run in range(options.runs):
            with serving(median, 0.6, rate) as url:
                wall, _ = reranked(Listwise, url, made(options.queries, run))
                told = log(url)
            bound = sum(call["tokens"] for call in told["calls"]) / rate - 1
            numbers = (wall, bound, wall / bound, len(told["calls"]), told["refused"], os.getloadavg()[0])
            print(row(median, rate, *numbers), flush=True)


def side_by_side(options: argparse.Namespace) -> None:
    """Few queries: our strategies of 9 calls each, and rank_llm's sliding window."""
    print(
        f"\n{options.few} queries, {DOCUMENTS} documents, {SLOTS} slots, median {options.median:g} s, 9 calls a query"
    )
    print(header("sigma", "", "wall s", "s a query", "listwise / it", "load"))
    for sigma in (0.3, 0.6):
        walls: dict[str, list[float]] = defaultdict(list)
        for run in range(options.runs):
            data = made(options.few, run)
            for part in (Listwise, MergeTree, Adaptive):
                with serving(options.median, sigma) as url:
                    walls[part.__name__.lower()].append(reranked(part, url, data)[0])
                    assert len(log(url)["calls"]) == 9 * options.few
            if options.rank_llm and sigma == 0.6:
                with serving(options.median, sigma) as url:
                    walls["rank_llm 0.25.7"].append(rank_llm(options.rank_llm, url, data))
                    assert len(log(url)["calls"]) == 9 * options.few
        ours = statistics.mean(walls["listwise"])
        for name, seconds in walls.items():
            wall = statistics.mean(seconds)
            print(row(sigma, name, wall, wall / options.few, ours / wall, os.getloadavg()[0]), flush=True)


def header(*names: str) -> str:
    """The head of a table in Markdown."""
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def row(*cells: object) -> str:
    """A line of it."""
    return f"| {' | '.join(f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in cells)} |"


@dataclass(frozen=True)
class Replay(LLM):
    """Answers after the seconds that the prompt says."""

    model: str = "replay"
    concurrency: int = SLOTS

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        await asyncio.sleep(float(prompts[0].messages[0].content.split()[-1]))
        return [Ok("")]


def clock(calls: Sequence[Call]) -> float:
    """Seconds that the scheduler takes for the calls of a log in virtual time, each query's one after the other."""
    sys.path.append(str(HERE.parent / "tests" / "llm"))
    from virtual_time import Clock

    def plan(query: str) -> Plan[None]:
        for call in calls:
            if call["query"] == query:
                yield [Prompt((Message("user", (Piece(f"{query} {call['seconds']}"),)),))]

    virtual = Clock()
    with mock.patch.object(schedule, "run", virtual.run):
        schedule.drive({query: plan(query) for query in sorted({call["query"] for call in calls}, key=int)}, Replay())
    return float(virtual.seconds)


def made(queries: int, seed: int = 0) -> Dataset:
    """A collection of documents of 50 words."""
    draw = random.Random(seed)
    words = [f"word{at}" for at in range(5000)]
    corpus = Corpus(Document(f"d{at}", " ".join(draw.choices(words, k=50))) for at in range(DOCUMENTS))
    return Dataset("made", corpus, tuple(Query(str(at), f"what is query {at} about?") for at in range(queries)))


def reranked(part: Any, url: str, data: Dataset) -> tuple[float, float]:  # noqa: ANN401 (a part with any options)
    """Seconds, and seconds of this process's CPU, for reranking all documents of each query."""
    reranker: Reranker = part(OpenAI("any", url, concurrency=SLOTS), format=RankingFormat(think="no"))
    first = Run.of({query.id: [document.id for document in data.corpus] for query in data.queries})
    start, cpu = time.perf_counter(), time.process_time()
    final = reranker.rerank(first, data)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert not statuses(final)["failed"], statuses(final)
    return seconds, cpu


def rank_llm(python: str, url: str, data: Dataset) -> float:
    """Seconds that rank_llm says it took."""
    documents = {document.id: document.text for document in data.corpus}
    task = {"queries": {query.id: query.text for query in data.queries}, "documents": documents}
    command = [python, str(HERE / "rank_llm_client.py"), f"{url}/"]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


@contextmanager
def serving(median: float, sigma: float, rate: float = 0.0) -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    options = {"median": median, "sigma": sigma, "slots": SLOTS, "rate": rate}
    command = [
        sys.executable,
        str(HERE / "latency_server.py"),
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


def log(url: str) -> dict[str, Any]:
    """What the server did."""
    with urllib.request.urlopen(f"{url}/log") as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def bounds(calls: Sequence[Call]) -> tuple[float, float]:
    """The bound as it is usual, and the one of who does not know the draws."""
    chains: dict[str, float] = defaultdict(float)
    for call in calls:
        chains[call["query"]] += call["seconds"]
    longest, seconds = max(chains.values()), [call["seconds"] for call in calls]
    draw = random.Random(0)
    blind = statistics.mean(max(longest, makespan(draw.sample(seconds, len(seconds)))) for _ in range(200))
    return max(longest, sum(seconds) / SLOTS), blind


def makespan(seconds: Sequence[float]) -> float:
    """When the last of independent calls ends, each started when a slot is free."""
    free = [0.0] * SLOTS
    for taken in seconds:
        heapq.heapreplace(free, free[0] + taken)
    return max(free)


if __name__ == "__main__":
    main()
