"""What the scheduler moves: plans on their way, and the calls that they wait for."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from whyrank.errors import WhyrankError
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import Exchange
from whyrank.llm.messages import Prompt
from whyrank.llm.reasoning import THOUGHT
from whyrank.llm.trace import Trace

T = TypeVar("T")

Plan: TypeAlias = Generator[Sequence[Prompt], Sequence[Completion], T]

LONGEST_PLAN = 10_000
"""Answers after which a rehearsal ends."""


@dataclass(slots=True, eq=False)
class Walk(Generic[T]):
    """A plan on its way."""

    query: str
    place: int
    plan: Plan[T]
    step: int = 0
    answers: list[Completion | None] = field(default_factory=list)
    missing: int = 0
    deep: bool = False
    timer: asyncio.TimerHandle | None = None

    def __lt__(self, other: "Walk[T]") -> bool:
        if self.deep:
            return self.place < other.place
        return (self.step, self.place) < (other.step, other.place)


@dataclass(slots=True, eq=False)
class Asking(Generic[T]):
    """A prompt of a plan: its place in the plan's batch, the calls that it takes, and the one that it waits for."""

    walk: Walk[T]
    at: int
    exchange: Exchange
    call: Prompt


@dataclass(slots=True, eq=False)
class Open(Generic[T]):
    """A call that is waiting or under way, and where its completion goes."""

    key: str
    prompt: Prompt
    query: str
    step: int
    cut: tuple[str, ...]
    receivers: list[Asking[T]]
    tries: int = 0
    seconds: float = 0.0
    shrunk: bool = False
    dropped: bool = False


def rehearsed(plan: Plan[Any]) -> int:
    """How many answers a plan asks for where none comes: as many as otherwise, or nearly so, for most strategies."""
    asked, answers = 0, None
    try:
        while asked < LONGEST_PLAN:
            prompts = plan.send(answers)  # type: ignore[arg-type]  # None starts a plan
            asked, answers = asked + len(prompts), [Failed("timeout", "a rehearsal")] * len(prompts)
    except StopIteration:
        pass
    except Exception:  # a plan that fails is told of when it is run
        return 0
    return asked


def cut_in_thought(prompt: Prompt, completion: Completion) -> bool:
    """Whether a call that asked for a thought alone used up its tokens on it."""
    if THOUGHT not in prompt.sampling.stop or isinstance(completion, Failed):
        return False
    return completion.finish == "length" and not completion.text


def named(walk: Walk[Any], error: Exception, trace: Trace) -> WhyrankError:
    """The error of a plan with its query, and with what it was reading; errors of ours stay of their kind.

    Answers on which a plan fails are kept once, as it may be mended; where it fails on them again they are set aside.
    """
    if isinstance(error, WhyrankError):
        told = type(error)(f"query {walk.query!r}: {error}")
    else:
        read = [answer.key for answer in walk.answers if isinstance(answer, Ok)]
        aside = [] if isinstance(error, OSError | MemoryError) else trace.set_aside(read)
        mend = f"; it was reading the calls {', '.join(read)}" if read else ""
        mend += f", of which {len(aside)} are set aside: the same command asks them again" if aside else ""
        told = WhyrankError(f"query {walk.query!r}: its plan failed: {type(error).__name__}: {error}{mend}")
    told.__cause__ = error
    return told
