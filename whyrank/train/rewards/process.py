"""Rewards for how an answer was reached: its form, its length, its cost, the gain of each step; and sums of rewards."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.fields import AtLeast, Below, Length
from whyrank.llm.answer import Ok
from whyrank.registry import variadic
from whyrank.rerank.formats import Format, RankingFormat
from whyrank.train.rewards.base import Each, Reward, Unit, Value, groups, kept, length, same_prompt
from whyrank.types import RankTask


@dataclass(frozen=True)
class WellFormed(Each):
    """1 where the completion keeps to the format, thought and tags and an answer that needs no repair; else 0.

    Where the format asks for an answer and nothing else, a thought or prose beside it breaks the form.

    Attributes:
        format: the format that the prompts were rendered with.
    """

    format: Format[Any] = field(default_factory=RankingFormat)

    def _value(self, completion: Ok, task: RankTask) -> Value:
        exact = self.format.parse(completion, len(task.documents)).status == "exact"
        return float(exact and kept(self.format, completion) and self.format.nothing_else(completion))


@dataclass(frozen=True)
class Cost(Each):
    """−`price` for each thousand words or tokens of the completion, thought included.

    Attributes:
        price: of a thousand, on the scale of the rewards that it is added to.
        unit: "words", parted by blanks, or "tokens", where the trainer tells their number.
    """

    price: float = 0.1
    unit: Unit = "words"

    def _value(self, completion: Ok, task: RankTask) -> Value:
        return -self.price * length(completion, self.unit) / 1000


@variadic
@dataclass(frozen=True)
class Mix(Reward):
    """A weighted sum of rewards: `mix(multiview(p=0.9), cost(), weights=(1.0, 0.5))`; None where none applies.

    Where some do not apply to a task, the sum is over the others.

    Attributes:
        rewards: what is summed.
        weights: one for each; none means 1 for all.
    """

    rewards: Annotated[tuple[Reward, ...], Length(1)]
    _: KW_ONLY
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that do not fit."""
        if self.weights and len(self.weights) != len(self.rewards):
            raise BadInput(f"mix: {len(self.weights)} weights for {len(self.rewards)} rewards")

    @property
    def grouped(self) -> bool:  # type: ignore[override]
        """Whether one of them sees the group."""
        return any(reward.grouped for reward in self.rewards)

    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        columns = [reward.batch(completions, tasks) for reward in self.rewards]
        weights = self.weights or (1.0,) * len(columns)
        for values in zip(*columns, strict=True):
            parts = [weight * value for weight, value in zip(weights, values, strict=True) if value is not None]
            yield sum(parts) if parts else None


@dataclass(frozen=True)
class LengthReward(Reward):
    """A reward for length on top of another: compares the lengths of a group, so that it needs no target.

    Attributes:
        reward: what the completions are worth apart from their length; above `bar`, a completion is a success.
        bar: see above.
        unit: what lengths are counted in, "words" or "tokens".
    """

    grouped: ClassVar[bool] = True

    reward: Reward
    _: KW_ONLY
    bar: float = 0.0
    unit: Unit = "words"

    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        worth = self.reward.batch(completions, tasks)
        values: list[Value] = [None] * len(tasks)
        for members in groups(tasks, same_prompt).values():
            rated = [at for at in members if worth[at] is not None]
            if rated:
                given = np.array([worth[at] for at in rated], dtype=np.float64)
                lengths = np.array([length(completions[at], self.unit) for at in rated], dtype=np.float64)
                for at, value in zip(rated, self._shaped(given, lengths).tolist(), strict=True):
                    values[at] = value
        return values

    def _shaped(self, worth: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) the rewards of one group."""
        raise NotImplementedError


@dataclass(frozen=True)
class SolLength(LengthReward):
    """α·reward − β·|length − L*|, L* the shortest among the group's best (ShorterBetter, 2025).

    Where no completion is a success, L* is the mean length of the group.

    Attributes:
        alpha: α.
        beta: β, for each word or token.
    """

    alpha: float = 2.0
    beta: float = 0.001

    def _shaped(self, worth: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        best = worth.max()
        target = lengths[worth == best].min() if best > self.bar else lengths.mean()
        return np.asarray(self.alpha * worth - self.beta * np.abs(lengths - target))


@dataclass(frozen=True)
class SelfNormLength(LengthReward):
    """reward·(1 − α·σ(z)) for successes, z their length as z-score among the group's successes (Arora–Zanette, 2025).

    Completions that are no success keep their reward as it is.

    Attributes:
        alpha: α, from 0 to below 1: how much of a success its length can take away.
    """

    alpha: Annotated[float, AtLeast(0), Below(1)] = 0.2
    bar: Annotated[float, AtLeast(0)] = field(default=0.0, kw_only=True)

    def _shaped(self, worth: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        success = worth > self.bar
        if not success.any():
            return worth
        spread = lengths[success].std()
        z = (lengths - lengths[success].mean()) / spread if spread > 0 else np.zeros(len(lengths))
        shaped = worth * (1 - self.alpha / (1 + np.exp(-np.clip(z, -50, 50))))
        return np.where(success, shaped, worth)


_TURN = re.compile(r"(?<!\w)(?=(?:However|Therefore|So|But|Wait)\b)")


def steps_of(thought: str, apart: int = 20) -> list[str]:
    """The thought in steps: cut before However, Therefore, So, But and Wait, each step at least `apart` words long.

    The steps together are the thought again. Source: VSRM (2025).

    Examples:
        >>> steps_of("It is about bees. But which? Wait, the dance.", apart=3)
        ['It is about bees. ', 'But which? Wait, the dance.']
    """
    steps = [""]
    for piece in _TURN.split(thought):
        if len(steps[-1].split()) >= apart:
            steps.append("")
        steps[-1] += piece
    if len(steps) > 1 and len(steps[-1].split()) < apart:
        last = steps.pop()
        steps[-1] += last
    return steps


def step_rewards(values: Sequence[float], gamma: float = 0.7, ahead: int = 3) -> list[float]:
    """What each step of a thought gained: A_i − A_{i−1}; where that is 0, a later gain, discounted (VSRM, 2025).

    A_i is the mean nDCG of answers forced after step i, A_0 that before any thought. A step without gain is paid
    γ^j times the first gain or loss that follows within `ahead` steps, j steps on.

    Args:
        values: (n + 1,) A_0 to A_n.
        gamma: γ.
        ahead: how many steps to look ahead.

    Returns:
        (n,) one reward for each step; it is due at the step's last token.

    Examples:
        >>> step_rewards([0.5, 0.5, 0.75], gamma=0.5)
        [0.125, 0.25]
    """
    gains = np.diff(np.asarray(values, dtype=np.float64))
    rewards = []
    for at in range(len(gains)):
        later = gains[at : at + ahead + 1]
        moved = np.flatnonzero(later)
        rewards.append(float(gamma ** moved[0] * later[moved[0]]) if moved.size else 0.0)
    return rewards
