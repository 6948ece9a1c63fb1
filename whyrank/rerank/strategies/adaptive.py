"""Adaptive reranking: calls go to the documents of which it is not yet known whether they belong to the top."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from whyrank.fields import Above, AtLeast, Below, NotNegative, Positive
from whyrank.llm.schedule import Plan
from whyrank.renamed import renamed
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategies.beliefs import Beliefs
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default


@renamed(settled="min_uncertain")
@dataclass(frozen=True)
class Adaptive(Strategy[Permutation]):
    """Believes a Gaussian of each candidate and orders the uncertain ones until the cap is reached (AcuRank).

    The first round orders all candidates in windows; each further round those whose probability to be among the first k
    is neither below `tolerance` nor above 1 - `tolerance`, in windows again, those nearest to ½ where the cap does not
    allow for all. When fewer than `min_uncertain` are uncertain, or one call is left, the best are ordered once more
    and the beliefs give the order.

    For n <= window it asks once; else at most `calls` times, for 100 candidates 9 calls, mostly in 3 rounds. It
    promises no exact top: even a comparator that never errs has not seen all candidates side by side. In simulation
    it finds .95 of the best 5 of 100 with such a comparator (a sliding window of as many calls: all of them), but .84
    (.75), .77 (.58) and .61 (.47) under noise of .06, .12 and .2, where .15 is the first stage's own. An unreadable
    answer changes no belief, and passages that an answer does not name count as not shown.

    Source: AcuRank (2505.18512, 2025); updates as in TrueSkill (Herbrich, Minka and Graepel 2006).

    Attributes:
        llm: the model.
        k: how many of the best matter.
        calls: the cap for each query.
        window: how many passages are shown at a time, at least 2.
        tolerance: what counts as certain, above 0 and below ½.
        min_uncertain: with fewer uncertain candidates than this it ends.
        format: the prompt and how its answer is read.
        sampling: how completions are drawn.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a number out of range.
    """

    k: Positive = 10
    calls: Positive = 9
    window: Annotated[int, AtLeast(2)] = 20
    tolerance: Annotated[float, Above(0), Below(0.5)] = 0.01
    min_uncertain: NotNegative = 10
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        beliefs, everyone = Beliefs(asker.request.scores), range(asker.n)
        if asker.n <= self.window:
            orders = yield from self._ask(asker, [list(everyone)] if asker.n > 1 else [], beliefs)
            return asker.order(orders[0] if orders else everyone)
        uncertain: Sequence[int] = everyone
        while len(asker.calls) < self.calls - 1 and len(uncertain) >= max(self.min_uncertain, 2):
            yield from self._ask(asker, self._blocks(beliefs, uncertain, self.calls - 1 - len(asker.calls)), beliefs)
            uncertain = self._uncertain(beliefs)
        yield from self._ask(asker, [_best(beliefs, everyone)[: self.window]], beliefs)
        return asker.order(_best(beliefs, everyone), beliefs.mean.tolist())

    def _uncertain(self, beliefs: Beliefs) -> list[int]:
        """Those that may or may not be among the first k, the most doubtful first."""
        chance = beliefs.among(self.k)
        doubtful = np.flatnonzero((chance > self.tolerance) & (chance < 1 - self.tolerance)).tolist()
        return sorted(doubtful, key=lambda at: abs(chance[at] - 0.5))

    def _blocks(self, beliefs: Beliefs, asked: Sequence[int], most: int) -> list[list[int]]:
        """Windows of like size over as many of `asked` as `most` windows hold, the best believed first."""
        count = min(-(-len(asked) // self.window), most)
        best = np.array(_best(beliefs, asked[: count * self.window]))
        return [block.tolist() for block in np.array_split(best, count) if len(block) > 1]

    def _ask(
        self, asker: Asker[Permutation], blocks: Sequence[Sequence[int]], beliefs: Beliefs
    ) -> Plan[list[list[int]]]:
        """Order each block, all in one round, and believe the answers; the orders, of all documents shown."""
        orders = []
        for block, parsed in zip(blocks, (yield from asker.ask(blocks)), strict=True):
            orders.append([block[place] for place in parsed.permutation])
            beliefs.update(orders[-1][: len(block) - parsed.missing])
        return orders


def _best(beliefs: Beliefs, whom: Sequence[int]) -> list[int]:
    """`whom` by falling expectation; equals by the first stage."""
    return sorted(whom, key=lambda at: (-beliefs.mean[at], at))
