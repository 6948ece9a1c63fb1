"""The model as it stands, asked as in inference: lists that are never trained on, read by the parsers of reranking."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from whyrank.errors import BadInput
from whyrank.eval.measures import depth, parse_measures
from whyrank.eval.score import report_of
from whyrank.io import read_tasks
from whyrank.llm.answer import Completion
from whyrank.llm.ask import Question, ask
from whyrank.llm.chat import Chat
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import drive
from whyrank.llm.transformers import Transformers, _Model
from whyrank.registry import make
from whyrank.rerank.formats import Choice, Ends, Format, Permutation, Preferred, Scores, read
from whyrank.retrieval.rewrite import outcomes
from whyrank.retrieval.rewrite.base import LLMRewriter
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.train.config import HeldOut
from whyrank.train.data import questions
from whyrank.types import CallReport, Qrels, RankTask, Run


@dataclass(frozen=True)
class Live(Transformers):
    """A model that is being trained, as an engine; see `speaking`."""

    network: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def _model(self) -> _Model:
        return _Model(self)

    @property
    def _positions(self) -> int | None:
        return getattr(self.network.config, "max_position_embeddings", None)

    def _from_pretrained(self, kind: str, **options: Any) -> Any:
        return self.network  # the chat is given, so that nothing else is asked for


@contextmanager
def speaking(network: Any, chat: Chat, batch: int = 32) -> Iterator[LLM]:
    """`network` (a transformers model in training) as an engine; afterwards it is as it was."""
    training, settings = network.training, network.generation_config
    llm = Live("in training", batch=batch, device=str(network.device), network=network)
    object.__setattr__(llm, "chat", chat)
    try:
        yield llm
    finally:
        network.generation_config = settings
        network.train(training)


class HeldOutLists:
    """RankTasks that measure a model."""

    def __init__(self, config: HeldOut, chat: Chat, format: str = "ranking()", max_passage_tokens: int = 512) -> None:
        """Read the tasks and write their prompts.

        Args:
            config: what is asked for.
            chat: of the model.
            format: that of the prompts where `config` names none.
            max_passage_tokens: longer passages are cut to this.

        Raises:
            BadInput: a line cannot be read, no list has anything relevant, or the format does not rank a list.
            NotFound: no such file.
        """
        self._config = config
        self._format = ranking_format(config.format or format)
        tasks = list(islice(read_tasks(config.tasks), config.limit or None))
        self._tasks = [task for task in tasks if task.relevant]
        if not self._tasks:
            raise BadInput(f"{config.tasks}: none of the {len(tasks)} lists has a relevant document to measure by")
        self._questions = [
            [_greedy(one, config.max_tokens) for one in questions(self._format, task, chat, max_passage_tokens)]
            for task in self._tasks
        ]

    def __len__(self) -> int:
        """How many lists there are."""
        return len(self._tasks)

    def measure(self, llm: LLM) -> dict[str, float]:
        """How well `llm` ranks them: the measure, shares of answers well formed and cut off, tokens of thought."""
        said = drive({str(number): ask(asked) for number, asked in enumerate(self._questions)}, llm)
        rankings, measured = {}, {}
        for (number, answers), task in zip(said.items(), self._tasks, strict=True):
            order = order_of([one.answer for one in answers], len(task.documents))
            rankings[number], measured[number] = [task.documents[at].id for at in order], grades(task)
        report = report_of(Run.of(rankings), measured, [self._config.measure])
        calls = [one.report for answers in said.values() for one in answers]
        return {
            self._config.measure: next(iter(report.means.values())),
            "well_formed": sum(call.status == "exact" for call in calls) / len(calls),
            "cut_off": sum(call.finish == "length" for call in calls) / len(calls),
            "thought_tokens": sum(call.usage.reasoning for call in calls) / len(calls),
            "failed": sum(call.status == "failed" for call in calls) / len(calls),
        }


class HeldOutSearches:
    """Queries that measure a rewriter: rewritten by the model and searched, as `rewritten(…)` does in inference."""

    def __init__(self, config: HeldOut, search: Rewritten) -> None:
        """Read the tasks; `search` says how it is asked and what is searched.

        Raises:
            BadInput: a line cannot be read, there is nothing to find, the rewriter asks no model, or no measure is
                called so.
            NotFound: no such file.
        """
        tasks = [task for task in islice(read_tasks(config.tasks), config.limit or None) if task.relevant]
        if not tasks:
            raise BadInput(f"{config.tasks}: no query has a relevant document to measure by")
        if not isinstance(search.rewriter, LLMRewriter):
            raise BadInput(f"{search.rewriter!r} asks no model: there is nothing to measure")
        self._config, self._search, self._rewriter = config, search, search.rewriter
        self._queries = [task.query for task in tasks]
        self._k = max(depth(parse_measures(config.measure).values()) or 1000, 100)
        self._qrels = Qrels({task.query.id: grades(task) for task in tasks})

    def measure(self, llm: LLM) -> dict[str, float]:
        """The measure of what is found, and the share of queries that were rewritten as asked."""
        rewriter = replace(self._rewriter, llm=llm, sampling=Sampling(max_tokens=self._config.max_tokens))
        run = replace(self._search, rewriter=rewriter).search(self._queries, self._k)
        done = outcomes(run)
        report = report_of(run, self._qrels, [self._config.measure])
        return {
            self._config.measure: next(iter(report.means.values())),
            "well_formed": done.get("rewritten", 0) / max(sum(done.values()), 1),
        }


def ranking_format(spec: str) -> Format[Any]:
    """The format of a spec, if its answers rank a list.

    Raises:
        BadInput: there is no such format, or it compares two passages.
    """
    format: Format[Any] = make(spec, Format)
    if isinstance(format.nothing(2), Preferred):
        raise BadInput(
            f"format: {spec} compares two passages and ranks no list: take one that orders, scores, grades or chooses, "
            "such as ranking(), group_scores(), rubric() or choice()"
        )
    return format


def ranked(format: Format[Any], completions: Sequence[Completion], n: int) -> tuple[list[int], list[CallReport]]:
    """The order of n documents as shown, best first, that the answer (or for point formats, answers) give; the reports.

    What an answer leaves open stays in the order shown; documents without a score go last.
    """
    shown = n if len(completions) == 1 else 1
    read_all = [read(format, completion, shown) for completion in completions]
    return order_of([answer for answer, _ in read_all], n), [report for _, report in read_all]


def order_of(answers: Sequence[Any], n: int) -> list[int]:
    """The order of n documents that one answer about all of them gives, or n answers about one each."""
    first = answers[0]
    if isinstance(first, Permutation):
        return list(first.permutation)
    if isinstance(first, Choice):
        return sorted(range(n), key=lambda at: at != first.best)
    if isinstance(first, Ends):
        return sorted(range(n), key=lambda at: (at == first.worst) - (at == first.best))
    scores = first.scores if isinstance(first, Scores) else [answer.score for answer in answers]
    return sorted(range(n), key=lambda at: math.inf if math.isnan(scores[at]) else -scores[at])


def grades(task: RankTask) -> dict[str, int]:
    """Grades as whole numbers, which evaluation wants; fractions are scaled, to which nDCG is blind."""
    scale = 1 if all(float(grade).is_integer() for grade in task.grades.values()) else 1000
    return {id: round(grade * scale) for id, grade in task.grades.items()}


def _greedy(question: Question[Any], max_tokens: int) -> Question[Any]:
    """A question asked without chance; a bound of the format's own stands where it is the lower one."""
    drawn = question.prompt.sampling
    most = max_tokens if drawn.max_tokens == Sampling().max_tokens else min(drawn.max_tokens, max_tokens)
    sampling = replace(drawn, temperature=0.0, max_tokens=most)
    return replace(question, prompt=replace(question.prompt, sampling=sampling))
