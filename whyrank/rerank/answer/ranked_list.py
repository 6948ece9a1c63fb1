"""The answer for one query: all documents, best first, with the calls that ordered them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, overload

from whyrank.errors import BadInput, want_count
from whyrank.llm.ledger import Tally
from whyrank.notebook import html_table
from whyrank.rerank.answer.ranked import Ranked, showings, spent, start
from whyrank.terminal import plain
from whyrank.types import CallReport, Dataset, Document, Query, Run, count_statuses


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

    def top(self, k: int) -> Self:
        """The `k` best documents, with all calls.

        Raises:
            BadInput: `k` is below 1.
        """
        want_count(k, "k")
        return self[:k]

    @property
    def texts(self) -> list[str]:
        """The texts of the documents, best first."""
        return [item.text for item in self.items]

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
        from whyrank.rerank.answer.explain import as_text

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

    def _repr_html_(self) -> str:
        """A table of the documents with their reasons, for notebooks."""
        rows = [
            [
                str(item.rank),
                item.id,
                "" if item.score is None or math.isnan(item.score) else f"{item.score:.4g}",
                start(item.text, 120),
                start(item.reason, 240),
            ]
            for item in self.items
        ]
        return html_table(["rank", "id", "score", "text", "reason"], rows, self.query.text if self.query else "")

    def __str__(self) -> str:
        """One line a document, then the reason and the statuses of the calls."""
        lines = [str(item) for item in self.items]
        if self.reason:
            lines.append(f"reason: {start(self.reason, 400)}")
        if self.calls:
            lines.append(f"calls: {', '.join(f'{status} {count}' for status, count in self.statuses.items() if count)}")
        return plain("\n".join(lines))
