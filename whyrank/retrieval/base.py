"""What every retriever is: `index` a collection, `search` it. The public methods guard, the hooks work."""

import shutil
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import fields, replace
from functools import partial, reduce
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeAlias

from whyrank.errors import BadIndex, BadInput, BadSpec, want, want_count
from whyrank.fields import Meaning
from whyrank.io.locks import one_writer
from whyrank.llm.trace import Trace
from whyrank.parameters import walk
from whyrank.progress import warn
from whyrank.registry import Part, make_from_file, name_of
from whyrank.retrieval.metadata import Known
from whyrank.retrieval.shards import best_of
from whyrank.types import Corpus, Document, Fingerprint, Query, Ranking, Run, Where

FolderPath: TypeAlias = Annotated[str | None, Meaning("a folder")]
FolderFirst: TypeAlias = Annotated[str | None, Meaning("a folder", mend="numbers go by name, k1=0.9 and b=0.4")]


class Retriever(Part, ABC):
    """Finds the documents of a collection that answer a query. Subclasses are frozen dataclasses.

    To write one, give `_search`, and `_index` where there is something to prepare; see `docs/add-your-own.md`.
    """

    filters: ClassVar[bool] = False
    """Whether `_search` itself leaves out *before* it cuts at k what a query does not allow (`Query.excluded`, `only`).

    If not, it is asked for more until there are k that the query allows.
    """

    _known: ClassVar[Known | Corpus | None] = None
    """What tells the metadata of the documents; state of a copy, and no field. See `_noted`."""

    def index(self, corpus: Iterable[Document | str]) -> Self:
        """A copy of this retriever that searches `corpus`; this one stays as it is.

        Args:
            corpus: documents, or plain texts, whose ids are their places: "0", "1", …; any iterable, read once.

        Raises:
            BadInput: the collection is empty, or two documents have the same id.

        Examples:
            >>> from whyrank import BM25
            >>> BM25().index(["Bees dance.", "Birds fly south."]).search("bees")["0"].ids
            ['0']
        """
        known = Known()
        ready = copy(self)._knowing(known)
        ready._index(_checked(_documents(corpus), known))
        return ready

    def at(self, path: str | Path) -> Self:
        """The same retriever with its index in the folder `path`: `index` writes there, `search` reads there.

        Raises:
            BadInput: it keeps no index of its own.
        """
        if "path" not in {each.name for each in fields(self)}:
            raise BadInput(f"{name_of(type(self))} keeps no index of its own that could be saved")
        return replace(self, path=str(path))

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy that has the index of `corpus` at its `path`, where it lies there already, or else has indexed it.

        Raises:
            BadIndex: the index is of another collection.
        """
        path = getattr(self, "path", None)
        if path is None or not Path(path).exists():
            return self.index(corpus)
        indexed, ids = self._collection()
        if isinstance(corpus, Corpus) and corpus.fingerprint == indexed:
            return copy(self)._knowing(corpus)
        known, found = Known(), Fingerprint()
        here = [document.id for document in known.watch(found.watch(_documents(corpus)))]
        if indexed not in {"", str(found)} or (not indexed and ids and {*ids} != {*here}):
            why = _difference(ids, here)
            raise BadIndex(f"{path} is of another collection: {why}: index this one anew into another folder")
        if not indexed:
            warn(f"{path} (older, or changed since) does not tell which texts it has: they are not compared with these")
        return copy(self)._knowing(known)

    def search(
        self,
        queries: Iterable[Query | str] | Query | str,
        k: int = 100,
        trace: Trace | None = None,
        where: Collection[str] | Where | None = None,
    ) -> Run:
        """The `k` best documents of each query, of those that it allows (`Query.excluded`, `Query.only`).

        Args:
            queries: with unique ids; or one, or plain texts, whose ids are their places: "0", "1", ….
            k: how many documents for each.
            trace: the record of model calls, for resuming and for the ledger; retrievers without an LLM ignore it.
            where: among which documents: their ids, such as `corpus.where({"lang": "de"})`, or a condition on their
                metadata; see `whyrank.types.Where`.

        Returns:
            A run with every query, in the order given; a query that matches nothing has an empty ranking.

        Raises:
            BadInput: `k` is below 1, a query id is given twice, the retriever has no index yet, or `where` asks for
                metadata that are not known here.
        """
        want_count(k, "k")
        several, seen = _several(queries), set[str]()
        for query in several:
            if query.id in seen:
                raise BadInput(f"query {query.id!r} is given twice: query ids must be unique")
            seen.add(query.id)
        asked = several if where is None else self._kept_to(several, where)
        if self.filters:
            return self._run(asked, k, trace).without(asked).top(k)
        return self._sifted(asked, k, trace)

    def save(self, path: str | Path) -> None:
        """Write the index to the folder `path`.

        Raises:
            BadInput: there is no index to save.
        """
        raise BadInput(f"{name_of(type(self))} keeps no index of its own that could be saved")

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The retriever whose index lies in the folder `path`, ready to search.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder holds no index of this kind, or a damaged one.
        """
        raise BadInput(f"{name_of(cls)} keeps no index of its own that could be opened")

    def _collection(self) -> tuple[str, Iterable[str]]:
        """The fingerprint of the collection whose index lies at `path`, and its ids; empty where they are not known."""
        return "", ()

    @classmethod
    def _from_folder(cls, path: str | Path, told: object, **given: object) -> Self:
        """The retriever with its index at `path`, with those fields that a file may set as the folder tells them.

        Raises:
            BadIndex: what it tells does not fit.
        """
        try:
            return make_from_file(told, cls, path, path=str(path), **given)
        except BadSpec as error:
            raise BadIndex(f"{error}: build the index anew") from None

    @abstractmethod
    def _search(self, queries: Sequence[Query], k: int) -> Iterable[Ranking]:
        """One ranking for each query, at most `k` long, best first. Never called without queries."""

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        """The rankings of `_search` as a run; engines that have arrays, or that ask a model, write this instead."""
        name = name_of(type(self))
        found = list(self._search(queries, k)) if queries else []
        if len(found) != len(queries):
            raise BadInput(f"{name} gave {len(found)} rankings for {len(queries)} queries")
        return Run.of({query.id: ranking for query, ranking in zip(queries, found, strict=True)}, name=name)

    def _sifted(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        """Ask an engine that knows no filters for more and more, until each query has `k` that it allows."""
        depth = k + max((len(query.excluded) for query in queries), default=0)
        while True:
            run = self._run(queries, depth, trace)
            found = run.without(queries)
            sizes, left = run.sizes, found.sizes
            kept_to = {query.id: len(query.only) for query in queries if query.only is not None}
            if not any(sizes[id] >= depth and left[id] < min(k, most) for id, most in kept_to.items()):
                return found.top(k)
            depth *= 4

    def _learning(self, documents: Iterable[Document]) -> "tuple[Iterable[Document], Known | None]":
        """Documents that come to the index, and what is known of all once they were read; None where it was not."""
        if (before := self._noted()) is None:
            return documents, None
        known = Known(dict(before.metadata), before.bare)
        return known.watch(documents), known

    def _knowing(self, known: Known | Corpus | None) -> Self:
        object.__setattr__(self, "_known", known)
        return self

    def _noted(self) -> Known | None:
        """What is known of the documents: what `index` or `ready` read, else what folders tell; None is nothing."""
        told = self._known
        known = Known.of(told) if isinstance(told, Corpus) else self._recalled() if told is None else told
        self._knowing(known)
        return known

    def _recalled(self) -> Known | None:
        """What the index folder tells of the documents, or else those of the parts that this one is made of."""
        path = getattr(self, "path", None)
        if path is not None and (known := Known.read(Path(path), self._collection()[1])) is not None:
            return known
        inner = (part for part in walk(self) if isinstance(part, Retriever) and part is not self)
        return next((known for part in inner if (known := part._noted()) is not None), None)

    def _kept_to(self, queries: Sequence[Query], where: Collection[str] | Where) -> list[Query]:
        """The queries, each kept to those documents; all of them share one set of ids where they had none."""
        if isinstance(where, str):
            raise BadInput(f"where={where!r} is one text: hand in several ids, or a condition such as {{'lang': 'de'}}")
        if callable(where) or isinstance(where, Mapping):
            known = self._noted()
            if known is None or not known.metadata:
                raise BadInput(
                    f"{self!r} knows no metadata: its documents had none, or its index folder does not tell them; "
                    "hand in ids, such as where=corpus.where({'lang': 'de'})"
                )
            excluded, only = known.filters(where)
        else:
            excluded, only = frozenset[str](), frozenset(where)
        return [
            replace(
                query,
                excluded=query.excluded | excluded if query.excluded else excluded,
                only=only if query.only is None else query.only if only is None else query.only & only,
            )
            for query in queries
        ]

    def _index(self, corpus: Iterable[Document]) -> None:
        """Prepare this (fresh) copy for `corpus`; state is set with `object.__setattr__`, since parts are frozen.

        The collection is never empty and its ids are unique; one without `len` can be read only once.
        """

    @classmethod
    def _run_shards(cls, shards: Sequence[Self], queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        """The best of the shards that `_as_shards` gave, as one index has them; of equal scores the first shard's."""
        return reduce(partial(best_of, k=k), (shard.search(queries, k, trace) for shard in shards))

    @classmethod
    def _as_shards(cls, parts: Sequence[Self]) -> Sequence[Self]:
        """Copies of `parts`, each with the index of one part of a collection, that score as one of the whole would.

        Raises:
            BadInput: a document lies in two parts, or scores depend on the rest of the collection in some other way.
        """
        raise BadInput(f"{name_of(cls)} cannot be searched in shards: it does not say how they would score as one")


def _difference(indexed: Iterable[str], given: Iterable[str]) -> str:
    """How a collection differs from the one that was indexed, by the id of a document that shows it."""
    ids, here = dict.fromkeys(indexed), dict.fromkeys(given)
    if ids and (foreign := next((id for id in ids if here and id not in here), None)) is not None:
        return f"it has the document {foreign!r}, which this one lacks"
    if ids and (new := next((id for id in here if id not in ids), None)) is not None:
        return f"it lacks the document {new!r}"
    return "titles or texts have changed"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write an index into; it takes the place of `path` in one step at the end, or leaves no trace.

    What a killed process left of the same index is removed first.

    Raises:
        BadIndex: `path` is there already, and is no empty folder, or another process writes to it.
    """
    _refuse_taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.partial"
    with writing_alone(path.parent / f".{path.name}.lock", path):
        _refuse_taken(path)
        _remove(part)
        part.mkdir()
        try:
            yield part
            part.replace(path)
        finally:
            _remove(part)


@contextmanager
def writing_alone(lock: Path, index: Path) -> Iterator[None]:
    """Keep other processes from writing the same index.

    Raises:
        BadIndex: one does already.
    """
    with ExitStack() as held:
        try:
            held.enter_context(one_writer(lock, f"the index {index}"))
        except BadInput as error:
            raise BadIndex(str(error)) from None
        yield


def _refuse_taken(path: Path) -> None:
    if path.is_symlink():
        raise BadIndex(f"{path} is a link: an index is written into a new folder")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadIndex(f"{path} is not empty: an index is written into a new folder; open this one, or remove it")


def _remove(part: Path) -> None:
    """Remove a folder, or the link that stands in its place."""
    if part.is_symlink() or part.is_file():
        part.unlink()
    elif part.exists():
        shutil.rmtree(part)


def distinct(ids: Iterable[str]) -> list[str]:
    """The ids as they are.

    Raises:
        BadInput: one occurs twice.
    """
    given = list(ids)
    if len(set(given)) < len(given):
        twice = next(id for id, times in Counter(given).items() if times > 1)
        raise BadInput(
            f"document {twice!r} occurs twice: ids must be unique, in the index and in all that is added to it"
        )
    return given


_WANTED = "hand in a Corpus, or a list of texts or Documents, such as [Document('d1', 'text')]"


def _several(queries: Iterable[Query | str] | Query | str) -> Sequence[Query]:
    """The queries, each a `Query`; an iterable is read once, and a text is asked under its place."""
    wanted = "hand in texts or Queries, such as Query('q1', 'why?')"
    if isinstance(queries, str | Query):
        queries = (queries,)
    if isinstance(queries, bytes | Mapping):
        raise BadInput(f"search: what is asked is a {type(queries).__name__}: {wanted}")
    want(queries, Iterable, "search: what is asked", wanted)
    several = tuple(Query(str(at), one) if isinstance(one, str) else one for at, one in enumerate(queries))
    for at, query in enumerate(several):
        want(query, Query, f"search: queries[{at}]", wanted)
    return several


def _documents(corpus: Iterable[Document | str]) -> Iterable[Document]:
    """The collection, its plain texts as documents whose ids are their places; a list without any stays itself."""
    if isinstance(corpus, str | bytes | Document | Mapping) or not isinstance(corpus, Iterable):
        want(corpus, (), "index: the collection", _WANTED)
    if isinstance(corpus, Corpus) or (isinstance(corpus, Sequence) and not any(isinstance(one, str) for one in corpus)):
        return corpus
    made = (Document(str(at), one) if isinstance(one, str) else one for at, one in enumerate(corpus))
    return tuple(made) if isinstance(corpus, Sequence) else made


def _checked(corpus: Iterable[Document], known: Known) -> Iterable[Document]:
    """The collection, which is not empty and has no id twice; `known` is told of it at the latest when it was read."""
    documents = iter(corpus)
    if (first := next(documents, None)) is None:
        raise BadInput("the collection is empty: there is nothing to index")
    if isinstance(corpus, Corpus | Sequence):
        deque(known.watch(corpus if isinstance(corpus, Corpus) else _unique(corpus)), maxlen=0)
        return corpus
    return known.watch(_unique(chain([first], documents)))


def _unique(documents: Iterable[Document]) -> Iterator[Document]:
    seen: set[str] = set()
    for document in documents:
        want(document, Document, "index: in the collection", _WANTED)
        if document.id in seen:
            raise BadInput(f"document {document.id!r} occurs twice in the collection: ids must be unique")
        seen.add(document.id)
        yield document
