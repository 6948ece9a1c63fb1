"""A plan on its own, without a scheduler, and what tests put to it and answer it with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.budget import capped, clip
from whyrank.llm.messages import Prompt
from whyrank.rerank.base import LLMReranker, Order, Request
from whyrank.types import Document, Query

BAD = (Ok(""), Ok("[2] > [1]"), Ok("<score>", finish="length"), Ok("no idea <answer>"), Failed("server", "B 1 yes"))


@dataclass
class Walked:
    """Where a plan came out: its order, and the prompts of each round."""

    order: Order
    rounds: list[list[Prompt]]

    @property
    def calls(self) -> int:
        return sum(map(len, self.rounds))


def request(texts: Sequence[object], scores: Sequence[float] = ()) -> Request:
    documents = tuple(Document(f"d{at}", str(text)) for at, text in enumerate(texts))
    falling = tuple(float(n) for n in range(len(texts), 0, -1))
    return Request(Query("q", "which is the highest?"), documents, tuple(scores) or falling)


def walk(reranker: LLMReranker, asked: Request, answer: Callable[[Prompt], Completion]) -> Walked:
    plan, rounds, batch = reranker.plan(asked), [], None
    try:
        while True:
            prompts = list(map(as_asked, plan.send(batch)))
            rounds.append(prompts)
            batch = [answer(prompt) for prompt in prompts]
    except StopIteration as end:
        return Walked(end.value, rounds)


def as_asked(prompt: Prompt) -> Prompt:
    """The prompt with its passages cut, as the scheduler cuts them for a model without a tokenizer."""
    return capped(prompt, lambda text, most: clip(text, None, most))


def shown(prompt: Prompt) -> list[str]:
    """The passages of a prompt's first turns."""
    return [piece.text for message in prompt.messages[:2] for piece in message.pieces if piece.cut == "document"]


def best_first(utilities: Sequence[float]) -> list[int]:
    return sorted(range(len(utilities)), key=lambda at: -utilities[at])
