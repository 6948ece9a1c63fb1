"""Groupwise reranking: shuffled groups of passages are scored side by side, all at once."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from whyrank.fields import NotNegative, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, GroupScoresFormat, Scores
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default


@dataclass(frozen=True)
class Groupwise(Strategy[Scores]):
    """Scores the candidates from 0 to 10 in shuffled groups, `repeats` times; the mean decides, then the first stage.

    For n candidates it asks `repeats` · ⌈n / group⌉ times in one round: 10 times for 100 at the defaults. Scores that
    could not be read are asked for again, in new groups, for at most `retries` more rounds; the other repeats
    make up for what is still missing, and a candidate without any score gets the mean of its nearest neighbours in the
    first stage that have one. If the model scores rightly, the order is exactly that of the scores, equal
    ones as the first stage had them: eleven grades do not tell a hundred passages apart.

    Source: GroupRank (2511.11653, 2025), without its fusion with the first stage's scores, and without its zero for a
    group that could not be read.

    Attributes:
        llm: the model.
        repeats: how many times each candidate is scored, each time in another group.
        group: how many passages are shown at a time, at most; groups of one ranking differ by at most one.
        retries: how many rounds may be spent on scores that could not be read.
        seed: of the lots, which depend on nothing else but the query.
        format: the prompt and how its answer is read: `group_scores()` or `group_scores(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a size below 1, or `retries` below 0.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.strategies.groupwise import Groupwise
        >>> llm = Fake('{"1": 5, "2": 5}')
        >>> [item.score for item in Groupwise(llm).rank("why do bees dance?", ["Bees make honey.", "It tells where."])]
        [5.0, 5.0]
    """

    repeats: Positive = 2
    group: Positive = 20
    retries: NotNegative = 1
    seed: int = 0
    format: Format[Scores] = field(default_factory=by_default(GroupScoresFormat), kw_only=True)

    def unit(self, score: float) -> float:
        """The share of 10, the highest score."""
        return score / 10

    def _plan(self, asker: Asker[Scores]) -> Plan[Order]:
        n = asker.n
        if n < 2:
            return Order(tuple(range(n)))
        lot = random.Random(f"{self.seed} {asker.request.query.text}")
        samples: list[list[float]] = [[] for _ in range(n)]
        wanted = [list(range(n)) for _ in range(self.repeats)]
        for attempt in range(self.retries + 1):
            dealt = [_deal(some, self.group, lot) for some in wanted]
            groups = [group for several in dealt for group in several]
            draws = [attempt * self.repeats + repeat for repeat, several in enumerate(dealt) for _ in several]
            answers = yield from asker.ask(groups, draws)
            read = [
                (at, score)
                for group, answer in zip(groups, answers, strict=True)
                for at, score in zip(group, answer.scores, strict=True)
            ]
            for at, score in read:
                if not math.isnan(score):
                    samples[at].append(score)
            missing = [self.repeats - len(scores) for scores in samples]
            wanted = [[at for at in range(n) if missing[at] > repeat] for repeat in range(max(missing))]
        scores = [sum(some) / len(some) if some else math.nan for some in samples]
        filled = imputed(scores)
        return asker.order(sorted(range(n), key=lambda at: (-filled[at], at)), scores)


def imputed(scores: Sequence[float]) -> list[float]:
    """Scores in first-stage order, where each that is missing (NaN) becomes the mean of its nearest known neighbours.

    Examples:
        >>> imputed([math.nan, 8.0, math.nan, 4.0])
        [8.0, 8.0, 6.0, 4.0]
    """
    known = [at for at, score in enumerate(scores) if not math.isnan(score)]
    if not known:
        return [0.0] * len(scores)
    filled = list(scores)
    for at in set(range(len(scores))) - set(known):
        above = [scores[other] for other in known if other < at][-1:]
        below = [scores[other] for other in known if other > at][:1]
        filled[at] = sum(above + below) / len(above + below)
    return filled


def _deal(candidates: Sequence[int], size: int, lot: random.Random) -> list[list[int]]:
    """The candidates shuffled into groups of at most `size`, as even as can be."""
    shuffled = lot.sample(candidates, len(candidates))
    count = -(-len(shuffled) // size)
    return [shuffled[number::count] for number in range(count)]
