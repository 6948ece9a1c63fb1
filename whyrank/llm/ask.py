"""The one door for asking: prompts go out in one round, and what comes back is an answer and the report of its call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from whyrank.llm.answer import Completion
from whyrank.llm.messages import Prompt
from whyrank.llm.schedule import Plan
from whyrank.types import CallReport, Status

A = TypeVar("A")

Read: TypeAlias = Callable[[Completion], tuple[A, CallReport]]
"""How a completion is read: the answer, and the report of the call; of a failed one `reported` tells, and no parser."""


@dataclass(frozen=True, slots=True)
class Question(Generic[A]):
    """A prompt, and how its completion is read."""

    prompt: Prompt
    read: Read[A]

    def drawn(self, sample: int) -> "Question[A]":
        """The same question, as another draw."""
        return replace(self, prompt=replace(self.prompt, sample=sample))


@dataclass(frozen=True, slots=True)
class Said(Generic[A]):
    """What a model said to one question.

    Attributes:
        answer: as it was read.
        report: of the call.
        prompt: what was asked.
        completion: what came, for those who ask again because of it.
    """

    answer: A
    report: CallReport
    prompt: Prompt
    completion: Completion

    @property
    def status(self) -> Status:
        """How well the model kept to the form."""
        return self.report.status

    @property
    def thought(self) -> str:
        """What came before the answer."""
        return self.report.thought


def ask(questions: Sequence[Question[A]]) -> Plan[list[Said[A]]]:
    """Ask all questions in one round; without any there is no round."""
    if not questions:
        return []
    completions = yield [question.prompt for question in questions]
    return [
        Said(*question.read(completion), question.prompt, completion)
        for question, completion in zip(questions, completions, strict=True)
    ]
