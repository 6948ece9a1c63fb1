"""What an engine gave, before it is believed: nothing that cannot be counted, written or computed with is an answer."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias, get_args

from whyrank.llm.answer import Completion, Failed, Failure
from whyrank.llm.messages import Prompt
from whyrank.types import Usage

Places: TypeAlias = tuple[dict[str, float], ...]
"""The best alternatives at each place of a completion, with their log probabilities."""

LARGEST = 10**9
"""Tokens: no call takes more."""

BLANKS = 4096
"""Places that a completion may have beyond what its text accounts for: blanks are stripped, ends have no text."""

THINNEST = 16
"""Characters: hardly a text has fewer tokens than one for so many."""

ROUNDING = 0.1
"""By how much a log probability may lie above 0 in an engine that rounds."""

BEHIND = 3
"""So many places after a token that is read may spell the rest of a number."""


def digested(prompt: Prompt, came: Completion) -> Completion:
    """What came for `prompt`, fit to be recorded: `sound`, with what is read of its log probabilities."""
    wanted = bool(prompt.sampling.logprobs)
    return sound(came, lambda places: read_places(places, prompt.reads) if wanted else ())


def sound(came: Completion, kept: Callable[[Places], Places] = tuple) -> Completion:
    """A completion that can be counted, written, printed and computed with; else `Failed("bad_answer")`.

    Half characters (lone surrogates) become U+FFFD. Counts of tokens below 0 or above a billion are drawn to that. A
    log probability that is no number, or clearly above 0, makes the whole a bad answer.

    Args:
        came: what an engine gave.
        kept: which places of its log probabilities are looked at and kept.
    """
    try:
        if isinstance(came, Failed):
            return _told(came)
        text, reasoning = _text(came.text), _text(came.reasoning)
        usage = _usage(came.usage)
        if len(came.logprobs) > most_places(text, reasoning):
            raise ValueError(f"{len(came.logprobs):,} log probabilities for {len(text) + len(reasoning):,} characters")
        logprobs = tuple(map(_place, kept(came.logprobs)))
        values = tuple(map(float, came.values))
        if came.finish not in ("stop", "length"):
            raise ValueError(f"it ended with {came.finish!r}")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        return Failed("bad_answer", f"no answer that can be read: {error}"[:500])
    return replace(came, text=text, reasoning=reasoning, usage=usage, logprobs=logprobs, values=values)


def most_places(text: str, reasoning: str) -> int:
    """How many places with log probabilities a completion can have: a character takes some tokens at most."""
    return BLANKS + 8 * (len(text) + len(reasoning))


def read_places(places: Places, reads: Callable[[str], bool] | None) -> Places:
    """The places that a format reads, in their places; the others are empty.

    These are the first, the last run of such whose likeliest token is one that is read, and what may spell on a number
    behind that; where there is none, the first few.

    Examples:
        >>> read_places([{"so": -1.0}, {"ye": -1.0}, {"yes": -0.1}, {".": -0.2}], "yes".__eq__)
        ({'so': -1.0}, {}, {'yes': -0.1}, {'.': -0.2})
    """
    if reads is None:
        return places
    best = [bool(place) and reads(max(place, key=place.__getitem__)) for place in places]
    end = len(best) - best[::-1].index(True) if True in best else 0
    start = end
    while start and best[start - 1]:
        start -= 1
    kept = {0, *range(start, end + BEHIND)}
    return tuple(place if at in kept else {} for at, place in enumerate(places))


def believed(came: Completion, asked: int) -> Usage:
    """What limits count for a call: what the server says, but no less than the texts can have (`THINNEST`).

    Args:
        came: what came of it.
        asked: the characters of its prompt.
    """
    if isinstance(came, Failed):
        return Usage()
    least = asked // THINNEST, (len(came.text) + len(came.reasoning)) // THINNEST
    return replace(came.usage, input=max(came.usage.input, least[0]), output=max(came.usage.output, least[1]))


def _told(came: Failed) -> Failed:
    if came.kind not in get_args(Failure):
        raise ValueError(f"it failed with {came.kind!r}")
    return replace(came, detail=_text(came.detail))


def _text(text: str) -> str:
    """Text that UTF-8 can write; two halves of a character become one, a half alone U+FFFD."""
    if not isinstance(text, str):
        raise TypeError(f"text is expected, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _usage(told: Usage) -> Usage:
    asked, drawn = _count(told.input), _count(told.output)
    return Usage(asked, drawn, min(_count(told.reasoning), drawn), min(_count(told.cached), asked))


def _count(told: int) -> int:
    if not isinstance(told, int):
        raise TypeError(f"a count of tokens is expected, not {type(told).__name__}")
    return min(max(told, 0), LARGEST)


def _place(place: dict[str, float]) -> dict[str, float]:
    if not place:
        return place
    found = {_text(token): float(chance) for token, chance in place.items()}
    if wrong := next((chance for chance in found.values() if math.isnan(chance) or chance > ROUNDING), None):
        raise ValueError(f"a log probability is {wrong}")
    return {token: min(chance, 0.0) for token, chance in found.items()}
