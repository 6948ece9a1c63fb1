"""--on, --chunk, join and status on the command line."""

import json
from pathlib import Path

import pytest
from in_chunks import alone, same, spec


@pytest.fixture
def rerank(run, task: Path, tmp_path: Path):
    """Call `whyrank rerank` on the task, with more options."""

    def call(*more: object):
        work = (task / "first.trec", spec(tmp_path / "log"), "--data", task / "data", "--depth", 10)
        return run("rerank", *work, "-o", "out", *more)

    return call


def test_shares_then_join(rerank, run, task: Path, tmp_path: Path) -> None:
    code, out, _ = rerank("--chunk", "1/2", "--chunk-size", 7)
    assert (code, out.strip()) == (
        0,
        "out: chunks: 2 left, 2 done; whyrank join out puts them together once all are done",
    )
    code, _, err = run("join", "out")
    assert code == 1 and "2 of 4 chunks are missing, 0 is the first" in err
    code, out, _ = rerank("--chunk", "0/2", "--json")
    assert json.loads(out.splitlines()[-1]) == {"folder": "out", "chunks": {"done": 4}}
    code, out, _ = run("status", "out")
    assert out.startswith("out: 4 chunks, 24 lists: 4 done\nmodel calls of what is done: ")
    code, out, _ = run("join", "out")
    assert code == 0 and out.startswith("out: 24 queries, 288 entries\n")
    assert run("status", "out", "--json")[1].count('"joined": true') == 1
    assert same(tmp_path / "out", alone(task, tmp_path / "whole" / "out", spec(tmp_path / "log2")))


@pytest.mark.slow
def test_local_workers(rerank, task: Path, tmp_path: Path) -> None:
    code, out, err = rerank("--on", "local:2")
    assert code == 0, err
    assert out.startswith("out: 24 queries, 288 entries\n")
    assert same(tmp_path / "out", alone(task, tmp_path / "whole" / "out", spec(tmp_path / "log2")))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--on", "local:0"), "at least one worker"),
        (("--on", "slurm"), "no such place"),
        (("--on", "local:two"), "no such place"),
        (("--on", "local:2", "--chunk", "0/2"), "give --on"),
        (("--chunk", "2/2"), "counted from 0, so write 0/2 to 1/2; a Slurm array is --array=0-1"),
        (("--chunk", "1of2"), "write I/N"),
        (("--chunk", "-1/2"), "write I/N"),
        (("--chunk-size", 3), "no effect"),
    ],
)
def test_wrong_places(rerank, tmp_path: Path, options: tuple[object, ...], told: str) -> None:
    code, _, err = rerank(*options)
    assert code == 1 and told in err, err
    assert not (tmp_path / "out").exists()


def test_no_chunks_here(run, tmp_path: Path) -> None:
    for verb in ("join", "status"):
        code, _, err = run(verb, "nowhere")
        assert code == 1 and "no work in chunks at nowhere" in err


def test_a_limit_is_told_and_gone_on_from(rerank, run) -> None:
    code, _, err = rerank("--chunk", "0/1", "--max-tokens", 2000)
    assert code == 3 and "max_tokens" in err.splitlines()[-1]
    assert json.loads(run("status", "out", "--json")[1])["chunks"]["stopped"] == 1
    assert rerank("--chunk", "0/1")[0] == 0


def test_failed_chunks_end_with_4(run, task: Path, tmp_path: Path) -> None:
    reranker = spec(tmp_path / "log", bad="number 3 tell")
    work = (task / "first.trec", reranker, "--data", task / "data", "-o", "out", "--chunk", "0/1", "--chunk-size", 6)
    code, _, err = run("rerank", *work)
    assert code == 4 and "1 of 4 chunks failed" in err.splitlines()[-1]
    assert "chunk 0 failed: RuntimeError: this prompt is bad" in run("status", "out")[1]
