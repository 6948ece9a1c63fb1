"""Documents that come and go: what retrievers share whose index can change without being made anew."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, want
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.metadata import Known
from whyrank.types import Document

Rows = NDArray[np.int64]

_WANTED = "hand in a list of Documents, such as [Document('d1', 'text')]"


class Changing(Retriever):
    """A retriever with an index of its own, of which changed copies can be made: the old one stays as it is."""

    def append(self, documents: Iterable[Document], path: str | Path | None = None) -> Self:
        """A copy of this retriever that searches its collection and then `documents`, as if indexed together.

        Args:
            documents: with new ids; read once.
            path: a new folder for the larger index; without one it is held in memory.

        Raises:
            BadInput: a document's id is in the index already or is given twice, or there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        seen = set(self._collection()[1])

        def new() -> Iterator[Document]:
            for document in _documents(documents):
                if document.id in seen:
                    told = "ids must be unique, in the index and in all that is added to it"
                    raise BadInput(f"document {document.id!r} occurs twice: {told}")
                seen.add(document.id)
                yield document

        given, known = self._learning(new())
        return self._changed(given, None, path, known)._knowing(known)

    def remove(self, ids: Iterable[str], path: str | Path | None = None) -> Self:
        """A copy of this retriever that searches its collection without these documents, as if indexed anew.

        Args:
            ids: of documents in the index.
            path: a new folder for the smaller index; without one it is held in memory.

        Raises:
            BadInput: there is no such document, none would be left, or there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        if isinstance(ids, str):
            raise BadInput(f"remove: {ids!r:.40} is one text: hand in a list of ids, such as [{ids!r:.40}]")
        size, gone = self._places(ids)
        left = np.delete(np.arange(size), gone)
        if not len(left):
            raise BadInput("all documents would be removed, and an index has one at least")
        known = self._noted()
        return self._changed((), left, path, known)._knowing(known)

    def replace(self, documents: Iterable[Document], path: str | Path | None = None) -> Self:
        """A copy of this retriever where these documents stand in place of those with the same ids, as if indexed anew.

        Args:
            documents: with ids that are in the index.
            path: a new folder for the changed index; without one it is held in memory.

        Raises:
            BadInput: a document is not in the index or is given twice, or there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        new = list(_documents(documents))
        size, places = self._places(document.id for document in new)
        if len(set(places)) < len(places):
            twice = next(one.id for at, one in enumerate(new) if places[at] in places[:at])
            raise BadInput(f"document {twice!r} occurs twice: one document takes the place of another")
        order = np.arange(size)
        order[places] = size + np.arange(len(new))
        given, known = self._learning(new)
        return self._changed(given, order, path, known)._knowing(known)

    @abstractmethod
    def _changed(
        self, documents: Iterable[Document], rows: Rows | None, path: str | Path | None, known: Known | None
    ) -> Self:
        """A copy with a changed index, in the folder `path` or in memory.

        Args:
            documents: new ones, whose rows follow those of the index; read once.
            rows: which rows there are then, in this order; None is all. Only some of the own are ever left out.
            path: see `append`.
            known: what is known of the documents, once `documents` were read; for the folder.
        """

    def _places(self, ids: Iterable[str]) -> tuple[int, list[int]]:
        """How many documents the index has, and the rows of these.

        Raises:
            BadInput: there is no such document.
        """
        rows = {id: row for row, id in enumerate(self._collection()[1])}
        wanted = list(ids)
        if (unknown := next((id for id in wanted if id not in rows), None)) is not None:
            raise BadInput(f"the index of {self!r} has no document {unknown!r}")
        return len(rows), [rows[id] for id in wanted]


def _documents(given: Iterable[Document]) -> Iterator[Document]:
    want(given, Iterable, "what comes to the index", _WANTED)
    for document in given:
        want(document, Document, "what comes to the index", _WANTED)
        yield document
