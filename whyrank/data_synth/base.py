"""What every method of synthesis is: tasks in, better or more tasks out, and a reason for each that is dropped.

A method takes lists to rank and makes training data of them: other lists, an order with a thought, pairs of completions
of which one is better. So methods chain: the tasks that one writes are what the next reads. Those that ask a teacher
write a plan for one task; the scheduler runs the plans of all tasks at once, and the trace resumes them.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part, name_of
from whyrank.types import CallReport, Dataset, RankTask


@dataclass(frozen=True, slots=True)
class Preference:
    """Two completions of one prompt, of which the first is better.

    Attributes:
        prompt: the chat, as `Prompt.chat` has it.
        chosen: the better completion.
        rejected: the other.
        source: where it comes from, as in `RankTask`.
    """

    prompt: tuple[Mapping[str, str], ...]
    chosen: Ok
    rejected: Ok
    source: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The pair as a line of TRL's conversational preference data; a thought stands in `<think>`."""
        both = {"chosen": [_turn(self.chosen)], "rejected": [_turn(self.rejected)]}
        return {"prompt": [dict(turn) for turn in self.prompt], **both, "source": dict(self.source)}


Item: TypeAlias = RankTask | Preference
"""What a method makes."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one task: each attempt to make something of it is in `items`, or counted in `dropped`.

    Attributes:
        items: what was made.
        dropped: how many attempts came to nothing, by reason.
        calls: the reports of the model calls, in the order asked.
        counts: what else is worth counting, such as the negatives that a filter took out.
        details: what the reasons were, for a reader.
    """

    items: tuple[Item, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    calls: tuple[CallReport, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Synth(Part, ABC):
    """A method of synthesis. Subclasses are frozen dataclasses with an `_apply`; most derive from `LLMSynth`."""

    reads: ClassVar[Literal["documents", "queries"]] = "queries"
    """What of a data set it starts from where no tasks are given: its documents, each a list of one without a query; or
    its queries, each with its judged documents."""

    apart: ClassVar[bool] = False
    """Whether what becomes of a task depends on no other task, so that they may be worked on in chunks."""

    def apply(self, tasks: Sequence[RankTask], data: Dataset | None = None, trace: Trace | None = None) -> list[Made]:
        """What becomes of each task, in order.

        Args:
            tasks: what is there; the same query may come with several lists.
            data: the collection that methods search, with what is known of it; others do without.
            trace: the record of model calls.

        Raises:
            BadInput: the hook left tasks out, or the method needs a collection and there is none.
            EngineError, BudgetSpent: as `drive` raises them.
        """
        made = list(self._apply(tasks, data or Dataset("nothing"), trace))
        if len(made) != len(tasks):
            raise BadInput(f"{name_of(type(self))} told what became of {len(made)} tasks, but there are {len(tasks)}")
        return made

    @abstractmethod
    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        """What becomes of each task, in order."""


def drawn() -> Sampling:
    """How teachers are asked by default: warm, as reasoning models want it, with room for a thought."""
    return Sampling(temperature=0.6, top_p=0.95, max_tokens=4096)


@dataclass(frozen=True)
class LLMSynth(Synth):
    """A method that asks a teacher: write `plan` for one task.

    Attributes:
        llm: the teacher.
        sampling: how its completions are drawn.
        max_passage_tokens: longer passages are cut to this.
    """

    apart: ClassVar[bool] = True

    llm: LLM
    sampling: Sampling = field(default_factory=drawn, kw_only=True)
    max_passage_tokens: int = field(default=512, kw_only=True)

    @abstractmethod
    def plan(self, task: RankTask) -> Plan[Made]:
        """The method for one task; does no I/O and knows no engine."""

    def _apply(self, tasks: Sequence[RankTask], data: Dataset, trace: Trace | None) -> Iterable[Made]:
        keys = distinct(task.query.id for task in tasks)
        plans = {key: self.plan(task) for key, task in zip(keys, tasks, strict=True)}
        like = [self.plan(task) for task in tasks[:: len(tasks) // 3 + 1]]
        return drive(plans, self.llm, trace, like=like).values()


def distinct(ids: Iterable[str]) -> list[str]:
    """The ids with a number behind those that came before.

    Examples:
        >>> distinct(["a", "b", "a"])
        ['a', 'b', 'a (2)']
    """
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    named = []
    for id in ids:
        key = id
        while key in taken:
            seen[id] += 1
            key = f"{id} ({seen[id] + 1})"
        taken.add(key)
        named.append(key)
    return named


def _turn(completion: Ok) -> dict[str, str]:
    thought = f"<think>{completion.reasoning}</think>\n" if completion.reasoning else ""
    return {"role": "assistant", "content": thought + completion.text}
