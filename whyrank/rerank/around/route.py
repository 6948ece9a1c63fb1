"""Routing: of several rerankers the one that a query needs, so that thought goes where it pays."""

import operator
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np

from whyrank.errors import BadInput
from whyrank.fields import Length, Share
from whyrank.llm.trace import Trace
from whyrank.registry import Part, variadic
from whyrank.renamed import renamed
from whyrank.rerank.around.radar import Radar, entropy, features, margin
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.types import Run


class Router(Part, ABC):
    """What decides, from the first stage alone, which reranker a query goes to."""

    @abstractmethod
    def choose(self, requests: Sequence[Request], choices: Sequence[Reranker]) -> Sequence[int]:
        """For each request the number of its choice, from 0.

        Raises:
            BadInput: it cannot choose among so many.
        """


@dataclass(frozen=True)
class _Thresholds(Router):
    """A number says how hard a query is: the more thresholds it passes, the later the choice."""

    thresholds: Annotated[tuple[float, ...], Length(1)]

    rising: ClassVar[bool]
    """Whether greater numbers are of harder queries, else smaller ones."""

    def __post_init__(self) -> None:
        """Refuse thresholds out of order."""
        if list(self.thresholds) != sorted(set(self.thresholds), reverse=not self.rising):
            way = "rise" if self.rising else "fall"
            raise BadInput(f"{self._called()}: thresholds must {way}, not {self.thresholds}")

    def choose(self, requests: Sequence[Request], choices: Sequence[Reranker]) -> list[int]:
        """How many thresholds each request passes."""
        parts = len(self.thresholds) + 1
        if parts != len(choices):
            raise BadInput(
                f"{self._called()}: {parts - 1} thresholds part {parts} choices, but {len(choices)} are given"
            )
        passes = operator.gt if self.rising else operator.lt
        numbers = map(self._number, requests)
        return [sum(passes(number, limit) for limit in self.thresholds) for number in numbers]

    @staticmethod
    @abstractmethod
    def _number(request: Request) -> float:
        """How hard a query is."""


@renamed(below="thresholds")
@dataclass(frozen=True)
class Margin(_Thresholds):
    """By the first stage's margin: the more thresholds the first score fails to lead by, the later the choice.

    The margin is the distance from the first score to the second, in standard deviations of the first 20.

    Attributes:
        thresholds: one threshold fewer than there are choices, falling.

    Raises:
        BadInput: thresholds that do not fall.
    """

    thresholds: Annotated[tuple[float, ...], Length(1)] = (0.5,)
    rising: ClassVar[bool] = False

    @staticmethod
    def _number(request: Request) -> float:
        return margin(request.scores)


@renamed(above="thresholds")
@dataclass(frozen=True)
class Entropy(_Thresholds):
    """By how evenly the first stage spreads its belief: the more thresholds are passed, the later the choice.

    It is the entropy of the softmax of the first 20 z-scores, as a share of its most.

    Attributes:
        thresholds: one threshold fewer than there are choices, rising.

    Raises:
        BadInput: thresholds that do not rise.
    """

    thresholds: Annotated[tuple[float, ...], Length(1)] = (0.85,)
    rising: ClassVar[bool] = True

    @staticmethod
    def _number(request: Request) -> float:
        return entropy(request.scores)


@dataclass(frozen=True)
class Difficulty(Router):
    """By a trained model of difficulty and cost, fitted on past runs (RADAR): see `Radar` and `learn_routes`.

    Attributes:
        path: the model, a JSON file.
        weight: of success against cost, from 0, the cheapest, to 1, the ablest.
        rule: "linear" is the greatest weighted difference of success and cost; "chebyshev" the least larger loss.

    Raises:
        BadInput: on routing, choices other than those it was fitted to.
        NotFound: there is no such file.
    """

    path: str
    weight: Share = 0.8
    rule: Literal["linear", "chebyshev"] = "linear"

    @cached_property
    def radar(self) -> Radar:
        """The model, read on first use."""
        return Radar.open(self.path)

    def choose(self, requests: Sequence[Request], choices: Sequence[Reranker]) -> list[int]:
        """The best choice for each request's features."""
        known = self.radar.choices
        if len(known) != len(choices):
            raise BadInput(f"difficulty: {self.path} was fitted to {len(known)} choices, but {len(choices)} are given")
        specs = [repr(choice) for choice in choices]
        if sorted(specs) == sorted(known) and specs != list(known):
            raise BadInput(f"difficulty: {self.path} was fitted to the same choices in another order: {known}")
        if not requests:
            return []
        x = np.array([features(request) for request in requests])
        return [int(at) for at in self.radar.choose(x, self.weight, self.rule == "chebyshev")]


@variadic
@dataclass(frozen=True)
class Route(Reranker):
    """One of several rerankers for each query: `route(easy, hard, by=margin(thresholds=(0.5,)))`.

    A query takes the calls and rounds of the reranker that it goes to and no other; deciding takes none. The notes of
    each query tell its "route", from 0, and `routes` counts them. Queries of one choice run at once, the choices one
    after the other.

    Attributes:
        choices: two or more, given one by one, the cheapest first.
        by: what decides: `margin()`, `entropy()`, or `difficulty('radar.json')`.

    Raises:
        BadInput: more choices than `by` can tell apart.
    """

    choices: Annotated[tuple[Reranker, ...], Length(2)]
    by: Router = field(default_factory=Margin, kw_only=True)

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        taken = list(self.by.choose(requests, self.choices))
        if wrong := [at for at in taken if not 0 <= at < len(self.choices)]:
            raise BadInput(f"route: {self.by!r} chose {wrong[0]} of {len(self.choices)} choices, counted from 0")
        orders: dict[int, Order] = {}
        for number, choice in enumerate(self.choices):
            places = [place for place, at in enumerate(taken) if at == number]
            found = choice.rank_requests([requests[place] for place in places], trace) if places else []
            for place, order in zip(places, found, strict=True):
                orders[place] = replace(order, note=replace(order.note, route=number))
        return [orders[place] for place in range(len(requests))]


def routes(run: Run) -> dict[int, int]:
    """How many queries of a run that was routed went to each choice, by its number."""
    taken = Counter(note.route for note in run.notes.values() if note.route is not None)
    return dict(sorted(taken.items()))
