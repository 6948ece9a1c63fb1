"""A server in this process, and what it serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from whyrank import BM25, Document, Fake, Listwise
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


@contextmanager
def serving(service: Service | None = None, keys: tuple[str, ...] = (), **settings: Any) -> Iterator[TestClient]:
    service = service or Service({"deep": deep()}, {"docs": BM25().index(CORPUS)}, CORPUS)
    app = application(service, Settings(**settings), keys)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.service = service  # type: ignore[attr-defined]
        client.server = app.state.server  # type: ignore[attr-defined]
        yield client
