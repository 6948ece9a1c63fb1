"""What is told of a model call once it was read: the one place that makes a `CallReport` of a completion."""

import re

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.reasoning import parted
from whyrank.types import CallReport, Repairs, Status


def reported(
    completion: Completion,
    status: Status = "exact",
    repairs: Repairs = Repairs(),  # noqa: B008 (frozen)
    labels: tuple[str, ...] = (),
    thought: str | None = None,
) -> CallReport:
    """The report of a call; that of a failed one tells how it failed, and nothing of an answer.

    Args:
        completion: what came.
        status: how its answer was read.
        repairs: what had to be mended in it.
        labels: what the candidates were called, where not 1, 2, 3, …
        thought: what the model thought, where it is not what `thought_of` finds.
    """
    if isinstance(completion, Failed):
        return CallReport("failed", completion.key, failure=completion.kind, detail=completion.detail)
    return CallReport(
        status,
        completion.key,
        completion.usage,
        completion.finish,
        thought_of(completion) if thought is None else thought,
        completion.thought_cut,
        repairs=repairs,
        labels=labels,
    )


def thought_of(completion: Ok) -> str:
    """What the model wrote before its answer: its reasoning, wherever the engine left it, or what precedes the tag."""
    reasoning, answer, _ = parted(completion.text)
    before, *block = _OPEN.split(answer, maxsplit=1)
    return completion.reasoning or reasoning or (before.strip() if block else "")


_OPEN = re.compile(r"<answer>", re.IGNORECASE)
