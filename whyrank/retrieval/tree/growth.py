"""Leaves added to a tree: each goes down to the nearest leaf cluster, and what overflows is split in two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyrank.retrieval.tree.clustering import bisect
from whyrank.retrieval.tree.shape import Ints, Shape


def grown(shape: Shape, vectors: NDArray[Any], branching: int) -> tuple[Shape, Ints]:
    """The tree with further leaves. No leaf is lost, moved out of reach, or in two places.

    A leaf goes down from the root to the child with the most similar centroid (cosine), and into the leaf cluster where
    it ends. A node with more than `branching` children is split along its natural border, which gives its parent one
    child more; a root that overflows gets a new root, as in a B-tree.

    Args:
        shape: the tree so far, of n leaves.
        vectors: (n + added, d), of the leaves; those that are added come last.
        branching: the most children of a node.

    Returns:
        The new tree, in which inner node i of the old one is inner node i again; and its inner nodes, counted from 0,
        whose leaves have changed.
    """
    growing = _Growing(shape, vectors, branching)
    for leaf in range(shape.leaves, len(vectors)):
        growing.add(leaf)
    parents = np.empty(len(vectors) + len(growing.children), dtype=np.int64)
    for node, children in enumerate(growing.children):
        at = [child if child >= 0 else len(vectors) + ~child for child in children]
        parents[at] = len(vectors) + node
    parents[len(vectors) + growing.root] = -1
    return Shape(parents, len(vectors)), np.array(sorted(growing.changed), dtype=np.int64)


class _Growing:
    """A tree that can be changed. Leaves are 0, 1, 2 …; inner nodes are counted from 0 and written ~0, ~1, ~2 …."""

    def __init__(self, shape: Shape, vectors: NDArray[Any], branching: int) -> None:
        self.vectors, self.branching = vectors, branching
        n, inner = shape.leaves, range(shape.leaves, len(shape.parents))
        self.root = shape.root - n
        self.children = [
            [child if child < n else ~(child - n) for child in shape.children(node).tolist()] for node in inner
        ]
        self.up = [int(shape.parents[node]) - n if node != shape.root else -1 for node in inner]
        self.sums = _sums(shape, vectors)
        self.changed: set[int] = set()

    def add(self, leaf: int) -> None:
        """Put one leaf into the tree."""
        vector, node = np.asarray(self.vectors[leaf], dtype=np.float32), self.root
        while True:
            self.changed.add(node)
            self.sums[node] = self.sums[node] + vector
            inner = [~child for child in self.children[node] if child < 0]
            if not inner:
                break
            node = inner[int(np.argmax([_cosine(self.sums[child], vector) for child in inner]))]
        self.children[node].append(leaf)
        while node >= 0 and len(self.children[node]) > self.branching:
            node = self._split(node)

    def _split(self, node: int) -> int:
        """Part the children of a node in two, and tell the parent, which now has one more."""
        children = self.children[node]
        points = np.array([self._sum(child) / (np.linalg.norm(self._sum(child)) or 1.0) for child in children])
        kept, moved = bisect(points, np.arange(len(children)), max(1, len(children) // 4))
        twin = self._new([children[at] for at in moved.tolist()])
        self.children[node] = [children[at] for at in kept.tolist()]
        self.sums[node] = np.sum([self._sum(child) for child in self.children[node]], axis=0)
        if (parent := self.up[node]) < 0:
            self.root = parent = self._new([~node])
        self.children[parent].append(~twin)
        self.up[twin] = parent
        self.sums[parent] = np.sum([self._sum(child) for child in self.children[parent]], axis=0)
        self.changed |= {node, twin, parent}
        return parent

    def _new(self, children: list[int]) -> int:
        node = len(self.children)
        self.children.append(children)
        self.up.append(-1)
        self.sums.append(np.sum([self._sum(child) for child in children], axis=0))
        for child in children:
            if child < 0:
                self.up[~child] = node
        return node

    def _sum(self, child: int) -> NDArray[np.float32]:
        return self.sums[~child] if child < 0 else np.asarray(self.vectors[child], dtype=np.float32)


def _sums(shape: Shape, vectors: NDArray[Any]) -> list[NDArray[np.float32]]:
    """The sum of the vectors under each inner node."""
    sums = np.zeros((len(shape.parents) - shape.leaves, vectors.shape[1]), dtype=np.float32)
    for level in shape.levels:
        for node in level.tolist():
            own = vectors[node] if node < shape.leaves else sums[node - shape.leaves]
            sums[shape.parents[node] - shape.leaves] += own
    return list(sums)


def _cosine(total: NDArray[np.float32], vector: NDArray[np.float32]) -> float:
    return float(total @ vector) / (float(np.linalg.norm(total)) or 1.0)
