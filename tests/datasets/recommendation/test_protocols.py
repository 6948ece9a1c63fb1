"""Protocols: what is learnt from, what is asked, and the traps that decide published figures."""

import numpy as np
import pytest
import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import compare, evaluate
from whyrank.datasets import load
from whyrank.datasets.recommendation.split import GlobalTime, LeaveOneOut
from whyrank.errors import BadInput, BadSpec
from whyrank.types import Interactions, Run


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def log(rows):
    """Interactions of (user, item, time), as a source would hold them."""
    users, items = list(dict.fromkeys(u for u, *_ in rows)), list(dict.fromkeys(i for _, i, _ in rows))
    order = sorted(range(len(rows)), key=lambda at: users.index(rows[at][0]))
    sizes = [sum(u == user for u, *_ in rows) for user in users]
    codes = np.array([items.index(rows[at][1]) for at in order], dtype=np.int32)
    times = np.array([rows[at][2] for at in order], dtype=np.float64)
    return Interactions(users, items, np.cumsum([0, *sizes]), codes, times)


events = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("vwxyz"), st.integers(0, 9)),
    min_size=4,
    max_size=40,
    unique=True,
)


@settings(deadline=None)
@given(events, st.sampled_from(["dev", "test"]), st.sampled_from(["shuffle", "file", "id", "reverse"]))
def test_leave_one_out_cuts_each_user_at_the_end(rows, part, ties):
    if not any(sum(u == user for u, *_ in rows) >= 3 for user in "abcd"):
        return
    found = LeaveOneOut(ties=ties, repeats="miss").split(log(rows), part)
    for start, cut, target in zip(found.starts, found.cuts, found.targets, strict=True):
        user = found.log.rows[target]
        stop = found.log.offsets[user + 1]
        assert start == found.log.offsets[user]
        assert cut == target == stop - (1 if part == "test" else 2)
        assert (np.diff(found.log.times[start:stop]) >= 0).all()
        assert found.train.offsets[user + 1] - found.train.offsets[user] == stop - start - 2
    assert len(found.train) + 2 * len(found.targets) == len(rows)


@settings(deadline=None)
@given(events, st.booleans(), st.booleans())
def test_a_global_split_never_learns_from_what_comes_later(rows, first, strict):
    protocol = GlobalTime(4, 7, first=first, strict=strict, repeats="miss")
    try:
        found = protocol.split(log(rows), "test")
    except BadInput:
        return
    assert (found.train.times < 4).all()
    assert (found.log.times[found.targets] >= 7).all()
    for start, cut, target in zip(found.starts, found.cuts, found.targets, strict=True):
        assert start < cut <= target
        before = found.log.times[start:cut]
        assert (before < 7).all() if strict else cut == target
    if first:
        assert len(set(found.log.rows[found.targets].tolist())) == len(found.targets)


def test_a_global_split_needs_times_and_points_in_order():
    with pytest.raises(BadSpec, match="must lie above 0 and before"):
        GlobalTime(0.9, 0.8)
    with pytest.raises(BadInput, match="needs times"):
        GlobalTime().split(Interactions.of([("a", ["x", "y", "z"])]), "test")


# ties: the order of events at the same time decides figures


def test_the_order_inside_ties_is_a_matter_of_seed_and_not_of_the_file():
    rows = [(f"u{at:02}", f"i{item}", 5) for at in range(40) for item in range(4)]

    def last(rows, seed):
        found = LeaveOneOut(seed=seed).split(log(rows), "test")
        return {found.log.users[found.log.rows[at]]: found.log.items[found.log.codes[at]] for at in found.targets}

    first = last(rows, seed=0)
    assert first == last(rows[::-1], seed=0)
    assert first != last(rows, seed=1)
    for item in range(4):  # each of the four is last about as often
        assert 4 <= list(first.values()).count(f"i{item}") <= 18


@pytest.mark.parametrize(("ties", "last"), [("file", "2"), ("reverse", "10"), ("id", "10")])
def test_orders_of_ties_for_comparison_with_others(ties, last):
    found = LeaveOneOut(ties=ties).split(log([("a", "10", 1), ("a", "9", 1), ("a", "2", 1)]), "test")
    assert found.log.items[found.log.codes[found.targets[0]]] == last


# masking: what a user has had is left out whether or not it is the target


@pytest.fixture
def again():
    """User a takes x again at the end; b takes something new."""
    with open("clicks.csv", "w") as file:
        file.write("user,item,time\na,x,1\na,y,2\na,x,3\nb,x,1\nb,y,2\nb,z,3\n")


def test_a_repeated_target_is_dropped_and_counted(again):
    data = load("interactions('clicks.csv')")
    assert [query.id for query in data.queries] == ["ub"]
    assert data.left_out == {"targets that the user has had before": 1}


def test_a_repeated_target_is_a_miss_since_the_mask_does_not_spare_it(again):
    data = load("interactions('clicks.csv', protocol=leave_one_out(repeats='miss'))")
    asked = data.queries[0]
    assert asked.excluded == set(asked.history.items) == {"x", "y"}
    assert dict(data.qrels["ua"]) == {"x": 1}
    assert not asked.allows("x")


def test_allowing_repeats_masks_nobody(again):
    data = load("interactions('clicks.csv', protocol=leave_one_out(repeats='allow'))")
    assert [query.excluded for query in data.queries] == [frozenset(), frozenset()]
    assert "|none|allow|" in data.qrels.protocol


# sampling: pools are compatibility modes with honest negatives


@pytest.fixture
def data(tmp_path):
    shop.write(tmp_path)

    def loaded(pools="None", **more):
        options = "".join(f", {name}={value!r}" for name, value in more.items())
        return load(f"interactions('clicks.csv', items='items.csv', protocol=leave_one_out(pools={pools}{options}))")

    return loaded


@pytest.mark.parametrize("kind", ["uni", "pop"])
def test_sampled_pools_hold_the_target_and_nothing_that_was_seen(data, kind):
    found = data(f"{kind}(15)")
    places = []
    for query in found.queries:
        (target,) = found.qrels[query.id]
        assert len(query.only) == 16
        assert target in query.only
        assert not query.only & set(query.history.items)
        order = list(found.candidates[query.id].ids)
        assert set(order) == query.only
        places.append(order.index(target))
    assert 4 < np.mean(places) < 11  # the target stands anywhere, not first
    assert found.qrels.protocol.split("|")[4] == f"{kind}15"


def test_popular_pools_draw_popular_items(data):
    uni, pop = data("uni(10)"), data("pop(10)")
    popularity = dict(zip(uni.corpus.train.items, uni.corpus.train.popularity.tolist(), strict=True))

    def drawn(found):
        return np.mean([popularity[id] for q in found.queries for id in q.only if id not in found.qrels[q.id]])

    assert drawn(pop) > 1.2 * drawn(uni)
    assert all(popularity[id] for q in pop.queries for id in q.only if id not in pop.qrels[q.id])


def test_too_large_a_sample_is_refused(data):
    with pytest.raises(BadInput, match=r"500 items are to be drawn, and only \d+ can be"):
        data("uni(500)")


def test_lists_of_a_generator(data):
    full = data()
    items = list(full.corpus.train.items)
    with open("lists.txt", "w") as file:
        file.writelines(f"{query.id.removeprefix('u')}\t{' '.join(items[:30])}\n" for query in full.queries)
    whole, norm, gt = data("lists('lists.txt')"), data("norm('lists.txt', 20)"), data("gt('lists.txt', 20)")
    some = full.queries[0].id
    assert list(whole.candidates[some].ids) == items[:30]
    assert list(norm.candidates[some].ids) == items[:20]
    assert all(len(query.only) == 20 and set(gt.qrels[query.id]) <= query.only for query in gt.queries)
    places = [list(gt.candidates[q.id].ids).index(*gt.qrels[q.id]) for q in gt.queries]
    assert 5 < np.mean(places) < 14
    assert norm.qrels.protocol.split("|")[4].startswith("norm20:lists.txt@")
    with open("lists.txt", "a") as file:
        file.write("else\tnowhere\n")
    with pytest.raises(BadInput, match="different protocols"):
        compare([evaluate(Run.of({some: list(one.qrels[some])}), one.qrels) for one in (full, norm)])


def test_a_list_of_unknown_items_is_refused(data):
    with open("lists.txt", "w") as file:
        file.writelines(f"u{at}\tnowhere\n" for at in range(60))
    with pytest.raises(BadInput, match="lists 'nowhere', which is not in the catalogue"):
        data("lists('lists.txt')")


# the rest of a protocol


def test_samples_of_users_are_nested_and_independent_of_the_file(data, tmp_path):
    few, more = ({q.id for q in data(users=n).queries} for n in (10, 25))
    assert few < more
    shop.write(tmp_path, sorted(shop.clicks(), reverse=True))
    assert {q.id for q in data(users=10).queries} == few


def test_a_core_keeps_only_those_with_enough_events(data):
    found = data(core=6)
    train = found.corpus.train
    every = np.bincount(train.codes, minlength=len(train.items))
    for query in found.queries:
        every[[train.items.index(item) for item in (query.history.items[-1], *found.qrels[query.id])]] += 1
    touched = every[every > 0]
    assert touched.min() >= 6
    assert "|6core|" in found.qrels.protocol


def test_the_protocol_changes_with_the_file_and_with_every_choice(data, tmp_path):
    ids = {
        data().qrels.protocol,
        data(seed=1).qrels.protocol,
        data(ties="file").qrels.protocol,
        data(users=9).qrels.protocol,
    }
    shop.write(tmp_path, shop.clicks()[:-1])
    ids.add(data().qrels.protocol)
    assert len(ids) == 5


def test_slices_tell_queries_apart(data):
    found = data(repeats="miss")
    assert set(found.slices) == {"history", "popularity", "repeat", "rhythm"}
    lengths = {query.id: len(query.history) for query in found.queries}
    for query, name in found.slices["history"].items():
        low, _, high = name.partition("–")
        assert int(low) <= lengths[query] <= int(high)
    for query in found.queries:
        assert (found.slices["repeat"][query.id] == "had before") == bool(set(found.qrels[query.id]) & query.excluded)
