"""Late interaction: one vector for each token; each token of the query looks for the nearest one of the document."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import SeveralVectors, Side
from whyrank.errors import need
from whyrank.progress import progress
from whyrank.retrieval.changes import Rows
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.folder import Saved
from whyrank.retrieval.vector.encoded import PROBE, Encoded, allowed_of
from whyrank.types import Query, Ranking

_FLOATS = 2**24
"""Numbers that are held at once of the collection's vectors, and of their products with those of the queries."""

_QUERIES = 16
"""Queries that are multiplied at once."""


@dataclass(frozen=True)
class Late(Encoded):
    """Search by MaxSim: the sum over the query's tokens of the largest inner product with a token of the document.

    It runs what sentence-transformers runs as a `MultiVectorEncoder`, models of PyLate and ColBERT included. Search
    goes through all vectors and is exact, with bounded memory: score falling, then document order. An index has some
    40 KB a document of 150 tokens (128 dimensions in float16), and each query is multiplied with all of it, so that
    this is for collections of up to some 100,000 documents; a larger one is better searched first, then reranked.

    Attributes:
        model: a folder, or a name on the Hugging Face hub.
        path: the folder of the index: `index` writes it, the first search opens it; without one it stays in memory.
        query_prompt: put before each query; None is the model's own prompt for queries, if it has one, "" is none.
        document_prompt: put before each document, likewise.
        max_length: cut texts at so many tokens; None is the model's own bound.
        batch_size: texts per batch of the model.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        trust_remote_code: run code that comes with the model.
        dtype: how vectors are kept, "float16" or "float32".

    Source:
        Khattab and Zaharia, ColBERT (2004.12832), 2020.
    """

    dtype: Literal["float16", "float32"] = "float16"

    engine: ClassVar[SeveralVectors] = "MultiVectorEncoder"
    file_fields: ClassVar[frozenset[str]] = Encoded.file_fields | {"dtype"}

    def _arrays(self, blocks: Iterator[list[str]]) -> dict[str, NDArray[Any]]:
        """Document d has the vectors `vectors[offsets[d]:offsets[d+1]]`; on the way to a folder they wait on disk."""
        sizes, parts = [0], []
        where = None if self.path is None else Path(self.path).parent
        if where is not None:
            where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=where) as waiting:
            for block in blocks:
                tokens = self._tokens(block, "document")
                sizes += map(len, tokens)
                parts.append(np.concatenate(tokens).astype(self.dtype))
                self._finite(parts[-1], "document")
                if where is not None:
                    parts.pop().tofile(waiting)
            if where is not None:
                waiting.flush()
                parts.append(np.memmap(waiting, self.dtype, "r").reshape(sum(sizes), -1))
            vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return {"vectors": vectors, "offsets": np.cumsum(sizes, dtype=np.int64)}

    def _chosen(self, parts: Sequence[Saved], rows: Rows) -> dict[str, NDArray[Any]]:
        of_each = [
            part.arrays["vectors"][start:end]
            for part in parts
            for start, end in pairwise(part.arrays["offsets"].tolist())
        ]
        chosen = [of_each[row] for row in rows.tolist()]
        return {"vectors": np.concatenate(chosen), "offsets": np.cumsum([0, *map(len, chosen)], dtype=np.int64)}

    def _check(self, found: Checked) -> None:
        vectors = found.array("vectors", [self.dtype], None, None)
        found.finite("vectors")
        found.array("offsets", ["int64"], None)
        found.offsets("offsets", len(vectors), len(found.texts["ids"]))
        found.array("probe", ["float32"], vectors.shape[1])

    def _probe(self) -> NDArray[np.float32]:
        (tokens,) = self._tokens([PROBE], "document")
        return np.asarray(tokens.sum(axis=0), dtype=np.float32)

    def _search(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        index = self._ready()
        ids, vectors, offsets = index.texts["ids"], index.arrays["vectors"], index.arrays["offsets"]
        tokens = self._tokens([query.text for query in queries], "query")
        filters = allowed_of(ids, queries)
        with progress(f"searching with {self!r}", len(queries)) as advance:
            for start in range(0, len(queries), _QUERIES):
                asked = tokens[start : start + _QUERIES]
                scores, error = self._scores(asked, vectors, offsets)
                for at, query in enumerate(asked):
                    if start + at in filters:
                        filters[start + at].shut(scores[at], -np.inf)
                    rows = _hopeful(scores[at], k, error[at])
                    best = _exact(query, vectors, offsets, rows)
                    order = np.lexsort((rows, -best))[:k]
                    yield Ranking([ids[row] for row in rows[order].tolist()], best[order].astype(np.float64))
                advance(len(asked))

    def _tokens(self, texts: Sequence[str], side: Side) -> list[NDArray[np.float32]]:
        """For each text (tokens, dimensions) float32."""
        made, places = self._encode(texts, side, convert_to_numpy=True)
        return [np.asarray(made[place], dtype=np.float32) for place in places]

    def _scores(
        self, queries: Sequence[NDArray[np.float32]], vectors: NDArray[Any], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """(q, documents) MaxSim in float32, and (q,) how far it may be off; a document without vectors has -inf."""
        torch, place = need("torch", extra="late"), self._engine().device
        flat = torch.from_numpy(np.concatenate(queries)).to(place)
        ends = np.cumsum([0, *map(len, queries)])
        scores = np.empty((len(queries), len(offsets) - 1), dtype=np.float32)
        longest, step = 0.0, max(1, _FLOATS // max(flat.shape))
        first = 0
        while first < scores.shape[1]:
            last = max(int(np.searchsorted(offsets, offsets[first] + step, side="right")) - 1, first + 1)
            rows = torch.from_numpy(np.array(vectors[offsets[first] : offsets[last]])).to(place).float()
            longest = max(longest, float(rows.norm(dim=1).max())) if len(rows) else longest
            spans = torch.from_numpy(offsets[first : last + 1] - offsets[first]).to(place)
            best = torch.segment_reduce(rows @ flat.T, "max", offsets=spans, axis=0).cpu().numpy()
            scores[:, first:last] = [best[:, start:end].sum(axis=1) for start, end in pairwise(ends)]
            first = last
        sizes = np.array([np.linalg.norm(query, axis=1).sum() for query in queries], dtype=np.float64)
        return scores, vectors.shape[1] * 2.0**-22 * longest * sizes


def _hopeful(scores: NDArray[np.float32], k: int, error: float) -> NDArray[np.int64]:
    """The documents that could be among the k best, given how far the scores may be off."""
    kth = np.partition(scores, -k)[-k] if k < len(scores) else -np.inf
    return np.flatnonzero((scores >= kth - 2 * error) & (scores > -np.inf))


def _exact(
    query: NDArray[np.float32], vectors: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The scores of some documents, each computed alone and in float64: the same whatever is searched beside it."""
    asked = query.astype(np.float64)
    spans = [vectors[offsets[row] : offsets[row + 1]].astype(np.float64) for row in rows.tolist()]
    return np.array([(asked @ span.T).max(axis=1).sum() for span in spans], dtype=np.float32)
