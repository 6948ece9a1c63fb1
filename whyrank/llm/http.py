"""How much of a response is read, and from whom: no more than `MOST` bytes, and from no server but the one asked."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

MOST = 32 * 2**20
"""Bytes that a response may have, as it was sent and as it is read; answers with log probabilities have some."""


class BadResponse(Exception):
    """A response that is not read, and why; no error of whyrank's, since it ends one call and no run."""


class Elsewhere(BadResponse):
    """A server sends to another server."""


def bounded(http: ModuleType) -> Callable[[Any], Awaitable[None]]:
    """A hook for each response that a client of `http` (httpx, or the same under another name) gets.

    A body that is longer than `MOST` raises `BadResponse` while it is read, also where it grows in decompression, and a
    redirection to another origin `Elsewhere`. The text is taken for JSON in UTF-8, whatever its header says.
    """

    class Bounded(http.AsyncByteStream):  # type: ignore[name-defined, misc]
        """A response's body, decompressed."""

        def __init__(self, stream: Any, encoding: str) -> None:  # noqa: ANN401 (an optional package)
            self._stream, self._encoding = stream, encoding

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in _decompressed(self._stream, self._encoding):
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def hook(response: Any) -> None:  # noqa: ANN401
        if response.has_redirect_location:
            _stay(response, http)
        encoding = response.headers.pop("content-encoding", "").strip().lower()
        response.headers["content-type"] = "application/json"
        response.stream = Bounded(response.stream, encoding)

    return hook


def _stay(response: Any, http: ModuleType) -> None:  # noqa: ANN401
    """Refuse to be sent to another origin: it would read every prompt, and its answers would be taken for the model's.

    Raises:
        Elsewhere: the address is another server's, or none.
    """
    asked = response.request.url
    try:
        given = asked.join(response.headers["location"])
    except (http.InvalidURL, ValueError):
        raise Elsewhere("an address that is none") from None
    if (given.scheme, given.host, given.port) != (asked.scheme, asked.host, asked.port):
        raise Elsewhere(f"{given.scheme}://{given.netloc.decode('ascii', 'replace')}")


async def _decompressed(stream: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The parts of a body, of `MOST` bytes in all.

    Raises:
        BadResponse: it is longer, damaged, or compressed in a way that was not asked for.
    """
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise BadResponse(f"the response is encoded as {encoding[:40]!r}, which was not asked for")
    unpack = None if encoding in {"", "identity"} else zlib.decompressobj(zlib.MAX_WBITS | 32)
    sent = read = 0
    async for part in stream:
        sent += len(part)
        if unpack is not None:
            try:
                part = unpack.decompress(part, MOST + 1 - read)
            except zlib.error as error:
                raise BadResponse(f"the response is damaged: {error}") from None
        read += len(part)
        if max(sent, read) > MOST:
            raise BadResponse(f"the response has more than {MOST // 2**20} MiB")
        yield part
