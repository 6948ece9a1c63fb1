"""A collection that is read, or fetched, when its first document is asked for."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from whyrank.errors import NotFound
from whyrank.types import Corpus, Document


class LazyCorpus(Corpus):
    """A collection that is read on first use: evaluation needs no text, so it neither reads nor fetches any.

    Where the documents cannot be had, the collection has length 0, and asking for one of them raises a `NotFound`
    that says what to put where. A damaged file shows on first use, too, as a `BadInput` with file and line.
    """

    def __init__(self, read: Callable[[], Corpus]) -> None:
        """Take the function that reads the collection; it is called at most once."""
        self._read = read
        self._found: Corpus | NotFound | None = None

    def __len__(self) -> int:
        """How many documents there are; 0 where they cannot be had."""
        try:
            return len(self._corpus())
        except NotFound:
            return 0

    def __repr__(self) -> str:
        """Size, once it was read: looking at it reads nothing."""
        return "Corpus(not read yet)" if self._found is None else f"Corpus({len(self):,} documents)"

    def __iter__(self) -> Iterator[Document]:
        """The documents in collection order."""
        return iter(self._corpus())

    def __contains__(self, id: object) -> bool:
        """Whether there is a document of that id."""
        return id in self._corpus()

    def __getitem__(self, id: str) -> Document:
        """The document of that id; a KeyError where there is none."""
        return self._corpus()[id]

    def part(self, first: int, end: int) -> Iterator[Document]:
        """The documents from number `first` up to `end`."""
        return self._corpus().part(first, end)

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process is sent is what was read."""
        return _itself, (self._corpus(),)

    @cached_property
    def fingerprint(self) -> str:
        """What the collection is known by; that of no documents where they cannot be had."""
        return self._corpus().fingerprint if len(self) else Corpus(()).fingerprint

    def _corpus(self) -> Corpus:
        if self._found is None:
            try:
                self._found = self._read()
            except NotFound as error:
                self._found = error
        if isinstance(self._found, NotFound):
            raise self._found
        return self._found


def _itself(corpus: Corpus) -> Corpus:
    return corpus
