"""Listwise reranking with a sliding window: the model orders some passages at a time, from the end to the front."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from whyrank.errors import BadInput
from whyrank.fields import AtLeast, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategy import Asker, Strategy, ordered
from whyrank.rerank.templates.published import by_default
from whyrank.types import Place


@dataclass(frozen=True)
class Listwise(Strategy[Permutation]):
    """Slides a window from the worst candidates to the best; the model orders each window, the best move on up.

    One pass puts the best `window - stride` documents exactly right if the model orders each window rightly, each
    further pass as many more. For n candidates a pass asks the model, one call after another, 0 times for n <= 1, once
    for n <= window, and else 1 + ceil((n - window) / stride) times: 9 times for 100. Passes end early where one changed
    nothing. The windows of different queries are asked at once.

    Sources: RankGPT (2304.09542, 2023) for the window, ReasonRank (2508.07050, 2025) for thinking before ordering.

    Attributes:
        llm: the model.
        window: how many passages are shown at a time, at least 2.
        stride: how far the window moves, 1 to `window`; None is half the window, 10 for a window of 20.
        format: the prompt and how its answer is read: `ranking()` or `ranking(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend, such as
            `sampling(temperature=0.6, top_p=0.95, top_k=20)` for Qwen3.
        max_passage_tokens: longer passages are cut to this; ReasonRank shows 512 on BRIGHT and 100 on TREC DL and BEIR.
        passes: how often the whole list is gone through, each time in the order that the last pass left.

    Raises:
        BadInput: `window` below 2, `stride` outside 1 to `window`, `max_passage_tokens` or `passes` below 1.

    Examples:
        >>> from whyrank import Fake, Listwise
        >>> Listwise(Fake("[2] > [1]"), window=10)
        listwise(fake(answer='[2] > [1]'), window=10)
    """

    window: Annotated[int, AtLeast(2)] = 20
    stride: Positive | None = None
    passes: Positive = 1
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse windows that would show a document to nobody."""
        if self.step > self.window:
            raise BadInput(f"listwise: stride must be from 1 to the window of {self.window}, not {self.stride}")

    @property
    def step(self) -> int:
        """The stride in passages, also where it is left to the window."""
        return self.window // 2 if self.stride is None else self.stride

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        order = list(range(asker.n))
        for number in range(self.passes):
            before = list(order)
            for start, end in windows(asker.n, self.window, self.step):
                place = Place(window=(start, end), sweep=number if self.passes > 1 else None)
                (order[start:end],) = yield from ordered(asker, [order[start:end]], [place])
            if order == before:
                break
        return asker.order(order)


def windows(n: int, window: int, stride: int) -> Iterator[tuple[int, int]]:
    """The windows [start, end) over n ranks, from the last to the first; nothing where there is nothing to order.

    Examples:
        >>> list(windows(35, window=20, stride=10))
        [(15, 35), (5, 25), (0, 15)]
    """
    end = n
    while n > 1:
        yield max(0, end - window), end
        if end <= window:
            return
        end = max(end - stride, 2)  # the last window holds at least two
