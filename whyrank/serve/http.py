"""The application: routes and handlers, on Starlette. Everything that differs by client is in `dialects`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from whyrank.llm.hub import Caller
from whyrank.serve import dialects, openapi, scoring, searching
from whyrank.serve.admission import Admission
from whyrank.serve.answer import Answer
from whyrank.serve.asked import object_of
from whyrank.serve.door import Door
from whyrank.serve.metrics import Metrics
from whyrank.serve.refusal import Refused, error_body, refusal
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings

T = TypeVar("T")

RERANK = (
    "/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking", "/ranking", "/v1/ranking",
    "/v1/retrieval/{model:path}/reranking",
)  # fmt: skip
SCORE = ("/score", "/v1/score")

Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """The handlers of one service."""

    def __init__(self, service: Service, settings: Settings) -> None:
        """Hold what they need."""
        self.service, self.settings, self.metrics = service, settings, Metrics(service)
        self.admission = Admission(settings.max_requests, settings.max_waiting, settings.max_wait)
        self._pool = ThreadPoolExecutor(settings.max_requests, thread_name_prefix="whyrank-work")

    async def warm(self) -> None:
        """Load what parts load at first use; until then nobody is let in."""
        self.admission.loading = True
        await asyncio.to_thread(self.service.warm)
        self.admission.loading = False

    async def rerank(self, request: Request) -> Response:
        """Rank the documents of any family's body."""
        body = await self._body(request)
        request.state.family = dialects.family_of(body, request.headers)
        asked = dialects.read(body, request.headers, self.settings.max_documents)
        name = self.service.reranker(asked.model)
        request.state.model, request.state.documents = name, len(asked.texts)
        answer, queued = await self.work(
            request,
            lambda caller: self.service.rank(name, asked.query, asked.texts, caller, request.state.id),
            asked.seconds,
            asked.priority,
        )
        self._count(request, answer, queued)
        return JSONResponse(dialects.write(asked, answer), headers=_headers(answer, queued))

    async def score(self, request: Request) -> Response:
        """Score pairs, as vLLM does."""
        pairs = scoring.read(await self._body(request), self.settings.max_documents)
        name = self.service.reranker(pairs.model)
        request.state.family, request.state.model, request.state.documents = "score", name, len(pairs.pairs)

        def work(caller: Caller) -> list[Answer]:
            return [
                self.service.rank(name, query, documents, caller, f"{request.state.id}-{at}")
                for at, (query, documents) in enumerate(pairs.grouped())
            ]

        answers, queued = await self.work(request, work)
        for answer in answers:
            self._count(request, answer, queued)
        return JSONResponse(scoring.write(pairs, answers, request.state.id, name))

    async def search(self, request: Request) -> Response:
        """Search in our own words."""
        asked = searching.read(await self._body(request), self.service)
        return await self._search(request, asked, searching.write)

    async def vector_store(self, request: Request) -> Response:
        """Search as OpenAI's vector stores do."""
        asked = searching.read_vector_store(await self._body(request), request.path_params["name"], self.service)
        return await self._search(request, asked, searching.write_vector_store)

    async def dify(self, request: Request) -> Response:
        """Search as Dify's external knowledge does."""
        request.state.family = "dify"
        asked = searching.read_dify(await self._body(request), self.service)
        return await self._search(request, asked, searching.write_dify)

    async def _search(
        self, request: Request, asked: searching.Search, write: Callable[[searching.Search, Any, str], Any]
    ) -> Response:
        request.state.family = request.state.family if hasattr(request.state, "family") else "search"
        request.state.model = asked.name

        def work(caller: Caller) -> list[Any]:
            return [searching.found(self.service, asked, query, caller) for query in asked.queries]

        found, queued = await self.work(request, work, asked.seconds)
        request.state.documents = sum(len(one.hits) for one in found)
        for one in found:
            if one.answer is not None:
                self._count(request, one.answer, queued)
        return JSONResponse(write(asked, found, request.state.id))

    async def document(self, request: Request) -> Response:
        """A document by its id."""
        id = request.path_params["id"]
        if self.service.corpus is None or id not in self.service.corpus:
            raise Refused(404, f"there is no document {id[:100]!r} here")
        one = self.service.corpus[id]
        told = {"id": one.id, "title": one.title, "text": one.text, "metadata": searching.plain(one.metadata)}
        return JSONResponse(told | {"url": self.settings.url.replace("{id}", one.id)})

    async def models(self, request: Request) -> Response:
        """What is served, as OpenAI lists models."""
        listed = [
            {
                "id": name,
                "object": "model",
                "created": self.service.started,
                "owned_by": "whyrank",
                "root": name,
                "kind": kind,
                "spec": openapi.public(part),
            }
            for kind, parts in (("reranker", self.service.rerankers), ("retriever", self.service.searchers))
            for name, part in parts.items()
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def info(self, request: Request) -> Response:
        """What TEI tells of itself."""
        told = {
            "model_id": next(iter([*self.service.rerankers, *self.service.searchers])),
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
            "max_concurrent_requests": self.settings.max_requests,
            "max_client_batch_size": self.settings.max_documents,
            "max_input_length": 131_072,
            "auto_truncate": True,
            "version": version("whyrank"),
        }
        return JSONResponse(told)

    async def health(self, request: Request) -> Response:
        """It lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """It can answer: parts are made, engines in reach, and it is not about to end."""
        if self.admission.draining or self.admission.loading:
            what = "still loading a model" if self.admission.loading else "shutting down"
            raise Refused(503, f"this server is {what}", retry_after=5)
        if trouble := self.service.hub.trouble():
            raise Refused(503, "a model cannot be used: its calls fail", retry_after=5, log=str(trouble))
        return JSONResponse({"status": "ready"})

    async def count(self, request: Request) -> Response:
        """What was counted."""
        self.metrics.in_flight.set(self.admission.at_work)
        self.metrics.waiting.set(self.admission.waiting)
        text, kind = self.metrics.text()
        return Response(text, headers={"content-type": kind})

    async def page(self, request: Request) -> Response:
        """A page to try it."""
        return HTMLResponse(_static("page.html"), headers=PAGE_HEADERS)

    async def docs(self, request: Request) -> Response:
        """What there is to ask, for people."""
        return HTMLResponse(openapi.as_page(openapi.document(self.service, self.settings)), headers=PAGE_HEADERS)

    async def openapi(self, request: Request) -> Response:
        """What there is to ask, for programs."""
        return JSONResponse(openapi.document(self.service, self.settings))

    async def work(
        self, request: Request, do: Callable[[Caller], T], seconds: float | None = None, priority: int = 0
    ) -> tuple[T, float]:
        """Do something in a thread as soon as there is a place; its result, and the seconds that it waited.

        Its time is over at the deadline, and as soon as the client has gone.
        """
        began = time.monotonic()
        async with self.admission.place():
            queued = time.monotonic() - began
            allowed = min(self.settings.deadline, seconds or self.settings.deadline)
            caller = Caller(self.service.hub, max(allowed - queued, 0.05), priority)
            watch = asyncio.create_task(_gone(request, caller))
            try:
                with span(request) as traced:
                    found = await asyncio.get_running_loop().run_in_executor(self._pool, traced(do), caller)
            finally:
                watch.cancel()
            return found, queued

    async def _body(self, request: Request) -> Mapping[str, Any]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise Refused(415, "the body must be JSON: send it with 'Content-Type: application/json'")
        most, parts, size = self.settings.max_body, [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise Refused(413, f"the body has more than {most:,} bytes: send fewer documents at a time")
            parts.append(part)
        body = b"".join(parts)
        return object_of(body) if size < 2**20 else await asyncio.to_thread(object_of, body)

    def _count(self, request: Request, answer: Answer, queued: float) -> None:
        request.state.calls = getattr(request.state, "calls", 0) + answer.calls
        request.state.degraded = answer.degraded
        self.metrics.work(queued, answer.seconds, len(answer.ranked), answer.degraded)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)


AT_ONCE = 1.0
"""Seconds that a server waits for its models before it listens; then it listens, and says that it is loading."""

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""What keeps a page to itself: it loads nothing from elsewhere, and nobody frames it."""


def application(service: Service, settings: Settings | None = None, keys: Sequence[str] = ()) -> Starlette:
    """The application of a service: an ASGI app, for uvicorn or for tests.

    Args:
        service: what is served; it is closed when the app ends.
        settings: how.
        keys: of which clients must give one; none is no key wanted.
    """
    settings = settings or Settings()
    server = Server(service, settings)
    mounted, sessions = _mcp(service, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.warming = warming = asyncio.create_task(server.warm())
        await asyncio.wait({warming}, timeout=AT_ONCE)
        async with sessions():
            yield
        await asyncio.wait({warming})
        server.close()
        await asyncio.to_thread(service.close)

    def to(path: str, handler: Handler, method: str = "POST") -> Route:
        return Route(path, answering(handler), methods=[method])

    routes: list[Any] = [to(path, server.rerank) for path in RERANK]
    routes += [to(path, server.score) for path in SCORE]
    routes += [
        to("/v1/search", server.search),
        to("/v1/vector_stores/{name}/search", server.vector_store),
        to("/retrieval", server.dify),
        to("/v1/documents/{id:path}", server.document, "GET"),
        *(to(path, server.models, "GET") for path in ("/v1/models", "/models")),
        to("/info", server.info, "GET"),
        *(to(path, server.health, "GET") for path in ("/health", "/ping")),
        to("/ready", server.ready, "GET"),
        to("/metrics", server.count, "GET"),
        to("/openapi.json", server.openapi, "GET"),
        to("/docs", server.docs, "GET"),
        to("/", server.page, "GET"),
        *mounted,
    ]
    cors = [Middleware(CORSMiddleware, allow_origins=settings.cors, allow_methods=["*"], allow_headers=["*"])]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            *(cors if settings.cors else []),
            Middleware(Door, settings=settings, metrics=server.metrics, keys=keys),
        ],
        exception_handlers={404: _no_path, 405: _no_method},
    )
    app.state.server = server
    return app


def answering(handler: Handler) -> Handler:
    """The handler, whose errors are answers, too."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return refused(request, refusal(error))

    return answered


def refused(request: Request, told: Refused) -> Response:
    """An error as an answer, and in the log what only that may tell."""
    request.state.why = told.log or told.param
    retry = {} if told.retry_after is None else {"retry-after": str(told.retry_after)}
    body = error_body(told, request.state.id, getattr(request.state, "family", ""))
    return JSONResponse(body, told.status, headers=retry)


@contextlib.contextmanager
def span(request: Request) -> Any:  # noqa: ANN401 (a generator, as `contextmanager` wants it)
    """A span of OpenTelemetry that goes on with the client's `traceparent`, where its API is installed."""
    try:
        from opentelemetry import context, propagate, trace
    except ImportError:
        yield lambda do: do
        return
    parent = propagate.extract(dict(request.headers))
    tracer = trace.get_tracer("whyrank")
    with tracer.start_as_current_span(f"whyrank {request.url.path}", context=parent):
        inside = context.get_current()

        def within(do: Callable[[Caller], T]) -> Callable[[Caller], T]:
            def work(caller: Caller) -> T:
                token = context.attach(inside)
                try:
                    return do(caller)
                finally:
                    context.detach(token)

            return work

        yield within


async def _gone(request: Request, caller: Caller) -> None:
    """Wait until the client has gone, and then end its time."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    caller.leave()


def _headers(answer: Answer, queued: float) -> dict[str, str]:
    told = {
        "x-whyrank-calls": str(answer.calls),
        "server-timing": f"queue;dur={queued * 1000:.1f}, model;dur={answer.seconds * 1000:.1f}",
    }
    return told | ({"x-whyrank-degraded": answer.degraded} if answer.degraded else {})


async def _no_path(request: Request, error: Exception) -> Response:
    path = request.url.path
    hint = "the page at /docs lists what there is"
    if "/v1/v1/" in path or "/v1/v2/" in path:
        hint = "the client adds /v1 or /v2 itself: its base URL should be http://host:port, without /v1"
    return refused(request, Refused(404, f"there is no {path[:100]} here: {hint}"))


async def _no_method(request: Request, error: Exception) -> Response:
    return refused(request, Refused(405, f"{request.url.path[:100]} takes no {request.method}"))


def _static(name: str) -> str:
    return files("whyrank.serve").joinpath(name).read_text(encoding="utf-8")


def _mcp(service: Service, settings: Settings) -> tuple[list[Any], Callable[[], Any]]:
    """MCP below /mcp, and what must run as long as the app does."""
    if not settings.mcp:
        return [], contextlib.nullcontext
    from whyrank.serve.mcp import mounted

    return mounted(service, settings)
