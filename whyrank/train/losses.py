"""Losses on torch tensors, where libraries lack them: for models that score a list, and GPPO's clip for policies.

Scores and gains are (lists, n); `mask`, where given, is True for documents and False for padding. All losses are the
mean over lists that have something to learn from, and 0 where there are none. Only methods of tensors are used, so
that this module is light to import.
"""

from typing import Any, TypeAlias

from whyrank.errors import BadInput

Tensor: TypeAlias = Any
"""A torch.Tensor."""

Generator: TypeAlias = Any
"""A torch.Generator, or None for the default one."""


def ranknet(scores: Tensor, gains: Tensor, mask: Tensor | None = None, *, weighted: bool = False) -> Tensor:
    """Pairwise logistic loss: log(1 + exp(s_worse − s_better)), mean over all pairs of a list with different gains.

    Args:
        scores: (lists, n), of the model.
        gains: (lists, n), what is known.
        mask: (lists, n) bool.
        weighted: count each pair 1 / (i + j), i and j the places in the ideal order (equal gains share the first of
            their places), so that the head of the list matters most, as FIRST does (2406.15657, 2024).

    Source: RankNet (Burges et al., 2005).
    """
    better = _pairs(scores, gains, mask)
    weights = better.to(scores.dtype)
    if weighted:
        place = 1 + better.sum(dim=-2).to(scores.dtype)
        weights = weights / (place[..., :, None] + place[..., None, :])
    return _over_pairs(scores, weights)


def lambdarank(scores: Tensor, gains: Tensor, mask: Tensor | None = None, *, k: int = 10) -> Tensor:
    """Pairwise logistic loss, each pair weighted by how much swapping it would change nDCG at k (Burges, 2010).

    Args:
        scores: (lists, n), of the model.
        gains: (lists, n), none below 0.
        mask: (lists, n) bool.
        k: the cut-off.
    """
    better, gains = _pairs(scores, gains, mask), _held(gains, mask, 0.0)
    rank = _held(scores.detach(), mask, -_FAR).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    discount = _discount(rank.to(scores.dtype), k)
    ideal = _ideal(gains, k)
    swap = (gains[..., :, None] - gains[..., None, :]) * (discount[..., :, None] - discount[..., None, :])
    weights = better.to(scores.dtype) * swap.abs() / ideal.clamp(min=1e-12)[..., None, None]
    pairs = _softplus(scores[..., None, :] - scores[..., :, None])
    return _mean((pairs * weights).sum(dim=(-2, -1)), better.any(dim=-1).any(dim=-1))


def listnet(scores: Tensor, gains: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of the softmax of scores against the softmax of gains / temperature (Cao et al., 2007)."""
    _shapes(scores, gains, mask)
    wanted = _held(gains / temperature, mask, -_FAR).softmax(dim=-1)
    given = _held(scores, mask, -_FAR).log_softmax(dim=-1)
    return _mean(-(wanted * given).sum(dim=-1), _pairs(scores, gains, mask).any(dim=-1).any(dim=-1))


def listmle(scores: Tensor, gains: Tensor, mask: Tensor | None = None) -> Tensor:
    """Negative log likelihood of the ideal order in the Plackett–Luce model, mean over its choices.

    Each document above the lowest gain is a choice among itself and all that are no better. Documents of equal gain
    are chosen from the same set, whatever their places, so that nothing is learnt about their order; without equal
    gains this is ListMLE (Xia et al., 2008).
    """
    lower = _pairs(scores, gains, mask)
    chosen = lower.any(dim=-1)
    gains = _held(gains, mask, -_FAR)
    among = gains[..., None, :] <= gains[..., :, None]
    if mask is not None:
        among = among & mask[..., None, :]
    reach = scores[..., None, :].expand(among.shape).masked_fill(~among, -_FAR).logsumexp(dim=-1)
    terms = ((reach - scores) * chosen.to(scores.dtype)).sum(dim=-1)
    return _mean(terms / chosen.sum(dim=-1).clamp(min=1), chosen.any(dim=-1))


def plackett_luce(
    scores: Tensor,
    gains: Tensor,
    mask: Tensor | None = None,
    *,
    k: int = 10,
    samples: int = 16,
    generator: Generator = None,
) -> Tensor:
    """Policy gradient on nDCG at k for a model that scores: REINFORCE over sampled rankings (PG-Rank, 2310.04407).

    Rankings are drawn from the Plackett–Luce model of the scores by the Gumbel trick; the reward of each is its nDCG,
    less the mean of the others. The value of the loss means nothing: its gradient is an unbiased estimate of that of
    −(expected nDCG). This is the ranking reward of RL for a model that writes no text.

    Args:
        scores: (lists, n), of the model: logits of the first choice.
        gains: (lists, n), none below 0.
        mask: (lists, n) bool.
        k: the cut-off; only the first k choices count and are learnt from.
        samples: rankings drawn of each list, at least 2.
        generator: of the draws.
    """
    if samples < 2:
        raise BadInput(f"plackett_luce: the reward of a ranking is compared with others': samples >= 2, not {samples}")
    learns = _pairs(scores, gains, mask).any(dim=-1).any(dim=-1)
    logits, gains = _held(scores, mask, -_FAR), _held(gains, mask, 0.0)
    noise = scores.new_empty((samples, *scores.shape)).exponential_(generator=generator).clamp(min=1e-30).log()
    order = (logits.detach() - noise).argsort(dim=-1, descending=True)
    ranked = gains.expand(order.shape).gather(-1, order)
    places = order.new_ones(order.shape).cumsum(dim=-1) - 1
    reward = (ranked * _discount(places.to(scores.dtype), k)).sum(dim=-1) / _ideal(gains, k).clamp(min=1e-12)
    advantage = (reward - reward.mean(dim=0)) * samples / (samples - 1)
    chosen = logits.expand(order.shape).gather(-1, order)
    left = chosen.flip(-1).logcumsumexp(dim=-1).flip(-1)
    counts = (places < k) & (chosen > -_FAR / 2)
    likelihood = ((chosen - left) * counts.to(scores.dtype)).sum(dim=-1)
    return _mean(-(advantage * likelihood).mean(dim=0), learns)


def gppo(
    log_ratio: Tensor,
    advantages: Tensor,
    *,
    low: float = 0.2,
    high: float = 0.28,
    dual: float = 10.0,
    beta_low: float = 1.0,
    beta_high: float = 1.0,
) -> Tensor:
    """Klear's clip: PPO's values, but tokens beyond the clip keep a bounded gradient (GPPO, 2508.07629, 2025).

    With r the ratio of the new policy to the old, the loss of a token is max(−A·r, −A·c(r)), where c(r) has the value
    of r clipped to [1 − low, 1 + high] and the gradient of r scaled to it. For A < 0 it is at most −A·dual.

    Args:
        log_ratio: (…) log probability of each token under the new policy less that under the old.
        advantages: (…) of each token, or such that it can be broadcast.
        low: ε below 1.
        high: ε above 1.
        dual: bound on the ratio for A < 0.
        beta_low: factor for tokens with r < 1 − low and A < 0.
        beta_high: factor for tokens with r > 1 + high and A > 0.

    Returns:
        (…) the loss of each token.
    """
    ratio = log_ratio.clamp(max=_MOST).exp()
    fixed = ratio.detach()
    bounded = fixed.clamp(1 - low, 1 + high) * (log_ratio - log_ratio.detach()).exp()
    loss = (-advantages * ratio).maximum(-advantages * bounded)
    loss = loss.where(advantages >= 0, loss.minimum(-advantages * dual))
    below, above = (fixed < 1 - low) & (advantages < 0), (fixed > 1 + high) & (advantages > 0)
    return loss * (1 + (beta_low - 1) * below.to(loss.dtype) + (beta_high - 1) * above.to(loss.dtype))


_FAR = 3e4
"""So far below all scores that the softmax of it is 0; half precision has room for it."""

_MOST = 20.0
"""Log ratios above this count as this: their exponentials would overflow, and clips hold them anyway."""


def _shapes(scores: Tensor, gains: Tensor, mask: Tensor | None) -> None:
    if scores.dim() != 2 or gains.shape != scores.shape or (mask is not None and mask.shape != scores.shape):
        raise BadInput(
            f"scores, gains and mask are (lists, n) alike, not {tuple(scores.shape)}, {tuple(gains.shape)}"
            f"{'' if mask is None else f', {tuple(mask.shape)}'}"
        )


def _held(values: Tensor, mask: Tensor | None, other: float) -> Tensor:
    return values if mask is None else values.masked_fill(~mask, other)


def _pairs(scores: Tensor, gains: Tensor, mask: Tensor | None) -> Tensor:
    """(lists, n, n) bool: whether document i is better than document j."""
    _shapes(scores, gains, mask)
    better = gains[..., :, None] > gains[..., None, :]
    return better if mask is None else better & mask[..., :, None] & mask[..., None, :]


def _over_pairs(scores: Tensor, weights: Tensor) -> Tensor:
    """The mean of the logistic loss over weighted pairs, then over lists."""
    pairs = _softplus(scores[..., None, :] - scores[..., :, None])
    total = weights.sum(dim=(-2, -1))
    return _mean((pairs * weights).sum(dim=(-2, -1)) / total.clamp(min=1e-12), total > 0)


def _softplus(values: Tensor) -> Tensor:
    return values.logaddexp(values.new_zeros(()))


def _discount(places: Tensor, k: int) -> Tensor:
    """1 / log2(2 + place) for places from 0 below k, else 0."""
    return (places < k).to(places.dtype) / (places + 2).log2()


def _ideal(gains: Tensor, k: int) -> Tensor:
    """(lists,) DCG of the ideal order."""
    ordered = gains.sort(dim=-1, descending=True).values
    places = ordered.new_ones(ordered.shape).cumsum(dim=-1) - 1
    return (ordered * _discount(places, k)).sum(dim=-1)


def _mean(terms: Tensor, counts: Tensor) -> Tensor:
    """The mean of the terms that count; 0, with a gradient of 0, where none does."""
    counted = counts.to(terms.dtype)
    return (terms * counted).sum() / counted.sum().clamp(min=1)
