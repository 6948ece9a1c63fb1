"""Near-duplicates and what leaked from test sets, taken out and told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from whyrank.data_synth.base import Made, Synth
from whyrank.data_synth.shingles import ShingledTexts, Shingles, shingles
from whyrank.data_synth.teacher import sourced
from whyrank.datasets import load
from whyrank.fields import Above, AtMost, Positive
from whyrank.llm.trace import Trace
from whyrank.types import Dataset, RankTask


@dataclass(frozen=True)
class Deduplicated(Synth):
    """Takes out what training must not see twice, and what it must not see at all.

    A task is dropped where its query holds most of a test query ("test_query"), where it shows a document that holds
    most of a test document ("test_document"), where its query is nearly that of an earlier task with another id
    ("duplicate_query"), or where its query had the same list before ("duplicate_list"). Within a list, of documents
    that are nearly the same the one with the highest grade stays: its twin would be a wrong negative.

    Texts are compared by their runs of `n` words: with each other by Jaccard, with tests by the share of the *test's*
    runs that they hold, so that a test query inside a longer text is found; one of fewer than `n` words is too common
    to be looked for there, and only a text of the same words is like it. Exact, no sketches. The report of each drop
    names what was alike, and how much.

    Attributes:
        against: test sets by name, as `load` takes them: `("bright/biology", "beir/scifact")`.
        documents: which documents of test sets count: those judged "relevant", "all", or "none", for training on the
            same collection with other queries.
        n: words in a run.
        alike: texts from this likeness on are the same, above 0.
    """

    against: tuple[str, ...] = ()
    documents: Literal["relevant", "all", "none"] = "relevant"
    n: Positive = 3
    alike: Annotated[float, Above(0), AtMost(1)] = 0.8

    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        tests = [load(name) for name in self.against]
        asked = ((f"{test.name} {query.id}", query.text) for test in tests for query in test.queries)
        shown = (text for test in tests for text in self._shown(test))
        known = _Known(
            ShingledTexts(self.n, self.alike, asked),
            ShingledTexts(self.n, self.alike, shown),
            ShingledTexts(self.n, self.alike),
        )
        return [self._checked(task, known) for task in tasks]

    def _shown(self, test: Dataset) -> Iterable[tuple[str, str]]:
        if self.documents == "all":
            return ((f"{test.name} {one.id}", one.content) for one in test.corpus)
        judged = {id for grades in test.qrels.values() for id, grade in grades.items() if grade > 0}
        wanted = sorted(judged) if self.documents == "relevant" else []
        return ((f"{test.name} {id}", test.corpus[id].content) for id in wanted if id in test.corpus)

    def _checked(self, task: RankTask, known: "_Known") -> Made:
        query = shingles(task.query.text, self.n)
        runs = {one.id: shingles(one.content, self.n) for one in task.documents}
        for reason, (like, likeness) in known.compared(task.query.id, query, runs.values()):
            if like:
                return Made(dropped={reason: 1}, details={"like": like, "likeness": round(likeness, 4)})
        if not known.new(task.query.id, query, frozenset(runs)):
            return Made(dropped={"duplicate_list": 1})
        kept = self._distinct(task, runs)
        if task.thought and kept != set(runs):
            return Made(dropped={"twins": 1})
        made = replace(
            task,
            documents=tuple(one for one in task.documents if one.id in kept),
            grades={id: grade for id, grade in task.grades.items() if id in kept},
            order=tuple(id for id in task.order if id in kept),
            source=sourced(task, self),
        )
        return Made((made,), counts={"twins": len(runs) - len(kept)} if kept != set(runs) else {})

    def _distinct(self, task: RankTask, runs: Mapping[str, Shingles]) -> set[str]:
        """Of documents that are alike, the first of the highest grade."""
        texts, kept = ShingledTexts(self.n, self.alike), set[str]()
        for id in sorted(runs, key=lambda id: -task.grades.get(id, 0.0)):
            if not texts.nearest(runs[id])[0]:
                texts.add(id, runs[id])
                kept.add(id)
        return kept


@dataclass(frozen=True)
class _Known:
    """What tests have, and what earlier tasks had."""

    test_queries: ShingledTexts
    test_documents: ShingledTexts
    queries: ShingledTexts
    lists: dict[str, set[frozenset[str]]] = field(default_factory=dict)

    def compared(
        self, id: str, query: Shingles, documents: Iterable[Shingles]
    ) -> Iterator[tuple[str, tuple[str, float]]]:
        """Each reason for which a task may be dropped, with what is most alike."""
        yield "test_query", self.test_queries.nearest(query, contained=True)
        if len(self.test_documents):
            for one in documents:
                yield "test_document", self.test_documents.nearest(one, contained=True)
        if id not in self.lists:
            yield "duplicate_query", self.queries.nearest(query)

    def new(self, id: str, query: Shingles, shown: frozenset[str]) -> bool:
        """Whether the query did not have this list before; from now on it has."""
        if id not in self.lists:
            self.queries.add(id, query)
        before = self.lists.setdefault(id, set())
        fresh = shown not in before
        before.add(shown)
        return fresh
