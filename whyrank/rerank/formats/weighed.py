"""Scoring a passage by single tokens: what the model gives them at the place where its answer would begin.

A trained reranker's score is a number of its last position, not a word: how likely "yes" is against "no", or the logit
of one token. `weighed(format, reading)` asks for these tokens at the end of a format's prompt. Nothing is written, so
nothing can be misread; where an engine does not tell of a token, there is no score, and the status says so.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from whyrank.errors import BadInput
from whyrank.fields import Above, Length
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt, Sampling, Targets
from whyrank.registry import Part, variadic
from whyrank.rerank.formats.base import Format, clipped
from whyrank.rerank.formats.point import Graded, single
from whyrank.types import CallReport, Document

Token = int | str
"""A token by its id in the model's vocabulary, or by its text, which must be one token."""


class TokenScore(Part, ABC):
    """How a score is read from what a model gives to some tokens."""

    @property
    @abstractmethod
    def targets(self) -> Targets:
        """The tokens, and in which unit their values are wanted."""

    @abstractmethod
    def score(self, values: Sequence[float]) -> float:
        """The score that these values (k,) of the targets tell."""

    @abstractmethod
    def values(self, utility: float) -> tuple[float, ...]:
        """Values that tell the score of a passage that helps this much, from 0 to 1: the inverse of `score`."""


@dataclass(frozen=True)
class Softmax(TokenScore):
    """How likely one token is against another: P(yes) / (P(yes) + P(no)), from 0 to 1.

    As Qwen3-Reranker and monoT5 score (2003.06713, 2020).

    Attributes:
        yes: the token that says relevant.
        no: the one that says not relevant.
        log: whether the score is the logarithm of that.
    """

    yes: Token
    no: Token
    log: bool = field(default=False, kw_only=True)

    @property
    def targets(self) -> Targets:
        """Both tokens; logits and log probabilities tell the same."""
        return Targets((self.yes, self.no))

    def score(self, values: Sequence[float]) -> float:
        """The logistic function of the difference."""
        log = _log_sigmoid(values[0] - values[1])
        return log if self.log else math.exp(log)

    def values(self, utility: float) -> tuple[float, ...]:
        """The logarithms of the utility and of what it lacks of 1."""
        return _log(utility), _log(1 - utility)


@dataclass(frozen=True)
class Difference(TokenScore):
    """The logit of one token less that of another, as mxbai-rerank-v2 scores: any number, above 0 for relevant.

    Attributes:
        yes: the token that says relevant.
        no: the one that says not relevant.
    """

    yes: Token
    no: Token

    @property
    def targets(self) -> Targets:
        """Both tokens; logits and log probabilities tell the same."""
        return Targets((self.yes, self.no))

    def score(self, values: Sequence[float]) -> float:
        """The first less the second."""
        return values[0] - values[1]

    def values(self, utility: float) -> tuple[float, ...]:
        """The log odds of the utility, and 0."""
        return _log(utility) - _log(1 - utility), 0.0


@dataclass(frozen=True)
class Logit(TokenScore):
    """The logit of one token, as bge-reranker-v2-gemma scores; divided and through a sigmoid as zerank does.

    Attributes:
        token: the token.
        divided_by: what the logit is divided by.
        sigmoid: whether the score is the logistic function of that, from 0 to 1.
    """

    token: Token
    divided_by: Annotated[float, Above(0)] = field(default=1.0, kw_only=True)
    sigmoid: bool = field(default=False, kw_only=True)

    @property
    def targets(self) -> Targets:
        """The token, as a logit: a log probability would hang on all others."""
        return Targets((self.token,), "logit")

    def score(self, values: Sequence[float]) -> float:
        """The logit, divided."""
        scaled = values[0] / self.divided_by
        return math.exp(_log_sigmoid(scaled)) if self.sigmoid else scaled

    def values(self, utility: float) -> tuple[float, ...]:
        """The log odds of the utility, multiplied."""
        return (self.divided_by * (_log(utility) - _log(1 - utility)),)


@variadic
@dataclass(frozen=True)
class Expectation(TokenScore):
    """The mean grade by the chances of its tokens, such as "0" to "4", from 0 to 1.

    Attributes:
        grades: the tokens of the grades, the lowest first, at least two.
    """

    grades: Annotated[tuple[Token, ...], Length(2)]

    @property
    def targets(self) -> Targets:
        """All grades; their logits and log probabilities tell the same."""
        return Targets(self.grades)

    def score(self, values: Sequence[float]) -> float:
        """The sum of grade times chance among the grades, over the highest."""
        most = max(values)
        chances = [math.exp(value - most) for value in values]
        weighed = math.fsum(grade * chance for grade, chance in enumerate(chances))
        return weighed / (len(values) - 1) / math.fsum(chances)

    def values(self, utility: float) -> tuple[float, ...]:
        """The two grades around the utility share it."""
        place = utility * (len(self.grades) - 1)
        return tuple(_log(max(0.0, 1 - abs(place - grade))) for grade in range(len(self.grades)))


@dataclass(frozen=True)
class Weighed(Format[Graded]):
    """A format of one passage whose answer is not written: a reading scores the place where it would begin.

    Attributes:
        format: what is asked, of a format without a thought.
        reading: how the score is read.

    Raises:
        BadInput: the format has the model think first.

    Examples:
        >>> from whyrank.rerank.formats import YesNo
        >>> Weighed(YesNo("no"), Softmax("yes", "no")).write([0.75]).values
        (-0.2876820724517809, -1.3862943611198906)
    """

    format: Format[Graded]
    reading: TokenScore

    def __post_init__(self) -> None:
        """Refuse a format that thinks: what is weighed stands right behind the prompt."""
        if self.format.think != "no":
            raise BadInput(f"weighed: a score is read where the answer begins, so {self.format!r} may not think first")

    def passage(self, document: Document) -> str:
        """As the format shows it."""
        return self.format.passage(document)

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """The format's prompt, and the tokens to weigh."""
        prompt = self.format.render(query, passages, sampling)
        return weighing(prompt, self.reading.targets)

    def parse(self, completion: Ok, n: int) -> Graded:
        """The score; none where the engine did not tell of each of the tokens."""
        return graded(self.reading, completion)

    def tell(self, answer: Graded, report: CallReport) -> CallReport:
        """The report with the score."""
        return replace(report, score=answer.score)

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The values that tell the utility."""
        (utility,) = clipped([single(utilities)])
        return Ok("", values=self.reading.values(utility))


def graded(reading: TokenScore, completion: Ok) -> Graded:
    """The score that a completion's values tell; NaN where one of them is missing."""
    values = completion.values
    if len(values) != len(reading.targets.tokens) or any(math.isnan(value) or value == math.inf for value in values):
        return Graded(math.nan, "no_answer")
    score = reading.score(values)
    return Graded(score, "no_answer" if math.isnan(score) else "exact")


def weighing(prompt: Prompt, targets: Targets) -> Prompt:
    """A prompt that asks for the value of tokens instead of a completion."""
    drawn = Sampling(temperature=0.0, max_tokens=1)
    return replace(prompt, sampling=drawn, targets=targets, answer_tokens=1, reads=None, constraint=None)


def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def _log(chance: float) -> float:
    return math.log(chance) if chance > 0 else -math.inf
