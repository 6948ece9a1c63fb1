"""The answer for one query, document by document: where each stood, what it scored, why, and what that cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, overload

from whyrank.errors import BadInput
from whyrank.llm.ledger import Tally
from whyrank.rerank.mentions import mentions
from whyrank.terminal import plain
from whyrank.types import NO_METADATA, CallReport, Dataset, Document, Query, Run, count_statuses


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


@dataclass(frozen=True)
class RankedList(Sequence[Ranked]):
    """Documents best first, with the reports of the model calls. `print` shows it in brief, `explain` in full.

    Attributes:
        items: the documents.
        calls: the reports, in the order asked; each document refers to those of the calls that showed it.
        query: what was asked.
        name: what made the order: a reranker's spec or a run's name.
        candidates: ids of all that was reranked, in the order handed in; `shown` of the calls are places in this.
    """

    items: tuple[Ranked, ...]
    calls: tuple[CallReport, ...] = field(default=(), repr=False)
    query: Query | None = field(default=None, repr=False, compare=False)
    name: str = field(default="", repr=False, compare=False)
    candidates: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, run: Run, query_id: str, data: Dataset | None = None) -> Self:
        """The answer for one query of a reranked run, from the run's notes.

        Args:
            run: as `Reranker.rerank` gives it, or `experiment.open_run(folder, notes=True)`.
            query_id: the query.
            data: where the texts of query and documents are taken from; without it there are none.

        Raises:
            BadInput: the run lacks the query, has no reranker's notes on it, or was changed since.
        """
        if query_id not in run:
            some = ", ".join(list(run)[:5])
            raise BadInput(f"run {run.name!r} has no query {query_id!r}; its {len(run)} queries begin with {some}")
        note = run.notes.get(query_id)
        if note is None or not note.first_scores:
            raise BadInput(
                f"run {run.name!r} has no reranker's notes on query {query_id!r}: give a reranked run, as its folder "
                "and not its run.trec"
            )
        ids, first = run[query_id].ids, note.first_scores
        if stray := set(ids[: len(first)]) - set(first):
            raise BadInput(
                f"run {run.name!r}, query {query_id!r}: {min(stray)!r} stands among the reranked documents and was not "
                "reranked: the run was changed since, so take the reranked one itself"
            )
        before = {id: at for at, id in enumerate(note.candidates)}
        documents = {} if data is None else {id: data.corpus[id] for id in ids if id in data.corpus}
        shown = showings(note.calls)
        items = []
        for rank, id in enumerate(ids, start=1):
            one = documents.get(id, Document(id, ""))
            at = before.get(id, rank - 1)
            head = (rank, at, id, one.text, note.scores.get(id), first.get(id))
            items.append(Ranked(*head, *(shown.get(at, ((), ())) if id in before else ((), ())), metadata=one.metadata))
        queries = {} if data is None else {query.id: query for query in data.queries}
        query = queries.get(query_id, Query(query_id, ""))
        return cls(tuple(items), note.calls, query, run.name, note.candidates)

    def __len__(self) -> int:
        """How many documents there are: all that were handed in."""
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Ranked: ...

    @overload
    def __getitem__(self, at: slice) -> Self: ...

    def __getitem__(self, at: int | slice) -> Ranked | Self:
        """The document at a rank, counted from 0; of a slice the answer with these documents, and all its calls."""
        return replace(self, items=self.items[at]) if isinstance(at, slice) else self.items[at]

    @property
    def reason(self) -> str:
        """The model's last written reasoning, or an empty text where it gave none."""
        return next((call.thought for call in reversed(self.calls) if call.thought), "")

    @property
    def statuses(self) -> dict[str, int]:
        """How many model calls ended in each status: exact, repaired, truncated, no_answer, failed."""
        return count_statuses(self.calls)

    @property
    def spent(self) -> Tally:
        """What all calls took: tokens, and seconds and cost where they are known."""
        return spent(self.calls)

    def explain(self, top: int = 10, *, thoughts: bool = False, width: int = 100) -> str:
        """Why the order is as it is, for a terminal: the first `top` documents with their reasons, and the calls.

        Args:
            top: how many documents are shown.
            thoughts: also show whole thoughts.
            width: of a line.
        """
        from whyrank.rerank.explain import as_text

        return as_text(self, top, thoughts=thoughts, width=width)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """The same in plain types, for JSON; documents refer to `calls` by number, from 0."""
        documents = [
            {
                "rank": item.rank,
                "index": item.index,
                "id": item.id,
                "text": item.text,
                "score": None if item.score is None or math.isnan(item.score) else item.score,
                "first_rank": item.first_rank,
                "first_score": item.first_score,
                "reason": item.reason,
                "calls": [self.number(call) for call in item.calls],
                "statuses": item.statuses,
                "spent": item.spent.to_dict(),
                **({"metadata": dict(item.metadata)} if item.metadata else {}),
            }
            for item in self.items[:top]
        ]
        asked = None if self.query is None else {"id": self.query.id, "text": self.query.text}
        calls = [call.to_dict(self.candidates) for call in self.calls]
        head = {"query": asked, "name": self.name, "statuses": self.statuses, "spent": self.spent.to_dict()}
        return head | {"documents": documents, "calls": calls}

    def number(self, call: CallReport) -> int:
        """Which of `calls` this one is, from 0."""
        return self._numbers[id(call)]

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(call): at for at, call in enumerate(self.calls)}

    def __str__(self) -> str:
        """One line a document, then the reason and the statuses of the calls."""
        lines = [str(item) for item in self.items]
        if self.reason:
            lines.append(f"reason: {start(self.reason, 400)}")
        if self.calls:
            lines.append(f"calls: {', '.join(f'{status} {count}' for status, count in self.statuses.items() if count)}")
        return plain("\n".join(lines))


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
