"""`whyrank mcp`: search and reranking as tools for agents."""

from typing import Annotated

import typer

from whyrank.cli.options import MaxCost, MaxTokens, PriceTable
from whyrank.cli.serve import Collection, Kept, Reranks, Searches, Url, served


def mcp(
    rerank: Reranks = None,
    search: Searches = None,
    data: Collection = None,
    http: Annotated[bool, typer.Option("--http", help="Serve at http://HOST:PORT/mcp, and not on stdin.")] = False,
    host: Annotated[str, typer.Option("--host", help="The address to listen at, with --http.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="A name that clients may call the server by.")
    ] = None,
    deadline: Annotated[float, typer.Option("--deadline", help="Seconds that a call may take, 50 at most.")] = 50.0,
    url: Url = "whyrank://documents/{id}",
    trace: Kept = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
) -> None:
    """Serve the tools search, fetch and rerank to agents, over the Model Context Protocol."""
    from whyrank.serve.mcp import own_stdout, speak
    from whyrank.serve.run import serve as run
    from whyrank.serve.service import Service
    from whyrank.serve.settings import Settings, keys

    settings = Settings(
        host=host, port=port, deadline=deadline, mcp=True, url=url, allowed_hosts=tuple(allowed_host or ())
    )

    def made() -> Service:
        given = (rerank or [], search or [], data)
        return served(*given, trace=trace, prices=prices, max_cost=max_cost, max_tokens=max_tokens)

    if http:
        run(made(), settings, keys())
        return
    with own_stdout() as out:
        service = made()
        service.warm()
        speak(service, settings, out)
