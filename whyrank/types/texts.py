"""Texts: Query, Document, and the Corpus of documents."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from whyrank.errors import BadInput
from whyrank.types.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and the ids of the documents that must never be returned for it (BRIGHT's `excluded_ids`)."""

    id: str
    text: str
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Document:
    """A passage or document."""

    id: str
    text: str
    title: str = ""

    @property
    def content(self) -> str:
        """Title and text in one line of text, as lexical and dense indexes see the document."""
        return f"{self.title} {self.text}" if self.title else self.text


class Corpus:
    """Documents in their order, found by id: iterate over them, or ask `corpus["d7"]`."""

    def __init__(self, documents: Iterable[Document]) -> None:
        """Hold `documents` in memory.

        Raises:
            BadInput: two documents have the same id.
        """
        self._documents: dict[str, Document] = {}
        for document in documents:
            if document.id in self._documents:
                raise BadInput(f"document {document.id!r} occurs twice in the collection: ids must be unique")
            self._documents[document.id] = document

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        """The documents in collection order."""
        return iter(self._documents.values())

    def __contains__(self, id: object) -> bool:
        """Whether there is a document of that id."""
        return id in self._documents

    def __getitem__(self, id: str) -> Document:
        """The document of that id; a KeyError where there is none."""
        return self._documents[id]

    @cached_property
    def fingerprint(self) -> str:
        """What the collection is known by: ids, titles and texts, in any order; see `Fingerprint`."""
        found = Fingerprint()
        deque(found.watch(self), maxlen=0)
        return str(found)
