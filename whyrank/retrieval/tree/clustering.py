"""Trees from vectors: bisecting 2-means with bounds on both sides, so that every tree's depth is logarithmic."""

import heapq
from itertools import count

import numpy as np
from numpy.typing import NDArray

from whyrank.retrieval.tree.shape import Ints, Shape

Vectors = NDArray[np.floating]

SAMPLE = 4096
"""Vectors from which the direction of a cut is found; all are then cut by it."""

ROUNDS = 8
"""Steps of 2-means at most."""

BLOCK = 1 << 16
"""Vectors that are multiplied at once."""

FILL = 0.75
"""How full clusters are made: the room is for natural borders, and for documents that come later."""


def bottom_up(vectors: Vectors, branching: int) -> Shape:
    """Cluster the leaves, then the clusters' centroids, and so on up to a root: all leaves lie equally deep.

    Args:
        vectors: (n, d), of the leaves.
        branching: the most children of a node, at least 2.
    """
    weights, level = np.ones(len(vectors)), vectors
    parents: list[Ints] = []
    start = len(vectors)
    while True:
        groups = _groups(level, branching)
        above = np.empty(len(level), dtype=np.int64)
        for at, rows in enumerate(groups):
            above[rows] = start + at
        parents.append(above)
        if len(groups) == 1:
            return Shape(np.concatenate([*parents, np.array([-1])]), len(vectors))
        sums = [weights[rows] @ level[rows].astype(np.float64) for rows in groups]
        weights = np.array([weights[rows].sum() for rows in groups])
        level = np.array(sums) / weights[:, None]
        start += len(groups)


def top_down(vectors: Vectors, branching: int) -> Shape:
    """Divide the collection into at most `branching` parts along its natural borders, and each part again.

    Args:
        vectors: (n, d), of the leaves.
        branching: the most children of a node, at least 2.
    """
    n = len(vectors)
    parents, above = np.empty(n, dtype=np.int64), [-1]
    waiting = [(0, np.arange(n))]
    while waiting:
        node, rows = waiting.pop()
        if len(rows) <= branching:
            parents[rows] = n + node
            continue
        for part in _parts(vectors, rows, min(branching, -(-len(rows) // _filled(branching)))):
            waiting.append((len(above), part))
            above.append(n + node)
    return Shape(np.concatenate([parents, np.array(above, dtype=np.int64)]), n)


def bisect(vectors: Vectors, rows: Ints, least: int, most: int | None = None) -> tuple[Ints, Ints]:
    """Part `rows` where 2-means finds the border, or as near to it as the bounds allow.

    Args:
        vectors: (n, d).
        rows: which of them, at least two.
        least: how many the first part has at least.
        most: how many the first part has at most; None leaves at least `least` to the second.

    Returns:
        Both parts, each in rising order.
    """
    most = len(rows) - least if most is None else most
    direction, middle = _border(np.asarray(vectors[rows[:: -(-len(rows) // SAMPLE)]], dtype=np.float32))
    blocks = (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
    along = np.concatenate([np.asarray(vectors[block], dtype=np.float32) @ direction for block in blocks])
    cut = min(max(int((along > middle).sum()), least), most)
    order = np.argsort(-along, kind="stable")
    return np.sort(rows[order[:cut]]), np.sort(rows[order[cut:]])


def _border(sample: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The plane between two clusters: x · direction > middle is the first cluster. Starts at two far points."""
    one = sample[np.argmax(((sample - sample.mean(axis=0)) ** 2).sum(axis=1))]
    two = sample[np.argmax(((sample - one) ** 2).sum(axis=1))]
    first = np.empty(0, dtype=bool)
    for _ in range(ROUNDS):
        direction, middle = one - two, float((one - two) @ (one + two)) / 2
        now = sample @ direction > middle
        if now.all() or not now.any() or np.array_equal(now, first):
            break
        first, one, two = now, sample[now].mean(axis=0), sample[~now].mean(axis=0)
    return direction, middle


def _filled(branching: int) -> int:
    return max(2, round(FILL * branching))


def _groups(vectors: Vectors, most: int) -> list[Ints]:
    """Part all vectors into groups of a quarter of `most` to `most`, as few as `FILL` asks for; one where they fit."""
    least = max(1, most // 4)
    rows = np.arange(len(vectors))
    waiting = [(rows, 1 if len(rows) <= most else -(-len(rows) // _filled(most)))]
    done: list[Ints] = []
    while waiting:
        rows, groups = waiting.pop()
        if groups == 1:
            done.append(rows)
            continue
        half = groups // 2
        rest = groups - half
        lowest, highest = max(half * least, len(rows) - rest * most), min(half * most, len(rows) - rest * least)
        parts = bisect(vectors, rows, lowest, highest)
        waiting += [(parts[1], rest), (parts[0], half)]
    return done


def _parts(vectors: Vectors, rows: Ints, number: int) -> list[Ints]:
    """Part `rows` into `number` parts: the largest is cut again and again, no piece below a quarter of its whole."""
    turn = count()
    heap = [(-len(rows), next(turn), rows)]
    while len(heap) < number:
        _, _, largest = heapq.heappop(heap)
        for part in bisect(vectors, largest, max(1, len(largest) // 4)):
            heapq.heappush(heap, (-len(part), next(turn), part))
    return [part for _, _, part in sorted(heap, key=lambda piece: piece[2][0])]
