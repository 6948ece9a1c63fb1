"""`whyrank serve`: rerankers and retrievers over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whyrank.cli.options import MaxCost, MaxTokens, PriceTable
from whyrank.cli.output import prices_of

if TYPE_CHECKING:
    from whyrank.serve.service import Service

Reranks = Annotated[
    list[str] | None, typer.Option("--rerank", help="A reranker as NAME=SPEC; several may be given, the first answers.")
]
Searches = Annotated[
    list[str] | None, typer.Option("--search", help="A retriever as NAME=SPEC, or a spec alone; it searches --data.")
]
Collection = Annotated[str | None, typer.Option("--data", help="What is searched: a data set, a folder, or a file.")]
Kept = Annotated[
    Path | None, typer.Option("--trace", help="A folder that keeps all model calls, texts too; none is written else.")
]
Url = Annotated[str, typer.Option("--url", help="The address of a document in answers that cite, with {id} in it.")]


def serve(
    spec: Annotated[
        str | None,
        typer.Argument(envvar="WHYRANK_SERVE_SPEC", help="A reranker, such as listwise(openai('Qwen/Qwen3-8B'))."),
    ] = None,
    rerank: Reranks = None,
    search: Searches = None,
    data: Collection = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    deadline: Annotated[float, typer.Option("--deadline", help="Seconds that a request may take.")] = 55.0,
    max_requests: Annotated[int, typer.Option("--max-requests", min=1, help="Requests at work at a time.")] = 64,
    max_waiting: Annotated[int, typer.Option("--max-waiting", min=0, help="Requests that wait for a place.")] = 256,
    max_wait: Annotated[float, typer.Option("--max-wait", help="Seconds that one waits; then it is refused.")] = 10.0,
    max_documents: Annotated[int, typer.Option("--max-documents", min=1, help="Documents of a request.")] = 1000,
    max_body: Annotated[int, typer.Option("--max-body", min=1, help="Bytes of a request.")] = 32 * 2**20,
    strict_model: Annotated[
        bool | None,
        typer.Option("--strict-model/--any-model", help="Refuse unknown models; the default with several rerankers."),
    ] = None,
    fail_open: Annotated[
        bool, typer.Option("--fail-open", help="Where a reranker fails, answer the order handed in, and say so.")
    ] = False,
    scores: Annotated[
        str, typer.Option("--scores", help="auto: a model's own scores where they compare; rank: made of ranks.")
    ] = "auto",
    trace: Kept = None,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Model calls that stay in memory.")] = 10_000,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="A name that clients may call the server by.")
    ] = None,
    cors: Annotated[list[str] | None, typer.Option("--cors", help="An origin whose web pages may ask.")] = None,
    drain: Annotated[float, typer.Option("--drain", help="Seconds that running work has at the end.")] = 30.0,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write the log as JSON.")] = False,
    mcp: Annotated[bool, typer.Option("--mcp", help="Serve MCP at /mcp, too.")] = False,
    url: Url = "whyrank://documents/{id}",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", is_eager=True, callback=lambda ctx, path: _read(ctx, path), help="A TOML file of all of these."
        ),
    ] = None,
) -> None:
    """Serve rerankers, and search, to clients of Cohere, Jina, Voyage, TEI, vLLM, Pinecone, Mixedbread and NIM.

    Keys that clients must give stand in WHYRANK_API_KEYS, between commas. Every option can be given as
    WHYRANK_SERVE_…, such as WHYRANK_SERVE_PORT.
    """
    from whyrank.serve.run import serve as run
    from whyrank.serve.settings import Settings, keys

    settings = Settings(
        host=host,
        port=port,
        deadline=deadline,
        max_requests=max_requests,
        max_waiting=max_waiting,
        max_wait=max_wait,
        max_documents=max_documents,
        max_body=max_body,
        drain=drain,
        allowed_hosts=tuple(allowed_host or ()),
        cors=tuple(cors or ()),
        json_logs=json_logs,
        mcp=mcp,
        url=url,
    )
    service = served(
        [*([spec] if spec else []), *(rerank or [])],
        search or [],
        data,
        scores=scores,
        strict=strict_model,
        fail_open=fail_open,
        trace=trace,
        keep=keep,
        prices=prices,
        max_cost=max_cost,
        max_tokens=max_tokens,
    )
    run(service, settings, keys())


def served(
    rerankers: list[str],
    searchers: list[str],
    data: str | None,
    *,
    scores: str = "auto",
    strict: bool | None = None,
    fail_open: bool = False,
    trace: Path | None = None,
    keep: int = 10_000,
    prices: Path | None = None,
    max_cost: float | None = None,
    max_tokens: int | None = None,
) -> "Service":
    """The parts that a command line names, made and ready.

    Raises:
        BadInput: a spec is none, a name is given twice, or there is nothing to search or to search with.
    """
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.llm.trace import Trace
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker
    from whyrank.retrieval.base import Retriever
    from whyrank.serve.service import Service

    if scores not in {"auto", "own", "rank"}:
        raise BadInput(f"--scores must be auto, own or rank, not {scores!r}")
    if data is not None and not searchers:
        raise BadInput("--data has no effect without --search, such as --search docs=bm25()")
    ranking = {name: make(spec, Reranker) for name, spec in _named(rerankers).items()}
    searching = {name: make(spec, Retriever) for name, spec in _named(searchers).items()}
    if searching and data is None:
        raise BadInput("--search needs documents: give --data, such as a folder")
    found = None if data is None else load(data)
    made: Literal["auto", "own", "rank"] = "own" if scores == "own" else "rank" if scores == "rank" else "auto"
    return Service(
        ranking,
        {name: retriever.ready(found.corpus) for name, retriever in searching.items()} if found else {},
        None if found is None else found.corpus,
        Trace(
            None if trace is None else _folder(trace) / "trace.jsonl",
            prices_of(prices),
            max_cost,
            max_tokens,
            keep=keep,
        ),
        strict,
        fail_open,
        made,
        found.name if found else "documents",
    )


def _named(given: list[str]) -> dict[str, str]:
    """Specs by name: `fast=bm25()`, or a spec alone, which goes by its part's name."""
    from whyrank.errors import BadInput

    named: dict[str, str] = {}
    for one in given:
        name, equals, spec = one.partition("=")
        if not equals or not name.strip().replace("-", "_").replace(".", "_").isidentifier():
            name, spec = one.partition("(")[0].strip(), one
        if name.strip() in named:
            raise BadInput(f"two parts are called {name.strip()!r}: give each a name of its own, NAME=SPEC")
        named[name.strip()] = spec.strip()
    return named


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _read(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take a TOML file's values as defaults: the command line and the environment go before it."""
    from whyrank.errors import BadInput, NotFound

    if path is None:
        return None
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    import tomllib

    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as TOML: {error}") from None
    takes = {parameter.name for parameter in ctx.command.params if parameter.name != "config"}
    named = {name.replace("-", "_"): value for name, value in told.items()}
    if strange := sorted(named.keys() - takes):
        raise BadInput(f"{path}: there is no setting {strange[0]!r}; there are {', '.join(sorted(map(str, takes)))}")
    for name in ("rerank", "search"):
        if isinstance(named.get(name), dict):
            named[name] = [f"{key}={spec}" for key, spec in named[name].items()]
    ctx.default_map = {**(ctx.default_map or {}), **named}
    return path
