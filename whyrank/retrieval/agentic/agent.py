"""`agentic(retriever, llm)`: a model searches step by step, reads what it finds, and quotes the evidence it goes by."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self

from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.fusion import reciprocal_ranks
from whyrank.llm.ask import Question, Said, ask
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Sampling
from whyrank.llm.schedule import drive
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.renamed import renamed
from whyrank.retrieval.agentic.step import Quote, Step, normal, read, render, source_of
from whyrank.retrieval.agentic.tool import FoundDocuments, SearchTool
from whyrank.retrieval.base import Retriever
from whyrank.types import CallReport, Corpus, Document, Evidence, Note, Query, Ranking, Run, Search, SearchStep


@renamed(shown="per_query")
@dataclass(frozen=True)
class Agentic(Retriever):
    """A language model looks for the documents: it plans queries, reads what they find, quotes evidence, and goes on.

    First the model writes queries, which are searched together with the question itself. Then, round by round, it
    reads the passages that are new, quotes evidence, and writes the next queries. Each quote is looked up in the
    documents that were shown; what stands in none is rejected and counted, so that invented evidence moves nothing. The
    model is told which queries were weak, having found nothing new or nothing that gave evidence, and rewrites them. It
    ends when the model is done, when all rounds are spent, when it only repeats queries, when its answer cannot be
    read, or when a second round running finds nothing new.

    The ranking has the documents with evidence first, those with more quotes before those with fewer; then all others
    by reciprocal rank fusion of what each query found. Without any readable answer it is the search of the question as
    it stands. Only documents that a search found are ranked, and what a query may not find is neither ranked nor shown.

    At most `rounds` + 1 model calls a query. The model is asked for all queries at once, then their searches run as one
    batch, so that an expensive retriever is called once a round.

    `notes` has for each query `calls` (status, quotes and those rejected), `searches` (what each found), `evidence`
    (document ids and quotes), and why it `stopped`.

    Attributes:
        retriever: what it searches with.
        llm: the model.
        rounds: how often the model's queries are searched.
        width: how many queries the model may write for one round.
        per_query: how many documents of each query are read.
        depth: how many documents of each query are fused.
        max_passage_tokens: of a document as it is shown; quotes are looked up in the whole document.
        sampling: how the answers are drawn.

    Source:
        Queries side by side: ParallelSearch (2508.09303) and HybridDeepSearcher (2508.19113), 2025. The two checks on a
        query: SmartSearch (2601.04888), 2026. Evidence that is not in its source: ALR² (2410.03227), 2024.
    """

    retriever: Retriever
    llm: LLM
    rounds: Positive = 3
    width: Positive = 3
    per_query: Positive = 5
    depth: Positive = 100
    max_passage_tokens: Positive = 256
    sampling: Sampling = field(default_factory=Sampling)
    _corpus: Corpus | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True

    def ready(self, corpus: Iterable[Document]) -> Self:
        """A copy that reads `corpus`, and searches the index of its retriever where that has one already."""
        texts = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
        held = replace(self, retriever=self.retriever.ready(texts))
        object.__setattr__(held, "_corpus", texts)
        return held

    def _index(self, corpus: Iterable[Document]) -> None:
        texts = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
        object.__setattr__(self, "retriever", self.retriever.index(texts))
        object.__setattr__(self, "_corpus", texts)

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        if self._corpus is None:
            raise BadInput(f"{self!r} has no texts to read yet: call index(corpus) first")
        trace = Trace() if trace is None else trace
        hunts = [_AgentSearch(self, query, self._corpus) for query in queries]
        for _ in range(self.rounds):
            self._think(hunts, trace)
            self._look(hunts, max(k, self.depth), trace)
        self._think(hunts, trace)
        rankings = {hunt.query.id: hunt.ranking() for hunt in hunts}
        notes = {hunt.query.id: hunt.note() for hunt in hunts}
        return Run.of(rankings, name=name_of(type(self)), notes=notes)

    def _think(self, hunts: Sequence["_AgentSearch"], trace: Trace) -> None:
        """One model call for each query that has not stopped."""
        plans = {hunt.query.id: ask([hunt.question()]) for hunt in hunts if not hunt.stopped}
        answers = drive(plans, self.llm, trace) if plans else {}
        for hunt in hunts:
            if hunt.query.id in answers:
                hunt.heed(*answers[hunt.query.id])

    def _look(self, hunts: Sequence["_AgentSearch"], k: int, trace: Trace) -> None:
        """One search for what all queries that wait want to know."""
        asked = {hunt.query.id: hunt.tool.queries(hunt.wanted) for hunt in hunts if hunt.wanted}
        if asked:
            run = self.retriever.search([query for some in asked.values() for query in some], k, trace)
            for hunt in hunts:
                if hunt.query.id in asked:
                    hunt.take(asked[hunt.query.id], run)


class _AgentSearch:
    """What the agent knows about one query."""

    def __init__(self, agent: Agentic, query: Query, corpus: Corpus) -> None:
        self.agent, self.query, self.corpus = agent, query, corpus
        self.tool = SearchTool(
            agent.retriever,
            corpus,
            agent.per_query,
            excluded=query.excluded,
            only=query.only,
            max_tokens=agent.max_passage_tokens,
            tokenizer=agent.llm.tokenizer(),
            name=query.id,
        )
        self.wanted: list[str] = []
        self.found: list[FoundDocuments] = []  # of the last round
        self.history: list[tuple[FoundDocuments, int]] = []  # all that was found, and in which round
        self.lists: list[Sequence[str]] = []
        self.evidence: dict[tuple[int, str], str] = {}  # document number and quote as compared: quote as written
        self.sources: dict[int, str] = {}
        self.calls: list[CallReport] = []
        self.stopped = ""

    @property
    def round(self) -> int:
        """How many rounds of searching there were."""
        return self.tool.ledger.calls

    def question(self) -> Question[Step]:
        """What the model is asked next."""
        width = self.agent.width if self.round < self.agent.rounds else 0
        evidence = [(number, text) for (number, _), text in self.evidence.items()]
        prompt = render(self.query.text, evidence, self._searches(), self.found, width, self.agent.sampling)
        return Question(prompt, partial(read, width=self.agent.width))

    def heed(self, said: Said[Step]) -> None:
        """Take in the model's answer: check its quotes, and see what it wants to search."""
        step = said.answer
        rejected = [quote.text for quote in step.quotes if not self._verified(quote)]
        before = {normal(found.query) for found, _ in self.history} | {normal(self.query.text)}
        fresh = [query for query in step.queries if normal(query) not in before]
        repeated = len(step.queries) - len(fresh)
        hunted = SearchStep(len(step.quotes), tuple(rejected), len(step.queries), repeated)
        self.calls.append(replace(said.report, hunted=hunted))
        if not self.round:
            self.wanted = [self.query.text, *fresh]
        elif self.round == self.agent.rounds:
            self.stopped = "rounds"
        elif not fresh:
            readable = step.status in {"exact", "repaired"}
            self.stopped = "repeats" if step.queries else "done" if readable else "unreadable"
        else:
            self.wanted = fresh

    def take(self, queries: Sequence[Query], run: Run) -> None:
        """Take in what the queries of a round found."""
        self.found, self.wanted = self.tool.take(queries, run), []
        self.history += [(found, self.round) for found in self.found]
        self.lists += [run[query.id].ids for query in queries]
        for id, number in self.tool.seen.items():
            if number not in self.sources:
                self.sources[number] = normal(self.corpus[id].content)
        fresh = {round for found, round in self.history if found.new}
        if self.round not in fresh and (self.round == self.agent.rounds or self.round - 1 not in {0, *fresh}):
            self.stopped = "nothing new"

    def ranking(self) -> list[str]:
        """Documents with evidence, then what the queries found, fused, then what the question finds further down."""
        fused = list(reciprocal_ranks([ids[: self.agent.depth] for ids in self.lists]))
        place = {id: at for at, id in enumerate(fused)}
        support = Counter(number for number, _ in self.evidence)
        backed = [id for id, number in self.tool.seen.items() if support[number]]
        backed.sort(key=lambda id: (-support[self.tool.seen[id]], place[id]))
        return list(dict.fromkeys([*backed, *fused, *self.lists[0]]))

    def note(self) -> Note:
        """What is told beside the ranking."""
        ids = list(self.tool.seen)
        evidence = tuple(Evidence(ids[number - 1], text) for (number, _), text in self.evidence.items())
        return Note(tuple(self.calls), searches=tuple(self._searches()), evidence=evidence, stopped=self.stopped)

    def _verified(self, quote: Quote) -> bool:
        """Whether the quote stands in a document that was shown; if so it is kept as evidence."""
        number = source_of(quote, self.sources)
        if number is not None:
            self.evidence.setdefault((number, normal(quote.text)), quote.text)
        return number is not None

    def _searches(self) -> list[Search]:
        backed = {number for number, _ in self.evidence}
        return [
            Search(found.query, round, len(found.hits), found.new, sum(hit.number in backed for hit in found.hits))
            for found, round in self.history
        ]
