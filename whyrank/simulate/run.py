"""`simulate`: what strategies cost and find, a mean and a confidence interval over the queries of a simulation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from whyrank.errors import BadInput
from whyrank.eval.report import grid
from whyrank.eval.score import report_of
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.simulate.cases import Case, Floats, ranked
from whyrank.simulate.judge import Meter, Noisy, Tokens, judged
from whyrank.types import Run

LEVEL = 0.95
"""Of the confidence intervals."""

COSTS = ("calls", "rounds", "documents", "input", "output")


@dataclass(frozen=True)
class Outcome:
    """What one reranker did under one noise.

    Attributes:
        spec: the reranker.
        noise: the model in the place of its own.
        measure: of quality, such as nDCG@10.
        values: (Q,) quality, for each query.
        first: (Q,) quality of the first stage.
        costs: by name (calls, rounds, documents, input, output): (Q,) of each query.
    """

    spec: str
    noise: str
    measure: str
    values: Floats
    first: Floats
    costs: dict[str, Floats]

    @property
    def mean(self) -> float:
        """Mean quality."""
        return float(self.values.mean())

    @property
    def margin(self) -> float:
        """Half of the 95 % confidence interval of the mean (Student's t); NaN for a single query."""
        return margin(self.values)

    def cost(self, name: str) -> float:
        """The mean of a cost over queries."""
        return float(self.costs[name].mean())

    def to_dict(self) -> dict[str, Any]:
        """All but the single queries, in plain types."""
        return {
            "spec": self.spec,
            "noise": self.noise,
            "queries": len(self.values),
            **{name: {"mean": float(values.mean()), "max": float(values.max())} for name, values in self.costs.items()},
            self.measure: {"mean": self.mean, "margin": None if math.isnan(self.margin) else self.margin},
            "first_stage": float(self.first.mean()),
        }


def simulate(
    rerankers: Sequence[Reranker | str],
    cases: Sequence[Case],
    noises: Sequence[Noisy] = (Noisy(),),
    measure: str = "nDCG@10",
    tokens: Tokens | None = None,
    seed: int = 0,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run each reranker on each case under each noise; one outcome for each pair of reranker and noise, in this order.

    All of them see the same cases and the same shared errors. Each query runs alone on the real scheduler, so that a
    call to the engine is a round; prompts that are equal to the letter are asked once.

    Args:
        rerankers: parts or specs with any model: a `noisy(...)` stays as it is, every other one becomes each noise.
        cases: the queries, from `Profile.cases` or `from_run`.
        noises: how the model errs.
        measure: of quality.
        tokens: what a call costs.
        seed: of the errors.
        on_outcome: is told each outcome as it is found.

    Raises:
        BadInput: nothing to simulate, or a reranker without a language model.
        BadSpec: a spec that is none.

    Examples:
        >>> from whyrank.simulate import Profile
        >>> outcome, = simulate(["listwise(noisy(sigma=0.0))"], Profile().cases(queries=5))
        >>> outcome.mean, outcome.cost("calls"), outcome.cost("rounds"), outcome.cost("documents")
        (1.0, 9.0, 9.0, 180.0)
    """
    if not (rerankers and cases and noises):
        raise BadInput("a simulation wants at least one reranker, one query and one noise")
    parts = [make(one, Reranker) if isinstance(one, str) else one for one in rerankers]
    first = _quality(cases, [range(len(case.utilities)) for case in cases], measure)
    outcomes = []
    for reranker in parts:
        for noise in noises:
            bench: list[Meter] = []
            bound, orders = judged(reranker, noise, bench), []
            for number, case in enumerate(cases):
                bench.append(Meter(case, tokens or Tokens(), np.random.default_rng((seed, number))))
                (order,) = bound.rank_requests([case.request], None)
                orders.append(order.ranking)
            costs = {name: np.array([getattr(meter, name) for meter in bench], dtype=np.float64) for name in COSTS}
            values = _quality(cases, orders, measure)
            outcomes.append(Outcome(repr(reranker), repr(noise), measure, values, first, costs))
            on_outcome(outcomes[-1])
    return outcomes


def table(outcomes: Sequence[Outcome], width: int | None = None) -> str:
    """A line for each reranker, a column of quality for each noise; costs are means, over noises "least–most".

    In brackets stands the most that a query took, where that is more. Where the table is wider than `width`, rerankers
    stand above their figures.
    """
    noises = list(dict.fromkeys(outcome.noise for outcome in outcomes))
    measure, queries = outcomes[0].measure, len(outcomes[0].values)
    head = ["reranker", "calls", "rounds", "passages", "tokens in", "out", *noises]
    rows = []
    for spec in dict.fromkeys(outcome.spec for outcome in outcomes):
        own = {outcome.noise: outcome for outcome in outcomes if outcome.spec == spec}
        costs = [_cost([outcome.costs[name] for outcome in own.values()], name) for name in COSTS]
        rows.append([spec, *costs, *(f"{own[noise].mean:.3f} ±{own[noise].margin:.3f}" for noise in noises)])
    plain = grid(head, [*rows, ["(first stage)", *[""] * 5, *[_interval(outcomes[0].first)] * len(noises)]], width)
    return f"{plain}\n{measure}, mean of {queries} queries ± half of the 95 % interval; costs are per query"


def margin(values: Floats) -> float:
    """Half of the 95 % confidence interval of a mean, by Student's t."""
    if len(values) < 2:
        return math.nan
    return float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values)))


def _interval(values: Floats) -> str:
    return f"{values.mean():.3f} ±{margin(values):.3f}"


def _cost(several: Sequence[Floats], name: str) -> str:
    """The mean of a cost, from the least to the most over noises; the most of any query in brackets, for calls."""
    means = [float(values.mean()) for values in several]
    low, high, most = _short(min(means)), _short(max(means)), max(float(values.max()) for values in several)
    text = low if low == high else f"{low}–{high}"
    return f"{text} ({most:g})" if name == "calls" and _short(most) != high else text


def _short(value: float) -> str:
    """Three digits and more, thousands as k."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


def _quality(cases: Sequence[Case], orders: Sequence[Sequence[int]], measure: str) -> Floats:
    qrels = {case.request.query.id: case.grades for case in cases}
    run = Run.of({case.request.query.id: ranked(case, order) for case, order in zip(cases, orders, strict=True)})
    (values,) = report_of(run, qrels, [measure]).per_query.values()
    return np.array(list(values.values()))
