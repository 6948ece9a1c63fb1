"""A budget for the thought and another for the answer, around any model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from whyrank.errors import BadInput
from whyrank.fields import NotNegative, Positive
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.engine import LLM, Exchange, Tokenizer
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.reasoning import THOUGHT, thinking

SEAM = 16
"""Tokens that closing a thought may take, and the blanks around it."""

CLOSING = f"\n{THOUGHT}"
"""How a thought is closed that did not end by itself; the blanks that follow are the model's own, as it learnt them."""

EMPTY = f"\n{THOUGHT}\n\n"
"""How one is closed that must not begin, as chat templates do that switch thinking off."""


@dataclass(frozen=True)
class Budget(LLM):
    """A model whose thought is closed at its budget, and whose answer still gets its own tokens (Elastic Reasoning).

    Each prompt takes two calls, one after the other. The first stops where the thought ends, after `think` tokens at
    most. Where it did not end it is closed. The second goes on in the same turn and has `answer` tokens. Both stand in
    the trace, so that a stopped run repeats neither. A model that answers at once, without a thought, takes one call;
    so does `think=0`, which hands the model an empty thought. Thoughts that were cut are counted in the ledger, and
    the report of their call has `thought_cut`.

    It stands wherever a model does: `listwise(budget(vllm('…'), think=512))`. A server must be able to go on with a
    turn (see `OpenAI.prefill`), and be started with the reasoning parser of its model.

    Source: Elastic Reasoning (2505.05315, 2025).

    Attributes:
        llm: the model.
        think: tokens of the thought; 0 is none. Small budgets cost quality and gain little: 512, 1024 or 2048.
        answer: tokens of the answer; without it what the prompt states (16 and 7 for each label), else `max_tokens`.

    Raises:
        BadInput: `think` below 0, `answer` below 1, or a budget around a budget.

    Examples:
        >>> from whyrank import Budget, Fake
        >>> Budget(Fake("<think>why</think>[1]"), think=512)
        budget(fake(answer='<think>why</think>[1]'), think=512)
    """

    llm: LLM
    think: NotNegative = 1024
    answer: Positive | None = None
    model: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a budget around a budget."""
        if isinstance(self.llm, Budget):
            raise BadInput("budget: the model inside has a budget already")
        object.__setattr__(self, "model", self.llm.model)

    @property
    def batch(self) -> int:
        """The engine's."""
        return self.llm.batch

    @property
    def concurrency(self) -> int:
        """The engine's."""
        return self.llm.concurrency

    @property
    def context(self) -> int | None:
        """The model's."""
        return self.llm.context

    @property
    def context_length(self) -> int | None:
        """The model's."""
        return self.llm.context_length

    @property
    def identity(self) -> str:
        """The model's own: its calls are told apart by their tokens and stop strings, so that budgets share a trace."""
        return self.llm.identity

    def tokenizer(self) -> Tokenizer | None:
        """The model's own."""
        return self.llm.tokenizer()

    def chat_tokens(self, chat: list[dict[str, str]]) -> int | None:
        """The length of a chat as the model reads it."""
        return self.llm.chat_tokens(chat)

    def exchange(self, prompt: Prompt) -> Exchange:
        """The thought, then the answer; one call where there is nothing to think about or nothing left to answer."""
        if prompt.targets is not None:  # there is nothing to be written, so nothing to be thought
            return (yield prompt)[1]
        drawn = self._answering(prompt)
        open = thinking(prompt.prefill)
        if not open and THOUGHT in prompt.prefill:
            return (yield replace(prompt, sampling=drawn))[1]
        if self.think == 0:
            empty = EMPTY if open else f"<think>\n{EMPTY}"
            return (yield prompt.prefilled(empty, drawn))[1]
        limits = replace(prompt.sampling, max_tokens=self.think, stop=(THOUGHT,), logprobs=0)
        asked, thought = yield replace(prompt, sampling=limits, reserve=drawn.max_tokens + SEAM, constraint=None)
        if isinstance(thought, Failed):
            return thought
        if thought.text:
            return (yield from _answered(prompt, asked, thought, drawn))
        cut = thought.finish == "length"
        written = f"{'' if open else '<think>'}{thought.reasoning}{CLOSING if cut else THOUGHT}"
        _, answer = yield replace(asked.prefilled(written, drawn), reserve=0, constraint=prompt.constraint)
        return answer if isinstance(answer, Failed) else _joined(thought, answer, cut)

    def _answering(self, prompt: Prompt) -> Sampling:
        """How the answer is drawn: as the prompt says, but for its length."""
        known = prompt.sampling.max_tokens if prompt.answer_tokens is None else prompt.answer_tokens
        return replace(prompt.sampling, max_tokens=self.answer or known)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await self.llm.agenerate(prompts)

    async def aclose(self) -> None:
        """Release what the engine holds."""
        await self.llm.aclose()


def _answered(prompt: Prompt, asked: Prompt, first: Ok, drawn: Sampling) -> Exchange:
    """What is left to do where the first call holds an answer, since the model did not think or did not stop."""
    if prompt.sampling.logprobs and not first.reasoning:
        return (yield replace(prompt, sampling=drawn))[1]
    if first.finish == "stop":
        return first
    begun = f"<think>{first.reasoning}{THOUGHT}" if first.reasoning else ""
    _, rest = yield replace(asked.prefilled(begun + first.text, drawn), reserve=0)
    return rest if isinstance(rest, Failed) else _joined(first, rest, cut=False)


def _joined(thought: Ok, answer: Ok, cut: bool) -> Ok:
    """Both calls as one completion; an answer that thinks on has its thought put behind the first."""
    reasoning = "\n".join(part for part in (thought.reasoning.strip(), answer.reasoning) if part)
    tokens = thought.usage.output if thought.reasoning else 0
    usage = replace(thought.usage + answer.usage, reasoning=tokens + answer.usage.reasoning)
    text = (thought.text + answer.text).lstrip()
    return replace(answer, text=text, reasoning=reasoning, usage=usage, thought_cut=cut)
