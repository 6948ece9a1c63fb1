"""A task and how completions for it are written."""

from collections.abc import Callable, Sequence

import pytest

from whyrank.types import Document, Query, RankTask

Ask = Callable[..., RankTask]


@pytest.fixture(scope="session")
def ask() -> Ask:
    """A task from its gains: documents a, b, c … as shown; `order` as letters."""

    def make(gains: Sequence[float], order: str = "", query: str = "q", **source: float) -> RankTask:
        ids = [chr(97 + at) for at in range(len(gains))]
        return RankTask(
            Query(query, "why?"),
            tuple(Document(id, f"text {id}") for id in ids),
            {id: gain for id, gain in zip(ids, gains, strict=True) if gain},
            tuple(order),
            source=source,
        )

    return make


@pytest.fixture(scope="session")
def said() -> Callable[..., str]:
    """A completion with thought and tags around a list of numbers, or around any text."""

    def write(answer: str | Sequence[int], thought: str = "hm") -> str:
        listed = answer if isinstance(answer, str) else " > ".join(f"[{number}]" for number in answer)
        return f"<think>{thought}</think><answer>{listed}</answer>"

    return write
