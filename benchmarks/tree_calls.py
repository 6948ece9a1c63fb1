"""How many model calls hierarchical search needs, by the size of the collection: synthetic trees, simulated judges.

Run: OMP_NUM_THREADS=1 python benchmarks/tree_calls.py
Takes about a minute on one core. No text and no model: the judge is a function that is told which leaf is wanted.

The perfect judge gives 1 to what holds the leaf, and else the less the fewer levels of the way a node shares. The noisy
judge gives 0.75 to what holds it and 0.35 to what does not, plus noise of its own for each candidate (sigma 0.15) and a
bias for each call (sigma 0.15), cut off at 0 and 1.

The last lines are the noisy judge on 10,000 leaves again: scores as they came, calibrated with next to no shrinkage
(LATTICE's weight decay), and calibrated as by default.
"""

import math
import time
from collections.abc import Callable

import numpy as np

from whyrank.retrieval.tree.shape import Shape
from whyrank.retrieval.tree.walk import Floats, Policy, Slate, TreeWalk

SIZES = (10**3, 10**4, 10**5, 10**6)
BRANCHING, QUERIES, ITERATIONS = 10, 200, 20
BEAMS = (1, 2, 4)

Judge = Callable[[Slate], Floats]


def perfect(shape: Shape, leaf: int) -> Judge:
    """A judge that is never wrong."""
    way = {node: depth for depth, node in enumerate([*shape.above(leaf)[::-1], leaf])}

    def score(node: int) -> float:
        shared = max(way.get(up, 0) for up in (node, *shape.above(node)))
        return 1.0 if node in way else 0.4 * shared / len(way)

    def judge(slate: Slate) -> Floats:
        return np.array([score(node) for node in slate.entries.tolist()])

    return judge


def noisy(shape: Shape, leaf: int, draw: np.random.Generator) -> Judge:
    """A judge that errs, and is kinder in one call than in another."""
    way = {leaf, *shape.above(leaf)}

    def judge(slate: Slate) -> Floats:
        fair = np.array([0.75 if node in way else 0.35 for node in slate.entries.tolist()])
        return np.clip(fair + draw.normal(scale=0.15) + draw.normal(scale=0.15, size=len(fair)), 0, 1)

    return judge


def search(walk: TreeWalk, judge: Judge, leaf: int) -> tuple[int | None, int]:
    """Walk to the end: at which call the leaf was first in a slate, and how many calls there were."""
    reached = None
    while slates := walk.slates():
        for place, slate in enumerate(slates, start=walk.asked + 1):
            if reached is None and leaf in slate.entries:
                reached = place
        walk.hear(slates, [judge(slate) for slate in slates])
    return reached, walk.asked


def line(shape: Shape, name: str, policy: Policy) -> str:
    """One line of the table: the means over `QUERIES` leaves."""
    draw = np.random.default_rng(0)
    reached, first, ten, calls = [], 0, 0, 0
    start = time.perf_counter()
    for leaf in draw.integers(shape.leaves, size=QUERIES).tolist():
        walk = TreeWalk(shape, policy)
        judge = perfect(shape, leaf) if name == "perfect" else noisy(shape, leaf, draw)
        at, asked = search(walk, judge, leaf)
        found = walk.found().leaves.tolist()
        first, ten, calls = first + (found[:1] == [leaf]), ten + (leaf in found[:10]), calls + asked
        reached += [at] if at is not None else []
    took = (time.perf_counter() - start) / QUERIES
    depth = math.ceil(round(math.log(shape.leaves, BRANCHING), 9))
    expected = 1 + policy.beam * (depth - 1)
    middle, worst = (f"{np.mean(reached):8.1f}", f"{max(reached):6}") if reached else ("       -", "     -")
    shares = f"{len(reached) / QUERIES:7.3f} {first / QUERIES:6.3f} {ten / QUERIES:6.3f}"
    head = f"{shape.leaves:>9,} {policy.beam:4} {name:8} {expected:8} {middle} {worst}"
    return f"{head} {shares} {calls / QUERIES:6.1f} {1000 * took:7.1f}"


def main() -> None:
    """Print the table."""
    print(f"{QUERIES} queries, branching {BRANCHING}, {ITERATIONS} iterations, alpha 0.5")
    print(
        "expected: 1 + beam · (log_10 leaves - 1) calls; mean, worst: calls until the leaf is in a slate, where it is"
    )
    print(f"{'leaves':>9} beam {'judge':8} expected {'mean':>8} {'worst':>6} reached    R@1   R@10  calls ms/query")
    for size in SIZES:
        shape = Shape.balanced(size, BRANCHING)
        for name in ("perfect", "noisy"):
            for beam in BEAMS:
                print(line(shape, name, Policy(beam=beam, iterations=ITERATIONS)), flush=True)
    print("\ncalibration: none, without shrinkage, as it is")
    for shrink, ridge in ((1e-4, 1e9), (1e-4, 0.1), (Policy.shrink, Policy.ridge)):
        print(line(Shape.balanced(10**4, BRANCHING), "noisy", Policy(shrink=shrink, ridge=ridge)), flush=True)


if __name__ == "__main__":
    main()
