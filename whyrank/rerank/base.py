"""What every reranker is: put the best candidates of each query into a better order."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whyrank.errors import BadInput
from whyrank.llm.base import LLM
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part, name_of
from whyrank.rerank.formats import STATUSES
from whyrank.types import Dataset, Document, Query, Ranking, Run


@dataclass(frozen=True, slots=True)
class Request:
    """The candidates of one query, best first, as the first stage left them.

    Attributes:
        query: the query; its text is what the user asked, never a rewritten form.
        documents: (n,) the candidates.
        scores: (n,) first-stage scores, never rising.
    """

    query: Query
    documents: tuple[Document, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A reranker's answer to one request.

    Attributes:
        ranking: a permutation of range(n), best first.
        scores: (n,) the model's own score of each candidate in *request* order, NaN where there is none; or empty.
        calls: what came of each model call, in the order asked: {"status": …, "reason": …, …}.
    """

    ranking: tuple[int, ...]
    scores: tuple[float, ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document in the answer of `Reranker.rank`.

    Attributes:
        rank: its place in the answer, from 1.
        index: where it stood in the list that was handed in, from 0.
        id: its id; the position as text where plain strings were handed in.
        text: its text.
        score: the model's own score, or None where the model only orders.
    """

    rank: int
    index: int
    id: str
    text: str
    score: float | None

    def __str__(self) -> str:
        """Rank, index, the score if there is one, and how the text begins."""
        score = "" if self.score is None else f"{self.score:.4g}  "
        return f"{self.rank}. [{self.index}] {score}{_start(self.text, 80)}".rstrip()


@dataclass(frozen=True)
class RankedList(Sequence[Ranked]):
    """Documents best first, and what came of each model call: status, reason. `print` shows it all in brief."""

    items: tuple[Ranked, ...]
    calls: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """How many documents there are: all that were handed in."""
        return len(self.items)

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 (int -> Ranked, slice -> tuple, as Sequence has it)
        """The document at a rank, counted from 0."""
        return self.items[at]

    @property
    def reason(self) -> str:
        """The model's last written reasoning, or an empty text where it gave none."""
        return next((str(call["reason"]) for call in reversed(self.calls) if call.get("reason")), "")

    @property
    def statuses(self) -> dict[str, int]:
        """How many model calls ended in each status: exact, repaired, truncated, no_answer, failed."""
        return _tally(self.calls)

    def __str__(self) -> str:
        """One line a document, then the reason and the statuses of the calls."""
        lines = [str(item) for item in self.items]
        if self.reason:
            lines.append(f"reason: {_start(self.reason, 400)}")
        if self.calls:
            lines.append(f"calls: {', '.join(f'{status} {count}' for status, count in self.statuses.items() if count)}")
        return "\n".join(lines)


class Reranker(Part, ABC):
    """Puts the candidates of a query into a better order. Subclasses are frozen dataclasses with a `_rank`."""

    def rerank(self, run: Run, data: Dataset, depth: int = 100, trace: Trace | None = None) -> Run:
        """Rerank the first `depth` documents of each query in `run`; the documents below keep their order and place.

        Excluded documents are taken out before the cut at `depth`. Nothing is lost: each query has the same documents
        after as before, less the excluded.

        Args:
            run: the first stage.
            data: the data set with the texts of queries and documents.
            depth: how many documents of each query are reranked; a shorter ranking is reranked whole.
            trace: the record of model calls, for resuming and for the ledger; rerankers without an LLM ignore it.

        Returns:
            A run with the same queries. Scores fall n, n-1, … 1; `notes` holds per query the calls and raw scores.

        Raises:
            BadInput: a query or document of the run is not in `data`, or `depth` is below 1.
        """
        if depth < 1:
            raise BadInput(f"depth must be at least 1, not {depth}")
        requests, tails = _requests(run, data, depth)
        orders = self._orders(requests, trace)
        rankings, notes = {}, {}
        for request, order, tail in zip(requests, orders, tails, strict=True):
            ids = [request.documents[at].id for at in order.ranking] + tail
            rankings[request.query.id] = Ranking(ids, np.arange(len(ids), 0, -1, dtype=np.float64))
            notes[request.query.id] = _note(request, order)
        return Run.of(rankings, name=name_of(type(self)), notes=notes)

    def rank(self, query: str | Query, docs: Sequence[str | Document], trace: Trace | None = None) -> RankedList:
        """Rank `docs` for one `query`: the entry for RAG systems, without any data set.

        Returns:
            Every document that was handed in, best first; nothing is left out or added.

        Raises:
            BadInput: `docs` is one text instead of a list, or holds something that is neither text nor `Document`.

        Example:
            >>> from whyrank import Fake, Listwise
            >>> llm = Fake("<think>Only the second tells.</think><answer>[2] > [1]</answer>")
            >>> best = Listwise(llm).rank("why do bees dance?", ["Bees make honey.", "A dance shows where food is."])
            >>> best[0].text, best[0].index
            ('A dance shows where food is.', 1)
            >>> print(best)
            1. [1] A dance shows where food is.
            2. [0] Bees make honey.
            reason: Only the second tells.
            calls: exact 1
        """
        asked = query if isinstance(query, Query) else Query("query", query)
        documents = _documents(docs)
        request = Request(asked, documents, tuple(float(n) for n in range(len(documents), 0, -1)))
        (order,) = self._orders([request], trace)
        scores = order.scores or (None,) * len(documents)
        items = (
            Ranked(rank, at, documents[at].id, documents[at].text, scores[at])
            for rank, at in enumerate(order.ranking, start=1)
        )
        return RankedList(tuple(items), order.calls)

    @abstractmethod
    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        """One order for each request."""

    def _orders(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        """The orders of `_rank`, after checking that it kept to the contract."""
        orders = list(self._rank(requests, trace))
        if len(orders) != len(requests):
            raise BadInput(f"{name_of(type(self))} gave {len(orders)} orders for {len(requests)} requests")
        for request, order in zip(requests, orders, strict=True):
            where, n = f"{name_of(type(self))}, query {request.query.id!r}", len(request.documents)
            if sorted(order.ranking) != list(range(n)):
                raise BadInput(f"{where}: the ranking {order.ranking} is no permutation of its {n} candidates")
            if order.scores and len(order.scores) != n:
                raise BadInput(f"{where}: {len(order.scores)} scores for {n} candidates")
        return orders


@dataclass(frozen=True)
class LLMReranker(Reranker):
    """A reranker that asks a language model: write `plan` for one query; all queries run at once on the scheduler.

    Attributes:
        llm: the model.
    """

    llm: LLM

    @abstractmethod
    def plan(self, request: Request) -> Plan[Order]:
        """The algorithm for one query; does no I/O and knows no backend."""

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        plans = {request.query.id: self.plan(request) for request in requests}
        orders = drive(plans, self.llm, trace)
        return [orders[request.query.id] for request in requests]


def statuses(run: Run) -> dict[str, int]:
    """How many model calls behind a reranked run ended in each status, so that no repair or failure goes unseen.

    Returns:
        `{"exact": …, "repaired": …, "truncated": …, "no_answer": …, "failed": …}`; empty where no model was called.
    """
    return _tally(call for note in run.notes.values() if isinstance(note, Mapping) for call in note.get("calls", ()))


def _tally(calls: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(str(call["status"]) for call in calls)
    return {status: counts[status] for status in STATUSES} | dict(counts) if counts else {}


def _start(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _documents(docs: Sequence[str | Document]) -> tuple[Document, ...]:
    if isinstance(docs, str):
        raise BadInput("docs is one text: hand in a list of texts or Documents")
    for at, doc in enumerate(docs):
        if not isinstance(doc, str | Document):
            raise BadInput(f"docs[{at}] is a {type(doc).__name__}: hand in texts or Documents")
    return tuple(doc if isinstance(doc, Document) else Document(str(at), doc) for at, doc in enumerate(docs))


def _requests(run: Run, data: Dataset, depth: int) -> tuple[list[Request], list[list[str]]]:
    queries = {query.id: query for query in data.queries}
    if unknown := [id for id in run if id not in queries]:
        raise BadInput(
            f"run {run.name!r}: query {unknown[0]!r} is not among the {len(queries)} queries of {data.name!r}"
        )
    requests, tails = [], []
    for id, (ids, scores) in run.without(data.queries).items():
        if missing := next((doc for doc in ids[:depth] if doc not in data.corpus), None):
            raise BadInput(
                f"run {run.name!r}, query {id!r}: document {missing!r} is not among the {len(data.corpus)} documents "
                f"of {data.name!r}"
            )
        documents = tuple(data.corpus[doc] for doc in ids[:depth])
        requests.append(Request(queries[id], documents, tuple(scores[:depth].tolist())))
        tails.append(list(ids[depth:]))
    return requests, tails


def _note(request: Request, order: Order) -> dict[str, Any]:
    known = zip(request.documents, order.scores, strict=False)
    scores = {document.id: None if math.isnan(score) else score for document, score in known}
    return {"calls": [dict(call) for call in order.calls], "scores": scores}
