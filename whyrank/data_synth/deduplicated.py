"""Near-duplicates and what leaked from test sets, taken out and told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from whyrank.data_synth.asking import sourced
from whyrank.data_synth.base import Made, Synth, from_1
from whyrank.data_synth.shingles import Shingles, Texts, of, shingles
from whyrank.datasets import load
from whyrank.errors import BadInput
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
    runs that they hold, so that a test query inside a longer text is found. Exact, no sketches. The report of each drop
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
    n: int = 3
    alike: float = 0.8

    def __post_init__(self) -> None:
        """Refuse runs of nothing, and a likeness that all texts have."""
        from_1("deduplicated", n=self.n)
        if not 0 < self.alike <= 1:
            raise BadInput(f"deduplicated: alike is above 0 and at most 1, not {self.alike}")
        if self.documents not in ("relevant", "all", "none"):
            raise BadInput(f"deduplicated: documents must be 'relevant', 'all' or 'none', not {self.documents!r}")

    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        tests = [load(name) for name in self.against]
        queries = of(((f"{test.name} {query.id}", query.text) for test in tests for query in test.queries), self.n)
        documents = of((text for test in tests for text in self._shown(test)), self.n)
        held, seen = _Held(Texts(self.n)), _Seen(queries, documents)
        return [self._checked(task, held, seen) for task in tasks]

    def _shown(self, test: Dataset) -> Iterable[tuple[str, str]]:
        if self.documents == "all":
            return ((f"{test.name} {one.id}", one.content) for one in test.corpus)
        judged = {id for grades in test.qrels.values() for id, grade in grades.items() if grade > 0}
        wanted = sorted(judged) if self.documents == "relevant" else []
        return ((f"{test.name} {id}", test.corpus[id].content) for id in wanted if id in test.corpus)

    def _checked(self, task: RankTask, held: "_Held", seen: "_Seen") -> Made:
        query = shingles(task.query.text, self.n)
        for reason, (like, much) in self._compared(task, query, held, seen):
            if much >= self.alike:
                return Made(dropped={reason: 1}, details={"like": like, "likeness": round(much, 4)})
        own = held.ids.get(task.query.id)
        shown = frozenset(document.id for document in task.documents)
        if own is None:
            held.queries.add(task.query.id, query)
        elif shown in own:
            return Made(dropped={"duplicate_list": 1})
        held.ids.setdefault(task.query.id, set()).add(shown)
        kept = self._distinct(task)
        if len(kept.documents) == len(task.documents):
            return Made((replace(task, source=sourced(task, self)),))
        if task.thought:
            return Made(dropped={"twins": 1})
        return Made((replace(kept, source=sourced(task, self)),), counts={"twins": len(shown) - len(kept.documents)})

    def _compared(
        self,
        task: RankTask,
        query: Shingles,
        held: "_Held",
        seen: "_Seen",
    ) -> Iterable[tuple[str, tuple[str, float]]]:
        yield "test_query", seen.queries.nearest(query, contained=True)
        if len(seen.documents):
            for one in task.documents:
                yield "test_document", seen.documents.nearest(shingles(one.content, self.n), contained=True)
        if task.query.id not in held.ids:
            yield "duplicate_query", held.queries.nearest(query)

    def _distinct(self, task: RankTask) -> RankTask:
        """The list without near-copies; of those that are alike the first of the highest grade stays, in its place."""
        texts, kept = Texts(self.n), set[str]()
        for one in sorted(task.documents, key=lambda one: -task.grades.get(one.id, 0.0)):
            runs = shingles(one.content, self.n)
            if texts.nearest(runs)[1] < self.alike:
                texts.add(one.id, runs)
                kept.add(one.id)
        return replace(
            task,
            documents=tuple(one for one in task.documents if one.id in kept),
            grades={id: grade for id, grade in task.grades.items() if id in kept},
            order=tuple(id for id in task.order if id in kept),
        )


class _Held:
    """What earlier tasks had."""

    def __init__(self, queries: Texts) -> None:
        self.queries = queries
        self.ids: dict[str, set[frozenset[str]]] = {}


@dataclass(frozen=True)
class _Seen:
    """What tests have."""

    queries: Texts
    documents: Texts
