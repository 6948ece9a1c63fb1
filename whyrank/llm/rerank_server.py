"""Servers that score documents for a query: Cohere, Jina, Voyage, Mixedbread, NIM, vLLM, SGLang, TEI, Infinity.

Such a server stands in the place of a language model: its prompt is the query and one turn for each document, and what
it answers are scores, as JSON. So the scheduler bounds, retries and records its calls as it does those of all others.
"""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from whyrank.errors import BadInput, need
from whyrank.fields import Above, Positive
from whyrank.llm.address import check_address, variable
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.http import BadResponse, bounded
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.response import refused
from whyrank.registry import HOW
from whyrank.secrets import remember
from whyrank.types import Usage

KEY = "RERANK_API_KEY"

Dialect = Literal[
    "cohere", "jina", "voyage", "mixedbread", "nim", "pinecone", "vllm", "sglang", "llamacpp", "infinity", "tei"
]


@dataclass(frozen=True)
class Wire:
    """How a server is asked, and what it calls things.

    Attributes:
        path: behind the address, unless that ends with one.
        texts: the field of the documents.
        wrapped: whether query and documents are objects with a text.
        top: the field that says how many are wanted, which is all; empty where there is none.
        most: documents of one request.
        logits: whether scores are logits, and not from 0 to 1.
        given: what else is sent.
    """

    path: str = "/v1/rerank"
    texts: str = "documents"
    wrapped: bool = False
    top: str = "top_n"
    most: int = 1000
    logits: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


WIRES: Mapping[str, Wire] = {
    "cohere": Wire("/v2/rerank"),
    "jina": Wire(given={"return_documents": False}),
    "voyage": Wire(top="top_k", given={"return_documents": False}),
    "mixedbread": Wire("/v1/reranking", "input", top="top_k", given={"return_input": False}),
    "nim": Wire("/v1/ranking", "passages", wrapped=True, top="", most=512, logits=True, given={"truncate": "END"}),
    "pinecone": Wire("/rerank", given={"return_documents": False}),
    "vllm": Wire(),
    "sglang": Wire(top="", given={"return_documents": False}, logits=True),
    "llamacpp": Wire(logits=True),
    "infinity": Wire("/rerank", given={"return_documents": False}),
    "tei": Wire("/rerank", "texts", top="", most=32, given={"truncate": True}),
}

ITEMS, SCORES = ("results", "data", "rankings"), ("relevance_score", "score", "logit")
"""Where the scored documents stand in an answer that is no list, and what a score is called."""


@dataclass(frozen=True)
class RerankServer(LLM):
    """A server that scores documents, see `rerank_api`; answers are JSON, `[score or null, …]` in the order shown."""

    url: str
    model: str = ""
    dialect: Dialect = "cohere"
    concurrency: Positive = field(default=8, metadata=HOW)
    timeout: Annotated[float, Above(0)] = field(default=60.0, metadata=HOW)
    _clients: dict[asyncio.AbstractEventLoop, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the address."""
        check_address(self.url, "url", KEY)

    @property
    def identity(self) -> str:
        """The model, and in which words it is asked; where it has no name, its address."""
        return f"{self.model or self.url} {self.dialect}"

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.aclose()

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: Prompt) -> Completion:
        httpx = need("httpx", extra="remote", asked_by="rerank_api(...)")
        query, *documents = (message.content for message in prompt.messages)
        try:
            client = self._client(httpx)
            async with asyncio.timeout(self.timeout):
                response = await client.post(address(self.url, self.dialect), json=self._body(query, documents))
            if response.status_code != 200:
                return refused(response.status_code, sentence(response.content), None, response.headers)
            return read(response.content, len(documents))
        except BadInput as error:
            return Failed("auth", str(error))
        except (TimeoutError, httpx.TimeoutException):
            return Failed("timeout", f"no answer within {self.timeout:g} s")
        except BadResponse as error:
            return Failed("bad_answer", str(error))
        except httpx.HTTPError as error:
            return Failed("connection", f"{self.url}: {error or type(error).__name__}")

    def _client(self, httpx: Any) -> Any:  # noqa: ANN401 (an optional package)
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            headers = {"accept-encoding": "identity"}
            if key := variable(KEY):
                remember(key)
                headers |= {"authorization": f"Bearer {key}"}
                headers |= {"api-key": key} if self.dialect == "pinecone" else {}
            if self.dialect == "pinecone":
                headers["x-pinecone-api-version"] = "2025-10"
            self._clients[loop] = httpx.AsyncClient(
                timeout=self.timeout, headers=headers, event_hooks={"response": [bounded(httpx)]}
            )
        return self._clients[loop]

    def _body(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        wire = WIRES[self.dialect]
        texts: list[Any] = [{"text": text} for text in documents] if wire.wrapped else list(documents)
        body: dict[str, Any] = {"query": {"text": query} if wire.wrapped else query, wire.texts: texts, **wire.given}
        body |= {wire.top: len(documents)} if wire.top else {}
        return body | ({"model": self.model} if self.model else {})


def prompt_of(query: str, documents: Sequence[str]) -> Prompt:
    """The query, and a turn for each document, which gives way where the server calls it too long."""
    turns = (Message("document", (Piece(text, "document"),)) for text in documents)
    return Prompt((Message("user", (Piece(query),)), *turns))


def address(url: str, dialect: str) -> str:
    """Where requests go: `url` with the dialect's path, or as it is where it names a path of that kind already."""
    path, wanted = urlsplit(url).path.rstrip("/"), WIRES[dialect].path
    if path.rpartition("/")[2] in {"rerank", "reranking", "ranking", "rerankings"}:
        return url
    base = url.rstrip("/")
    version, _, rest = wanted.lstrip("/").partition("/")
    return f"{base}/{rest}" if rest and path.endswith(f"/{version}") else f"{base}{wanted}"


def read(body: bytes, n: int) -> Completion:
    """The scores of `n` documents from a server's answer, as JSON; null for those that it does not speak of."""
    try:
        told = json.loads(body)
        items = told if isinstance(told, list) else next(told[name] for name in ITEMS if name in told)
        scores: list[float | None] = [None] * n
        for item in items:
            at, score = item["index"], float(next(item[name] for name in SCORES if name in item))
            if type(at) is not int or not 0 <= at < n:
                raise ValueError(f"it scores document {at!r:.20}, and there are {n}")
            scores[at] = score if math.isfinite(score) else None
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError, AttributeError) as error:
        why = "there are no scores in it" if isinstance(error, StopIteration) else f"{type(error).__name__}: {error}"
        return Failed("bad_answer", f"the answer cannot be read as scores: {why}")
    return Ok(json.dumps(scores), usage=_usage(told))


def sentence(body: bytes) -> str:
    """What an error's body says, wherever it says it."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")[:1000]
    inner = told.get("error") if isinstance(told, dict) else None
    for holder in (inner, told):
        for name in ("message", "detail", "error"):
            if isinstance(holder, dict) and isinstance(holder.get(name), str):
                return str(holder[name])
    return json.dumps(told)[:1000]


def _usage(told: object) -> Usage:
    """The tokens, where the answer tells them in one of the two ways that there are."""
    if not isinstance(told, dict):
        return Usage()
    usage, meta = told.get("usage"), told.get("meta")
    tokens = meta.get("tokens") if isinstance(meta, dict) else None
    for holder, names in ((usage, ("prompt_tokens", "total_tokens")), (tokens, ("input_tokens",))):
        if isinstance(holder, dict):
            for name in names:
                if type(holder.get(name)) is int:
                    return Usage(input=holder[name])
    return Usage()
