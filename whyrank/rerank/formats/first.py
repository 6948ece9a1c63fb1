"""Ordering passages by one token: how likely each passage's letter is as the name of the best."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

from whyrank.errors import BadInput
from whyrank.fields import Positive
from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt, Sampling
from whyrank.rerank.formats.base import (
    HELPFUL,
    THINK_FIRST,
    THOUGHT,
    Format,
    Think,
    answer_region,
    best_first,
    completion,
    prompt_of,
)
from whyrank.rerank.formats.listwise import Permutation
from whyrank.rerank.formats.point import probabilities
from whyrank.types import Status

LETTERS = ascii_uppercase
"""One token each in every tokenizer that is in use, which numbers from 10 on are not."""


@dataclass(frozen=True)
class First(Format[Permutation]):
    """Asks for the letter of the best passage and orders all by the log probabilities of that one token (FIRST).

    Up to 26 passages go by the letters A to Z. Letters that are not among the `alternatives` that the engine reports
    keep their input order below the others, and count as missing; no letter that was reported is less likely than
    one that was not, so the order of the others is that of the full distribution. An engine without log
    probabilities leaves the best passage alone, and all others count as missing.

    At once, it costs one new token a call. A letter counts by its more likely spelling, with or without a blank.

    Source: FIRST (2406.15657, 2024). Models that were trained for it do it best.

    Attributes:
        think: "no" asks for the letter alone, in one token; "asked" for a thought between <think> and </think> first,
            and reads the token of the answer; "native" is for models that think by themselves.
        alternatives: how many log probabilities are asked for; OpenAI and vLLM give no more than 20 by default, and not
            all of them are letters.
    """

    think: Think = "no"
    alternatives: Positive = 20

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[A] text`, a reminder of the form of the answer.

        Raises:
            BadInput: there are more passages than letters.
        """
        labels = _letters(len(passages))
        if self.think == "no":
            how = "Answer with its letter and nothing else. An answer could be: B"
            reminder = "Write its letter only."
        else:
            how = (
                f"{THINK_FIRST[self.think]}: work out what the query really asks for and what a full answer needs, "
                f"then say of each passage what it adds to that. Then write the letter of the best between <answer> "
                f"and </answer>. An answer could be: <answer>B</answer>"
            )
            reminder = f"Write {THOUGHT[self.think]}<answer> its letter </answer>."
        task = f"{HELPFUL}Choose the one passage that helps most. {how}"
        asked = f"Which one of these {len(passages)} passages helps most with the query above?"
        prompt = prompt_of(task, query, passages, f"{asked} {reminder}", sampling, labels, label_tokens=0)
        drawn = prompt.sampling
        tokens = 1 if self.think == "no" else drawn.max_tokens
        answer = 1 if self.think == "no" else prompt.answer_tokens
        return replace(
            prompt,
            sampling=replace(drawn, max_tokens=tokens, logprobs=self.alternatives),
            answer_tokens=answer,
            reads=_read_at,
        )

    def labels(self, n: int) -> Sequence[str]:
        """The passages go by letters."""
        return tuple(LETTERS[:n])

    def parse(self, completion: Ok, n: int) -> Permutation:
        """All letters by the log probabilities of the token of the answer; "exact" if each of them was reported.

        Without a thought that token is the first, whatever it is: where it is no letter, letters among its alternatives
        count, and the answer is repaired.
        """
        region, tagged, unclosed = answer_region(completion.text)
        cut = completion.finish == "length" and self.think != "no"
        silent = self.think == "no" and bool(completion.reasoning) and not region.strip()  # it thinks all the same
        unread = silent or ((unclosed or cut) and not tagged)
        named = [] if unread else _named(region)
        place = {} if unread else self._place(completion.logprobs)
        absurd = probabilities(place) is None
        chances = {} if absurd else _chances(place, LETTERS[:n])
        if not chances and not absurd:  # a letter, or several: the first is the best
            chances = {letter: -float(rank) for rank, letter in enumerate(named) if letter in LETTERS[:n]}
        order = sorted(range(n), key=lambda at: -chances.get(LETTERS[at] if at < len(LETTERS) else "", -math.inf))
        missing, beyond = n - len(chances), sum(letter not in LETTERS[:n] for letter in named)
        plain = len(named) == 1 and not missing and not beyond and tagged == (self.think != "no")
        status: Status = "exact" if plain and n else "repaired" if chances else "no_answer"
        if unclosed or unread:
            status = "truncated"
        return Permutation(tuple(order), status, missing, 0, beyond)

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The letter of the best; each letter is half as likely as the one before it in the order."""
        letters = _letters(len(utilities))
        order = best_first(utilities)
        if not order:
            return completion("", thought, self.think)
        place = {letters[at]: -math.log(2) * (rank + 1) for rank, at in enumerate(order)}
        return replace(completion(letters[order[0]], thought, self.think), logprobs=(place,))

    def _place(self, places: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The alternatives where the answer stands: the first token, or the last whose best alternative is a letter."""
        if self.think == "no":
            return places[0] if places else {}
        return next(
            (
                place
                for place in reversed(places)
                if any(map(math.isnan, place.values())) or _letter(max(place, key=place.__getitem__, default=""))
            ),
            {},
        )


def _letters(n: int) -> str:
    if n > len(LETTERS):
        raise BadInput(f"first() names up to {len(LETTERS)} passages by letters, not {n}: take a smaller window")
    return LETTERS[:n]


def _named(answer: str) -> list[str]:
    """The letters that an answer consists of, each once: one as it was asked for, or `[B] > [C] > [A]`, best first."""
    if word := _ANSWER.fullmatch(answer):
        return [word[1].upper()]
    return list(dict.fromkeys(_LABEL.findall(answer))) if _LIST.fullmatch(answer.strip()) else []


def _letter(token: str) -> str:
    """The letter that a token is, but for blanks around it; else nothing."""
    bare = token.strip()
    return bare if len(bare) == 1 and bare in LETTERS else ""


def _read_at(token: str) -> bool:
    return bool(_letter(token))


def _chances(place: Mapping[str, float], letters: str) -> dict[str, float]:
    """The log probability of each of the letters that is among the alternatives, by its most likely spelling."""
    found: dict[str, float] = {}
    for token, chance in place.items():
        letter = _letter(token)
        if letter and letter in letters:
            found[letter] = max(chance, found.get(letter, -math.inf))
    return found


_ANSWER = re.compile(
    r"\A(?:\W{0,9}(?:(?:the|my)\s)?(?:final\s)?(?:answer|choice|passage|Answer|Choice|Passage)(?:\s?:|\sis)?\s)?["
    r"\s\[(*\"'`]*([A-Za-z])[\s\])*\"'`.]*"
)

_LIST = re.compile(r"\[?[A-Z]\]?(?:\s{0,9}[>=]\s{0,9}\[?[A-Z]\]?){1,99}[\s.]*")
_LABEL = re.compile("[A-Z]")
