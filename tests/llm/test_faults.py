"""A rerank of 100 queries by a server that misbehaves: nothing is lost, every failure counted, the engine full."""

import json
import math
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fault_server import FAULTS, FaultServer

from whyrank.errors import EngineError
from whyrank.llm import schedule
from whyrank.llm.messages import Sampling
from whyrank.llm.openai import OpenAI
from whyrank.llm.trace import Trace, records
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.types import Corpus, Dataset, Document, Query, Run

pytestmark = pytest.mark.slow

QUERIES, DOCUMENTS = 100, 20
CALLS = 3  # windows of 10, stride 5, over 20 documents


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.005)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.fixture(scope="module")
def data() -> Dataset:
    corpus = Corpus(
        Document(f"d{query}-{at}", f"passage {at} about topic {query}, " + "told at length " * at)
        for query in range(QUERIES)
        for at in range(DOCUMENTS)
    )
    return Dataset("made", corpus, tuple(Query(f"q{at}", f"what is topic {at}?") for at in range(QUERIES)))


@pytest.fixture(scope="module")
def first() -> Run:
    return Run.of(
        {f"q{query}": [f"d{query}-{at}" for at in range(DOCUMENTS)] for query in range(QUERIES)}, name="first"
    )


def rerank(server: FaultServer, first: Run, data: Dataset, trace: Trace | None = None, **options: object) -> Run:
    llm = OpenAI("tiny", server.url, **{"timeout": 1.0, "concurrency": 16, **options})  # type: ignore[arg-type]
    return Listwise(llm, window=10, sampling=Sampling(max_tokens=500)).rerank(first, data, DOCUMENTS, trace)


def orders(run: Run) -> dict[str, list[str]]:
    return {query: list(ranking.ids) for query, ranking in run.items()}


def statuses(run: Run) -> Counter[str]:
    return Counter(str(call.status) for note in run.notes.values() for call in note.calls)


@pytest.fixture(scope="module")
def healthy(first: Run, data: Dataset) -> dict[str, list[str]]:
    with FaultServer() as server:
        return orders(rerank(server, first, data, timeout=30.0))


def test_what_passes_leaves_no_mark_on_the_result(
    first: Run, data: Dataset, healthy: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "TRIES", dict.fromkeys(schedule.TRIES, 30))
    with FaultServer(faults=0.2, seed=7) as server, Trace(tmp_path / "trace.jsonl") as trace:
        final = rerank(server, first, data, trace, timeout=2.0)
    assert orders(final) == healthy != orders(first)
    assert set(FAULTS) <= set(server.done)  # each of them happened
    total = trace.ledger.total
    assert (total.calls, total.failed) == (QUERIES * CALLS, 0)
    assert total.retries == sum(server.done[fault] for fault in FAULTS) == len(server.log) - QUERIES * CALLS
    assert statuses(final) == Counter(exact=QUERIES * CALLS)


def test_what_stays_is_counted_and_no_document_is_lost(
    first: Run, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schedule.TRIES, "timeout", 2)  # a test should not hang for long
    script = {
        "topic 3?": ["bad_json"] * 99,
        "topic 14?": ["error_500"] * 99,
        "topic 25?": ["refusal"] * 99,
        "topic 36?": ["bad_request"] * 99,
        "topic 47?": ["wrong_finish"] * 99,
        "topic 58?": ["cut"] * 99,
        "topic 69?": ["hang"] * 99,
        "topic 70?": ["rate_limit"] * 99,
        "topic 81?": ["too_long"] * 99,
    }
    with FaultServer(script=script) as server, Trace(tmp_path / "trace.jsonl") as trace:
        final = rerank(server, first, data, trace)
    assert list(final) == list(first)
    for query, ranking in final.items():
        assert sorted(ranking.ids) == sorted(first[query].ids)
    for at in (3, 14, 25, 36, 47, 58, 69, 70, 81):  # no answer is read out of an error: the order stays
        assert list(final[f"q{at}"].ids) == list(first[f"q{at}"].ids)
        assert {call.status for call in final.notes[f"q{at}"].calls} == {"failed"}
        assert trace.ledger.queries[f"q{at}"].failed == CALLS
    assert trace.ledger.total.failures == Counter(
        bad_answer=2 * CALLS,
        server=CALLS,
        refusal=CALLS,
        bad_request=CALLS,
        connection=CALLS,
        timeout=CALLS,
        rate_limit=CALLS,
        context=CALLS,
    )
    assert statuses(final) == Counter(failed=9 * CALLS, exact=91 * CALLS)
    tries = schedule.TRIES
    asked = Counter(action for _, action in server.log)
    assert asked["bad_request"] == asked["refusal"] == CALLS  # once each
    assert asked["too_long"] == 2 * CALLS  # and once with half the text
    assert asked["bad_json"] == CALLS * tries["bad_answer"] and asked["rate_limit"] == CALLS * tries["rate_limit"]
    assert asked["error_500"] == CALLS * tries["server"] and asked["hang"] == CALLS * tries["timeout"]
    assert Counter(line["status"] for line in records(tmp_path / "trace.jsonl")) == Counter(failed=27, ok=273)


def test_a_later_run_asks_again_only_what_failed(
    first: Run, data: Dataset, healthy: dict[str, list[str]], tmp_path: Path
) -> None:
    failing, whole = [3, *range(30, 40)], FaultServer()
    with FaultServer(script={"topic 3": ["bad_request"] * 99}) as server, Trace(tmp_path / "trace.jsonl") as trace:
        rerank(server, first, data, trace)
        assert trace.ledger.total.failed == len(failing) * CALLS
    with whole as server, Trace(tmp_path / "trace.jsonl") as trace:
        assert orders(rerank(server, first, data, trace)) == healthy
    assert len(whole.log) == len(failing) * CALLS
    assert {prompt for prompt, _ in whole.log} == {prompt for prompt, _ in whole.log if "topic 3" in prompt}


RERANK = """
import sys
from pathlib import Path
from whyrank.io import write_run
from whyrank.llm.openai import OpenAI
from whyrank.llm.trace import Trace
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.types import Corpus, Dataset, Document, Query, Run

folder, ids = Path(sys.argv[1]), [f"q{at}" for at in range(30)]
corpus = Corpus(Document(f"{id}-{at}", f"passage {at} about {id}") for id in ids for at in range(20))
data = Dataset("made", corpus, tuple(Query(id, f"what is {id}?") for id in ids))
first = Run.of({id: [f"{id}-{at}" for at in range(20)] for id in ids})
with Trace(folder / "trace.jsonl") as trace:
    final = Listwise(OpenAI("tiny", sys.argv[2], concurrency=5), window=10).rerank(first, data, 20, trace)
write_run(final, folder / "run.trec")
"""


def test_a_rerank_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    def start(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", RERANK, str(folder), server.url])

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trace = broken / "trace.jsonl"
    with FaultServer(seconds=0.02) as server:
        assert start(whole).wait(60) == 0
        server.log.clear()
        for wanted in (5, 60):
            process = start(broken)
            while not (trace.is_file() and trace.read_bytes().count(b"\n") >= wanted):
                assert process.poll() is None
                time.sleep(0.002)
            process.kill()
            process.wait()
        assert not (broken / "run.trec").exists()
        finished = {line["messages"][-1]["content"] for line in records(trace)}
        asked = len(server.log)
        assert start(broken).wait(60) == 0
    assert (broken / "run.trec").read_bytes() == (whole / "run.trec").read_bytes()
    again = {json.loads(prompt)[-1]["content"] for prompt, _ in server.log[asked:]}
    assert not again & finished and len(again | finished) == 30 * CALLS


def test_the_server_is_kept_full_and_never_gets_more(first: Run, data: Dataset) -> None:
    others = [fault for fault in FAULTS if fault != "rate_limit"]  # after which fewer are under way
    with FaultServer(seconds=0.2, faults=0.05, kinds=others, seed=3) as server:
        rerank(server, first, data, concurrency=12, timeout=5.0)
    assert server.most_under_way == 12
    with FaultServer(seconds=1.0) as server:
        rerank(server, first, data, concurrency=1000, timeout=60.0)
    assert 0.3 * QUERIES <= server.most_under_way <= QUERIES  # one call a chain; a busy machine lags


def test_prompts_that_are_too_long_for_the_server_are_shortened_once(first: Run, data: Dataset) -> None:
    with FaultServer() as server:
        rerank(server, first, data)
    longest = max(len(prompt) for prompt, _ in server.log)
    trace = Trace()
    with FaultServer(window=int(longest * 0.8)) as server:
        final = rerank(server, first, data, trace)
    total = trace.ledger.total
    assert total.failed == 0 and total.retries == total.cut_documents == server.done["too_long"] > 0
    assert statuses(final) == Counter(exact=QUERIES * CALLS)
    trace = Trace()
    with FaultServer(window=int(longest * 0.8)) as server:  # with the window known, nothing is refused
        rerank(server, first, data, trace, context=500 + math.floor(longest * 0.8 / 3.2))
    assert server.done.keys() == {"ok"} and trace.ledger.total.cut_documents > trace.ledger.total.cut_queries == 0


@pytest.mark.parametrize("action", ["auth", "not_found", "quota"])
def test_what_no_call_can_escape_ends_the_run_at_once(first: Run, data: Dataset, tmp_path: Path, action: str) -> None:
    with FaultServer(script={"topic 3?": [action] * 99}) as server, Trace(tmp_path / "trace.jsonl") as trace:
        with pytest.raises(EngineError, match="HTTP 4"):
            rerank(server, first, data, trace)
        assert trace.ledger.total.calls == len(server.log) < 40
        assert sum(line["status"] == "ok" for line in records(tmp_path / "trace.jsonl")) == trace.ledger.total.calls - 1


def test_a_server_that_went_away_is_an_error_and_not_a_thousand_failures(first: Run, data: Dataset) -> None:
    with FaultServer() as server:
        pass
    with pytest.raises(EngineError, match=r"none of \d+ calls reached it: http://127"):
        rerank(server, first, data)
