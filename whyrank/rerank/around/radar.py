"""How hard a query is and how able a way of ranking: item response theory, fitted on past runs (RADAR, 2025)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput, NotFound
from whyrank.io.files import atomic_write
from whyrank.rerank.base import Request

Floats = NDArray[np.float64]

TOP = 20
"""How many first-stage scores the features look at."""

L2 = 1e-3
"""Weight of the squared parameters in the fit, per observation."""


def features(request: Request) -> Floats:
    """What the first stage tells of a query: (5,) margin, entropy, log best score, log words, fall of the scores."""
    scores = np.array(request.scores[:TOP], dtype=np.float64)
    best = float(scores[0]) if len(scores) else 0.0
    last = float(scores[-1]) if len(scores) else 0.0
    fall = (best - last) / (abs(best) + abs(last)) if best or last else 0.0
    words = len(request.query.text.split())
    return np.array([margin(scores), entropy(scores), math.log1p(max(best, 0.0)), math.log1p(words), fall])


def margin(scores: Sequence[float] | Floats) -> float:
    """How far the first score stands above the second, in standard deviations of the first 20; 0 without a second."""
    top = np.asarray(scores[:TOP], dtype=np.float64)
    spread = float(top.std()) if len(top) > 1 else 0.0
    return float(top[0] - top[1]) / spread if spread > 0 else 0.0


def entropy(scores: Sequence[float] | Floats) -> float:
    """The entropy of the softmax of the first 20 z-scores, from 0 to 1, which is all alike; 1 without a second."""
    top = np.asarray(scores[:TOP], dtype=np.float64)
    if len(top) < 2 or (spread := float(top.std())) == 0:
        return 1.0
    weights = np.exp((top - top.max()) / spread)
    chances = weights / weights.sum()
    return float(-(chances * np.log(chances + 1e-300)).sum() / math.log(len(top)))


@dataclass(frozen=True)
class Radar:
    """The chance that a way of ranking does well on a query: σ(a(θ - b)), with θ its ability and b the difficulty.

    Difficulty b = v·x and discrimination a = softplus(u·x) come from the query's features x, a 1 and the standardised
    ones. Source: RADAR (2025), on the item-response model of Birnbaum (1968).

    Attributes:
        choices: the g ways of ranking, by name.
        ability: (g,) θ.
        costs: (g,) what each costs, in any unit.
        u: (1 + d,) weights of the discrimination.
        v: (1 + d,) weights of the difficulty.
        mean: (d,) of the features where it was fitted.
        spread: (d,) their standard deviation.
    """

    choices: tuple[str, ...]
    ability: tuple[float, ...]
    costs: tuple[float, ...]
    u: tuple[float, ...]
    v: tuple[float, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, features: Floats, success: Floats, costs: Sequence[float], choices: Sequence[str]) -> "Radar":
        """Fit on q queries and g choices, by L-BFGS on the cross entropy; some hundred queries suffice.

        Args:
            features: (q, d) of the queries.
            success: (q, g) from 0 to 1, such as nDCG@10, or whether it beat the first stage; NaN where not measured.
            costs: (g,) such as mean tokens a query, above 0.
            choices: (g,) names.

        Raises:
            BadInput: shapes that do not fit, values outside 0 to 1, or no positive cost.
        """
        features, success = np.asarray(features, dtype=np.float64), np.asarray(success, dtype=np.float64)
        _check(features, success, costs, choices)
        mean, spread = features.mean(axis=0), features.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        x, wide = _standard(features, mean, spread), features.shape[1] + 1
        start = np.zeros(2 * wide + len(choices))
        start[0] = math.log(math.e - 1)  # a discrimination of 1
        share = np.clip(np.nanmean(success, axis=0), 0.01, 0.99)
        start[2 * wide :] = np.log(share / (1 - share))
        from scipy.optimize import minimize

        found = minimize(_loss, start, args=(x, success), jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
        u, v, ability = found[:wide], found[wide : 2 * wide], found[2 * wide :]
        numbers = [tuple(map(float, some)) for some in (ability, costs, u, v, mean, spread)]
        return cls(tuple(choices), *numbers)

    def difficulty(self, features: Floats) -> tuple[Floats, Floats]:
        """(q,) discrimination a and (q,) difficulty b of queries with these (q, d) features."""
        x = _standard(np.atleast_2d(features), np.array(self.mean), np.array(self.spread))
        return _softplus(x @ np.array(self.u)), x @ np.array(self.v)

    def chances(self, features: Floats) -> Floats:
        """(q, g) the chance that each choice does well on each query."""
        a, b = self.difficulty(features)
        return _sigmoid(a[:, None] * (np.array(self.ability)[None, :] - b[:, None]))

    def choose(self, features: Floats, weight: float, chebyshev: bool = False) -> NDArray[np.intp]:
        """(q,) the choice for each query; of equals the cheaper.

        Args:
            features: (q, d).
            weight: w, from 0, where cost alone counts, to 1, where success alone does.
            chebyshev: least max(w(1 - p), (1 - w)c) instead of greatest wp - (1 - w)c, with c as a share of the
                highest cost.
        """
        cost, chances = np.array(self.costs) / max(self.costs), self.chances(features)
        loss = (
            np.maximum(weight * (1 - chances), (1 - weight) * cost)
            if chebyshev
            else (1 - weight) * cost - weight * chances
        )
        cheap = np.argsort(cost, kind="stable")
        found: NDArray[np.intp] = cheap[np.argmin(loss[:, cheap].round(12), axis=1)]
        return found

    def informative(self, features: Floats, n: int = 50, ability: float | None = None) -> NDArray[np.intp]:
        """The n queries that tell most about a new choice, by Fisher information a²p(1 - p), the best first.

        Args:
            features: (q, d).
            n: how many.
            ability: what the new choice is thought to be able to; the mean of the known ones without it.
        """
        a, b = self.difficulty(features)
        p = _sigmoid(a * ((float(np.mean(self.ability)) if ability is None else ability) - b))
        return np.argsort(-(a**2 * p * (1 - p)), kind="stable")[:n]

    def added(self, choice: str, cost: float, features: Floats, success: Floats) -> "Radar":
        """With one more choice, whose ability alone is fitted to its (q,) success on queries with (q, d) features."""
        known = ~np.isnan(success)
        success, (a, b) = success[known], self.difficulty(features[known])
        low, high = -50.0, 50.0
        for _ in range(60):  # the loss is convex in θ: halve where its slope changes sign
            middle = (low + high) / 2
            slope = np.mean(a * (_sigmoid(a * (middle - b)) - success)) + 2 * L2 * middle
            low, high = (low, middle) if slope > 0 else (middle, high)
        more = {"choices": (*self.choices, choice), "costs": (*self.costs, cost), "ability": (*self.ability, low)}
        return replace(self, **more)  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """Write the model as a small JSON file, which `difficulty(path)` reads."""
        with atomic_write(path) as file:
            file.write(json.dumps(asdict(self), indent=1).encode() + b"\n")

    @classmethod
    def open(cls, path: str | Path) -> "Radar":
        """Read what `save` wrote.

        Raises:
            NotFound: there is no such file.
            BadInput: it holds something else.
        """
        if not Path(path).is_file():
            raise NotFound(f"no model of difficulty at {path}: fit one with Radar.fit or learn_routes, and save it")
        try:
            found: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            numbers = {name: tuple(map(float, found[name])) for name in cls.__dataclass_fields__ if name != "choices"}
            return cls(choices=tuple(map(str, found["choices"])), **numbers)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise BadInput(f"{path} is no model of difficulty ({type(error).__name__}: {error})") from None


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """What routing at one weight brings: mean success and mean cost, as a share of the costliest choice."""

    weight: float
    success: float
    cost: float


def sweep(radar: Radar, features: Floats, success: Floats, steps: int = 51, chebyshev: bool = False) -> list[Tradeoff]:
    """Routing at weights from 0 to 1 on queries whose (q, g) success with every choice is known."""
    costs, found = np.array(radar.costs) / max(radar.costs), []
    for weight in np.linspace(0, 1, steps):
        taken = radar.choose(features, float(weight), chebyshev)
        reached = float(np.mean(success[np.arange(len(taken)), taken]))
        found.append(Tradeoff(float(weight), reached, float(np.mean(costs[taken]))))
    return found


def pareto(points: Sequence[Tradeoff]) -> list[Tradeoff]:
    """The points that no other beats in both, by rising cost."""
    best: list[Tradeoff] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.success)):
        if not best or point.success > best[-1].success:
            best.append(point)
    return best


def hypervolume(points: Sequence[Tradeoff]) -> float:
    """The area of success and cost that the points dominate, against no success at the full cost; 1 is ideal.

    Examples:
        >>> hypervolume([Tradeoff(0.0, 0.5, 0.0), Tradeoff(1.0, 0.75, 0.5)])
        0.625
    """
    front = pareto(points)
    ends = [point.cost for point in front[1:]] + [1.0]
    return float(sum(point.success * max(end - point.cost, 0.0) for point, end in zip(front, ends, strict=True)))


def _loss(all: Floats, x: Floats, success: Floats) -> tuple[float, Floats]:
    """Mean cross entropy with L2, and its gradient, at (u, v, θ)."""
    wide = x.shape[1]
    u, v, ability = all[:wide], all[wide : 2 * wide], all[2 * wide :]
    slant, b = x @ u, x @ v
    a, gap = _softplus(slant), ability[None, :] - b[:, None]
    z, known = a[:, None] * gap, ~np.isnan(success)
    y, n = np.where(known, success, 0.0), int(known.sum())
    loss = float(np.where(known, np.logaddexp(0.0, z) - y * z, 0.0).sum()) / n + L2 * float(all @ all)
    error = np.where(known, _sigmoid(z) - y, 0.0) / n
    along_u = x.T @ ((error * gap).sum(axis=1) * _sigmoid(slant))
    along_v = -x.T @ (error.sum(axis=1) * a)
    return loss, np.concatenate([along_u, along_v, (error * a[:, None]).sum(axis=0)]) + 2 * L2 * all


def _standard(features: Floats, mean: Floats, spread: Floats) -> Floats:
    """(q, 1 + d) a 1 and the standardised features, cut at 5 deviations, beyond which nothing was ever seen."""
    return np.hstack([np.ones((len(features), 1)), np.clip((features - mean) / spread, -5, 5)])


def _sigmoid(z: Floats) -> Floats:
    chances: Floats = np.exp(-np.logaddexp(0.0, -z))
    return chances


def _softplus(z: Floats) -> Floats:
    return np.logaddexp(0.0, z)


def _check(features: Floats, success: Floats, costs: Sequence[float], choices: Sequence[str]) -> None:
    wanted = (len(features), len(choices))
    if features.ndim != 2 or success.shape != wanted or len(costs) != len(choices):
        shapes = f"features {features.shape}, success {success.shape}, {len(costs)} costs, {len(choices)} choices"
        raise BadInput(f"radar: success must be queries × choices, features queries × features, not {shapes}")
    if not np.isfinite(features).all() or (success < 0).any() or (success > 1).any():
        raise BadInput("radar: features must be finite, success from 0 to 1 or NaN")
    if np.isnan(success).all(axis=0).any():
        raise BadInput("radar: a choice was measured on no query at all")
    if min(costs) < 0 or max(costs) <= 0:
        raise BadInput(f"radar: costs must be at least 0, and one above, not {list(costs)}")
