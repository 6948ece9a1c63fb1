"""What every reranker is: put the best candidates of each query into a better order."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whyrank.errors import BadInput
from whyrank.llm.base import LLM, Completion, Prompt
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part, name_of
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
        index: where it stood in the list that was handed in.
        id: its id; the position as text where plain strings were handed in.
        text: its text.
        score: the model's own score, or None where the model only orders.
    """

    index: int
    id: str
    text: str
    score: float | None


@dataclass(frozen=True)
class RankedList(Sequence[Ranked]):
    """Documents best first, and beside them what came of each model call (status, reason)."""

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
        orders = self._rank(requests, trace)
        rankings, notes = {}, {}
        for request, order, tail in zip(requests, orders, tails, strict=True):
            self._check(request, order)
            ids = [request.documents[at].id for at in order.ranking] + tail
            rankings[request.query.id] = Ranking(ids, np.arange(len(ids), 0, -1, dtype=np.float64))
            notes[request.query.id] = _note(request, order)
        return Run.of(rankings, name=name_of(type(self)), notes=notes)

    def rank(self, query: str | Query, docs: Sequence[str | Document], trace: Trace | None = None) -> RankedList:
        """Rank `docs` for one `query`: the entry for RAG systems, without any data set.

        Example:
            >>> from whyrank import Fake, Listwise
            >>> best = Listwise(Fake("<answer>[2] > [1]</answer>")).rank("why do bees dance?", ["honey", "waggle"])
            >>> best[0].text, best[0].index
            ('waggle', 1)
        """
        asked = query if isinstance(query, Query) else Query("query", query)
        documents = tuple(doc if isinstance(doc, Document) else Document(str(at), doc) for at, doc in enumerate(docs))
        request = Request(asked, documents, tuple(float(n) for n in range(len(documents), 0, -1)))
        (order,) = self._rank([request], trace)
        self._check(request, order)
        scores = order.scores or (None,) * len(documents)
        items = (Ranked(at, documents[at].id, documents[at].text, scores[at]) for at in order.ranking)
        return RankedList(tuple(items), order.calls)

    @abstractmethod
    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        """One order for each request."""

    def _check(self, request: Request, order: Order) -> None:
        if sorted(order.ranking) != list(range(len(request.documents))):
            raise BadInput(
                f"{name_of(type(self))}, query {request.query.id!r}: the ranking {order.ranking} is no permutation of "
                f"its {len(request.documents)} candidates"
            )




class LLMReranker(Reranker):
    """A reranker that asks a language model: write `plan` for one query; all queries run at once on the scheduler."""

    llm: LLM

    @abstractmethod
    def plan(self, request: Request) -> Plan[Order]:
        """The algorithm for one query; does no I/O and knows no backend."""

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        plans = {request.query.id: self.plan(request) for request in requests}
        orders = drive(plans, self.llm, trace)
        return [orders[request.query.id] for request in requests]


def _requests(run: Run, data: Dataset, depth: int) -> tuple[list[Request], list[list[str]]]:
    queries = {query.id: query for query in data.queries}
    if unknown := [id for id in run if id not in queries]:
        raise BadInput(f"run {run.name!r}: query {unknown[0]!r} is not among the {len(queries)} queries of {data.name!r}")
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
    scores = {document.id: score for document, score in zip(request.documents, order.scores, strict=False)}
    return {"calls": [dict(call) for call in order.calls], "scores": scores}
