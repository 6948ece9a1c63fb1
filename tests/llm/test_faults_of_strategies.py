"""Every strategy that asks a model: by a server that misbehaves, and killed at any moment."""

import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

import killed
import pytest
from fault_server import FAULTS, FaultServer
from killed import DATA, FIRST, QUERIES, start

from tests.test_registry import EXAMPLES
from whyrank.io import write_run
from whyrank.llm import schedule
from whyrank.llm.trace import Trace, records
from whyrank.registry import BUILTIN, find, make
from whyrank.rerank.base import Reranker, statuses
from whyrank.types import Run

KILLS, SLOTS = 6, 4
ASKS_NO_MODEL = {"encoder_rerank", "pseudo_query", "rerank_api"}
WARM = "sampling=sampling(temperature=0.6)"


@dataclass(frozen=True)
class Strategy:
    """A spec in which `LLM` stands for the model, and how many documents of each query it is given."""

    spec: str
    depth: int = 12

    def at(self, url: str) -> str:
        return re.sub(r"\bLLM\b", f"openai('tiny', base_url={url!r}, concurrency={SLOTS}, timeout=30.0)", self.spec)


STRATEGIES = [
    Strategy("listwise(LLM, window=4)"),
    Strategy("listwise(LLM, window=6, passes=2)", depth=10),
    Strategy("merge_tree(LLM, window=4)"),
    Strategy("top_down(LLM, window=4)"),
    Strategy("tournament(LLM, repeats=2, window=6)"),
    Strategy("setwise(LLM, k=3, children=3)"),
    Strategy("setwise(LLM, k=3, children=3, method='insertion')"),
    Strategy("groupwise(LLM, group=4)"),
    Strategy("dual_end(LLM, k=3, window=4)"),
    Strategy("listwise(LLM, window=4, format=first())", depth=8),
    Strategy("with_scores(listwise(LLM, window=4))", depth=8),
    Strategy("pairwise(LLM, method='allpair')", depth=4),
    Strategy("pairwise(LLM, method='heapsort', k=2)", depth=5),
    Strategy("pairwise(LLM, method='sliding', k=2)", depth=5),
    Strategy("pointwise(LLM)", depth=8),
    Strategy("pointwise(LLM, format=yes_no())", depth=8),
    Strategy(f"pointwise(LLM, refine=3, refine_samples=2, {WARM})", depth=6),
    Strategy("adaptive(LLM, k=3, calls=7, window=4, min_uncertain=2)"),
    Strategy("consensus(listwise(LLM, window=4), shuffles=2)", depth=8),
    Strategy(f"consensus(listwise(LLM, window=6, {WARM}), shuffles=3, inputs='same', halt=0.99)", depth=8),
    Strategy("route(listwise(LLM, window=6), setwise(LLM, k=3, children=3), by=margin(thresholds=(0.5,)))", depth=8),
    Strategy("cascade(listwise(LLM, window=4), setwise(LLM, k=2, children=2), depths=(12, 5))"),
    Strategy("hybrid(pointwise(LLM))", depth=8),
]


def others() -> list[Strategy]:
    """Strategies that have no example here, as the registry's tests know them."""
    known = {strategy.spec.split("(")[0] for strategy in STRATEGIES} | ASKS_NO_MODEL
    rest = [name for name in BUILTIN if issubclass(find(name), Reranker) and name not in known]
    return [Strategy(EXAMPLES.get(name, f"{name}(fake())").replace("fake()", "LLM")) for name in rest]


ALL = STRATEGIES + others()
every_strategy = pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.spec)


def answer(messages: Sequence[Mapping[str, str]]) -> str:
    """An answer in the form that is asked for; what a passage is worth lies in its text, and some are unreadable."""
    asked, form = messages[1]["content"], [turn for turn in messages if turn["role"] == "user"][-1]["content"]
    if len(messages) == 2 and worth(asked) % 13 == 0:
        return "<think>Hm.</think>I cannot tell."
    if "<score>" in form or "a bare number" in form:
        return f"<score>{worth(asked) % 101}</score>"
    if "yes or no" in form:
        return f"<answer>{'yes' if worth(asked) % 2 else 'no'}</answer>"
    if found := re.search(r"Passage A: (.*?)\n+Passage B: (.*?)\n\n", asked, re.S):
        return "A" if worth(found[1]) > worth(found[2]) else "B"
    values = {number: worth(text) for number, text in re.findall(r"^\[(\d+)\] (.*)$", asked, re.M)}
    if "JSON" in messages[0]["content"]:
        return f"<answer>{json.dumps({number: value % 11 for number, value in values.items()})}</answer>"
    if "which one least" in asked:
        order = sorted(values, key=lambda number: -values[number])
        return f"<answer>best: [{order[0]}], worst: [{order[-1]}]</answer>"
    if "Write its letter" in asked:
        letters = {letter: worth(text) for letter, text in re.findall(r"^\[([A-Z])\] (.*)$", asked, re.M)}
        return max(letters, key=letters.__getitem__)
    best = [f"[{number}]" for number in sorted(values, key=lambda number: -values[number])]
    said = best[0] if "Which one" in asked else " > ".join(best)
    return f"<think>{said} by far</think><answer>{said}</answer>"


def worth(text: str) -> int:
    return int(hashlib.md5(text.strip().encode()).hexdigest()[:6], 16)


def reranked(strategy: Strategy, server: FaultServer, trace: Trace) -> Run:
    return make(strategy.at(server.url), Reranker).rerank(FIRST, DATA, strategy.depth, trace)


def healthy(strategy: Strategy, trace: Trace | None = None) -> Run:
    with FaultServer(answer) as server:
        return reranked(strategy, server, trace or Trace())


def recorded(trace: Path) -> Counter[str]:
    """The calls that a trace holds an answer to, by their messages."""
    if not trace.exists():
        return Counter()
    return Counter(json.dumps(line["messages"], sort_keys=True) for line in records(trace) if line["status"] == "ok")


def assert_nothing_is_lost_and_all_is_counted(final: Run, trace: Trace) -> None:
    assert list(final) == list(FIRST)
    for query, ranking in final.items():
        assert sorted(ranking.ids) == sorted(FIRST[query].ids)
    total, counted = trace.ledger.total, statuses(final)
    assert sum(counted.values()) == total.calls + total.replayed > 0
    assert sum(total.failures.values()) == total.failed <= counted["failed"] <= total.failed + total.replayed


def test_every_reranker_that_asks_a_model_is_here() -> None:
    """One without an example in this file takes that of the registry's tests."""
    here = {strategy.spec.split("(")[0] for strategy in ALL} | ASKS_NO_MODEL
    assert here == {name for name in BUILTIN if issubclass(find(name), Reranker)}
    assert all(re.search(r"\bLLM\b", strategy.spec) for strategy in ALL)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.002)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@every_strategy
def test_what_passes_leaves_no_mark(strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = healthy(strategy, calm := Trace())
    assert {query: list(ranking.ids) for query, ranking in whole.items()} != dict(FIRST.items())
    monkeypatch.setattr(schedule, "TRIES", dict.fromkeys(schedule.TRIES, 50))
    passing = [fault for fault in FAULTS if fault != "hang"]  # which takes as long as the time limit
    with FaultServer(answer, faults=0.3, kinds=passing, seed=3) as server, Trace(tmp_path / "trace.jsonl") as trace:
        final = reranked(strategy, server, trace)
    assert_nothing_is_lost_and_all_is_counted(final, trace)
    assert final == whole and final.notes == whole.notes
    total = trace.ledger.total
    assert (total.calls, total.failed) == (calm.ledger.total.calls, 0)
    assert 0 < total.retries == len(server.log) - total.calls == sum(server.done[fault] for fault in passing)


@every_strategy
def test_what_stays_is_counted_and_a_later_run_makes_good(
    strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "TRIES", {})  # every failure is final
    kinds = ["bad_json", "error_500", "rate_limit", "refusal", "bad_request", "wrong_finish"]
    script = {"what is q2?": ["error_500"] * 999}
    with FaultServer(answer, script, 0.4, kinds) as server, Trace(tmp_path / "trace.jsonl") as trace:
        final = reranked(strategy, server, trace)
    assert_nothing_is_lost_and_all_is_counted(final, trace)
    assert list(final["q2"].ids) == list(FIRST["q2"].ids)  # nothing is read out of an error
    assert {call.status for call in final.notes["q2"].calls} == {"failed"}
    failed = trace.ledger.total.failed
    assert 0 < failed <= sum(server.done.values()) - server.done["ok"]
    assert sum(line["status"] == "failed" for line in records(tmp_path / "trace.jsonl")) == failed
    known = recorded(tmp_path / "trace.jsonl")
    with FaultServer(answer) as server, Trace(tmp_path / "trace.jsonl") as trace:
        again = reranked(strategy, server, trace)
    whole = healthy(strategy)
    assert again == whole and again.notes == whole.notes
    asked = Counter(prompt for prompt, _ in server.log)
    assert asked == recorded(tmp_path / "trace.jsonl") - known  # what has an answer is not asked again


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServerContext]:
    """Starts processes in milliseconds: by fork from one that has imported everything and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(killed.__file__).parent), *sys.path]))
        yield context


@pytest.mark.slow
@every_strategy
def test_killed_at_random_points_it_ends_as_if_it_had_not_been(
    strategy: Strategy, tmp_path: Path, forks: ForkServerContext
) -> None:
    """Run and notes are the same to the byte, and no call that has an answer on disk is asked again.

    The process dies at a random byte of each of `KILLS` equal parts of its trace, or earlier by the server's hand when
    a request arrives. What it had under way, at most `SLOTS` calls at a time, has no answer on disk, and alone is asked
    again.
    """
    draw = random.Random(strategy.spec)
    write_run(FIRST, tmp_path / "first.trec")
    trace = tmp_path / "broken" / "run" / "trace.jsonl"
    early: list[int] = []  # process, and the length of the trace from which the server kills it

    def kill() -> None:
        if early and trace.exists() and trace.stat().st_size >= early[1]:
            os.kill(early[0], signal.SIGKILL)
            early.clear()

    def attempt(folder: str, key: str, last: int | None = None, since: int | None = None) -> int | None:
        process = forks.Process(
            target=start,
            args=(
                strategy.at(server.url),
                strategy.depth,
                str(tmp_path / "first.trec"),
                str(tmp_path / folder / "run"),
                key,
                last,
            ),
        )
        process.start()
        assert process.pid is not None
        early[:] = [] if since is None else [process.pid, since]
        process.join(60)
        early.clear()
        return process.exitcode

    with FaultServer(answer, arrived=kill) as server:
        assert attempt("whole", "whole") == 0
        length = (tmp_path / "whole" / "run" / "trace.jsonl").stat().st_size
        part = int(length * 0.98) // KILLS
        points = [part * number + draw.randrange(part) for number in range(KILLS)]
        known = [Counter[str]()]
        for number, point in enumerate(points):
            since = draw.randint(points[number - 1] if number else 0, point) if draw.random() < 0.5 else None
            assert attempt("broken", f"kill-{number}", point, since) == -signal.SIGKILL
            assert not (tmp_path / "broken" / "run" / "run.trec").exists()
            known.append(recorded(trace))
        assert attempt("broken", "last") == 0
        known.append(recorded(trace))
    for file in ("run.trec", "notes.jsonl"):
        assert (tmp_path / "broken" / "run" / file).read_bytes() == (tmp_path / "whole" / "run" / file).read_bytes()
    asked = {key: Counter[str]() for key in [*(f"kill-{number}" for number in range(KILLS)), "last", "whole"]}
    for (prompt, _), headers in zip(server.log, server.headers, strict=True):
        asked[headers["authorization"].removeprefix("Bearer ")][prompt] += 1
    whole = asked.pop("whole")
    assert whole == known[-1] == recorded(tmp_path / "whole" / "run" / "trace.jsonl")
    for number, now in enumerate(asked.values()):
        assert known[number] <= known[number + 1] and now + known[number] <= whole
        under_way = now - (known[number + 1] - known[number])
        assert under_way.total() <= SLOTS
    assert asked["last"] == whole - known[-2]
    assert len(QUERIES) * 2 < whole.total()
