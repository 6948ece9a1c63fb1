"""Trajectories for scoring models: of several thoughts about one passage, that whose score is closest to the mean."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from whyrank.data_synth.base import Item, LLMSynth, Made
from whyrank.data_synth.teacher import about, fault, sampled, sourced, top
from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.llm.ask import Said
from whyrank.llm.budget import count
from whyrank.llm.schedule import Plan
from whyrank.rerank.formats import Graded, PointFormat, Rubric
from whyrank.types import Document, RankTask


@dataclass(frozen=True)
class Trajectories(LLMSynth):
    """Several drawn judgements of each pair; the one closest to their mean is what a model should learn.

    Each query and document gives one task, a list of one, with the thought and the score of the judgement that was kept
    as grade; its source has the format's `scale`, the `mean` and all `scores`. Judgements with too long a thought count
    in the mean but are not kept. Sources: Retro* (2509.24869, 2025: 8 samples, at most 512 tokens) and ERank
    (2509.00520, 2025: 3 samples, at most 2048 tokens).

    Attributes:
        llm: the teacher.
        format: how it is asked to judge.
        samples: how many judgements of each pair.
        readable: the fewest of them that must be readable.
        longest: the most tokens a thought may have.
    """

    format: PointFormat = field(default_factory=Rubric)
    samples: Positive = 8
    readable: Positive = 2
    longest: Positive = 512

    def __post_init__(self) -> None:
        """Refuse what can keep nothing."""
        if self.readable > self.samples:
            raise BadInput(f"trajectories: of {self.samples} samples {self.readable} cannot be readable")

    def plan(self, task: RankTask) -> Plan[Made]:
        """All samples of all documents in one round."""
        questions = [about(self.format, task.query.text, [document], self) for document in task.documents]
        judged = yield from sampled(questions, self.samples)
        items: list[Item] = []
        dropped: Counter[str] = Counter()
        for document, said in zip(task.documents, judged, strict=True):
            made = self._kept(task, document, said)
            if isinstance(made, str):
                dropped[made] += 1
            else:
                items.append(made)
        return Made(tuple(items), dropped, tuple(one.report for said in judged for one in said))

    def _kept(self, task: RankTask, document: Document, said: Sequence[Said[Graded]]) -> RankTask | str:
        tokenizer = self.llm.tokenizer()
        sound = [one for one in said if not fault(one, self.format, 1)]
        if len(sound) < self.readable:
            return "unreadable"
        scores = [one.answer.score for one in sound]
        lengths = [count(one.thought, tokenizer) for one in sound]
        at = closest(scores, [length <= self.longest for length in lengths], lengths)
        if at is None:
            return "too_long"
        known = {"judged": task.grades[document.id]} if document.id in task.grades else {}
        source = sourced(task, self, [sound[at]], mean=round(fmean(scores), 6), scores=scores, **known)
        source |= {"scale": top(self.format)}
        return RankTask(task.query, (document,), {document.id: scores[at]}, (), sound[at].thought, source)


def closest(scores: Sequence[float], allowed: Sequence[bool], lengths: Sequence[int]) -> int | None:
    """Which allowed score is closest to the mean of all; of equals the shortest, then the first; None if none is.

    Examples:
        >>> closest([0, 50, 100], [True, True, True], [9, 9, 9]), closest([0, 50, 100], [True, False, True], [9, 9, 5])
        (1, 2)
    """
    mean = fmean(scores) if scores else math.nan
    open = [at for at, keep in enumerate(allowed) if keep]
    return min(open, key=lambda at: (round(abs(scores[at] - mean), 9), lengths[at], at), default=None)
