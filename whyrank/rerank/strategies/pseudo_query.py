"""Reranking by a pseudo query: a bi-encoder reads the query together with the best candidates, as one text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from whyrank.encoders import BiEncoder, for_side
from whyrank.fields import Positive
from whyrank.llm.budget import clip, count
from whyrank.llm.trace import Trace
from whyrank.renamed import renamed
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.rerank.formats import clean
from whyrank.rerank.strategies.encoder import EncoderRerank

UNBOUND = 8192
"""Tokens of a pseudo query for an encoder that names no bound of its own."""


@renamed(shown="passages")
@dataclass(frozen=True)
class PseudoQuery(Reranker):
    """Encodes the query with its best candidates as one text, and ranks all candidates by their likeness to it.

    One text more than the bi-encoder alone reads, and no language model: feedback in the encoder's own space. Each
    candidate in the pseudo query is cut to an equal share of what the encoder reads, of which the query may take half.
    Scores and ties are those of `encoder_rerank`.

    Source: E2Rank (2510.22733, 2025), whose models are trained to read such texts; others read them as they can.

    Attributes:
        encoder: the bi-encoder and its settings, `encoder_rerank(model)`.
        passages: how many candidates go into the pseudo query.

    Raises:
        BadInput: `passages` below 1.
        EngineError: the model is a cross-encoder, which makes no vectors.

    Examples:
        >>> from whyrank import EncoderRerank
        >>> PseudoQuery(EncoderRerank("minilm"), passages=5)
        pseudo_query(encoder_rerank('minilm'), passages=5)
    """

    encoder: EncoderRerank
    passages: Positive = 20

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        if any(request.documents for request in requests):
            encoder = self.encoder.vectors("pseudo_query(...)")
            requests = [self._asked(encoder, request) for request in requests]
        return self.encoder.rank_requests(requests, trace)

    def _asked(self, encoder: BiEncoder, request: Request) -> Request:
        tokens, (_, prompt) = (
            _Tokens(encoder.engine.tokenizer),
            for_side(encoder.engine, "query", self.encoder.query_prompt),
        )
        room = (encoder.engine.max_seq_length or UNBOUND) - _SPECIAL - count(prompt or "", tokens)
        query = clip(request.query.text, tokens, room // 2)
        some = [clean(document.content) for document in request.documents[: self.passages]]
        share = (room - count(pseudo_query(query, [""] * len(some)), tokens)) // max(len(some), 1)
        text = pseudo_query(query, [clip(passage, tokens, share) for passage in some])
        return replace(request, query=replace(request.query, text=text))


def pseudo_query(query: str, passages: Sequence[str]) -> str:
    r"""What is encoded: the passages, numbered from 1, then the query.

    Examples:
        >>> pseudo_query("why do bees dance?", ["Bees dance to tell the way."])
        'Passages:\n[1] Bees dance to tell the way.\nWhat helps to answer the query: why do bees dance?'
    """
    listed = "".join(f"\n[{place}] {passage}" for place, passage in enumerate(passages, start=1))
    return f"Passages:{listed}\nWhat helps to answer the query: {query}"


class _Tokens:
    """An encoder's tokenizer, as the budget reads it."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 (of an optional package)
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids)))


_SPECIAL = 4
"""Tokens that encoders put around a text, at most."""
