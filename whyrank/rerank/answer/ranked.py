"""One document of an answer: where it stood, what it scored, why, and what that cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from whyrank.llm.ledger import Tally
from whyrank.rerank.answer.mentions import mentions
from whyrank.terminal import plain
from whyrank.types import NO_METADATA, CallReport, count_statuses


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document of an answer.

    Attributes:
        rank: its place in the answer, from 1.
        index: where it stood in the list that was handed in, from 0.
        id: its id; the position as text where plain strings were handed in.
        text: its text; empty where it is not at hand.
        score: the model's own score; None where the model only orders, NaN or None where it gave none.
        first_score: the first stage's score; None where there was no first stage, or the document was not reranked.
        calls: the reports of the model calls that showed it, in the order asked.
        places: where each of these calls showed it, from 0.
        metadata: what else is known of it, as `Document.metadata`.
    """

    rank: int
    index: int
    id: str
    text: str
    score: float | None
    first_score: float | None = None
    calls: tuple[CallReport, ...] = field(default=(), repr=False)
    places: tuple[int, ...] = field(default=(), repr=False)
    metadata: Mapping[str, Any] = field(default=NO_METADATA, repr=False)

    @property
    def first_rank(self) -> int:
        """Its rank in the first stage, from 1."""
        return self.index + 1

    @property
    def reason(self) -> str:
        """The passage of the last thought that speaks of it, see `mentions`; empty where none does."""
        return self._why()[0]

    @property
    def thought(self) -> str:
        """The whole thought that `reason` is from."""
        return self._why()[1]

    @property
    def statuses(self) -> dict[str, int]:
        """How many of the calls that showed it ended in each status."""
        return count_statuses(self.calls)

    @property
    def spent(self) -> Tally:
        """What the calls that showed it took, all in all; other documents were shown in the same calls."""
        return spent(self.calls)

    def _why(self) -> tuple[str, str]:
        """The reason, and the thought that gave it."""
        for call, place in zip(reversed(self.calls), reversed(self.places), strict=True):
            if reason := _reason(call, place):
                return reason, call.thought
        return "", ""

    def __str__(self) -> str:
        """Rank, index, the score if there is one, and how the text begins."""
        score = "" if self.score is None else f"{self.score:.4g}  "
        return plain(f"{self.rank}. [{self.index}] {score}{start(self.text, 80)}".rstrip())


def showings(calls: Iterable[CallReport]) -> dict[int, tuple[tuple[CallReport, ...], tuple[int, ...]]]:
    """For each candidate that was shown the calls that showed it, and at which place each of them did."""
    found: dict[int, list[tuple[CallReport, int]]] = {}
    for call in calls:
        for place, one in enumerate(call.shown or ()):
            found.setdefault(one, []).append((call, place))
    return {one: (tuple(call for call, _ in some), tuple(place for _, place in some)) for one, some in found.items()}


def spent(calls: Iterable[CallReport]) -> Tally:
    """What calls took; equal calls, which are asked but once, count once."""
    tally = Tally()
    for call in {call.key or str(id(call)): call for call in calls}.values():
        tally.calls += 1
        tally.usage += call.usage
        tally.seconds += call.seconds or 0.0
        tally.pay(call.cost)
        if call.failure:
            tally.failures[call.failure] += 1
    return tally


def start(text: str, width: int) -> str:
    """How a text begins, in one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _reason(call: CallReport, place: int) -> str:
    """What the thought of a call says of what it showed there; all of it where it showed nothing else."""
    if len(call.shown or ()) == 1 or not call.thought:
        return call.thought
    return mentions(call.thought, call.labels[place] if call.labels else str(place + 1))
