"""Measures of novelty and diversity: a query has aspects, and a document is worth the aspects that it covers anew.

They take `Qrels.aspects` and agree with NIST's ndeval (tests).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Covered = Mapping[str, Mapping[str, float]]
"""Of a query: by document, the aspects that were judged for it and their grades."""

Given = Mapping[str, Any]


def alpha_ndcg(covered: Covered, ranking: Sequence[str], given: Given) -> float:
    """α-nDCG (Clarke et al., SIGIR 2008): each aspect is worth (1 − α)^n once n documents before covered it.

    The ideal order is built greedily, as ndeval builds it; the exact one is NP-hard. α is .5 unless it is given.
    """
    alpha: float = given.get("alpha", 0.5)
    relevant = _relevant(covered, given)
    depth = given.get("cutoff", max(len(ranking), len(relevant)))
    best = _dcg(_ideal(relevant, alpha, depth))
    return _dcg(_gains([relevant.get(id, ()) for id in ranking[:depth]], alpha)) / best if best else 0.0


def aspect_recall(covered: Covered, ranking: Sequence[str], given: Given) -> float:
    """The share of a query's aspects that the documents to the cut-off cover: subtopic recall (Zhai et al., 2003)."""
    relevant = _relevant(covered, given)
    wanted = {aspect for aspects in relevant.values() for aspect in aspects}
    found = {aspect for id in ranking[: given.get("cutoff")] for aspect in relevant.get(id, ())}
    return len(found) / len(wanted) if wanted else 0.0


MEASURES: Mapping[str, Callable[[Covered, Sequence[str], Given], float]] = {
    "alpha_nDCG": alpha_ndcg,
    "StRecall": aspect_recall,
}
"""By the names of ir_measures."""


def _relevant(covered: Covered, given: Given) -> dict[str, tuple[str, ...]]:
    """By document the aspects that it covers; documents that cover none are left out."""
    least = given.get("rel", 1)
    kept = {id: tuple(one for one, grade in grades.items() if grade >= least) for id, grades in covered.items()}
    return {id: aspects for id, aspects in kept.items() if aspects}


def _gains(ranked: Sequence[Sequence[str]], alpha: float) -> list[float]:
    """What each document of a ranking adds, from the aspects that each covers."""
    seen: Counter[str] = Counter()
    gains = []
    for aspects in ranked:
        gains.append(math.fsum((1 - alpha) ** seen[aspect] for aspect in aspects))
        seen.update(aspects)
    return gains


def _ideal(relevant: Mapping[str, Sequence[str]], alpha: float, depth: int) -> list[float]:
    """The gains of the ranking that takes at each rank the document that adds most, of several the last id."""
    left, seen = dict(relevant), Counter[str]()
    gains: list[float] = []
    while left and len(gains) < depth:
        worth = {id: math.fsum((1 - alpha) ** seen[aspect] for aspect in aspects) for id, aspects in left.items()}
        best = max(worth, key=lambda id: (round(worth[id], 12), id))
        gains.append(worth[best])
        seen.update(left.pop(best))
    return gains


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
