"""What travels beside the ranking of one query: what was asked, what scores there were, which way it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Self

from whyrank.types.calls import CallReport
from whyrank.types.record import Record
from whyrank.types.texts import Metadata


@dataclass(frozen=True, slots=True)
class Search:
    """A query that the search agent made, and SmartSearch's two checks on it (2601.04888).

    Attributes:
        query: the query.
        round: in which round, from 1.
        documents: how many documents it showed.
        new: how many of them had not been shown before: the first check.
        evidence: how many of them gave verified evidence: the second check, whether it was on target.
    """

    query: str
    round: int
    documents: int
    new: int
    evidence: int

    @property
    def weakness(self) -> str:
        """What is wrong with the query, or an empty text."""
        return "nothing new" if not self.new else "" if self.evidence else "off target"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quote that stands in a document, by the document's id."""

    id: str
    quote: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a run tells of one query beside its ranking; each part has what it knows of, the rest is empty.

    Attributes:
        calls: the reports of the model calls, in the order asked.
        candidates: ids of what a reranker was handed, best first; `shown` of its calls are places in this.
        scores: a reranker's own scores by id; None where it gave none.
        first_scores: those of the first stage, by id; empty where nothing was reranked.
        route: which reranker a router chose, from 0.
        shuffles: after how many orders a consensus stopped.
        tied: how many candidates have the score of another one.
        ties: first and last rank, from 1, of each group that scores the same.
        outcome: what became of a query that was to be rewritten: "rewritten", "fell_back" or "gated"; else empty.
        rewritten: the texts that were searched for.
        terms: weights of the terms that relevance feedback searched for.
        searches: what an agent searched for.
        evidence: the quotes that it found.
        stopped: why it stopped.
        others: what a file tells beside, of other programs; kept as it is.
    """

    calls: tuple[CallReport, ...] = ()
    candidates: tuple[str, ...] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)
    first_scores: Mapping[str, float] = field(default_factory=dict)
    route: int | None = None
    shuffles: int | None = None
    tied: int | None = None
    ties: tuple[tuple[int, int], ...] = ()
    outcome: str = ""
    rewritten: tuple[str, ...] = ()
    terms: Mapping[str, float] = field(default_factory=dict)
    searches: tuple[Search, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    stopped: str = ""
    others: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold copies that nobody changes."""
        for name in ("scores", "first_scores", "terms", "others"):
            object.__setattr__(self, name, Metadata(getattr(self, name)))

    def followed_by(self, other: Self) -> Self:
        """This note with the calls of another behind its own; what this one does not tell, it has from there."""
        ids = tuple(dict.fromkeys([*self.candidates, *other.candidates]))
        at = {id: place for place, id in enumerate(ids)}
        calls = other.calls
        if other.candidates:
            calls = tuple(call.seen_from([at[id] for id in other.candidates]) for call in calls)
        mine = {one.name: getattr(self, one.name) for one in fields(self)}
        told = {name: value for name, value in mine.items() if value or value == 0}
        return replace(other, **{**told, "calls": self.calls + calls, "candidates": ids})

    def to_dict(self) -> dict[str, object]:
        """As a line of notes.jsonl has it; candidates are called by their ids."""
        told: dict[str, object] = {}
        if self.calls or self.first_scores or self.outcome or self.stopped:
            told["calls"] = [call.to_dict(self.candidates) for call in self.calls]
        if self.first_scores:
            told |= {"scores": dict(self.scores), "first": dict(self.first_scores)}
        numbers = {"route": self.route, "shuffles": self.shuffles, "tied": self.tied}
        told |= {name: number for name, number in numbers.items() if number is not None}
        if self.ties:
            told["tied"] = [list(pair) for pair in self.ties]
        if self.outcome:
            told |= {"outcome": self.outcome, "rewritten": list(self.rewritten)}
        if self.terms:
            told["terms"] = dict(self.terms)
        if self.stopped:
            searches = [{one.name: getattr(made, one.name) for one in fields(made)} for made in self.searches]
            weak = [{**told, "weakness": made.weakness} for told, made in zip(searches, self.searches, strict=True)]
            quotes = [{"id": one.id, "quote": one.quote} for one in self.evidence]
            told |= {"searches": weak, "evidence": quotes, "stopped": self.stopped}
        return told | dict(self.others)

    @classmethod
    def from_dict(cls, told: Mapping[str, object]) -> Self:
        """What a line of notes.jsonl tells.

        Raises:
            BadInput: something is of another kind than it should be: what.
        """
        record = Record(told, "a note")
        first, calls = record.scores("first"), record.several("calls")
        shown = [call.rest.get("shown") for call in calls]
        named = [id for ids in shown if isinstance(ids, list) for id in ids if isinstance(id, str)]
        candidates = tuple(dict.fromkeys([*first, *named]))
        places = {id: at for at, id in enumerate(candidates)}
        counted = not isinstance(record.rest.get("tied"), list)
        return cls(
            calls=tuple(CallReport.from_dict(call.rest, places) for call in calls),
            candidates=candidates,
            scores=record.scores("scores"),
            first_scores=_numbers(first),
            route=record.number("route"),
            shuffles=record.number("shuffles"),
            tied=record.number("tied") if counted else None,
            ties=() if counted else record.pairs("tied"),
            outcome=record.text("outcome"),
            rewritten=record.texts("rewritten") or (),
            terms=_numbers(record.scores("terms")),
            searches=tuple(_search(one) for one in record.several("searches")),
            evidence=tuple(Evidence(one.text("id"), one.text("quote")) for one in record.several("evidence")),
            stopped=record.text("stopped"),
            others=record.rest,
        )


def _numbers(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {id: score for id, score in scores.items() if score is not None}


def _search(record: Record) -> Search:
    numbers = [record.number(name) or 0 for name in ("round", "documents", "new", "evidence")]
    return Search(record.text("query"), *numbers)
