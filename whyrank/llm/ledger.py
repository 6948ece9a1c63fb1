"""What the model calls of a run cost: calls, retries, failures, tokens, seconds and money, per query and in total."""

import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, EngineError, NotFound
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.types import Usage


@dataclass(frozen=True)
class Price:
    """What a model costs per million tokens, in any currency; without `cached`, cached input costs like other input."""

    input: float
    output: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """The cost of a call. Reasoning tokens are output tokens."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.input - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / 1e6


@dataclass(frozen=True)
class Prices:
    """The user's own price table, by name of the model."""

    table: Mapping[str, Price]

    @classmethod
    def read(cls, path: str | Path) -> "Prices":
        """Read a JSON or TOML file such as `["Qwen/Qwen3-8B"]`, `input = 0.1`, `output = 0.4`, `cached = 0.05`.

        Raises:
            NotFound: there is no such file.
            BadInput: it is no table of models, each with `input`, `output` and perhaps `cached`, numbers from 0 up.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFound(f"no price table at {path}")
        try:
            text = path.read_text(encoding="utf-8")
            table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: cannot be read as {path.suffix.lstrip('.') or 'JSON'}: {error}") from None
        if not isinstance(table, dict):
            raise BadInput(f"{path}: expected a table of models with their prices, found {table!r}")
        return cls({model: _price(entry, f"{path}: {model!r}") for model, entry in table.items()})

    def cost(self, model: str, usage: Usage) -> float:
        """What `usage` of `model` costs.

        Raises:
            BadInput: the table has no such model.
        """
        if model not in self.table:
            raise BadInput(f"the price table has no model {model!r}; it has {', '.join(sorted(self.table)) or 'none'}")
        return self.table[model].of(usage)


def _price(entry: object, where: str) -> Price:
    if not isinstance(entry, dict) or not {"input", "output"} <= entry.keys() <= {"input", "output", "cached"}:
        raise BadInput(f"{where}: expected input, output and perhaps cached, per million tokens, found {entry!r}")
    if wrong := [
        key for key, value in entry.items() if type(value) not in (int, float) or not 0 <= value < float("inf")
    ]:
        raise BadInput(f"{where}: {wrong[0]} must be a number from 0 up, not {entry[wrong[0]]!r}")
    return Price(**entry)


@dataclass
class Tally:
    """Sums over model calls.

    Attributes:
        calls: calls whose outcome is known, answered or failed, of this run and of those it resumes.
        replayed: answers taken from the trace, or shared with an equal call, and so neither asked nor paid again.
        retries: tries beyond the first of each call.
        failures: calls that brought no answer, by kind.
        usage: tokens of the answered calls.
        seconds: time that calls took, waiting between tries apart; calls that ran side by side are added up.
        cost: in the currency of the price table; None without one.
        cut_documents: calls whose documents were shortened to fit the model's window.
        cut_queries: calls whose query was.
        cut_thoughts: thoughts that were closed at their budget.
    """

    calls: int = 0
    replayed: int = 0
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = None
    cut_documents: int = 0
    cut_queries: int = 0
    cut_thoughts: int = 0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.usage.input + self.usage.output

    @property
    def failed(self) -> int:
        """Calls that brought no answer."""
        return self.failures.total()

    def pay(self, cost: float | None) -> None:
        """Add what a call cost, where that is known."""
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost

    def to_dict(self) -> dict[str, Any]:
        """The sums in plain types, for manifests and `--json`."""
        return {
            "calls": self.calls,
            "replayed": self.replayed,
            "retries": self.retries,
            "failures": dict(sorted(self.failures.items())),
            "input_tokens": self.usage.input,
            "output_tokens": self.usage.output,
            "reasoning_tokens": self.usage.reasoning,
            "cached_tokens": self.usage.cached,
            "seconds": round(self.seconds, 3),
            "cost": self.cost,
            "cut_documents": self.cut_documents,
            "cut_queries": self.cut_queries,
            "cut_thoughts": self.cut_thoughts,
        }

    def __str__(self) -> str:
        """One line for people."""
        parts = [f"{self.calls:,} calls", f"{self.usage.input:,} tokens in", f"{self.usage.output:,} out"]
        if self.usage.reasoning:
            parts[-1] += f" ({self.usage.reasoning:,} reasoning)"
        parts += [
            f"{number:,} {name}" for name, number in (("replayed", self.replayed), ("retries", self.retries)) if number
        ]
        parts += [f"{number:,} failed ({kind})" for kind, number in sorted(self.failures.items())]
        parts += [f"{number:,} with a cut query" for number in [self.cut_queries] if number]
        parts += [f"{number:,} thoughts cut" for number in [self.cut_thoughts] if number]
        return ", ".join(parts + ([f"cost {self.cost:.4f}"] if self.cost else []))


@dataclass(frozen=True, slots=True)
class Call:
    """The outcome of one model call.

    Attributes:
        key: its identity, from `Prompt.key`.
        model: the name that the price table knows.
        query: for which query it was asked.
        step: in which batch of the query's plan, counted from 1.
        completion: what came back.
        retries: tries beyond the first.
        seconds: time in the engine, all tries together.
        cut: what was shortened: "document", "query" to fit the model's window, "thought" to keep its budget.
    """

    key: str
    model: str
    query: str
    step: int
    completion: Completion
    retries: int = 0
    seconds: float = 0.0
    cut: tuple[str, ...] = ()


class Ledger:
    """The tally of each query and of all together."""

    def __init__(self, prices: Prices | None = None, per_query: bool = True) -> None:
        """Begin at nothing; without `prices` no cost is known, and without `per_query` only the total."""
        self.prices, self.per_query = prices, per_query
        self.total = self._nothing()
        self.queries: dict[str, Tally] = {}

    def __repr__(self) -> str:
        """What all calls took."""
        of = self.total
        cost = "" if of.cost is None else f", cost {of.cost:.4g}"
        return f"Ledger({of.calls:,} calls, {of.failed:,} failed, {of.replayed:,} replayed, {of.tokens:,} tokens{cost})"

    def add(self, call: Call) -> None:
        """Count a call."""
        usage = call.completion.usage if isinstance(call.completion, Ok) else Usage()
        cost = self.prices.cost(call.model, usage) if self.prices is not None else None
        for tally in self._tallies(call.query):
            tally.calls += 1
            tally.retries += call.retries
            tally.usage += usage
            tally.seconds += call.seconds
            tally.pay(cost)
            tally.cut_documents += "document" in call.cut
            tally.cut_queries += "query" in call.cut
            tally.cut_thoughts += "thought" in call.cut
            if isinstance(call.completion, Failed):
                tally.failures[call.completion.kind] += 1

    def replay(self, query: str) -> None:
        """Count an answer that was there already."""
        for tally in self._tallies(query):
            tally.replayed += 1

    def _tallies(self, query: str) -> tuple[Tally, ...]:
        own = (self.queries.setdefault(query, self._nothing()),) if self.per_query else ()
        return (self.total, *own)

    def _nothing(self) -> Tally:
        return Tally(cost=None if self.prices is None else 0.0)


def refuse_all_failed(report: Mapping[str, Any]) -> None:
    """Take no work for done of which every model call failed.

    Args:
        report: with `calls`, counts by status, and `ledger`, the ledger's sums.

    Raises:
        EngineError: there were calls, and none brought an answer.
    """
    calls = report["calls"]
    if calls.get("failed") and calls["failed"] == sum(calls.values()):
        kinds = ", ".join(f"{kind} {count}" for kind, count in report["ledger"]["failures"].items())
        raise EngineError(
            f"every one of {calls['failed']} model calls failed ({kinds}): see trace.jsonl for what it said"
        )
