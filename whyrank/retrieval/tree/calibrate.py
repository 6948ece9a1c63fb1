"""Scores that a model gave in different calls, made comparable: weighted ridge regression in closed form."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def calibrate(
    nodes: Ints, slates: Ints, scores: Floats, *, shrink: float, ridge: float, weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """What relevance θ of each node, and what bias b of each slate, explain the scores best.

    Minimises Σ w · (θ_node + b_slate - score)² + `shrink` · Σ (θ - m)² + `ridge` · Σ b², where m is the mean score.
    Nodes that stand in several slates tie the slates together. LATTICE (2510.13217, 2025) fits the same model by 200
    gradient steps with next to no `shrink`; with its scale held at 1 it is linear: θ is eliminated, and one small
    system in the biases is left.

    `shrink` matters: what is shown again is what scored best, so that its score was rather too high and will fall. That
    looks like a strict call and, without `shrink`, lifts whatever else stands in it.

    Args:
        nodes: (n,) the node of each score, numbered from 0 without gaps.
        slates: (n,) the slate of each score, likewise.
        scores: (n,) as the model gave them.
        shrink: how strongly relevances are drawn to the mean, above 0; large where a model's scores are noisy.
        ridge: how strongly biases are held at 0, above 0; large where a model judges evenly from call to call.
        weights: (n,) the weight of each score; None is `max(0.1, sigmoid(score - 0.5))`, as LATTICE has it.

    Returns:
        θ of each node, b of each slate.

    Examples:
        >>> relevance, bias = calibrate(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]),
        ...     np.array([0.2, 0.8, 0.5, 0.6]), shrink=1e-6, ridge=1e-3)
        >>> bool(relevance[2] > relevance[1]), (bias[1] - bias[0]).round(3)
        (True, np.float64(-0.299))
    """
    mean, w = scores.mean(), np.maximum(0.1, 1 / (1 + np.exp(0.5 - scores))) if weights is None else weights
    shape = int(slates.max()) + 1, int(nodes.max()) + 1
    table = np.zeros(shape)
    np.add.at(table, (slates, nodes), w)
    of_slates = np.bincount(slates, w * (scores - mean), minlength=shape[0])
    of_nodes = np.bincount(nodes, w * (scores - mean), minlength=shape[1])
    shared = table / (table.sum(axis=0) + shrink)
    system = np.diag(table.sum(axis=1) + ridge) - shared @ table.T
    bias = np.linalg.solve(system, of_slates - shared @ of_nodes)
    relevance = mean + (of_nodes - bias @ table) / (table.sum(axis=0) + shrink)
    return relevance, bias
