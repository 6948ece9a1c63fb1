"""Rewriters that ask once for each query: reasoned query, HyDE, query2doc, LameR, keywords, sub-queries, step-back."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.llm.ask import Question, ask
from whyrank.llm.messages import Prompt, Sampling
from whyrank.renamed import renamed
from whyrank.retrieval.rewrite import prompts
from whyrank.retrieval.rewrite.base import LLMRewriter, PassageRequest, Rewriting, Steps, read, whole
from whyrank.retrieval.rewrite.combine import Append, Combine, FuseOriginal, Repeat
from whyrank.types import Query


def _warm() -> Sampling:
    return Sampling(temperature=0.8, top_p=0.8, max_tokens=2048)


@dataclass(frozen=True)
class _SingleCall(LLMRewriter):
    """One prompt, one completion."""

    reads: ClassVar[bool] = False

    @abstractmethod
    def ask(self, query: str) -> Prompt:
        """The prompt for a query."""

    def parse(self, answer: str, query: str) -> tuple[tuple[str, ...], bool]:
        """The texts in an answer, and whether it kept to the form asked for."""
        return whole(answer)

    def plan(self, query: Query) -> Steps:
        """One call."""
        parse = partial(read, parse=lambda answer: self.parse(answer, query.text))
        (said,) = yield from ask([Question(self.ask(query.text), parse)])
        return Rewriting(said.answer, (said.report,))


@dataclass(frozen=True)
class ReasonedQuery(_SingleCall):
    """Reason about the query in three steps, and search for the reasoning: BRIGHT's instruction (2407.12883, 2024).

    TongSearch-QR (2506.11603, 2025) and other models trained for this are run with the words that they were trained on:
    `reasoned_query(vllm('TongSearch/TongSearch-QR-7B'), template='… {query} …', system='',
    sampling=sampling(max_tokens=1024))`.

    Attributes:
        llm: the model.
        sampling: how completions are drawn; BRIGHT's settings by default.
        template: the prompt, with {query} where the query goes; None is ours.
        system: the system turn. None sends none, and some chat templates, such as Qwen2.5's, then put in their own; ""
            sends an empty one.
    """

    sampling: Sampling = field(default_factory=_warm)
    template: str | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        """Refuse a template that never shows the query."""
        if self.template is not None and "{query}" not in self.template:
            raise BadInput("reasoned_query: the template must hold {query}, where the query goes")

    def ask(self, query: str) -> Prompt:
        """Three steps."""
        return prompts.fill(self.template or prompts.REASONED, self.sampling, query, system=self.system)


@dataclass(frozen=True)
class HyDE(_SingleCall):
    """Search for a passage that the model makes up as an answer (2212.10496, 2022).

    Attributes:
        llm: the model.
        sampling: how completions are drawn; R2MED's settings by default.
    """

    sampling: Sampling = field(default_factory=_warm)

    def ask(self, query: str) -> Prompt:
        """A passage is asked for."""
        return prompts.fill(prompts.HYDE, self.sampling, query)


@dataclass(frozen=True)
class Query2Doc(_SingleCall):
    """Put a passage that the model makes up, after two examples, behind the query written twice (2303.07678, 2023).

    Twice is how R2MED (2025) runs it; the paper repeats the query five times for BM25: `combine=repeat(n=5)`.

    Attributes:
        llm: the model.
        sampling: how completions are drawn; R2MED's settings by default.
    """

    sampling: Sampling = field(default_factory=_warm)

    @property
    def default_combine(self) -> Combine:
        """The query twice, then the passage."""
        return Repeat(n=2)

    def ask(self, query: str) -> Prompt:
        """Two examples, then the query."""
        return prompts.fill(prompts.QUERY2DOC, self.sampling, query)


@dataclass(frozen=True)
class LameR(LLMRewriter):
    """Show the model what the query finds, and append the passage that it then writes (2304.14233, 2023).

    Attributes:
        llm: the model.
        sampling: how completions are drawn; R2MED's settings by default.
        passages: how many passages are shown.
        max_passage_tokens: longer passages are cut to this.
    """

    sampling: Sampling = field(default_factory=_warm)
    passages: Positive = 10
    max_passage_tokens: Positive = 512

    @property
    def default_combine(self) -> Combine:
        """The query, then the passage."""
        return Append()

    def plan(self, query: Query) -> Steps:
        """One search, one call."""
        found = yield PassageRequest(query.text, self.passages)
        prompt = prompts.fill(prompts.LAMER, self.sampling, query.text, found, self.max_passage_tokens)
        (said,) = yield from ask([Question(prompt, read)])
        return Rewriting(said.answer, (replace(said.report, passages=tuple(document.id for document in found)),))


@renamed(most="max_keywords")
@dataclass(frozen=True)
class Keywords(_SingleCall):
    """Append keywords that the query lacks: at most 16, none twice, without the query's own words.

    The form of LREM's training data (2510.14321, 2025). A keyword loses the words that stand in the query already.

    Attributes:
        llm: the model.
        sampling: how completions are drawn.
        max_keywords: how many keywords are kept.
    """

    max_keywords: Positive = 16

    @property
    def default_combine(self) -> Combine:
        """The query, then the keywords."""
        return Append()

    def ask(self, query: str) -> Prompt:
        """A line of keywords is asked for."""
        return prompts.fill(prompts.KEYWORDS.replace("{most}", str(self.max_keywords)), self.sampling, query)

    def parse(self, answer: str, query: str) -> tuple[tuple[str, ...], bool]:
        """The keywords as one text."""
        known = {_folded(word) for word in query.split()}
        listed = [item for item in map(_item, re.split(r"[,;\n、，]", _HEAD.sub("", answer))) if item]
        fresh = [" ".join(word for word in item.split() if _folded(word) not in known) for item in listed]
        kept = _distinct(fresh)[: self.max_keywords]
        return ((", ".join(kept),) if kept else ()), kept == listed


@renamed(most="max_queries")
@dataclass(frozen=True)
class SubQueries(_SingleCall):
    """Break the query into sub-queries; all are searched at once, with the query itself, and fused.

    After ParallelSearch (2508.09303, 2025), whose model is trained to do this; here any model is asked to.

    Attributes:
        llm: the model.
        sampling: how completions are drawn.
        max_queries: how many sub-queries are kept.
    """

    max_queries: Positive = 4

    @property
    def default_combine(self) -> Combine:
        """Query and sub-queries, fused."""
        return FuseOriginal()

    def ask(self, query: str) -> Prompt:
        """One query a line is asked for."""
        return prompts.fill(prompts.SUBQUERIES.replace("{most}", str(self.max_queries)), self.sampling, query)

    def parse(self, answer: str, query: str) -> tuple[tuple[str, ...], bool]:
        """One text for each sub-query."""
        listed = [item for item in map(_item, answer.splitlines()) if item]
        kept = _distinct(listed)[: self.max_queries]
        return tuple(kept), kept == listed


@dataclass(frozen=True)
class StepBack(_SingleCall):
    """Search also for a more general question, about the principle behind the query (2310.06117, 2023).

    Attributes:
        llm: the model.
        sampling: how completions are drawn.
    """

    @property
    def default_combine(self) -> Combine:
        """Query and general question, fused."""
        return FuseOriginal()

    def ask(self, query: str) -> Prompt:
        """One question is asked for."""
        return prompts.fill(prompts.STEPBACK, self.sampling, query)


_BULLET = re.compile(r"^\s*(?:[-*•·–]|\(?\d+[.):])\s+")
_HEAD = re.compile(r"^\s*key\s?words?\s*:", re.IGNORECASE)


def _item(text: str) -> str:
    """An item of a list without its bullet or number, quotes and emphasis."""
    return " ".join(_BULLET.sub("", text).strip(" \t\r\"'`*“”.").split())


def _folded(word: str) -> str:
    return word.strip(".,;:!?()[]{}\"'`“”").casefold()


def _distinct(items: Sequence[str]) -> list[str]:
    """The items that are not empty, each once, whatever its case."""
    first: dict[str, str] = {}
    for item in filter(None, items):
        first.setdefault(item.casefold(), item)
    return list(first.values())
