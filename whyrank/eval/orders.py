"""Measures of one list in memory, on gains in the order ranked: for rewards, which have no ids, no run and no files.

`measures.py` computes what is reported, with trec_eval's code; these agree with it (tests), take real-valued gains, and
know what a tie of scores is worth: its expectation over all ways to break it, so that scoring everything alike earns
nothing.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyrank.errors import BadInput


def dcg(gains: Sequence[float], k: int = 10) -> float:
    """Discounted cumulative gain of a list: the sum of gain / log2(1 + rank) over its first k.

    Source: Järvelin and Kekäläinen (2002), with the gain linear as trec_eval has it.
    """
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))


def ndcg(gains: Sequence[float], k: int = 10) -> float:
    """DCG over that of the ideal order of the same list, from 0 to 1; 0 where nothing is relevant.

    Args:
        gains: (n,) in the order ranked, of *all* documents that count; those below 0 count 0.
        k: the cut-off.

    Examples:
        >>> round(ndcg([0, 1, 1]), 4)
        0.6934
    """
    gains = [max(gain, 0.0) for gain in gains]
    best = dcg(sorted(gains, reverse=True), k)
    return min(dcg(gains, k) / best, 1.0) if best else 0.0


def recall(gains: Sequence[float], k: int = 10) -> float:
    """The share of the relevant documents, those with a gain above 0, that stand among the first k; 0 without any."""
    hits = [gain > 0 for gain in gains]
    return sum(hits[:k]) / sum(hits) if any(hits) else 0.0


def shared(gains: Sequence[float], scores: Sequence[float]) -> list[float]:
    """Gains in the order of falling scores, where documents that tie share theirs: what to expect of either order.

    DCG is linear in the gains, so that DCG of the result is the expectation of DCG over all ways to break the ties.

    Examples:
        >>> shared([0, 2, 1], [5, 5, 9])
        [1.0, 1.0, 1.0]
        >>> shared([0, 2, 4], [5, 5, 9])
        [4.0, 1.0, 1.0]
    """
    gain, score = np.asarray(gains, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _, block, size = np.unique(-score, return_inverse=True, return_counts=True)
    mean = np.bincount(block, weights=gain, minlength=len(size)) / size
    return [float(one) for one in np.repeat(mean, size)]


def rbo(one: Sequence[Hashable], two: Sequence[Hashable], p: float, *, extrapolated: bool = True) -> float:
    """Rank-biased overlap of two lists of equal length, from 0 to 1.

    With overlap A_d, the share of the first d places that both lists hold: (1 − p) Σ p^(d−1) A_d down to the end n of
    the lists; extrapolated, the rest counts as if the overlap stayed what it is at n, so that equal lists have 1.
    At p = 1 both are the plain mean of A_d, the average overlap, which is what the package rbo computes by default.
    Source: Webber, Moffat and Zobel (2010), equations 4 and 32.

    Args:
        one: (n,) best first, nothing twice.
        two: (n,) likewise.
        p: how far down the reader goes on, above 0 and at most 1: .9 gives 86 % of the weight to the first 10.
        extrapolated: see above.

    Raises:
        BadInput: the lists are empty or differ in length, or p is out of its range.
    """
    if not 0 < p <= 1:
        raise BadInput(f"rbo: p must be above 0 and at most 1, not {p}")
    if len(one) != len(two) or not one:
        raise BadInput(f"rbo compares two lists of one length, at least 1, not of {len(one)} and {len(two)}")
    first: set[Hashable] = set()
    second: set[Hashable] = set()
    overlap = []
    for depth, (left, right) in enumerate(zip(one, two, strict=True), start=1):
        first.add(left)
        second.add(right)
        overlap.append(len(first & second) / depth)
    if p == 1:
        return math.fsum(overlap) / len(overlap)
    seen = math.fsum((1 - p) * p**at * share for at, share in enumerate(overlap))
    return seen + (overlap[-1] * p ** len(overlap) if extrapolated else 0.0)


def jensen_shannon(one: ArrayLike, two: ArrayLike) -> float:
    """The Jensen–Shannon divergence of two distributions in bits, from 0 (equal) to 1 (nothing in common).

    Args:
        one: (n,) weights, none negative; scaled to sum to 1, and all equal where they sum to 0.
        two: (n,) likewise.

    Examples:
        >>> jensen_shannon([1, 0], [0, 3]), jensen_shannon([1, 1], [2, 2])
        (1.0, 0.0)
    """
    p, q = _distribution(one), _distribution(two)
    middle = (p + q) / 2
    return float(np.clip((_divergence(p, middle) + _divergence(q, middle)) / 2, 0.0, 1.0))


def _distribution(weights: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(weights, dtype=np.float64)
    total = given.sum()
    return given / total if total else np.full(len(given), 1 / len(given))


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    held = p > 0
    return float((p[held] * np.log2(p[held] / q[held])).sum())
