"""A budget instead of a strategy: at most so many calls for each query, spent as the simulator found best."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whyrank.fields import Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.around.compose import falling, onto
from whyrank.rerank.around.consensus import Consensus
from whyrank.rerank.base import LLMReranker, Order, Request
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default

STAGES: Mapping[int, tuple[tuple[str, int, int], ...]] = {
    1: (("window", 1, 20),),
    5: (("adaptive", 5, 60),),
    10: (("adaptive", 6, 100), ("shuffles", 4, 20)),
    20: (("adaptive", 8, 100), ("shuffles", 12, 20)),
    50: (("adaptive", 10, 100), ("shuffles", 20, 30)),
    100: (("adaptive", 10, 100), ("shuffles", 45, 30)),
}
"""By budget: what is asked in turn, in how many calls or shuffles, about how many of the best."""


@dataclass(frozen=True)
class Within(Strategy[Permutation]):
    """Spends at most `calls` model calls on a query, by the strategy that found most in simulation.

    There is a strategy for 1, 5, 10, 20, 50 and 100 calls; any other budget takes the next below. All show at most 20
    passages at a time, so that one format and one model serve them all, and rerank at most the first 100 candidates;
    the others stay below as they were.

    - 1: one window over the first 20.
    - 5: `adaptive` over the first 60, in 3 rounds.
    - 10, 20: `adaptive` over the first 100 in 6 or 8 calls, then the best 20 in 4 or 12 shuffles, all in one round
      (`consensus`).
    - 50, 100: `adaptive` in 10 calls, then the best 30 in 20 or 45 shuffles of two windows each.

    No promise of an exact top is made from 5 calls on: the strategies add up evidence from a model that errs, which is
    what they were chosen for. How, and what they gained where they were not chosen, stands in docs/simulate.md.

    Attributes:
        llm: the model.
        calls: the budget, at least 1.
        format: the prompt and how its answer is read: `ranking()` or `ranking(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: `calls` or `max_passage_tokens` below 1.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.around.within import Within
        >>> Within(Fake("[2] > [1]"), calls=5).stages
        ((adaptive(fake(answer='[2] > [1]'), calls=5, min_uncertain=2), 60),)
    """

    calls: Positive = 10
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    @property
    def stages(self) -> tuple[tuple[LLMReranker | Consensus, int], ...]:
        """The rerankers that the budget buys, and how many of the best each is shown."""
        told = STAGES[max(budget for budget in STAGES if budget <= self.calls)]
        return tuple((self._stage(kind, number), depth) for kind, number, depth in told)

    def _stage(self, kind: str, number: int) -> LLMReranker | Consensus:
        asked: dict[str, Any] = {
            "format": self.format, "sampling": self.sampling, "max_passage_tokens": self.max_passage_tokens
        }  # fmt: skip
        if kind == "adaptive":
            return Adaptive(self.llm, calls=number, min_uncertain=2, **asked)
        window = Listwise(self.llm, **asked)
        return window if kind == "window" else Consensus(window, shuffles=number)

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        """The stages in turn; `calls` tell by `place.stage`, from 0, whose they are."""
        request = asker.request
        order, scores = Order(tuple(range(len(request.documents)))), request.scores
        for stage, (reranker, depth) in enumerate(self.stages):
            shown = order.ranking[:depth]
            documents = tuple(request.documents[at] for at in shown)
            found = yield from reranker.plan(Request(request.query, documents, tuple(scores[: len(shown)])))
            order = onto(order, shown, found, stage)
            scores = falling(order)
        return order
