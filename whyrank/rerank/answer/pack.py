"""Evidence for a prompt: the best documents of an answer, in an order and within tokens, each with a number to cite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whyrank.errors import BadInput, want_count
from whyrank.llm.budget import clip, count
from whyrank.llm.engine import Tokenizer
from whyrank.rerank.answer.ranked import Ranked

LEAST = 40
"""Tokens of a text below which the last document that would fit in part is left out."""

_CITED = re.compile(r"\[(\d{1,3}(?:\s{0,3}[,;]\s{0,3}\d{1,3})*)\]")


@dataclass(frozen=True)
class Packed:
    """Evidence for a prompt.

    Attributes:
        text: what goes into the prompt: the documents under their numbers.
        items: the documents by number: `items[0]` is [1].
        tokens: how long the text is.
        left_out: how many documents did not fit.
    """

    text: str
    items: tuple[Ranked, ...]
    tokens: int
    left_out: int

    def cited(self, answer: str) -> list[Ranked]:
        """The documents that an answer cites, `[2]` or `[1, 3]`, in the order of their first mention.

        Numbers that no document has are passed over.
        """
        numbers = [int(one) for found in _CITED.findall(answer) for one in re.findall(r"\d+", found)]
        return [self.items[one - 1] for one in dict.fromkeys(numbers) if 1 <= one <= len(self.items)]

    def __str__(self) -> str:
        """The text."""
        return self.text


def pack(
    ranked: Sequence[Ranked],
    tokens: int = 2000,
    order: Literal["best", "ends", "chain"] = "best",
    tokenizer: Tokenizer | None = None,
) -> Packed:
    """The best documents that fit into so many tokens, as numbered evidence for a prompt.

    Documents are taken from the best on, whole; of the first that does not fit the beginning is taken, if that has 40
    tokens or more. Text of documents is data: what looks like a number of ours at the start of a line is set off by a
    blank, so that no document passes for two.

    Args:
        ranked: what `rank` gives, best first.
        tokens: of the whole text.
        order: "best" puts the best first; "ends" puts them at both ends, since models overlook what stands in the
            middle (Liu et al., 2024); "chain" tells with each document why it matters, in the words of the reranker's
            thought, so that a model that does not reason is led along (after LiR³AG, 2512.18329, 2025, where a model
            writes these links; here they are there already).
        tokenizer: of the model that reads it; without one lengths are estimated, rather too high.

    Raises:
        BadInput: `tokens` is below 1, or there is no such order.

    Examples:
        >>> from whyrank import Fake, Listwise
        >>> docs = ["Bees make honey.", "A dance shows where food is."]
        >>> evidence = pack(Listwise(Fake("[2] > [1]")).rank("why do bees dance?", docs), tokens=100)
        >>> print(evidence)
        [1] A dance shows where food is.
        <BLANKLINE>
        [2] Bees make honey.
        >>> evidence.cited("They show where food is [1].")[0].id
        '1'
    """
    want_count(tokens, "tokens")
    if order not in {"best", "ends", "chain"}:
        raise BadInput(f"order must be 'best', 'ends' or 'chain', not {order!r}")
    taken: list[tuple[Ranked, str]] = []
    room = tokens
    for item in ranked:
        head = f"Why it matters: {_plain(_renamed(item))}\n" if order == "chain" and item.reason else ""
        fixed = count(f"[{len(ranked)}] {head}\n\n", tokenizer)
        text = _plain(item.text)
        whole = count(text, tokenizer)
        if fixed + whole > room:
            part = clip(text, tokenizer, room - fixed).rstrip()
            if room - fixed >= LEAST and part:
                taken.append((item, head + part))
            break
        room -= fixed + whole
        taken.append((item, head + text))
    if order == "ends":
        taken = taken[::2] + taken[1::2][::-1]
    text = "\n\n".join(f"[{number}] {said}" for number, (_, said) in enumerate(taken, 1))
    return Packed(text, tuple(item for item, _ in taken), count(text, tokenizer), len(ranked) - len(taken))


def _renamed(item: Ranked) -> str:
    """The reason, without the numbers that passages had when it was written: those of the prompt are others."""
    own = {
        call.labels[place] if call.labels else str(place + 1)
        for call, place in zip(item.calls, item.places, strict=True)
        if call.thought == item.thought
    }
    return _CITED.sub(lambda found: "this passage" if found[1] in own else "another passage", item.reason)


def _plain(text: str) -> str:
    """A text in which no line begins like one of our numbers."""
    return re.sub(r"^\[(?=\d{1,3}\])", "[ ", text.strip(), flags=re.MULTILINE)
