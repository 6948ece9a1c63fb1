"""Pointwise reranking: each passage is judged alone, all at once; the best may be judged again by many samples."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from whyrank.errors import BadInput
from whyrank.fields import NotNegative, Positive
from whyrank.llm.answer import Ok
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Graded, Rubric
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default
from whyrank.types import Place


@dataclass(frozen=True)
class Pointwise(Strategy[Graded]):
    """Scores each candidate alone by the mean of some samples; with `refine`, the best again by more of them.

    With n candidates: n · samples calls in one round; `refine` adds min(n, refine) · refine_samples calls and one
    round, so that `refine=30` is Retro*'s 100@1→30@16, 580 calls in 2 rounds. Fresh samples alone count for a refined
    document, as the sample that chose it is flattering; refined documents stay above the others. A score that cannot be
    read is asked for again, up to `retries` rounds more with one call for each one missing; a thought that was cut off
    is closed, and its answer asked for alone (Rank1). Calls that failed are not asked for again, since the scheduler
    has tried them again already.

    A document without any readable score gets the score that stands at its place of the first stage when the scores
    of all others are sorted, and so keeps about that place; `Order.scores` says NaN. Equal scores keep the order of the
    first stage. With a model that never errs the order is exact.

    Sources: Retro* (2509.24869, 2025), Rank1 (2502.18418, 2025).

    Attributes:
        llm: the model.
        samples: how many samples each document gets.
        refine: how many of the best get samples of their own; 0 is none.
        refine_samples: how many.
        format: the prompt and how its answer is read: `rubric()` or `yes_no()`.
        sampling: how completions are drawn; several samples need a temperature above 0.
        retries: how often an unreadable score is asked for again.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a number out of range, or several samples at temperature 0, which would all be the same.

    Examples:
        >>> from whyrank import Fake
        >>> llm = Fake(lambda prompt: "90" if "dance" in prompt.chat[1]["content"].split("Passage:")[1] else "15")
        >>> best = Pointwise(llm, format=Rubric("no")).rank("what do bees do?", ["Bees make honey.", "They dance."])
        >>> [(item.text, item.score) for item in best]
        [('They dance.', 90.0), ('Bees make honey.', 15.0)]
    """

    samples: Positive = 1
    refine: NotNegative = 0
    refine_samples: Positive = 16
    retries: NotNegative = 1
    format: Format[Graded] = field(default_factory=by_default(Rubric), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse samples that cannot differ."""
        if self.sampling.temperature == 0 and max(self.samples, self.refine_samples if self.refine else 1) > 1:
            raise BadInput(
                "pointwise: at temperature 0 all samples are the same: give sampling=sampling(temperature=0.6)"
            )

    def unit(self, score: float) -> float:
        """The share of the format's highest score."""
        return score / self.asked.highest

    def _plan(self, asker: Asker[Graded]) -> Plan[Order]:
        """One pass over all documents, and one over the best."""
        everyone = range(asker.n)
        scores = yield from self._pass(asker, everyone, range(self.samples))
        order = best_first(everyone, scores)
        if self.refine:
            best, drawn = sorted(order[: self.refine]), range(self.samples, self.samples + self.refine_samples)
            refined = yield from self._pass(asker, best, drawn)
            for at, score in zip(best, refined, strict=True):
                scores[at] = scores[at] if math.isnan(score) else score
            order = best_first(best, [scores[at] for at in best]) + order[self.refine :]
        return asker.order(order, scores)

    def _pass(self, asker: Asker[Graded], whom: Sequence[int], drawn: Iterable[int]) -> Plan[list[float]]:
        """The mean score of each of `whom` over the samples `drawn` that could be read, NaN where there is none."""
        prompts = {at: asker.prompt([at]) for at in whom}
        open = {(at, sample): replace(prompts[at], sample=sample) for sample in drawn for at in whom}
        known: dict[int, list[float]] = {at: [] for at in whom}
        for _ in range(self.retries + 1):
            asked, open = open, {}
            places = [Place(sample=sample) for _, sample in asked]
            said = yield from asker.put(list(asked.values()), [[at] for at, _ in asked], places)
            for (at, sample), one in zip(asked, said, strict=True):
                if not math.isnan(one.answer.score):
                    known[at].append(one.answer.score)
                elif isinstance(one.completion, Ok):
                    again = self.asked.again(one.prompt, self.asked.whole(one.prompt, one.completion))
                    open |= {(at, sample): again} if again is not None else {}
        return [math.fsum(scores) / len(scores) if scores else math.nan for scores in known.values()]


def best_first(whom: Sequence[int], scores: Sequence[float]) -> list[int]:
    """`whom`, which stand in first-stage order, by falling score; a missing score is taken from its place."""
    known = sorted((score for score in scores if not math.isnan(score)), reverse=True)
    if not known:
        return list(whom)
    places = np.linspace(0, len(scores) - 1, len(known)) if len(known) > 1 else np.zeros(1)
    filled = [
        float(np.interp(place, places, known)) if math.isnan(score) else score for place, score in enumerate(scores)
    ]
    return [whom[place] for place in sorted(range(len(filled)), key=lambda place: -filled[place])]
