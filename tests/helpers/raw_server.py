"""A server that sends the bytes it is told to, whatever they are, and closes the connection."""

import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

Bytes = bytes | Callable[[], Iterable[bytes]]


class RawServer:
    """Serves `replies` on a free port: the one whose name stands behind "behaviour " in a request's body.

    Attributes:
        url: where the chat API would be.
        requests: each request as it came, headers and body.
    """

    def __init__(self, replies: Mapping[str, Bytes] | Callable[[bytes], Bytes]) -> None:
        self.requests: list[bytes] = []
        outer, self.over = self, threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    request = _received(self.request)
                    outer.requests.append(request)
                    for part in outer._parts(request):
                        self.request.sendall(part)
                except OSError:
                    return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            request_queue_size = 256
            block_on_close = False

        self._replies = replies
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _parts(self, request: bytes) -> Iterable[bytes]:
        if callable(self._replies):
            reply = self._replies(request)
        else:
            named = re.search(rb"behaviour ([\w.-]+)", request)
            assert named is not None
            reply = self._replies[named[1].decode()]
        return reply() if callable(reply) else (reply,)


def drip(parts: Iterable[bytes], seconds: float) -> Callable[[], Iterable[bytes]]:
    """The parts, so many seconds apart."""

    def sent() -> Iterable[bytes]:
        for part in parts:
            yield part
            time.sleep(seconds)

    return sent


def _received(connection: object) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    length = int(found[1]) if found else 0
    while len(body) < length:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: object) -> bytes:
    part: bytes = connection.recv(65536)  # type: ignore[attr-defined]
    if not part:
        raise ConnectionResetError
    return part
