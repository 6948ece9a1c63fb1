"""What the strategies share: one way to ask about some candidates of a query, and to keep what came of it."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic

from whyrank.fields import Positive
from whyrank.llm.answer import Completion
from whyrank.llm.ask import Question, Said, ask
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import LLMReranker, Order, Request
from whyrank.rerank.formats import Format, Permutation, read
from whyrank.rerank.formats.base import Answer
from whyrank.rerank.templates.published import asked_of
from whyrank.types import CallReport, Place


@dataclass(frozen=True)
class Strategy(LLMReranker, Generic[Answer]):
    """A reranker that asks a model about groups of candidates: write `_plan` for one query, and ask by the `Asker`.

    Attributes:
        llm: the model.
        format: the prompt, how a passage is shown in it, and how its answer is read. Where none is given, a model that
            `whyrank models` knows is asked in its published one, as far as its words are at hand.
        sampling: how completions are drawn; reasoning models want what their makers recommend.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: `max_passage_tokens` below 1.
    """

    format: Format[Answer] = field(kw_only=True)
    sampling: Sampling = field(default_factory=Sampling, kw_only=True)
    max_passage_tokens: Positive = field(default=512, kw_only=True)

    @cached_property
    def asked(self) -> Format[Answer]:
        """The format that is asked in: that of the model's authors where none was given and theirs is at hand."""
        return asked_of(self.llm.model, self.format)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a manifest tells beside the fields: the published format, where it stands in the place of ours."""
        return {} if self.asked is self.format else {"asked": repr(self.asked), **self.asked.facts}

    def plan(self, request: Request) -> Plan[Order]:
        """The algorithm for one query; the order's `calls` have the report of each call and the candidates shown."""
        return self._plan(Asker(self, request))

    @abstractmethod
    def _plan(self, asker: "Asker[Answer]") -> Plan[Order]:
        """The algorithm: candidates are called by their places in the request, from 0; end with `asker.order`."""


class Asker(Generic[Answer]):
    """Asks about the candidates of one request, each called by its place in the request, from 0.

    Attributes:
        request: the candidates.
        n: how many there are.
        calls: the reports so far; each tells where in the algorithm it stood, and who was shown in which order.
    """

    def __init__(self, strategy: Strategy[Answer], request: Request) -> None:
        """Prepare each passage once."""
        self.request, self.n = request, len(request.documents)
        self.calls: list[CallReport] = []
        self._strategy, self._passages = strategy, [strategy.asked.passage(one) for one in request.documents]
        self._rounds = 0

    def prompt(self, group: Sequence[int], sample: int = 0) -> Prompt:
        """The question about some candidates, in this order."""
        how, passages = self._strategy, [self._passages[at] for at in group]
        prompt = how.asked.render(self.request.query.text, passages, how.sampling)
        return replace(prompt.with_documents(how.max_passage_tokens), sample=sample)

    def ask(
        self, groups: Sequence[Sequence[int]], samples: Sequence[int] = (), places: Sequence[Place] = ()
    ) -> Plan[list[Answer]]:
        """One call for each group, all in one round; with no group there is no round.

        Args:
            groups: the candidates to show in each call, in order.
            samples: which draw each call is, where the same words may be asked again; none means the first.
            places: where in the algorithm each call stands; none tells the round.
        """
        prompts = [self.prompt(*each) for each in zip(groups, samples or (0,) * len(groups), strict=True)]
        said = yield from self.put(prompts, groups, places)
        return [one.answer for one in said]

    def put(
        self, prompts: Sequence[Prompt], groups: Sequence[Sequence[int]], places: Sequence[Place] = ()
    ) -> Plan[list[Said[Answer]]]:
        """Ask prompts that show these groups, all in one round, and keep the reports; what was said to each."""
        where = places or [Place(round=self._rounds)] * len(groups)
        said = yield from ask([self._question(*each) for each in zip(prompts, groups, where, strict=True)])
        self.calls += [one.report for one in said]
        self._rounds += bool(said)
        return said

    def order(self, ranking: Sequence[int], scores: Sequence[float] = ()) -> Order:
        """The order to return; where no call brought an answer, the input order stands."""
        kept = range(self.n) if all(map(_silent, self.calls)) else ranking
        return Order(tuple(kept), tuple(scores), tuple(self.calls))

    def _question(self, prompt: Prompt, group: Sequence[int], place: Place) -> Question[Answer]:
        def heard(completion: Completion) -> tuple[Answer, CallReport]:
            answer, report = read(self._strategy.asked, completion, len(group), prompt)
            return answer, replace(report, shown=tuple(group), place=place)

        return Question(prompt, heard)


def ordered(
    asker: Asker[Permutation], groups: Sequence[Sequence[int]], places: Sequence[Place] = ()
) -> Plan[list[list[int]]]:
    """Each group in the order that the model gives it, all in one round; a group of one is not asked about."""
    parsed = iter((yield from asker.ask([group for group in groups if len(group) > 1], places=places)))
    return [[group[at] for at in next(parsed).permutation] if len(group) > 1 else list(group) for group in groups]


def _silent(call: CallReport) -> bool:
    return call.status in {"no_answer", "failed"} or call.repairs.missing == len(call.shown or ())
