"""Where a thought ends and an answer begins, in every spelling that models have for it.

Rerankers, rewriters, agents, rewards and engines part completions here, so that a spelling is learnt once. Known are
`<think>`, `<thinking>`, `<thought>`, `<reasoning>` and these with a prefix (`<seed:think>`), `◁think▷` (Kimi),
`[THINK]` (Magistral), `<|START_THINKING|>` (Command), `<|begin_of_thought|>` (Sky-T1) and gpt-oss' channels, also where
an engine dropped their control tokens and left `analysis … assistantfinal …`.
"""

import re
from typing import NamedTuple

THOUGHT = "</think>"
"""What ends a thought; a call that stops there asks for the thought alone."""

THOUGHT_TAGS = r"(?:[a-z]{1,12}:)?(?:think|thinking|thoughts?|reasoning)"
"""What a thought's tag is called, as a regular expression to be read without case."""

_MARK = re.compile(
    rf"""(?P<open><{THOUGHT_TAGS}>|◁think▷|\[THINK\]|<\|(?:START_THINKING|begin_of_thought)\|>
           |<\|channel\|>(?:analysis|commentary)<\|message\|>)
    |(?P<close></{THOUGHT_TAGS}>|◁/think▷|\[/THINK\]|<\|(?:END_THINKING|end_of_thought)\|>(?:\s{{0,9}}<\|START_RESPONSE\|>)?
           |(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>)""",
    re.IGNORECASE | re.VERBOSE,
)
_DROPPED = re.compile(r"\A\s*(?P<open>analysis)(?=[A-Z\"'\[(])")  # `<|channel|>analysis<|message|>` without its tokens
_DROPPED_END = re.compile(r"(?P<close>assistantfinal)")


class Parted(NamedTuple):
    """A completion in its parts: the thought, what follows it, and whether a thought was opened and never closed."""

    reasoning: str
    answer: str
    open: bool


def parted(text: str) -> Parted:
    """Part a completion so that its answer holds no thought: what follows an opening without a closing is none of it.

    Example:
        >>> parted("<think>bees</think>So: <think>or [1]")
        Parted(reasoning='bees', answer='So: ', open=True)
    """
    reasoning, answer = split_reasoning(text)
    if later := next((mark for mark in _marks(answer) if mark.lastgroup == "open"), None):
        return Parted(reasoning or answer[later.end() :], answer[: later.start()], True)
    return Parted(reasoning, _without_end(answer), opens_thought(text) and not _closed(text))


def split_reasoning(text: str) -> tuple[str, str]:
    """Part a raw completion into (reasoning, answer).

    Reasoning is found as `<think>…</think>`, in any spelling, and, where a chat template pre-fills the opening tag, as
    everything before a lone `</think>`. An opening tag that is never closed means that the model was still thinking:
    all is reasoning, blanks at its ends included, so that it can be gone on with.

    Example:
        >>> split_reasoning("<think>bees</think>[2] > [1]")
        ('bees', '[2] > [1]')
        >>> split_reasoning("bees</think>[2] > [1]")
        ('bees', '[2] > [1]')
        >>> split_reasoning("<think>bees and")
        ('bees and', '')
    """
    opening = _opening(text)
    start = opening.end() if opening else 0
    if end := _closed(text):
        return text[start : end.start()].strip(), _without_end(text[end.end() :].lstrip())
    return (text[start:], "") if opening else ("", text)


def thinking(text: str) -> bool:
    """Whether what the assistant wrote so far ends inside a thought, so that what follows is still part of it.

    Example:
        >>> thinking("<think>bees and"), thinking("<think>bees</think>")
        (True, False)
    """
    marks = [mark.lastgroup for mark in _marks(text)]
    return marks[-1:] == ["open"]


def opens_thought(text: str) -> bool:
    """Whether a completion begins with a thought's opening tag."""
    return _opening(text) is not None


def _marks(text: str) -> list[re.Match[str]]:
    """The tags that open and close thoughts; most answers hold none of their words."""
    low = text.lower()
    return list(_MARK.finditer(text)) if any(hint in low for hint in _HINTS) else []


def _opening(text: str) -> re.Match[str] | None:
    start = len(text) - len(text.lstrip())
    mark = _MARK.match(text, start)
    return mark if mark and mark.lastgroup == "open" else _DROPPED.match(text)


def _closed(text: str) -> re.Match[str] | None:
    """The last closing tag."""
    ends = [mark for mark in _marks(text) if mark.lastgroup == "close"]
    if not ends and _DROPPED.match(text):
        ends = list(_DROPPED_END.finditer(text))
    return ends[-1] if ends else None


def _without_end(answer: str) -> str:
    """The answer without control tokens at its end, such as `<|END_RESPONSE|>` and `<|return|>`."""
    while (bare := answer.rstrip()).endswith("|>") and (start := bare.rfind("<|", -_LONGEST_TOKEN)) >= 0:
        answer = bare[:start]
    return answer


_HINTS = ("think", "thought", "reasoning", "channel")
_LONGEST_TOKEN = 40
