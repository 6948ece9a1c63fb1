"""What comes back: a `Completion`, be it `Ok` or `Failed`, and the tokens that it took."""

from dataclasses import dataclass, field
from typing import Literal

from whyrank.secrets import excerpt
from whyrank.types import Usage


@dataclass(frozen=True, slots=True)
class Ok:
    """A model answered.

    Attributes:
        text: the answer, without the reasoning.
        reasoning: the thought, wherever the engine put it; empty where there is none.
        usage: tokens.
        finish: "stop", or "length" when `max_tokens` cut the completion.
        logprobs: per new token the {token: log probability} of the best alternatives, if asked for.
        key: which line of the trace holds the call, once the scheduler has delivered it; no part of what was answered.
        values: (k,) what was asked of the tokens of `Prompt.targets`, NaN where the engine does not tell; or empty.
        thought_cut: whether the thought was closed at its budget (`budget`), so that the answer rests on part of it.
    """

    text: str
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    finish: Literal["stop", "length"] = "stop"
    logprobs: tuple[dict[str, float], ...] = ()
    key: str = field(default="", compare=False, repr=False)
    thought_cut: bool = False
    values: tuple[float, ...] = ()


Failure = Literal[
    "auth",
    "not_found",
    "bad_request",
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "context",
    "refusal",
    "bad_answer",
    "budget",
]


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that brought no answer; its text is for people and never reaches a parser.

    Attributes:
        kind: what class of failure; `RETRIED` says which are worth another try, `PASSING` which are the server's
            and may be gone tomorrow, `FATAL` which no call can escape.
        detail: what the engine said: its first 1,000 characters, without keys and passwords.
        retry_after: seconds that the server asked to wait, or None.
        key: as in `Ok`.
    """

    kind: Failure
    detail: str
    retry_after: float | None = None
    key: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Hold back secrets, whoever made the detail."""
        object.__setattr__(self, "detail", excerpt(self.detail, 1000))


Completion = Ok | Failed

RETRIED: frozenset[str] = frozenset({"rate_limit", "server", "timeout", "connection", "bad_answer"})
PASSING: frozenset[str] = frozenset({"rate_limit", "server", "timeout", "connection"})
FATAL: frozenset[str] = frozenset({"auth", "not_found"})
