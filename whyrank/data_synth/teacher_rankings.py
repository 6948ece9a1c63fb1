"""Teacher rankings with thought, kept where the teacher's order agrees with what it says of the passages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from whyrank.data_synth.base import LLMSynth, Made
from whyrank.data_synth.teacher import about, commonest, fault, sampled, sourced
from whyrank.eval.orders import ndcg
from whyrank.fields import Positive, Share
from whyrank.llm.ask import Said
from whyrank.llm.schedule import Plan
from whyrank.renamed import renamed
from whyrank.rerank.formats import Format, GroupScoresFormat, Permutation, RankingFormat, Scores
from whyrank.types import RankTask


@renamed(least="min_ndcg")
@dataclass(frozen=True)
class TeacherRankings(LLMSynth):
    """A teacher orders each list and thinks; kept are orders that agree with its labels (ReasonRank, 2508.07050, 2025).

    Where the task's source has an "answer", the teacher first sees it and scores the passages in its light: these
    labels become the grades. Otherwise the grades that the task brings are the labels. The teacher then ranks the list
    *without* the answer, and what it wrote is kept if nDCG of its order by the labels is at least `min_ndcg`.

    Attributes:
        llm: the teacher.
        format: how it is asked to rank; the thought is in its words.
        labels: how it is asked to label.
        relevant: labels from this score on are relevant, with grade 1; others get 0.
        min_ndcg: the lowest nDCG that is kept.
        k: its cut-off.
        samples: how many orders are drawn; the best is kept, of equals that with the shortest thought.
    """

    format: Format[Permutation] = field(default_factory=RankingFormat)
    labels: Format[Scores] = field(default_factory=GroupScoresFormat)
    relevant: float = 5.0
    min_ndcg: Share = 0.4
    k: Positive = 10
    samples: Positive = 1

    def plan(self, task: RankTask) -> Plan[Made]:
        """One call for the labels where there is an answer, then one for each draw of the order."""
        if len(task.documents) < 2:
            return Made(dropped={"too_short": 1})
        labelled: list[Said[Scores]] = []
        grades: Mapping[str, float] = task.grades
        if answer := str(task.source.get("answer", "")).strip():
            told = f"{task.query.text}\n\nThe right answer is known: {answer}"
            ((first,),) = yield from sampled([about(self.labels, told, task.documents, self)])
            labelled = [first]
            if first.status != "exact":
                return Made(dropped={f"labels {first.status}": 1}, calls=(first.report,))
            grades = self._grades(task, first.answer)
        if not any(grade > 0 for grade in grades.values()):
            return Made(dropped={"nothing_relevant": 1}, calls=tuple(one.report for one in labelled))
        (said,) = yield from sampled([about(self.format, task.query.text, task.documents, self)], self.samples)
        calls = tuple(one.report for one in [*labelled, *said])
        return replace(self._kept(replace(task, grades=grades), labelled, said), calls=calls)

    def _grades(self, task: RankTask, scores: Scores) -> dict[str, float]:
        pairs = zip(task.documents, scores.scores, strict=True)
        return {document.id: float(score >= self.relevant) for document, score in pairs}

    def _kept(self, task: RankTask, labelled: Sequence[Said[Scores]], said: Sequence[Said[Permutation]]) -> Made:
        reasons, kept = [], []
        for one in said:
            value = agreement(task.gains, one.answer.permutation, self.k)
            reason = fault(one, self.format, len(task.documents)) or ("inconsistent" if value < self.min_ndcg else "")
            reasons.append(reason)
            if not reason:
                kept.append((-value, len(one.thought), one))
        if not kept:
            return Made(dropped=commonest(reasons))
        value, _, best = min(kept, key=lambda entry: entry[:2])
        order = tuple(task.documents[at].id for at in best.answer.permutation)
        found: dict[str, object] = {"ndcg": round(-value, 6)}
        if labelled:
            found["labels"] = list(labelled[0].answer.scores)
        source = sourced(task, self, [*labelled, best], **found) | ({"scale": 1.0} if labelled else {})
        return Made((replace(task, order=order, thought=best.thought, source=source),))


def agreement(gains: Sequence[float], permutation: Sequence[int], k: int = 10) -> float:
    """How good an order is by labels, as nDCG: `gains` as shown, `permutation` best first.

    Examples:
        >>> agreement([0, 1], [1, 0])
        1.0
    """
    return ndcg([gains[at] for at in permutation], k)
