"""Judgements, and the Dataset that holds texts and judgements together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from whyrank.errors import BadInput
from whyrank.types.run import Run
from whyrank.types.texts import Corpus, Query

LARGEST_GRADE = 1_000_000


class Qrels(Mapping[str, Mapping[str, int]]):
    """Relevance judgements: `qrels["q1"]["d7"]` is the grade that an assessor gave; 0 or less is not relevant."""

    def __init__(self, grades: Mapping[str, Mapping[str, int]]) -> None:
        """Hold `{query id: {document id: grade}}`.

        Raises:
            BadInput: a grade is not a whole number, or beyond ±1,000,000 (trec_eval sets aside memory by the largest).
        """
        self._grades = {query: dict(judged) for query, judged in grades.items()}
        for query, judged in self._grades.items():
            for id, grade in judged.items():
                if not isinstance(grade, int | np.integer) or abs(grade) > LARGEST_GRADE:
                    raise BadInput(
                        f"query {query!r}, document {id!r}: the grade {grade!r} is not a whole number within ±1,000,000"
                    )

    def __getitem__(self, query_id: str) -> Mapping[str, int]:
        """The judged documents of one query with their grades."""
        return self._grades[query_id]

    def __iter__(self) -> Iterator[str]:
        """The judged queries."""
        return iter(self._grades)

    def __len__(self) -> int:
        """How many queries are judged."""
        return len(self._grades)

    def __repr__(self) -> str:
        """Size."""
        return f"Qrels({len(self):,} queries, {sum(map(len, self._grades.values())):,} judgements)"


@dataclass(frozen=True)
class Dataset:
    """A collection with its queries and judgements; parts that a source does not have are empty.

    Attributes:
        name: as given to `load`.
        corpus: the documents.
        queries: the queries, with the documents that each excludes.
        qrels: the judgements.
        candidates: a first-stage run that the source publishes, or None.
        slices: classes of queries, by what tells them apart: `{"hops": {"q1": "hops 2"}}`.
    """

    name: str
    corpus: Corpus = field(default_factory=lambda: Corpus(()))
    queries: tuple[Query, ...] = ()
    qrels: Qrels = field(default_factory=lambda: Qrels({}))
    candidates: Run | None = None
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def head(self, n: int) -> "Dataset":
        """The same data with the first `n` queries only, their judgements and candidates: for a quick trial."""
        queries = self.queries[:n]
        ids = {query.id: None for query in queries}
        qrels = Qrels({id: self.qrels[id] for id in ids if id in self.qrels})
        candidates = None if self.candidates is None else self.candidates.only(ids)
        return replace(self, queries=queries, qrels=qrels, candidates=candidates)
