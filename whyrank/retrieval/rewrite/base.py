"""What every rewriter is, and how the plans of an LLM rewriter run: all queries at once, searches between the calls.

A plan is a generator for one query. It yields either prompts, and is sent their completions, or a `PassageRequest`, and
is sent the passages that a search with that text finds; it returns a `Rewriting`. The searches of all queries that wait
for one are made together, so that dense retrievers encode them in batches.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part, name_of
from whyrank.retrieval.rewrite.combine import Combine, Replace
from whyrank.types import CallReport, Document, Query, Status


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of one query.

    Attributes:
        texts: what to search for; several are searched apart and fused; none means that the original query is searched.
        calls: the reports of the model calls, in the order asked.
    """

    texts: tuple[str, ...] = ()
    calls: tuple[CallReport, ...] = ()


@dataclass(frozen=True, slots=True)
class PassageRequest:
    """A plan's wish to see passages: it is sent a tuple of `Document`s, best first, never one that is excluded.

    Attributes:
        text: what to search for.
        k: how many passages.
        without: ids of passages to leave out, besides those that the query excludes.
    """

    text: str
    k: int = 10
    without: frozenset[str] = frozenset()


Steps: TypeAlias = Generator[Sequence[Prompt] | PassageRequest, Any, Rewriting]
"""A rewriter's plan."""

Find: TypeAlias = Callable[[Mapping[str, PassageRequest]], Mapping[str, tuple[Document, ...]]]
"""Searches for many queries, by query id."""


class Rewriter(Part, ABC):
    """Makes of a query what is searched for. Subclasses are frozen dataclasses; most derive from `LLMRewriter`."""

    reads: ClassVar[bool] = True
    """Whether it may ask for passages; False spares a collection that is read once from being held in memory."""

    @property
    def default_combine(self) -> Combine:
        """How its text goes together with the original query unless `rewritten(..., combine=…)` says otherwise."""
        return Replace()

    def rewrite(self, queries: Sequence[Query], find: Find, trace: Trace | None = None) -> dict[str, Rewriting]:
        """What becomes of each query, by id; blank texts are taken out.

        Raises:
            BadInput: the hook left a query out, or gave something that is no `Rewriting`.
        """
        given = self._rewrite(queries, find, trace)
        checked = {}
        for query in queries:
            if not isinstance(made := given.get(query.id), Rewriting):
                raise BadInput(f"{name_of(type(self))}, query {query.id!r}: gave {made!r:.80} instead of a Rewriting")
            checked[query.id] = replace(made, texts=tuple(text for text in made.texts if text.strip()))
        return checked

    @abstractmethod
    def _rewrite(self, queries: Sequence[Query], find: Find, trace: Trace | None) -> Mapping[str, Rewriting]:
        """One rewriting for each query, by id."""


@dataclass(frozen=True)
class LLMRewriter(Rewriter):
    """A rewriter that asks a language model: write `plan` for one query; see `docs/add-your-own.md`.

    Attributes:
        llm: the model.
        sampling: how completions are drawn.
    """

    llm: LLM
    sampling: Sampling = field(default_factory=Sampling)

    @abstractmethod
    def plan(self, query: Query) -> Steps:
        """The algorithm for one query; does no I/O and knows no backend and no retriever."""

    def _rewrite(self, queries: Sequence[Query], find: Find, trace: Trace | None) -> Mapping[str, Rewriting]:
        walks = {query.id: self.plan(query) for query in queries}
        sent: Mapping[str, object] = dict.fromkeys(walks)
        done: dict[str, Rewriting] = {}
        while walks:
            stops = drive({id: _until_look(walk, sent[id]) for id, walk in walks.items()}, self.llm, trace)
            looks = {id: stop for id, stop in stops.items() if isinstance(stop, PassageRequest)}
            done |= {id: stop for id, stop in stops.items() if not isinstance(stop, PassageRequest)}
            walks, sent = {id: walks[id] for id in looks}, find(looks) if looks else {}
        return done


Parse: TypeAlias = Callable[[str], tuple[tuple[str, ...], bool]]
"""Makes texts of an answer, and says whether the answer kept to the form that was asked for."""


def whole(answer: str) -> tuple[tuple[str, ...], bool]:
    """The answer as it is, as one text."""
    return (answer,), True


def read(completion: Completion, parse: Parse = whole) -> tuple[tuple[str, ...], CallReport]:
    """The texts that an answer gives, and the report of the call for notes; the model's thought is never among them.

    Args:
        completion: what the model said.
        parse: how the answer is read.

    Returns:
        No text with the status "failed" or "no_answer"; else "exact", "repaired", or "truncated" for an answer that was
        cut off at the token limit: what there is of it is used.
    """
    if isinstance(completion, Failed):
        return (), reported(completion)
    thought, answer, open = parted(completion.text.encode("utf-8", "replace").decode())
    texts, kept = parse(_answer(answer))
    texts = tuple(text.strip() for text in texts if text.strip())
    answered: Status = "truncated" if open or completion.finish == "length" else "exact" if kept else "repaired"
    return texts, reported(completion, answered if texts else "no_answer", thought=completion.reasoning or thought)


_OPEN, _CLOSE = re.compile(r"<answer>", re.IGNORECASE), re.compile(r"</answer>", re.IGNORECASE)


def _answer(text: str) -> str:
    """The inside of the last `<answer>` block where there is one."""
    return _CLOSE.split(_OPEN.split(text)[-1], maxsplit=1)[0]


def _until_look(walk: Steps, sent: object) -> Plan[Rewriting | PassageRequest]:
    """The part of a plan up to its next search, or its end, as a plan for the scheduler."""
    try:
        step = walk.send(sent)
        while not isinstance(step, PassageRequest):
            step = walk.send((yield step))
        return step
    except StopIteration as end:
        made: Rewriting = end.value
        return made
