"""Labels for groups: one teacher scores each passage, and orders all of them; both ranks make the label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from whyrank.data_synth.base import LLMSynth, Made
from whyrank.data_synth.teacher import about, commonest, sampled, sourced
from whyrank.data_synth.teacher_rankings import agreement
from whyrank.fields import Positive, Share
from whyrank.llm.ask import Question
from whyrank.llm.schedule import Plan
from whyrank.renamed import renamed
from whyrank.rerank.formats import Format, Permutation, PointFormat, RankingFormat, Rubric
from whyrank.types import RankTask


@renamed(least="min_ndcg")
@dataclass(frozen=True)
class GroupLabels(LLMSynth):
    """Grades from two views of one teacher: S = −½ log rank_point − ½ log rank_list (GroupRank, 2511.11653, 2025).

    The grades are 1 + S / log n, from 1 (first in both) to 0 (last in both): gains that nDCG can take; the order is by
    falling grade, equals as the list has them. Lists whose own grades the labels contradict are dropped.

    Attributes:
        llm: the teacher.
        points: how passages are scored: one at a time (`rubric()`) or all in one call (`group_scores()`).
        order: how they are ordered.
        weight: of rank_point; rank_list has the rest.
        min_ndcg: where the task brings grades, the lowest nDCG of the labels' order by them.
        k: its cut-off.
    """

    points: Format[Any] = field(default_factory=Rubric)
    order: Format[Permutation] = field(default_factory=RankingFormat)
    weight: Share = 0.5
    min_ndcg: Share = 0.4
    k: Positive = 10

    def plan(self, task: RankTask) -> Plan[Made]:
        """All calls in one round."""
        n = len(task.documents)
        if n < 2:
            return Made(dropped={"too_short": 1})
        single = isinstance(self.points, PointFormat)
        groups = [[document] for document in task.documents] if single else [list(task.documents)]
        questions: list[Question[Any]] = [about(self.points, task.query.text, group, self) for group in groups]
        said = yield from sampled([*questions, about(self.order, task.query.text, task.documents, self)])
        flat = [one for (one,) in said]
        calls = tuple(one.report for one in flat)
        if faults := [one.status for one in flat if one.status != "exact"]:
            return Made(dropped=commonest(faults), calls=calls)
        scores = [one.answer.score for one in flat[:-1]] if single else list(flat[0].answer.scores)
        labels = combined(scores, flat[-1].answer.permutation, self.weight)
        order = sorted(range(n), key=lambda at: (-labels[at], flat[-1].answer.permutation.index(at)))
        known = agreement(task.gains, order, self.k) if task.relevant else None
        if known is not None and known < self.min_ndcg:
            return Made(dropped={"inconsistent": 1}, calls=calls)
        grades = {one.id: max(0.0, 1 + label / math.log(n)) for one, label in zip(task.documents, labels, strict=True)}
        found = {"labels": labels, **({} if known is None else {"ndcg": round(known, 6), "judged": dict(task.grades)})}
        source = sourced(task, self, flat, **found) | {"scale": 1.0}
        ids = tuple(task.documents[at].id for at in order)
        return Made((replace(task, grades=grades, order=ids, thought=flat[-1].thought, source=source),), calls=calls)


def combined(scores: Sequence[float], permutation: Sequence[int], weight: float = 0.5) -> list[float]:
    """(n,) S = −weight · log rank_point − (1 − weight) · log rank_list, from −log n to 0.

    Args:
        scores: (n,) of each passage as shown; equals share the mean of their ranks.
        permutation: of range(n), best first.
        weight: of the scores.

    Examples:
        >>> [round(label, 3) for label in combined([9, 1, 5], [2, 0, 1])]
        [-0.347, -1.099, -0.347]
    """
    by_score = rankdata(-np.asarray(scores, dtype=np.float64))
    by_order = np.empty(len(scores))
    by_order[list(permutation)] = np.arange(1, len(scores) + 1)
    labels = -weight * np.log(by_score) - (1 - weight) * np.log(by_order)
    return [float(label) + 0.0 for label in labels]
