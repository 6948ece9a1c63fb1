"""Where work is done: any place that takes numbers of chunks and tells what became of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TypeAlias

from whyrank.distributed.work import Work
from whyrank.distributed.worker import Outcome
from whyrank.io.chunks import Chunk, Chunks

Take: TypeAlias = Callable[[], int | None]
"""Gives the number of the next chunk to do; None where there is none now."""


class Place(ABC):
    """Where work is done."""

    workers: int
    """How many chunks are under way at once, at most."""

    joins: ClassVar[bool] = True
    """Whether all chunks are done here, so that they are joined in the end."""

    def mine(self, chunks: Chunks) -> Sequence[Chunk]:
        """The chunks to do here, in this order."""
        return list(chunks)

    @abstractmethod
    def run(self, work: Work, start: str, take: Take) -> Iterator[Outcome]:
        """Do chunks until there are none; a chunk whose worker died is told as "begun", and may be given again.

        Args:
            work: what every worker is told.
            start: under which start of the work.
            take: gives numbers; it is asked again after each outcome.

        Raises:
            WhyrankError: workers cannot be had, or cannot begin.
        """
