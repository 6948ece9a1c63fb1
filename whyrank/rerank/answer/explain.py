"""An answer for a terminal: the order with its reasons, and what came of the calls behind it."""

import math
from collections.abc import Iterator
from typing import Literal, Protocol

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whyrank.llm.ledger import Tally
from whyrank.rerank.answer.ranked import Ranked, start
from whyrank.terminal import line, plain
from whyrank.types import CallReport, Query, Usage

REASON, CALLS = 600, 12
"""How many characters of a reason, and how many calls are shown, where whole thoughts are not asked for."""


class Explained(Protocol):
    """What is shown of a `RankedList`."""

    @property
    def items(self) -> tuple[Ranked, ...]:
        """The documents."""

    @property
    def calls(self) -> tuple[CallReport, ...]:
        """The reports, in the order asked."""

    @property
    def query(self) -> Query | None:
        """What was asked."""

    @property
    def name(self) -> str:
        """What made the order."""

    @property
    def statuses(self) -> dict[str, int]:
        """How many calls ended in each status."""

    @property
    def spent(self) -> Tally:
        """What all calls took."""

    def number(self, call: CallReport) -> int:
        """Which of `calls` this one is, from 0."""


def as_text(ranked: Explained, top: int = 10, *, thoughts: bool = False, width: int = 100) -> str:
    """`explanation` as plain text of that width."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(explanation(ranked, top, thoughts=thoughts))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def explanation(ranked: Explained, top: int = 10, *, thoughts: bool = False) -> Group:
    """What `RankedList.explain` shows, for rich: in colour on a terminal, plain when piped."""
    items = ranked.items[:top]
    parts: list[RenderableType] = [*_head(ranked), Text(), _order(ranked, items)]
    if hidden := len(ranked.items) - len(items):
        parts.append(Text(f"\nand {_several(hidden, 'more document')}", style="dim"))
    shown = {id(call) for item in items for call in item.calls}
    calls = [call for call in ranked.calls if id(call) in shown or call.shown is None]
    if calls:
        parts += [Text(), _calls(ranked, calls if thoughts else calls[:CALLS])]
    if not thoughts and len(calls) > CALLS:
        parts.append(Text(f"and {len(calls) - CALLS:,} more calls that showed these documents", style="dim"))
    if thoughts:
        parts += _thoughts(ranked, calls)
    return Group(*parts)


def _head(ranked: Explained) -> Iterator[Text]:
    if ranked.query is not None:
        yield Text.assemble((line(ranked.query.id), "bold"), "  ", line(start(ranked.query.text, 400)))
    if ranked.name:
        yield Text(line(ranked.name), style="dim")
    counts = [_several(len(ranked.items), "document")]
    if ranked.calls:
        statuses = ", ".join(f"{status} {count}" for status, count in ranked.statuses.items() if count)
        counts += [f"{_several(len(ranked.calls), 'call')}: {statuses}", *_cost(ranked.spent)]
    yield Text(line("; ".join(counts)), style="dim")


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _cost(spent: Tally) -> list[str]:
    tokens = [f"{spent.usage.input:,} tokens in, {spent.usage.output:,} out"] if spent.tokens else []
    seconds = [f"{spent.seconds:.1f} s"] if spent.seconds else []
    return tokens + seconds + ([f"cost {spent.cost:.4f}"] if spent.cost else [])


def _order(ranked: Explained, items: tuple[Ranked, ...]) -> Table:
    """A row for each document; columns that would be empty are left out."""
    columns = ["rank", "was", "", "first", "score", "document"]
    absent = {
        "first": all(item.first_score is None for item in items),
        "score": all(item.score is None for item in items),
    }
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0), header_style="dim")
    for name in columns:
        if not absent.get(name):
            table.add_column(name, justify="left" if name in ("", "document") else "right", no_wrap=name != "document")
    for item in items:
        ranks = Text(str(item.rank)), Text(str(item.first_rank))
        cells = [*ranks, _move(item), _number(item.first_score), _number(item.score)]
        kept = [cell for name, cell in zip(columns, cells, strict=False) if not absent.get(name)]
        table.add_row(*kept, _document(ranked, item))
    return table


def _move(item: Ranked) -> Text:
    up = item.first_rank - item.rank
    return Text("=", style="dim") if not up else Text(f"↑{up}", "green") if up > 0 else Text(f"↓{-up}", "red")


def _number(value: float | None) -> Text:
    return Text("–" if value is None or math.isnan(value) else f"{value:.4g}")


def _document(ranked: Explained, item: Ranked) -> Text:
    """Id and how the text begins; then the reason; then the calls."""
    text = Text.assemble((line(item.id), "bold"), "  ", line(start(item.text, 160)))
    if reason := start(item.reason, REASON):
        text.append(f"\nwhy: {line(reason)}", style="italic cyan")
    if ranked.calls:
        text.append(f"\n{line(_touched(ranked, item))}", style="dim")
    return text


def _touched(ranked: Explained, item: Ranked) -> str:
    numbers = [str(ranked.number(call) + 1) for call in item.calls]
    if not numbers:
        return "no call showed it"
    some = ", ".join(numbers[:8]) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    statuses = ", ".join(f"{status} {count}" for status, count in item.statuses.items() if count)
    silent = "" if item.reason or not any(call.thought for call in item.calls) else "; no thought speaks of it"
    return f"call{'s' if len(numbers) > 1 else ''} {some}: {statuses}{silent}"


def _calls(ranked: Explained, calls: list[CallReport]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    for name in ("call", "status", "showed", "in", "out", "s", "thought"):
        justify: Literal["left", "right"] = "left" if name in ("status", "thought") else "right"
        table.add_column(name, justify=justify, no_wrap=True, ratio=1 if name == "thought" else None)
    for call in calls:
        numbers = [f"{number:,}" if call.usage != Usage() else "" for number in (call.usage.input, call.usage.output)]
        cells = (
            str(ranked.number(call) + 1),
            call.status,
            "" if call.shown is None else str(len(call.shown)),
            *numbers,
            "" if call.seconds is None else f"{call.seconds:.1f}",
            start(_said(call), 200),
        )
        number, status, *more = (Text(line(cell)) for cell in cells)
        status.stylize("" if call.status == "exact" else "yellow")
        table.add_row(number, status, *more)
    return table


def _said(call: CallReport) -> str:
    """The thought of a call, or how it failed."""
    return f"{call.failure}: {call.detail}" if call.failure else call.thought


def _thoughts(ranked: Explained, calls: list[CallReport]) -> Iterator[RenderableType]:
    for call in calls:
        if said := _said(call):
            yield Text(f"\ncall {ranked.number(call) + 1}", style="bold")
            yield Padding(Text(plain(said)), (0, 0, 0, 2))
