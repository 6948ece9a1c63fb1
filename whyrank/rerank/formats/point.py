"""Judging one passage: what the formats of that kind share, and what they read.

A score that cannot be read is missing (NaN), never 0: a strategy asks again with the prompt of `again`, and what stays
missing it fills in from other samples or from the first stage.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.report import thought_of
from whyrank.rerank.formats.base import THOUGHT, Format, Think, asked, shown
from whyrank.types import CallReport, Repairs, Status

Item = TypeVar("Item")

ALTERNATIVES = 10
"""How many log probabilities are asked for at each token; servers allow up to 20."""

RELEVANT = (
    "A relevant {kind} holds the answer, or a fact, principle, method or example that the answer rests on. Sharing "
    "words is not enough, and a {kind} may be relevant without sharing any."
)
"""What relevant means, with the kind of document to be filled in."""

HOW = {
    "asked": "Think first, between <think> and </think>, then write",
    "native": "Think first, then write",
    "no": "Write",
}
"""How each way to think is asked for; what to write follows."""


@dataclass(frozen=True, slots=True)
class Graded:
    """What a model thinks of one passage.

    Attributes:
        score: on the scale of the format, the higher the more relevant; NaN where none could be read.
        status: "exact": as asked; "repaired": read from an answer in another form; "truncated": cut off before an
            answer; "no_answer": no score to be found; "failed": the call itself brought nothing.
    """

    given_by: ClassVar[str] = "one that grades one passage, such as rubric() or yes_no()"

    score: float
    status: Status

    @property
    def repairs(self) -> Repairs:
        """Whether the score is missing."""
        return Repairs(int(math.isnan(self.score)))


@dataclass(frozen=True)
class PointFormat(Format[Graded]):
    """What formats of one passage share: the prompt's build, and how a missing answer is asked for again.

    Attributes:
        think: "asked" asks for a thought between <think> and </think>; "native" is for models that think by themselves
            (Qwen3, DeepSeek-R1); "no" asks for the answer alone.
    """

    think: Think = "asked"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, which all passages of a query share, then the one passage and the form to answer in.

        Raises:
            BadInput: `passages` holds not just one.
        """
        passage = single(passages)
        kind = self._kind
        user = (
            Piece("Query: "),
            asked(query),
            Piece(f"\n\n{kind[:1].upper()}{kind[1:]}: "),
            shown(passage),
            Piece(f"\n\n{self._reminder()}"),
        )
        messages = (Message("system", (Piece(self._task()),)), Message("user", user))
        return Prompt(messages, self._drawn(sampling or Sampling()), reads=self._reads)

    @staticmethod
    def _reads(token: str) -> bool:
        """Whether the log probabilities of a token tell the score."""
        return False

    def whole(self, prompt: Prompt, completion: Ok) -> Ok:
        """The completion with the turn in front that the prompt had begun."""
        return replace(completion, text=prompt.prefill + completion.text) if prompt.prefill else completion

    def tell(self, answer: Graded, report: CallReport) -> CallReport:
        """The report with the score."""
        return replace(report, score=answer.score)

    def again(self, prompt: Prompt, completion: Ok) -> Prompt:
        """The prompt that asks again after an answer without a score.

        A thought that was cut off is closed behind its last whole sentence, and the model goes on in the same turn with
        the answer alone, yes and no with one token (Rank1, 2502.18418). Else it is told to write what can be read.
        """
        if not prompt.prefill and self.parse(completion, 1).status == "truncated":
            thinking = _SENTENCES.match(said := (thought_of(completion) or completion.text).strip())
            closed = f"<think>\n{thinking[0] if thinking else said}\n</think>\n\n{self._opening()}"
            closed = closed.encode("utf-8", "replace").decode()
            return prompt.prefilled(closed, replace(prompt.sampling, max_tokens=self._closing_tokens))
        said = completion.text.encode("utf-8", "replace").decode().strip() or "(empty)"
        told = f"I cannot read an answer in this. Write only the answer, without anything before it: {self._form()}"
        turns = Message("assistant", (Piece(said, "document"),)), Message("user", (Piece(told),))
        return replace(prompt, messages=prompt.messages[:2] + turns)

    _closing_tokens = 32
    _tag = "answer"

    _kind = "passage"

    @abstractmethod
    def _task(self) -> str:
        """The instructions."""

    def _opening(self) -> str:
        return "" if self.think == "no" else f"<{self._tag}>"

    @abstractmethod
    def _form(self) -> str:
        """What an answer looks like."""

    def _reminder(self) -> str:
        return f"Write {THOUGHT[self.think]}{self._form()}"

    def _drawn(self, sampling: Sampling) -> Sampling:
        return sampling


def single(passages: Sequence[Item]) -> Item:
    """The one that there is."""
    if len(passages) != 1:
        raise BadInput(f"this format judges one passage, not {len(passages)}")
    return passages[0]


def probabilities(place: Mapping[str, float]) -> dict[str, float] | None:
    """How likely each token of a place was; None where the engine's numbers are no log probabilities.

    Above 0 they may lie by rounding only; NaN is none.

    Example:
        >>> probabilities({"yes": 0.0, "no": -math.inf}), probabilities({"yes": 800.0})
        ({'yes': 1.0, 'no': 0.0}, None)
    """
    if not all(chance <= _ROUNDING for chance in place.values()):
        return None
    return {token: math.exp(chance) for token, chance in place.items()}


def logs(chances: dict[str, float]) -> dict[str, float]:
    """Log probabilities; what cannot be has none."""
    return {token: math.log(chance) for token, chance in chances.items() if chance > 0}


_SENTENCES = re.compile(r"\A.*[.!?:;\n](?=\s|\Z)", re.DOTALL)
"""All whole sentences, with what ends them."""

_ROUNDING = 0.01
"""How far above 0 a log probability may lie: half precision rounds so."""
