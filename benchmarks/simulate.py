"""The strategies of the literature on the simulator: the tables of docs/simulate.md, and its picture.

Run: OMP_NUM_THREADS=1 python benchmarks/simulate.py, and python benchmarks/simulate.py docs/simulate.svg
Takes about five minutes on one core, and one for the picture. 100 candidates, 5 % relevant, first stage .476, fresh
noise of 0, .15 and .30, 200 queries (40 for what asks more than a thousand calls). Beside each figure stands that of an
earlier simulation of the published algorithms over a like profile, which was not part of this project's code.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from whyrank.simulate import Noisy, Outcome, Profile, simulate
from whyrank.simulate.plot import plot, short

NOISES = (Noisy(0.0), Noisy(0.15), Noisy(0.3))
PLOTTED = Noisy(0.2, 0.1)
MANY = ("allpair", "sliding", "samples=16")
WARM = "sampling=sampling(temperature=0.6)"


class Row(NamedTuple):
    """A spec, what the earlier simulation had (calls, rounds, passages, nDCG@10), and † for an explained difference."""

    spec: str
    calls: str
    rounds: str
    passages: str
    ndcg: tuple[str, str, str]
    note: str = ""


ROWS = (
    Row("listwise(fake(), window=100)", "1", "1", "100", ("1.000", ".886", ".566")),
    Row("groupwise(fake(), repeats=1)", "5", "1", "100", (".909", ".800", ".558"), "†"),
    Row("groupwise(fake())", "10", "1", "200", (".966", ".889", ".713"), "†"),
    Row("groupwise(fake(), repeats=6)", "30", "1", "600", (".998", ".979", ".903")),
    Row("merge_tree(fake(), keep=4)", "6", "2", "120", (".999", ".905", ".658")),
    Row("top_down(fake())", "8–9.8 (15)", "4–5", "132–164", ("1.000", ".920", ".690")),
    Row("listwise(fake())", "9", "9", "180", ("1.000", ".924", ".731")),
    Row("merge_tree(fake())", "9", "4", "180", ("1.000", ".913", ".675")),
    Row("adaptive(fake())", "9", "3", "162", (".988", ".942", ".721"), "†"),
    Row("adaptive(fake(), calls=100)", "11.6–24 (100)", "6–18", "197–353", (".999", ".978", ".852"), "†"),
    Row("cascade(listwise(fake()), listwise(fake()))", "18", "18", "360", ("1.000", ".922", ".727")),
    Row("cascade(listwise(fake()), listwise(fake()), listwise(fake()))", "27", "27", "540", ("1.000", ".926", ".738")),
    Row("listwise(fake(), window=10)", "19", "19", "190", (".982", ".909", ".737")),
    Row("setwise(fake())", "19–22", "19–22", "370", ("1.000", ".912", ".703")),
    Row("setwise(fake(), children=9)", "30", "30", "300", ("1.000", ".909", ".665")),
    Row("setwise(fake(), children=3)", "75", "75", "300", ("1.000", ".922", ".713")),
    Row("setwise(fake(), method='insertion')", "", "", "", ("", "", "")),
    Row("tournament(fake())", "13", "5", "185", (".989", ".922", ".741")),
    Row("tournament(fake(), repeats=2)", "26", "5", "370", ("", ".955", ".847")),
    Row("tournament(fake(), repeats=10)", "130", "5", "1850", ("", ".998", ".981")),
    Row("consensus(fake(), shuffles=5)", "", "", "", ("", "", "")),
    Row("pointwise(fake())", "100", "1", "100", ("1.000", ".898", ".602")),
    Row(f"pointwise(fake(), refine=30, {WARM})", "580", "2", "580", ("1.000", ".992", ".911")),
    Row(f"pointwise(fake(), samples=16, {WARM})", "1600", "1", "1600", ("1.000", "1.000", ".982")),
    Row("pairwise(fake())", "450", "225", "900", ("1.000", ".926", ".734"), "†"),
    Row("pairwise(fake(), method='sliding')", "1890", "945", "3780", ("1.000", ".932", ".746"), "†"),
    Row("pairwise(fake(), method='allpair')", "9900", "1", "19800", ("1.000", "1.000", "1.000"), "†"),
)

FRONTIER = (
    "within(fake(), calls=1)", "within(fake(), calls=5)", "within(fake())", "within(fake(), calls=20)",
    "within(fake(), calls=50)", "within(fake(), calls=100)",
)  # fmt: skip


def ours(values: Sequence[float]) -> str:
    """The mean of a cost under each noise, once where it is the same."""
    low, high = (f"{value:.1f}".removesuffix(".0") for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def line(row: Row, outcomes: Sequence[Outcome]) -> str:
    """A line of the table: ours, and in brackets the earlier figure."""
    costs = (("calls", row.calls), ("rounds", row.rounds), ("documents", row.passages))
    cells = [_beside(ours([one.cost(name) for one in outcomes]), there) for name, there in costs]
    found = [_beside(f"{one.mean:.3f} ±{one.margin:.3f}", there) for one, there in zip(outcomes, row.ndcg, strict=True)]
    return f"| `{short(row.spec)}`{row.note} | {' | '.join([*cells, *found])} |"


def _beside(figure: str, there: str) -> str:
    return f"{figure} ({there})" if there else figure


def main() -> None:
    """Print the table."""
    cases = Profile().cases(200)
    print("| strategy | calls | rounds | passages | σ = 0 | σ = .15 | σ = .30 |\n|---|---|---|---|---|---|---|")
    for row in ROWS:
        few = any(slow in row.spec for slow in MANY)
        print(line(row, simulate([row.spec], cases[:40] if few else cases, NOISES)), flush=True)


def picture(path: str) -> None:
    """Draw what asks less than a thousand calls, and the budgets of `within`."""
    specs = [row.spec for row in ROWS if not any(slow in row.spec for slow in MANY)]
    plot(simulate([*specs, *FRONTIER], Profile().cases(60), [PLOTTED]), path)


if __name__ == "__main__":
    picture(sys.argv[1]) if sys.argv[1:] else main()
