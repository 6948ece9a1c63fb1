"""Tournaments: candidates meet in groups, the better ones go on and score, and the points of several are summed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from whyrank.fields import AtLeast, Positive
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.strategy import Asker, Strategy, ordered
from whyrank.rerank.templates.published import by_default


@dataclass(frozen=True)
class Tournament(Strategy[Permutation]):
    """Stages of 100, 50, 20, 10, 5 and 2 candidates: who goes on from a group gets a point; points decide.

    For 100 candidates one tournament is TourRank's: 13 calls in 5 rounds. For any other n the stages are the numbers 2,
    5, 10, 20, 50, … up to half of n (more where fewer than two of a group would go on); a stage that keeps less than
    half of its candidates, if they are more than a window, has groups of half a window. All tournaments go on abreast,
    so `repeats` multiplies the calls and leaves the rounds. Equal points are parted by the places in the last groups,
    where TourRank falls back to the input order.

    If the model orders each group rightly, the best two are exactly right, and all where n <= window: more is
    not promised, but the points of several tournaments add up evidence against a model that errs.

    Source: TourRank (2406.11678, 2024).

    Attributes:
        llm: the model.
        repeats: how many tournaments, at least 1; from the second on groups are drawn by lot.
        window: how many passages are shown at a time, at least 6.
        seed: of the lots, which depend on nothing else but the query.
        format: the prompt and how its answer is read: `ranking()` or `ranking(think='no')`.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a size that is too small.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.rerank.strategies.tournament import Tournament
        >>> Tournament(Fake("[2] > [1]"), repeats=2)
        tournament(fake(answer='[2] > [1]'), repeats=2)
    """

    repeats: Positive = 1
    window: Annotated[int, AtLeast(6)] = 20
    seed: int = 0
    format: Format[Permutation] = field(default_factory=by_default(RankingFormat), kw_only=True)

    def _plan(self, asker: Asker[Permutation]) -> Plan[Order]:
        n = asker.n
        lots = [random.Random(f"{self.seed} {repeat} {asker.request.query.text}") for repeat in range(self.repeats)]
        fields = [list(range(n)) for _ in lots]
        points, places = [0] * n, [[0.0] * n for _ in lots]
        for goal, size in stages(n, self.window):
            drawn = [
                _draw(field, size, lot if repeat else None)
                for repeat, (field, lot) in enumerate(zip(fields, lots, strict=True))
            ]
            groups = iter((yield from ordered(asker, [group for groups in drawn for group in groups])))
            for repeat, several in enumerate(drawn):
                fields[repeat] = []
                for number in range(len(several)):
                    group = next(groups)
                    share = goal // len(several) + (number < goal % len(several))
                    fields[repeat] += group[:share]
                    for place, at in enumerate(group):
                        points[at] += place < share
                        places[repeat][at] = place / len(group)
                fields[repeat].sort()
        key = [(-points[at], sum(place[at] for place in places), at) for at in range(n)]
        return asker.order(sorted(range(n), key=key.__getitem__))


def stages(n: int, window: int) -> list[tuple[int, int]]:
    """For each stage of a tournament of n: how many go on, and how many a group has at most.

    Examples:
        >>> stages(100, 20)
        [(50, 20), (20, 10), (10, 20), (5, 20), (2, 20)]
    """
    found: list[tuple[int, int]] = []
    while n > 2 or (n == 2 and not found):
        goal = max((step for step in _steps(n) if 2 * step <= n), default=1)
        goal = 1 if n < 4 else max(goal, 2)
        size = window if n <= window or 2 * goal >= n else window // 2
        goal = max(goal, 2 * -(-n // size)) if n > window else goal
        found.append((goal, size))
        n = goal
    return found


def _steps(n: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, … up to n."""
    return [digit * 10**power for power in range(len(str(n))) for digit in (1, 2, 5) if digit * 10**power <= n]


def _draw(field: Sequence[int], size: int, lot: random.Random | None) -> list[list[int]]:
    """Groups of at most `size`, each with as many from every part of the ranking; by lot where there is one."""
    count = -(-len(field) // size)
    groups: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, len(field), count):
        some = list(field[start : start + count])
        if lot:
            lot.shuffle(some)
        for group, at in zip(groups, some, strict=False):
            group.append(at)
    if lot:
        for group in groups:
            lot.shuffle(group)
    return groups
