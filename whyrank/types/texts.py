"""Texts: Query, Document, and the Corpus of documents."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeGuard

from whyrank.errors import BadInput, want
from whyrank.types.fingerprint import Fingerprint

if TYPE_CHECKING:
    from whyrank.types.interactions import Event


class Metadata(Mapping[str, Any]):
    """A mapping that cannot be changed."""

    __slots__ = ("_held",)

    def __init__(self, held: Mapping[str, Any]) -> None:
        """Hold a copy.

        Raises:
            BadInput: it is no mapping.
        """
        if not isinstance(held, Mapping):
            raise BadInput(f"metadata must be a mapping, such as {{'year': 1927}}, not {held!r}")
        self._held = dict(held)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (whatever is known)
        """What is known under that name."""
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._held)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._held)

    def __hash__(self) -> int:
        """Of the names: values may be lists."""
        return hash(frozenset(self._held))

    def __repr__(self) -> str:
        """As a dictionary."""
        return repr(self._held)


NO_METADATA = Metadata({})

Where = Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]
"""Which documents, by their metadata: `{"lang": "de", "year": [2023, 2024]}`, where a list means any of its values, as
does a list that a document has; or a function of the metadata."""


def meets(metadata: Mapping[str, Any], where: Where) -> bool:
    """Whether metadata meet a condition.

    >>> meets({"lang": "de", "tags": ["bees", "dance"]}, {"lang": ["de", "fr"], "tags": "bees"})
    True
    """
    if callable(where):
        return bool(where(metadata))
    return all(name in metadata and _one_of(metadata[name], wanted) for name, wanted in where.items())


def _one_of(found: object, wanted: object) -> bool:
    choices = wanted if _is_several(wanted) else [wanted]
    return any(one in choices for one in (found if _is_several(found) else [found]))


def _is_several(value: object) -> TypeGuard[Collection[object]]:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, or a user who may want something next, and which documents may be returned for it.

    Attributes:
        id: its id.
        text: what is asked; of a user, the history in words.
        excluded: ids of documents that are never returned (BRIGHT's `excluded_ids`).
        only: ids of the documents that may be returned; None is all.
        history: of a user, what was done before, oldest first.
    """

    id: str
    text: str
    excluded: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    history: "Sequence[Event]" = ()

    def __post_init__(self) -> None:
        """Refuse what is no text, and hold the ids in sets.

        Raises:
            BadInput: id or text is no text, or holds half of a surrogate pair; ids that are no texts.
        """
        _check("query", self.id, ("text", self.text))
        if type(self.excluded) is not frozenset:
            object.__setattr__(self, "excluded", _ids(self.id, "excluded", self.excluded))
        if self.only is not None and type(self.only) is not frozenset:
            object.__setattr__(self, "only", _ids(self.id, "only", self.only))

    @property
    def restricted(self) -> bool:
        """Whether there are documents that may not be returned."""
        return bool(self.excluded) or self.only is not None

    def allows(self, id: str) -> bool:
        """Whether the document of that id may be returned."""
        return id not in self.excluded and (self.only is None or id in self.only)


@dataclass(frozen=True, slots=True)
class Document:
    """A passage or document.

    Attributes:
        id: its id.
        text: what it says.
        title: its title, or an empty text.
        metadata: what else is known of it, such as a year or a language; searches can be kept to it, see `Where`.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default=NO_METADATA, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what is no text, and hold the metadata so that nobody changes it.

        Raises:
            BadInput: id, text or title is no text, or holds half of a surrogate pair; metadata that are no mapping.
        """
        id, text, title = self.id, self.text, self.title
        plain = type(id) is type(text) is type(title) is str and text.isascii() and id.isascii() and title.isascii()
        if not plain or not id:
            _check("document", id, ("text", text), ("title", title))
        if type(self.metadata) is not Metadata:
            object.__setattr__(self, "metadata", Metadata(self.metadata))

    @property
    def content(self) -> str:
        """Title and text in one line of text, as lexical and dense indexes see the document."""
        return f"{self.title} {self.text}" if self.title else self.text


def _check(what: str, id: object, *parts: tuple[str, object]) -> None:
    """Refuse an id that is no text or empty, and parts that are no text, or that UTF-8 cannot write."""
    if type(id) is not str and not isinstance(id, str):
        raise BadInput(f"a {what}'s id must be a text, not {id!r:.40}: write {str(id)!r:.40}")
    if not id:
        raise BadInput(f"a {what}'s id is empty: every {what} needs one")
    for name, text in (("id", id), *parts):
        if type(text) is not str and not isinstance(text, str):
            raise BadInput(f"{what} {id!r}: the {name} must be a text, not {text!r:.40}")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                half = f"\\u{ord(text[error.start]):04x}"
                raise BadInput(
                    f"{what} {id!r}: the {name} holds half of a surrogate pair, {half}: replace it"
                ) from None


def _ids(query: str, name: str, given: object) -> frozenset[str]:
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise BadInput(f"query {query!r}: {name} must be a set of document ids, not {given!r:.40}")
    ids = frozenset(given)
    if wrong := [id for id in ids if not isinstance(id, str)]:
        raise BadInput(f"query {query!r}: {name} must hold document ids as text, not {wrong[0]!r:.40}")
    return ids


class Corpus:
    """Documents in their order, found by id: iterate over them, or ask `corpus["d7"]`."""

    def __init__(self, documents: Iterable[Document]) -> None:
        """Hold `documents` in memory.

        Raises:
            BadInput: two documents have the same id, or something is no `Document`.
        """
        self._documents: dict[str, Document] = {}
        for document in documents:
            want(document, Document, "in the collection", "a Document is wanted, such as Document('d1', 'text')")
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

    def part(self, first: int, end: int) -> Iterator[Document]:
        """The documents from number `first` (from 0) up to `end`, in collection order."""
        return islice(iter(self), first, end)

    def __repr__(self) -> str:
        """Size."""
        return f"{type(self).__name__}({len(self):,} documents)"

    def where(self, condition: Where) -> frozenset[str]:
        """The ids of the documents whose metadata meet a condition, as `Query.only` and `search(where=…)` take them.

        >>> Corpus([Document("d1", "Bees", metadata={"year": 1927}), Document("d2", "Ants")]).where({"year": 1927})
        frozenset({'d1'})
        """
        return frozenset(document.id for document in self if meets(document.metadata, condition))

    @cached_property
    def fingerprint(self) -> str:
        """What the collection is known by: ids, titles and texts, in any order; see `Fingerprint`."""
        return fingerprint(iter(self))


def fingerprint(documents: Iterable[Document]) -> str:
    """What these documents are known by: ids, titles and texts, in any order; see `Fingerprint`."""
    if isinstance(documents, Corpus):
        return documents.fingerprint
    found = Fingerprint()
    deque(found.watch(documents), maxlen=0)
    return str(found)
