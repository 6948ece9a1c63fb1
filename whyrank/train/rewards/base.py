"""What every reward is: a completion and its task in, a number out; read by the parsers that inference uses.

A reward is a part, so that a recipe names it by its spec, `multiview(p=0.9)`. A plain function `f(text, task)` can
stand wherever a reward can. Where a reward does not apply to a task, such as the order of a list in which nothing is
relevant, it gives None. What goes wrong *inside* a reward is an exception and stops the training; it is never 0.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.reasoning import parted, split_reasoning
from whyrank.registry import Part, name_of
from whyrank.rerank.formats import Format, PointFormat
from whyrank.rerank.formats.base import answer_region
from whyrank.types import RankTask

Given: TypeAlias = str | Ok | Sequence[Mapping[str, Any]]
"""A completion: its text, an engine's `Ok`, or the messages of a conversation, of which the last of the assistant's
counts; its thought may stand in the text, between both tags or before a lone `</think>`, or in a field of its own."""

Unit = Literal["words", "tokens"]
Value: TypeAlias = float | None


class Reward(Part, ABC):
    """What completions are worth. Subclasses are frozen dataclasses and write `_values`, or derive from `Each`."""

    grouped: ClassVar[bool] = False
    """Whether a completion's reward depends on the others of its group: then only `batch` gives it."""

    def __call__(self, completion: Given, task: RankTask) -> Value:
        """What one completion is worth, or None where this reward does not apply to the task.

        Raises:
            BadInput: the reward sees the group: it is given by `batch`.
        """
        if self.grouped:
            raise BadInput(f"{name_of(type(self))} compares the completions of a group: call batch(completions, tasks)")
        return self.batch([completion], [task])[0]

    def batch(self, completions: Sequence[Given], tasks: Sequence[RankTask]) -> list[Value]:
        """What each completion is worth; the group of one are all in the batch with its query and documents.

        Args:
            completions: (n,) what was drawn.
            tasks: (n,) the task of each, the documents in the order that its prompt showed.

        Raises:
            BadInput: not one task for each completion, or a reward that is no finite number.
        """
        if len(completions) != len(tasks):
            raise BadInput(f"{len(completions)} completions, but {len(tasks)} tasks: there must be one for each")
        values = list(self._values([completion_of(one) for one in completions], tasks))
        return checked(values, name_of(type(self)), tasks)

    @abstractmethod
    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        """One value for each completion."""


class Each(Reward):
    """A reward that looks at one completion at a time."""

    @abstractmethod
    def _value(self, completion: Ok, task: RankTask) -> Value:
        """What this completion is worth."""

    def _values(self, completions: Sequence[Ok], tasks: Sequence[RankTask]) -> Iterable[Value]:
        return map(self._value, completions, tasks)


AnyReward: TypeAlias = Reward | Callable[[str, RankTask], Value]
"""A reward, or a plain function of a completion's text, thought included, and its task."""


def values_of(reward: AnyReward, completions: Sequence[Given], tasks: Sequence[RankTask]) -> list[Value]:
    """What each completion is worth, by a reward or by a plain function."""
    if isinstance(reward, Reward):
        return reward.batch(completions, tasks)
    given = [reward(text_of(completion), task) for completion, task in zip(completions, tasks, strict=True)]
    return checked(given, label(reward), tasks)


def label(reward: AnyReward) -> str:
    """What logs call it."""
    return name_of(type(reward)) if isinstance(reward, Reward) else getattr(reward, "__name__", type(reward).__name__)


def checked(values: Sequence[Value], name: str, tasks: Sequence[RankTask]) -> list[Value]:
    """The values, if there is one for each task and all are finite or None."""
    if len(values) != len(tasks):
        raise BadInput(f"the reward {name} gave {len(values)} values for {len(tasks)} completions")
    for value, task in zip(values, tasks, strict=True):
        if value is not None and not math.isfinite(value):
            raise BadInput(f"the reward {name} of task {task.query.id!r} is {value!r}, not a finite number")
    return [None if value is None else float(value) for value in values]


def completion_of(given: Given) -> Ok:
    """The completion in the form that parsers read, whatever form a trainer hands it over in.

    Raises:
        BadInput: a conversation without a message of the assistant, or something else altogether.
    """
    if isinstance(given, Ok):
        return given
    if isinstance(given, str):
        return Ok(given)
    turns = [turn for turn in given if isinstance(turn, Mapping) and turn.get("role", "assistant") == "assistant"]
    if not turns:
        raise BadInput(f"a completion is a text or messages with one of the assistant, not {given!r:.60}")
    return Ok(_content(turns[-1].get("content")), str(turns[-1].get("reasoning_content") or ""))


def text_of(given: Given) -> str:
    """The completion as one text, its thought between tags if it came in a field of its own."""
    completion = completion_of(given)
    return f"<think>{completion.reasoning}</think>{completion.text}" if completion.reasoning else completion.text


def thought_of(completion: Ok) -> str:
    """The thought: from its own field, between tags, or before a lone closing tag; prose before an answer is none."""
    return (completion.reasoning or parted(completion.text).reasoning).strip()


def length(completion: Ok, unit: Unit) -> int:
    """How long a completion is, thought included.

    Raises:
        BadInput: tokens are wanted, but nobody counted them.
    """
    if unit == "words":
        return sum(len(part.split()) for part in split_reasoning(text_of(completion)))
    if not completion.usage.output:
        raise BadInput(
            "how many tokens a completion has is not known here: set unit='words', or hand over an Ok with its usage "
            "(ForTRL takes completion_ids, ForVerl a function that counts)"
        )
    return completion.usage.output


def formats_of(reward: AnyReward) -> Iterator[Format[Any]]:
    """The formats that a reward reads completions with, and those of the rewards that it is made of.

    A trainer can check with it that they are the format of the prompts. Functions and rewards for rewriters have none.

    Examples:
        >>> from whyrank import make
        >>> list(formats_of(make("mix(ndcg(format=ranking(think='no')), cost())")))
        [ranking(think='no')]
    """
    for field in fields(reward) if isinstance(reward, Reward) else ():
        value = getattr(reward, field.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Format):
                yield inner
            elif isinstance(inner, Reward):
                yield from formats_of(inner)


def kept(format: Format[Any], completion: Ok) -> bool:
    """Whether a completion has the parts that the format asks for: thought, answer between tags, nothing left open."""
    _, tagged, unclosed = answer_region(completion.text)
    finds_its_own = isinstance(format, PointFormat)  # formats of one passage have other tags
    if unclosed or not (tagged or finds_its_own or format.think == "no"):
        return False
    return format.think != "asked" or bool(thought_of(completion))


Key = TypeVar("Key")


def groups(tasks: Sequence[RankTask], key: Callable[[RankTask], Key]) -> dict[Key, list[int]]:
    """Which completions belong together, by place in the batch."""
    members: dict[Key, list[int]] = {}
    for at, task in enumerate(tasks):
        members.setdefault(key(task), []).append(at)
    return members


def same_prompt(task: RankTask) -> tuple[str, ...]:
    """What the completions of one group share: query and documents as shown."""
    return (task.query.id, *(document.id for document in task.documents))


def _content(content: object) -> str:
    """The text of a message, which some chat templates keep in parts."""
    if isinstance(content, str) or content is None:
        return content or ""
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    raise BadInput(f"the content of a message is a text or parts with text, not {content!r:.60}")
