"""Formats: how a question about passages is put to a model, and how its answer is read; render beside parse.

A format is a part with three methods: `render` makes the prompt, `parse` reads the completion of that prompt, and
`write` is the inverse of `parse`: the completion of a model that knows how much each passage helps. A parser is pure,
never raises, and says how well the model kept to the format (`Status`), so that repairs are counted and shown.
Training rewards read completions with the same functions, such as `parse_permutation`; training targets and the judges
of simulations are written by `write`.

Prompts put what all calls share first (instructions, then the query) and the passages last, so that the prefix caches
of engines help. Only an answer is ever read: not the thought, and never the text of an error.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.content import neutral, one_line, unquoted
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported, thought_of
from whyrank.registry import Part
from whyrank.types import CallReport, Document, Repairs, Status

Think = Literal["asked", "native", "no"]


class Reading(Protocol):
    """What every parser gives: a frozen dataclass with a status, and what had to be mended."""

    @property
    def status(self) -> Status:
        """How well the model kept to the format."""

    @property
    def repairs(self) -> Repairs:
        """What was missing, given twice or out of range, for the report of the call."""


Answer = TypeVar("Answer", bound=Reading)


NATIVE = ("think", {False: "asked", True: "native"})
"""What formats that had a field `native` take in its place."""

THINK_FIRST: dict[Think, str] = {
    "asked": "Think first, between <think> and </think>",
    "native": "Think first",
}
"""How a thought is asked for; what to think of follows."""

THOUGHT: dict[Think, str] = {"asked": "<think> your thinking </think> and then ", "native": "", "no": ""}
"""How the reminder of the form begins; the form of the answer follows."""

HELPFUL = (
    "You rank passages by how much they help to answer a query. A passage helps when it holds the answer, or a fact, "
    "principle, method or example that the answer rests on. Sharing words with the query does not make a passage "
    "helpful, and a passage may help without sharing any.\n\n"
)
"""What all formats ask for: help, not likeness."""


class Format(Part, ABC, Generic[Answer]):
    """What every format is; `Answer` is what `parse` reads.

    `Permutation` where passages are to be ordered, `Choice` where one is to be chosen, `Ends` where the best and the
    worst are, `Scores` where each gets a score, `Graded` where there is one, `Preferred` where there are two.
    """

    @property
    def think(self) -> Think:
        """Whether the model thinks before it answers, and whether the prompt has to ask for that."""
        return "no"

    def passage(self, document: Document) -> str:
        """A document as it is shown: title and text in one line, in which nothing looks like a label or an answer.

        It may be longer than the model reads; it is cut to `max_passage_tokens`, and to what the window leaves, where
        it is asked.
        """
        return clean(document.content)

    @abstractmethod
    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """The prompt that asks about `passages`, numbered from 1."""

    def labels(self, n: int) -> Sequence[str]:
        """What the n passages are called in the prompt; empty where they go by their numbers, from 1."""
        return ()

    @abstractmethod
    def parse(self, completion: Ok, n: int) -> Answer:
        """What was answered about n passages; any text gives an answer and a status; an empty one tells nothing."""

    def nothing(self, n: int) -> Answer:
        """What is read about n passages where no answer came: of the kind that all answers of this format are."""
        return self.parse(Ok(""), n)

    def whole(self, prompt: Prompt, completion: Ok) -> Ok:
        """The completion as it is read; formats that go on with a turn put in front what the prompt had begun."""
        return completion

    def again(self, prompt: Prompt, completion: Ok) -> Prompt | None:
        """The prompt that asks again after an answer without a score; None of formats that know none."""
        return None

    @property
    def highest(self) -> float:
        """The highest score that it reads, of formats that score; the lowest is 0."""
        return 1.0

    def tell(self, answer: Answer, report: CallReport) -> CallReport:
        """The report of a call with what answers of this format tell beside their status."""
        return report

    def instead(self, answer: type) -> str:
        """What a field declared `Format[answer]` must hold in place of this format; empty where it is of that kind."""
        fits = isinstance(self.nothing(1), answer)
        return "" if fits else getattr(answer, "given_by", f"one that gives {answer.__name__}")

    def nothing_else(self, completion: Ok) -> bool:
        """Whether a completion is an answer without a thought or prose, where the prompt asks for nothing else."""
        return self.think != "no" or not thought_of(completion)

    @abstractmethod
    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The completion of a model for which the passages help this much; `parse` finds it exact.

        Args:
            utilities: (n,) one for each passage as shown, the higher the better. Formats that order, choose or compare
                take any numbers; equals go by place. Formats that score take 0 to 1, and clip what lies outside.
            thought: what it thinks first, where the format has it think; else it is left out.

        Raises:
            BadInput: a utility is NaN, or there are not as many as the format shows passages.
        """


class Listing(Format[Answer]):
    """A format whose answers are labels and numbers, so that words beside them are something else."""

    def nothing_else(self, completion: Ok) -> bool:
        """As of every format; and no word that is no part of a list."""
        return super().nothing_else(completion) and not (
            self.think == "no" and _WORD.search(parted(completion.text).answer)
        )


@dataclass(frozen=True)
class Constrainable(Format[Answer]):
    """A format whose whole answer has a form that engines can keep a model to.

    Attributes:
        constrained: whether engines that can do so; without a thought only.
    """

    constrained: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse to keep a thought to the form of an answer."""
        if self.constrained and self.think != "no":
            raise BadInput(f"{self._called()}: constrained keeps the whole answer to its form: give think='no', too")


def numbered(n: int) -> list[str]:
    """The labels of n passages: [1], [2] and so on."""
    return [f"[{number}]" for number in range(1, n + 1)]


def clean(text: str) -> str:
    r"""A passage in one line and `neutral`: `[12]` has become `(12)`, so that nothing in it looks like a label.

    Example:
        >>> clean("as  shown [12]\nby others")
        'as shown (12) by others'
    """
    return one_line(text)


def asked(query: str, letters: bool = False) -> Piece:
    """The query as prompts show it."""
    return Piece(neutral(query, letters).strip(), cut="query")


def shown(passage: str, letters: bool = False) -> Piece:
    """A passage as prompts show it; `letters` says that the prompt's labels are letters."""
    return Piece(one_line(passage, letters) or EMPTY, cut="document")


def read(
    format: Format[Answer], completion: Completion, n: int, prompt: Prompt | None = None
) -> tuple[Answer, CallReport]:
    """What a completion answers about n passages, and the report of the call; a failed call is not read.

    Where `prompt` is given, what the completion quotes of it is no answer, see `unquoted`.
    """
    if isinstance(completion, Failed):
        nothing: Answer = replace(format.nothing(n), status="failed")  # type: ignore[type-var]
        return nothing, format.tell(nothing, reported(completion))
    if prompt is not None:
        completion = format.whole(prompt, completion)
    answer = format.parse(unquoted(completion, prompt), n)
    report = reported(completion, answer.status, answer.repairs, tuple(format.labels(n)))
    return answer, format.tell(answer, report)


class Answered(NamedTuple):
    """Where an answer stands: its text, whether its tag was there, and whether tag or thought was left open."""

    text: str
    tagged: bool
    unclosed: bool


def answered(text: str, tag: str = "answer") -> Answered:
    """What follows the thought: the last block of `tag`, or all of it where there is none.

    Example:
        >>> answered("<think><score>3</score></think>So: <score>70</score>", "score")
        Answered(text='70', tagged=True, unclosed=False)
    """
    _, answer, open = parted(text)
    *before, block = re.split(rf"<{tag}>", answer, flags=re.IGNORECASE)
    inside, *closed = re.split(rf"</{tag}>", block, maxsplit=1, flags=re.IGNORECASE)
    return Answered(inside.strip(), bool(before), not closed and (bool(before) or open))


def answer_region(text: str) -> Answered:
    """Where a list or a choice stands, as `answered`, with brackets and digits of all kinds made plain."""
    found = answered(text)
    return found._replace(text=_FENCE.sub(" ", found.text.translate(_PLAIN)))


def completion(answer: str, thought: str, think: Think, tag: str = "answer") -> Ok:
    """What a model writes: its thought where each way to think has it, then the answer, in its tag if it thinks."""
    if think == "no":
        return Ok(answer)
    tagged = f"<{tag}>{answer}</{tag}>"
    return Ok(tagged, thought) if think == "native" else Ok(f"<think>{thought}</think>\n{tagged}")


def best_first(utilities: Sequence[float]) -> list[int]:
    """The places from 0, by falling utility; equals as they stand."""
    if any(map(math.isnan, utilities)):
        raise BadInput(f"utilities must be numbers, without NaN: {list(utilities)}")
    return sorted(range(len(utilities)), key=lambda at: -utilities[at])


def clipped(utilities: Sequence[float], top: float = 1) -> list[float]:
    """Utilities as scores from 0 to `top`: what lies below 0 or above 1 counts as 0 or 1."""
    best_first(utilities)
    return [top * min(max(utility, 0.0), 1.0) for utility in utilities]


def prompt_of(
    task: str,
    query: str,
    passages: Sequence[str],
    reminder: str,
    sampling: Sampling | None = None,
    labels: Sequence[str] = (),
    label_tokens: int = 7,
) -> Prompt:
    """System turn with the task; user turn with the query, the passages as `[i] text`, and a reminder.

    The passages go by their numbers from 1, or by `labels`, one for each. An answer takes at most 16 tokens and
    `label_tokens` for each passage (Elastic Reasoning's budget for labels).
    """
    pieces = [Piece("Query: "), asked(query, bool(labels)), Piece("\n\nPassages:\n")]
    named = labels or [str(place) for place in range(1, len(passages) + 1)]
    for label, passage in zip(named, passages, strict=True):
        pieces += [Piece(f"\n[{label}] "), shown(passage, bool(labels))]
    pieces.append(Piece(f"\n\n{reminder}"))
    turns = Message("system", (Piece(task),)), Message("user", tuple(pieces))
    return Prompt(turns, sampling or Sampling(), answer_tokens=16 + label_tokens * len(passages))


_PLAIN = str.maketrans(
    {
        "【": "[",
        "［": "[",
        "〔": "[",
        "】": "]",
        "］": "]",
        "〕": "]",
        "＞": ">",
        "＜": "<",
        "，": ",",
        "、": ",",
        "\\": "",
    }
    | dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))
    | dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
)
_FENCE = re.compile(r"```\w*|</?(?:b|i|em|strong|p|br|li|ol|ul|code)\s{0,3}/?>", re.IGNORECASE)
_WORD = re.compile(r"\b(?!(?:best|worst|passages?|and|then|json)\b)[^\W\d_]{2,}", re.IGNORECASE)
