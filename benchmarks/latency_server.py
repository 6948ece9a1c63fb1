"""A server that speaks OpenAI's chat API, and whose answers take log-normal time: what `scheduler.py` measures against.

    python benchmarks/latency_server.py [--median 0.2] [--sigma 0.6] [--slots 32] [--rate 0]

It prints its port. At most `--slots` answers are in the making; further requests queue. With `--rate`, a bucket of one
second's tokens is filled with so many a second, and a request that finds too few is refused with 429 and a Retry-After.
The time of an answer depends on the prompt alone. All passages shown are put into reversed order. GET /log gives, for
each answer, the query (the number after "query" in the prompt), the seconds drawn and the tokens, and how many requests
were refused.
"""

import argparse
import asyncio
import json
import random
import re
from collections import deque
from typing import Any


class Server:
    """Slots, the bucket of tokens, and the log."""

    def __init__(self, median: float, sigma: float, slots: int, rate: float) -> None:
        """All slots are free and the bucket is full."""
        self.median, self.sigma, self.free, self.rate = median, sigma, slots, rate
        self.tokens, self.filled = rate, 0.0
        self.waiting: deque[tuple[Connection, str, list[str], int]] = deque()
        self.log: list[dict[str, Any]] = []
        self.refused = 0

    def ask(self, connection: "Connection", body: bytes) -> None:
        """Queue a request, or refuse it."""
        prompt = "\n".join(message["content"] for message in json.loads(body)["messages"])
        labels = [f"[{at}]" for at in range(max(map(int, re.findall(r"\[(\d+)\]", prompt))), 0, -1)]
        tokens = len(prompt) // 4 + len(labels) * 3
        if (seconds := self._short(tokens)) > 0:
            self.refused += 1
            connection.answer("429 X", {"error": {"message": "slow down"}}, f"retry-after: {seconds:.3f}\r\n")
            return
        self.waiting.append((connection, prompt, labels, tokens))
        self._start()

    def _short(self, tokens: int) -> float:
        """Seconds until the bucket holds `tokens`; takes them if it does already."""
        if not self.rate:
            return 0.0
        now = asyncio.get_running_loop().time()
        self.tokens = min(self.rate, self.tokens + self.rate * (now - self.filled)) if self.filled else self.rate
        self.filled = now
        if self.tokens < tokens:
            return (tokens - self.tokens) / self.rate
        self.tokens -= tokens
        return 0.0

    def _start(self) -> None:
        while self.free and self.waiting:
            connection, prompt, labels, tokens = self.waiting.popleft()
            seconds = self.median * random.Random(prompt).lognormvariate(0.0, self.sigma)
            query = re.search(r"\bquery (\d+)\b", prompt)
            self.free -= 1
            self.log.append({"query": query and query[1], "seconds": seconds, "tokens": tokens})
            asyncio.get_running_loop().call_later(seconds, self._done, connection, labels, tokens)

    def _done(self, connection: "Connection", labels: list[str], tokens: int) -> None:
        self.free += 1
        self._start()
        message = {"role": "assistant", "content": " > ".join(labels)}
        usage = {"prompt_tokens": tokens - len(labels) * 3, "completion_tokens": len(labels) * 3}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": "any"}
        connection.answer("200 OK", {**head, "choices": [choice], "usage": usage})


class Connection(asyncio.Protocol):
    """HTTP as far as it takes: requests with a Content-Length, one after the other."""

    def __init__(self, server: Server) -> None:
        """A connection to `server`."""
        self.server, self.data = server, b""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 (asyncio's own is a base class without write)
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Ask when a request is there as a whole."""
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            found = re.search(rb"content-length: *(\d+)", head, re.I)
            length = int(found[1]) if found else 0
            if len(rest) < length:
                return
            self.data = rest[length:]
            if head.startswith(b"GET"):
                self.answer("200 OK", {"calls": self.server.log, "refused": self.server.refused})
            else:
                self.server.ask(self, rest[:length])

    def answer(self, status: str, body: object, more: str = "") -> None:
        """Send an answer, if anybody still waits for it."""
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{more}\r\n"
        if not self.transport.is_closing():
            self.transport.write(head.encode() + data)


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--median", type=float, default=0.2)
    parser.add_argument("--sigma", type=float, default=0.6)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0)
    server = Server(**vars(parser.parse_args()))
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
