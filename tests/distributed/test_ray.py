"""Chunks on a Ray cluster of several nodes on loopback: the bytes of one process, whatever dies."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from counting import asked
from in_chunks import alone, same, spec

from whyrank import distributed
from whyrank.distributed import Ray
from whyrank.distributed import ray as on_ray
from whyrank.distributed.work import Work
from whyrank.errors import BadInput, ChunksFailed
from whyrank.experiment import Limits
from whyrank.llm.ledger import Price, Prices
from whyrank.types import Dataset


def told(out: Path, **changes: object) -> str:
    (out / on_ray.TOKEN).write_text("token")
    text = json.loads(on_ray.as_text(Work("rerank", "listwise(fake())", str(out), "toy"), "start", "token"))
    return json.dumps({**text, **changes})


def test_a_folder_that_not_all_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must be on storage that all see"):
        on_ray.worker_of(told(tmp_path, token="another"))


@pytest.mark.parametrize("package", ["whyrank", "python", "openai"])
def test_other_versions_are_refused(tmp_path: Path, package: str) -> None:
    pytest.importorskip("openai")
    theirs = json.loads(told(tmp_path))["versions"] | {package: "0.0"}
    with pytest.raises(BadInput, match=f"{package} is .* here and 0.0 with the driver"):
        on_ray.worker_of(told(tmp_path, versions=theirs))


def test_only_text_and_numbers_are_told(tmp_path: Path) -> None:
    limits = Limits(Prices({"fake": Price(1.0, 2.0, 0.5)}), 3.0, 4, 5.0)
    work = Work("search", "bm25()", "out", "toy", "test", "", 7, None, limits, "full", 3)
    given = json.loads(on_ray.as_text(work, "start", "token"))
    assert given["work"]["out"] == str(Path("out").resolve()) and given["limits"]["prices"]["table"]["fake"]["cached"]
    with pytest.raises(BadInput, match="actors load the data by its name"):
        list(Ray().run(replace(work, data=Dataset("mine")), "start", lambda: None))


@pytest.mark.parametrize("replicas", [(0, 1), (3, 2)])
def test_no_such_crew(replicas: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="replicas must be A:B"):
        Ray(replicas)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--on", "ray://head:10001"), "Ray Client"),
        (("--on", "ray:head"), "ray:HOST:PORT"),
        (("--on", "ray", "--replicas", "many"), "at least and at most"),
        (("--on", "ray", "--replicas", "8:2"), "replicas must be A:B"),
        (("--on", "local:2", "--replicas", "2"), "no effect"),
    ],
)
def test_wrong_clusters(run, task: Path, options: tuple[str, ...], why: str) -> None:
    code, _, err = run("rerank", task / "first.trec", "listwise(fake())", "--data", task / "data", "-o", "x", *options)
    assert code == 1 and why in err


def started(cluster: Any) -> Any:
    """A head and two nodes; a machine that is busy may need more than one try."""
    head = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    for tries in (1, 2, 3):
        made = cluster()
        try:
            made.add_node(**head)
            for _ in range(2):
                made.add_node(num_cpus=1, object_store_memory=80_000_000)
            return made
        except Exception as error:  # Ray's own time is up
            made.shutdown()
            if tries == 3:
                pytest.skip(f"this machine is too busy for a Ray cluster to start: {error}")


@pytest.fixture(scope="module")
def cluster(helpers: None) -> Iterator[object]:
    """A head and two nodes of one processor, all on loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_DEDUP_LOGS": "0",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        }.items():
            patch.setenv(name, value)
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'whyrank[distributed]'")
        import ray
        from ray.cluster_utils import Cluster

        made = started(Cluster)
        ray.init(address=made.address, log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.mark.engines
def test_the_bytes_of_one_process_though_an_actor_is_killed(
    cluster: object, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    reranker = spec(log, concurrency=4, latency=0.3)
    whole = alone(task, tmp_path / "whole" / "out", spec(tmp_path / "log2"))
    killed = []

    def kill_one() -> None:
        end = time.monotonic() + 400
        while not killed and time.monotonic() < end:
            time.sleep(0.02)
            for claim in (tmp_path / "out").glob("chunks/*/1.json"):
                told = json.loads(claim.read_text())
                if "ended" not in told and (claim.parent / "1" / "trace.jsonl").exists():
                    os.kill(told["process"], signal.SIGKILL)  # the actor, in the middle of a chunk
                    killed.append(claim.parent.name)
                    break

    killer = threading.Thread(target=kill_one)
    killer.start()
    job = distributed.rerank(
        task / "first.trec", reranker, str(task / "data"), tmp_path / "out", 10, on=Ray((2, 2)), chunk_size=4
    )
    killer.join()
    assert job.chunks == {"done": 6} and same(tmp_path / "out", whole)
    assert (tmp_path / "out" / "chunks" / killed[0] / "2").is_dir()  # somebody went on with it
    repeated = asked(log) - asked(tmp_path / "log2")
    assert asked(log).keys() == asked(tmp_path / "log2").keys() and repeated.total() <= 2 * 4


@pytest.mark.engines
def test_a_poisonous_list_and_one_that_raises(cluster: object, task: Path, tmp_path: Path) -> None:
    for options, why in (({"poison": "number 9 tell"}, "without a word"), ({"bad": "number 9 tell"}, "prompt is bad")):
        out = tmp_path / next(iter(options))
        with pytest.raises(ChunksFailed, match=f"1 of 3 chunks failed.*chunk 1: .*{why}"):
            distributed.rerank(
                task / "first.trec",
                spec(tmp_path / "log", **options),
                str(task / "data"),
                out,
                10,
                on=Ray((2, 2)),
                chunk_size=8,
            )
        assert distributed.status(out)["chunks"] == {"done": 2, "failed": 1}
