"""Rewards for grades: of a group of passages side by side, or of one passage, compared with other completions.

A grade that cannot be read is no grade: it is never taken for 0, and it earns no more than the worst that can be read.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.eval.orders import dcg, jensen_shannon, shared
from whyrank.fields import Positive, Share
from whyrank.llm.answer import Ok
from whyrank.registry import name_of
from whyrank.rerank.formats import Format, Graded, GroupScoresFormat, Rubric, Scores
from whyrank.train.rewards.base import Each, Reward, Value, groups, kept, same_prompt
from whyrank.types import RankTask


@dataclass(frozen=True)
class GroupRank(Each):
    """nDCG + .2 recall + .1 (1 − JS) of scores from 0 to 10 against the grades (GroupRank, 2511.11653, 2025).

    JS is the Jensen–Shannon divergence, in bits, of scores and grades, each scaled to sum to 1. Passages with the same
    score share their gains, so that scoring all alike earns what chance does. Scores that are not exactly one for each
    passage earn −.1, a completion without thought or tags −.5. None where nothing is relevant.

    Attributes:
        recall: weight of recall at k.
        spread: weight of 1 − JS.
        k: cut-off of nDCG and recall.
        format: the format that the prompts were rendered with.
    """

    wrong: ClassVar[float] = -0.1
    malformed: ClassVar[float] = -0.5

    recall: float = 0.2
    spread: float = 0.1
    k: Positive = 10
    _: KW_ONLY
    format: Format[Scores] = field(default_factory=GroupScoresFormat)

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if not task.relevant:
            return None
        given = self.format.parse(completion, len(task.documents))
        if not kept(self.format, completion) or given.status == "truncated":
            return self.malformed
        if given.status != "exact":
            return self.wrong
        gains = [max(gain, 0.0) for gain in task.gains]
        best, hits = shared(gains, given.scores), shared([float(gain > 0) for gain in gains], given.scores)
        found = sum(hits[: self.k]) / task.relevant
        like = 1 - jensen_shannon(given.scores, gains)
        return _tied_ndcg(best, gains, self.k) + self.recall * found + self.spread * like


def _tied_ndcg(ranked: Sequence[float], gains: Sequence[float], k: int) -> float:
    return min(dcg(ranked, k) / dcg(sorted(gains, reverse=True), k), 1.0)


@dataclass(frozen=True)
class GradeReward(Reward):
    """A reward for grades of one passage that are compared with those of other completions for the same query.

    The batch must hold all completions of a query, its relevant and its other passages.

    Attributes:
        format: the format that the prompts were rendered with.
    """

    grouped: ClassVar[bool] = True

    _: KW_ONLY
    format: Format[Graded]

    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        name = name_of(type(self))
        for task in tasks:
            if len(task.documents) != 1:
                raise BadInput(f"task {task.query.id!r} shows {len(task.documents)} passages: {name} is for one")
        scores = np.array([self._grade(one) for one in completions], dtype=np.float64)
        values = np.zeros(len(tasks))
        for query, members in groups(tasks, lambda task: task.query.id).items():
            positive = np.array([tasks[at].relevant > 0 for at in members])
            if positive.all() or not positive.any():
                kind = "relevant" if positive.any() else "other"
                raise BadInput(
                    f"query {query!r} has only {kind} passages in this batch: {name} compares both, so put the "
                    "completions of a query's passages into one batch"
                )
            asked = {key: at for at, key in enumerate(dict.fromkeys(same_prompt(tasks[at]) for at in members))}
            prompts = np.array([asked[same_prompt(tasks[at])] for at in members])
            values[members] = self._judge(scores[members], positive, prompts)
        return [float(value) for value in values]

    def _grade(self, completion: Ok) -> float:
        given = self.format.parse(completion, 1)
        return given.score if given.status == "exact" and kept(self.format, completion) else math.nan

    @abstractmethod
    def _judge(
        self,
        scores: NDArray[np.float64],
        positive: NDArray[np.bool_],
        prompts: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        """(m,) the rewards of all completions of one query.

        Args:
            scores: (m,) the grades, NaN where none stands as it was asked for.
            positive: (m,) whether the passage is relevant.
            prompts: (m,) equal for completions of the same prompt.
        """


@dataclass(frozen=True)
class RetroStar(GradeReward):
    """Retro*: near the mean of its own samples, above the irrelevant and below the relevant (2509.24869, 2025).

    R = α·R_intra + (1 − α)·R_inter. Of the completions of one prompt, those closest to their mean grade have R_intra 1
    and those furthest −1, if the furthest is at least τ away. R_inter is the share of the other kind's grades that lie
    on the right side; equal ones do not. No grade: −α, the least that a grade can earn.

    Attributes:
        alpha: α.
        tau: τ, in points of the rubric.
        format: the format that the prompts were rendered with.
    """

    alpha: Share = 0.75
    tau: float = 20.0
    _: KW_ONLY
    format: Format[Graded] = field(default_factory=Rubric)

    def _judge(
        self,
        scores: NDArray[np.float64],
        positive: NDArray[np.bool_],
        prompts: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        near = np.zeros(len(scores))
        for prompt in np.unique(prompts):
            near[prompts == prompt] = intra(scores[prompts == prompt], self.tau)
        total = self.alpha * near + (1 - self.alpha) * inter(scores, positive)
        return np.where(np.isnan(scores), -self.alpha, total)


def intra(scores: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    """(m,) 1 for the grades closest to their mean, −1 for the furthest, if those are at least `tau` away; else 0.

    NaN counts for nothing and has 0; where all are equally far, all have 0.

    Examples:
        >>> intra(np.array([80.0, 70.0, 20.0]), 20).tolist()
        [0.0, 1.0, -1.0]
    """
    values = np.zeros(len(scores))
    read = ~np.isnan(scores)
    if read.any():
        gaps = np.abs(scores[read] - scores[read].mean())
        if gaps.max() >= tau and gaps.max() > gaps.min():
            values[read] = (gaps == gaps.min()).astype(float) - (gaps == gaps.max())
    return values


def inter(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(m,) for each grade the share of the other kind's grades on its right side; NaN is never on it.

    Examples:
        >>> inter(np.array([80.0, 30.0, 40.0, 10.0]), np.array([True, True, False, False])).tolist()
        [1.0, 0.5, 0.5, 1.0]
    """
    below = scores[None, :] < scores[:, None]
    right = np.where(positive[:, None], below & ~positive, below.T & positive)
    others = np.array([(np.isfinite(scores) & (positive != kind)).sum() for kind in positive])
    return np.asarray(right.sum(axis=1) / np.maximum(others, 1))


@dataclass(frozen=True)
class ERank(GradeReward):
    """ERank's reciprocal rank: a relevant passage earns 1 / its rank among all grades of the query (2509.00520, 2025).

    One that is not relevant but graded above a relevant one earns `penalty`; else −(s / top)². The paper measures that
    from the grade that the fine-tuned model gave at the start, here it is from 0. Its constants for the penalty, the
    slope and a missing grade are not known to us: those here are ours.

    Attributes:
        penalty: for a passage that is not relevant and stands above one that is.
        missing: without a grade.
        ties: what rank equal grades have: "max" the last of their places, so that grading all alike earns little;
            "min" the first, as in the paper.
        format: the format that the prompts were rendered with.
    """

    penalty: float = -1.0
    missing: float = -2.0
    ties: Literal["max", "min"] = "max"
    _: KW_ONLY
    format: Rubric = field(default_factory=lambda: Rubric(top=10))

    def __post_init__(self) -> None:
        """Refuse constants by which a worse answer would earn more."""
        super().__post_init__()
        if not self.missing <= self.penalty <= 0:
            raise BadInput(f"erank: missing <= penalty <= 0 must hold, not {self.missing}, {self.penalty}")

    def _judge(
        self,
        scores: NDArray[np.float64],
        positive: NDArray[np.bool_],
        prompts: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        read = np.where(np.isnan(scores), -np.inf, scores)
        above = (read[None, :] > read[:, None]).sum(axis=1)
        level = (read[None, :] == read[:, None]).sum(axis=1)
        rank = above + (level if self.ties == "max" else 1)
        lowest = np.min(scores[positive & ~np.isnan(scores)], initial=np.inf)
        low = np.maximum(-((scores / self.format.top) ** 2), self.penalty)
        other = np.where(scores > lowest, self.penalty, low)
        return np.where(np.isnan(scores), self.missing, np.where(positive, 1 / rank, other))
