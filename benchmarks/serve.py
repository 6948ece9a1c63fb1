"""What serving costs: the time of a request over HTTP beside that of `rank` in process, and requests a second.

$ python benchmarks/serve.py [--requests 300]
"""

import argparse
import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import uvicorn

from whyrank import EncoderRerank, Fake, Listwise, load
from whyrank.rerank.base import Reranker
from whyrank.serve.http import application
from whyrank.serve.service import Service

ANSWER = "<think>[2] says where.</think><answer>[2] > [1]</answer>"


def main() -> None:
    """Print p50 and p99 in milliseconds, their ratios, and requests a second with 16 clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    requests = parser.parse_args().requests
    documents = [document.content for document in load("toy").corpus][:20]
    print(f"{'reranker':28} {'in process':>16} {'over HTTP':>16} {'ratio':>12} {'requests/s':>11}")
    print(f"{'':28} {'p50 p99 ms':>16} {'p50 p99 ms':>16} {'p50 p99':>12} {'16 clients':>11}")
    for name, reranker in (("listwise(fake())", Listwise(Fake(ANSWER))), ("minilm", EncoderRerank("minilm"))):
        compare(name, reranker, documents, requests)


def compare(name: str, reranker: Reranker, documents: list[str], requests: int) -> None:
    """One line of the table."""
    server = uvicorn.Server(uvicorn.Config(application(Service({"it": reranker})), port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    connection = connected(url)
    alone = times(lambda n: reranker.rank(f"why do bees dance? {n}", documents), requests)
    served = times(lambda n: ask(connection, f"why do bees dance? a{n}", documents), requests)
    local = threading.local()

    def one(n: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = connected(url)
        ask(local.connection, f"why do bees dance? b{n}", documents)

    began = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(requests)))
    rate = requests / (time.perf_counter() - began)
    server.should_exit = True
    ratios = f"{served[0] / alone[0]:.2f} {served[1] / alone[1]:.2f}"
    shown = [f"{p50:.2f} {p99:.2f}" for p50, p99 in (alone, served)]
    print(f"{name:28} {shown[0]:>16} {shown[1]:>16} {ratios:>12} {rate:>11.0f}")


def times(work: Callable[[int], object], requests: int) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    taken = []
    for n in range(-10, requests):
        began = time.perf_counter()
        work(n)
        if n >= 0:
            taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def connected(url: str) -> http.client.HTTPConnection:
    """A connection that is kept open."""
    address = urlsplit(url)
    return http.client.HTTPConnection(address.hostname or "", address.port)


def ask(connection: http.client.HTTPConnection, query: str, documents: list[str]) -> None:
    """One request."""
    body = json.dumps({"query": query, "documents": documents})
    connection.request("POST", "/rerank", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200


if __name__ == "__main__":
    main()
