"""What is served, below any protocol: parts by name, made once at the start, and the requests that they work on.

No spec ever comes from a request: a spec can name code. What a request names is one of the parts that are here.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import uuid4

from whyrank.errors import BadInput, BudgetSpent, EngineError
from whyrank.llm.engine import LLM
from whyrank.llm.hub import Caller, Hub
from whyrank.llm.trace import Trace
from whyrank.parameters import walk
from whyrank.registry import Part
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.rerank.base import LLMReranker, Order, Request, Reranker, answered, request_of
from whyrank.retrieval.base import Retriever
from whyrank.serve.answer import Answer
from whyrank.serve.batches import Batches
from whyrank.serve.refusal import Refused
from whyrank.serve.scores import unit_scores
from whyrank.types import Corpus, Document, Query, Ranking


@dataclass(frozen=True)
class Found:
    """What a search found for one query.

    Attributes:
        query: what was asked.
        hits: the documents, best first.
        scores: (n,) the retriever's own, or the reranker's as clients want them.
        answer: of the reranker, where one was asked.
        warnings: what else is to be told.
    """

    query: str
    hits: tuple[Document, ...]
    scores: tuple[float, ...]
    answer: Answer | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Service:
    """The parts that are served, and the scheduler that they share.

    Attributes:
        rerankers: by the names that requests give; the first is the one for requests that give none.
        searchers: retrievers with their index of `corpus`, by name.
        corpus: the documents that are searched.
        trace: the record of all model calls; in memory the last 10,000.
        strict: whether an unknown model is refused; None is where there are several rerankers.
        fail_open: whether a request whose reranker fails is answered in the order handed in, and told so.
        scores: "own" and "auto" take a reranker's own scores where they can be, "rank" never.
        name: of the collection.
    """

    rerankers: Mapping[str, Reranker] = field(default_factory=dict)
    searchers: Mapping[str, Retriever] = field(default_factory=dict)
    corpus: Corpus | None = None
    trace: Trace = field(default_factory=lambda: Trace(keep=10_000))
    strict: bool | None = None
    fail_open: bool = False
    scores: Literal["auto", "own", "rank"] = "auto"
    name: str = "documents"

    def __post_init__(self) -> None:
        """Start the scheduler, and a batch for each part that asks no model by words."""
        if not self.rerankers and not self.searchers:
            raise BadInput("there is nothing to serve: give a reranker or a retriever")
        if self.searchers and self.corpus is None:
            raise BadInput("a retriever needs documents to search: give --data")
        self.started = int(time.time())
        self.hub = Hub(self.trace)
        self._together: dict[str, Batches[Request, Order]] = {}
        self._searched: dict[str, Batches[tuple[Query, int], Ranking]] = {}
        for name, reranker in self.rerankers.items():
            if not _engines(reranker):
                self._together[name] = Batches(_ranking(reranker))
        for name, retriever in self.searchers.items():
            if not _engines(retriever):
                self._searched[name] = Batches(_searching(retriever))

    def warm(self) -> None:
        """Load what parts load at first use: the tokenizers of engines, and the weights of encoders, by a request."""
        for part in (*self.rerankers.values(), *self.searchers.values()):
            for llm in _engines(part):
                self.hub.add(llm)
        for name in self._together:
            self._together[name](request_of("ready?", ["ready"]))
        for name in self._searched:
            self._searched[name]((Query("warm", "ready?"), 1))

    def close(self) -> None:
        """Let engines and threads go, once what is under way is finished."""
        self.hub.close()
        for batch in self._together.values():
            batch.close()
        for search in self._searched.values():
            search.close()
        self.trace.close()

    def reranker(self, model: str) -> str:
        """The name of the reranker that a request means.

        Raises:
            Refused: there is none, or none of that name.
        """
        if not self.rerankers:
            raise Refused(404, "this server has no reranker, only search: start it with a reranker's spec")
        if model in self.rerankers:
            return model
        strict = len(self.rerankers) > 1 if self.strict is None else self.strict
        if model and strict:
            raise Refused(404, f"there is no model {model[:100]!r} here: {_listed(self.rerankers)}", param="model")
        return next(iter(self.rerankers))

    def searcher(self, name: str) -> str:
        """The name of the retriever that a request means; empty is the first.

        Raises:
            Refused: there is none of that name.
        """
        if name in self.searchers:
            return name
        if name or not self.searchers:
            raise Refused(404, f"there is no collection {name[:100]!r} to search here: {_listed(self.searchers)}")
        return next(iter(self.searchers))

    def rank(self, model: str, query: str, documents: Sequence[str | Document], caller: Caller, id: str = "") -> Answer:
        """Rank documents, in the thread that this is called in.

        Raises:
            Refused: no model call brought an answer, and the server does not fail open.
            EngineError, BudgetSpent: a model cannot be used, or a limit is reached; likewise.
        """
        id, began = id or new_id(), time.monotonic()
        name = self.reranker(model)
        request = request_of(Query(id, query), documents)
        try:
            ranked = self._rank(name, request, caller)
            if ranked.calls and all(call.status == "failed" for call in ranked.calls):
                raise _all_failed(ranked)
        except (EngineError, BudgetSpent, Refused) as error:
            if not self.fail_open:
                raise
            return self._as_given(name, request, error, id, time.monotonic() - began)
        how: Literal["auto", "own", "rank"] = self.scores
        unit = self.rerankers[name].unit
        scores, made = unit_scores([item.score for item in ranked], unit, how)
        warnings = [_BY_RANK] if made == "rank" else []
        if failed := ranked.statuses.get("failed", 0):
            warnings.append(f"{failed} of {len(ranked.calls)} model calls failed: the order is made of the others")
        return Answer(id, name, ranked, tuple(scores), made, time.monotonic() - began, "", tuple(warnings))

    def search(
        self,
        name: str,
        query: str,
        k: int,
        caller: Caller,
        rerank: str | None = None,
        excluded: frozenset[str] = frozenset(),
        only: frozenset[str] | None = None,
        id: str = "",
    ) -> Found:
        """Search the documents, and rerank what was found where `rerank` names a reranker."""
        assert self.corpus is not None
        name, asked = self.searcher(name), Query(id or new_id(), query, excluded, only)
        depth = max(k, DEPTH) if rerank is not None else k
        if name in self._searched:
            ranking = self._searched[name]((asked, depth))
        else:
            with caller.working():
                ranking = self.searchers[name].search([asked], depth, self.trace)[asked.id]
        pairs = zip(ranking.ids, ranking.scores.tolist(), strict=True)
        hits = [(self.corpus[id], score) for id, score in pairs if id in self.corpus]
        if rerank is None or not hits:
            return Found(query, tuple(hit for hit, _ in hits), tuple(score for _, score in hits))
        answer = self.rank(rerank, query, [hit for hit, _ in hits], caller, asked.id)
        best = [(hits[item.index][0], score) for item, score in answer.best(k)]
        return Found(query, tuple(hit for hit, _ in best), tuple(score for _, score in best), answer, answer.warnings)

    def _rank(self, name: str, request: Request, caller: Caller) -> RankedList:
        spec = repr(self.rerankers[name])
        if name in self._together:
            return answered(request, self._together[name](request), spec, self.trace)
        with caller.working():
            (order,) = self.rerankers[name].rank_requests([request], self.trace)
        return answered(request, order, spec, self.trace)

    def _as_given(self, name: str, request: Request, error: Exception, id: str, seconds: float) -> Answer:
        order = Order(tuple(range(len(request.documents))))
        ranked = answered(request, order, repr(self.rerankers[name]), self.trace)
        scores, how = unit_scores([None] * len(ranked), lambda score: None)
        why = {BudgetSpent: "limit", EngineError: "model", Refused: "answers"}.get(type(error), "fault")
        told = f"the reranker failed, and the documents are in the order handed in ({why})"
        return Answer(id, name, ranked, tuple(scores), how, seconds, why, (told, _BY_RANK))


DEPTH = 50
"""How many documents of a search are reranked, at least."""

_BY_RANK = "scores are made of ranks: they compare within this answer only, so do not merge batches by them"


def new_id() -> str:
    """An id for a request."""
    return uuid4().hex


def _engines(part: Part) -> list[LLM]:
    return [
        inner.llm if isinstance(inner, LLMReranker) else inner
        for inner in walk(part)
        if isinstance(inner, LLM | LLMReranker)
    ]


def _listed(names: Mapping[str, Any]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"


def _all_failed(ranked: RankedList) -> Refused:
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(ranked.spent.failures.items()))
    details = "; ".join(dict.fromkeys(call.detail for call in ranked.calls if call.detail))
    return Refused(502, f"none of {len(ranked.calls)} model calls brought an answer ({kinds})", log=details[:1000])


def _ranking(reranker: Reranker) -> Callable[[Sequence[Request]], Sequence[Order]]:
    """Ranks the requests of many clients together; each query goes by a number, since clients share ids."""

    def work(requests: Sequence[Request]) -> Sequence[Order]:
        apart = [
            replace(request, query=replace(request.query, id=str(number))) for number, request in enumerate(requests)
        ]
        return reranker.rank_requests(apart)

    return work


def _searching(retriever: Retriever) -> Callable[[Sequence[tuple[Query, int]]], Sequence[Ranking]]:
    """Searches for the queries of many clients together, as deep as the deepest of them wants."""

    def work(asked: Sequence[tuple[Query, int]]) -> Sequence[Ranking]:
        queries = [replace(query, id=str(number)) for number, (query, _) in enumerate(asked)]
        run = retriever.search(queries, max(k for _, k in asked))
        return [Ranking(found.ids[:k], found.scores[:k]) for found, (_, k) in zip(run.values(), asked, strict=True)]

    return work
