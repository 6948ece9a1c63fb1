"""What stands before every route: paths, hosts, keys, the id of the request and its line in the log. Pure ASGI."""

import hmac
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

from whyrank.secrets import masked
from whyrank.serve.metrics import Metrics
from whyrank.serve.refusal import Refused, error_body
from whyrank.serve.service import new_id
from whyrank.serve.settings import Settings
from whyrank.terminal import line

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = {"/", "/health", "/ping", "/ready", "/metrics", "/docs", "/openapi.json"}
"""Paths that want no key."""

_ID = re.compile(r"[\w.:-]{1,80}")


class Door:
    """Lets requests in to `app`, or says why not; each ends in one line on stderr, without texts and keys."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics, keys: Sequence[str]) -> None:
        """Hold what requests are checked against."""
        self._app, self._settings, self._metrics = app, settings, metrics
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.monotonic(), _headers(scope)
        scope["path"] = re.sub(r"/{2,}", "/", scope["path"]).rstrip("/") or "/"
        if isinstance(scope.get("raw_path"), bytes):
            scope["raw_path"] = scope["path"].encode("utf-8", "replace")
        given = headers.get("x-request-id", "")
        told = scope.setdefault("state", {})
        told["id"] = id = given if _ID.fullmatch(given) else new_id()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id.encode())]
            await send(message)

        try:
            if (refused := self._refused(scope["path"], headers)) is not None:
                await refuse(answer, refused, id, "dify" if scope["path"] == "/retrieval" else "")
            else:
                await self._app(scope, receive, answer)
        finally:
            self._log(scope, status or 500, time.monotonic() - began)

    def _refused(self, path: str, headers: dict[str, str]) -> Refused | None:
        hosts = self._settings.hosts
        name = re.sub(r":\d+$", "", headers.get("host", ""))
        if hosts and name not in hosts:
            return Refused(421, f"this server is not called {name[:80]!r}: allow that name by --allowed-host")
        if not self._keys or path in OPEN:
            return None
        bearer = headers.get("authorization", "")
        given = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
        given = given or headers.get("api-key", "") or headers.get("x-api-key", "")
        if not given:
            return Refused(401, "a key is wanted: send it as 'Authorization: Bearer …', Api-Key or X-Api-Key")
        if not any([hmac.compare_digest(given.encode(), key) for key in self._keys]):  # all, in constant time
            return Refused(401, "this key is none of this server's")
        return None

    def _log(self, scope: Message, status: int, seconds: float) -> None:
        told = scope["state"]
        route = getattr(scope.get("route"), "path", "") or (scope["path"] if scope["path"] in OPEN else "other")
        self._metrics.request(route, told.get("family", ""), told.get("model", ""), status)
        if route in {"/health", "/ping", "/ready", "/metrics"} and status < 400:
            return
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": told["id"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "seconds": round(seconds, 3),
            **{
                name: told[name]
                for name in ("family", "model", "documents", "calls", "degraded", "why")
                if told.get(name) not in (None, "")
            },
        }
        sys.stderr.write(f"{self._line(record)}\n")

    def _line(self, record: dict[str, Any]) -> str:
        if self._settings.json_logs:
            return line(masked(json.dumps(record, ensure_ascii=False)))
        time, id, method, route, status, *rest = record.values()
        names = list(record)[5:]
        return line(masked(" ".join([time, id, method, route, str(status), *map("{}={}".format, names, rest)])))


async def refuse(send: Send, refused: Refused, id: str, family: str = "") -> None:
    """Answer with an error."""
    body = json.dumps(error_body(refused, id, family)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(scope: Message) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
