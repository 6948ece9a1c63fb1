"""The process that serves: uvicorn around the application, until it is told to end."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any

from whyrank.errors import need
from whyrank.serve.service import Service
from whyrank.serve.settings import Settings
from whyrank.terminal import line


def serve(service: Service, settings: Settings, keys: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or Ctrl-C; then nothing new is taken, and what runs has `settings.drain` seconds."""
    uvicorn = need("uvicorn", extra="serve", asked_by="whyrank serve")
    need("starlette", extra="serve", asked_by="whyrank serve")
    from whyrank.serve.http import application

    app = application(service, settings, keys)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(settings.drain) or 1,
        server_header=False,
        date_header=True,
    )
    server = uvicorn.Server(config)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn hands on what it caught once it has ended
    try:
        asyncio.run(_serve(server, app, settings))
    finally:
        signal.signal(signal.SIGTERM, before)


async def _serve(server: Any, app: Any, settings: Settings) -> None:  # noqa: ANN401 (an optional package)
    telling = asyncio.create_task(_tell(server, settings))
    draining = asyncio.create_task(_drain(server, app))
    try:
        await server.serve()
    finally:
        telling.cancel()
        draining.cancel()
    if app.state.warming.done():
        app.state.warming.result()  # a model that could not be loaded is why it ended


async def _tell(server: Any, settings: Settings) -> None:  # noqa: ANN401
    """Say where it listens, and which address each client wants."""
    while not server.started:
        await asyncio.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    host = line(f"[{settings.host}]" if ":" in settings.host else settings.host)
    base = f"http://{host}:{port}"
    mcp = f"\n  MCP                                    {base}/mcp" if settings.mcp else ""
    sys.stderr.write(
        f"serving at {base}\n"
        f"  Cohere, TEI, Mixedbread, litellm       {base}\n"
        f"  Voyage, Jina, OpenAI, NVIDIA           {base}/v1\n"
        f"  clients that want the whole address    {base}/v1/rerank\n"
        f"  a page to try it                       {base}/{mcp}\n"
    )


async def _drain(server: Any, app: Any) -> None:  # noqa: ANN401
    """Once it is told to end, what waits on open connections is refused; a model that cannot be loaded ends it, too."""
    while not server.should_exit:
        await asyncio.sleep(0.05)
        warming = getattr(app.state, "warming", None)
        if warming is not None and warming.done() and warming.exception() is not None:
            server.should_exit = True
    app.state.server.admission.draining = True
