"""`compare`: is one run better than another, and by how much? Paired tests over queries."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, want
from whyrank.eval.report import Report, grid
from whyrank.terminal import line

_CHUNK = 2_000_000  # random numbers held at once
_EQUAL = 1e-12  # differences below are rounding
_EVALUATED = "compare takes a list of reports: evaluate(run, qrels) of each run"


@dataclass(frozen=True)
class Contrast:
    """One run against the baseline on one measure, over the judged queries.

    Attributes:
        run: the run's name.
        measure: the measure.
        mean: the run's mean.
        baseline: the baseline's mean.
        difference: mean - baseline.
        low: lower end of the difference's bootstrap confidence interval.
        high: upper end.
        p: two-sided p value of the paired randomisation test.
        p_holm: `p` corrected by Holm's method for all contrasts of the comparison.
        wins: on how many queries the run is better than the baseline.
        ties: on how many both are equal.
        losses: on how many it is worse.
    """

    run: str
    measure: str
    mean: float
    baseline: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """All runs against a baseline; `print` shows a table."""

    baseline: str
    contrasts: tuple[Contrast, ...]
    confidence: float

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def table(self, width: int | None = None) -> str:
        """A part for each measure, a line for each run; a star where the difference is significant at 1 - confidence.

        Where a part is wider than `width`, names of runs stand above their figures.
        """
        head = ["mean", "Δ", f"{self.confidence:.0%} interval", "p", "p (Holm)", "win/tie/loss"]
        parts = [f"against {line(self.baseline)}, paired over queries"]
        for measure in dict.fromkeys(one.measure for one in self.contrasts):
            rows = [_row(one, 1 - self.confidence) for one in self.contrasts if one.measure == measure]
            parts.append(grid([measure, *head], rows, width))
        return "\n\n".join(parts)

    def to_list(self) -> list[dict[str, Any]]:
        """The contrasts in plain types, each with what it is against and the level of its interval."""
        against = {"against": self.baseline, "confidence": self.confidence}
        return [{**asdict(one), **against} for one in self.contrasts]


def compare(
    reports: Sequence[Report],
    baseline: str | None = None,
    *more: Never,
    permutations: int = 10_000,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare runs with a baseline on every measure they share, query by query; counts (`NumRel`, …) are left out.

    Significance is by the paired randomisation test (Fisher, 1935; Smucker, Allan and Carterette, CIKM 2007): the signs
    of the differences are drawn at random `permutations` times, or all enumerated where that is less work. The interval
    is the percentile bootstrap of the mean difference. Holm's correction (1979) is over all contrasts. The same seed
    gives the same numbers.

    Args:
        reports: evaluations of at least two runs on the same judgements.
        baseline: the name of the run that the others are compared with; the first if None.
        more: nothing; a third argument is refused in words.
        permutations: draws of the randomisation test; the smallest p value is 1 / (permutations + 1).
        resamples: draws of the bootstrap.
        confidence: level of the interval.
        seed: of both.

    Raises:
        BadInput: something that is no report, fewer than two runs, no baseline of that name, other judged queries, no
            common measure.
    """
    if more:
        raise BadInput(f"compare: what is compared is one list, and nothing stands behind it: {_EVALUATED}")
    base, others = _parted(reports, baseline)
    shared = [measure for measure in base.means if all(measure in report.means for report in others)]
    measures = [measure for measure in shared if measure not in base.counts]
    if not measures:
        raise BadInput("the runs to compare have no measure in common" + (" but counts" if shared else ""))
    pairs = [(report, measure) for measure in measures for report in others]
    differences = np.column_stack([_differences(report, base, measure) for report, measure in pairs])
    rng = np.random.default_rng(seed)
    p = randomisation_test(differences, permutations, rng)
    low, high = bootstrap(differences, resamples, confidence, rng)
    contrasts = [
        Contrast(
            run=report.name,
            measure=measure,
            mean=report.means[measure],
            baseline=base.means[measure],
            difference=float(differences[:, at].mean()),
            low=float(low[at]),
            high=float(high[at]),
            p=float(p[at]),
            p_holm=float(holm(p)[at]),
            wins=int(np.count_nonzero(differences[:, at] > _EQUAL)),
            ties=int(np.count_nonzero(np.abs(differences[:, at]) <= _EQUAL)),
            losses=int(np.count_nonzero(differences[:, at] < -_EQUAL)),
        )
        for at, (report, measure) in enumerate(pairs)
    ]
    return Comparison(base.name, tuple(contrasts), confidence)


def randomisation_test(differences: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(C,) two-sided p values that the mean of each column of `differences` (Q, C) is 0.

    Exact where 2^Q is at most `draws`; else the share of random signs, the observed ones among them, that give a mean
    at least as far from 0.
    """
    size, columns = differences.shape
    reached = np.abs(differences.sum(axis=0)) * (1 - _EQUAL)
    exact = size < 63 and 2**size <= draws
    signs = _all_signs(size) if exact else _random_signs(size, draws, rng)
    hits = np.zeros(columns) if exact else np.ones(columns)
    for part in signs:
        hits += np.count_nonzero(np.abs(part @ differences) >= reached, axis=0)
    p: NDArray[np.float64] = hits / (2**size if exact else draws + 1)
    return p


def bootstrap(
    differences: NDArray[np.float64], draws: int, confidence: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends (C,), (C,) of the percentile bootstrap interval of the mean of each column of `differences` (Q, C)."""
    size, columns = differences.shape
    means = np.concatenate(
        [differences[rng.integers(size, size=(count, size))].mean(axis=1) for count in _chunks(draws, size * columns)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The p values corrected for all tests together (Holm, 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _parted(reports: Sequence[Report], baseline: str | None) -> tuple[Report, list[Report]]:
    want(reports, Sequence, "compare: what is compared", _EVALUATED)
    for at, report in enumerate(reports):
        want(report, Report, f"compare: reports[{at}]", _EVALUATED)
    want(baseline, (str, type(None)), "compare: the baseline", "give the name of its run")
    if len(reports) < 2:
        raise BadInput(f"a comparison needs at least two runs, not {len(reports)}")
    names = [report.name for report in reports]
    if baseline is not None and baseline not in names:
        raise BadInput(f"no run is called {baseline!r}: there are {', '.join(names)}")
    at = 0 if baseline is None else names.index(baseline)
    base, others = reports[at], [report for place, report in enumerate(reports) if place != at]
    for report in others:
        if report.protocol != base.protocol:
            raise BadInput(
                f"{report.name!r} and {base.name!r} were evaluated by different protocols, {report.protocol!r} and "
                f"{base.protocol!r}: their figures do not compare"
            )
        if odd := set(report.queries) ^ set(base.queries):
            raise BadInput(
                f"{report.name!r} and {base.name!r} were evaluated on different queries ({len(odd)} differ, such as "
                f"{min(odd)!r}): use the same judgements for both"
            )
    return base, others


def _differences(report: Report, base: Report, measure: str) -> NDArray[np.float64]:
    values, against = report.per_query[measure], base.per_query[measure]
    return np.array([values[query] - against[query] for query in against], dtype=np.float64)


def _all_signs(size: int) -> Iterator[NDArray[np.float64]]:
    bits = np.arange(2**size)[:, None] >> np.arange(size) & 1
    yield np.where(bits, 1.0, -1.0)


def _random_signs(size: int, draws: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    for count in _chunks(draws, size):
        yield np.where(rng.integers(0, 2, size=(count, size), dtype=np.int8), 1.0, -1.0)


def _chunks(draws: int, width: int) -> Iterable[int]:
    step = max(1, _CHUNK // max(1, width))
    return (min(step, draws - start) for start in range(0, draws, step))


def _row(one: Contrast, level: float) -> list[str]:
    star = "*" if one.p_holm < level else " "
    interval = f"[{one.low:+.4f}, {one.high:+.4f}]"
    tests = [f"{one.p:.4f}", f"{one.p_holm:.4f}{star}"]
    won = f"{one.wins}/{one.ties}/{one.losses}"
    return [one.run, f"{one.mean:.4f}", f"{one.difference:+.4f}", interval, *tests, won]
