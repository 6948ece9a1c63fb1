"""The picture: the frontier is the frontier, and every name can be read."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text

from whyrank.simulate import Outcome, Profile, simulate
from whyrank.simulate.plot import draw, frontier, plot, short

SPECS = (
    "listwise(fake())", "merge_tree(fake())", "top_down(fake())", "adaptive(fake())", "groupwise(fake(), repeats=1)",
    "setwise(fake())", "tournament(fake())", "merge_tree(fake(), keep=4)", "listwise(fake(), window=10)",
    "pointwise(fake())", "consensus(fake(), shuffles=2)", "within(fake(), calls=5)",
)  # fmt: skip


def outcome(spec: str, calls: float, value: float) -> Outcome:
    costs = {name: np.array([calls] * 2) for name in ("calls", "rounds")}
    return Outcome(spec, "noisy()", "nDCG@10", np.array([value, value]), np.array([0.4, 0.5]), costs)


def test_the_frontier_is_what_nothing_cheaper_beats():
    several = [outcome("a()", 9, 0.7), outcome("b()", 1, 0.5), outcome("c()", 9, 0.8), outcome("d()", 20, 0.8)]
    assert [one.spec for one in frontier(several, "calls")] == ["b()", "c()"]


def test_names_leave_out_models():
    assert short("pointwise(fake(), refine=30, sampling=sampling(temperature=0.6))") == "pointwise(refine=30)"
    assert (
        short("setwise(openai('m', base_url='http://localhost'), method='insertion')") == "setwise(method='insertion')"
    )


def test_no_name_covers_another():
    figure = draw(simulate(SPECS, Profile().cases(20)))
    figure.draw_without_rendering()
    for panel in figure.axes:
        boxes = [Text.get_window_extent(text) for text in panel.texts]  # of an annotation: without its line
        assert len(boxes) == len(SPECS)
        assert not any(one.overlaps(two) for one, two in combinations(boxes, 2))
        assert all(
            panel.bbox.padded(1).contains(box.x0, box.y0) and panel.bbox.padded(1).contains(box.x1, box.y1)
            for box in boxes
        )


@pytest.mark.parametrize("name", ["a.svg", "b.png"])
def test_files(tmp_path, name):
    plot([outcome("a()", 1, 0.5), outcome("b()", 2, 0.6)], tmp_path / "deep" / name)
    assert (tmp_path / "deep" / name).stat().st_size > 1000
