"""A scorer of pairs with the methods of sentence-transformers' `CrossEncoder`, for tools that expect one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.integrations.common import Ranker, ranker
from whyrank.rerank.base import Reranker


class Scorer:
    """Any reranker with own scores in the place of a `CrossEncoder`; those that only order can `rank`, not `predict`.

    Examples:
        >>> from whyrank import Fake, Pointwise
        >>> scorer = Scorer(Pointwise(Fake("<score>70</score>")))
        >>> scorer.predict([("why do bees dance?", "A dance shows where food is.")]).round(3)
        array([0.7], dtype=float32)
    """

    def __init__(self, reranker: str | Reranker) -> None:
        """Take the spec of a reranker, or a part."""
        self._ranker: Ranker = ranker(reranker)

    def predict(self, sentences: Any, **ignored: Any) -> Any:  # noqa: ANN401 (as theirs)
        """A score from 0 to 1 for each pair of query and document, or for the one pair that is given.

        Args:
            sentences: n pairs; those of one query are ranked together.
            ignored: what `CrossEncoder` takes beside: batch sizes, activation functions.

        Returns:
            (n,) float32, or one number.

        Raises:
            BadInput: the reranker gives no scores that compare.
        """
        if sentences and isinstance(sentences[0], str):
            return self.predict([sentences])[0]
        by_query: dict[str, list[int]] = {}
        for at, pair in enumerate(sentences):
            if len(pair) != 2:
                raise BadInput(f"pair {at} has {len(pair)} texts: give a query and a document")
            by_query.setdefault(pair[0], []).append(at)
        scores: NDArray[np.float32] = np.zeros(len(sentences), dtype=np.float32)
        for query, places in by_query.items():
            own = self._own(query, [sentences[at][1] for at in places])
            scores[places] = own
        return scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        **_: object,
    ) -> list[dict[str, Any]]:
        """`corpus_id`, `score` and, if asked for, `text` of the documents, best first."""
        ranked = self._ranker.rank(query, documents, top_k)
        return [
            {"corpus_id": one.index, "score": one.score, **({"text": documents[one.index]} if return_documents else {})}
            for one in ranked
        ]

    def __call__(self, query: str, texts: Sequence[str]) -> list[tuple[int, float]]:
        """Index and score of the texts, best first: what txtai's `Reranker` calls a similarity."""
        return [(one.index, one.score) for one in self._ranker.rank(query, texts)]

    def _own(self, query: str, documents: Sequence[str]) -> list[float]:
        """The scores in the order of the documents."""
        part = self._ranker.reranker
        found = [0.0] * len(documents)
        for item in part.rank(query, documents, self._ranker.trace):
            score = None if item.score is None or item.score != item.score else part.unit(item.score)
            if score is None:
                raise BadInput(f"{part!r} puts documents in order and gives no scores that compare: use rank")
            found[item.index] = score
        return found
