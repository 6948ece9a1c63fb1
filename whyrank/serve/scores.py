"""What clients expect of scores: from 0 to 1, and strictly falling along the order, as they sort and cut by them."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

How = Literal["own", "rank"]

STEP = 1e-7
"""What two neighbours differ by at least."""


def unit_scores(
    own: Sequence[float | None], unit: Callable[[float], float | None], how: Literal["auto", "own", "rank"] = "auto"
) -> tuple[list[float], How]:
    """Scores for documents in their order, and what they are made of.

    Args:
        own: (n,) the model's own scores, best first; None or NaN where there is none.
        unit: puts a score on a scale from 0 to 1, or says by None that it has none, see `Reranker.unit`.
        how: "rank" never takes the model's own; "auto" and "own" do where all are known, lie on such a scale, and do
            not rise along the order.

    Returns:
        (n,) strictly falling, each in [0, 1], and "own", or "rank" for 1 - rank / n with ranks from 0. Ranks compare
        within one request only.
    """
    if how != "rank":
        scaled = [_scaled(score, unit) for score in own]
        known = [score for score in scaled if score is not None]
        if own and len(known) == len(own) and all(one >= next for one, next in pairwise(known)):
            return _strictly(known), "own"
    return _strictly([1 - rank / len(own) for rank in range(len(own))]), "rank"


def _scaled(score: float | None, unit: Callable[[float], float | None]) -> float | None:
    if score is None or not math.isfinite(score):
        return None
    found = unit(score)
    return found if found is not None and 0 <= found <= 1 else None


def _strictly(scores: Sequence[float]) -> list[float]:
    """The same never-rising scores, squeezed a little so that neighbours differ and all stay in [0, 1]."""
    n = len(scores)
    return [score * (1 - n * STEP) + (n - 1 - rank) * STEP for rank, score in enumerate(scores)]
