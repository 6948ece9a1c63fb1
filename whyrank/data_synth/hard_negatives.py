"""Hard negatives from any retriever: what it ranks high for a query and does not help to answer it."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from whyrank.data_synth.base import Made, Synth, distinct
from whyrank.data_synth.hard_queries import level
from whyrank.data_synth.teacher import about, sampled, sourced
from whyrank.errors import BadInput
from whyrank.fields import Length, Positive
from whyrank.llm.ask import Said
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.rerank.formats import PointFormat, Rubric
from whyrank.retrieval.base import Retriever
from whyrank.types import Dataset, Document, Ranking, RankTask


@dataclass(frozen=True)
class HardNegatives(Synth):
    """Adds documents that a retriever finds for the query, and that nobody calls relevant, to its relevant ones.

    A band `(first, last, n)` takes n documents at random from those ranks: ReasonIR takes BM25's from rank 20 on
    (2504.20595, 2025); ERank 10 of rank 1–10, 5 of 11–100 and 5 of 101–1000 (2509.00520, 2025). Left out are documents
    with a grade above 0, in the task or in the collection's judgements; those that the retriever scores above `margin`
    times its score of the best relevant document (NV-Retriever, 2407.15831, 2024; where it found none, or none above 0,
    this filter stands aside); and those that a teacher calls relevant, or could not be asked about. The list is
    shuffled, so that places tell nothing.

    Attributes:
        retriever: any, over the collection that is handed in.
        bands: ranks from, to, and how many to take from them.
        margin: see above, such as 0.95; None is no such filter.
        teacher: a model that is asked about each candidate, or None.
        format: how it is asked.
        accept: from this share of the format's scale on a document counts as relevant.
        seed: of what is taken from the bands, and of the shuffle.
        sampling: how the teacher is asked.
        max_passage_tokens: longer passages are cut to this.
    """

    apart: ClassVar[bool] = True

    retriever: Retriever
    bands: Annotated[tuple[tuple[Positive, Positive, Positive], ...], Length(1)] = ((20, 100, 10),)
    margin: float | None = None
    teacher: LLM | None = None
    format: PointFormat = field(default_factory=lambda: Rubric(think="no"))
    accept: float = 0.4
    seed: int = 0
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=64), kw_only=True)
    max_passage_tokens: Positive = field(default=512, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse bands that overlap."""
        last = 0
        for first, end, _ in self.bands:
            if not last < first <= end:
                raise BadInput(f"hard_negatives: bands must rise and not overlap, but {self.bands}")
            last = end

    @property
    def llm(self) -> LLM:
        """The teacher, where there is one."""
        if self.teacher is None:
            raise BadInput("hard_negatives: no teacher was given")
        return self.teacher

    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        if not len(corpus := data.corpus):
            raise BadInput("hard_negatives searches a collection: give its data set")
        keys = distinct(task.query.id for task in tasks)
        excluded = {query.id: query.excluded for query in data.queries}
        asked = [
            replace(task.query, id=key, excluded=task.query.excluded | excluded.get(task.query.id, frozenset()))
            for key, task in zip(keys, tasks, strict=True)
        ]
        run = self.retriever.ready(corpus).search(asked, self.bands[-1][1], trace)
        found = [self.candidates(task, run[key], data) for key, task in zip(keys, tasks, strict=True)]
        verdicts: Mapping[str, list[Said[Any]]] = {}
        if self.teacher is not None:
            plans = {
                key: self._judge(task, [one for band in bands for one in band])
                for key, task, (bands, _) in zip(keys, tasks, found, strict=True)
            }
            verdicts = drive(plans, self.teacher, trace)
        return [
            self._made(task, bands, counts, verdicts.get(key, []))
            for key, task, (bands, counts) in zip(keys, tasks, found, strict=True)
        ]

    def candidates(self, task: RankTask, ranking: Ranking, data: Dataset) -> tuple[list[list[Document]], Counter[str]]:
        """What each band may take, in random order, and what the filters left out; tasks without positives get none."""
        counts: Counter[str] = Counter()
        if not task.relevant:
            return [[] for _ in self.bands], counts
        scores = dict(zip(ranking.ids, ranking.scores.tolist(), strict=True))
        judged = {**data.qrels.get(task.query.id, {}), **task.grades}
        relevant = {id for id, grade in judged.items() if grade > 0}
        best = max((scores[id] for id in relevant if id in scores), default=None)
        limit = self.margin * best if self.margin is not None and best is not None and best > 0 else None
        draw = random.Random(f"{self.seed} {task.query.id}")
        bands = []
        for first, last, _ in self.bands:
            pool = []
            for id in ranking.ids[first - 1 : last]:
                if id in relevant:
                    counts["relevant"] += 1
                elif limit is not None and scores[id] > limit:
                    counts["above_margin"] += 1
                else:
                    pool.append(data.corpus[id])
            draw.shuffle(pool)
            bands.append(pool)
        return bands, counts

    def _judge(self, task: RankTask, documents: Sequence[Document]) -> Plan[list[Said[Any]]]:
        judged = yield from sampled([about(self.format, task.query.text, [one], self) for one in documents])
        return [said for (said,) in judged]

    def _made(self, task: RankTask, bands: list[list[Document]], counts: Counter[str], said: list[Said[Any]]) -> Made:
        calls = tuple(one.report for one in said)
        if not task.relevant:
            return Made(dropped={"nothing_relevant": 1})
        verdicts, taken = iter(said), list[Document]()
        for (_, _, n), pool in zip(self.bands, bands, strict=True):
            kept = [one for one in pool if not self.teacher or self._helps_not(next(verdicts), counts)]
            taken += kept[:n]
        if not taken:
            return Made(dropped={"no_negatives": 1}, calls=calls, counts=counts)
        documents = [one for one in task.documents if task.grades.get(one.id, 0) > 0] + taken
        random.Random(f"{self.seed} {task.query.id} order").shuffle(documents)
        grades = {one.id: task.grades.get(one.id, 0.0) for one in documents}
        source = sourced(task, self, said, negatives=[one.id for one in taken])
        made = replace(task, documents=tuple(documents), grades=grades, order=(), thought="", source=source)
        return Made((made,), calls=calls, counts=counts | {"negatives": len(taken)})

    def _helps_not(self, verdict: Said[Any], counts: Counter[str]) -> bool:
        if verdict.status not in ("exact", "repaired"):
            counts[f"teacher {verdict.status}"] += 1
            return False
        helps = level(verdict, self.format) >= self.accept
        counts["teacher_relevant"] += helps
        return not helps
