"""What came of one model call: whether it could be read, what it cost, what was thought, and what it was about.

A `CallReport` is made where a completion is read (`whyrank.llm.report`), and told where in its algorithm the call stood
by whoever asked. `to_dict` and `from_dict` are the only place that knows how files write it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self, TypeVar, get_args

from whyrank.errors import BadInput
from whyrank.types.record import Record

Status = Literal["exact", "repaired", "truncated", "no_answer", "failed"]
"""How well a model kept to the form asked for; `failed` is a call that brought nothing."""

Finish = Literal["stop", "length"]
FINISHES: tuple[Finish, ...] = get_args(Finish)

W = TypeVar("W", bound=str)

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of many added up; `reasoning` is part of `output`, `cached` part of `input`."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """The sum, field by field."""
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class Repairs:
    """What had to be mended in an answer, in numbers; None where an answer of its kind cannot have that fault.

    Attributes:
        missing: what the answer does not speak of.
        duplicate: what it names again.
        out_of_range: labels or scores that there are not.
        extra: what it names beside what was asked for.
    """

    missing: int | None = None
    duplicate: int | None = None
    out_of_range: int | None = None
    extra: int | None = None

    def __bool__(self) -> bool:
        """Whether there was anything to mend."""
        return bool(self.missing or self.duplicate or self.out_of_range or self.extra)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its algorithm a call stood, counted from 0 unless it says otherwise; None where there is no such thing.

    Attributes:
        stage: which reranker of a cascade.
        shuffle: which order of a consensus.
        round: which batch of calls that do not wait for each other; of rewriters from 1.
        sweep: which pass over the whole list.
        window: the ranks [start, end) that were ordered.
        sample: which draw.
        iteration: of a walk through a tree, from 1.
        node: of the tree.
    """

    stage: int | None = None
    shuffle: int | None = None
    round: int | None = None
    sweep: int | None = None
    window: tuple[int, int] | None = None
    sample: int | None = None
    iteration: int | None = None
    node: int | None = None


@dataclass(frozen=True, slots=True)
class SearchStep:
    """What an answer of the search agent holds.

    Attributes:
        quotes: how many quotes it gives as evidence.
        rejected: those that stand in no document that was shown.
        queries: how many searches it asks for.
        repeated: how many of them were made before.
    """

    quotes: int = 0
    rejected: tuple[str, ...] = ()
    queries: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class CallReport:
    """What came of one model call.

    Attributes:
        status: how well the model kept to the form asked for.
        key: the call's line in the trace; empty where it is not known.
        usage: tokens.
        finish: "stop", or "length" for a completion that was cut off; None where there is no completion.
        thought: the whole thought, wherever the engine put it.
        thought_cut: whether the thought was closed at its budget.
        failure: the kind of a failed call.
        detail: what the engine said of it.
        repairs: what had to be mended.
        shown: the candidates that the call showed, by their places in the request, in the order of their labels; None
            for a call that is about no candidates.
        labels: what the shown are called; empty where they go by 1, 2, 3, …
        place: where in its algorithm the call stood.
        score: of the one that was judged; NaN where none could be read, None where none was asked for.
        first: whether the first of two is preferred; None where that is not known.
        passages: ids of the documents that a rewriter read.
        candidates: how many nodes of a tree were judged.
        hunted: what an answer of the search agent holds.
        seconds: time in the engine, where it was measured.
        cost: in the currency of the price table, where there is one.
        others: what a file tells beside, of other programs; kept as it is.
    """

    status: Status
    key: str = ""
    usage: Usage = Usage()
    finish: Finish | None = None
    thought: str = ""
    thought_cut: bool = False
    failure: str = ""
    detail: str = ""
    repairs: Repairs = Repairs()
    shown: tuple[int, ...] | None = None
    labels: tuple[str, ...] = ()
    place: Place = Place()
    score: float | None = None
    first: bool | None = None
    passages: tuple[str, ...] = ()
    candidates: int | None = None
    hunted: SearchStep | None = None
    seconds: float | None = None
    cost: float | None = None
    others: Mapping[str, object] = field(default_factory=dict)

    def at(self, **place: int | tuple[int, int]) -> Self:
        """The same report, with more known of where the call stood: `report.at(stage=1)`."""
        return replace(self, place=replace(self.place, **place))  # type: ignore[arg-type]  # names are checked there

    def seen_from(self, places: Sequence[int]) -> Self:
        """The report with candidates by other places: those in a list that they were taken from."""
        return self if self.shown is None else replace(self, shown=tuple(places[at] for at in self.shown))

    def to_dict(self, ids: Sequence[str] = ()) -> dict[str, object]:
        """As files write it; with `ids`, those of the candidates in request order, `shown` has ids."""
        told: dict[str, object] = _known(self.place, {"sweep": "pass"})
        if self.shown is not None:
            told["shown"] = [ids[at] for at in self.shown] if ids else list(self.shown)
        if self.passages:
            told["passages"] = list(self.passages)
        if self.candidates is not None:
            told["candidates"] = self.candidates
        told |= {"status": self.status, **_known(self.repairs, {})}
        told |= {} if self.score is None else {"score": None if math.isnan(self.score) else self.score}
        told |= {} if self.first is None else {"first": self.first}
        told |= {} if self.hunted is None else _known(self.hunted, {})
        told |= {"failure": self.failure, "detail": self.detail} if self.failure else {}
        told |= {"labels": list(self.labels)} if self.labels else {}
        if self.finish is not None:
            told |= {"finish": self.finish, **({"thought_cut": True} if self.thought_cut else {})}
            told["reason"] = self.thought
        usage = {name: count for name, count in _known(self.usage, {}).items() if count}
        for name, value in {"key": self.key, "usage": usage}.items():
            told |= {name: value} if value else {}
        for name, number in {"cost": self.cost, "seconds": self.seconds}.items():
            told |= {} if number is None else {name: number}
        return told | dict(self.others)

    @classmethod
    def from_dict(cls, told: Mapping[str, object], places: Mapping[str, int] | None = None) -> Self:
        """What a file tells of a call; with `places`, those of the candidates by id, `shown` has ids there.

        Raises:
            BadInput: something is of another kind than it should be: what.
        """
        record = Record(told, "a model call")
        window, usage = record.numbers("window"), record.inner("usage")
        place = Place(
            stage=record.number("stage"),
            shuffle=record.number("shuffle"),
            round=record.number("round"),
            sweep=record.number("pass"),
            window=(window[0], window[1]) if window is not None and len(window) == 2 else None,
            sample=record.number("sample"),
            iteration=record.number("iteration"),
            node=record.number("node"),
        )
        counts = {one.name: usage.number(one.name) or 0 for one in fields(Usage)}
        quotes = record.number("quotes")
        hunted = (record.texts("rejected") or (), record.number("queries") or 0, record.number("repeated") or 0)
        return cls(
            status=_of(record.text("status"), STATUSES),
            key=record.text("key"),
            usage=Usage(**counts),
            finish=_of(finish, FINISHES) if (finish := record.text("finish")) else None,
            thought=record.text("reason"),
            thought_cut=bool(record.flag("thought_cut")),
            failure=record.text("failure"),
            detail=record.text("detail"),
            repairs=Repairs(*(record.number(one.name) for one in fields(Repairs))),
            shown=_shown(record, places),
            labels=record.texts("labels") or (),
            place=place,
            score=record.score("score"),
            first=record.flag("first"),
            passages=record.texts("passages") or (),
            candidates=record.number("candidates"),
            hunted=None if quotes is None else SearchStep(quotes, *hunted),
            seconds=record.decimal("seconds"),
            cost=record.decimal("cost"),
            others=record.rest,
        )


def count_statuses(calls: Iterable[CallReport]) -> dict[str, int]:
    """How many calls ended in each status; empty where there was no call."""
    statuses = [call.status for call in calls]
    return {status: statuses.count(status) for status in STATUSES} if statuses else {}


def _shown(record: Record, places: Mapping[str, int] | None) -> tuple[int, ...] | None:
    if places is None:
        return record.numbers("shown")
    ids = record.texts("shown")
    if ids is not None and (stray := next((id for id in ids if id not in places), None)) is not None:
        raise BadInput(f"a model call shows {stray!r}, which is none of the candidates")
    return None if ids is None else tuple(places[id] for id in ids)


def _known(told: Repairs | Place | SearchStep | Usage, names: Mapping[str, str]) -> dict[str, object]:
    """The fields that are known, in plain types, some by other names."""
    values = {names.get(one.name, one.name): getattr(told, one.name) for one in fields(told)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _of(given: str, known: tuple[W, ...]) -> W:
    """One of the words that there are."""
    if (word := next((one for one in known if one == given), None)) is None:
        raise BadInput(f"a model call has {given!r} where one of {', '.join(known)} is wanted")
    return word
