"""Scoring each passage by single tokens of the model's: one forward pass a passage, and nothing written."""

from dataclasses import dataclass, field

from whyrank.errors import BadInput
from whyrank.llm.schedule import Plan
from whyrank.rerank.base import Order
from whyrank.rerank.formats import Format, Graded, YesNo
from whyrank.rerank.formats.weighed import Softmax, Weighed
from whyrank.rerank.strategies.pointwise import best_first
from whyrank.rerank.strategy import Asker, Strategy
from whyrank.rerank.templates.published import by_default

YES_NO = Softmax("yes", "no")
"""What is read where a format asks for yes or no."""


@dataclass(frozen=True)
class Scored(Strategy[Graded]):
    """Scores each candidate alone by what the model gives to some tokens where its answer would begin.

    n calls in one round, each a single forward pass. Exact with `transformers(...)`: a score depends on no batch but
    for rounding. `vllm(...)` and its server tell log probabilities of any token; a score that is read from a logit
    wants `vllm(..., logits=True)`. Other servers tell of their 20 likeliest tokens, and a passage for which one is not
    among them has no score: it keeps about its place of the first stage, and `Order.scores` says NaN.

    Sources: monoT5 (2003.06713, 2020), Qwen3-Reranker (2506.05176, 2025).

    Attributes:
        llm: the model.
        format: what is asked and which tokens are read: `weighed(...)`, a `template(...)` that scores, or
            `yes_no('no')`, of which "yes" is read against "no".
        sampling: of no use here, since nothing is drawn.
        max_passage_tokens: longer passages are cut to this.

    Raises:
        BadInput: a format that reads no tokens.

    Examples:
        >>> from whyrank import Fake
        >>> from whyrank.llm.answer import Ok
        >>> def answer(prompt):
        ...     return Ok("", values=(0.0, -2.0) if "dance" in prompt.chat[1]["content"] else (-2.0, 0.0))
        >>> llm = Fake(answer)
        >>> [item.text for item in Scored(llm).rank("what do they do?", ["Bees make honey.", "Bees dance."])]
        ['Bees dance.', 'Bees make honey.']
    """

    format: Format[Graded] = field(default_factory=by_default(lambda: Weighed(YesNo("no"), YES_NO)), kw_only=True)

    def __post_init__(self) -> None:
        """Read yes against no where they are what is asked for; refuse what names no tokens."""
        if isinstance(self.format, YesNo):
            object.__setattr__(self, "format", Weighed(self.format, YES_NO))
        if self.format.render("?", ["?"]).targets is None:
            raise BadInput(
                f"scored: {self.format!r} reads no tokens: give weighed({self.format!r}, softmax('yes', 'no')), or ask "
                "for written answers by pointwise(...)"
            )

    def _plan(self, asker: Asker[Graded]) -> Plan[Order]:
        graded = yield from asker.ask([[at] for at in range(asker.n)])
        scores = [one.score for one in graded]
        return asker.order(best_first(range(asker.n), scores), scores)
