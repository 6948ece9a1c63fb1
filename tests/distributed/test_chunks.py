"""Work in chunks gives the bytes of one process, whatever the size of a chunk and whoever does them in which order."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from counting import asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_chunks import QUERIES, Here, alone, same, spec

from whyrank import distributed, experiment
from whyrank.datasets import load
from whyrank.distributed import Share
from whyrank.distributed.budget import Budget
from whyrank.distributed.work import Work
from whyrank.distributed.worker import Worker
from whyrank.errors import BadInput, BadSpec, BudgetSpent, ChunksFailed, EngineError, NotFound
from whyrank.experiment import Limits
from whyrank.io import read_run
from whyrank.io.chunks import Chunks
from whyrank.llm.fake import Fake
from whyrank.llm.ledger import Price, Prices
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.base import Retriever


@pytest.fixture(scope="session")
def whole(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return alone(task, folder / "out", spec(folder / "log"))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, QUERIES + 3), workers=st.integers(1, 3), seed=st.integers(0, 9), twice=st.sampled_from([0, 0.3])
)
def test_any_size_order_and_number_of_workers_give_the_same_bytes(
    task: Path,
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    workers: int,
    seed: int,
    twice: float,
) -> None:
    out = tmp_path_factory.mktemp("chunks") / "out"
    log = out.parent / "log"
    place = Here(workers, seed, twice)
    job = distributed.rerank(task / "first.trec", spec(log), task / "data", out, 10, on=place, chunk_size=size)
    assert job.chunks == {"done": -(-QUERIES // size)}
    assert same(out, whole)
    assert asked(log) == asked(whole.parent / "log")
    one, other = (json.loads((folder / "report.json").read_text()) for folder in (out, whole))
    for name in ("calls", "queries", "entries"):
        assert one[name] == other[name]
    assert {**one["ledger"], "seconds": 0} == {**other["ledger"], "seconds": 0}


def test_ties_keep_the_scores_and_places_that_one_process_sees(task: Path, whole: Path) -> None:
    notes = [json.loads(line) for line in (whole / "notes.jsonl").read_text().splitlines()]
    assert any(len(set(note["first"].values())) < len(note["first"]) for note in notes)  # the task has ties


def test_a_joined_folder_is_that_of_a_run_that_was_never_cut(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    distributed.rerank(task / "first.trec", spec(log), task / "data", out, 10, on=Here())
    before = asked(log)
    again = experiment.rerank(task / "first.trec", make(spec(log), Reranker), load(task / "data"), out, 10)
    assert again.run == read_run(whole / "run.trec") and asked(log) == before
    assert again.run.notes == experiment.open_run(whole, notes=True).notes
    calls, alone = (experiment.explain(folder, "q3").calls for folder in (out, whole))
    assert [call.key for call in calls] == [call.key for call in alone]
    assert all(call.seconds is not None for call in calls)
    assert distributed.rerank(task / "first.trec", spec(log), task / "data", out, 10).report == again.report


def test_a_finished_folder_of_one_process_is_finished_for_workers_too(task: Path, whole: Path) -> None:
    log = whole.parent / "log"
    before = asked(log)
    job = distributed.rerank(task / "first.trec", spec(log), task / "data", whole, 10)
    assert job.report["queries"] == QUERIES and asked(log) == before


@pytest.mark.parametrize("first_in_chunks", [True, False])
def test_what_was_begun_one_way_is_not_gone_on_with_the_other(
    task: Path, tmp_path: Path, first_in_chunks: bool
) -> None:
    out, limits = tmp_path / "out", Limits(max_tokens=2000)
    reranker = spec(tmp_path / "log")
    ways: list[Callable[[], object]] = [
        lambda: distributed.rerank(task / "first.trec", reranker, task / "data", out, 10, limits, on=Here()),
        lambda: experiment.rerank(task / "first.trec", make(reranker, Reranker), load(task / "data"), out, 10, limits),
    ]
    with pytest.raises(BudgetSpent):
        ways[not first_in_chunks]()
    with pytest.raises(BadInput, match="was begun in chunks" if first_in_chunks else "was begun in one piece"):
        ways[first_in_chunks]()


def test_another_size_is_refused_and_none_is_that_of_before(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"

    def go(size: int | None, **more: object) -> object:
        return distributed.rerank(
            task / "first.trec", spec(log), task / "data", out, 10, on=Here(), chunk_size=size, **more
        )

    with pytest.raises(BudgetSpent):
        go(7, limits=Limits(max_tokens=2000))
    with pytest.raises(BadInput, match="chunks of 7, and chunks of 5 are wanted"):
        go(5)
    go(None)
    assert same(out, whole)


def test_another_task_is_refused(task: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    distributed.rerank(task / "first.trec", spec(tmp_path / "log"), task / "data", out, 10, on=Here())
    with pytest.raises(BadInput, match="depth: 10 there, 8 here"):
        distributed.rerank(task / "first.trec", spec(tmp_path / "log"), task / "data", out, 8, on=Here())


def test_shares_of_an_array_are_joined(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    for index in (2, 0, 1):
        with pytest.raises(BadInput, match=r"chunks are missing"):
            distributed.rerank(task / "first.trec", spec(log), task / "data", out, 10, on=Share(index, 3), chunk_size=5)
            distributed.join(out)
            raise BadInput("chunks are missing")
    assert distributed.join(out).report["chunks"] == 5
    assert same(out, whole)
    assert asked(log) == asked(whole.parent / "log")


def test_a_part_is_joined_apart(task: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    share = Share(0, 2)
    distributed.rerank(task / "first.trec", spec(tmp_path / "log"), task / "data", out, 10, on=share, chunk_size=12)
    job = distributed.join(out, partial=True)
    assert job.chunks == {"done": 1, "left": 1}
    assert not (out / "run.trec").exists()
    assert (whole / "run.trec").read_bytes().startswith((out / "run.partial.trec").read_bytes())
    assert len(read_run(out / "run.partial.trec")) == 12


@pytest.mark.parametrize(("index", "number"), [(3, 3), (0, 0), (5, 2)])
def test_no_share(index: int, number: int) -> None:
    with pytest.raises(BadInput, match="counted from 0"):
        Share(index, number)


def test_a_chunk_that_raises_keeps_none_from_the_others(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"

    def go(**options: object) -> object:
        return distributed.rerank(
            task / "first.trec", spec(log, **options), task / "data", out, 10, on=Here(seed=3), chunk_size=4
        )

    with pytest.raises(ChunksFailed, match=r"1 of 6 chunks failed.*chunk 2: .*this prompt is bad"):
        go(bad="number 9 tell")
    told = distributed.status(out)
    assert told["chunks"] == {"done": 5, "failed": 1} and not told["joined"]
    assert [failed["chunk"] for failed in told["failed"]] == [2]
    assert "this prompt is bad" in told["failed"][0]["error"]
    with pytest.raises(BadInput, match="1 of 6 chunks are missing, 2 is the first"):
        distributed.join(out)
    with pytest.raises(BadInput, match="another run"):  # another part is another task
        go()
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace("number 9 tell", ""))
    go()
    assert same(out, whole)
    repeated = asked(log) - asked(whole.parent / "log")
    assert repeated.total() <= 8  # what was under way in the chunk that failed


def test_a_chunk_that_kills_its_workers_fails_after_three(task: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    share = Share(0, 1)
    work = (task / "first.trec", spec(tmp_path / "log"), task / "data", out, 10)
    with pytest.raises(BudgetSpent):
        distributed.rerank(*work, Limits(max_tokens=1), on=share, chunk_size=12)
    chunk = Chunks.of(out)[1]
    for _ in range(3):
        chunk.begin("this start")
    outcome = Worker(Work("rerank", work[1], str(out), str(work[2]), None, str(work[0]), 10), "this start").do(1)
    assert (outcome.state, len(chunk.attempts())) == ("failed", 3)
    assert "3 workers that began it ended without a word" in outcome.detail
    assert distributed.status(out)["chunks"] == {"stopped": 1, "failed": 1}
    assert Worker(Work("rerank", work[1], str(out), str(work[2]), None, str(work[0]), 10), "next").do(1).state == "done"


def test_the_budget_is_that_of_all(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    prices = Prices({"fake": Price(1.0, 1.0)})
    total = json.loads((whole / "report.json").read_text())["ledger"]
    tokens = total["input_tokens"] + total["output_tokens"]

    def go(share: float, workers: int = 1) -> object:
        limits = Limits(prices, max_cost=tokens * share / 1e6)
        return distributed.rerank(
            task / "first.trec", spec(log), task / "data", out, 10, limits, on=Here(workers), chunk_size=3
        )

    for share in (0.2, 0.5):
        with pytest.raises(BudgetSpent, match="max_cost"):
            go(share)
        spent = asked(log).total() / asked(whole.parent / "log").total()
        assert share - 0.1 <= spent <= share + 0.2  # a call is 1.4 % of all, and 8 are under way
        states = distributed.status(out)["chunks"]
        assert states.get("stopped", 0) <= 1 and 0 < states["left"] < 8
    go(1.2)
    # notes tell what calls cost, where there are prices
    assert (out / "run.trec").read_bytes() == (whole / "run.trec").read_bytes()
    assert asked(log) == asked(whole.parent / "log")


def test_several_workers_share_what_is_left(task: Path, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(BudgetSpent):
        distributed.rerank(
            task / "first.trec", spec(log), task / "data", out, 10, Limits(max_tokens=1), on=Here(), chunk_size=6
        )
    chunks = Chunks.of(out)
    left = next(chunk.number for chunk in chunks if chunk.state()[0] == "left")
    limits = [Budget(chunks, Limits(max_tokens=100_000), workers).of(left).max_tokens for workers in (1, 2, 4, 9)]
    taken = 100_000 - limits[0]
    assert 0 < taken < 5000
    assert limits == [100_000 - taken, *(-(-(100_000 - taken) // shares) for shares in (2, 4, 4))]


@pytest.mark.parametrize(
    "reranker", [Listwise(Fake(lambda prompt: "[1]")), pytest.param(Listwise(Fake(max)), id="builtin")]
)
def test_what_no_spec_says_is_refused(task: Path, tmp_path: Path, reranker: Reranker) -> None:
    with pytest.raises(BadSpec, match="workers build a part from its spec"):
        distributed.rerank(task / "first.trec", reranker, task / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_engine_that_cannot_be_used_stops_the_job(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    refused = "listwise(openai('none', base_url='http://127.0.0.1:9/v1', timeout=1.0))"
    monkeypatch.setattr("whyrank.llm.schedule.FIRST_WAIT", 0.001)
    with pytest.raises(EngineError, match="cannot be used"):
        distributed.rerank(task / "first.trec", refused, task / "data", tmp_path / "out", on=Here(), chunk_size=2)
    assert distributed.status(tmp_path / "out")["chunks"] == {"failed": 1, "left": 11}


@pytest.mark.parametrize("size", [1, 4, 100])
def test_search_in_chunks(task: Path, tmp_path: Path, size: int) -> None:
    data = load(task / "data")
    experiment.search(make("bm25()", Retriever), data, tmp_path / "whole" / "out", 7)
    distributed.search("bm25()", task / "data", tmp_path / "out", 7, on=Here(seed=size), chunk_size=size)
    assert same(tmp_path / "out", tmp_path / "whole" / "out")


def test_candidates_with_text_keep_their_order_and_bring_their_texts(tmp_path: Path) -> None:
    hits = [{"docid": f"d{n}", "score": 1.0, "doc": {"text": f"passage {n}"}} for n in (3, 9, 1, 4)]
    lines = ({"query": {"qid": f"q{at}", "text": f"why {at}?"}, "candidates": hits[at:] + hits[:at]} for at in range(4))
    source = tmp_path / "given.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reranker = spec(tmp_path / "log")
    experiment.rerank(source, make(reranker, Reranker), None, tmp_path / "whole" / "out")
    distributed.rerank(source, reranker, None, tmp_path / "out", on=Here(), chunk_size=3)
    assert same(tmp_path / "out", tmp_path / "whole" / "out")


def test_a_run_that_is_not_sorted_by_query_is_refused_before_anything_is_asked(task: Path, tmp_path: Path) -> None:
    lines = (task / "first.trec").read_text().splitlines(keepends=True)
    mixed = tmp_path / "mixed.trec"
    mixed.write_text("".join([*lines[5:], *lines[:5]]))
    with pytest.raises(BadInput, match="the lines of query 'q0' do not stand together"):
        distributed.rerank(mixed, spec(tmp_path / "log"), task / "data", tmp_path / "out")
    assert not asked(tmp_path / "log")


def test_a_query_that_the_data_lack_is_told_before_anything_is_asked(task: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.trec"
    foreign.write_text((task / "first.trec").read_text() + "x9 Q0 d1 1 1.0 first\n")
    with pytest.raises(BadInput, match="query 'x9' is not among"):
        distributed.rerank(foreign, spec(tmp_path / "log"), task / "data", tmp_path / "out")
    assert not asked(tmp_path / "log")


def test_no_work_in_chunks(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no work in chunks"):
        distributed.status(tmp_path)
    with pytest.raises(NotFound, match="no work in chunks"):
        distributed.join(tmp_path / "nowhere")
