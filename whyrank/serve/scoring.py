"""vLLM's `/score`: pairs of texts in, a score for each in the order in which they came."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whyrank.serve.answer import Answer, finite, usage
from whyrank.serve.asked import flag_of, readable, text_of
from whyrank.serve.refusal import Refused

NAMES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


@dataclass(frozen=True)
class Pairs:
    """What is scored.

    Attributes:
        pairs: query and document of each.
        model: which reranker; empty is the first.
        raw: whether scores are the model's own numbers.
    """

    pairs: tuple[tuple[str, str], ...]
    model: str = ""
    raw: bool = False

    def grouped(self) -> list[tuple[str, list[str]]]:
        """The documents of each query, as rerankers take them."""
        by_query: dict[str, list[str]] = {}
        for query, document in self.pairs:
            by_query.setdefault(query, []).append(document)
        return list(by_query.items())


def read(body: Mapping[str, Any], most: int) -> Pairs:
    """The pairs of a body: one query with one or many documents, or as many queries as documents.

    Raises:
        Refused: a field does not fit.
    """
    names = next((names for names in NAMES if names[0] in body or names[1] in body), NAMES[0])
    if missing := [name for name in names if name not in body]:
        raise Refused(400, f"{missing[0]} is missing: give text_1 and text_2, each a text or a list", param=missing[0])
    queries, documents = (_texts(body[name], name) for name in names)
    if len(documents) > most:
        raise Refused(400, f"{names[1]} has {len(documents):,} texts, and this server takes {most:,}: send fewer")
    if len(queries) == 1:
        queries = queries * len(documents)
    if len(queries) != len(documents):
        raise Refused(400, f"{names[0]} has {len(queries)} texts and {names[1]} {len(documents)}: give 1 or as many")
    raw = flag_of(body, "raw_scores") or body.get("use_activation") is False
    return Pairs(tuple(zip(queries, documents, strict=True)), text_of(body, "model", default=""), raw)


def write(pairs: Pairs, answers: Sequence[Answer], id: str, name: str) -> dict[str, Any]:
    """The answer in vLLM's words.

    Raises:
        Refused: the reranker only orders.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for (query, documents), answer in zip(pairs.grouped(), answers, strict=True):
        if answer.how != "own" or any(finite(item.score) is None for item in answer.ranked):
            raise Refused(
                400, f"{name!r} puts documents in order and gives no scores that compare: ask /rerank instead"
            )
        for item, score in answer.best(None):
            own = finite(item.score) if pairs.raw else score
            found.setdefault((query, documents[item.index]), []).append(own if own is not None else score)
    data = [{"index": at, "object": "score", "score": found[pair].pop(0)} for at, pair in enumerate(pairs.pairs)]
    head = {"id": id, "object": "list", "created": int(time.time()), "model": name}
    return head | {"data": data, "usage": usage(answer.tokens for answer in answers)}


def _texts(given: object, name: str) -> list[str]:
    several = [text for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)]
    if not several or (isinstance(given, list) and len(several) < len(given)):
        raise Refused(400, f"{name} must be a text or a list of texts", param=name)
    return [readable(text, name) for text in several]
