"""Judgements, and the Dataset that holds texts and judgements together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from whyrank.errors import BadInput
from whyrank.types.run import Run
from whyrank.types.texts import Corpus, Query

LARGEST_GRADE = 1_000_000


Aspects = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By query and document, the aspects of the query that were judged for it, with their grades."""


class Qrels(Mapping[str, Mapping[str, float]]):
    """Relevance judgements: `qrels["q1"]["d7"]` is the grade that an assessor gave; 0 or less is not relevant.

    Whole grades are `int`; fractions, which some collections have, stay `float`.

    Attributes:
        protocol: of recommendation: all that decides figures, from the file's hash to the split and the mask; figures
            of different protocols do not compare.
        aspects: where queries have aspects, `{query id: {document id: {aspect: grade}}}`; else empty.
    """

    def __init__(
        self, grades: Mapping[str, Mapping[str, float]], protocol: str = "", aspects: "Aspects | None" = None
    ) -> None:
        """Hold `{query id: {document id: grade}}`; numbers may be numpy's.

        Raises:
            BadInput: an id is no text, or a grade no number, or beyond ±1,000,000 (trec_eval sets aside memory by the
                largest).
        """
        self.protocol = protocol
        self.aspects: Aspects = aspects or {}
        self._grades: dict[str, dict[str, float]] = {}
        for query, judged in grades.items():
            if not isinstance(query, str) or not isinstance(judged, Mapping):
                raise BadInput(
                    f"qrels are {{query id: {{document id: grade}}}}, ids as text, not {{{query!r}: {judged!r:.60}}}"
                )
            self._grades[query] = {id: _grade(query, id, grade) for id, grade in judged.items()}

    @classmethod
    def of(cls, given: "Mapping[str, Mapping[str, float]]") -> "Qrels":
        """The same judgements as `Qrels`, which are checked."""
        return given if isinstance(given, Qrels) else cls(given)

    def __getitem__(self, query_id: str) -> Mapping[str, float]:
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


def _grade(query: str, id: object, grade: object) -> float:
    """The grade as `int` where it is whole, else as `float`."""
    if type(grade) is int and isinstance(id, str) and abs(grade) <= LARGEST_GRADE:
        return grade
    if not isinstance(id, str):
        raise BadInput(f"query {query!r}: the document id {id!r} is no text: write {str(id)!r}")
    if not isinstance(grade, int | float | np.integer | np.floating) or not -LARGEST_GRADE <= grade <= LARGEST_GRADE:
        raise BadInput(f"query {query!r}, document {id!r}: the grade {grade!r:.40} is not a number within ±1,000,000")
    return int(grade) if float(grade).is_integer() else float(grade)


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
        left_out: how many users or events brought no query, by the reason.
    """

    name: str
    corpus: Corpus = field(default_factory=lambda: Corpus(()))
    queries: tuple[Query, ...] = ()
    qrels: Qrels = field(default_factory=lambda: Qrels({}))
    candidates: Run | None = None
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name and sizes."""
        parts = [f"{self.name!r}", repr(self.corpus), f"{len(self.queries):,} queries", repr(self.qrels)]
        return f"Dataset({', '.join([*parts, *([repr(self.candidates)] if self.candidates is not None else [])])})"

    def head(self, n: int) -> "Dataset":
        """The same data with the first `n` queries only, their judgements and candidates: for a quick trial."""
        queries = self.queries[:n]
        ids = {query.id: None for query in queries}
        aspects = {id: judged for id, judged in self.qrels.aspects.items() if id in ids}
        grades = {id: self.qrels[id] for id in ids if id in self.qrels}
        qrels = Qrels(grades, self.qrels.protocol, aspects)
        candidates = None if self.candidates is None else self.candidates.only(ids)
        return replace(self, queries=queries, qrels=qrels, candidates=candidates)
