"""A retriever that searches for what a rewriter makes of the query."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import ClassVar, Self

import numpy as np

from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.fusion import reciprocal_ranks
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite.base import PassageRequest, Rewriter, Rewriting
from whyrank.retrieval.rewrite.combine import Combine, Searched
from whyrank.types import Corpus, Document, Note, Query, Ranking, Run


@dataclass(frozen=True)
class Rewritten(Retriever):
    """Rewrite all queries, in one batched, cached and resumable go, then search.

    Where a rewriting brings no text, because a call failed, was empty or was cut off before its answer, the original
    query is searched; `outcomes` counts how often. `Run.notes` has for each query the `outcome`, the `rewritten` texts
    and the `calls` with their statuses. A reranker that reads the run still sees the original queries.

    Attributes:
        retriever: what searches, also for rewriters that read passages.
        rewriter: what rewrites, such as `hyde(llm)` or `from_file('rewrites.json')`.
        combine: how the rewritten text goes together with the query; None takes the rewriter's own way, which the spec
            then shows.
        depth: how deep each ranking is, at least, where several are fused.

    Examples:
        >>> from whyrank import BM25, Document, Fake, Query
        >>> from whyrank.retrieval.rewrite import HyDE
        >>> documents = [Document("d1", "Yeast breathes out gas."), Document("d2", "Loaves are sold in the morning.")]
        >>> oracle = Rewritten(BM25(), HyDE(Fake("<think>Bread?</think>Gas from yeast lifts the dough.")))
        >>> run = oracle.index(documents).search([Query("q", "why do loaves rise")])
        >>> run["q"].ids, run.notes["q"].rewritten
        (['d1'], ('Gas from yeast lifts the dough.',))
    """

    retriever: Retriever
    rewriter: Rewriter
    combine: Combine | None = None
    depth: Positive = 1000
    _texts: Corpus | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Write the policy into the spec."""
        object.__setattr__(self, "combine", self.policy)

    @property
    def policy(self) -> Combine:
        """How rewritten text goes together with the query."""
        return self.rewriter.default_combine if self.combine is None else self.combine

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy whose retriever is ready for `corpus`, and which reads passages from there."""
        ready, held = copy(self), self._held(corpus)
        ready._take(self.retriever.ready(held), held)
        return ready

    def _index(self, corpus: Iterable[Document]) -> None:
        held = self._held(corpus)
        self._take(self.retriever.index(held), held)

    def _held(self, corpus: Iterable[Document]) -> Iterable[Document]:
        """The collection in memory, if the rewriter may want to read in it."""
        return Corpus(corpus) if self.rewriter.reads and not isinstance(corpus, Corpus) else corpus

    def _take(self, retriever: Retriever, corpus: Iterable[Document]) -> None:
        object.__setattr__(self, "retriever", retriever)
        object.__setattr__(self, "_texts", corpus if isinstance(corpus, Corpus) else None)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        wanted = [query for query in queries if self.policy.wants(query.text)]
        by_id = {query.id: query for query in wanted}

        def find(looks: Mapping[str, PassageRequest]) -> dict[str, tuple[Document, ...]]:
            return self._find(by_id, looks, trace)

        made = self.rewriter.rewrite(wanted, find, trace)
        searched = {query.id: self._searched(query, made.get(query.id)) for query in queries}
        most = max(map(len, searched.values()), default=1)
        depth = k if most == 1 else max(k, self.depth)
        runs = []
        for at in range(most):
            asked = [replace(each, text=searched[each.id][at].text) for each in queries if len(searched[each.id]) > at]
            runs.append(self.retriever.search(asked, depth, trace))
        inner = {query.id: [run.notes[query.id] for run in runs if query.id in run.notes] for query in queries}
        notes = {id: _note(made.get(id), some) for id, some in inner.items()}
        name = name_of(type(self))
        if most == 1:
            (run,) = runs
            return Run(run.query_ids, run.offsets, run.codes, run.documents, run.scores, name=name, notes=notes)
        return Run.of({id: _fused(id, runs, texts) for id, texts in searched.items()}, name=name, notes=notes)

    def _searched(self, query: Query, made: Rewriting | None) -> list[Searched]:
        return self.policy.searched(query.text, made.texts) if made and made.texts else [Searched(query.text)]

    def _find(
        self, queries: Mapping[str, Query], looks: Mapping[str, PassageRequest], trace: Trace | None
    ) -> dict[str, tuple[Document, ...]]:
        """What each look finds, searched together, with texts; never what a query may not find."""
        if self._texts is None:
            raise BadInput(
                f"{name_of(type(self.rewriter))} reads passages, but only an index is here: call ready(corpus), which "
                "uses an index that is there already, or index(corpus), with the collection"
            )
        asked = [
            replace(queries[id], text=look.text, excluded=queries[id].excluded | look.without)
            for id, look in looks.items()
        ]
        run = self.retriever.search(asked, max(look.k for look in looks.values()), trace)
        return {id: tuple(self._text(self._texts, doc) for doc in run[id].ids[: look.k]) for id, look in looks.items()}

    def _text(self, texts: Corpus, id: str) -> Document:
        if id not in texts:
            raise BadInput(
                f"{self.retriever!r} found {id!r}, which the collection does not have: its index is another's"
            )
        return texts[id]


def outcomes(run: Run) -> dict[str, int]:
    """How many queries of a run were rewritten, fell back to the original, or were gated; empty without a rewriter."""
    counts = Counter(note.outcome for note in run.notes.values() if note.outcome)
    return {name: counts[name] for name in ("rewritten", "fell_back", "gated")} if counts else {}


def _note(made: Rewriting | None, inner: Sequence[Note]) -> Note:
    """What travels beside the order: the outcome, the texts, and all calls, those of the inner retriever last."""
    outcome = "gated" if made is None else "rewritten" if made.texts else "fell_back"
    note = Note(made.calls if made else (), outcome=outcome, rewritten=made.texts if made else ())
    return reduce(Note.followed_by, inner, note)


def _fused(id: str, runs: Sequence[Run], texts: Sequence[Searched]) -> Ranking:
    """The rankings of one query's texts, fused by weighted reciprocal ranks; equals stay in order of appearance."""
    if len(texts) == 1:
        return runs[0][id]
    scores = reciprocal_ranks([run[id].ids for run in runs[: len(texts)]], [text.weight for text in texts])
    return Ranking(list(scores), np.array(list(scores.values())))
