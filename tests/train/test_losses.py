"""Losses against their definitions, by hand or by enumeration; gradients point where they should."""

from collections.abc import Callable
from itertools import permutations
from math import exp, log, log2
from typing import Any

import pytest

from whyrank.errors import BadInput
from whyrank.eval.orders import ndcg
from whyrank.train.losses import _discount, _ideal, gppo, lambdarank, listmle, listnet, plackett_luce, ranknet

torch = pytest.importorskip("torch")

LISTWISE = [
    ranknet,
    lambda *given: ranknet(*given, weighted=True),
    lambdarank,
    listnet,
    listmle,
    lambda *given: plackett_luce(*given, samples=64, generator=torch.Generator().manual_seed(0)),
]
SCORES, GAINS = [[0.3, -1.0, 2.0, 0.5]], [[1.0, 0.0, 0.0, 2.0]]


def tensors(*given: Any) -> list[Any]:
    return [torch.tensor(one, dtype=torch.float64) for one in given]


def test_ranknet() -> None:
    pairs = [(3, 0, 1, 2), (3, 1, 1, 3), (3, 2, 1, 3), (0, 1, 2, 3), (0, 2, 2, 3)]  # better, worse, their places
    (row,) = SCORES
    each = [log(1 + exp(row[worse] - row[better])) for better, worse, *_ in pairs]
    assert ranknet(*tensors(SCORES, GAINS)).item() == pytest.approx(sum(each) / 5)
    weights = [1 / (one + two) for *_, one, two in pairs]
    weighted = sum(w * e for w, e in zip(weights, each, strict=True)) / sum(weights)
    assert ranknet(*tensors(SCORES, GAINS), weighted=True).item() == pytest.approx(weighted)


def test_lambdarank_weighs_by_the_change_of_ndcg() -> None:
    row, gains = SCORES[0], GAINS[0]
    order = sorted(range(4), key=lambda at: -row[at])
    total = 0.0
    for one in range(4):
        for two in range(4):
            if gains[one] > gains[two]:
                swapped = [two if at == one else one if at == two else at for at in order]
                change = ndcg([gains[at] for at in swapped], 2) - ndcg([gains[at] for at in order], 2)
                total += abs(change) * log(1 + exp(row[two] - row[one]))
    assert lambdarank(*tensors(SCORES, GAINS), k=2).item() == pytest.approx(total)


def test_listnet() -> None:
    scores, gains = tensors(SCORES, GAINS)
    wanted, given = torch.softmax(gains / 0.5, -1), torch.log_softmax(scores, -1)
    assert listnet(scores, gains, temperature=0.5).item() == pytest.approx(-(wanted * given).sum().item())


def test_listmle() -> None:
    row = SCORES[0]

    def chosen(at: int, among: list[int]) -> float:
        return log(sum(exp(row[other]) for other in among)) - row[at]

    ties = (chosen(3, [0, 1, 2, 3]) + chosen(0, [0, 1, 2])) / 2
    assert listmle(*tensors(SCORES, GAINS)).item() == pytest.approx(ties)
    strict = (chosen(3, [0, 1, 2, 3]) + chosen(0, [0, 1, 2]) + chosen(2, [1, 2])) / 3
    assert listmle(*tensors(SCORES, [[2.0, 0.0, 1.0, 3.0]])).item() == pytest.approx(strict)


def test_plackett_luce_estimates_the_gradient_of_expected_ndcg() -> None:
    (scores, gains), k = tensors(SCORES, GAINS), 2
    exact = scores.clone().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for order in permutations(range(4)):
        chance, left = torch.ones((), dtype=torch.float64), list(range(4))
        for at in order:
            chance = chance * exact[0, at].exp() / exact[0, left].exp().sum()
            left.remove(at)
        expected = expected + chance * ndcg([GAINS[0][at] for at in order], k)
    (-expected).backward()
    drawn = scores.clone().requires_grad_()
    many = 60_000
    lists = (drawn.expand(many, 4), gains.expand(many, 4))
    plackett_luce(*lists, k=k, samples=3, generator=torch.Generator().manual_seed(1)).backward()
    assert torch.allclose(drawn.grad, exact.grad, atol=3e-3), (drawn.grad, exact.grad)


@pytest.mark.parametrize("loss", LISTWISE)
def test_padding_and_hopeless_lists_change_nothing(loss: Callable[..., Any]) -> None:
    scores, gains = tensors([[0.3, -1.0, 2.0, 0.5, 9.0]], [[1.0, 0.0, 0.0, 2.0, 5.0]])
    mask = torch.tensor([[True] * 4 + [False]])
    if loss is LISTWISE[-1]:  # draws differ with the width
        scores = scores.clone().requires_grad_()
        loss(scores, gains, mask).backward()
        assert scores.grad[0, 4] == 0 and scores.grad[0, :4].abs().sum() > 0
    else:
        assert loss(scores, gains, mask).item() == pytest.approx(loss(*tensors(SCORES, GAINS)).item())
        two = tensors(SCORES * 2, [*GAINS, [1.0] * 4])
        assert loss(*two).item() == pytest.approx(loss(*tensors(SCORES, GAINS)).item())
    scores, gains = tensors(SCORES, [[0.0] * 4])
    nothing = loss(scores.requires_grad_(), gains)
    nothing.backward()
    assert nothing.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize("loss", LISTWISE)
def test_a_few_steps_order_the_list(loss: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    scores = torch.randn(8, 6, requires_grad=True)
    gains = torch.randint(0, 3, (8, 6)).float()
    mask = torch.rand(8, 6) < 0.9
    steps = torch.optim.Adam([scores], lr=0.1)

    def quality() -> float:
        ranked = gains.masked_fill(~mask, 0).gather(1, scores.detach().masked_fill(~mask, -99).argsort(1, True))
        return sum(ndcg(row, 6) for row in ranked.tolist() if any(row)) / sum(any(row) for row in ranked.tolist())

    before = quality()
    for _ in range(60):
        steps.zero_grad()
        loss(scores, gains, mask).backward()
        steps.step()
    assert before < 0.9 < 0.97 < quality()


def test_shapes_are_told() -> None:
    scores, gains = tensors(SCORES, [[1.0, 0.0]])
    with pytest.raises(BadInput, match=r"\(lists, n\) alike, not \(1, 4\), \(1, 2\)"):
        listnet(scores, gains)
    with pytest.raises(BadInput, match="samples >= 2"):
        plackett_luce(*tensors(SCORES, GAINS), samples=1)


def gppo_of(ratio: float, advantage: float, **named: float) -> tuple[float, float]:
    """The loss of one token, and its gradient by the log ratio."""
    given = torch.tensor([log(ratio)], dtype=torch.float64, requires_grad=True)
    loss = gppo(given, torch.tensor([advantage], dtype=torch.float64), **named)
    loss.sum().backward()
    return loss.item(), given.grad.item()


def test_gppo_has_the_values_of_ppo_and_keeps_gradients() -> None:
    assert gppo_of(1.1, 2.0) == pytest.approx((-2.2, -2.2))
    assert gppo_of(2.0, 1.0) == pytest.approx((-1.28, -1.28))  # PPO's gradient is 0 here
    assert gppo_of(0.5, 1.0) == pytest.approx((-0.5, -0.5))
    assert gppo_of(0.5, -1.0) == pytest.approx((0.8, 0.8))  # and here
    assert gppo_of(2.0, -1.0) == pytest.approx((2.0, 2.0))
    assert gppo_of(20.0, -1.0) == pytest.approx((10.0, 0.0))
    assert gppo_of(2.0, 1.0, beta_high=0.25) == pytest.approx((-0.32, -0.32))
    assert gppo_of(0.5, -1.0, beta_low=0.25) == pytest.approx((0.2, 0.2))
    assert gppo_of(2.0, -1.0, beta_low=0.25, beta_high=0.25) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_gppo_survives_any_ratio(advantage: float) -> None:
    given = torch.tensor([-500.0, -30.0, 30.0, 500.0], requires_grad=True)
    loss = gppo(given, torch.full((4,), advantage))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(given.grad).all()


@pytest.mark.parametrize("loss", LISTWISE[:5])
def test_half_precision_will_do(loss: Callable[..., Any]) -> None:
    scores, gains = (one.to(torch.bfloat16) for one in tensors(SCORES, GAINS))
    mask = torch.tensor([[True, True, False, True]])
    wanted = loss(*tensors(SCORES, GAINS), mask).item()
    assert loss(scores, gains, mask).item() == pytest.approx(wanted, rel=0.03)


def test_discount_is_that_of_ndcg() -> None:
    places = torch.arange(4, dtype=torch.float64)
    assert _discount(places, 2).tolist() == pytest.approx([1, 1 / log2(3), 0, 0])
    assert _ideal(torch.tensor([[0.0, 2.0, 1.0]], dtype=torch.float64), 2).item() == pytest.approx(2 + 1 / log2(3))
