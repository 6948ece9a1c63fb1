"""The tools, as the SDK's own client sees them: in memory, over stdio, over HTTP."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from serve_helpers import CORPUS, THOUGHT, Gated, deep, running

from whyrank import BM25, Document, Fake, Listwise, Pointwise
from whyrank.serve.mcp import server
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings
from whyrank.types import Corpus

mcp = pytest.importorskip("mcp", reason="mcp is not installed: pip install 'whyrank[mcp]'")


def service(**given: Any) -> Service:
    return Service({"deep": deep()}, {"docs": BM25().index(CORPUS)}, CORPUS, **given)


def told(served: Service, ask: Callable[[Any], Awaitable[Any]], mode: str = "auto", **settings: Any) -> Any:
    async def work() -> Any:
        async with mcp.Client(server(served, Settings(**settings)), mode=mode) as client:
            return await ask(client)

    try:
        return asyncio.run(work())
    finally:
        served.close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_search_tells_beginnings_ids_and_how_to_go_on(mode):
    async def ask(client):
        return await client.call_tool("search", {"query": "bees dance honey Bienen", "k": 2, "rerank": False})

    found = told(service(), ask, mode)
    assert not found.is_error
    assert json.loads(found.content[0].text) == found.structured_content, "hosts show the one or the other"
    results = found.structured_content["results"]
    assert [one["rank"] for one in results] == [1, 2]
    assert set(results[0]) == {"id", "title", "url", "text", "score", "rank", "reason"}
    assert results[0]["url"] == f"whyrank://documents/{results[0]['id']}"
    assert found.structured_content["more"] is True
    assert "go on with offset=2" in found.structured_content["note"]


def test_pages_of_a_search_join_to_the_whole():
    async def ask(client):
        pages, offset = [], 0
        while True:
            given = {"query": "bees dance honey Bienen", "k": 1, "offset": offset}
            page = (await client.call_tool("search", given)).structured_content
            pages += [one["id"] for one in page["results"]]
            offset += len(page["results"])
            if not page["more"]:
                return pages

    assert sorted(told(service(), ask)) == ["d/3", "d1", "d2"]


def test_an_answer_has_a_bound_and_says_where_to_go_on():
    corpus = Corpus([Document(f"d{n}", f"bees {n} " + "and their dances " * 2000) for n in range(60)])

    async def ask(client):
        listed = (await client.call_tool("search", {"query": "bees", "k": 50})).structured_content
        first = (await client.call_tool("fetch", {"id": "d7"})).structured_content
        rest = await client.call_tool("fetch", {"id": "d7", "offset": len(first["text"])})
        return listed, first, rest.structured_content

    listed, first, rest = told(Service({}, {"docs": BM25().index(corpus)}, corpus), ask)
    assert listed["more"]
    assert 10 < len(listed["results"]) < 50
    assert all(len(one["text"]) < 2000 for one in listed["results"])
    assert f"go on with offset={len(listed['results'])}" in listed["note"]
    assert first["more"]
    assert not rest["more"]
    assert first["text"] + rest["text"] == corpus["d7"].text


def test_rerank_tells_reasons():
    async def ask(client):
        given = {"query": "why do bees dance?", "documents": ["Bees make honey.", "So a dance shows where food is."]}
        return await client.call_tool("rerank", given)

    found = told(service(), ask).structured_content
    assert [one["index"] for one in found["results"]] == [1, 0]
    assert found["results"][0]["reason"].startswith("[2] says")


def test_progress_tells_how_many_calls_have_ended():
    heard = []

    async def progress(done, total, message):
        heard.append(done)
        assert message == f"{done:.0f} model calls have ended"

    async def ask(client):
        given = {"query": "why?", "documents": [f"text {n}" for n in range(6)]}
        return await client.call_tool("rerank", given, progress_callback=progress)

    slow = Pointwise(Fake("<score>70</score>", concurrency=1, latency=0.3))
    assert not told(Service({"slow": slow}), ask).is_error
    assert heard == sorted(set(heard))
    assert heard
    assert heard[-1] <= 6


@pytest.mark.parametrize(
    ("tool", "given", "why"),
    [
        ("fetch", {"id": "none"}, "there is no document 'none': take an id that search gave"),
        ("fetch", {"id": "d1", "offset": 99}, "offset 99 is behind the end"),
        ("search", {"query": "a", "k": 51}, "less than or equal to 50"),
        ("search", {"query": ""}, "at least 1 character"),
        ("search", {}, "query"),
        ("rerank", {"query": "a", "documents": []}, "at least 1 item"),
        ("rerank", {"query": "a", "documents": ["x"] * 201}, "at most 200 items"),
    ],
)
def test_a_call_that_is_wrong_is_told_how_to_mend_it(tool, given, why):
    async def ask(client):
        return await client.call_tool(tool, given)

    found = told(service(), ask)
    assert found.is_error
    assert why in found.content[0].text


def test_a_model_that_fails_is_told_and_nothing_internal():
    from whyrank.llm.answer import Failed

    dead = Listwise(Fake(lambda prompt: Failed("auth", "key of http://secret-host/v1")))

    async def ask(client):
        return await client.call_tool("rerank", {"query": "a", "documents": ["x", "y"]})

    found = told(Service({"deep": dead}), ask)
    assert found.is_error
    assert "cannot be used" in found.content[0].text
    assert "secret-host" not in found.content[0].text


def test_only_the_tools_that_can_answer_are_there():
    async def names(client):
        return sorted(tool.name for tool in (await client.list_tools()).tools)

    assert told(service(), names) == ["fetch", "rerank", "search"]
    assert told(Service({"deep": deep()}), names) == ["rerank"]
    assert told(Service({}, {"docs": BM25().index(CORPUS)}, CORPUS), names) == ["fetch", "search"]


def test_tools_say_that_they_only_read():
    async def tools(client):
        return (await client.list_tools()).tools

    for tool in told(service(), tools):
        assert (tool.annotations.read_only_hint, tool.annotations.open_world_hint) == (True, False)
        assert tool.output_schema["type"] == "object"


def test_no_argument_names_a_file_a_model_or_a_spec():
    async def arguments(client):
        return {name for tool in (await client.list_tools()).tools for name in tool.input_schema["properties"]}

    assert told(service(), arguments) == {"query", "k", "offset", "rerank", "id", "documents"}


def test_a_call_that_is_given_up_ends_the_time_of_its_request():
    llm = Gated()
    served = Service({"deep": Listwise(llm)})

    async def ask(client):
        given = {"query": "a", "documents": ["x", "y"]}
        call = asyncio.create_task(client.call_tool("rerank", given))
        while not llm.asked:
            await asyncio.sleep(0.01)
        call.cancel()
        while any(standing.jobs for standing in list(served.hub._engines.values())):
            await asyncio.sleep(0.01)
        threading.Timer(0.0, llm.gate.set).start()
        return len(llm.asked)

    assert told(served, ask) == 1


@pytest.mark.slow
def test_over_stdio_whatever_is_printed_meanwhile(tmp_path):
    (tmp_path / "loud.py").write_text(
        "from dataclasses import dataclass\nimport os\nfrom whyrank import Fake\n\n@dataclass(frozen=True)\n"
        "class Loud(Fake):\n    async def _generate(self, prompts):\n        print('loading 10%')\n"
        "        os.write(1, b'raw noise')\n        return await super()._generate(prompts)\n"
    )
    spec = f"listwise(loud.Loud({THOUGHT!r}))"
    given = ["-m", "whyrank", "mcp", "--search", "bm25()", "--data", "toy", "--rerank", spec]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    started = mcp.StdioServerParameters(command=sys.executable, args=given, env=env)

    async def ask():
        async with mcp.Client(started) as client:
            found = await client.call_tool("search", {"query": "why do bees dance?", "k": 3})
            return client.instructions, found

    instructions, found = asyncio.run(asyncio.wait_for(ask(), 120))
    assert "a collection of 80 documents" in instructions
    assert not found.is_error, found.content
    assert len(found.structured_content["results"]) == 3


@pytest.mark.slow
def test_over_http_beside_the_other_paths():
    with running("--search", "bm25()", "--data", "toy", "--mcp", spec=f"listwise(fake({THOUGHT!r}))") as url:

        async def ask():
            async with mcp.Client(f"{url}/mcp") as client:
                return await client.call_tool("search", {"query": "why do bees dance?", "k": 3})

        found = asyncio.run(asyncio.wait_for(ask(), 60))
    assert len(found.structured_content["results"]) == 3
