"""What GRPO asks: which list comes when, in which order its documents are shown, and what was left out beforehand."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from whyrank.errors import BadInput
from whyrank.io import read_tasks
from whyrank.llm.answer import Ok
from whyrank.llm.chat import Chat, opens
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.formats import Format, PointFormat
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.rewrite.base import LLMRewriter, PassageRequest
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.train.config import GRPO
from whyrank.train.data import prompts
from whyrank.train.held_out import ranking_format
from whyrank.types import Dataset, Document, Query, RankTask


class Ask(Protocol):
    """What is asked of the model for one task."""

    several: int
    """How many prompts a draw gives."""

    @property
    def format(self) -> Format[Any] | None:
        """How the answer is read; None where it is taken as it stands."""

    def usable(self, task: RankTask) -> str:
        """Why nothing can be learnt from a task; empty where it can."""

    def shown(self, task: RankTask, lot: random.Random) -> list[RankTask]:
        """The tasks that one draw gives, `several` of them."""

    def prompts(self, task: RankTask) -> list[Prompt]:
        """What is asked about a task: one prompt about one as shown; before that, all that it may come to."""


class RankingPrompts:
    """The documents of a list are to be ranked, or graded one by one."""

    def __init__(self, format: str, config: GRPO, chat: Chat) -> None:
        """Take the format.

        Raises:
            BadInput: there is no such format, or it ranks no list.
        """
        self.format: Format[Any] = ranking_format(format)
        self._points = isinstance(self.format, PointFormat)
        self.several = 2 if self._points else 1
        self._chat, self._limit, self._shuffle = chat, config.max_passage_tokens, config.shuffle

    def usable(self, task: RankTask) -> str:
        """A list in which every order is as good as any other teaches nothing, a pair of two relevant ones neither."""
        if not task.relevant:
            return "nothing_relevant"
        if len(set(task.gains)) == 1:
            return "all_alike"
        return "all_relevant" if self._points and task.relevant == len(task.documents) else ""

    def shown(self, task: RankTask, lot: random.Random) -> list[RankTask]:
        """The list in a new order; for formats of one document, a relevant one and another."""
        if self._points:
            relevant = [one for one in task.documents if task.grades.get(one.id, 0) > 0]
            others = [one for one in task.documents if task.grades.get(one.id, 0) <= 0]
            return [_only(task, lot.choice(relevant)), _only(task, lot.choice(others))]
        documents = lot.sample(task.documents, len(task.documents)) if self._shuffle else task.documents
        return [replace(task, documents=tuple(documents), thought="")]

    def prompts(self, task: RankTask) -> list[Prompt]:
        """As inference would ask: about the list, or about each of its documents."""
        return prompts(self.format, task, self._chat, self._limit)


class RewritingPrompts:
    """The query is to be rewritten, so that an engine finds the task's relevant documents."""

    several, format = 1, None

    def __init__(self, config: GRPO) -> None:
        """Take the rewriter of `config.search`.

        Raises:
            BadInput: it is no `rewritten(…)` with a rewriter that asks a model once and takes the answer as it is, as
                rewards read it.
        """
        search = make(config.search, Retriever)
        if not (isinstance(search, Rewritten) and isinstance(search.rewriter, LLMRewriter)):
            raise BadInput(f"search: rewritten(…) with a rewriter that asks a model is wanted, not {config.search!r}")
        self.search, self.rewriter = search, search.rewriter
        if not _taken_whole(self.rewriter):
            raise BadInput(
                f"{self.rewriter!r} does not search for its model's one answer as it is, which is what rewards read: "
                "reasoned_query, hyde, query2doc and step_back do"
            )

    def usable(self, task: RankTask) -> str:
        """Something must be there to be found."""
        return "" if task.relevant else "nothing_relevant"

    def shown(self, task: RankTask, lot: random.Random) -> list[RankTask]:
        """The task as it is."""
        return [task]

    def prompts(self, task: RankTask) -> list[Prompt]:
        """What the rewriter asks first.

        Raises:
            BadInput: it asks for something else than one completion.
        """
        step = next(self.rewriter.plan(task.query))
        if not isinstance(step, list | tuple) or len(step) != 1:
            raise BadInput(f"{self.rewriter!r} begins with a search, or several prompts: it cannot be trained")
        return list(step)


def _taken_whole(rewriter: LLMRewriter) -> bool:
    """Whether the plan is one prompt, and its text the answer to it, tried on an answer of several lines and items."""
    walk, answer = rewriter.plan(Query("tried", "why?")), "Bees, wasps.\n- Ants."
    asked = next(walk, ())
    if isinstance(asked, PassageRequest) or len(asked) != 1:
        return False
    try:
        walk.send([Ok(answer)])
    except StopIteration as end:
        return bool(end.value.texts == (answer,))
    return False


def asks_of(config: GRPO, chat: Chat) -> tuple[Ask, ...]:
    """What is asked about each task: to rewrite its query, or to rank its documents, in each of the formats.

    Raises:
        BadInput: as `RewritingPrompts` and `RankingPrompts`; or the devices' batches do not hold whole draws.
    """
    if config.search:
        return (RewritingPrompts(config),)
    asks = tuple(RankingPrompts(format, config, chat) for format in config.formats)
    groups = config.loop.batch * config.loop.accumulation // config.generations
    several = sum(ask.several for ask in asks)
    if groups % several:
        raise BadInput(
            f"a step must hold whole draws on each device: batch × accumulation are {groups} groups of "
            f"{config.generations}, and {', '.join(config.formats)} takes {several} a draw"
        )
    return asks


def spec_of(format: Format[Any] | None) -> str:
    """How an answer is read, in the words that rows and figures go by; empty where it is taken as it stands."""
    return "" if format is None else repr(format)


class DrawnPrompt(NamedTuple):
    """One prompt of one draw.

    Attributes:
        prompt: what is asked.
        task: the list with its documents as the prompt shows them.
        opened: whether the chat template opens the thought, so that completions lack the tag.
        format: how the answer is read, see `spec_of`.
    """

    prompt: Prompt
    task: RankTask
    opened: bool
    format: str


class DrawnPrompts:
    """The prompts of a run by number, each the same whenever it is asked for, so that a resumed run sees the same.

    Attributes:
        counts: by file, the outcomes: "used", "too_long", "nothing_relevant", "all_alike"; for formats of one
            document also "all_relevant".
    """

    def __init__(self, config: GRPO, asks: Sequence[Ask], chat: Chat, positions: int | None) -> None:
        """Read the tasks, and leave out those that cannot be asked or from which nothing can be learnt.

        Raises:
            BadInput: a line cannot be read, or nothing is left.
            NotFound: no such file.
        """
        room = positions - config.max_completion if positions else None
        if room is not None and room < 1:
            raise BadInput(f"max_completion {config.max_completion} leaves no room in the model's {positions} tokens")
        self._longest = min((one for one in (config.max_prompt, room) if one), default=None)
        self._asks, self._chat, self._seed = asks, chat, config.seed
        self._places = [(ask, at) for ask in asks for at in range(ask.several)]
        self.counts: dict[str, dict[str, int]] = {}
        self._tasks = [task for path in config.tasks for task in self._usable(path)]
        if not self._tasks:
            raise BadInput(f"nothing can be learnt from {', '.join(config.tasks)}: {self.counts}")
        self.row = lru_cache(maxsize=64)(self._row)  # of the completions of a group each asks for it

    def _usable(self, path: str) -> Iterator[RankTask]:
        counts: Counter[str] = Counter()
        for task in read_tasks(path):
            refused = next(filter(None, (ask.usable(task) for ask in self._asks)), "")
            reason = refused or ("too_long" if self._too_long(task) else "used")
            counts[reason] += 1
            if reason == "used":
                yield task
        self.counts[path] = dict(counts)

    def _too_long(self, task: RankTask) -> bool:
        if self._longest is None:
            return False
        asked = (self._chat.render(prompt.chat) for ask in self._asks for prompt in ask.prompts(task))
        return any(len(self._chat.encode(text)) > self._longest for text in asked)

    def _row(self, number: int) -> DrawnPrompt:
        draw, place = divmod(number, len(self._places))
        ask, one = self._places[place]
        cycle, at = divmod(draw, len(self._tasks))
        task = self._tasks[_permutation(len(self._tasks), self._seed, cycle)[at]]
        shown = ask.shown(task, random.Random(f"{self._seed} {draw}"))[one]
        (prompt,) = ask.prompts(shown)
        return DrawnPrompt(prompt, shown, opens(self._chat.render(prompt.chat)), spec_of(ask.format))


def search_tasks(data: Dataset) -> Iterable[RankTask]:
    """The queries of a data set with the documents that should be found: what rewriters are trained on."""
    for query in data.queries:
        grades = {id: float(grade) for id, grade in data.qrels.get(query.id, {}).items() if grade > 0}
        documents = tuple(data.corpus[id] for id in grades if id in data.corpus)
        if documents:
            yield RankTask(query, documents, {one.id: grades[one.id] for one in documents}, (), "", {"data": data.name})


def _only(task: RankTask, document: Document) -> RankTask:
    grades = {document.id: task.grades[document.id]} if document.id in task.grades else {}
    return RankTask(task.query, (document,), grades, source=task.source)


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, cycle: int) -> list[int]:
    return random.Random(f"{seed} {cycle} {n}").sample(range(n), n)
