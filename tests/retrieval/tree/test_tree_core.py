"""The core of hierarchical search without any text: shapes, clustering, growth, calibration, the walk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput
from whyrank.retrieval.tree.calibrate import calibrate
from whyrank.retrieval.tree.clustering import bottom_up, top_down
from whyrank.retrieval.tree.growth import grown
from whyrank.retrieval.tree.shape import Shape
from whyrank.retrieval.tree.walk import Policy, TreeWalk, explore

builders = st.sampled_from([bottom_up, top_down])
branchings = st.integers(2, 12)


def vectors(n, seed=0, dimensions=4):
    """Points of which some are the same, as in collections with copies."""
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(n, dimensions)).astype(np.float32)
    copies = draw.random(n) < 0.2
    points[copies] = points[0]
    return points


def is_sound(shape, n, branching):
    """Each leaf is in one leaf cluster, all hang on the root, and no node has too many children."""
    assert shape.leaves == n
    seen, waiting = [], [shape.root]
    while waiting:
        node = waiting.pop()
        children = shape.children(node).tolist()
        assert 1 <= len(children) <= branching
        assert len({shape.is_leaf(child) for child in children}) == 1
        seen += [child for child in children if shape.is_leaf(child)]
        waiting += [child for child in children if not shape.is_leaf(child)]
    assert sorted(seen) == list(range(n))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), branchings, builders, st.integers(0, 5))
def test_every_document_is_in_exactly_one_leaf(n, branching, build, seed):
    is_sound(build(vectors(n, seed), branching), n, branching)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2000), branchings, st.integers(0, 5))
def test_no_cluster_is_all_but_empty(n, branching, seed):
    shape = bottom_up(vectors(n, seed), branching)
    sizes = [len(shape.children(node)) for node in range(n, len(shape.parents)) if node != shape.root]
    assert min(sizes, default=branching) >= max(1, branching // 4)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 120), st.integers(1, 200), branchings, builders, st.integers(0, 5))
def test_growing_keeps_every_document_in_exactly_one_leaf(n, more, branching, build, seed):
    points = vectors(n + more, seed)
    shape = build(points[:n], branching)
    larger, changed = grown(shape, points, branching)
    is_sound(larger, n + more, branching)
    before, after = leaves_under(shape), leaves_under(larger)
    assert set(changed.tolist()) >= {node for node, leaves in after.items() if before.get(node) != leaves}


def leaves_under(shape):
    """The leaves under each inner node, which is counted from 0."""
    under = {node: set() for node in range(len(shape.parents) - shape.leaves)}
    for leaf in range(shape.leaves):
        for node in shape.above(leaf):
            under[node - shape.leaves].add(leaf)
    return under


@pytest.mark.parametrize("build", [bottom_up, top_down])
def test_depth_is_logarithmic_even_where_all_documents_are_the_same(build):
    for points in (np.zeros((4000, 3)), vectors(4000), np.arange(4000.0)[:, None] ** 3):
        assert build(points, 10).depths.max() <= 8


@pytest.mark.parametrize("build", [bottom_up, top_down])
def test_neighbours_are_put_together(build):
    centres = np.random.default_rng(1).normal(size=(24, 16)) * 10
    points = np.repeat(centres, 5, axis=0) + np.random.default_rng(2).normal(size=(120, 16))
    shape = build(points, 10)
    together = [len({int(shape.parents[leaf]) for leaf in range(start, start + 5)}) for start in range(0, 120, 5)]
    assert np.mean(together) < 1.5


def test_what_is_no_tree_is_refused():
    for parents, leaves in (([1, 1], 1), ([1, -1, -1], 1), ([3, 3, 1, -1], 3), ([2, -1, 3, 2], 1), ([-1], 1)):
        with pytest.raises(BadIndex):
            Shape(np.array(parents), leaves)
    with pytest.raises(BadInput):
        Shape.balanced(3, 1)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(1, 60),
    st.floats(1e-2, 10),
    st.floats(1e-2, 10),
    st.integers(0, 99),
)
def test_calibration_equals_least_squares(nodes, slates, n, shrink, ridge, seed):
    draw = np.random.default_rng(seed)
    node = np.concatenate([np.arange(nodes), draw.integers(nodes, size=n)])
    slate = np.concatenate([draw.integers(slates, size=nodes), draw.integers(slates, size=n)])
    slate = np.unique(slate, return_inverse=True)[1]
    scores, weights = draw.random(len(node)), 0.1 + draw.random(len(node))
    number = slate.max() + 1
    rows = np.zeros((len(node) + nodes + number, nodes + number))
    rows[np.arange(len(node)), node] = rows[np.arange(len(node)), nodes + slate] = np.sqrt(weights)
    penalties = np.sqrt(np.concatenate([np.full(nodes, shrink), np.full(number, ridge)]))
    rows[len(node) :] = np.diag(penalties)
    targets = [np.sqrt(weights) * scores, np.full(nodes, np.sqrt(shrink) * scores.mean()), np.zeros(number)]
    wanted = np.linalg.lstsq(rows, np.concatenate(targets), rcond=None)[0]
    relevance, bias = calibrate(node, slate, scores, shrink=shrink, ridge=ridge, weights=weights)
    np.testing.assert_allclose(np.concatenate([relevance, bias]), wanted, atol=1e-7)


def test_calibration_recovers_relevance_and_biases():
    draw = np.random.default_rng(3)
    truth, biases = draw.random(60), draw.normal(scale=0.3, size=12)
    node = np.concatenate([draw.choice(60, 20, replace=False) for _ in biases] + [np.arange(60)])
    slate = np.concatenate([np.repeat(np.arange(12), 20), np.arange(60) // 5])
    scores = truth[node] + biases[slate] + draw.normal(scale=0.01, size=len(node))
    relevance, bias = calibrate(node, slate, scores, shrink=1e-4, ridge=1e-3)
    assert np.abs((relevance - relevance.mean()) - (truth - truth.mean())).max() < 0.03
    assert np.abs((bias - bias.mean()) - (biases - biases.mean())).max() < 0.03
    raw = np.bincount(node, scores) / np.bincount(node)
    assert np.abs((raw - raw.mean()) - (truth - truth.mean())).max() > 0.1  # what calibration is for


def path_judge(shape, leaf):
    """A judge that is always right: the more of the way to the leaf a node shares, the better; on the way it is 1."""
    way = {leaf, *shape.above(leaf)}
    return lambda slate: np.array([1.0 if node in way else 0.1 for node in slate.entries.tolist()])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), branchings, st.integers(1, 4), st.data())
def test_a_perfect_judge_finds_the_leaf_in_logarithmically_many_calls(n, branching, beam, data):
    shape = Shape.balanced(n, branching)
    leaf = data.draw(st.integers(0, n - 1))
    depth = int(shape.depths.max())
    walk = TreeWalk(shape, Policy(beam=beam, iterations=depth))
    assert explore(walk, path_judge(shape, leaf)) <= 1 + beam * (depth - 1)
    assert walk.found().leaves[0] == leaf


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 100), branchings, builders, st.data())
def test_what_is_excluded_is_in_no_slate(n, branching, build, data):
    shape = build(vectors(n), branching)
    excluded = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    shown = set()

    def judge(slate):
        shown.update(slate.entries.tolist())
        return np.random.default_rng(slate.node).random(len(slate.entries))

    walk = TreeWalk(shape, Policy(beam=3, iterations=1000), excluded)
    explore(walk, judge)
    assert set(walk.found().leaves.tolist()) == set(range(n)) - excluded
    under = leaves_under(shape)
    assert not shown & excluded
    assert all(under[node - n] - excluded for node in shown if node >= n)


def test_a_walk_to_the_end_judges_every_leaf_once_found_in_order():
    shape, draw = Shape.balanced(200, 6), np.random.default_rng(0)
    worth = draw.random(200)
    walk = TreeWalk(shape, Policy(iterations=1000, alpha=1.0, anchors=0, ridge=1e9))
    explore(walk, lambda slate: np.array([worth[at] if at < 200 else 0.5 for at in slate.entries.tolist()]))
    found = walk.found()
    assert found.leaves.tolist() == np.argsort(-worth).tolist()
    assert (np.diff(found.scores) <= 0).all()


def test_no_score_is_not_a_score_of_zero():
    shape = Shape.balanced(100, 10)
    silent = TreeWalk(shape, Policy(iterations=1000))
    explore(silent, lambda slate: np.full(len(slate.entries), np.nan))
    assert sorted(silent.found().leaves.tolist()) == list(range(100))
    walk = TreeWalk(shape, Policy(beam=1, iterations=2, ridge=1e6))
    (root,) = walk.slates()
    lost, poor = root.entries[:2].tolist()
    walk.hear([root], [np.array([np.nan, 0.2, *[0.6] * 7, 0.9])])
    (best,) = walk.slates()
    assert best.node == root.entries[9]
    order = [*walk._frontier()]
    assert order.index(lost) < order.index(poor)


def test_calls_that_are_kinder_than_others_do_not_lead_astray():
    """Wherever the leaf is not, everything scores half a point too much; what is shown again reveals it."""
    shape, target = Shape.balanced(1000, 10), 345
    way = {target, *shape.above(target)}

    def judge(slate):
        fair = np.array([0.6 if node in way else 0.3 for node in slate.entries.tolist()])
        return fair if slate.node in way else np.minimum(fair + 0.5, 1.0)

    place = {}
    for ridge in (1e9, Policy.ridge):
        walk = TreeWalk(shape, Policy(beam=2, iterations=12, ridge=ridge))
        explore(walk, judge)
        place[ridge] = walk.found().leaves.tolist().index(target)
    assert place[Policy.ridge] == 0 < place[1e9]


def test_calls_and_iterations_are_bounds():
    shape = Shape.balanced(10_000, 10)
    for policy, most in ((Policy(beam=4, iterations=3), 9), (Policy(beam=4, calls=7), 7), (Policy(calls=1), 1)):
        assert explore(TreeWalk(shape, policy), lambda slate: np.full(len(slate.entries), 0.5)) == most


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam", 0),
        ("iterations", 0),
        ("alpha", 0),
        ("alpha", 1.1),
        ("anchors", -1),
        ("shrink", 0),
        ("ridge", 0),
        ("calls", 0),
    ],
)
def test_numbers_outside_their_range_are_refused(name, value):
    with pytest.raises(BadInput, match=name):
        Policy(**{name: value})
