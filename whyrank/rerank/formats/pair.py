"""Comparing two passages: a model names the one that helps more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.rerank.formats.base import Format, Think, answered, asked, best_first, completion, shown
from whyrank.types import CallReport, Repairs, Status


@dataclass(frozen=True, slots=True)
class Preferred:
    """Which of two passages a model prefers.

    Attributes:
        first: True for the passage shown first, False for the second, None where neither could be read.
        status: see `Status`.
    """

    given_by: ClassVar[str] = "one that compares two passages, such as pair()"

    first: bool | None
    status: Status

    @property
    def repairs(self) -> Repairs:
        """Whether the preference is missing."""
        return Repairs(int(self.first is None))


@dataclass(frozen=True)
class Pair(Format[Preferred]):
    """Which of two passages, A or B, helps more (PRP, 2306.17563, 2023).

    Attributes:
        think: "no" asks for the letter alone; "asked" for a thought between <think> and </think> first; "native" is for
            models that think by themselves.
    """

    think: Think = "no"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, then the two passages.

        Raises:
            BadInput: `passages` holds not just two.
        """
        _two(passages)
        one, two = (shown(passage, letters=True) for passage in passages)
        user = (
            Piece("Query: "),
            asked(query, letters=True),
            Piece("\n\nPassage A: "),
            one,
            Piece("\n\nPassage B: "),
            two,
            Piece(f"\n\nWhich of the two helps more to answer the query? {_REMINDERS[self.think]}"),
        )
        task = f"{_TASK}{_HOW[self.think]}"
        return Prompt((Message("system", (Piece(task),)), Message("user", user)), sampling or Sampling())

    def labels(self, n: int) -> Sequence[str]:
        """The passages go by letters."""
        return ("A", "B")

    def parse(self, completion: Ok, n: int) -> Preferred:
        """The letter in the last `<answer>` block, or alone; "Passage A" and "A is more relevant" are repaired."""
        answer = answered(completion.text)
        cut = completion.finish == "length" or answer.unclosed
        letter = answer.text.strip(" .*`\"'[]()\n")
        chosen = letter if letter in ("A", "B") else _in_words(answer.text)
        if not chosen or (answer.unclosed and not answer.tagged):
            return Preferred(None, "truncated" if cut else "no_answer")
        plain = letter == chosen and answer.tagged == (self.think != "no") and not answer.unclosed
        return Preferred(chosen == "A", "exact" if plain else "repaired")

    def tell(self, answer: Preferred, report: CallReport) -> CallReport:
        """The report with the choice."""
        return replace(report, first=answer.first)

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The letter of the one with the higher utility."""
        _two(utilities)
        return completion("AB"[best_first(utilities)[0]], thought, self.think)


def _in_words(text: str) -> str:
    """The letter that a short answer chooses: "Answer: A", "Passage B", "A is better", "A > B"; empty for any other."""
    found = _CHOICE.fullmatch(text.strip(" .*`\"'\n"))
    return (found[1] or found[2] or found[3]).upper() if found else ""


def _two(passages: Sequence[object]) -> None:
    if len(passages) != 2:
        raise BadInput(f"this format compares two passages, not {len(passages)}")


_TASK = (
    "You compare two passages by how much they help to answer a query. A passage helps when it holds the answer, or a "
    "fact, principle, method or example that the answer rests on. Sharing words with the query does not make it "
    "helpful. Which of the two stands first says nothing.\n\n"
)
_TAG = "the letter of the more helpful passage between <answer> and </answer>, for example <answer>B</answer>."
_WEIGH = "what the query really asks for, then what each passage gives of that"
_HOW = {
    "asked": f"Think first, between <think> and </think>: {_WEIGH}. Then write {_TAG}",
    "native": f"Think first: {_WEIGH}. Then write {_TAG}",
    "no": "Answer with the letter of the more helpful passage, A or B, and nothing else.",
}
_REMINDERS = {
    "asked": "Write <think> your thinking </think> and then <answer> the letter </answer>.",
    "native": "Write <answer> the letter </answer>.",
    "no": "Write A or B only.",
}
_NAME = r"(?:passage\s{1,3})?[\[(]?([AB])[\])]?"
_CHOICE = re.compile(
    rf"(?:(?:(?:the|my)\s)?(?:final\s)?(?:answer|choice)(?:\s(?:is)?|\s?:)\s{{0,3}}[*`\"']{{0,3}})?{_NAME}[*`\"']{{0,3}}"
    rf"|{_NAME}\s(?:is|seems)\s(?:clearly\s|much\s|far\s|slightly\s)?(?:the\s)?(?:more|most|better|best)\b(?:(?!\b(?:not|no|but|however|"
    rf"although|than)\b)[^.\n]){{0,120}}(?:\bthan\s(?:passage\s)?[\[(]?[AB]\b[\])]?[^.\n]{{0,20}})?"
    rf"|{_NAME}\s{{0,3}}>\s{{0,3}}(?:passage\s{{1,3}})?[\[(]?[AB][\])]?",
    re.IGNORECASE,
)
