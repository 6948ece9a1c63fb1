"""A small server that speaks OpenAI's chat API and misbehaves on purpose, as a script or a seed says.

What happens to a request depends on the seed, the prompt and how often that prompt was asked before, and so not on the
order in which requests arrive. Everything that arrived and what was done with it is in `log`.
"""

import asyncio
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

FAULTS = ("bad_json", "no_choices", "rate_limit", "error_500", "hang", "cut", "cut_in_body", "wrong_finish")
"""What may pass when asked again."""


def reversed_order(messages: Sequence[Mapping[str, str]]) -> str:
    """An answer that puts the passages shown, [1] [2] …, into reversed order."""
    shown = sorted({int(number) for number in re.findall(r"\[(\d+)\]", messages[-1]["content"])}, reverse=True)
    return f"<think>the last is best</think><answer>{' > '.join(f'[{number}]' for number in shown)}</answer>"


@dataclass
class FaultServer:
    """Serves on a free port of this machine, in a thread, as long as the `with` block lasts.

    Attributes:
        answer: what a healthy request is answered, from its messages.
        script: what to do with the first, second, … request of a prompt, by a text that the prompt holds; "ok" after.
        faults: share of requests that one of `kinds`, by seed, happens to.
        kinds: what may happen to them.
        window: prompts of more characters than this are refused as too long.
        seconds: time that an answer takes: median of a log-normal law.
        seed: of faults and times.
        refuses: what a request is refused with, a status and a message, by its body; None where it is not.
        arrived: called with each request before it is answered, in the server's thread.
    """

    answer: Callable[[Sequence[Mapping[str, str]]], str] = reversed_order
    script: Mapping[str, Sequence[str]] = field(default_factory=dict)
    faults: float = 0.0
    kinds: Sequence[str] = FAULTS
    window: int | None = None
    seconds: float = 0.0
    seed: int = 0
    refuses: Callable[[Mapping[str, Any]], tuple[int, str] | None] = lambda asked: None
    arrived: Callable[[], object] = lambda: None

    log: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    url: str = ""

    def __enter__(self) -> "FaultServer":
        self._asked = Counter[str]()
        self._loop = asyncio.new_event_loop()
        up = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(up,), daemon=True)
        self._thread.start()
        assert up.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def done(self) -> Counter[str]:
        """How often each thing happened."""
        return Counter(action for _, action in self.log)

    def _serve(self, up: threading.Event) -> None:
        async def main() -> None:
            self._stop = asyncio.Event()
            server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            up.set()
            await self._stop.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self._loop.run_until_complete(main())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                try:
                    if not await self._respond(line.split()[1].decode(), headers, body, writer):
                        return
                finally:
                    self.under_way -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _respond(self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        asked = json.loads(body)
        messages = asked["messages"]
        prompt = json.dumps(messages, sort_keys=True)
        draw = random.Random(f"{self.seed} {prompt} {self._asked[prompt]}")
        action = self._action(path, prompt, draw)
        self._asked[prompt] += 1
        self.log.append((prompt, action))
        self.bodies.append(asked)
        self.headers.append(headers)
        self.arrived()
        if self.seconds:
            await asyncio.sleep(self.seconds * draw.lognormvariate(0.0, 0.6))
        if action == "hang":
            await self._stop.wait()
            return False
        if action == "cut":
            return False
        status, more, text = _response(action, self.answer(messages), prompt)
        if (refusal := self.refuses(asked)) is not None:
            self.log[-1] = (prompt, "refused")
            status, more, text = refusal[0], "", json.dumps({"error": {"message": refusal[1]}})
        data = text.encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{more}\r\n"
        if action == "cut_in_body":
            writer.write(head.encode() + data[: len(data) // 2])
            await writer.drain()
            return False
        writer.write(head.encode() + data)
        await writer.drain()
        return True

    def _action(self, path: str, prompt: str, draw: random.Random) -> str:
        if path != "/v1/chat/completions":
            return "not_found"
        if self.window is not None and len(prompt) > self.window:
            return "too_long"
        for text, actions in self.script.items():
            if text in prompt:
                return actions[self._asked[prompt]] if self._asked[prompt] < len(actions) else "ok"
        return draw.choice(self.kinds) if draw.random() < self.faults else "ok"


def _response(action: str, answer: str, prompt: str) -> tuple[int, str, str]:
    """Status, further header lines and body."""
    errors = {
        "rate_limit": (429, "too many requests", "rate_limit_exceeded"),
        "quota": (429, "you have no money left", "insufficient_quota"),
        "error_500": (500, "the order is [3] > [2] > [1]", None),
        "error_503": (503, "overloaded", None),
        "auth": (401, "this key is wrong", "invalid_api_key"),
        "forbidden": (403, "not for you", None),
        "not_found": (404, "no such model", "model_not_found"),
        "bad_request": (400, "temperature must be positive", None),
        "unprocessable": (422, "messages: field required", None),
        "too_long": (400, "This model's maximum context length is 99 tokens", "context_length_exceeded"),
        "too_long_plain": (400, "the request exceeds the available context size", None),
        "filtered": (400, "the prompt was filtered", "content_filter"),
    }
    if action in errors:
        status, message, code = errors[action]
        more = "retry-after: 0.02\r\n" if status == 429 else ""
        return status, more, json.dumps({"error": {"message": message, "code": code, "type": "error"}})
    if action == "bad_json":
        return 200, "", '{"choices": [{"message": {"content": "[2] > [1]'
    if action == "html":
        return 200, "", "<html>[2] > [1]</html>"
    body: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(answer) // 4},
    }
    if action == "no_choices":
        body["choices"] = []
    if action == "wrong_finish":
        body["choices"][0]["finish_reason"] = "abort"
    if action == "refusal":
        body["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I would rather not"}
    return 200, "", json.dumps(body)
