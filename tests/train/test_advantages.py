"""Advantages against their definitions and published values."""

from itertools import combinations
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.train.advantages import anchor, hgpo, mgpo_weight, pass_at_k, zscore

WON = st.lists(st.booleans(), min_size=2, max_size=8)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=8), st.sampled_from([0, 1]))
@settings(deadline=None)
def test_zscore(rewards: list[float], ddof: int) -> None:
    (advantages,), (kept,) = zscore([rewards], ddof=ddof)
    assert kept == (np.std(rewards, ddof=ddof) >= 1e-3)
    assert advantages.sum() == pytest.approx(0, abs=1e-6)
    if kept:
        assert advantages.std(ddof=ddof) == pytest.approx(1, abs=2e-3)
        assert (np.argsort(rewards, kind="stable") == np.argsort(np.array(rewards), kind="stable")).all()
    else:
        assert not advantages.any()


def test_groups_that_hardly_differ_are_marked() -> None:
    advantages, kept = zscore([[0.5, 0.5 + 1e-4], [0, 1]])
    assert kept.tolist() == [False, True] and advantages[0].tolist() == [0, 0]


@given(WON, st.integers(1, 8))
@settings(deadline=None)
def test_pass_at_k_is_the_mean_over_all_draws(won: list[bool], k: int) -> None:
    """The mean over draws of k that hold a completion of (success of the draw − ρ) / σ."""
    n = len(won)
    if k > n:
        with pytest.raises(BadInput, match="k must be between"):
            pass_at_k([won], k)
        return
    draws = [(draw, float(any(won[at] for at in draw))) for draw in combinations(range(n), k)]
    rho = sum(value for _, value in draws) / len(draws)
    sigma = sqrt(rho * (1 - rho))
    expected = [
        np.mean([(value - rho) / sigma for draw, value in draws if at in draw]) if sigma else 0.0 for at in range(n)
    ]
    assert pass_at_k([won], k)[0] == pytest.approx(expected, abs=1e-9)


def test_hgpo() -> None:
    rewards, thinks = [[0.9, 0.5, 0.6, 0.2]], [[True, True, False, False]]
    answer, mode = hgpo(rewards, thinks, bonus=0.2)  # means .7 and .4 + .2
    assert answer[0] == pytest.approx([1, -1, 1, -1], abs=1e-5)
    assert mode[0] == pytest.approx([1, 1, -1, -1], abs=1e-5)
    assert hgpo(rewards, thinks, bonus=0.4, alpha=0.5).mode[0] == pytest.approx([-0.5, -0.5, 0.5, 0.5], abs=1e-5)
    assert not hgpo([[0.5, 0.5]], [[True, False]], bonus=0.0).mode.any()
    with pytest.raises(BadInput, match="only one mode"):
        hgpo([[1, 0]], [[True, True]])


@given(WON, st.floats(0, 6))
@settings(deadline=None)
def test_mgpo_weight(won: list[bool], strength: float) -> None:
    share = np.mean(won)
    divergence = sum(p * log(2 * p, 2) for p in (share, 1 - share) if p)  # KL to a fair coin, in bits
    assert mgpo_weight([won], strength)[0] == pytest.approx(2 ** (-strength * divergence))


def test_anchor_vectors() -> None:
    failed = anchor([[0.0] * 8], [1.0], failed=0.0, progress=0.0, seed=3)
    at = failed.place[0]
    for ddof, good, bad in ((0, 2.65, -0.38), (1, 2.47, -0.35)):
        (advantages,), _ = zscore(failed.rewards, ddof=ddof)
        assert advantages[at] == pytest.approx(good, abs=5e-3)
        assert np.delete(advantages, at) == pytest.approx([bad] * 7, abs=5e-3)


def test_anchor_helps_only_where_all_failed_and_ever_less() -> None:
    rewards = np.zeros((3000, 4))
    rewards[::3, 1] = 1.0
    good = np.where(np.arange(3000) % 3 == 1, np.nan, 1.0)
    for progress, chance in ((0.0, 1.0), (1 / 6, 0.5), (1 / 3, 0.0), (1.0, 0.0)):
        given = anchor(rewards, good, failed=0.0, progress=progress, seed=0)
        assert (given.place[np.arange(3000) % 3 != 2] == -1).all()
        assert (given.place[2::3] >= 0).mean() == pytest.approx(chance, abs=0.06)
        assert (given.rewards.sum() - rewards.sum()) == (given.place >= 0).sum()
    again = anchor(rewards, good, failed=0.0, progress=0.1, seed=5)
    assert (again.place == anchor(rewards, good, failed=0.0, progress=0.1, seed=5).place).all()
    assert rewards.sum() == 1000  # what was given stays as it is


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[]], [[float("nan"), 1.0]]])
def test_wrong_groups(bad: object) -> None:
    with pytest.raises(BadInput, match=r"groups are rows|NaN"):
        zscore(bad)  # type: ignore[arg-type]
