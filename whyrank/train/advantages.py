"""Advantages and weights of groups of completions, where trainers lack them; numpy, pure, one row a group.

A group is n completions of one prompt. Rewards are (groups, n) float arrays.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb, entr

from whyrank.errors import BadInput

Array = NDArray[np.float64]


def zscore(rewards: ArrayLike, *, ddof: int = 0, least: float = 1e-3) -> tuple[Array, NDArray[np.bool_]]:
    """GRPO's advantage, (r − mean) / (sd + 1e-6) within each group, and which groups have any.

    A group whose rewards hardly differ teaches nothing, and dividing by its spread would blow up rounding errors: with
    a spread below `least` its advantages are 0 and it is marked, to be dropped and counted. (GRPO: 2402.03300, 2024.)

    Args:
        rewards: (groups, n).
        ddof: 0 for the spread of a population, 1 for that of a sample, which TRL takes.
        least: the least standard deviation.

    Returns:
        (groups, n) advantages, and (groups,) whether each is kept.

    Examples:
        >>> advantages, kept = zscore([[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]])
        >>> advantages.round(3).tolist(), kept.tolist()
        ([[-1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], [True, False])
    """
    given = _groups(rewards)
    spread = given.std(axis=1, ddof=ddof, keepdims=True)
    kept = spread[:, 0] >= least
    return np.where(kept[:, None], (given - given.mean(axis=1, keepdims=True)) / (spread + 1e-6), 0.0), kept


def pass_at_k(success: ArrayLike, k: int = 4) -> Array:
    """The advantage that raises pass@k, the chance that one of k completions succeeds; GREAM adds it to GRPO's.

    With n completions, c of them successes: ρ = 1 − C(n−c, k) / C(n, k), σ = √(ρ(1−ρ)); a success has (1−ρ)/σ, a
    failure (1 − ρ − C(n−c−1, k−1) / C(n−1, k−1)) / σ; all have 0 where σ is 0.

    Args:
        success: (groups, n) bool.
        k: from 1 to n.

    Examples:
        >>> pass_at_k([[True, False, False, False]], k=2).round(3).tolist()
        [[1.0, -0.333, -0.333, -0.333]]
    """
    won = np.asarray(_groups(success), dtype=bool)
    n = won.shape[1]
    if not 1 <= k <= n:
        raise BadInput(f"pass@k of groups of {n}: k must be between 1 and {n}, not {k}")
    lost = n - won.sum(axis=1)
    failing = comb(lost, k) / comb(n, k)
    sigma = np.sqrt(failing * (1 - failing))
    behind = failing - comb(np.maximum(lost - 1, 0), k - 1) / comb(n - 1, k - 1)
    raw = np.where(won, failing[:, None], behind[:, None])
    return np.asarray(np.divide(raw, sigma[:, None], out=np.zeros_like(raw), where=sigma[:, None] > 0))


class HybridAdvantages(NamedTuple):
    """Advantages of groups in which half of the completions think and half do not: (groups, n) each."""

    answer: Array
    mode: Array


def hgpo(rewards: ArrayLike, thinks: ArrayLike, *, bonus: float = 0.2, alpha: float = 1.0) -> HybridAdvantages:
    """HGPO, for learning *whether* to think: advantages within each mode and between the two (2505.14631, 2025).

    Within a mode, the best completions have the reward 1 and the others 0. Between modes, all of the one with the
    higher mean reward have 1, that without thought raised by `bonus`. Both become z-scores of the group.

    Args:
        rewards: (groups, n).
        thinks: (groups, n) bool; each group must hold both modes.
        bonus: δ, added to the mean reward without thought.
        alpha: weight of the advantage between modes.

    Returns:
        `answer`, for all tokens, and `mode`, α times that between modes, to be added at the token that chooses.
    """
    given, mode = _groups(rewards), np.asarray(_groups(thinks), dtype=bool)
    if mode.shape != given.shape:
        raise BadInput(f"hgpo: rewards are {given.shape}, modes {mode.shape}: one for each completion")
    if not (mode.any(axis=1) & (~mode).any(axis=1)).all():
        raise BadInput("hgpo: a group holds only one mode: draw half of its completions with thought, half without")
    top = np.where(mode, _best(given, mode), _best(given, ~mode))
    with_thought, without = _mean(given, mode), _mean(given, ~mode) + bonus
    better = np.where(mode, with_thought > without, without > with_thought)
    return HybridAdvantages(zscore(given == top)[0], alpha * zscore(better)[0])


def _best(rewards: Array, members: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(members, rewards, -np.inf).max(axis=1, keepdims=True))


def _mean(rewards: Array, members: NDArray[np.bool_]) -> Array:
    return np.asarray((rewards * members).sum(axis=1, keepdims=True) / members.sum(axis=1, keepdims=True))


def mgpo_weight(success: ArrayLike, strength: float = 4.0) -> Array:
    """How much a group counts, by how uncertain it is: exp(−λ·KL(p ‖ ½)) with p its share of successes, in bits.

    1 at p = ½, 2^−λ where all succeed or all fail: 2^(λ(H(p) − 1)), H in bits. For rewards without success and failure,
    take as success what beats the list as it was shown. Source: VibeThinker (2511.06221, 2025), whose printed formula
    is not consistent; this is the one that its text describes.

    Args:
        success: (groups, n) bool.
        strength: λ.

    Returns:
        (groups,) factors for all advantages of each group.

    Examples:
        >>> mgpo_weight([[1, 0, 1, 0], [0, 0, 0, 0]]).tolist()
        [1.0, 0.0625]
    """
    share = np.asarray(_groups(success), dtype=bool).mean(axis=1)
    bits = (entr(share) + entr(1 - share)) / np.log(2)
    return np.asarray(2.0 ** (strength * (bits - 1)))


class Anchored(NamedTuple):
    """Groups into which a known good completion was put: `rewards` (groups, n), and which `place` it took, −1 none."""

    rewards: Array
    place: NDArray[np.intp]


def anchor(
    rewards: ArrayLike, good: ArrayLike, *, failed: float, progress: float, seed: int, until: float = 1 / 3
) -> Anchored:
    """Put a known good completion into groups that failed altogether, so that they teach something (ANCHOR, 2025).

    Such a group would have no spread, and no gradient. The good completion (the ideal order as its format writes it, or
    a teacher's trace) takes the place of one of the failures, with a probability that falls from 1 to 0 over the first
    part of the training; the ordinary clipped loss is computed on it. With one 1 among eight 0 its advantage is 2.65
    and that of the others −.38 (2.47 and −.35 with the spread of a sample).

    Args:
        rewards: (groups, n).
        good: (groups,) the reward of the good completion; NaN where there is none.
        failed: a reward up to this is a failure.
        progress: how much of the training is done, 0 to 1.
        seed: of the draws.
        until: when the probability reaches 0, as a share of the training.

    Examples:
        >>> given = anchor([[0, 0, 0, 0], [0, 1, 0, 0]], [1, 1], failed=0, progress=0, seed=0)
        >>> given.rewards.sum(axis=1).tolist(), (given.place >= 0).tolist()
        ([1.0, 1.0], [True, False])
    """
    given, worth = _groups(rewards).copy(), np.asarray(good, dtype=np.float64)
    if worth.shape != given.shape[:1]:
        raise BadInput(f"anchor: one good reward for each of {len(given)} groups is wanted, not {worth.shape}")
    if not 0 <= progress <= 1 or until <= 0:
        raise BadInput(f"anchor: progress must be from 0 to 1 and until above 0, not {progress} and {until}")
    draws = np.random.default_rng(seed)
    chosen = draws.integers(given.shape[1], size=len(given))
    lucky = draws.random(len(given)) < 1 - progress / until
    taken = (given <= failed).all(axis=1) & (worth > failed) & lucky
    given[taken, chosen[taken]] = worth[taken]
    return Anchored(given, np.where(taken, chosen, -1))


def _groups(values: ArrayLike) -> Array:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or not given.shape[1]:
        raise BadInput(f"groups are rows: (groups, n) is wanted, n at least 1, not the shape {given.shape}")
    if not np.isfinite(given).all():
        raise BadInput("a reward is NaN or infinite: drop completions to which no reward applies before")
    return given
