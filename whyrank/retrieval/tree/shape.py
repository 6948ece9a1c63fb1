"""The shape of a tree in arrays: who is whose parent, nothing else; a million leaves take some tens of megabytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadIndex, BadInput

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shape:
    """A tree whose leaves are the nodes 0 to n-1, and whose inner nodes are the nodes n to m-1.

    Attributes:
        parents: (m,) the parent of each node; -1 for the root.
        leaves: n, how many leaves there are, at least one.

    Raises:
        BadIndex: the parents make no tree: two roots, a ring, an inner node without children, or a leaf with some.

    Examples:
        >>> shape = Shape.balanced(10, branching=4)
        >>> shape.children(shape.root).tolist(), shape.sizes[shape.children(shape.root)].tolist()
        ([10, 11, 12], [4, 4, 2])
    """

    parents: Ints
    leaves: int

    def __post_init__(self) -> None:
        roots = np.flatnonzero(self.parents < 0)
        if not 0 < self.leaves < len(self.parents) or len(roots) != 1 or roots[0] < self.leaves:
            raise BadIndex(f"{self.leaves} leaves and {len(roots)} roots among {len(self.parents)} nodes make no tree")
        if self.parents.max() >= len(self.parents) or (np.diff(self._offsets) > 0).nonzero()[0].tolist() != list(
            range(self.leaves, len(self.parents))
        ):
            raise BadIndex("no tree: each inner node needs children, and a leaf has none")
        if self.sizes[self.root] != self.leaves:
            raise BadIndex("no tree: some leaves hang on no path to the root")

    @classmethod
    def balanced(cls, leaves: int, branching: int) -> Self:
        """The tree that packs neighbouring leaves, `branching` to a node, level by level.

        Raises:
            BadInput: no leaves, or `branching` below 2.
        """
        if leaves < 1 or branching < 2:
            raise BadInput(f"a tree needs a leaf and a branching of at least 2, not {leaves} and {branching}")
        levels, count, start = [], leaves, leaves
        while True:
            groups = -(-count // branching)
            levels.append(start + np.arange(count, dtype=np.int64) // branching)
            if groups == 1:
                return cls(np.concatenate([*levels, np.array([-1])]), leaves)
            count, start = groups, start + groups

    @cached_property
    def root(self) -> int:
        """The node without a parent."""
        return int(np.flatnonzero(self.parents < 0)[0])

    @cached_property
    def depths(self) -> Ints:
        """(m,) steps from the root; the root's is 0.

        Raises:
            BadIndex: some nodes go round in a ring.
        """
        root = len(self.parents)  # stands above the root, and above itself
        above = np.append(np.where(self.parents < 0, root, self.parents), root)
        steps = np.append(np.ones(root, dtype=np.int64), 0)
        for _ in range(root.bit_length()):  # each round looks twice as far up
            if (above == root).all():
                break
            steps, above = steps + steps[above], above[above]
        if (above != root).any():
            raise BadIndex("no tree: some nodes go round in a ring")
        return steps[:-1] - 1

    @cached_property
    def sizes(self) -> Ints:
        """(m,) how many leaves lie under each node; 1 for a leaf itself."""
        sizes = np.zeros(len(self.parents), dtype=np.int64)
        sizes[: self.leaves] = 1
        for level in self.levels:
            np.add.at(sizes, self.parents[level], sizes[level])
        return sizes

    @cached_property
    def levels(self) -> list[Ints]:
        """The nodes of each depth but the root's, the deepest first."""
        order = np.argsort(self.depths, kind="stable")
        ends = np.cumsum(np.bincount(self.depths))
        return [order[start:end] for start, end in pairwise(ends.tolist())][::-1]

    def children(self, node: int) -> Ints:
        """The children of a node, in the order of their numbers."""
        return self._order[self._offsets[node] : self._offsets[node + 1]]

    def is_leaf(self, node: int) -> bool:
        """Whether the node is a leaf."""
        return node < self.leaves

    def above(self, node: int) -> list[int]:
        """The nodes on the way from a node, itself left out, to the root."""
        found = []
        while (node := int(self.parents[node])) >= 0:
            found.append(node)
        return found

    def counts_above(self, leaves: Iterable[int]) -> dict[int, int]:
        """How many of these leaves lie under each node, themselves included; nodes without any are left out."""
        counts: dict[int, int] = {}
        for leaf in leaves:
            for node in (leaf, *self.above(leaf)):
                counts[node] = counts.get(node, 0) + 1
        return counts

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.parents, kind="stable")[1:]  # the root comes first: its parent is -1

    @cached_property
    def _offsets(self) -> Ints:
        hang_on = np.bincount(self.parents[self.parents >= 0], minlength=len(self.parents))
        return np.concatenate([[0], np.cumsum(hang_on)]).astype(np.int64)
