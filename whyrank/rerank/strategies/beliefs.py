"""Beliefs about relevance: a Gaussian for each document, updated by orders of some of them (TrueSkill, NIPS 2006)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 1.0
"""Standard deviation of how a document does in one comparison, where its relevance is believed to ±1 at first."""

PRIOR = 1.0
"""How many of these ±1 one standard deviation of first-stage scores is worth."""

_STEPS, _DAMPING = 30, 0.5


class Beliefs:
    """What is believed of n documents.

    Attributes:
        mean: (n,) the expected relevance.
        deviation: (n,) how sure that is: a standard deviation.
    """

    def __init__(self, scores: Sequence[float]) -> None:
        """Begin with what first-stage scores tell; where all are equal, they tell nothing."""
        values = np.asarray(scores, dtype=np.float64)
        spread = values.std() if len(values) else 0.0
        self.mean: Floats = PRIOR * (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
        self.deviation: Floats = np.ones(len(values))

    def update(self, order: Sequence[int]) -> None:
        """Take in that documents came out in this order, best first.

        The order is one Gaussian performance for each document and the constraint that each beats the next; the
        posterior is that of expectation propagation, all constraints at once with damping.
        """
        if len(order) < 2:
            return
        at = np.asarray(order)
        mean, variance = self.mean[at], self.deviation[at] ** 2
        did, sure = _ordered(mean, variance + NOISE**2)
        gain = variance / (variance + NOISE**2)
        self.mean[at] = mean + gain * (did - mean)
        self.deviation[at] = np.sqrt(variance + gain**2 * (sure - variance - NOISE**2))

    def among(self, k: int) -> Floats:
        """(n,) the probability of each document to be among the first k: above the threshold that k are expected above.

        All 1 where there are no more than k documents.
        """
        if len(self.mean) <= k:
            return np.ones(len(self.mean))
        reach = 40 * self.deviation.max()
        low, high = self.mean.min() - reach, self.mean.max() + reach
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if _above(self.mean, self.deviation, middle).sum() > k else (low, middle)
        return _above(self.mean, self.deviation, (low + high) / 2)


def _ordered(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of independent Gaussians given that they fall."""
    n = len(mean)
    differences = np.eye(n)[:-1] - np.eye(n)[1:]
    precision, shift = np.zeros(n - 1), np.zeros(n - 1)  # of the constraints' approximations
    for _ in range(_STEPS):
        covariance = np.linalg.inv(np.diag(1 / variance) + differences.T * precision @ differences)
        posterior = covariance @ (mean / variance + differences.T @ shift)
        own = 1 / np.einsum("ij,jk,ik->i", differences, covariance, differences)
        rest = np.maximum(own - precision, 1e-9)  # the cavity: what all but the one constraint say of a difference
        middle, width = (own * (differences @ posterior) - shift) / rest, 1 / np.sqrt(rest)
        ratio = np.array([_mills(value) for value in (middle / width).tolist()])
        left = np.clip(1 - ratio * (ratio + middle / width), 1e-6, 1.0)
        tight = rest / left
        precision += _DAMPING * (tight - rest - precision)
        shift += _DAMPING * (tight * (middle + width * ratio) - rest * middle - shift)
    return posterior, np.diag(covariance)


def _mills(value: float) -> float:
    """The density of the normal distribution over its distribution function, exact also far below 0."""
    if value < -25:
        return -value - 1 / value
    return math.sqrt(2 / math.pi) * math.exp(-(value**2) / 2) / math.erfc(-value / math.sqrt(2))


def _above(mean: Floats, deviation: Floats, threshold: float) -> Floats:
    scaled = (threshold - mean) / (deviation * math.sqrt(2))
    return np.array([math.erfc(value) / 2 for value in scaled.tolist()])
