"""The model of a simulation: it knows how much each passage helps, errs, and answers in the language of each format."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, TypeVar

import numpy as np

from whyrank.errors import BadInput
from whyrank.fields import AtLeast
from whyrank.llm.answer import Completion, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Prompt
from whyrank.llm.report import thought_of
from whyrank.parameters import walk
from whyrank.registry import Part
from whyrank.rerank.base import Reranker
from whyrank.rerank.formats import Format, RankingFormat
from whyrank.simulate.cases import Case, Floats

P = TypeVar("P", bound=Part)

STEEPNESS = 4.0
"""How fast a score on an absolute scale rises with the utility: it is logistic, ½ at ½, and there of slope 1."""


@dataclass(frozen=True)
class Noisy(LLM):
    """A model that errs by noise of a stated size: for `whyrank simulate` only, as it can read no text.

    It sees a passage's utility, which is 0 to 1, with three errors added: Gaussian noise of its own in each call, one
    draw for each query and passage that is the same in all calls, so that no repetition averages it out, and a bonus
    for being shown early. Formats that order or choose go by what it sees; scores are logistic in it. The same prompt
    and sample number get the same answer.

    Attributes:
        sigma: standard deviation of the fresh noise.
        shared: standard deviation of the shared error.
        position: by how much the first place in a prompt is favoured over the last; it falls evenly between.

    Raises:
        BadInput: a negative deviation.

    Examples:
        >>> Noisy(shared=0.1)
        noisy(shared=0.1)
    """

    sigma: Annotated[float, AtLeast(0)] = 0.15
    shared: Annotated[float, AtLeast(0)] = 0.0
    position: float = 0.0
    model: str = field(default="noisy", init=False, repr=False)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        raise BadInput("noisy() can read no text: it answers in `whyrank simulate`, or give a real model")


@dataclass(frozen=True)
class Tokens:
    """What a call is taken to cost: the passages at their mean length, all else as the prompt is rendered.

    Text that is rendered counts a token for every four characters.

    Attributes:
        passage: tokens of a passage as shown; 285 is measured on BRIGHT, cut at 512.
        query: tokens of a query.
        thought: tokens of a thought about three passages or more, in formats that think.
        short_thought: of one about one or two.
    """

    passage: int = 285
    query: int = 100
    thought: int = 750
    short_thought: int = 400


@dataclass
class Meter:
    """The query that is simulated now, and what its calls have cost so far.

    Attributes:
        calls: model calls.
        rounds: how many times the plan waited for calls: the critical path.
        documents: passages shown, over all calls.
        input: tokens read.
        output: tokens written.
    """

    case: Case
    tokens: Tokens
    draw: np.random.Generator
    calls: int = 0
    rounds: int = 0
    documents: int = 0
    input: int = 0
    output: int = 0
    errors: Floats = field(init=False)
    places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Draw the shared errors, and look up which text is whose."""
        self.errors = self.draw.standard_normal(len(self.case.utilities))
        self.places = {document.text: at for at, document in enumerate(self.case.request.documents)}


@dataclass(frozen=True)
class Judge(LLM):
    """What stands in the place of a reranker's model while it is simulated: `noise` about the meter's case."""

    noise: Noisy
    format: Format[Any]
    bench: list[Meter] = field(repr=False, compare=False)
    model: str = "judge"
    _thinks: dict[bool, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def batch(self) -> int:
        """Everything that is asked at once is one round."""
        return 10**9

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        self.bench[-1].rounds += 1
        return [self._answer(prompt, self.bench[-1]) for prompt in prompts]

    def _answer(self, prompt: Prompt, meter: Meter) -> Ok:
        pieces = [piece for message in prompt.messages if message.role != "assistant" for piece in message.pieces]
        try:
            shown = [meter.places[piece.text.rpartition(" ")[2]] for piece in pieces if piece.cut == "document"]
        except KeyError as error:
            raise BadInput(
                f"a passage reached the judge as {error}: simulated passages are numbers of up to six tokens, and "
                f"`max_passage_tokens` may not cut them"
            ) from None
        answer = self.format.write(self._seen(shown, meter))
        meter.calls += 1
        meter.documents += len(shown)
        other = sum(len(piece.text) for piece in pieces if piece.cut == "never")
        meter.input += meter.tokens.passage * len(shown) + meter.tokens.query + other // 4
        written = self._thought(len(shown), meter.tokens) + len(answer.text) // 4 + 1
        meter.output += min(written, prompt.sampling.max_tokens)
        return answer

    def _seen(self, shown: Sequence[int], meter: Meter) -> list[float]:
        """What each passage seems to be worth, between 0 and 1."""
        noise = self.noise
        seen = meter.case.utilities[shown]
        if noise.sigma:
            seen = seen + noise.sigma * meter.draw.standard_normal(len(shown))
        if noise.shared:
            seen = seen + noise.shared * meter.errors[shown]
        if noise.position:
            seen = seen + np.linspace(noise.position, 0, len(shown))
        found: list[float] = (1 / (1 + np.exp(-STEEPNESS * (seen - 0.5)))).tolist()
        return found

    def _thought(self, shown: int, tokens: Tokens) -> int:
        """Tokens of the thought, if the format has one."""
        short = shown < 3
        if short not in self._thinks:
            thinks = thought_of(self.format.write([0.5] * shown, "So be it."))
            self._thinks[short] = (tokens.short_thought if short else tokens.thought) if thinks else 0
        return self._thinks[short]


def judged(reranker: Reranker, noise: Noisy, bench: list[Meter]) -> Reranker:
    """A reranker, and all rerankers in it, with judges in the place of their models.

    A `noisy(...)` that stands in the spec stays as noisy as it is; every other model becomes `noise`.

    Raises:
        BadInput: a reranker in it asks no model, so that there is nothing to simulate.
    """
    bound = _bound(reranker, noise, bench)
    for part in walk(bound):
        if isinstance(part, Reranker) and not any(isinstance(inner, Judge) for inner in walk(part)):
            raise BadInput(f"{part!r} asks no language model: it cannot be simulated")
    return bound


def _bound(part: P, noise: Noisy, bench: list[Meter]) -> P:
    """A part with every model in it replaced; one that stands without a format is asked to order after thinking."""

    def bound(value: object) -> object:
        if isinstance(value, LLM):
            format = getattr(part, "format", None)
            kept = value if isinstance(value, Noisy) else noise
            return Judge(kept, format if isinstance(format, Format) else RankingFormat(), bench)
        if isinstance(value, tuple):
            return tuple(map(bound, value))
        return _bound(value, noise, bench) if isinstance(value, Part) else value

    values = {field.name: getattr(part, field.name) for field in fields(part) if field.init}
    changed = {name: new for name, value in values.items() if (new := bound(value)) is not value and new != value}
    return replace(part, **changed) if changed else part
