"""The server in a process of its own: how it begins, ends, is killed, is left by clients, and keeps its memory."""

import http.client
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from command_line import call
from fault_server import FaultServer
from serve_helpers import THOUGHT, started, until

from whyrank.llm.trace import records

pytestmark = pytest.mark.slow

DOCS = ["Bees make honey.", "A dance shows where food is."]


def post(url: str, query: str = "why?", **given: object) -> dict:
    body = json.dumps({"query": query, "documents": DOCS, **given}).encode()
    request = urllib.request.Request(f"{url}/rerank", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def slow(server: FaultServer) -> str:
    return f"listwise(openai('m', base_url={server.url!r}, concurrency=2))"


def test_told_to_end_it_finishes_what_runs_and_exits_with_0():
    with FaultServer(seconds=1.5) as model, started(spec=slow(model)) as (url, process), ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, url)
        until(lambda: model.under_way)
        process.send_signal(signal.SIGTERM)
        assert running.result(60)["results"][0]["index"] == 1
        assert process.wait(60) == 0


def test_killed_it_loses_no_finished_call(tmp_path: Path):
    with FaultServer(seconds=0.01) as model:
        options = ("--trace", str(tmp_path / "trace"))
        with started(*options, spec=slow(model)) as (url, process):
            for n in range(5):
                post(url, f"question {n}")
            process.kill()
            process.wait(30)
        assert len(list(records(tmp_path / "trace" / "trace.jsonl"))) == 5
        asked = len(model.log)
        with started(*options, spec=slow(model)) as (url, _):
            for n in range(5):
                assert post(url, f"question {n}")["results"][0]["index"] == 1
        assert len(model.log) == asked, "all was known"


def test_a_client_that_hangs_up_stops_costing():
    with FaultServer(seconds=0.5) as model:
        spec = f"pointwise(openai('m', base_url={model.url!r}, concurrency=1))"
        with started(spec=spec) as (url, _):
            address = urlsplit(url)
            body = json.dumps({"query": "why?", "documents": [f"text {n}" for n in range(40)]})
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            connection.request("POST", "/rerank", body, {"content-type": "application/json"})
            until(lambda: model.log or model.under_way)
            assert connection.sock is not None
            connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
            until(lambda: not model.under_way)
            time.sleep(1.5)
            assert len(model.log) <= 4, "of forty calls only those under way were made"


def test_twenty_thousand_requests_leave_its_memory_as_it_was():
    with started("--keep", "500", spec=f"listwise(fake({THOUGHT!r}))") as (url, process):
        address, memory = urlsplit(url), psutil.Process(process.pid)

        def some(worker: int, times: int) -> None:
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            for n in range(times):
                body = json.dumps({"query": f"question {worker} {times} {n}", "documents": DOCS})
                connection.request("POST", "/rerank", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
            connection.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(some, range(8), [REQUESTS // 32] * 8))
            before = memory.memory_info().rss
            list(pool.map(some, range(8), [REQUESTS // 8 - REQUESTS // 32] * 8))
        assert memory.memory_info().rss - before < 24 * 2**20


REQUESTS = int(os.environ.get("WHYRANK_TEST_REQUESTS", "2400"))
"""20,000 take some minutes; what each request left would be seen after fewer."""


def test_settings_from_a_file_the_environment_and_the_command_line(tmp_path: Path):
    (tmp_path / "serve.toml").write_text(
        "max-documents = 5\nmax_body = 5000\n[rerank]\n"
        f"""deep = "listwise(fake('{THOUGHT.replace(chr(34), "")}'))"\nother = "listwise(fake('[1]'))"\n"""
    )
    env = {"WHYRANK_SERVE_MAX_BODY": "7000"}
    with started("--config", str(tmp_path / "serve.toml"), "--max-documents", "7", env=env) as (url, _):
        with urllib.request.urlopen(f"{url}/info") as answer:
            told = json.loads(answer.read())
        assert told["max_client_batch_size"] == 7, "the command line goes first"
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(url, "x" * 8000)
        assert "more than 7,000 bytes" in refused.value.read().decode(), "then the environment"
        with urllib.request.urlopen(f"{url}/v1/models") as answer:
            assert [one["id"] for one in json.loads(answer.read())["data"]] == ["deep", "other"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "there is nothing to serve"),
        (("listwse(fake())",), "no part is called 'listwse'"),
        (("bm25()",), "'bm25' is"),
        (("listwise(fake())", "--rerank", "listwise=listwise(fake('a'))"), "two parts are called 'listwise'"),
        (("--search", "bm25()"), "--search needs documents"),
        (("listwise(fake())", "--data", "toy"), "--data has no effect without --search"),
        (("listwise(fake())", "--scores", "mine"), "--scores must be auto, own or rank"),
        (("listwise(fake())", "--deadline", "0"), "deadline must be above 0"),
        (("listwise(fake())", "--max-cost", "1"), "max_cost needs a price table"),
        (("listwise(fake())", "--url", "https://x"), "url must have {id}"),
        (("listwise(fake())", "--config", "none.toml"), "there is no file none.toml"),
        (("listwise(fake())", "--config", "bad.toml"), "cannot be read as TOML"),
        (("listwise(fake())", "--config", "strange.toml"), "there is no setting 'workers'"),
        (("listwise(fake())", "--port", "70000"), "port"),
    ],
)
def test_a_wrong_call_is_told(tmp_path: Path, given: tuple[str, ...], why: str):
    (tmp_path / "bad.toml").write_text("port = ")
    (tmp_path / "strange.toml").write_text("workers = 4")
    ended = call(tmp_path, "serve", *given)
    assert ended.code in {1, 2}
    assert why in ended.last
