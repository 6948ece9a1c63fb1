"""Many lists of one query: random draws of its candidates, without those that teach nothing."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from whyrank.data_synth.base import Made, Synth
from whyrank.data_synth.teacher import sourced
from whyrank.eval.orders import ndcg
from whyrank.fields import AtLeast, Positive, Share
from whyrank.llm.trace import Trace
from whyrank.renamed import renamed
from whyrank.types import Dataset, RankTask


@renamed(times="per_query", least="min_ndcg")
@dataclass(frozen=True)
class Draws(Synth):
    """Draws `size` candidates again and again, in first-stage order, as REARANK does (2505.20046, 2025).

    Dropped are draws in which nothing is relevant, those whose order as shown is so bad that the first stage must have
    missed the point (`min_ndcg`), those that are ideal as they stand, and those that came before. A list that is no
    longer than `size` is drawn once.

    Attributes:
        per_query: how many draws of each query.
        size: how many candidates a draw has.
        min_ndcg: the lowest nDCG of the order as shown.
        k: its cut-off.
        seed: of the draws, with the id of the query.
    """

    apart: ClassVar[bool] = True

    per_query: Positive = 50
    size: Annotated[int, AtLeast(2)] = 20
    min_ndcg: Share = 0.1
    k: Positive = 10
    seed: int = 0

    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        return map(self._drawn, tasks)

    def _drawn(self, task: RankTask) -> Made:
        draw, seen = random.Random(f"{self.seed} {task.query.id}"), set[tuple[int, ...]]()
        made, dropped = [], Counter[str]()
        n = len(task.documents)
        for number in range(self.per_query if n > self.size else 1):
            places = tuple(sorted(draw.sample(range(n), min(self.size, n))))
            gains = [task.gains[at] for at in places]
            if reason := "repeated" if places in seen else useless(gains, self.min_ndcg, self.k):
                dropped[reason] += 1
                continue
            seen.add(places)
            documents = tuple(task.documents[at] for at in places)
            grades = {one.id: task.grades[one.id] for one in documents if one.id in task.grades}
            source = sourced(task, self, draw=number, ndcg=round(ndcg(gains, self.k), 6))
            made.append(replace(task, documents=documents, grades=grades, order=(), thought="", source=source))
        return Made(tuple(made), dropped)


def useless(gains: Sequence[float], least: float = 0.1, k: int = 10) -> str:
    """Why a list, with these gains as shown, teaches nothing: "nothing_relevant", "hopeless", "ideal", or empty.

    Examples:
        >>> useless([0, 1, 0]), useless([1, 0]), useless([0, 0])
        ('', 'ideal', 'nothing_relevant')
    """
    if not any(gain > 0 for gain in gains):
        return "nothing_relevant"
    now = ndcg(gains, k)
    return "hopeless" if now < least else "ideal" if now >= 1 - 1e-9 else ""
