"""What every reranker is: put the best candidates of each query into a better order."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from whyrank.errors import BadInput, want, want_count
from whyrank.llm.engine import LLM
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part, name_of
from whyrank.rerank.answer.ranked import Ranked, showings
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.types import CallReport, Dataset, Document, Note, Query, Ranking, Run, Usage, count_statuses


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
        calls: a report of each model call, in the order asked. For the reasons of documents to be found it must tell
            what was `shown`; all else is told by `read`.
        note: what else is worth telling of the query, such as the route that it took.
    """

    ranking: tuple[int, ...]
    scores: tuple[float, ...] = ()
    calls: tuple[CallReport, ...] = ()
    note: Note = field(default_factory=Note)


class Reranker(Part, ABC):
    """Puts the candidates of a query into a better order. Subclasses are frozen dataclasses with a `_rank`."""

    def rerank(
        self, run: Run, data: Dataset, depth: int = 100, trace: Trace | None = None, seconds: float | None = None
    ) -> Run:
        """Rerank the first `depth` documents of each query in `run`; the documents below keep their order and place.

        Excluded documents are taken out before the cut at `depth`. Nothing is lost: each query has the same documents
        after as before, less the excluded.

        Args:
            run: the first stage.
            data: the data set with the texts of queries and documents.
            depth: how many documents of each query are reranked; a shorter ranking is reranked whole.
            trace: the record of model calls, for resuming and for the ledger; rerankers without an LLM ignore it.
            seconds: how long a query may ask its model, from its first call on; then it ends with what it has, its open
                calls failed. None is what the trace says, which by itself is no bound.

        Returns:
            A run with the same queries. Scores fall n, n-1, … 1; `notes` holds per query the reports of the calls, raw
            scores and those of the first stage: `RankedList.of` puts them together again.

        Raises:
            BadInput: a query or document of the run is not in `data`, or `depth` is below 1.
        """
        want(run, Run, "rerank: the run", "hand in a Run, such as read_run('run.trec') or a retriever's search")
        want(
            data,
            Dataset,
            "rerank: the data",
            "hand in a Dataset, such as load('toy') or Dataset('mine', corpus, queries)",
        )
        want_count(depth, "depth")
        requests, tails = requests_of(run, data, depth)
        trace = Trace() if trace is None and seconds is not None else trace
        with nullcontext() if trace is None else trace.within(seconds):
            orders = self.rank_requests(requests, trace)
        rankings, notes = {}, {}
        for request, order, tail in zip(requests, orders, tails, strict=True):
            ids = [request.documents[at].id for at in order.ranking] + tail
            rankings[request.query.id] = Ranking(ids, np.arange(len(ids), 0, -1, dtype=np.float64))
            notes[request.query.id] = _note(request, order, trace)
        return Run.of(rankings, name=name_of(type(self)), notes=notes)

    def rank(
        self,
        query: str | Query,
        docs: Iterable[str | Document],
        trace: Trace | None = None,
        seconds: float | None = None,
    ) -> RankedList:
        """Rank `docs` for one `query`: the entry for RAG systems, without any data set.

        Args:
            query: the question.
            docs: texts or documents, in any iterable, which is read once.
            trace: the record of model calls; without one they are remembered for this call only.
            seconds: how long the model may be asked. Then the answer is what came until then: calls that have none
                are `failed`, and where there is none at all the documents come back in the order handed in. The same
                holds where the model's server cannot be reached, which without `seconds` is an error.

        Returns:
            Every document that was handed in, best first; nothing is left out or added.

        Raises:
            BadInput: `query` is no text, `docs` is one text or a mapping, or holds something that is neither text nor
                `Document`.

        Examples:
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
        request = request_of(query, docs)
        trace = Trace() if trace is None else trace
        with trace.within(seconds):
            (order,) = self.rank_requests([request], trace)
        return answered(request, order, repr(self), trace)

    def unit(self, score: float) -> float | None:
        """The model's own score on a scale from 0 to 1 that means the same for every query; None where it has none."""
        return None

    def rank_requests(self, requests: Sequence[Request], trace: Trace | None = None) -> list[Order]:
        """One order for each request, checked: what rerankers that are made of other rerankers call.

        Raises:
            BadInput: `_rank` broke its contract: an order that is no permutation, or not one for each request.
        """
        orders = list(self._rank(requests, trace))
        if len(orders) != len(requests):
            raise BadInput(f"{name_of(type(self))} gave {len(orders)} orders for {len(requests)} requests")
        for request, order in zip(requests, orders, strict=True):
            where, n = f"{name_of(type(self))}, query {request.query.id!r}", len(request.documents)
            if sorted(order.ranking) != list(range(n)):
                raise BadInput(f"{where}: the ranking {order.ranking} is no permutation of its {n} candidates")
            if order.scores and len(order.scores) != n:
                raise BadInput(f"{where}: {len(order.scores)} scores for {n} candidates")
            for call in order.calls:
                want(call, CallReport, f"{where}: a call", "tell of it by reported(completion), or CallReport('exact')")
            if stray := next((call for call in order.calls if not set(call.shown or ()) <= set(range(n))), None):
                raise BadInput(f"{where}: a call shows {stray.shown}, which are no places of its {n} candidates")
        return orders

    @abstractmethod
    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        """One order for each request."""


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
        orders = drive(
            plans, self.llm, trace, like=[self.plan(request) for request in requests[:: len(requests) // 3 + 1]]
        )
        return [orders[request.query.id] for request in requests]


def request_of(query: str | Query, docs: Iterable[str | Document]) -> Request:
    """Texts or documents for one query, best first, without a first stage's scores.

    Raises:
        BadInput: as `Reranker.rank`.
    """
    asked = query if isinstance(query, Query) else Query("query", query)
    documents = documents_of(docs)
    return Request(asked, documents, tuple(float(n) for n in range(len(documents), 0, -1)))


def answered(request: Request, order: Order, name: str, trace: Trace) -> RankedList:
    """The answer for one request, document by document.

    Args:
        request: what was handed in.
        order: what a reranker made of it.
        name: the reranker's spec.
        trace: where the seconds and the cost of its calls are found.
    """
    documents = request.documents
    scores, calls = order.scores or (None,) * len(documents), tuple(_timed(call, trace) for call in order.calls)
    shown = showings(calls)
    items = []
    for rank, at in enumerate(order.ranking, start=1):
        one = documents[at]
        head = (rank, at, one.id, one.text, scores[at], None)
        items.append(Ranked(*head, *shown.get(at, ((), ())), metadata=one.metadata))
    return RankedList(tuple(items), calls, request.query, name, tuple(document.id for document in documents))


def statuses(run: Run) -> dict[str, int]:
    """How many model calls behind a reranked run ended in each status, so that no repair or failure goes unseen.

    Returns:
        `{"exact": …, "repaired": …, "truncated": …, "no_answer": …, "failed": …}`; empty where no model was called.
    """
    return count_statuses(call for note in run.notes.values() for call in note.calls)


def documents_of(docs: Iterable[str | Document]) -> tuple[Document, ...]:
    """Texts or documents as documents; a text's id is its place."""
    if isinstance(docs, str | bytes | Document):
        raise BadInput("docs is one text: hand in a list of texts or Documents")
    if isinstance(docs, Mapping):
        raise BadInput("docs is a mapping: hand in a list, such as [Document(id, text) for id, text in docs.items()]")
    want(docs, Iterable, "docs", "hand in a list of texts or Documents")
    return tuple(_document(at, doc) for at, doc in enumerate(docs))


def _document(at: int, doc: str | Document) -> Document:
    if isinstance(doc, Document):
        return doc
    if not isinstance(doc, str):
        kind = f"{type(doc).__module__}.{type(doc).__qualname__}".removeprefix("builtins.")
        raise BadInput(f"docs[{at}] is a {kind}: hand in texts or whyrank's Documents, such as Document('d1', 'text')")
    try:
        return Document(str(at), doc)
    except BadInput as error:
        raise BadInput(f"docs[{at}]: {error}") from None


def requests_of(run: Run, data: Dataset, depth: int) -> tuple[list[Request], list[list[str]]]:
    """What each query of `run` puts to a reranker, and the ids below `depth`, which keep their places.

    Raises:
        BadInput: a query or document of the run is not in `data`.
    """
    requests, tails = [], []
    for query, (ids, scores) in allowed(run, data):
        documents = tuple(document_in(data, doc, run.name, query) for doc in ids[:depth])
        requests.append(Request(query, documents, tuple(scores[:depth].tolist())))
        tails.append(list(ids[depth:]))
    return requests, tails


def allowed(run: Run, data: Dataset) -> Iterator[tuple[Query, Ranking]]:
    """Each query of `run` with its documents, without those that it does not allow.

    Raises:
        BadInput: a query of the run is not in `data`.
    """
    queries = {query.id: query for query in data.queries}
    if unknown := next((id for id in run if id not in queries), None):
        raise BadInput(f"run {run.name!r}: query {unknown!r} is not among the {len(queries)} queries of {data.name!r}")
    return ((queries[id], ranking) for id, ranking in run.without(data.queries).items())


def document_in(data: Dataset, id: str, run: str, query: Query) -> Document:
    """The document of that id, which the run called `run` has for `query`.

    Raises:
        BadInput: it is not in `data`.
    """
    try:
        return data.corpus[id]
    except KeyError:
        raise BadInput(
            f"run {run!r}, query {query.id!r}: document {id!r} is not among the {len(data.corpus)} documents "
            f"of {data.name!r}"
        ) from None


def _note(request: Request, order: Order, trace: Trace | None) -> Note:
    """What is kept beside the order; without seconds, so that a resumed run has the same notes."""
    ids = tuple(document.id for document in request.documents)
    own = (None if math.isnan(score) else score for score in order.scores)
    scores, first = dict(zip(ids, own, strict=False)), dict(zip(ids, request.scores, strict=True))
    calls = tuple(_priced(call, trace) for call in order.calls)
    return replace(order.note, calls=calls, candidates=ids, scores=scores, first_scores=first)


def _priced(call: CallReport, trace: Trace | None) -> CallReport:
    """The report with what the call cost, where there are prices."""
    if trace is None or trace.ledger.prices is None or call.usage == Usage():
        return call
    recorded = trace.call(call.key)
    return replace(call, cost=trace.ledger.prices.cost(recorded.model, call.usage)) if recorded else call


def _timed(call: CallReport, trace: Trace) -> CallReport:
    """The report with what the call cost and how many seconds it took."""
    recorded, priced = trace.call(call.key), _priced(call, trace)
    return replace(priced, seconds=round(recorded.seconds, 3)) if recorded else priced
