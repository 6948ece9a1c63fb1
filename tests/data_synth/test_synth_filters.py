"""The filters of synthesis as functions: what holds of them for any input."""

import math
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import Document, Query, RankTask
from whyrank.data_synth.base import distinct
from whyrank.data_synth.compressed_traces import merged, split
from whyrank.data_synth.draws import Draws, useless
from whyrank.data_synth.group_labels import combined
from whyrank.data_synth.shingles import ShingledTexts, shingles
from whyrank.data_synth.trace_pairs import DrawnTrace, preferences
from whyrank.data_synth.trajectories import closest
from whyrank.errors import BadInput
from whyrank.eval.orders import ndcg
from whyrank.llm.answer import Ok

GAINS = st.lists(st.integers(0, 3), min_size=1, max_size=12)
WORDS = st.lists(st.sampled_from("bees dance when they come home and tell where nectar is".split()), max_size=14)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.integers(1, 9)), max_size=9))
def test_the_closest_to_the_mean_is_allowed_and_none_allowed_is_closer(judged):
    scores, allowed, lengths = ([one[at] for one in judged] for at in range(3))
    at = closest(scores, allowed, lengths)
    if not any(allowed):
        assert at is None
        return
    mean = fmean(scores)
    assert allowed[at]
    assert all(
        abs(scores[at] - mean) <= abs(score - mean) + 1e-6 for score, ok in zip(scores, allowed, strict=True) if ok
    )
    equals = [n for n, score in enumerate(scores) if allowed[n] and score == scores[at]]
    assert lengths[at] == min(lengths[n] for n in equals)


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=12), st.randoms(use_true_random=False), st.floats(0, 1))
def test_group_labels_lie_in_their_range_and_follow_both_views(scores, draw, weight):
    n = len(scores)
    order = draw.sample(range(n), n)
    labels = combined(scores, order, weight)
    assert all(-math.log(n) - 1e-9 <= label <= 0 for label in labels)
    for one in range(n):
        for other in range(n):
            if scores[one] >= scores[other] and order.index(one) < order.index(other):
                assert labels[one] >= labels[other] - 1e-12
    other_names = draw.sample(range(n), n)
    renamed = combined([scores[at] for at in other_names], [other_names.index(at) for at in order], weight)
    assert renamed == pytest.approx([labels[at] for at in other_names])


def test_group_labels_by_hand():
    labels = combined([9, 1, 5], [0, 2, 1])
    assert labels == pytest.approx([0, -math.log(3), -math.log(2)])
    assert combined([5, 5], [1, 0]) == pytest.approx([-0.5 * math.log(1.5) - 0.5 * math.log(2), -0.5 * math.log(1.5)])


@settings(deadline=None)
@given(GAINS, st.floats(0, 1))
def test_a_useful_list_has_something_to_gain_and_something_to_hold_on_to(gains, least):
    reason, now = useless(gains, least), ndcg(gains)
    assert (reason == "nothing_relevant") == (not any(gains))
    if not reason:
        assert least <= now < 1
        assert gains != sorted(gains, reverse=True)
    if reason == "hopeless":
        assert now < least


@settings(deadline=None)
@given(GAINS, st.integers(2, 6), st.integers(1, 9))
def test_draws_are_distinct_useful_and_all_counted(gains, size, times):
    documents = tuple(Document(f"d{at}", f"text {at}") for at in range(len(gains)))
    task = RankTask(Query("q", "?"), documents, {f"d{at}": gain for at, gain in enumerate(gains) if gain})
    (made,) = Draws(per_query=times, size=size).apply([task])
    assert len(made.items) + sum(made.dropped.values()) == (times if len(gains) > size else 1)
    shown = [tuple(one.id for one in item.documents) for item in made.items]
    assert len(set(shown)) == len(shown)
    for ids, item in zip(shown, made.items, strict=True):
        assert len(ids) == min(size, len(gains)) and list(ids) == sorted(ids, key=lambda id: int(id[1:]))
        assert useless(item.gains) == "" and item.source["synth"][-1]["by"] == repr(Draws(per_query=times, size=size))
    assert Draws(per_query=times, size=size).apply([task]) == [made]


DRAWN = st.builds(
    lambda value, length: DrawnTrace(Ok(f"{value} {length}"), value, length, None),
    st.integers(0, 4).map(lambda n: n / 4),
    st.integers(1, 9),
)
SOME = st.lists(DRAWN, min_size=1, max_size=5)


@settings(deadline=None)
@given(SOME, SOME, st.floats(0, 0.5))
def test_a_pair_never_prefers_what_is_worse_in_what_it_teaches(longs, shorts, margin):
    for pair in preferences(longs, shorts, margin):
        gain = fmean(one.value for one in longs) - fmean(one.value for one in shorts)
        style, other = (longs, shorts) if gain > margin else (shorts, longs)
        assert pair.chosen in style and pair.chosen.value == max(one.value for one in style)
        if pair.level == "group":
            assert pair.rejected in other and pair.chosen.value >= pair.rejected.value
        else:
            assert pair.rejected in style and pair.chosen.length < pair.rejected.length


@settings(deadline=None)
@given(st.text(alphabet="ab .!?\n", max_size=60), st.integers(1, 6))
def test_steps_together_are_the_thought(thought, most):
    steps = split(thought)
    assert "".join(steps) == thought or not thought.strip()
    assert "".join(merged(steps, most)) == "".join(steps)
    assert len(merged(steps, most)) <= most


@settings(deadline=None)
@given(WORDS, st.lists(WORDS, max_size=6), st.integers(1, 4), st.sampled_from([0.01, 0.3, 0.5, 0.8, 1.0]))
def test_likeness_is_that_of_the_sets_of_runs(given_words, others, n, alike):
    def runs(words):
        size = min(n, len(words))
        return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)} if size else set()

    texts = ShingledTexts(n, alike, [(str(name), " ".join(words)) for name, words in enumerate(others)])
    mine = runs(given_words)
    jaccard = [len(mine & runs(one)) / max(len(mine | runs(one)), 1) for one in others]
    held = [len(mine & runs(one)) / max(len(runs(one)), 1) for one in others]
    text = shingles(", ".join(given_words).upper(), n)
    for contained, measured in ((False, jaccard), (True, held)):
        best = max((one for one in measured if one >= alike), default=0)
        name, likeness = texts.nearest(text, contained)
        assert likeness == pytest.approx(best) and (measured[int(name)] == likeness if name else not best)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a (2)"]), max_size=9))
def test_keys_of_plans_are_distinct(ids):
    keys = distinct(ids)
    assert len(set(keys)) == len(keys) == len(ids)
    assert keys == ids or len(set(ids)) < len(ids)


@pytest.mark.parametrize(
    "spec",
    [
        "draws(size=1)", "draws(min_ndcg=2.0)", "trajectories(fake(), samples=1)",
        "teacher_rankings(fake(), min_ndcg=1.5)",
        "hard_negatives(bm25(), bands=((5, 10, 2), (10, 20, 2)))", "hard_negatives(bm25(), bands=())",
        "hard_queries(fake(), kind='easy')", "compressed_traces(fake(), way='burn')", "deduplicated(alike=0.0)",
        "trace_pairs(fake(), longs=0)", "group_labels(fake(), weight=2.0)", "deduplicated(documents='some')",
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(spec):
    from whyrank import make

    with pytest.raises(BadInput):
        make(spec)
