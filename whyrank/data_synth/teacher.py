"""How all methods ask a teacher, and what they write down of it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from whyrank.llm.ask import Question, Said, ask
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.report import thought_of
from whyrank.llm.schedule import Plan
from whyrank.registry import Part
from whyrank.rerank.formats import Format
from whyrank.rerank.formats.question import question
from whyrank.types import Document, RankTask

A = TypeVar("A")


class TeacherSettings(Protocol):
    """What a method says about its calls, by the names of its fields."""

    @property
    def llm(self) -> LLM:
        """The teacher."""

    @property
    def sampling(self) -> Sampling:
        """How completions are drawn."""

    @property
    def max_passage_tokens(self) -> int:
        """Longer passages are cut to this."""


def about(format: Format[Any], query: str, documents: Sequence[Document], settings: TeacherSettings) -> Question[Any]:
    """The question that a format puts about documents; what is asked and read is what inference asks and reads."""
    return question(format, query, documents, settings.llm.tokenizer(), settings.max_passage_tokens, settings.sampling)


def sampled(questions: Sequence[Question[A]], samples: int = 1) -> Plan[list[list[Said[A]]]]:
    """Each question, drawn `samples` times, all in one round: for each question what was said to it."""
    said = yield from ask([question.drawn(sample) for question in questions for sample in range(samples)])
    return [said[at : at + samples] for at in range(0, len(said), samples)]


def thinks(format: Format[Any], n: int) -> bool:
    """Whether completions in this format hold a thought."""
    return thought_of(format.write([0.0] * n, "so")) == "so"


def fault(said: Said[Any], format: Format[Any], n: int) -> str:
    """Why nothing can be learnt from this: it was not in the form asked for, or has no thought; else empty."""
    if said.status != "exact":
        return said.status
    return "no_thought" if thinks(format, n) and not said.thought else ""


def commonest(reasons: Iterable[str]) -> dict[str, int]:
    """The one reason for which a task is dropped after several draws: the commonest, of equals the first."""
    return {reason: 1 for reason, _ in Counter(reasons).most_common(1)}


def top(format: Format[Any] | None) -> float:
    """The highest score that a format of one passage knows: 1 unless it says another."""
    return float(getattr(format, "top", 1))


def sourced(task: RankTask, part: Part, said: Sequence[Said[Any]] = (), **found: object) -> dict[str, Any]:
    """The source of what is made of `task`: that of the task, with one more entry in its list `synth`.

    An entry has the method's spec `by`; of the calls that went into it the hash of their instructions `prompts` (query
    and passages apart), the numbers of their draws `samples` and their keys in the trace, `calls`; and what was found.
    A method that writes grades adds the highest that there may be as `scale`.
    """
    entry: dict[str, Any] = {"by": repr(part)}
    if said:
        entry["prompts"] = sorted({instructions(one.prompt) for one in said})
        entry["samples"] = [one.prompt.sample for one in said]
        entry["calls"] = [one.report.key for one in said]
    return {**task.source, "synth": [*task.source.get("synth", ()), entry | found]}


def instructions(prompt: Prompt) -> str:
    """A hash of what a prompt says besides query and passages: it changes when our words do."""
    fixed = "\0".join(piece.text for message in prompt.messages for piece in message.pieces if piece.cut == "never")
    return hashlib.sha256(fixed.encode("utf-8", "replace")).hexdigest()[:12]
