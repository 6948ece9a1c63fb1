"""RankTask: one list to rank and what is known of its right order; rerankers are trained and probed on these."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whyrank.errors import BadInput
from whyrank.types.texts import Document, Query


@dataclass(frozen=True)
class RankTask:
    """A list to rank, with grades and perhaps a teacher's order and thought.

    Attributes:
        query: what is asked.
        documents: (n,) the candidates in the order in which they are shown, n at least 1.
        grades: gain by document id, 0 where none is given; real-valued, so that teachers' scores fit too.
        order: (n,) document ids best first, as a teacher ranked them; empty where only grades are known.
        thought: the teacher's reasoning in the words that a model should learn; empty where there is none.
        source: where this comes from: {"teacher": …, "first_stage": …, …}; any JSON.

    Raises:
        BadInput: there is no document, a document occurs twice, a grade is of no document here or no finite number, or
            `order` is no permutation of the documents.
    """

    query: Query
    documents: tuple[Document, ...]
    grades: Mapping[str, float] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    thought: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that all that is said of documents is said of those in the list."""
        where = f"task {self.query.id!r}"
        if not self.documents:
            raise BadInput(f"{where}: no documents: a list to rank has at least one")
        ids = {document.id for document in self.documents}
        if len(ids) < len(self.documents):
            seen: set[str] = set()
            twice = next(one.id for one in self.documents if one.id in seen or seen.add(one.id))  # type: ignore[func-returns-value]
            raise BadInput(f"{where}: document {twice!r} is in the list twice")
        if unknown := [id for id in self.grades if id not in ids]:
            raise BadInput(f"{where}: a grade is given to document {unknown[0]!r}, which is not in the list")
        if wrong := [id for id, grade in self.grades.items() if not math.isfinite(grade)]:
            raise BadInput(f"{where}: the grade of document {wrong[0]!r} is {self.grades[wrong[0]]!r}, not a number")
        if self.order and (len(self.order) != len(ids) or set(self.order) != ids):
            raise BadInput(f"{where}: 'order' must name each of the {len(ids)} documents once")

    @property
    def gains(self) -> tuple[float, ...]:
        """(n,) the grade of each document as shown."""
        return tuple(float(self.grades.get(document.id, 0.0)) for document in self.documents)

    @property
    def places(self) -> tuple[int, ...]:
        """(n,) the teacher's order as places in `documents`, best first; empty where there is none."""
        at = {document.id: place for place, document in enumerate(self.documents)}
        return tuple(at[id] for id in self.order)

    @property
    def relevant(self) -> int:
        """How many documents have a grade above 0."""
        return sum(gain > 0 for gain in self.gains)
