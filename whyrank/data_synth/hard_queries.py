"""Reasoning-hard queries from documents: a teacher writes what someone asks whom the document would help."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from whyrank.data_synth.base import Item, LLMSynth, Made
from whyrank.data_synth.teacher import about, sampled, sourced, top
from whyrank.fields import Positive, Share
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.ask import Question, Said
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan
from whyrank.renamed import renamed
from whyrank.rerank.formats import PointFormat, Rubric, clean
from whyrank.retrieval.lexical.analysis import analyze
from whyrank.types import CallReport, Document, Query, RankTask, Status

Kind = Literal["scenario", "long"]
LENGTHS: Mapping[Kind, tuple[int, int]] = {"scenario": (8, 300), "long": (300, 2000)}
"""The fewest and the most words of a query of each kind."""


@renamed(times="per_document")
@dataclass(frozen=True)
class HardQueries(LLMSynth):
    """For each document, queries that it helps to answer by what it explains, not by its words.

    Two kinds, as ReasonIR has them (2504.20595, 2025): a scenario from which one must work out what to look for, and a
    long story of 300 to 2000 words. The teacher also writes a short answer, which `teacher_rankings` labels with.
    Dropped are answers in another form, queries too short or too long, those that share too many of their words with
    the document (stemmed, without stop words), and, by a second call, those that the document does not help to answer.

    Attributes:
        llm: the teacher.
        kind: "scenario" or "long".
        per_document: how many queries are drawn for each document.
        shared: the largest share of a query's distinct terms that may stand in the document.
        check: how the teacher is asked whether the document helps; None asks nothing.
        accept: the least share of that format's scale at which it does.
    """

    reads: ClassVar[Literal["documents", "queries"]] = "documents"

    kind: Kind = "scenario"
    per_document: Positive = 1
    shared: Share = 0.5
    check: PointFormat | None = field(default_factory=lambda: Rubric(think="no"))
    accept: Share = 0.6

    def plan(self, task: RankTask) -> Plan[Made]:
        """One round of writing for all documents of the task, one of checking."""
        asked = yield from sampled([self._question(document) for document in task.documents], self.per_document)
        written = [(one, said) for one, drawn in zip(task.documents, asked, strict=True) for said in drawn]
        faults = [self.fault(document, said) for document, said in written]
        sound = [pair for pair, fault in zip(written, faults, strict=True) if not fault]
        checks = [about(self.check, said.answer.query, [one], self) for one, said in sound] if self.check else []
        checked = yield from sampled(checks)
        verdicts = [one for (one,) in checked]
        items: list[Item] = []
        dropped = Counter(fault for fault in faults if fault)
        for at, (document, said) in enumerate(sound):
            if verdicts and (reason := self._unhelped(verdicts[at])):
                dropped[reason] += 1
            else:
                items.append(self._made(task, document, said, verdicts[at : at + 1]))
        calls = (*(said.report for _, said in written), *(one.report for one in verdicts))
        return Made(tuple(items), dropped, calls)

    def fault(self, document: Document, said: "Said[WrittenQuery]") -> str:
        """Why a query is no use for this document, by its form and its words; empty where it may be."""
        if said.status != "exact":
            return said.status
        least, most = LENGTHS[self.kind]
        words = len(said.answer.query.split())
        if not least <= words <= most:
            return "too_short" if words < least else "too_long"
        return "shares_words" if share(said.answer.query, document.content) > self.shared else ""

    def _unhelped(self, verdict: Said[Any]) -> str:
        if verdict.status not in ("exact", "repaired"):
            return f"check {verdict.status}"
        return "" if level(verdict, self.check) >= self.accept else "not_answered"

    def _made(
        self, task: RankTask, document: Document, said: "Said[WrittenQuery]", verdict: list[Said[Any]]
    ) -> RankTask:
        found = {"answer": said.answer.answer, "document": document.id, "scale": 1.0}
        source = sourced(task, self, [said, *verdict]) | found
        query = Query(f"{document.id}-{self.kind}-{said.prompt.sample}", said.answer.query)
        return RankTask(query, (document,), {document.id: 1.0}, (), "", source)

    def _question(self, document: Document) -> "Question[WrittenQuery]":
        text = Piece(clean(document.content) or EMPTY, "document", self.max_passage_tokens)
        user = (Piece("Document: "), text, Piece(f"\n\n{_FORM}"))
        messages = (Message("system", (Piece(_TASKS[self.kind]),)), Message("user", user))
        return Question(Prompt(messages, self.sampling), read_asked)


@dataclass(frozen=True, slots=True)
class WrittenQuery:
    """A query that was written, and its short answer."""

    query: str
    answer: str


def read_asked(completion: Completion) -> tuple[WrittenQuery, CallReport]:
    """Query and answer of a completion, and the report of the call; both tags must be there, or there is neither."""
    if isinstance(completion, Failed):
        return WrittenQuery("", ""), reported(completion)
    found = _ASKED.search(completion.text.rpartition("</think>")[2])
    asked = WrittenQuery(*(" ".join(part.split()) for part in found.groups())) if found else WrittenQuery("", "")
    status: Status = "exact" if asked.query else "truncated" if completion.finish == "length" else "no_answer"
    return asked, reported(completion, status)


def share(query: str, text: str) -> float:
    """The share of the query's distinct terms, stemmed and without stop words, that occur in the text.

    Examples:
        >>> share("bees dance", "the dance of a bee")
        1.0
    """
    terms = set(analyze(query))
    return len(terms & set(analyze(text))) / len(terms) if terms else 1.0


def level(said: Said[Any], format: PointFormat | None) -> float:
    """A judgement as a share of its format's scale, from 0 to 1."""
    return float(said.answer.score) / top(format)


_ASKED = re.compile(r"<question>(.+?)</question>\s*<answer>(.+?)</answer>", re.DOTALL | re.IGNORECASE)

_FORM = "Write <question> the question </question> and then <answer> its answer in one sentence </answer>."

_COMMON = (
    "You write questions that are hard for search engines. You are shown a document. Think of someone in a particular "
    "situation who has never seen it, and whom a fact, principle or method in it would help, once it is worked out "
    "that this is what the situation turns on. {shape} Tell the situation and ask what the person would ask; leave out "
    "the name of the principle and as far as you can the words of the document, so that only reasoning leads from one "
    "to the other. The question must make sense on its own: never mention a document, passage or text. Then answer it "
    "in one sentence from what the document says."
)
_TASKS: Mapping[Kind, str] = {
    "scenario": _COMMON.format(shape="Write two to six sentences."),
    "long": _COMMON.format(
        shape="Write 300 to 2000 words: background, what was tried, what was observed, details that do not matter."
    ),
}
