"""How a server is run: bounds, times, keys."""

import os
from dataclasses import dataclass
from typing import Annotated

from whyrank.errors import BadInput
from whyrank.fields import Above, Declared, NotNegative, Positive
from whyrank.secrets import LEAST, remember

KEYS = "WHYRANK_API_KEYS"

Seconds = Annotated[float, Above(0)]


@dataclass(frozen=True)
class Settings(Declared):
    """How a server is run.

    Attributes:
        host: the address to listen at.
        port: 0 takes a free one.
        deadline: seconds that a request may take; clients may ask for less. 55 is below the 60 that many wait.
        max_requests: requests at work at a time.
        max_waiting: requests that wait for a place.
        max_wait: seconds that one waits.
        max_documents: of one request.
        max_body: bytes of one request.
        drain: seconds that running work has once the server is told to end.
        allowed_hosts: names that clients call the server by; none is every name, or, where it listens on this machine
            alone, this machine's.
        cors: origins of web pages that may ask; none by default.
        json_logs: whether the log's lines are JSON.
        mcp: whether MCP is served, too, at /mcp.
        url: the address of a document, with {id} in it, for answers that cite.
    """

    host: str = "127.0.0.1"
    port: NotNegative = 8000
    deadline: Seconds = 55.0
    max_requests: Positive = 64
    max_waiting: NotNegative = 256
    max_wait: Seconds = 10.0
    max_documents: Positive = 1000
    max_body: Positive = 32 * 2**20
    drain: Seconds = 30.0
    allowed_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    json_logs: bool = False
    mcp: bool = False
    url: str = "whyrank://documents/{id}"

    def __post_init__(self) -> None:
        """Refuse an address that tells no document from another."""
        if "{id}" not in self.url:
            raise BadInput(f"url must have {{id}} where the document's id goes, not {self.url!r}")

    @property
    def local(self) -> bool:
        """Whether the server listens on this machine alone."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which clients may call the server; empty is any."""
        own = {"127.0.0.1", "localhost", "[::1]", "testserver"} if self.local else set()
        return frozenset(self.allowed_hosts) | (own if self.local or self.allowed_hosts else frozenset())


def keys() -> tuple[str, ...]:
    """The keys that clients must give one of, from the environment; none is no key wanted.

    Raises:
        BadInput: a key is so short that it can be guessed.
    """
    given = tuple(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())
    if short := [key for key in given if len(key) < LEAST]:
        raise BadInput(f"{KEYS}: a key has {len(short[0])} characters: give at least {LEAST}")
    for key in given:
        remember(key)
    return given
