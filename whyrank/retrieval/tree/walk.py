"""The way of one query down the tree: best first, a few nodes at a time. Knows no text and no model."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from whyrank.fields import Above, AtMost, Declared, NotNegative, Positive
from whyrank.retrieval.tree.calibrate import calibrate
from whyrank.retrieval.tree.shape import Ints, Shape

Floats = NDArray[np.float64]

FLOOR = 0.09
"""A node whose own relevance is not above this inherits nothing from its parent (LATTICE)."""


@dataclass(frozen=True)
class Policy(Declared):
    """How to walk.

    Attributes:
        beam: how many nodes are opened at a time, side by side.
        iterations: how often.
        alpha: what a node's own relevance counts against its parent's path relevance, above 0, at most 1.
        anchors: how many leaves that were seen before stand in the slate of a leaf cluster, so that its scores can be
            compared with those of other slates; an inner slate below the root has one node of its level, if any.
        shrink: how strongly relevances are drawn to their mean, see `calibrate`.
        ridge: how strongly the biases of slates are held at 0, likewise.
        calls: at most so many slates; None is no bound.

    Raises:
        BadInput: a number outside its range.
    """

    beam: Positive = 2
    iterations: Positive = 20
    alpha: Annotated[float, Above(0), AtMost(1)] = 0.5
    anchors: NotNegative = 4
    shrink: Annotated[float, Above(0)] = 0.3
    ridge: Annotated[float, Above(0)] = 0.1
    calls: Positive | None = None


@dataclass(frozen=True)
class Slate:
    """What is judged in one call: the children of `node` that are not excluded, and anchors, well shuffled.

    The order depends on `node` alone, so that a repeated walk asks the same again.
    """

    node: int
    entries: Ints


@dataclass(frozen=True)
class FoundLeaves:
    """Leaves that were judged, best first, with their path relevance."""

    leaves: Ints
    scores: Floats


class TreeWalk:
    """One query's walk: ask for `slates`, have them judged, tell what came of it, again until there are none.

    The path relevance of a node is `alpha` · its calibrated relevance + (1 - `alpha`) · that of its parent; the best
    nodes that are not open yet are opened next. LATTICE orders its frontier by the scores as they came and calibrates
    leaves only; here all of it is calibrated. A node without a score counts as its scored siblings do on average.

    Source: LATTICE (2510.13217, 2025).

    Examples:
        >>> walk = TreeWalk(Shape.balanced(1000, branching=10), Policy(beam=1, iterations=3))
        >>> calls = explore(walk, lambda slate: np.array([lies_under(walk.shape, 777, at) for at in slate.entries]))
        >>> calls, int(walk.found().leaves[0])
        (3, 777)
    """

    def __init__(self, shape: Shape, policy: Policy, excluded: Collection[int] = ()) -> None:
        """Stand at the root of `shape`; the leaves `excluded` are in no slate, nor what holds nothing else."""
        self.shape, self.policy = shape, policy
        self.gone = shape.counts_above(excluded)
        self.iteration = self.asked = 0
        self._nodes: list[int] = []  # in the order in which they were seen: parents before children
        self._place: dict[int, int] = {}
        self._up: list[int] = []  # the place of each node's parent; -1 below the root
        self._scores: list[tuple[int, int, float]] = []  # place, slate, score
        self._open: set[int] = set()
        self._own = self._path = np.empty(0)

    def slates(self) -> list[Slate]:
        """What to judge next, each by itself; empty at the end."""
        left = self.policy.beam if self.policy.calls is None else min(self.policy.beam, self.policy.calls - self.asked)
        if self.iteration >= self.policy.iterations or left <= 0:
            return []
        return [self._slate(node) for node in self._frontier()[:left]]

    def hear(self, slates: Sequence[Slate], scores: Sequence[Floats]) -> None:
        """Take in the scores of slates: for each entry from 0 to 1, or NaN where it has none."""
        self.iteration += 1
        for slate, judged in zip(slates, scores, strict=True):
            up = self._place.get(slate.node, -1)
            self._open.add(slate.node)
            for node, score in zip(slate.entries.tolist(), judged.tolist(), strict=True):
                if node not in self._place:
                    self._place[node] = len(self._nodes)
                    self._nodes.append(node)
                    self._up.append(up)
                if not np.isnan(score):
                    self._scores.append((self._place[node], self.asked, score))
            self.asked += 1
        self._weigh()

    def found(self) -> FoundLeaves:
        """The leaves seen so far; between equals those with a score of their own go first, then lower numbers."""
        seen = np.array(self._nodes, dtype=np.int64)
        at = np.flatnonzero(seen < self.shape.leaves)
        relevance = self._path[at].round(6)
        order = np.lexsort((seen[at], np.isnan(self._own[at]), -relevance))
        return FoundLeaves(seen[at][order], relevance[order])

    def _frontier(self) -> list[int]:
        if not self._nodes and self.shape.root not in self._open:
            return [self.shape.root] if self._alive(self.shape.root) else []
        order = np.argsort(-self._path, kind="stable").tolist()
        inner = (self._nodes[at] for at in order)
        return [node for node in inner if not self.shape.is_leaf(node) and node not in self._open]

    def _alive(self, node: int) -> bool:
        return self.gone.get(node, 0) < int(self.shape.sizes[node])

    def _slate(self, node: int) -> Slate:
        children = [child for child in self.shape.children(node).tolist() if self._alive(child)]
        of_leaves = self.shape.is_leaf(children[0])
        depth = self.shape.depths[children[0]]
        anchors: list[int] = []
        if node != self.shape.root and (most := self.policy.anchors if of_leaves else min(1, self.policy.anchors)):
            for at in np.argsort(-self._own, kind="stable").tolist():  # NaN goes last
                other = self._nodes[at]
                same = self.shape.is_leaf(other) if of_leaves else self.shape.depths[other] == depth
                if same and other not in children and not np.isnan(self._own[at]):
                    anchors.append(other)
                if len(anchors) == most:
                    break
        return Slate(node, np.random.default_rng(node).permutation(np.array(children + anchors, dtype=np.int64)))

    def _weigh(self) -> None:
        self._own = np.full(len(self._nodes), np.nan)
        if self._scores:
            places, slates, scores = map(np.array, zip(*self._scores, strict=True))
            known, nodes = np.unique(places, return_inverse=True)
            _, numbers = np.unique(slates, return_inverse=True)
            policy = self.policy
            self._own[known], _ = calibrate(nodes, numbers, scores, shrink=policy.shrink, ridge=policy.ridge)
        self._path = self._along_paths()

    def _along_paths(self) -> Floats:
        """Path relevance of all nodes seen: one pass, since parents were seen before their children."""
        alpha, up = self.policy.alpha, np.array(self._up, dtype=np.int64) + 1
        known = ~np.isnan(self._own)
        number = np.bincount(up[known], minlength=len(up) + 1)
        total = np.bincount(up[known], self._own[known], minlength=len(up) + 1)
        path: list[float] = []
        for own, parent in zip(self._own.tolist(), self._up, strict=True):
            above = path[parent] if parent >= 0 else None
            if own != own:
                own = total[parent + 1] / number[parent + 1] if number[parent + 1] else above or 0.0
            path.append(own if above is None or own <= FLOOR else alpha * own + (1 - alpha) * above)
        return np.array(path)


def explore(walk: TreeWalk, judge: Callable[[Slate], Floats]) -> int:
    """Walk to the end with a function as judge, and tell how many slates it judged: for trials without a model."""
    while slates := walk.slates():
        walk.hear(slates, [np.asarray(judge(slate), dtype=np.float64) for slate in slates])
    return walk.asked


def lies_under(shape: Shape, leaf: int, node: int) -> bool:
    """Whether `leaf` is `node` or lies under it."""
    return leaf == node or node in shape.above(leaf)
