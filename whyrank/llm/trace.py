"""The trace: one line of JSON for each finished model call, appended as it happens; cache, resume and ledger in one.

A run that was killed at any moment is taken up from its trace: a last line that was torn is cut off, every answer is
replayed, and only what failed or never finished is asked again.
"""

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from whyrank.errors import BadInput, want_count
from whyrank.journal import Journal
from whyrank.llm.answer import PASSING, Failed, Ok
from whyrank.llm.digest import believed
from whyrank.llm.ledger import Call, Ledger, Prices
from whyrank.llm.messages import Prompt
from whyrank.llm.scores import ScoreRecord
from whyrank.llm.trace_lines import aside_record, asked, characters, read, to_record
from whyrank.llm.trace_lines import records as records
from whyrank.types import Usage

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
        *,
        older: Sequence[Path] = (),
        lean: bool = False,
        keep: int | None = None,
    ) -> None:
        """Open the trace at `path`, or begin it; without a path it lives in memory only.

        Args:
            path: a JSONL file.
            prices: the user's price table; the ledger then counts cost.
            max_cost: no new call starts once all calls in the trace have cost this much.
            max_tokens: no new call starts once all calls in the trace have taken this many tokens, in and out.
            seconds: how long a query may ask, from its first call on; see `drive`.
            scores: a JSONL file for what encoders found, which are no calls; without it they find it anew.
            older: folders of earlier tries of the same work, which another process may still write to: what their
                `trace.jsonl` and `scores.jsonl` hold is known here, and counts as if it stood in this trace.
            lean: record of each prompt how long it is, and not its messages: a tenth of the bytes.
            keep: how many calls stay in memory, those that were used last; the ledger goes on counting all, and tells
                only their total. None keeps them all.

        Raises:
            BadInput: a line of the file is damaged, another process writes to it, `max_cost` lacks prices, `seconds`
                are none, or `keep` is below 1.
        """
        if max_cost is not None and prices is None:
            raise BadInput("max_cost needs a price table, per model and million tokens: give prices (--prices FILE)")
        self.path = Path(path) if path is not None else None
        if keep is not None:
            want_count(keep, "keep")
        self.keep = keep
        self.ledger = Ledger(prices, per_query=keep is None)
        self.max_cost, self.max_tokens = max_cost, max_tokens
        self.seconds = _positive(seconds)
        self._ends: dict[str, float] = {}
        self.replays = False
        self.failing: dict[str, Failed] = {}
        self._taken, self._cost = Usage(), 0.0
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._lean = lean
        for folder in older:
            self._look_into(folder / "trace.jsonl")
        self._journal = None if self.path is None else self._open(self.path)
        self._old = frozenset(self._calls)
        self.scores = ScoreRecord(
            None if scores is None else Path(scores), [folder / "scores.jsonl" for folder in older]
        )

    def __repr__(self) -> str:
        """Where it lies and what it counted."""
        return f"Trace({'in memory' if self.path is None else repr(str(self.path))}, {self.ledger!r})"

    def get(self, key: str) -> Ok | None:
        """The answer to the call of that key, if there is one."""
        call = self._calls.get(key)
        if call is None or not isinstance(call.completion, Ok):
            return None
        if self.keep is not None:
            self._calls.move_to_end(key)
        return call.completion

    def call(self, key: str) -> Call | None:
        """The call of that key as it last ended, answered or failed, if there was one."""
        return self._calls.get(key)

    def add(self, call: Call, prompt: Prompt) -> None:
        """Record the outcome of a call that was asked as `prompt`.

        Raises:
            BadInput: the trace was closed.
        """
        self._write(to_record(call, prompt, self._lean))
        self._keep(call, characters(prompt))
        if isinstance(call.completion, Ok):
            self.failing.pop(call.key, None)
        elif call.key in self._calls:
            self.failing[call.key] = call.completion

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
            self._write(aside_record(call, taken))
        return aside

    @property
    def passing(self) -> Counter[str]:
        """How many calls of this session have no answer for a reason that may pass (`PASSING`), by kind.

        The same work done again asks these, and what follows from them, and nothing else.
        """
        return Counter(failed.kind for failed in self.failing.values() if failed.kind in PASSING)

    def spent(self) -> str | None:
        """Why no new call may start, or None."""
        tokens, cost = self.taken
        if self.max_cost is not None and cost >= self.max_cost:
            return f"the calls have cost {cost:.4f} of {self.max_cost} (max_cost)"
        if self.max_tokens is not None and tokens >= self.max_tokens:
            return f"the calls have taken {tokens:,} of {self.max_tokens:,} tokens (max_tokens)"
        return None

    @property
    def taken(self) -> tuple[int, float]:
        """The tokens, in and out, and the cost of all calls, as limits count them."""
        return self._taken.input + self._taken.output, self._cost

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
        journal = Journal(path, "trace")
        try:
            journal.mend(self._look_into(path))
        except BaseException:
            journal.close()
            raise
        return journal

    def _look_into(self, path: Path) -> int:
        """Know what a file holds, if it is there; returns where its last whole line ends."""
        whole, answered, seen = 0, set[str](), set[int]()
        for end, record, call in read(path) if path.is_file() else ():
            whole = end
            if _repeated(record, call, answered, seen):
                continue
            if record.get("aside") is True:
                self._calls.pop(call.key, None)
                answered.discard(call.key)
            else:
                self._keep(call, asked(record))
        return whole

    def _keep(self, call: Call, asked: int) -> None:
        self.ledger.add(call)
        usage = believed(call.completion, asked)
        self._taken += usage
        if self.ledger.prices is not None:
            self._cost += self.ledger.prices.cost(call.model, usage)
        if isinstance(call.completion, Ok) or self.get(call.key) is None:
            self._calls[call.key] = call
        while self.keep is not None and len(self._calls) > self.keep:
            self.failing.pop(self._calls.popitem(last=False)[0], None)


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise BadInput(f"seconds must be a number above 0, not {seconds!r}")
    return seconds


def _repeated(record: dict[str, Any], call: Call, answered: set[str], seen: set[int]) -> bool:
    """Whether this line was read before: no answered call is ever asked again, and failed ones differ in seconds."""
    if record["status"] == "ok":
        again = call.key in answered
        if isinstance(call.completion, Ok):
            answered.add(call.key)
        return again
    line = hash(json.dumps(record, sort_keys=True))
    again = line in seen
    seen.add(line)
    return again
