"""Rewards for rewritten queries: what the text is worth to an embedding, or to a search engine in the loop.

The answer without its thought is the text, as for rewriters that take it as it is (`reasoned_query`, `hyde`,
`query2doc`, `step_back`), and it is searched as `rewritten(…)` searches, with the combine policy of the reward. A
task's documents with a grade above 0 are what should be found; their ids are those of the collection.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import BiEncoder, bi_encoder
from whyrank.errors import BadInput
from whyrank.eval.measures import parse_measures, values
from whyrank.eval.orders import dcg
from whyrank.fields import Positive
from whyrank.llm.answer import Ok
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite.base import Find, Rewriter, Rewriting, read
from whyrank.retrieval.rewrite.combine import Append, Combine
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.train.rewards.base import Reward, Value
from whyrank.types import Query, RankTask, Run


def rewritten_text(completion: Ok) -> str:
    """The rewritten query that a completion gives, without its thought; empty where there is none or it was cut off."""
    texts, report = read(completion)
    return texts[0] if texts and report.status != "truncated" else ""


@dataclass(frozen=True)
class RewriteReward(Reward):
    """A reward for a rewritten query; −1 without one, and None for a task in which nothing is relevant."""

    malformed: ClassVar[float] = -1.0

    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        texts = [rewritten_text(one) for one in completions]
        found: list[Value] = [self.malformed if task.relevant else None for task in tasks]
        asked = [at for at, (text, task) in enumerate(zip(texts, tasks, strict=True)) if text and task.relevant]
        if asked:
            worth = self._worth([texts[at] for at in asked], [tasks[at] for at in asked])
            for at, value in zip(asked, worth, strict=True):
                found[at] = float(value)
        return found

    @abstractmethod
    def _worth(self, texts: Sequence[str], tasks: Sequence[RankTask]) -> Sequence[float]:
        """(n,) what each text is worth; n at least 1, no text empty, something relevant in each task."""


@dataclass(frozen=True)
class EmbeddingGain(RewriteReward):
    """scale · mean over relevant documents of cos(rewritten, d) − cos(query, d) (TongSearch-QR, 2506.11603, 2025).

    Attributes:
        model: the bi-encoder, "minilm", a folder or a name of the hub; it reads the beginning of long texts only.
        scale: 10 in the paper.
        batch_size: texts per batch of the engine.
        device: such as "cuda:1"; None takes the GPU where there is one.
    """

    model: str
    _: KW_ONLY
    scale: float = 10.0
    batch_size: Positive = 32
    device: str | None = None

    def _worth(self, texts: Sequence[str], tasks: Sequence[RankTask]) -> Sequence[float]:
        encoder: BiEncoder = bi_encoder(
            self.model, device=self.device, max_length=None, trust_remote_code=False, asked_by=name_of(type(self))
        )
        sought = [
            [one.content for one, gain in zip(task.documents, task.gains, strict=True) if gain > 0] for task in tasks
        ]
        queries = list(dict.fromkeys([*texts, *(task.query.text for task in tasks)]))
        documents = list(dict.fromkeys(text for several in sought for text in several))
        query = dict(zip(queries, encoder.encode(queries, "query", batch_size=self.batch_size), strict=True))
        document = dict(zip(documents, encoder.encode(documents, "document", batch_size=self.batch_size), strict=True))
        return [
            self.scale * cosine_gain(query[text], query[task.query.text], np.stack([document[one] for one in several]))
            for text, task, several in zip(texts, tasks, sought, strict=True)
        ]


def cosine_gain(new: NDArray[np.float32], old: NDArray[np.float32], documents: NDArray[np.float32]) -> float:
    """How much nearer `new` is to the documents than `old`, in mean cosine; all vectors of length 1.

    Examples:
        >>> cosine_gain(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.6, 0.8]])).__round__(3)
        0.4
    """
    return float((documents @ (new - old)).mean())


@dataclass(frozen=True)
class _Given(Rewriter):
    """Texts that are there already, by query id."""

    texts: Mapping[str, str]
    reads: ClassVar[bool] = False

    def _rewrite(self, queries: Sequence[Query], find: Find, trace: Trace | None) -> Mapping[str, Rewriting]:
        return {query.id: Rewriting((self.texts[query.id],)) for query in queries}


@dataclass(frozen=True)
class SearchReward(RewriteReward):
    """A reward with a search engine in the loop: the rewritten query is searched for as `rewritten(…)` would.

    The texts of a batch are searched for together, and each original query once.

    Attributes:
        retriever: the engine, with its index: `bm25(path='index')`.
        combine: how the text goes together with the query.
        k: how many documents count.
    """

    retriever: Retriever
    _: KW_ONLY
    combine: Combine = field(default_factory=Append)
    k: Positive = 10

    def _worth(self, texts: Sequence[str], tasks: Sequence[RankTask]) -> Sequence[float]:
        queries = {task.query.id: task.query for task in tasks}
        before = self.retriever.search(list(queries.values()), self._depth)
        asked = [replace(task.query, id=str(at)) for at, task in enumerate(tasks)]
        given = _Given({str(at): text for at, text in enumerate(texts)})
        after = Rewritten(self.retriever, given, combine=self.combine).search(asked, self._depth)
        return self._compare(texts, tasks, before, after)

    @property
    def _depth(self) -> int:
        return self.k

    @abstractmethod
    def _compare(self, texts: Sequence[str], tasks: Sequence[RankTask], before: Run, after: Run) -> Sequence[float]:
        """(n,) the worth of each text; `before` has the query ids of the tasks, `after` their places as text."""


@dataclass(frozen=True)
class EngineGain(SearchReward):
    """α·relevance + β·coverage − δ·repetition, as the engine answers (in the manner of LESER, 2509.05570, 2025).

    Relevance is nDCG at `k` of the rewritten query's results, coverage the share of the relevant documents that it
    brings among the first `reach` and the query alone did not, repetition the share of its words that repeat one of
    its own. LESER's own formula is not published; this one is ours.

    Attributes:
        relevance: α.
        coverage: β.
        repetition: δ.
        reach: how deep coverage looks.
    """

    relevance: float = 1.0
    coverage: float = 0.5
    repetition: float = 0.1
    reach: Positive = 100

    @property
    def _depth(self) -> int:
        return max(self.k, self.reach)

    def _compare(self, texts: Sequence[str], tasks: Sequence[RankTask], before: Run, after: Run) -> Sequence[float]:
        return [
            self.relevance * _ndcg(after[str(at)].ids, task, self.k)
            + self.coverage * self._new(after[str(at)].ids, before[task.query.id].ids, task)
            - self.repetition * repeated(text)
            for at, (text, task) in enumerate(zip(texts, tasks, strict=True))
        ]

    def _new(self, now: Sequence[str], then: Sequence[str], task: RankTask) -> float:
        brought = _sought(task) & set(now[: self.reach]) - set(then[: self.reach])
        return len(brought) / task.relevant


@dataclass(frozen=True)
class NewDocuments(SearchReward):
    """The share of the first k results that the query alone did not bring: SmartSearch's rule (2601.04888, 2026)."""

    def _compare(self, texts: Sequence[str], tasks: Sequence[RankTask], before: Run, after: Run) -> Sequence[float]:
        return [len(set(after[str(at)].ids) - set(before[task.query.id].ids)) / self.k for at, task in enumerate(tasks)]


@dataclass(frozen=True)
class OnTarget(SearchReward):
    """1 where the first k results hold a relevant document, else 0.

    Stands where SmartSearch (2601.04888, 2026) asks a model whether a query was to the point: here the grades say so.
    """

    def _compare(self, texts: Sequence[str], tasks: Sequence[RankTask], before: Run, after: Run) -> Sequence[float]:
        return [float(bool(_sought(task) & set(after[str(at)].ids))) for at, task in enumerate(tasks)]


@dataclass(frozen=True)
class MeasureGain(SearchReward):
    """A measure of the rewritten query's results less that of the query's own, clipped to −1 to 1.

    Attributes:
        measure: as `evaluate` takes it, such as "nDCG@10" or "R@100"; grades must be whole numbers.
        k: how many documents are searched for; make it the measure's cut-off.
    """

    measure: str = "nDCG@10"

    def _compare(self, texts: Sequence[str], tasks: Sequence[RankTask], before: Run, after: Run) -> Sequence[float]:
        parsed = parse_measures(self.measure)
        then = _measured(parsed, before, {task.query.id: task for task in tasks})
        now = _measured(parsed, after, {str(at): task for at, task in enumerate(tasks)})
        gains = [now.get(str(at), 0.0) - then.get(task.query.id, 0.0) for at, task in enumerate(tasks)]
        return [min(max(gain, -1.0), 1.0) for gain in gains]


def repeated(text: str) -> float:
    """The share of a text's words that repeat an earlier one, letter case aside; 0 for no words.

    Examples:
        >>> repeated("bees Bees dance bees")
        0.5
    """
    words = text.lower().split()
    return 1 - len(set(words)) / len(words) if words else 0.0


def _measured(parsed: Mapping[str, object], run: Run, tasks: Mapping[str, RankTask]) -> dict[str, float]:
    """The measure's value by query id; queries that found nothing have none."""
    qrels = {id: _whole(task) for id, task in tasks.items()}
    answered = run.only({id for id in run if len(run[id].ids)})
    return {query: value for _, query, value in values(parsed, answered, qrels)}


def _whole(task: RankTask) -> dict[str, int]:
    if wrong := [grade for grade in task.grades.values() if grade != int(grade)]:
        raise BadInput(f"task {task.query.id!r} has the grade {wrong[0]}: measure_gain takes whole numbers")
    return {id: int(grade) for id, grade in task.grades.items()}


def _ndcg(ids: Sequence[str], task: RankTask, k: int) -> float:
    """What nDCG says of results that may lack some of the task's documents."""
    gains = {id: max(grade, 0.0) for id, grade in task.grades.items()}
    return dcg([gains.get(id, 0.0) for id in ids], k) / dcg(sorted(gains.values(), reverse=True), k)


def _sought(task: RankTask) -> set[str]:
    return {id for id, grade in task.grades.items() if grade > 0}
