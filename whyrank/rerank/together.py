"""Plans side by side: what several plans of one query ask becomes one batch."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from whyrank.llm.answer import Completion
from whyrank.llm.messages import Prompt
from whyrank.llm.schedule import Plan

T = TypeVar("T")


def together(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """Run plans in step, so that they take the rounds of the longest; their results, in order."""
    results: dict[int, T] = {}
    open: Mapping[int, Sequence[Completion] | None] = dict.fromkeys(range(len(plans)))
    while open:
        asked: dict[int, Sequence[Prompt]] = {}
        for at, completions in open.items():
            try:
                asked[at] = plans[at].send(completions)  # type: ignore[arg-type]  # None starts a plan
            except StopIteration as end:
                results[at] = end.value
        if not asked:
            break
        came = iter((yield [prompt for prompts in asked.values() for prompt in prompts]))
        open = {at: [next(came) for _ in prompts] for at, prompts in asked.items()}
    return [results[at] for at in range(len(plans))]
