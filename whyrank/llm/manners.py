"""What a server does not take, learnt from its refusals: models behind one API differ in what may be asked of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whyrank.llm.answer import Failed
from whyrank.progress import warn

LIMITS = ("max_tokens", "max_completion_tokens")
"""The two names of the bound on new tokens, the older one first."""

OPTIONAL = (
    "temperature", "top_p", "top_k", "min_p", "min_tokens", "chat_template_kwargs", "seed", "structured_outputs",
    "grammar", "response_format",
)  # fmt: skip
"""What may be left out: the model then draws as it does by itself, and is kept to no form."""

_NOT_TAKEN = re.compile(
    r"not (?:yet )?(?:support|permit|allow|enabl|recogni|accept)|unsupported|unrecogni[sz]ed|unknown|unexpected"
    r"|extra (?:inputs?|fields?)|only [^.]{0,80}(?:support|allow|permit|accept|roles?\b)|must alternate|deprecated",
    re.I,
)
_SYSTEM = re.compile(
    r"\bsystem\W{1,4}(?:role|turn|message|prompt|instruction)|\brole.{0,80}(?:system|alternate)|developer instruction",
    re.I | re.S,
)


@dataclass
class Manners:
    """How a server wants to be asked.

    Attributes:
        limit: what it calls the bound on new tokens.
        left_out: parameters that it does not take.
        system: whether it takes a system turn.
    """

    limit: str
    left_out: set[str] = field(default_factory=set)
    system: bool = True

    def learn(self, refusal: Failed, sent: Mapping[str, Any]) -> None:
        """Take from the refusal of what was `sent` how else to ask from now on, if it says so."""
        said = refusal.detail
        if refusal.kind not in {"bad_request", "server"} or not _NOT_TAKEN.search(said):
            return
        if _SYSTEM.search(said) and any(message["role"] == "system" for message in sent.get("messages", ())):
            self.system = False
        if refusal.kind == "bad_request":
            self._parameters(said, {**sent, **sent.get("extra_body", {})})

    def _parameters(self, said: str, sent: Mapping[str, Any]) -> None:
        limit = next((name for name in LIMITS if name in sent and re.search(rf"\b{name}\b", said)), None)
        if limit is not None and limit not in self.left_out:
            self.left_out.add(limit)
            self.limit = next((name for name in LIMITS if name not in self.left_out), self.limit)
        for name in OPTIONAL:
            if name in sent and name not in self.left_out and re.search(rf"\b{name}\b", said):
                self.left_out.add(name)
                warn(f"the server takes no {name}: it is left out, and the model answers as it does without")
