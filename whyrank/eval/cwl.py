"""Measures that say how a user reads on: C/W/L (Moffat, Bailey, Scholer and Thomas, 2017; cwl_eval, Azzopardi 2019).

A measure is the probability C(i) that who reads the document at rank i reads the next one, too. The share of attention
W(i) that a rank gets follows, and the value is the sum of W(i) times the gain at i: the gain in each document read.
Gains are grades, brought from `min_rel` (0) … `max_rel` to 0 … 1; unjudged documents gain nothing, and reading ends at
rank 1,000 at the latest, as in cwl_eval, which these agree with (tests).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

Given = Mapping[str, Any]
GoesOn = Callable[[int, float, float, Given], float]
"""C(i): from the rank, the gain there, the gain so far with it, and the parameters of the measure."""

LAST = 1000
"""The rank at which reading ends."""


def value(goes_on: GoesOn, grades: Mapping[str, float], ranking: Sequence[str], given: Given) -> float:
    """Σ W(i) · gain at i."""
    low, high = given.get("min_rel", 0), given["max_rel"]
    gains = [(min(max(grades.get(id, low), low), high) - low) / (high - low) for id in ranking[:LAST]]
    attention = list(_attention(goes_on, gains + [0.0] * (LAST - len(gains)), given))
    return math.fsum(part * gain for part, gain in zip(attention, gains, strict=False)) / math.fsum(attention)


def _attention(goes_on: GoesOn, gains: Sequence[float], given: Given) -> Iterator[float]:
    """How likely each rank is read; in proportion to W."""
    reads = 1.0
    for rank, (gain, so_far) in enumerate(zip(gains, accumulate(gains), strict=True), 1):
        yield reads
        reads *= goes_on(rank, gain, so_far, given)
        if not reads:
            return


def sdcg(rank: int, gain: float, so_far: float, given: Given) -> float:
    """Scaled DCG: as DCG discounts, to the cut-off (Järvelin and Kekäläinen, 2002)."""
    return math.log2(rank + 1) / math.log2(rank + 2) if rank < given["cutoff"] else 0.0


def insq(rank: int, gain: float, so_far: float, given: Given) -> float:
    """INSQ: a user who wants `T` documents (Moffat, Scholer and Thomas, 2012)."""
    wanted = 2 * given.get("T", 1.0)
    return float(((rank + wanted - 1) / (rank + wanted)) ** 2)


def inst(rank: int, gain: float, so_far: float, given: Given) -> float:
    """INST: one who wants `T`, and has found some of it (Moffat, Bailey, Scholer and Thomas, 2015)."""
    wanted = 2 * given.get("T", 1.0) - so_far
    return float(((rank + wanted - 1) / (rank + wanted)) ** 2)


def bpm(rank: int, gain: float, so_far: float, given: Given) -> float:
    """The Bejeweled player, who ends with a gain of `T`, or at the cut-off (Zhang and others, 2017)."""
    return float(so_far < given.get("T", 1.0) and rank < given["cutoff"])


def nerr8(rank: int, gain: float, so_far: float, given: Given) -> float:
    """ERR's user, in C/W/L, to the cut-off: equation 8 of Azzopardi, Mackenzie and Moffat, 2021."""
    return 1 - gain if rank < given["cutoff"] else 0.0


def nerr9(rank: int, gain: float, so_far: float, given: Given) -> float:
    """The same who tires by the rank: their equation 9."""
    return rank / (rank + 1) * nerr8(rank, gain, so_far, given)


def nerr10(rank: int, gain: float, so_far: float, given: Given) -> float:
    """The same with the patience of RBP: their equation 10."""
    return float(given.get("p", 0.9) * (1 - gain))


def nerr11(rank: int, gain: float, so_far: float, given: Given) -> float:
    """The same with that of INSQ: their equation 11."""
    return insq(rank, gain, so_far, given) * (1 - gain)


USERS: Mapping[str, GoesOn] = {
    "SDCG": sdcg, "INST": inst, "INSQ": insq, "BPM": bpm, "NERR8": nerr8, "NERR9": nerr9, "NERR10": nerr10,
    "NERR11": nerr11,
}  # fmt: skip
"""By name, as ir_measures spells them."""
