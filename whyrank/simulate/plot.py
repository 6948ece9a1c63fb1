"""The frontier as a picture: quality against calls, and against rounds, each reranker with its name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.simulate.run import Outcome

ON, OFF, INK = "#1f5fa8", "#9aa5b1", "#2b2f36"
"""Colours of points on the frontier, of the others, and of text."""

PANELS = (("calls", "model calls per query"), ("rounds", "rounds, one call waiting for another"))


def plot(outcomes: Sequence[Outcome], path: str | Path) -> None:
    """Draw quality against calls and against rounds, with the line of those that nothing cheaper beats.

    Args:
        outcomes: of one noise or several; each noise gets a row.
        path: an .svg, .png or .pdf file.

    Raises:
        BadInput: another kind of file, or nothing to draw.
        MissingExtra: matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png", ".pdf") or not outcomes:
        raise BadInput(f"a plot is an .svg, .png or .pdf file of at least one outcome, not {path}")
    mpl = need("matplotlib", extra="plot", asked_by="a plot")
    with mpl.rc_context({"svg.hashsalt": "whyrank"}):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(outcomes).savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw(outcomes: Sequence[Outcome]) -> Any:  # noqa: ANN401
    """The picture of `plot` as a figure of matplotlib."""
    from matplotlib.figure import Figure

    noises = list(dict.fromkeys(outcome.noise for outcome in outcomes))
    figure = Figure(figsize=(13, 6.2 * len(noises)), dpi=130, layout="constrained")
    rows = figure.subplots(len(noises), 2, squeeze=False, sharey="row")
    for noise, axes in zip(noises, rows, strict=True):
        own = [outcome for outcome in outcomes if outcome.noise == noise]
        for panel, (cost, label) in zip(axes, PANELS, strict=True):
            _panel(panel, own, cost, label)
        axes[0].set_ylabel(f"{own[0].measure} under {noise}", color=INK)
    figure.draw_without_rendering()
    for noise, axes in zip(noises, rows, strict=True):
        for panel, (cost, _) in zip(axes, PANELS, strict=True):
            _names(panel, [outcome for outcome in outcomes if outcome.noise == noise], cost)
    return figure


def frontier(outcomes: Sequence[Outcome], cost: str) -> list[Outcome]:
    """Those that no other outcome of the same cost or less beats, from the cheapest on."""
    best: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda one: (one.cost(cost), -one.mean)):
        if not best or outcome.mean > best[-1].mean:
            best.append(outcome)
    return best


def short(spec: str) -> str:
    """A spec without its models, for labels.

    Examples:
        >>> short("cascade(listwise(fake()), top_down(fake(), k=5), depths=(100, 20))")
        'cascade(listwise, top_down(k=5), depths=(100, 20))'
    """
    plain = re.sub(r"\b(?:fake|noisy|openai|vllm|transformers)\([^()]*\)(?:, )?", "", spec)
    plain = re.sub(r", sampling=sampling\([^()]*\)", "", plain)
    return re.sub(r"\(\)", "", plain)


def _panel(panel: Any, outcomes: Sequence[Outcome], cost: str, label: str) -> None:  # noqa: ANN401 (an Axes)
    from matplotlib.ticker import LogLocator

    best = frontier(outcomes, cost)
    panel.axhline(outcomes[0].first.mean(), color=OFF, linewidth=0.8, linestyle=":", zorder=1)
    panel.plot([one.cost(cost) for one in best], [one.mean for one in best], color=ON, linewidth=1.4, zorder=2)
    for outcome in outcomes:
        colour = ON if outcome in best else OFF
        margin = outcome.margin if len(outcome.values) > 1 else 0
        at = outcome.cost(cost), outcome.mean
        panel.errorbar(*at, margin, color=colour, elinewidth=0.7, alpha=0.4, fmt="none", zorder=2)
        panel.plot(*at, "o", color=colour, markersize=5, zorder=3)
    panel.set_xscale("log")
    panel.margins(x=0.12, y=0.08)
    panel.set_xlabel(label, color=INK)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.grid(color="#e7eaee", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.tick_params(colors=INK, labelleft=True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _names(panel: Any, outcomes: Sequence[Outcome], cost: str) -> None:  # noqa: ANN401
    """Put each name where it covers neither a point nor another name; a line leads to those that stand apart."""
    frame, scale = panel.get_window_extent(), panel.figure.dpi / 72
    points = {id(one): panel.transData.transform((one.cost(cost), one.mean)) for one in outcomes}
    taken = [_box(x, y, 6 * scale, 6 * scale, 0.5, 0.5) for x, y in points.values()]
    best = frontier(outcomes, cost)
    for outcome in sorted(outcomes, key=lambda one: one not in best):
        x, y = points[id(outcome)]
        text = panel.annotate(short(outcome.spec), (x, y), xycoords="figure pixels", fontsize=7.5, color=INK)
        extent = text.get_window_extent()
        text.remove()
        place = _free(x, y, 1.03 * extent.width, extent.height, taken, frame, scale)
        if place is None:
            continue
        (left, low), apart, box = place
        taken.append(box)
        arrow = {"arrowstyle": "-", "color": OFF, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2} if apart else None
        panel.annotate(
            short(outcome.spec),
            (outcome.cost(cost), outcome.mean),
            xytext=((left - x) / scale, (low - y) / scale),
            textcoords="offset points",
            fontsize=7.5,
            color=INK if outcome in best else "#5c6670",
            arrowprops=arrow,
        )


Box = tuple[float, float, float, float]


def _free(
    x: float, y: float, width: float, height: float, taken: Sequence[Box], frame: Any, scale: float  # noqa: ANN401
) -> tuple[tuple[float, float], bool, Box] | None:  # fmt: skip
    """The nearest free place for a text beside a point: its lower left corner, whether it stands apart, its box."""
    for gap in (5, 12, 20, 30, 42, 56, 72, 90, 110, 135):
        for across, up in ((0, 0.5), (1, 0.5), (0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0), (0.5, 1)):
            right, above = (1 - 2 * across) * gap * scale, (1 - 2 * up) * gap * scale
            box = _box(x + right, y + above, width, height, across, up)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not any(_meet(box, other) for other in taken):
                return (box[0], box[1]), gap > 12, box
    return None


def _box(x: float, y: float, width: float, height: float, across: float, up: float) -> Box:
    return x - across * width, y - up * height, x + (1 - across) * width, y + (1 - up) * height


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
