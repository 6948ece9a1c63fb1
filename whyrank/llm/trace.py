"""The trace: one line of JSON for each finished model call, appended as it happens; cache, resume and ledger in one.

A run that was killed at any moment is taken up from its trace: a last line that was torn is cut off, every answer is
replayed, and only what failed or never finished is asked again.
"""

import json
import os
import sys
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.llm.base import Failed, Ok, Prompt, Usage
from whyrank.llm.ledger import Call, Ledger, Prices


class Trace:
    """The record of a run's model calls, in memory or in a file; one process at a time may write a file.

    Examples:
        >>> with Trace() as trace:
        ...     trace.ledger.total.calls
        0
    """

    def __init__(
        self,
        path: str | Path | None = None,
        prices: Prices | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Open the trace at `path`, or begin it; without a path it lives in memory only.

        Args:
            path: a JSONL file.
            prices: the user's price table; the ledger then counts cost.
            max_cost: no new call starts once all calls in the trace have cost this much.
            max_tokens: no new call starts once all calls in the trace have taken this many tokens, in and out.

        Raises:
            BadInput: a line of the file is damaged, another process writes to it, or `max_cost` lacks prices.
        """
        if max_cost is not None and prices is None:
            raise BadInput("max_cost needs a price table, per model and million tokens: give prices (--prices FILE)")
        self.path = Path(path) if path is not None else None
        self.ledger = Ledger(prices)
        self.max_cost, self.max_tokens = max_cost, max_tokens
        self._calls: dict[str, Call] = {}
        self._file: int | None = None
        if self.path is not None:
            self._open(self.path)

    def get(self, key: str) -> Ok | None:
        """The answer to the call of that key, if there is one."""
        call = self._calls.get(key)
        return call.completion if call is not None and isinstance(call.completion, Ok) else None

    def call(self, key: str) -> Call | None:
        """The call of that key as it last ended, answered or failed, if there was one."""
        return self._calls.get(key)

    def add(self, call: Call, prompt: Prompt) -> None:
        """Record the outcome of a call that was asked as `prompt`.

        Raises:
            BadInput: the trace was closed.
        """
        if self.path is not None:
            if self._file is None:
                raise BadInput(f"{self.path}: this trace was closed; open it again to record calls")
            line = json.dumps(_to_record(call, prompt)) + "\n"
            _write(self._file, line.encode())
        self._keep(call)

    def spent(self) -> str | None:
        """Why no new call may start, or None."""
        total = self.ledger.total
        if self.max_cost is not None and total.cost >= self.max_cost:
            return f"the calls have cost {total.cost:.4f} of {self.max_cost} (max_cost)"
        if self.max_tokens is not None and total.tokens >= self.max_tokens:
            return f"the calls have taken {total.tokens:,} of {self.max_tokens:,} tokens (max_tokens)"
        return None

    def close(self) -> None:
        """Let others write to the file. What was recorded is there already: each line is written at once."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _open_traces.discard(self)

    def __enter__(self) -> "Trace":
        """The trace itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def __del__(self) -> None:
        """Close the file."""
        if getattr(self, "_file", None) is not None:
            self.close()

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        _open_traces.add(self)
        try:
            _lock(self._file, path)
            end = 0
            for line_end, record in _read(path):
                self._keep(_to_call(record))
                end = line_end
            _mend(self._file, end)
        except BaseException:
            self.close()
            raise

    def _keep(self, call: Call) -> None:
        self.ledger.add(call)
        if isinstance(call.completion, Ok) or self.get(call.key) is None:
            self._calls[call.key] = call


def records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The calls in a trace file, as written: key, query, step, status, text, reasoning, usage, messages and so on.

    Reading takes no lock; a last line that is still being written is left out.

    Raises:
        BadInput: a line is damaged: file and line.
    """
    return (record for _, record in _read(Path(path)))


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record with the place in the file where its line ends; a torn last line is left out."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                _to_call(record)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if not line.endswith(b"\n"):
                    return
                raise BadInput(
                    f"{path}:{number}: this line of the trace is damaged ({type(error).__name__}: {error}); "
                    "delete the line to ask its call again"
                ) from None
            end += len(line)
            yield end, record


def _mend(file: int, end: int) -> None:
    """Cut off what follows the last whole record, and close its line if only the line's end is missing."""
    os.ftruncate(file, end)
    if end and os.pread(file, 1, end - 1) != b"\n":
        _write(file, b"\n")


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(f"{path}: another run writes to this trace; wait for it, or give another folder") from None


_open_traces: "weakref.WeakSet[Trace]" = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: a lock lives as long as any process holds the file, and the child may outlive a killed run."""
    for trace in list(_open_traces):
        trace.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _to_record(call: Call, prompt: Prompt) -> dict[str, Any]:
    head = {"key": call.key, "model": call.model, "query": call.query, "step": call.step}
    tail = {
        "retries": call.retries,
        "seconds": round(call.seconds, 3),
        "cut": call.cut,
        "sampling": asdict(prompt.sampling),
        "sample": prompt.sample,
        "messages": prompt.chat,
    }
    came = call.completion
    if isinstance(came, Failed):
        return head | {"status": "failed", "kind": came.kind, "detail": came.detail} | tail
    answer = {"text": came.text, "reasoning": came.reasoning, "finish": came.finish, "usage": asdict(came.usage)}
    return head | {"status": "ok"} | answer | {"logprobs": came.logprobs} | tail


def _to_call(record: dict[str, Any]) -> Call:
    completion: Ok | Failed
    if record["status"] == "failed":
        completion = Failed(record["kind"], record["detail"])
    else:
        usage, logprobs = Usage(**record["usage"]), tuple(record["logprobs"])
        completion = Ok(record["text"], record["reasoning"], usage, record["finish"], logprobs)
    head = (record["key"], record["model"], record["query"], record["step"])
    return Call(*head, completion, record["retries"], record["seconds"], tuple(record["cut"]))
