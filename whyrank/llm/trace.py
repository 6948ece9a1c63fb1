"""The trace: one line of JSON for each finished model call, appended as it happens; cache, resume and ledger in one.

A run that was killed at any moment is taken up from its trace: a last line that was torn is cut off, every answer is
replayed, and only what failed or never finished is asked again.
"""

import json
import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import groupby, islice, repeat
from pathlib import Path
from typing import Any, Self, TypeVar

from whyrank.errors import BadInput
from whyrank.journal import Journal
from whyrank.llm.answer import PASSING, Completion, Failed, Ok
from whyrank.llm.digest import LARGEST, believed, most_places, sound
from whyrank.llm.ledger import Call, Ledger, Prices
from whyrank.llm.messages import Prompt
from whyrank.llm.scores import Scores
from whyrank.types import Usage

T = TypeVar("T")

ASIDE = "what reads this answer fails on it: it is asked again"


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
        seconds: float | None = None,
        scores: str | Path | None = None,
    ) -> None:
        """Open the trace at `path`, or begin it; without a path it lives in memory only.

        Args:
            path: a JSONL file.
            prices: the user's price table; the ledger then counts cost.
            max_cost: no new call starts once all calls in the trace have cost this much.
            max_tokens: no new call starts once all calls in the trace have taken this many tokens, in and out.
            seconds: how long a query may ask, from its first call on; see `drive`.
            scores: a JSONL file for what encoders found, which are no calls; without it they find it anew.

        Raises:
            BadInput: a line of the file is damaged, another process writes to it, `max_cost` lacks prices, or `seconds`
                are none.
        """
        if max_cost is not None and prices is None:
            raise BadInput("max_cost needs a price table, per model and million tokens: give prices (--prices FILE)")
        self.path = Path(path) if path is not None else None
        self.ledger = Ledger(prices)
        self.max_cost, self.max_tokens = max_cost, max_tokens
        self.seconds = _positive(seconds)
        self._ends: dict[str, float] = {}
        self.replays = False
        self.failing: dict[str, Failed] = {}
        self._taken, self._cost = Usage(), 0.0
        self._calls: dict[str, Call] = {}
        self._journal = None if self.path is None else self._open(self.path)
        self._old = frozenset(self._calls)
        self.scores = Scores(None if scores is None else Path(scores))

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
        self._write(_to_record(call, prompt))
        self._keep(call, sum(len(piece.text) for message in prompt.messages for piece in message.pieces))
        if isinstance(call.completion, Failed):
            self.failing[call.key] = call.completion
        else:
            self.failing.pop(call.key, None)

    def set_aside(self, keys: Iterable[str]) -> list[str]:
        """Take back answers of earlier runs, since what reads them fails on them; they are asked again.

        Answers of this run stay: what reads them may be mended, and they are paid for.

        Returns:
            The keys of those that are taken back.
        """
        taken = Failed("bad_answer", ASIDE)
        aside = [key for key in keys if key in self._old and self.get(key) is not None]
        for key in aside:
            call = replace(self._calls.pop(key), retries=0, seconds=0.0)
            self._write(_head(call) | _failed(taken) | _tail(call) | {"aside": True})
        return aside

    @property
    def passing(self) -> Counter[str]:
        """How many calls of this session have no answer for a reason that may pass (`PASSING`), by kind.

        The same work done again asks these, and what follows from them, and nothing else.
        """
        return Counter(failed.kind for failed in self.failing.values() if failed.kind in PASSING)

    def spent(self) -> str | None:
        """Why no new call may start, or None."""
        tokens = self._taken.input + self._taken.output
        if self.max_cost is not None and self._cost >= self.max_cost:
            return f"the calls have cost {self._cost:.4f} of {self.max_cost} (max_cost)"
        if self.max_tokens is not None and tokens >= self.max_tokens:
            return f"the calls have taken {tokens:,} of {self.max_tokens:,} tokens (max_tokens)"
        return None

    def end_of(self, query: str, now: float, begin: bool = True) -> float | None:
        """When the time of a query is over, on the clock of `now`; None where it is not bounded, or did not begin."""
        if self.seconds is None or not (begin or query in self._ends):
            return None
        return self._ends.setdefault(query, now + self.seconds)

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[Self]:
        """Give each query so many seconds, which begin anew, as long as the block lasts; None changes nothing.

        Raises:
            BadInput: it is no time.
        """
        before = self.seconds, self._ends
        if seconds is not None:
            self.seconds, self._ends = _positive(seconds), {}
        try:
            yield self
        finally:
            self.seconds, self._ends = before

    @contextmanager
    def replaying(self) -> Iterator[Self]:
        """Let nothing be asked while the block lasts: what is not known is `Failed("budget")`, and not recorded."""
        self.replays = True
        try:
            yield self
        finally:
            self.replays = False

    @property
    def limited(self) -> bool:
        """Whether there is a limit on cost or tokens."""
        return self.max_cost is not None or self.max_tokens is not None

    def close(self) -> None:
        """Let others write to the file. What was recorded is there already: each line is written at once."""
        if self._journal is not None:
            self._journal.close()
        self.scores.close()

    def __enter__(self) -> "Trace":
        """The trace itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._journal is None:
            return
        if self._journal.closed:
            raise BadInput(f"{self.path}: this trace was closed; open it again to record calls")
        self._journal.append(json.dumps(record, allow_nan=False).encode() + b"\n")

    def _open(self, path: Path) -> Journal:
        journal, end = Journal(path, "trace"), 0
        try:
            seen: set[int] = set()
            for line_end, record, call in _read(path):
                end = line_end
                if _repeated(record, self._calls, seen):
                    continue
                if record.get("aside") is True:
                    self._calls.pop(call.key, None)
                else:
                    self._keep(call, _asked(record))
            journal.mend(end)
        except BaseException:
            journal.close()
            raise
        return journal

    def _keep(self, call: Call, asked: int) -> None:
        self.ledger.add(call)
        usage = believed(call.completion, asked)
        self._taken += usage
        if self.ledger.prices is not None:
            self._cost += self.ledger.prices.cost(call.model, usage)
        if isinstance(call.completion, Ok) or self.get(call.key) is None:
            self._calls[call.key] = call


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise BadInput(f"seconds must be a number above 0, not {seconds!r}")
    return seconds


def records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The calls in a trace file, as written: key, query, step, status, text, reasoning, usage, messages and so on.

    Reading takes no lock; a last line that is still being written is left out.

    Raises:
        BadInput: a line is damaged: file and line.
    """
    return (record for _, record, _ in _read(Path(path)))


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any], Call]]:
    """Where each line ends in the file, its record, and the call of that; a torn last line is left out."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                call, _ = _to_call(record), _asked(record)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    return
                raise BadInput(
                    f"{path}:{number}: this line of the trace is damaged ({type(error).__name__}: {error}); "
                    "delete the line to ask its call again"
                ) from None
            end += len(line)
            yield end, record, call


def _repeated(record: dict[str, Any], calls: Mapping[str, Call], seen: set[int]) -> bool:
    """Whether this line was read before: no answered call is ever asked again, and failed ones differ in seconds."""
    if record["status"] == "ok":
        known = calls.get(record["key"])
        return known is not None and isinstance(known.completion, Ok)
    line = hash(json.dumps(record, sort_keys=True))
    again = line in seen
    seen.add(line)
    return again


def _to_record(call: Call, prompt: Prompt) -> dict[str, Any]:
    asked = {"sampling": asdict(prompt.sampling), "sample": prompt.sample, "messages": prompt.chat}
    came = call.completion
    if isinstance(came, Failed):
        return _head(call) | _failed(came) | _tail(call) | asked
    answer: dict[str, Any] = {"text": came.text, "reasoning": came.reasoning}
    answer |= {"finish": came.finish, "usage": asdict(came.usage)}
    if came.values:
        answer["values"] = [value if math.isfinite(value) else str(value) for value in came.values]
    return _head(call) | {"status": "ok"} | answer | {"logprobs": _packed(came.logprobs)} | _tail(call) | asked


def _head(call: Call) -> dict[str, Any]:
    return {"key": call.key, "model": call.model, "query": call.query, "step": call.step}


def _failed(came: Failed) -> dict[str, Any]:
    return {"status": "failed", "kind": came.kind, "detail": came.detail}


def _tail(call: Call) -> dict[str, Any]:
    return {"retries": call.retries, "seconds": round(call.seconds, 3), "cut": call.cut}


def _to_call(record: dict[str, Any]) -> Call:
    """The call that a line tells of; an answer that cannot be used (`sound`) counts as failed, and is asked again."""
    completion: Completion
    if record["status"] == "failed":
        completion = Failed(record["kind"], record["detail"])
    else:
        usage, most = Usage(**record["usage"]), most_places(str(record["text"]), str(record["reasoning"]))
        logprobs = tuple(islice(_unpacked(record["logprobs"]), most + 1))
        values = tuple(map(float, record.get("values", ())))
        completion = Ok(record["text"], record["reasoning"], usage, record["finish"], logprobs, values=values)
    texts = [_of(str, record[name], name) for name in ("key", "model", "query")]
    seconds, cut = float(record["seconds"]), tuple(_of(str, one, "cut") for one in record["cut"])
    numbers = _of(int, record["retries"], "retries"), seconds
    key, model, query = texts
    return Call(key, model, query, _of(int, record["step"], "step"), sound(completion), *numbers, cut)


def _asked(record: dict[str, Any]) -> int:
    """The characters of the prompt."""
    return sum(len(message["content"]) for message in record.get("messages", ()))


def _of(kind: type[T], value: object, name: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _packed(places: Sequence[dict[str, float]]) -> list[Any]:
    """Log probabilities as JSON: empty places in a row as their number, minus infinity as null."""
    packed: list[Any] = []
    for empty, some in groupby(places, key=operator.not_):
        run = list(some)
        packed += [len(run)] if empty else [dict(map(_finite, place.items())) for place in run]
    return packed


def _finite(entry: tuple[str, float]) -> tuple[str, float | None]:
    return entry[0], None if entry[1] == -math.inf else entry[1]


def _unpacked(packed: Iterable[Any]) -> Iterator[dict[str, float]]:
    for one in packed:
        if isinstance(one, int):
            yield from repeat({}, min(one, LARGEST))
        else:
            yield {token: -math.inf if chance is None else chance for token, chance in one.items()}
