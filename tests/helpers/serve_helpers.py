"""A server in this process, and what it serves."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from whyrank import BM25, Document, Fake, Listwise
from whyrank.llm.answer import Completion, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt
from whyrank.serve.http import application
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings
from whyrank.types import Corpus

THOUGHT = '<think>[2] says "a dance shows where", which answers.</think><answer>[2] > [1]</answer>'

CORPUS = Corpus(
    [
        Document("d1", "Bees make honey.", "Honey", metadata={"lang": "en", "year": 1950}),
        Document("d2", "We know that a dance shows where food is.", metadata={"lang": "en", "year": 1927}),
        Document("d/3", "Bienen tanzen.", metadata={"lang": "de", "year": 1965, "odd": float("nan")}),
    ]
)


def deep() -> Listwise:
    return Listwise(Fake(THOUGHT))


@dataclass(frozen=True)
class Gated(LLM):
    model: str = "gated"
    concurrency: int = 2
    gate: threading.Event = field(default_factory=threading.Event, repr=False)
    asked: list[str] = field(default_factory=list, repr=False)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        self.asked.extend(prompt.messages[-1].content for prompt in prompts)
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        return [Ok(THOUGHT) for _ in prompts]


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to this"
        time.sleep(0.002)


@contextmanager
def serving(service: Service | None = None, keys: tuple[str, ...] = (), **settings: Any) -> Iterator[TestClient]:
    service = service or Service({"deep": deep()}, {"docs": BM25().index(CORPUS)}, CORPUS)
    app = application(service, Settings(**settings), keys)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.service = service  # type: ignore[attr-defined]
        client.server = app.state.server  # type: ignore[attr-defined]
        yield client


@contextmanager
def running(*options: str, spec: str | None = None, env: dict[str, str] | None = None) -> Iterator[str]:
    """`whyrank serve` in a process of its own on a free port; gives its address."""
    with started(*options, spec=spec, env=env) as (url, _):
        yield url


@contextmanager
def started(
    *options: str, spec: str | None = None, env: dict[str, str] | None = None
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The same, with the process."""
    command = [sys.executable, "-m", "whyrank", "serve", *([spec] if spec else []), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if found := re.match(r"serving at (http://\S+)", line):
                    break
            else:
                raise AssertionError("".join(said))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield found[1], process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """An ASGI app on a free port of this machine, in a thread; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
