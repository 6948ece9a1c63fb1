"""Learned sparse retrieval: a model says which terms a text stands for, and how strongly; an inverted index."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from whyrank.encoders import SeveralVectors, Side
from whyrank.errors import EngineError
from whyrank.fields import Positive
from whyrank.llm.trace import Trace
from whyrank.registry import HOW, name_of
from whyrank.retrieval.changes import Rows
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.folder import Saved
from whyrank.retrieval.lexical import topk
from whyrank.retrieval.vector.encoded import PROBE, Encoded, allowed_of
from whyrank.types import Query, Ranking, Run


@dataclass(frozen=True)
class Splade(Encoded):
    """Search by weighted terms of a model's vocabulary: Σ query weight · document weight, over an inverted index.

    It runs what sentence-transformers runs as a `SparseEncoder`: SPLADE and its kin, inference-free query encoders,
    sparse autoencoders. Search is exact, in the same compiled kernels as BM25's: score falling, then document order.

    Attributes:
        model: a folder, or a name on the Hugging Face hub.
        path: the folder of the index: `index` writes it, the first search opens it; without one it stays in memory.
        query_prompt: put before each query; None is the model's own prompt for queries, if it has one, "" is none.
        document_prompt: put before each document, likewise.
        max_length: cut texts at so many tokens; None is the model's own bound.
        batch_size: texts per batch of the model.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        trust_remote_code: run code that comes with the model.
        max_terms: keep no more than the heaviest so many terms of each text; None is the model's own bound.
        threads: how many threads search; all processors if None. The result does not depend on it.

    Source:
        Formal, Piwowarski and Clinchant, SPLADE (2107.05720), 2021; SPLADE v2 (2109.10086).
    """

    max_terms: Positive | None = None
    threads: Positive | None = field(default=None, metadata=HOW)

    engine: ClassVar[SeveralVectors] = "SparseEncoder"
    file_fields: ClassVar[frozenset[str]] = Encoded.file_fields | {"max_terms"}

    def _arrays(self, blocks: Iterator[list[str]]) -> dict[str, NDArray[Any]]:
        """Postings: term t weighs `weights[i]` in `documents[i]` for i in `offsets[t]:offsets[t+1]`."""
        return _postings(sparse.vstack([self._weights(block, "document") for block in blocks]))

    def _chosen(self, parts: Sequence[Saved], rows: Rows) -> dict[str, NDArray[Any]]:
        return _postings(sparse.vstack([_by_document(part) for part in parts]).tocsr()[rows])

    def _check(self, found: Checked) -> None:
        n_terms = found.postings(len(found.texts["ids"]), weights=["float32"])
        found.not_negative("weights")
        found.array("probe", ["float32"], n_terms)

    def _probe(self) -> NDArray[np.float32]:
        (probe,) = self._weights([PROBE], "document").toarray()
        return np.asarray(probe, dtype=np.float32)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        index, name = self._ready(), name_of(type(self))
        if not queries:
            return Run.of({}, name=name)
        ids = index.texts["ids"]
        asked = self._weights([query.text for query in queries], "query")
        filters = allowed_of(ids, queries)
        batch = topk.Batch(asked.indptr.astype(np.int64), asked.indices, asked.data, filters)
        arrays = index.arrays
        matrix = topk.Matrix(arrays["offsets"], arrays["documents"], arrays["weights"], len(ids))
        found = topk.search(matrix, batch, k, self.threads or os.cpu_count() or 1)
        return found.run([query.id for query in queries], ids, name)

    def _weights(self, texts: Sequence[str], side: Side) -> Any:  # noqa: ANN401 (a SciPy array)
        """(n, vocabulary) float32, sparse, none negative."""
        made, places = self._encode(texts, side, save_to_cpu=True, max_active_dims=self.max_terms)
        made = made.coalesce()
        values = made.values().float().numpy()
        self._finite(values, side)
        if (values < 0).any():
            raise EngineError(f"{self!r}: the model gives negative weights for a {side}, which no inverted index holds")
        weights = sparse.coo_array((values, made.indices().numpy()), shape=tuple(made.shape)).tocsr()
        return weights[places]


def _postings(weights: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 (a SciPy array)
    by_term = weights.tocsc()
    return {"offsets": by_term.indptr, "documents": by_term.indices, "weights": by_term.data}


def _by_document(part: Saved) -> sparse.csr_array:
    """(n, vocabulary) the postings of some documents, the other way round."""
    held = part.arrays
    shape = (len(part.texts["ids"]), len(held["offsets"]) - 1)
    return sparse.csc_array((held["weights"], held["documents"], held["offsets"]), shape=shape).tocsr()
