"""`tree(llm)`: hierarchical search, in which a language model walks down a tree of clusters to the documents."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np

from whyrank.errors import BadIndex, BadInput, BadSpec
from whyrank.fields import Above, AtLeast, AtMost, NotNegative, Positive
from whyrank.llm.ask import Question, ask
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import make, name_of
from whyrank.retrieval.base import FolderPath, Retriever
from whyrank.retrieval.filters import allowed
from whyrank.retrieval.tree.index import ShownIndex, TreeIndex
from whyrank.retrieval.tree.slates import Judged, read, render
from whyrank.retrieval.tree.summaries import Extractive, Written
from whyrank.retrieval.tree.walk import FoundLeaves, Policy, Slate, TreeWalk
from whyrank.retrieval.vector.dense import Dense
from whyrank.types import CallReport, Document, Note, Place, Query, Ranking, Run


@dataclass(frozen=True)
class Tree(Retriever):
    """A language model walks from the root of a tree of clusters to the documents, opening the best nodes first.

    Each step shows the model the children of the `beam` best unopened nodes, one call for each node, and asks how
    relevant each child is, from 0 to 100. Scores of different calls are calibrated against each other by what stands in
    several of them, and a node counts by its whole path; see `walk`. For n documents it takes about
    1 + `beam` · (log_branching n - 1) calls to reach the first ones, whatever their words are. Found are the documents
    that were judged, so that a ranking can be shorter than k. An excluded document is in no slate, and in no summary
    that is shown. A call that fails leaves its candidates unscored; their relevance is then that of their siblings, or
    of the node above.

    Building keeps all texts in memory. With a `path` the model calls of `written(...)` are recorded in the file
    `path` + ".trace.jsonl", from which a stopped build goes on.

    Attributes:
        llm: the model that walks.
        path: the folder of the index; without one it stays in memory.
        encoder: what clusters the documents: `dense(...)`, or the name of a model for it.
        summaries: how clusters are told: `extractive()` or `written(llm)`.
        build: "bottom_up" clusters the documents, then the clusters; "top_down" divides the collection, then its parts.
        branching: the most children of a node.
        beam: how many nodes are opened at a time.
        iterations: how many times.
        alpha: what a node's own relevance counts against that of its path, above 0, at most 1.
        anchors: how many documents that were seen before stand in the slate of a leaf cluster again.
        shrink: how strongly relevances are drawn to their mean; more where the model's scores are noisier.
        ridge: how strongly the biases of calls are held at 0.
        calls: at most so many calls for each query; None is no bound.
        tokens: no further step for a query once its calls have taken so many tokens, in and out; None is no bound.
        relevance: what counts as relevant in this collection, told to the model; may be empty.
        sampling: how completions are drawn.
        max_passage_tokens: longer candidates are cut to this.

    Raises:
        BadInput: a number outside its range.

    Source:
        LATTICE (2510.13217, 2025).
    """

    llm: LLM
    path: FolderPath = None
    encoder: str | Dense = "minilm"
    summaries: Extractive | Written = field(default_factory=Extractive)
    build: Literal["bottom_up", "top_down"] = "bottom_up"
    branching: Annotated[int, AtLeast(2)] = 10
    beam: Positive = 2
    iterations: Positive = 20
    alpha: Annotated[float, Above(0), AtMost(1)] = 0.5
    anchors: NotNegative = 4
    shrink: Annotated[float, Above(0)] = 0.3
    ridge: Annotated[float, Above(0)] = 0.1
    calls: Positive | None = None
    tokens: Positive | None = None
    relevance: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    max_passage_tokens: Positive = 256
    _held: TreeIndex | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True
    file_fields: ClassVar[frozenset[str]] = frozenset(
        {"build", "branching", "beam", "iterations", "alpha", "anchors", "shrink", "ridge", "calls", "tokens"}
        | {"relevance", "sampling", "max_passage_tokens"}
    )

    @property
    def policy(self) -> Policy:
        """How a query walks."""
        return Policy(self.beam, self.iterations, self.alpha, self.anchors, self.shrink, self.ridge, self.calls)

    def append(self, documents: Iterable[Document], trace: Trace | None = None) -> Self:
        """A copy that also holds `documents`: each goes to the nearest leaf cluster, and what overflows is split.

        Summaries are made anew for the clusters on the way only. The copy lies in no folder yet: `save` it.

        Args:
            documents: with ids that are not in the tree.
            trace: the record of model calls, for `written(...)`.

        Raises:
            BadInput: an id is there already or is given twice, or there is no index yet.
        """
        held, (documents, known) = self._ready(), self._learning(documents)
        added = list(documents)
        seen = set(held.places)
        for document in added:
            if document.id in seen:
                raise BadInput(f"document {document.id!r} occurs twice: ids must be unique, in the tree and beside it")
            seen.add(document.id)
        if not added:
            return self
        index, changed = held.followed_by(added, self._vectors(added, keep=False), self.branching)
        larger = copy(self)
        object.__setattr__(larger, "path", None)
        object.__setattr__(larger, "_held", self._told(index, changed, trace))
        return larger._knowing(known)

    def save(self, path: str | Path) -> None:
        """Write the tree to the new folder `path`: whole or not at all.

        Raises:
            BadInput: there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        index = self._ready()
        about = {**index.about, "spec": repr(replace(self, path=None))}
        replace(index, about=about).write(Path(path), self._noted())

    @classmethod
    def open(
        cls,
        path: str | Path,
        llm: LLM | None = None,
        *,
        encoder: str | Dense = "minilm",
        summaries: Extractive | Written | None = None,
        trust: bool = False,
    ) -> Self:
        """The retriever that wrote the tree in the folder `path`, with the model of whoever opens it.

        Args:
            path: the folder.
            llm: the model that walks; a file chooses none.
            encoder: as the tree was made with.
            summaries: likewise.
            trust: build the whole of what the folder tells, its model, its server and its keys' names included.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder holds no tree, a damaged one, one that was made otherwise, or `llm` is not given.
        """
        index = TreeIndex.read(Path(path))
        told = index.about.get("spec")
        if trust:
            opened = cls._trusted(path, told)
        elif llm is None:
            raise BadIndex(
                f"{path} was made by {told!r:.200}, and a file chooses no model: give one, "
                f"Tree.open({str(path)!r}, llm), or open with trust=True"
            )
        else:
            opened = cls._from_folder(path, told, llm=llm, encoder=encoder, summaries=summaries or Extractive())
        opened._hold(index)
        return opened

    @classmethod
    def _trusted(cls, path: str | Path, told: object) -> Self:
        try:
            return make(str(told), cls).at(path)
        except BadSpec as error:
            raise BadIndex(
                f"{path} was made by {told}, which cannot be built ({error}): say tree(llm, path=…)"
            ) from None

    def plan(self, query: Query) -> Plan[tuple[FoundLeaves, list[CallReport]]]:
        """The walk of one query: what it found, and the reports of its calls."""
        index = self._ready()
        filters = allowed([query], lambda: index.places)
        excluded = filters[0].rest(len(index.ids)).tolist() if filters else []
        walk = TreeWalk(index.shape, self.policy, excluded)
        how = self.summaries if isinstance(self.summaries, Extractive) else Extractive()
        shown = ShownIndex(index, excluded, walk.gone, how)
        calls: list[CallReport] = []
        spent = 0
        while (self.tokens is None or spent < self.tokens) and (slates := walk.slates()):
            said = yield from ask([self._question(query, shown, slate) for slate in slates])
            walk.hear(slates, [np.array(one.answer.scores) for one in said])
            for slate, one in zip(slates, said, strict=True):
                place = Place(iteration=walk.iteration, node=slate.node)
                calls.append(replace(one.report, candidates=len(slate.entries), place=place))
            spent += sum(one.report.usage.input + one.report.usage.output for one in said)
        return walk.found(), calls

    def _index(self, corpus: Iterable[Document]) -> None:
        documents = list(corpus)
        index = TreeIndex.of(documents, self._vectors(documents, keep=True), self.build, self.branching)
        index = replace(index, about=self._made_by())
        nodes = np.arange(len(index.sketches))
        if self.path is None:
            index = self._told(index, nodes, None)
        else:
            with Trace(f"{self.path}.trace.jsonl" if isinstance(self.summaries, Written) else None) as trace:
                index = self._told(index, nodes, trace)
        object.__setattr__(self, "_held", index)
        if self.path is not None:
            self.save(self.path)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        index = self._ready()
        found = drive({query.id: self.plan(query) for query in queries}, self.llm, trace)
        rankings = {
            query: Ranking([index.ids[leaf] for leaf in walked.leaves.tolist()], walked.scores)
            for query, (walked, _) in found.items()
        }
        notes = {query: Note(tuple(calls)) for query, (_, calls) in found.items()}
        return Run.of(rankings, name=name_of(type(self)), notes=notes).top(k)

    def _question(self, query: Query, shown: ShownIndex, slate: Slate) -> Question[Judged]:
        texts = [shown.text(node) for node in slate.entries.tolist()]
        prompt = render(query.text, texts, self.relevance, self.sampling).with_documents(self.max_passage_tokens)
        return Question(prompt, partial(read, n=len(texts)))

    def _vectors(self, documents: Sequence[Document], keep: bool) -> Any:  # noqa: ANN401 (an array of either float)
        """The documents' vectors; those of the whole collection are kept where the encoder has a path."""
        encoder = Dense(self.encoder) if isinstance(self.encoder, str) else self.encoder
        return (encoder if keep else replace(encoder, path=None)).index(documents).matrix

    def _told(self, index: TreeIndex, nodes: Any, trace: Trace | None) -> TreeIndex:  # noqa: ANN401 (an array of nodes)
        return index.told_by(self.summaries, nodes, trace) if isinstance(self.summaries, Written) else index

    def _made_by(self) -> dict[str, Any]:
        encoder = Dense(self.encoder) if isinstance(self.encoder, str) else self.encoder
        same = replace(encoder, path=None, device=None, batch_size=Dense.batch_size)
        told = self.summaries
        summaries = "extractive" if isinstance(told, Extractive) else f"written by {told.llm.identity}"
        return {"encoder": repr(same), "summaries": summaries, "build": self.build, "branching": self.branching}

    def _collection(self) -> tuple[str, Iterable[str]]:
        return self._ready().collection, self._ready().ids

    def _ready(self) -> TreeIndex:
        if self._held is not None:
            return self._held
        if self.path is None:
            raise BadInput(f"{self!r} has no tree yet: call index(corpus), or give the path of a saved one")
        return self._hold(TreeIndex.read(Path(self.path)))

    def _hold(self, index: TreeIndex) -> TreeIndex:
        for name, value in self._made_by().items():
            if (found := index.about.get(name)) != value:
                raise BadIndex(f"{self.path} was made with {name}={found}, which {self!r} does not ask for")
        object.__setattr__(self, "_held", index)
        return index
