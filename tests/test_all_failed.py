"""Reranking of which every call failed: within a time the order that came in, told loudly; else an error."""

import json

import pytest
from fault_server import FaultServer

from whyrank import load, read_run

PART = "listwise(openai('m', '{}', timeout=30.0))"


@pytest.fixture
def first(run, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    toy = load("toy").head(3)
    lines = [
        f"{query.id} Q0 {id} {at + 1} {9 - at} x\n" for query in toy.queries for at, id in enumerate(["d01", "d02"])
    ]
    (tmp_path / "first.trec").write_text("".join(lines))
    return ("rerank", "first.trec")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["hang", "rate_limit", "error_500", "bad_json", "cut", "refused"])
def test_within_its_time_a_query_keeps_its_order_whatever_the_server_does(run, first, tmp_path, trouble):
    more = ("--data", "toy", "-o", "out", "--seconds-per-query", "0.6")
    with FaultServer(script={"": [trouble] * 999}) as server:
        url = server.url if trouble != "refused" else "http://127.0.0.1:9/v1"
        code, out, err = run(*first, PART.format(url), *more)
    assert code == 3 and "failed 3" in out
    assert "unfinished: every model call failed (" in err and "out/run.trec is the order that came in, unchanged" in err
    ranked = read_run(tmp_path / "out" / "run.trec")
    assert [list(ranked[query].ids) for query in ranked] == [["d01", "d02"]] * 3
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["finished"] is False
    with FaultServer() as server:
        code, out, err = run(*first, PART.format(server.url), *more[:-1], "60")
    assert code == 0 and "failed" not in err and len(server.log) == 3
    ranked = read_run(tmp_path / "out" / "run.trec")
    assert [list(ranked[query].ids) for query in ranked] == [["d02", "d01"]] * 3


def test_what_waiting_would_not_mend_is_an_error_for_all_that(run, first, tmp_path):
    with FaultServer(refuses=lambda asked: (400, "no such setting")) as server:
        code, _, err = run(*first, PART.format(server.url), "--data", "toy", "-o", "out", "--seconds-per-query", "30")
    assert code == 1 and "every one of 3 model calls failed" in err and not (tmp_path / "out" / "run.trec").exists()
