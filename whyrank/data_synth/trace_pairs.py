"""Long and short completions of one prompt, and which of them is to be preferred."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from whyrank.data_synth.base import LLMSynth, Made, Preference
from whyrank.data_synth.teacher import about, commonest, fault, sampled, sourced, thinks
from whyrank.data_synth.teacher_rankings import agreement
from whyrank.fields import Positive
from whyrank.llm.answer import Ok
from whyrank.llm.ask import Question, Said
from whyrank.llm.budget import count
from whyrank.llm.schedule import Plan
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.together import together
from whyrank.types import RankTask


@dataclass(frozen=True)
class TracePairs(LLMSynth):
    """Pairs for DPO that teach when to think, and to think no longer than it takes (AdaR1, 2504.21659, 2025).

    Each list is ranked several times with a thought and several times without. One pair prefers a style: the long one
    if its mean nDCG is higher by more than `margin`, else the short one. The other prefers, within that style, the
    shortest of the best to the longest. Both completions stand in the form of `long` behind its prompt; those of
    `short` have an empty thought between its tags, or none where `long` is for models that think by themselves.

    Attributes:
        llm: the model that is to be trained, or a teacher.
        long: how it is asked to think.
        short: how it is asked to answer at once.
        longs: how many long completions are drawn.
        shorts: how many short ones.
        margin: what thinking has to gain in nDCG to be worth its length.
        k: the cut-off of nDCG.
    """

    long: Format[Permutation] = field(default_factory=RankingFormat)
    short: Format[Permutation] = field(default_factory=lambda: RankingFormat(think="no"))
    longs: Positive = 4
    shorts: Positive = 2
    margin: float = 0.02
    k: Positive = 10

    def plan(self, task: RankTask) -> Plan[Made]:
        """All draws of both styles in one round."""
        if not task.relevant:
            return Made(dropped={"nothing_relevant": 1})
        question = about(self.long, task.query.text, task.documents, self)
        brief = about(self.short, task.query.text, task.documents, self)
        (longs,), (shorts,) = yield from together([sampled([question], self.longs), sampled([brief], self.shorts)])
        calls = tuple(one.report for one in (*longs, *shorts))
        slow, quick = self._drawn(task, longs, self.long), self._drawn(task, shorts, self.short)
        for name, style, format, said in (
            ("long", slow, self.long, longs),
            ("short", quick, self.short, shorts),
        ):
            if not style:
                faults = (f"{name} {fault(one, format, len(task.documents))}" for one in said)
                return Made(dropped=commonest(faults), calls=calls)
        pairs = preferences(slow, quick, self.margin)
        if not pairs:
            return Made(dropped={"nothing_to_prefer": 1}, calls=calls)
        return Made(tuple(self._made(task, question, pair) for pair in pairs), calls=calls)

    def _drawn(
        self, task: RankTask, said: Sequence[Said[Permutation]], format: Format[Permutation]
    ) -> "list[DrawnTrace]":
        n, tokenizer, drawn = len(task.documents), self.llm.tokenizer(), []
        for one in said:
            if not fault(one, format, n):
                order = one.answer.permutation
                thought = one.thought if thinks(format, n) else ""
                written = self.long.write([float(-order.index(at)) for at in range(n)], thought)
                value = agreement(task.gains, order, self.k)
                drawn.append(DrawnTrace(written, value, count(thought + written.text, tokenizer), one))
        return drawn

    def _made(self, task: RankTask, question: Question[Permutation], pair: "TracePair") -> Preference:
        both = (pair.chosen, pair.rejected)
        found = {"ndcg": [round(one.value, 6) for one in both], "tokens": [one.length for one in both]}
        source = sourced(task, self, [one.said for one in both], level=pair.level, query=task.query.id, **found)
        return Preference(tuple(question.prompt.chat), pair.chosen.text, pair.rejected.text, source)


@dataclass(frozen=True, slots=True)
class DrawnTrace:
    """A completion with what it is worth, its length in tokens, and the call that it came of."""

    text: Ok
    value: float
    length: int
    said: Said[Permutation]


@dataclass(frozen=True, slots=True)
class TracePair:
    """One is preferred to the other, for its style ("group") or within its style ("instance")."""

    level: str
    chosen: DrawnTrace
    rejected: DrawnTrace


def preferences(longs: Sequence[DrawnTrace], shorts: Sequence[DrawnTrace], margin: float) -> list[TracePair]:
    """At most one pair of each level; none where both completions would be the same, or the worse one be preferred.

    Args:
        longs: at least one.
        shorts: at least one.
        margin: what the mean value of `longs` must be above that of `shorts` by to be preferred.
    """
    gain = fmean(one.value for one in longs) - fmean(one.value for one in shorts)
    style, other = (longs, shorts) if gain > margin else (shorts, longs)
    best = min(style, key=lambda one: (-one.value, one.length))
    worst = min(other, key=lambda one: (one.value, -one.length))
    longest = max(style, key=lambda one: (one.length, -one.value))
    pairs = [TracePair("group", best, worst)] if best.value >= worst.value else []
    if longest.length > best.length:
        pairs.append(TracePair("instance", best, longest))
    return [pair for pair in pairs if pair.chosen.text != pair.rejected.text]
