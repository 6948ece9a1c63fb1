"""Search, fetch and rerank as tools of the Model Context Protocol: over stdio, and below /mcp of the server.

One file serves both majors of the SDK: what was `FastMCP` in 1.x is `MCPServer` in 2.x.
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Annotated, Any, TypeVar

from whyrank.errors import BadInput, need
from whyrank.llm.budget import clip, estimate
from whyrank.llm.hub import Caller
from whyrank.serve.asked import readable
from whyrank.serve.refusal import Refused, refusal
from whyrank.serve.searching import plain
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings

T = TypeVar("T")

SNIPPET, ANSWER, PAGE = 200, 8_000, 6_000
"""Tokens, as estimated: of a document in a list, of an answer, and of a page of a document that is fetched."""

DEADLINE = 50.0
"""Seconds of a call: many hosts give up after 60."""


@dataclass(frozen=True)
class Hit:
    """A document that was found."""

    id: str
    title: str
    url: str
    text: str
    score: float
    rank: int
    reason: str = ""


@dataclass(frozen=True)
class Hits:
    """What was found, whether there is more, and what there is to say of it."""

    results: list[Hit]
    more: bool
    note: str


@dataclass(frozen=True)
class Page:
    """A document, or the part of it from an offset on."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any]
    more: bool


@dataclass(frozen=True)
class Placed:
    """A document in its place."""

    index: int
    score: float
    rank: int
    reason: str = ""


@dataclass(frozen=True)
class Order:
    """Documents, best first."""

    results: list[Placed]
    note: str


def server(service: Service, settings: Settings) -> Any:  # noqa: ANN401 (an optional package)
    """The MCP server of a service, with those tools that it can answer.

    Raises:
        MissingExtra: the package mcp is not installed.
    """
    need("mcp", extra="mcp", asked_by="whyrank mcp")
    try:
        made, tool_error = need("mcp.server.mcpserver", extra="mcp"), "mcp.server.mcpserver.exceptions"
        kind, hints = made.MCPServer, _HINTS
    except ImportError:
        made, tool_error = need("mcp.server.fastmcp", extra="mcp"), "mcp.server.fastmcp.exceptions"
        kind, hints = made.FastMCP, _camel(_HINTS)
    field = need("pydantic", extra="mcp").Field
    told = kind("whyrank", instructions=_instructions(service), log_level="WARNING")
    annotations = need("mcp.types", extra="mcp").ToolAnnotations(**hints)
    tools = Tools(service, settings, need(tool_error, extra="mcp").ToolError)
    count = Annotated[int, field(ge=1, le=50, description="How many documents.")]
    offset = Annotated[int, field(ge=0, le=10_000, description="Where to go on after a shorter answer.")]

    async def search(
        query: Annotated[str, field(min_length=1, description="What to find, in words.")],
        ctx: Any,  # noqa: ANN401 (the SDK's Context)
        k: count = 10,
        offset: offset = 0,
        rerank: Annotated[bool, field(description="Let a model put the best in order: slower, better.")] = bool(
            service.rerankers
        ),
    ) -> Hits:
        return await tools.search(ctx, query, k, offset, rerank)

    async def fetch(
        id: Annotated[str, field(min_length=1, description="The id of a document, as search gives it.")],
        offset: Annotated[int, field(ge=0, description="The character to begin at.")] = 0,
    ) -> Page:
        return tools.fetch(id, offset)

    async def rerank(
        query: Annotated[str, field(min_length=1, description="The question.")],
        documents: Annotated[list[str], field(min_length=1, max_length=200, description="Texts to put in order.")],
        ctx: Any,  # noqa: ANN401 (the SDK's Context)
        k: Annotated[int, field(ge=1, le=200, description="How many of the best are told.")] = 10,
    ) -> Order:
        return await tools.rerank(ctx, query, documents, k)

    for tool in (search, rerank):
        tool.__annotations__["ctx"] = made.Context
    if service.searchers:
        told.tool(description=f"Search {service.name}.", annotations=annotations)(search)
        told.tool(description="A document by its id, or the part from an offset on.", annotations=annotations)(fetch)
    if service.rerankers:
        about = "Put texts into a better order for a question, with reasons."
        told.tool(description=about, annotations=annotations)(rerank)
    return told


class Tools:
    """What the tools do, whatever the SDK."""

    def __init__(self, service: Service, settings: Settings, error: Callable[[str], Exception]) -> None:
        """Hold what they need; `error` makes an error whose text the model reads."""
        self.service, self.settings, self.error = service, settings, error

    async def search(self, ctx: Any, query: str, k: int, offset: int, rerank: bool) -> Hits:  # noqa: ANN401
        """The documents from place `offset` on, as many as fit."""
        model = self._reranker() if rerank else None

        def work(caller: Caller) -> Any:  # noqa: ANN401
            return self.service.search("", readable(query, "query"), offset + k + 1, caller, model)

        found = await self._work(ctx, work)
        reasons = [] if found.answer is None else [item.reason for item, _ in found.answer.best(None)]
        results: list[Hit] = []
        room = ANSWER
        for at in range(offset, min(offset + k, len(found.hits))):
            one = found.hits[at]
            hit = Hit(
                id=one.id,
                title=one.title,
                url=self._url(one.id),
                text=clip(one.text, None, SNIPPET),
                score=found.scores[at],
                rank=at + 1,
                reason=clip(reasons[at], None, SNIPPET) if at < len(reasons) else "",
            )
            room -= estimate(str(hit))
            if room < 0 and results:
                break
            results.append(hit)
        end = offset + len(results)
        more = end < len(found.hits)
        note = f"{len(results)} documents from {offset + 1} on" if results else "nothing was found"
        note += f"; go on with offset={end}" if more else ""
        return Hits(results=results, more=more, note="; ".join([note, *found.warnings]))

    def fetch(self, id: str, offset: int) -> Page:
        """A document from a character on, as much as fits."""
        corpus = self.service.corpus
        if corpus is None or id not in corpus:
            raise self.error(f"there is no document {id[:100]!r}: take an id that search gave")
        one = corpus[id]
        if offset and offset >= len(one.text):
            raise self.error(f"offset {offset} is behind the end: the document has {len(one.text)} characters")
        rest = one.text[offset:]
        text = clip(rest, None, PAGE)
        return Page(
            id=one.id,
            title=one.title,
            text=text,
            url=self._url(one.id),
            metadata=plain(one.metadata),
            more=len(text) < len(rest),
        )

    async def rerank(self, ctx: Any, query: str, documents: list[str], k: int) -> Order:  # noqa: ANN401
        """Texts in their order."""
        model = self._reranker()

        def work(caller: Caller) -> Any:  # noqa: ANN401
            texts = [readable(text, f"documents[{at}]") for at, text in enumerate(documents)]
            return self.service.rank(model, readable(query, "query"), texts, caller)

        answer = await self._work(ctx, work)
        results: list[Placed] = []
        room = ANSWER
        for item, score in answer.best(k):
            placed = Placed(item.index, score, item.rank, clip(item.reason, None, SNIPPET))
            room -= estimate(str(placed))
            if room < 0 and results:
                break
            results.append(placed)
        note = f"{len(results)} of {len(documents)} documents"
        return Order(results=results, note="; ".join([note, *answer.warnings]))

    async def _work(self, ctx: Any, do: Callable[[Caller], T]) -> T:  # noqa: ANN401
        """Do something in a thread, telling how many model calls have ended; a call that is given up ends its time."""
        caller = Caller(self.service.hub, min(DEADLINE, self.settings.deadline))
        work = asyncio.create_task(asyncio.to_thread(do, caller))
        told = 0
        try:
            while not (await asyncio.wait({work}, timeout=0.2))[0]:
                if caller.answered > told:
                    told = caller.answered
                    await ctx.report_progress(told, None, f"{told} model calls have ended")
            return work.result()
        except asyncio.CancelledError:
            caller.leave()
            raise
        except Exception as error:
            raise self.error(refusal(error).message) from error

    def _reranker(self) -> str:
        try:
            return self.service.reranker("")
        except Refused as refused:
            raise self.error(f"{refused.message}; ask again with rerank=false") from None

    def _url(self, id: str) -> str:
        return self.settings.url.replace("{id}", id)


def mounted(service: Service, settings: Settings) -> tuple[list[Any], Callable[[], Any]]:
    """The routes of MCP over HTTP, and the context that must be entered as long as they are served.

    Names of hosts are checked by the server's own door, and no state is kept between calls.
    """
    told = server(service, settings)
    security = need("mcp.server.transport_security", extra="mcp").TransportSecuritySettings(
        enable_dns_rebinding_protection=False
    )
    if hasattr(told, "_mcp_server"):  # SDK 1 has these as settings
        told.settings.stateless_http, told.settings.transport_security = True, security
        app = told.streamable_http_app()
    else:
        app = told.streamable_http_app(stateless_http=True, transport_security=security)
    return list(app.routes), told.session_manager.run


@contextlib.contextmanager
def own_stdout() -> Iterator[Any]:
    """The real stdout, which is the protocol's alone: whatever else is printed meanwhile goes to stderr."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        with TextIOWrapper(os.fdopen(wire, "wb", closefd=False), encoding="utf-8", line_buffering=True) as out:
            yield out
    finally:
        sys.stdout.flush()
        os.dup2(wire, 1)
        os.close(wire)


def speak(service: Service, settings: Settings, out: Any) -> None:  # noqa: ANN401 (a text stream)
    """Serve MCP on stdin and `out`, until stdin ends."""
    told = server(service, settings)
    anyio, stdio = need("anyio", extra="mcp"), need("mcp.server.stdio", extra="mcp")
    low: Any = getattr(told, "_lowlevel_server", None) or told._mcp_server

    async def run() -> None:
        async with stdio.stdio_server(stdout=anyio.wrap_file(out)) as (read, write):
            await low.run(read, write, low.create_initialization_options())

    try:
        asyncio.run(run())
    finally:
        service.close()


_HINTS = {"read_only_hint": True, "destructive_hint": False, "idempotent_hint": True, "open_world_hint": False}


def _camel(hints: dict[str, bool]) -> dict[str, bool]:
    """The hints by the names that SDK 1 has for them."""
    return {re.sub("_(.)", lambda found: found[1].upper(), name): value for name, value in hints.items()}


def _instructions(service: Service) -> str:
    parts = []
    if service.corpus is not None and service.searchers:
        parts.append(
            f"Search {service.name}, a collection of {len(service.corpus):,} documents, by `search`; what it returns "
            "are beginnings of texts: read a whole document by `fetch` with its id, and cite it by its url."
        )
    if service.rerankers:
        parts.append("`rerank` puts texts that you have into a better order for a question, and says why.")
    if not parts:
        raise BadInput("there is nothing to serve")
    return " ".join(parts)
