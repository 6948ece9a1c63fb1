"""Workers, and the process that started them, die by SIGKILL at random moments: every list once, few calls twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from counting import asked
from in_chunks import alone, same, spec

from whyrank import distributed
from whyrank.distributed import Local
from whyrank.errors import ChunksFailed
from whyrank.io.chunks import Chunks

pytestmark = pytest.mark.slow

CONCURRENCY = 4


@pytest.fixture(scope="module")
def whole(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return alone(task, folder / "out", spec(folder / "log"))


def started(task: Path, out: Path, reranker: str) -> "subprocess.Popen[bytes]":
    """`whyrank rerank --on local:2`, in a process of its own."""
    work = ["rerank", str(task / "first.trec"), reranker, "--data", str(task / "data"), "--depth", "10"]
    command = [sys.executable, "-m", "whyrank", *work, "-o", str(out), "--on", "local:2", "--chunk-size", "3"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=60)[1]


def wait_for_calls(log: Path, count: int) -> None:
    end = time.monotonic() + 240
    while asked(log).total() < count and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.parametrize("seed", [1])
def test_workers_and_drivers_killed_at_random(task: Path, whole: Path, tmp_path: Path, seed: int) -> None:
    draw, log, out = random.Random(seed), tmp_path / "log", tmp_path / "out"
    reranker = spec(log, concurrency=CONCURRENCY, latency=0.02)
    kills = 0
    for at in sorted(draw.sample(range(5, 60), 2)):
        job = started(task, out, reranker)
        wait_for_calls(log, at)
        workers = workers_of(job)
        if workers and draw.random() < 0.5:
            draw.choice(workers).kill()  # one worker; the driver starts another
            kills += 1
            wait_for_calls(log, at + 10)
            workers = workers_of(job)
        job.kill()
        kills += 2  # workers end with their driver
        job.wait()
        assert gone(workers)
    assert started(task, out, reranker).wait() == 0
    assert same(out, whole)
    repeated = asked(log) - asked(whole.parent / "log")
    assert asked(log).keys() == asked(whole.parent / "log").keys()
    assert repeated.total() <= 2 * CONCURRENCY * kills


def test_workers_that_die_again_and_again_get_there(task: Path, whole: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    reranker = spec(log, concurrency=CONCURRENCY, mortal=0.02)
    for _ in range(20):
        try:
            distributed.rerank(task / "first.trec", reranker, task / "data", out, 10, on=Local(2), chunk_size=6)
            break
        except ChunksFailed:
            continue
    assert same(out, whole)
    attempts = sum(len(chunk.attempts()) for chunk in Chunks.of(out))
    repeated = asked(log) - asked(whole.parent / "log")
    assert repeated.total() <= 2 * CONCURRENCY * (attempts - 4)


def test_a_poisonous_list_fails_its_chunk_and_no_other(task: Path, whole: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    reranker = spec(log, concurrency=CONCURRENCY, poison="number 7 tell")
    with pytest.raises(ChunksFailed, match="chunk 1: 3 workers that began it ended without a word"):
        distributed.rerank(task / "first.trec", reranker, task / "data", out, 10, on=Local(2), chunk_size=6)
    assert distributed.status(out)["chunks"] == {"done": 3, "failed": 1}
    assert distributed.join(out, partial=True).chunks == {"done": 3, "failed": 1}


def test_ctrl_c_ends_all_and_the_same_command_goes_on(task: Path, whole: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    reranker = spec(log, concurrency=CONCURRENCY, latency=0.05)
    job = started(task, out, reranker)
    wait_for_calls(log, 10)
    workers = workers_of(job)
    os.kill(job.pid, signal.SIGINT)
    assert job.wait(120) == 130
    assert gone(workers)
    assert started(task, out, reranker).wait() == 0
    assert same(out, whole)
