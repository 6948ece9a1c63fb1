"""What recommendations are like beside being right: how many items they reach, how evenly, how popular they are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whyrank.types import Run

POWER = 2.8
"""Standard errors that a difference needs to be found in 4 of 5 trials at a two-sided level of .05 (z.975 + z.8)."""
SPREAD = 0.145
"""The standard deviation of per-user differences in nDCG@10 between systems that rank a whole catalogue, as measured on
Amazon and Games logs; with small pools it is larger."""


@dataclass(frozen=True)
class Spread:
    """How recommendations are spread over the items.

    Attributes:
        run: the run's name.
        coverage: the share of all items that are among the first `k` of some user.
        gini: 0 where each item is recommended as often as any other, near 1 where few are recommended to all.
        popularity: how many events in training a recommended item has, a mean over all recommendations.
        k: the cut-off.
    """

    run: str
    coverage: float
    gini: float
    popularity: float
    k: int = 10

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.run}: its first {self.k} reach {self.coverage:.1%} of the items, Gini {self.gini:.3f}, "
            f"with {self.popularity:,.0f} events each"
        )


def spread(run: Run, popularity: Mapping[str, int], k: int = 10) -> Spread:
    """How the first `k` of each query are spread over the items.

    Args:
        run: the recommendations.
        popularity: of every item of the catalogue, how many events it has in training.
        k: the cut-off.

    Examples:
        >>> spread(Run.of({"u": ["a", "b"], "v": ["a"]}), {"a": 5, "b": 2, "c": 0, "d": 1})
        Spread(run='run', coverage=0.5, gini=0.5833333333333334, popularity=4.0, k=10)
    """
    counts = dict.fromkeys(popularity, 0)
    for ranking in run.top(k).values():
        for item in ranking.ids:
            counts[item] = counts.get(item, 0) + 1
    times = np.sort(np.array(list(counts.values()), dtype=np.float64))
    total, size = float(times.sum()), len(times)
    ranks = np.arange(1, size + 1)
    gini = float((2 * ranks - size - 1) @ times / (size * total)) if total else 0.0
    seen = sum(count * popularity.get(item, 0) for item, count in counts.items())
    return Spread(run.name, float((times > 0).mean()) if size else 0.0, gini, seen / total if total else 0.0, k)


def detectable(queries: int, deviation: float = SPREAD) -> float:
    """The smallest difference of means that so many queries show in 4 of 5 comparisons: 2.8 · deviation / √n.

    Examples:
        >>> round(detectable(200), 4), round(detectable(22_363), 4)
        (0.0287, 0.0027)
    """
    return POWER * deviation / math.sqrt(queries)
