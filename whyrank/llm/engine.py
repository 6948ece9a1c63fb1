"""The seam below every strategy: a `Prompt` goes in, a `Completion` comes out, be it `Ok` or `Failed`.

A backend writes one method, `_generate`. Which prompts are asked when, how often a call is tried again, what is
remembered and what it costs is the scheduler's (`schedule.py`) and the trace's (`trace.py`) business.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TypeAlias

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion
from whyrank.llm.loop import run
from whyrank.llm.messages import Prompt
from whyrank.llm.messages import Tokenizer as Tokenizer
from whyrank.registry import Part

Exchange: TypeAlias = Generator[Prompt, tuple[Prompt, Completion], Completion]
"""How one prompt is asked: yields a call, is sent it as it was asked and what came, and so on to the completion."""


class LLM(Part, ABC):
    """A language model behind some engine. Subclasses are frozen dataclasses with a field `model`."""

    model: str

    @property
    def batch(self) -> int:
        """How many prompts the engine likes in one `_generate`; above 1 the scheduler collects them."""
        return 1

    @property
    def concurrency(self) -> int:
        """How many `_generate` calls may be under way at once."""
        return 1

    @property
    def context(self) -> int | None:
        """The model's window in tokens, prompt and completion together; None where it is not known."""
        return None

    @property
    def context_length(self) -> int | None:
        """What prompts are fitted to: `context` where it is stated, else what the engine itself knows of its model."""
        return self.context

    @property
    def identity(self) -> str:
        """What tells this model from others in the trace; engines of one model with the same answers may share it."""
        return self.model

    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer; None where there is none at hand, then prompts are measured by characters."""
        return None

    def chat_tokens(self, chat: list[dict[str, str]]) -> int | None:
        """The exact length of a chat as the model reads it, template included; None where that is not known."""
        return None

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One completion for each prompt, in order: the engine as it is, without cache, retries or fitting."""

        async def ask() -> Sequence[Completion]:
            try:
                return await self._converse(prompts)
            finally:
                await self.aclose()

        return list(run(ask()))

    def exchange(self, prompt: Prompt) -> Exchange:
        """The calls that `prompt` takes: one, but for models whose thought is led (`budget`)."""
        _, completion = yield prompt
        return completion

    async def _converse(self, prompts: Sequence[Prompt]) -> list[Completion]:
        exchanges = [self.exchange(prompt) for prompt in prompts]
        calls = {at: next(exchange) for at, exchange in enumerate(exchanges)}
        ends: dict[int, Completion] = {}
        while calls:
            for (at, call), completion in zip(
                list(calls.items()), await self.agenerate(list(calls.values())), strict=True
            ):
                try:
                    calls[at] = exchanges[at].send((call, completion))
                except StopIteration as end:
                    ends[at] = end.value
                    del calls[at]
        return [ends[at] for at in range(len(prompts))]

    async def agenerate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        """Ask the engine once, and check that it kept to the contract: one `Ok` or `Failed` for each prompt."""
        completions = await self._generate(prompts)
        if len(completions) != len(prompts):
            raise BadInput(f"{self!r} gave {len(completions)} completions for {len(prompts)} prompts")
        return completions

    @abstractmethod
    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        """One completion for each prompt. A failure is returned as `Failed`, not raised."""

    async def aclose(self) -> None:
        """Release what the engine holds for one event loop, such as connections."""
