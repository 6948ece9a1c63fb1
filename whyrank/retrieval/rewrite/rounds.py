"""Rewriting in rounds with the collection: search, think about what came, search with what was thought."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from whyrank.fields import Positive
from whyrank.llm.ask import Question, ask
from whyrank.llm.messages import Sampling
from whyrank.retrieval.rewrite import prompts
from whyrank.retrieval.rewrite.base import LLMRewriter, PassageRequest, Rewriting, Steps, read
from whyrank.retrieval.rewrite.combine import Append, Combine, Repeat
from whyrank.types import CallReport, Place, Query


@dataclass(frozen=True)
class ThinkQE(LLMRewriter):
    """Rounds of search and thought: the model reads what the last query found and writes a passage that answers.

    ThinkQE (2506.09260, 2025) keeps all passages of all rounds, behind the query repeated by MuGI's rule. DIVER
    (2508.07995, 2025) keeps only the last, which refines the one before, behind the query:
    `thinkqe(llm, rounds=2, samples=1, accumulate=False)`. Both are meant for a model that thinks by itself; what is
    kept is its answer. A passage that was shown once is set aside, so that each round brings new ones. (The published
    code lets one come back once it has dropped out of the first five; here it does not.)

    Attributes:
        llm: the model.
        sampling: how completions are drawn.
        rounds: how many times the model is shown passages; one search each, and one at the end.
        samples: how many completions are drawn in each round.
        passages: how many passages are shown in each round.
        max_passage_tokens: longer passages are cut to this; ThinkQE shows 128 on TREC DL and 512 on BRIGHT.
        accumulate: keep what all rounds wrote, or only the last.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=8192))
    rounds: Positive = 3
    samples: Positive = 2
    passages: Positive = 5
    max_passage_tokens: Positive = 512
    accumulate: bool = True

    @property
    def default_combine(self) -> Combine:
        """MuGI's repetition, or DIVER's query and passage."""
        return Repeat() if self.accumulate else Append()

    def plan(self, query: Query) -> Steps:
        """A round that brings no answer leaves what the rounds before it brought."""
        kept: list[str] = []
        calls: list[CallReport] = []
        shown: frozenset[str] = frozenset()
        for number in range(1, self.rounds + 1):
            found = yield PassageRequest(self._joined(query.text, kept), self.passages, shown)
            shown |= {document.id for document in found}
            prompt = prompts.fill(
                prompts.REFINE if kept and not self.accumulate else prompts.THINKQE,
                self.sampling,
                query.text,
                found,
                self.max_passage_tokens,
                draft="\n".join(kept),
            )
            said = yield from ask([Question(prompt, read).drawn(sample) for sample in range(self.samples)])
            answers = [text for one in said for text in one.answer]
            for one in said:
                ids = tuple(document.id for document in found)
                calls.append(replace(one.report, passages=ids, place=Place(round=number)))
            kept = kept + answers if self.accumulate else answers or kept
        return Rewriting(("\n".join(kept),) if kept else (), tuple(calls))

    def _joined(self, query: str, kept: Sequence[str]) -> str:
        """What a round searches for."""
        return self.default_combine.searched(query, kept)[0].text if kept else query
