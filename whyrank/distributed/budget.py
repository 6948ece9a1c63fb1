"""A limit on cost or tokens that holds for all chunks together, though none of those at work knows of the others."""

from dataclasses import replace

from whyrank.errors import BudgetSpent
from whyrank.experiment import Limits
from whyrank.io.chunks import Chunk, Chunks
from whyrank.llm.trace import Trace


class Budget:
    """Gives each chunk its share in what the others have left, so that those at work together stay below the limit."""

    def __init__(self, chunks: Chunks, limits: Limits, workers: int) -> None:
        """Begin; `limits` hold for all chunks, and so many workers are at work."""
        self._chunks, self._limits, self._workers = chunks, limits, workers
        self._done: dict[int, tuple[int, float]] = {}

    def of(self, number: int) -> Limits:
        """The limits of one chunk: what its calls took already, and its share in what is left.

        Raises:
            BudgetSpent: nothing is left.
        """
        most_cost, most_tokens = self._limits.max_cost, self._limits.max_tokens
        if most_cost is None and most_tokens is None:
            return self._limits
        tokens, cost, still = 0, 0.0, 0
        for chunk in self._chunks:
            took = self._taken_by(chunk)
            tokens, cost, still = tokens + took[0], cost + took[1], still + (chunk.number not in self._done)
        shares, own = max(1, min(self._workers, still)), self._taken_by(self._chunks[number])
        if most_cost is not None and cost >= most_cost:
            raise BudgetSpent(f"the calls of all chunks have cost {cost:.4f} of {most_cost} (max_cost)")
        if most_tokens is not None and tokens >= most_tokens:
            raise BudgetSpent(f"the calls of all chunks have taken {tokens:,} of {most_tokens:,} tokens (max_tokens)")
        return replace(
            self._limits,
            max_cost=None if most_cost is None else own[1] + (most_cost - cost) / shares,
            max_tokens=None if most_tokens is None else own[0] + -((tokens - most_tokens) // shares),
        )

    def taken(self, chunk: Chunk) -> list[float | None]:
        """What the calls of a chunk took, for its `done.json`: tokens and, where there are prices, their cost."""
        tokens, cost = self._traced(chunk)
        return [tokens, None if self._limits.prices is None else cost]

    def _taken_by(self, chunk: Chunk) -> tuple[int, float]:
        if chunk.number in self._done:
            return self._done[chunk.number]
        done = chunk.done()
        if done is None:
            return self._traced(chunk)
        tokens, cost = done.get("taken", (0, None))
        known = cost is not None or self._limits.prices is None
        self._done[chunk.number] = (tokens, cost or 0.0) if known else self._traced(chunk)
        return self._done[chunk.number]

    def _traced(self, chunk: Chunk) -> tuple[int, float]:
        """What the calls in all attempts at a chunk took, as limits count them."""
        with Trace(prices=self._limits.prices, older=[attempt.folder for attempt in chunk.attempts()]) as trace:
            return trace.taken
