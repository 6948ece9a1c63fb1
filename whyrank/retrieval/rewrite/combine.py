r"""Combine policies: what is searched for, given the query and what a rewriter made of it.

BRIGHT replaces the query and query2doc repeats it, which moves results by several points; here the policy is named in
the spec. Texts are joined by line breaks.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from whyrank.fields import Above, Positive, Share
from whyrank.registry import Part
from whyrank.renamed import renamed


class Searched(NamedTuple):
    """A text to search for, and how much its ranking counts where several are fused."""

    text: str
    weight: float = 1.0


class Combine(Part, ABC):
    """How a rewritten query goes together with the original one. Subclasses are frozen dataclasses."""

    def wants(self, query: str) -> bool:
        """Whether this query is to be rewritten at all; asked before the model is."""
        return True

    @abstractmethod
    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """What to search for, given at least one rewritten text; several are searched apart and fused."""


@dataclass(frozen=True)
class Replace(Combine):
    """Search for the rewritten text alone, as BRIGHT (2407.12883, 2024) and HyDE (2212.10496, 2022) do."""

    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """Each rewritten text."""
        return [Searched(text) for text in rewritten]


@dataclass(frozen=True)
class Append(Combine):
    """Search for the query followed by all rewritten text, in one search."""

    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """One text."""
        return [Searched("\n".join([query, *rewritten]))]


@renamed(times="n")
@dataclass(frozen=True)
class Repeat(Combine):
    r"""Search for the query several times over, then all rewritten text: long expansions do not drown the query.

    Attributes:
        n: how often; None is MuGI's rule: once for each `ratio` words of rewritten text per word of the query,
            rounded down, at least once. (MuGI: 2401.06311, 2024.)
        ratio: see `n`.

    Examples:
        >>> Repeat(n=2).searched("why", ["because it is so"])[0].text.split("\n")
        ['why', 'why', 'because it is so']
    """

    n: Positive | None = None
    ratio: Annotated[float, Above(0)] = 3.0

    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """One text."""
        return [Searched("\n".join([query] * self.count(query, rewritten) + list(rewritten)))]

    def count(self, query: str, rewritten: Sequence[str]) -> int:
        """How often the query is written."""
        if self.n is not None:
            return self.n
        words = sum(len(text.split()) for text in rewritten)
        return max(1, int(words / (max(1, len(query.split())) * self.ratio)))


@dataclass(frozen=True)
class FuseOriginal(Combine):
    """Search for the query and for each rewritten text apart, and fuse the rankings by reciprocal ranks.

    Attributes:
        weight: how much the original query's ranking counts, where each rewritten text's counts 1.
    """

    weight: Annotated[float, Above(0)] = 1.0

    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """The query, then each rewritten text."""
        return [Searched(query, self.weight), *map(Searched, rewritten)]


@renamed(most="max_formal")
@dataclass(frozen=True)
class Gate(Combine):
    """Rewrite only where it is predicted to help; other queries are searched as they are, and no model is asked.

    The predictor is the query's share of formal words (`formal_share`). On BRIGHT rewriting gains on the prose of
    StackExchange and loses on LeetCode and AoPS, whose questions are full of numbers and formulas: with the default,
    77 % of LeetCode's and 92 % of AoPS's queries stay as they are, and of the other ten tasks' 0 to 25 %.

    Attributes:
        then: the policy for queries that are rewritten.
        max_formal: a query with a larger share of formal words is not rewritten; 1 rewrites all.
    """

    then: Combine = field(default_factory=Replace)
    max_formal: Share = 0.1

    def wants(self, query: str) -> bool:
        """Whether the query is prose enough."""
        return formal_share(query) <= self.max_formal and self.then.wants(query)

    def searched(self, query: str, rewritten: Sequence[str]) -> list[Searched]:
        """As `then` has it."""
        return self.then.searched(query, rewritten)


_FORMAL = re.compile(r"[\d$\\^]")


def formal_share(text: str) -> float:
    r"""The share of words, set apart by blanks, that hold a digit or a sign of LaTeX: `$`, `\` or `^`.

    Examples:
        >>> formal_share("Is $x^2$ above 4")
        0.5
        >>> formal_share("")
        0.0
    """
    words = text.split()
    return sum(_FORMAL.search(word) is not None for word in words) / max(1, len(words))
