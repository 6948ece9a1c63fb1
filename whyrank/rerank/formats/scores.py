"""Scoring passages side by side: a model gives each a score from 0 to 10 as a JSON map."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from whyrank.llm.answer import Ok
from whyrank.llm.constraint import map_of
from whyrank.llm.messages import Prompt, Sampling
from whyrank.renamed import renamed
from whyrank.rerank.formats.base import (
    HELPFUL,
    NATIVE,
    THINK_FIRST,
    THOUGHT,
    Constrainable,
    Listing,
    Think,
    answer_region,
    clipped,
    completion,
    prompt_of,
)
from whyrank.rerank.formats.lists import decides
from whyrank.rerank.formats.maps import to_number
from whyrank.types import Repairs, Status


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores that an answer gives to n passages.

    Attributes:
        scores: (n,) from 0 to 10; NaN where the model gave none that can be read: never 0.
        status: "exact": one score for every passage, nothing else; "repaired": some missing, twice or out of range, or
            the map was never closed; "truncated": cut off before its end, scores that were whole count; "no_answer": no
            score to be found; "failed": the call itself brought nothing.
        missing: how many of the n passages have no score.
        duplicate: how many scores it gave for a passage that had one; the first counts.
        out_of_range: how many scores were below 0 or above 10, or for numbers below 1 or above n.
    """

    given_by: ClassVar[str] = "one that scores the passages, such as group_scores()"

    scores: tuple[float, ...]
    status: Status
    missing: int = 0
    duplicate: int = 0
    out_of_range: int = 0

    @property
    def repairs(self) -> Repairs:
        """The three kinds of repair."""
        return Repairs(self.missing, self.duplicate, self.out_of_range)


_SCALE = (
    "Give every passage a score from 0 to 10: 10 answers the query or settles it, 7 holds most of what the answer "
    "rests on, 4 helps in part, 1 touches the topic only, 0 has nothing to do with it. Weigh the passages against each "
    "other, so that a better one never has a lower score."
)


@renamed(native=NATIVE)
@dataclass(frozen=True)
class GroupScoresFormat(Constrainable[Scores], Listing[Scores]):
    """Score the passages of a group side by side: a JSON map, as GroupRank asks for (2511.11653, 2025).

    Attributes:
        think: as of `RankingFormat`.
        constrained: whether engines that can keep the model to a map of whole scores do so; without a thought only.

    Raises:
        BadInput: `constrained` with a thought.
    """

    think: Think = "asked"

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """Instructions and query, the passages as `[i] text`, a reminder of the form of the answer."""
        form = '{"1": 3, "2": 9, "3": 0}'
        if self.think == "no":
            how = "Answer with a JSON map from passage number to score and nothing else."
            reminder = "Write the map only."
        else:
            how = (
                f"{THINK_FIRST[self.think]}: work out what the query really asks for and what a full answer needs, "
                f"then weigh the passages against that. Then write the scores between <answer> and </answer> as a JSON "
                f"map from passage number to score."
            )
            form, reminder = f"<answer>{form}</answer>", f"Write {THOUGHT[self.think]}<answer> the map </answer>."
        n = len(passages)
        asked = f"Score these {n} passages for the query above, each number from 1 to {n} once."
        task = f"{HELPFUL}{_SCALE}\n\n{how} For three passages an answer could be: {form}"
        prompt = prompt_of(task, query, passages, f"{asked} {reminder}", sampling, label_tokens=12)
        names = [str(number) for number in range(1, n + 1)]
        return replace(prompt, constraint=map_of(names, 10)) if self.constrained else prompt

    def parse(self, completion: Ok, n: int) -> Scores:
        """The scores that the answer gives, in its last `<answer>` block or alone, see `parse_scores`."""
        return parse_scores(completion.text, n, cut=completion.finish == "length")

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """Ten times each utility, to nine digits after the point."""
        return completion(_map(utilities), thought, self.think)


def parse_scores(text: str, n: int, cut: bool = False) -> Scores:
    """The scores of n passages that a completion gives; NaN for each that has none, whatever the text.

    Read is what follows the thought: the last `<answer>` block, or without one the map in braces that the text begins
    with, or to which words lead as to a decision ("So: {…}"). In it every pair of a number and a score counts,
    `"2": 7`, `[2]: 7.5`, `'2': 7/10`, so that a map with a slip in it is not lost.
    A score at the very end of a text that was cut off does not count: its last digit may be missing.

    Args:
        text: the completion, with or without its thought.
        n: how many passages were shown.
        cut: whether the engine says that the completion was cut off at its token limit.

    Examples:
        >>> parse_scores('<answer>{"1": 3, "3": 9}</answer>', 3)
        Scores(scores=(3.0, nan, 9.0), status='repaired', missing=1, duplicate=0, out_of_range=0)
    """
    region, tagged, unclosed = answer_region(text)
    region = _map_in(region, tagged)
    unclosed = unclosed or (cut and not tagged and "}" not in region)
    scores, duplicate, out_of_range = [math.nan] * n, 0, 0
    for label, score in _pairs(region, unclosed):
        if not (1 <= label <= n and 0 <= score <= 10):
            out_of_range += 1
        elif math.isnan(scores[label - 1]):
            scores[label - 1] = score
        else:
            duplicate += 1
    missing = sum(map(math.isnan, scores))
    whole = n > 0 and not (missing or duplicate or out_of_range) and ("}" in region or "{" not in region)
    status: Status = "exact" if whole else "no_answer" if missing == n else "repaired"
    return Scores(tuple(scores), "truncated" if unclosed else status, missing, duplicate, out_of_range)


_BRACE = re.compile(r"\{")
_PROSE = re.compile(r"\b[a-z]{2,}\W{1,9}[a-z]{2}|[.!?:]\s*\Z", re.IGNORECASE)  # two words, or the end of a sentence
_BEFORE = 200
_PAIR = re.compile(
    r"""(?<![\d.])(\d{1,9})["'\]]{0,3}\s{0,9}[:=]\s{0,9}["']?(-?\d{1,9}(?:\.\d{1,9})?)(?!\d|\.\d|[eE])(?:/10)?"""
)


def _map_in(region: str, tagged: bool) -> str:
    """The last map that gives scores; in prose one with which the text begins, or that words lead to."""
    starts = [brace.start() for brace in _BRACE.finditer(region)]
    maps = [(start, region[start:end]) for start, end in pairwise([*starts, len(region)])]
    maps = [(start, text) for start, text in maps if _PAIR.search(text)]
    if tagged:
        return maps[-1][1] if maps else region
    led = [text for start, text in maps if decides(region, start)]
    first = [text for start, text in maps if not _PROSE.search(region[:start][-_BEFORE:])][:1]
    return (led or first or [""])[-1]


def _map(utilities: Sequence[float]) -> str:
    plain = (f"{score:.9f}".rstrip("0").rstrip(".") for score in clipped(utilities, 10))
    return "{" + ", ".join(f'"{place}": {score}' for place, score in enumerate(plain, start=1)) + "}"


def _pairs(region: str, unclosed: bool) -> list[tuple[int, float]]:
    """Each passage number and the score that stands beside it."""
    end = len(region.rstrip())
    found = [match for match in _PAIR.finditer(region) if not (unclosed and match.end() >= end)]
    return [(to_number(match[1]), float(match[2])) for match in found]
