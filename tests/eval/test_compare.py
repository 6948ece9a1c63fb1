"""Comparisons: the tests and intervals are those of scipy, on the same differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from whyrank.errors import BadInput
from whyrank.eval import Report, compare
from whyrank.eval.compare import bootstrap, holm, randomisation_test


def report(name, values, measure="nDCG@10", **others):
    scores = {measure: values, **others}
    return Report(
        name, {each: {f"q{at}": float(value) for at, value in enumerate(row)} for each, row in scores.items()}
    )


def rng():
    return np.random.default_rng(11)


@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.125, 0.3, 1.0]), min_size=1, max_size=10))
def test_few_queries_are_tested_exactly(values):
    differences = np.array(values)[:, None]
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(values))).reshape(len(values), -1)
    expected = np.mean(np.abs(signs.T @ differences[:, 0]) >= abs(differences.sum()) - 1e-9)
    assert randomisation_test(differences, 1024, rng()) == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "size"), [(0.0, 60), (0.03, 60), (0.05, 200), (0.2, 8), (0.1, 300)])
def test_p_values_are_those_of_scipy(shift, size):
    values = rng().normal(shift, 0.2, size)
    ours = randomisation_test(values[:, None], 20_000, rng())[0]
    theirs = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(5)
    ).pvalue
    assert ours == pytest.approx(theirs, abs=4 * np.sqrt(2 * 0.25 / 20_000) if size > 14 else 1e-12)


def test_intervals_are_those_of_scipy():
    values = rng().gamma(1.0, 0.1, size=(120, 2)) - 0.09
    low, high = bootstrap(values, 20_000, 0.9, rng())
    for at in range(2):
        theirs = stats.bootstrap(
            (values[:, at],),
            np.mean,
            n_resamples=20_000,
            confidence_level=0.9,
            method="percentile",
            rng=np.random.default_rng(5),
        ).confidence_interval
        assert (low[at], high[at]) == pytest.approx((theirs.low, theirs.high), abs=6e-4)


def test_intervals_hold_what_they_promise():
    draws = rng().normal(0.0, 1.0, size=(80, 300))
    low, high = bootstrap(draws, 1000, 0.95, rng())
    assert 0.90 <= np.mean((low <= 0) & (high >= 0)) <= 0.985


def test_p_values_are_uniform_where_nothing_differs():
    p = randomisation_test(rng().normal(size=(50, 400)), 999, rng())
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0]) and holm(np.array([0.2])) == pytest.approx([0.2])


@pytest.mark.engines
def test_p_values_are_those_of_ranx_within_the_error_of_chance():
    from ranx.statistical_tests import fisher_randomization_test

    control = rng().uniform(size=90)
    treatment = control + np.random.default_rng(12).normal(0.03, 0.2, size=90)
    theirs = fisher_randomization_test(control, treatment, n_permutations=10_000)[0]
    ours = compare([report("a", control), report("b", treatment)]).contrasts[0].p
    assert 0.01 < ours < 0.6 and ours == pytest.approx(theirs, abs=4 * np.sqrt(2 * ours * (1 - ours) / 10_000))


def test_wins_ties_losses_and_the_corrected_p_values():
    base = report("base", [0.1, 0.2, 0.3, 0.4], **{"R@100": [1, 1, 0, 0]})
    better = report("better", [0.4, 0.5, 0.3 + 1e-16, 0.3], **{"R@100": [1, 1, 1, 1]})
    same = report("same", [0.1, 0.2, 0.3, 0.4], **{"R@100": [1, 1, 0, 0]})
    found = compare([base, better, same])
    assert found.baseline == "base" and [(one.measure, one.run) for one in found.contrasts] == [
        ("nDCG@10", "better"),
        ("nDCG@10", "same"),
        ("R@100", "better"),
        ("R@100", "same"),
    ]
    first, second = found.contrasts[:2]
    assert (first.wins, first.ties, first.losses) == (2, 1, 1) and first.difference == pytest.approx(0.125)
    assert first.low <= first.difference <= first.high and first.p == 0.5 and first.p_holm == 1
    assert (second.p, second.difference, second.low, second.high) == (1, 0, 0, 0)
    assert [one.p_holm for one in found.contrasts] == holm(np.array([one.p for one in found.contrasts])).tolist()


def test_the_same_seed_gives_the_same_numbers_and_the_baseline_is_chosen_by_name():
    runs = [report(name, np.random.default_rng(at).uniform(size=40)) for at, name in enumerate(("a", "b", "c"))]
    assert compare(runs) == compare(runs) != compare(runs, seed=1)
    assert [one.run for one in compare(runs, baseline="b").contrasts] == ["a", "c"]
    assert compare(runs, baseline="b").contrasts[0].difference == pytest.approx(-compare(runs).contrasts[0].difference)


def test_the_order_of_queries_does_not_matter():
    a, b = report("a", rng().uniform(size=30)), report("b", np.random.default_rng(2).uniform(size=30))
    turned = Report("b", {"nDCG@10": dict(reversed(b.per_query["nDCG@10"].items()))})
    assert compare([a, b]) == compare([a, turned])


def test_a_clear_gain_is_starred_in_the_table():
    base = rng().uniform(size=60)
    text = str(compare([report("bm25", base), report("listwise", base + 0.1)]))
    assert text.splitlines()[0] == "against bm25, paired over queries"
    assert text.splitlines()[2].split()[:3] == ["nDCG@10", "mean", "Δ"]
    row = text.splitlines()[4]
    assert row.startswith("listwise ") and "+0.1000" in row and "0.0001*" in row
    assert row.endswith("60/0/0")


def test_what_cannot_be_compared():
    a, b = report("a", [0.1, 0.2]), report("b", [0.1, 0.2], measure="AP")
    with pytest.raises(BadInput, match="at least two runs, not 1"):
        compare([a])
    with pytest.raises(BadInput, match="no run is called 'z': there are a, b"):
        compare([a, b], baseline="z")
    with pytest.raises(BadInput, match="no measure in common"):
        compare([a, b])
    with pytest.raises(BadInput, match=r"is one list, and nothing stands behind it: compare takes a list of reports"):
        compare(a, b, {"q": {"d": 1}})
    with pytest.raises(BadInput, match="the baseline is a Report: give the name of its run"):
        compare([a, b], b)
    with pytest.raises(BadInput, match=r"'b' and 'a' were evaluated on different queries \(1 differ, such as 'q2'\)"):
        compare([a, report("b", [0.1, 0.2, 0.3])])
