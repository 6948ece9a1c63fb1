"""Search on a server of ours, as a retriever here."""

import json

import pytest
from serve_helpers import CORPUS, listening
from starlette.responses import Response

from whyrank import BM25, Dataset, load, make
from whyrank.errors import BadInput, EngineError
from whyrank.retrieval.around.remote import Remote
from whyrank.serve.http import application
from whyrank.serve.service import Service
from whyrank.types import Query


def test_it_finds_what_the_server_finds():
    data = load("toy")
    local = BM25().index(data.corpus)
    with listening(application(Service({}, {"docs": local}, data.corpus))) as url:
        remote = Remote(url, collection="docs")
        assert make(repr(remote)) == remote
        far, near = remote.search(data.queries, 20), local.search(data.queries, 20)
        assert {id: far[id].ids for id in far} == {id: near[id].ids for id in near}
        assert far["q01"].scores.tolist() == pytest.approx(near["q01"].scores.tolist())
        kept = remote.search([Query("q", "bees dance", excluded=frozenset(near["q01"].ids[:3]))], 5)
        assert not set(kept["q"].ids) & set(near["q01"].ids[:3])
        assert isinstance(data, Dataset)
        with pytest.raises(EngineError, match="there is no collection 'other' to search here: there are docs"):
            Remote(url, collection="other").search([Query("q", "bees")])
        with pytest.raises(BadInput, match="at most 1,000 documents"):
            remote.search([Query("q", "bees")], 2000)


def test_keys(monkeypatch):
    app = application(Service({}, {"docs": BM25().index(CORPUS)}, CORPUS), keys=["a-key-of-ours"])
    with listening(app) as url:
        monkeypatch.setenv("WHYRANK_API_KEY", "a-key-of-ours")
        assert len(Remote(url).search([Query("q", "bees")])["q"].ids) == 1
        monkeypatch.setenv("WHYRANK_API_KEY", "another-key-1")
        with pytest.raises(EngineError, match="HTTP 401: this key is none of this server's"):
            Remote(url).search([Query("q", "bees")])


NOT_OURS = (b"", b"[]", b'{"results": 3}', b'{"results": [{}]}', b'{"results": [{"hits": [{"id": "a"}]}]}')


@pytest.mark.parametrize("body", [*NOT_OURS, b'{"results": []}'])
def test_another_server_is_told(body):
    async def app(scope, receive, send):
        await Response(body)(scope, receive, send)

    with listening(app) as url, pytest.raises(EngineError, match=r"cannot be read|0 rankings for 1"):
        Remote(url).search([Query("q", "bees")])


def test_a_server_that_is_not_there():
    with pytest.raises(EngineError, match="cannot be reached"):
        Remote("http://127.0.0.1:9").search([Query("q", "bees")])
    with pytest.raises(BadInput, match="use WHYRANK_API_KEY"):
        Remote("http://h/?key=1234567890")
    assert json.dumps(repr(Remote("http://h"))) == "\"remote('http://h')\""
