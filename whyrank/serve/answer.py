"""What came of a request, before it is put into anybody's words."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from whyrank.rerank.answer.ranked import Ranked
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.serve.scores import How


@dataclass(frozen=True)
class Answer:
    """What a reranker made of a request.

    Attributes:
        id: of the request.
        model: our name of the reranker.
        ranked: the documents, best first, with the reports of the calls.
        scores: (n,) as clients want them, best first.
        how: what the scores are made of.
        seconds: that the work took.
        degraded: why the documents are in the order handed in, where the reranker failed; else empty.
        warnings: what else is to be told.
    """

    id: str
    model: str
    ranked: RankedList
    scores: tuple[float, ...]
    how: How
    seconds: float = 0.0
    degraded: str = ""
    warnings: tuple[str, ...] = ()

    def best(self, top: int | None) -> Iterator[tuple[Ranked, float]]:
        """The first documents with their scores."""
        return zip(self.ranked.items[:top], self.scores[:top], strict=True)

    @property
    def calls(self) -> int:
        """How many model calls it took."""
        return self.ranked.spent.calls

    @property
    def tokens(self) -> tuple[int, int]:
        """That went in and came out."""
        usage = self.ranked.spent.usage
        return usage.input, usage.output

    def told(self) -> dict[str, Any]:
        """What is ours to tell, beside the answer."""
        spent = self.ranked.spent
        cost = {} if spent.cost is None else {"cost": spent.cost}
        return {
            "scores": self.how,
            "statuses": self.ranked.statuses,
            "calls": spent.calls,
            "seconds": round(self.seconds, 3),
            "degraded": self.degraded or None,
            **cost,
        }


def usage(tokens: Iterable[tuple[int, int]]) -> dict[str, int]:
    """What went in and came out, summed up in OpenAI's words."""
    read, written = map(sum, zip((0, 0), *tokens, strict=True))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def why(item: Ranked) -> dict[str, Any]:
    """The reason of a document, and where in its text the thought quotes it word for word."""
    if not item.reason:
        return {}
    spans = quoted(item.reason, item.text)
    return {"reason": item.reason, **({"spans": spans} if spans else {})}


QUOTES = (("“", "”"), ('"', '"'), ("«", "»"), ("„", "“"), ("‘", "’"))
LEAST = 12
"""Characters of a quote, at least: shorter ones are single words."""


def quoted(reason: str, text: str) -> list[dict[str, int]]:
    """Where `text` holds, word for word, what `reason` puts in quotation marks; offsets in code points.

    Example:
        >>> quoted('[1] says "bees dance for food", which answers it.', "We saw that bees dance for food.")
        [{'start': 12, 'end': 31}]
    """
    spans: dict[tuple[int, int], None] = {}
    for opening, closing in QUOTES:
        for part in _between(reason, opening, closing):
            at = text.find(part) if len(part) >= LEAST else -1
            if at >= 0:
                spans[at, at + len(part)] = None
    return [{"start": start, "end": end} for start, end in sorted(spans)]


def _between(text: str, opening: str, closing: str) -> Iterator[str]:
    at = text.find(opening)
    while at >= 0:
        end = text.find(closing, at + 1)
        if end < 0:
            return
        yield text[at + 1 : end].strip()
        at = text.find(opening, end + 1)


def finite(score: float | None) -> float | None:
    """The score, or None where it is no number."""
    return score if score is not None and math.isfinite(score) else None
