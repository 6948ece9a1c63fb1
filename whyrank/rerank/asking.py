"""What the strategies share: putting questions about some candidates of one query, and keeping what came of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, Protocol

from whyrank.errors import BadInput
from whyrank.llm.budget import clip
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order, Request
from whyrank.rerank.formats import Format, Parsed, clean, read
from whyrank.rerank.formats.base import Answer
from whyrank.types import CallReport, Place


class Settings(Protocol[Answer]):
    """What a strategy says about its calls, by the names of its fields."""

    @property
    def llm(self) -> LLM:
        """The model."""

    @property
    def format(self) -> Format[Answer]:
        """The prompt and how its answer is read."""

    @property
    def sampling(self) -> Sampling:
        """How completions are drawn."""

    @property
    def max_passage_tokens(self) -> int:
        """Longer passages are cut to this."""


class Asker(Generic[Answer]):
    """Asks about the candidates of one request, each named by its place in the request, from 0.

    The report of each call tells its round, and which candidates were shown in which order.
    """

    def __init__(self, settings: Settings[Answer], request: Request) -> None:
        """Clean and cut the passages once."""
        self._format, self._sampling, self._query = settings.format, settings.sampling, request.query.text
        tokenizer = settings.llm.tokenizer()
        self._passages = [clip(clean(doc.content), tokenizer, settings.max_passage_tokens) for doc in request.documents]
        self._rounds = 0
        self._calls: list[CallReport] = []

    def ask(self, groups: Sequence[Sequence[int]], samples: Sequence[int] = ()) -> Plan[list[Answer]]:
        """One call for each group, all in one round; with no group there is no round.

        Args:
            groups: the candidates to show in each call, in order.
            samples: which draw each call is, where the same words may be asked again; none means the first.
        """
        if not groups:
            return []
        texts = [[self._passages[at] for at in group] for group in groups]
        prompts = [self._format.render(self._query, shown, self._sampling) for shown in texts]
        draws = samples or (0,) * len(groups)
        completions = yield [replace(prompt, sample=draw) for prompt, draw in zip(prompts, draws, strict=True)]
        answers = []
        for group, prompt, completion in zip(groups, prompts, completions, strict=True):
            answer, report = read(self._format, completion, len(group), prompt)
            answers.append(answer)
            self._calls.append(replace(report, shown=tuple(group), place=Place(round=self._rounds)))
        self._rounds += 1
        return answers

    def order(self, ranking: Sequence[int], scores: Sequence[float] = ()) -> Order:
        """The order to return; where no call brought an answer, the input order stands."""
        kept = range(len(self._passages)) if all(map(_silent, self._calls)) else ranking
        return Order(tuple(kept), tuple(scores), tuple(self._calls))


def ordered(asker: Asker[Parsed], groups: Sequence[Sequence[int]]) -> Plan[list[list[int]]]:
    """Each group in the order that the model gives it, all in one round; a group of one is not asked about."""
    parsed = iter((yield from asker.ask([group for group in groups if len(group) > 1])))
    return [[group[place] for place in next(parsed).permutation] if len(group) > 1 else list(group) for group in groups]


def at_least(part: str, smallest: int, **given: int) -> None:
    """Refuse sizes that are too small: `at_least("setwise", 1, k=0)` is a `BadInput`."""
    for name, value in given.items():
        if value < smallest:
            raise BadInput(f"{part}: {name} must be at least {smallest}, not {value}")


def _silent(call: CallReport) -> bool:
    return call.status in {"no_answer", "failed"} or call.repairs.missing == len(call.shown or ())
