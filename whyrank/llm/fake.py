"""A model that answers what it is told to: for tests of strategies, dry runs, and trying out what failures do."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from whyrank.fields import AtLeast, Positive, Share
from whyrank.llm.answer import RETRIED, Completion, Failed, Failure, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt
from whyrank.llm.reasoning import THOUGHT, split_reasoning, thinking
from whyrank.registry import HOW
from whyrank.types import Usage

Answer = str | Callable[[Prompt], str | Completion]


@dataclass(frozen=True)
class Fake(LLM):
    """Answers each prompt with a text, or with what a function makes of the prompt. One token is four characters.

    A text is cut at stop strings and at `max_tokens`, and gone on with where a turn was begun, as engines do.

    Attributes:
        answer: the text or the function; only a text can stand in a spec.
        model: the name in traces and price tables.
        concurrency: how many calls may be under way at once.
        context: the window in tokens, or None.
        latency: median seconds of an answer; the times are log-normal (sigma 0.6, as reasoning has long tails).
        failures: share of tries that fail in a way worth another try.
        seed: for latency and failures, which depend on nothing else but the prompt and the number of the try.

    Examples:
        >>> Fake("<think>two first</think>[2] > [1]").generate([Prompt(())])[0].text
        '[2] > [1]'
    """

    answer: Answer = ""
    model: str = "fake"
    concurrency: Positive = field(default=8, metadata=HOW)
    context: Positive | None = None
    latency: Annotated[float, AtLeast(0)] = field(default=0.0, metadata=HOW)
    failures: Share = 0.0
    seed: int = 0
    _tries: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """Model and text: another text is another model."""
        return f"{self.model} {self.answer}" if isinstance(self.answer, str) and self.answer else self.model

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: Prompt) -> Completion:
        key = prompt.key(self.model)
        draw = random.Random(f"{self.seed} {key} {self._tries[key]}")
        self._tries[key] += 1
        if self.latency:
            await asyncio.sleep(self.latency * draw.lognormvariate(0.0, 0.6))
        if draw.random() < self.failures:
            kinds: list[Failure] = sorted(RETRIED)  # type: ignore[arg-type]
            return Failed(draw.choice(kinds), "a failure that was asked for", retry_after=0.0)
        answer = self.answer if isinstance(self.answer, str) else self.answer(prompt)
        return answer if isinstance(answer, Ok | Failed) else _completion(prompt, answer)


def _completion(prompt: Prompt, text: str) -> Completion:
    """As an engine would have it: from where the turn was begun, up to a stop string or the bound on tokens."""
    asked, drawn = sum(len(message.content) for message in prompt.messages), prompt.sampling
    if begun := prompt.prefill:
        text = text[len(begun) :] if text.startswith(begun) else text.rpartition(THOUGHT)[2]
    stops = [at for stop in drawn.stop if (at := text.find(stop)) >= 0]
    written = text[: min(stops, default=len(text))][: 4 * drawn.max_tokens]
    finish: Literal["stop", "length"] = "length" if len(written) == 4 * drawn.max_tokens else "stop"
    reasoning, answer = split_reasoning("<think>" * thinking(begun) + written)
    usage = Usage(asked // 4, len(written) // 4, min(len(reasoning), len(written)) // 4)
    return Ok(answer, reasoning, usage, finish)
