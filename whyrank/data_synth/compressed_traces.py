"""Shorter thoughts that still lead to the order: steps are left out, or the whole is written anew."""

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeAlias

from whyrank.data_synth.base import Item, LLMSynth, Made, Preference
from whyrank.data_synth.teacher import about, sampled, sourced
from whyrank.data_synth.teacher_rankings import agreement
from whyrank.fields import Above, AtMost, Positive, Share
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.ask import Question, Said
from whyrank.llm.budget import count
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.types import CallReport, RankTask, Status

Trial: TypeAlias = tuple[str, Said[Permutation]]
"""A thought, and the answer that it led to."""


@dataclass(frozen=True)
class CompressedTraces(LLMSynth):
    """Makes a task's thought shorter, where the answer that it then leads to is as good.

    A candidate is put into the mouth of the model, which goes on with the answer; it is accepted if nDCG of that answer
    is at least that of the task's order less `tolerance`. With way="drop" each step is left out by itself; then all
    that could be spared at once, and while that fails the longer half of them: 2 + log2(steps) rounds at most (the idea
    of DTO and A*-Thought, 2025, without A*'s language-model score). With way="rewrite" the teacher writes the thought
    anew, surely and without second thoughts (the idea of ConCISE, 2025). The engine must go on with a turn that was
    begun.

    Attributes:
        llm: the model that the answer is forced from, and that rewrites.
        way: "drop" or "rewrite".
        format: how the thought was asked for; it must be one that thinks.
        samples: how many rewritings are drawn.
        shorter: a candidate has at most this share of the thought's tokens.
        tolerance: what nDCG may lose.
        k: its cut-off.
        steps: at most so many steps; longer thoughts are cut into as many.
        pairs: give pairs, the short completion preferred to the long, instead of tasks.
    """

    way: Literal["drop", "rewrite"] = "drop"
    format: Format[Permutation] = field(default_factory=RankingFormat)
    samples: Positive = 2
    shorter: Annotated[float, Above(0), AtMost(1)] = 0.9
    tolerance: Share = 0.005
    k: Positive = 10
    steps: Positive = 20
    pairs: bool = False

    def plan(self, task: RankTask) -> Plan[Made]:
        """Candidates, each with a call that forces its answer."""
        if not task.relevant:
            return Made(dropped={"nothing_relevant": 1})
        if not (task.thought.strip() and task.order):
            return Made(dropped={"no_thought": 1})
        calls: list[Said[Any]] = []
        tried = yield from (self._dropping(task, calls) if self.way == "drop" else self._rewriting(task, calls))
        reports = tuple(one.report for one in calls)
        size, tokenizer = count(task.thought, self.llm.tokenizer()), self.llm.tokenizer()
        good = [trial for trial in tried if self.holds(task, trial[1])]
        short = [trial for trial in good if 0 < count(trial[0], tokenizer) <= self.shorter * size]
        if not short:
            return Made(dropped={_why(tried, good): 1}, calls=reports)
        words, said = min(short, key=lambda trial: count(trial[0], tokenizer))
        return Made((self._made(task, words, said, size),), calls=reports)

    def holds(self, task: RankTask, said: Said[Permutation]) -> bool:
        """The rule of acceptance: well-formed, and nDCG(new) >= nDCG(old) - tolerance."""
        old = agreement(task.gains, task.places, self.k)
        return said.status == "exact" and agreement(task.gains, said.answer.permutation, self.k) >= old - self.tolerance

    def _dropping(self, task: RankTask, calls: list[Said[Any]]) -> "Tries":
        parts = merged(split(task.thought), self.steps)
        if len(parts) < 2:
            return []
        each = yield from self._forced(task, [_without(parts, [at]) for at in range(len(parts))], calls)
        spared = [at for at, (_, said) in enumerate(each) if self.holds(task, said)]
        tried, spared = each, sorted(spared, key=lambda at: -len(parts[at]))
        while len(spared) > 1:
            (trial,) = yield from self._forced(task, [_without(parts, spared)], calls)
            tried = [*tried, trial]
            if trial[0] and self.holds(task, trial[1]):
                break
            spared = spared[: len(spared) // 2]
        return tried

    def _rewriting(self, task: RankTask, calls: list[Said[Any]]) -> "Tries":
        pieces = (
            Piece("Query: "),
            Piece(task.query.text, cut="query"),
            Piece("\n\nThought:\n"),
            Piece(task.thought, cut="document"),
            Piece("\n\nWrite the shorter thought and nothing else."),
        )
        prompt = Prompt((Message("system", (Piece(_REWRITE),)), Message("user", pieces)), self.sampling)
        (said,) = yield from sampled([Question(prompt, _read)], self.samples)
        calls += said
        return (yield from self._forced(task, [one.answer for one in said if one.status == "exact"], calls))

    def _forced(self, task: RankTask, thoughts: Sequence[str], calls: list[Said[Any]]) -> "Tries":
        question = about(self.format, task.query.text, task.documents, self)
        answer = Sampling(max_tokens=64 + 8 * len(task.documents))
        told = [replace(question, prompt=question.prompt.prefilled(_closed(one), answer)) for one in thoughts]
        said = [one for (one,) in (yield from sampled(told))]
        calls += said
        return list(zip(thoughts, said, strict=True))

    def _made(self, task: RankTask, words: str, said: Said[Permutation], size: int) -> Item:
        order = tuple(task.documents[at].id for at in said.answer.permutation)
        values = [round(agreement(task.gains, at, self.k), 6) for at in (said.answer.permutation, task.places)]
        found = {"tokens": [count(words, self.llm.tokenizer()), size], "ndcg": values}
        source = sourced(task, self, [said], way=self.way, query=task.query.id, **found)
        made = replace(task, order=order, thought=words, source=source)
        if not self.pairs:
            return made
        prompt = about(self.format, task.query.text, task.documents, self).prompt
        return Preference(tuple(prompt.chat), self._written(made), self._written(task), source)

    def _written(self, task: RankTask) -> Any:  # noqa: ANN401
        return self.format.write([float(-task.order.index(one.id)) for one in task.documents], task.thought)


Tries: TypeAlias = Generator[Sequence[Prompt], Sequence[Completion], list[Trial]]


def split(thought: str) -> list[str]:
    """The steps of a thought, its lines, or its sentences where there is but one line; together they are the thought.

    Examples:
        >>> split("Heat rises. So the ball floats! Surely.")
        ['Heat rises. ', 'So the ball floats! ', 'Surely.']
    """
    lines = re.findall(r"\s*\S[^\n]*(?:\n\s*)?", thought)
    return lines if len(lines) > 1 else re.split(r"(?<=[.!?]\s)(?=\S)", thought)


def merged(parts: Sequence[str], most: int) -> list[str]:
    """At most `most` parts, neighbours joined as evenly as can be; together they are the same text."""
    size = -(-len(parts) // most)
    return ["".join(parts[at : at + size]) for at in range(0, len(parts), size)]


def _why(tried: Sequence[Trial], good: Sequence[Trial]) -> str:
    if good:
        return "not_shorter"
    return "worse" if any(said.status == "exact" for _, said in tried) else "no_candidate"


def _without(parts: Sequence[str], left_out: Iterable[int]) -> str:
    gone = set(left_out)
    return "".join(part for at, part in enumerate(parts) if at not in gone).strip()


def _closed(thought: str) -> str:
    return f"<think>{thought}</think>\n"


def _read(completion: Completion) -> tuple[str, CallReport]:
    if isinstance(completion, Failed):
        return "", reported(completion)
    words = parted(completion.text).answer.strip()
    status: Status = "truncated" if completion.finish == "length" else "exact" if words else "no_answer"
    return words, reported(completion, status)


_REWRITE = (
    "You are shown what a model thought while it ranked passages for a query. Write the thought again, as short as it "
    "can be while the same ranking still follows from it. Keep what each passage is found to hold or to lack, and the "
    "numbers of passages in square brackets. Leave out repetition, doubts, second looks and what leads nowhere; state "
    "each finding once and with confidence. Add nothing new."
)
