"""Coverage, Gini and popularity of recommendations against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.eval import detectable, spread
from whyrank.types import Run

ITEMS = "abcdefgh"


@settings(deadline=None)
@given(
    st.lists(st.permutations(ITEMS), min_size=1, max_size=6),
    st.integers(1, 9),
    st.lists(st.integers(0, 9), min_size=8, max_size=8),
)
def test_spread_is_its_definition(rankings, k, events):
    popularity = dict(zip(ITEMS, events, strict=True))
    found = spread(Run.of({str(at): list(ranking) for at, ranking in enumerate(rankings)}), popularity, k)
    shown = [item for ranking in rankings for item in ranking[:k]]
    counts = np.array([shown.count(item) for item in ITEMS])
    assert found.coverage == np.mean(counts > 0)
    assert found.popularity == pytest.approx(np.mean([popularity[item] for item in shown]))
    gaps = np.abs(counts[:, None] - counts[None, :]).mean()
    assert found.gini == pytest.approx(gaps / (2 * counts.mean()), abs=1e-12)


def test_nothing_recommended_and_items_from_elsewhere():
    assert spread(Run.of({"u": []}), {"a": 1}).gini == 0.0
    assert spread(Run.of({"u": ["z"]}), {"a": 1}).coverage == 0.5


def test_more_users_show_smaller_differences():
    assert detectable(200) == pytest.approx(0.029, abs=0.001)
    assert detectable(6000) == pytest.approx(0.005, abs=0.0005)
