"""Top-down partitioning: one passage of the first window is the pivot that all others must beat to go on."""

from dataclasses import dataclass, field
from typing import Annotated

from whyrank.errors import BadInput
from whyrank.fields import AtLeast, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategy import Asker, Strategy, ordered
from whyrank.rerank.templates.published import by_default


@dataclass(frozen=True)
class TopDown(Strategy[Permutation]):
    """Orders the first window, takes its k-th as the pivot, and asks at once which of the others beat it.

    What beats the pivot is ordered together with the k - 1 above it, in the same way where it is more than a window.
    If the model orders each window rightly, the top k is exactly right, and all where n <= window. For n candidates
    it asks once for n <= window; where the first stage already has the best k in its first window, 1 + ⌈(n - window) /
    (window - 1)⌉ times in 2 rounds (6 calls for 100); else there are more rounds, as many as it takes for the pivot to
    be beaten by less than a window. With a
    perfect model behind a first stage that errs as much as it knows (Gaussian noise of the size of the signal) it takes
    7.1 calls in 3.1 rounds on average for 100, 11 calls in 6.1 rounds (at most 16 in 9) behind a random order.

    Source: TDPart (2405.14589, 2024).

    Attributes:
        llm: the model.
        window: how many passages are shown at a time, at least 2.
        k: how many of the best are found, 1 to `window - 1`; None is half the window.
        format: the prompt and how its answer is read: `ranking()` or `ranking(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: `window` below 2, `k` outside 1 to `window - 1`, or `max_passage_tokens` below 1.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.strategies.top_down import TopDown
        >>> TopDown(Fake("[2] > [1]"), window=10)
        top_down(fake(answer='[2] > [1]'), window=10)
    """

    window: Annotated[int, AtLeast(2)] = 20
    k: Positive | None = None
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to compare."""
        if self.pivot >= self.window:
            raise BadInput(f"top_down: k must be from 1 to {self.window - 1}, less than the window, not {self.k}")

    @property
    def pivot(self) -> int:
        """Which rank of the first window the pivot has, from 1, also where that is left to the window."""
        return self.window // 2 if self.k is None else self.k

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        going = list(range(asker.n))
        beaten: list[int] = []
        while len(going) > self.window:
            (first,) = yield from ordered(asker, [going[: self.window]])
            pivot, others = first[self.pivot - 1], going[self.window :]
            size = self.window - 1
            blocks = [[pivot, *others[start : start + size]] for start in range(0, len(others), size)]
            found = yield from ordered(asker, blocks)
            above = sorted(at for block in found for at in block[: block.index(pivot)])
            below = sorted(at for block in found for at in block[block.index(pivot) + 1 :])
            beaten = [pivot, *first[self.pivot :], *below, *beaten]
            going = [*first[: self.pivot - 1], *above]
            if not above:
                return asker.order([*going, *beaten])
        (last,) = yield from ordered(asker, [going])
        return asker.order([*last, *beaten])
