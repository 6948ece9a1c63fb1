"""A template taken apart: turns of fixed text with places for the query and the passages, filled in once."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from whyrank.errors import BadInput
from whyrank.llm.messages import RAW, Message, Piece


class Slot(NamedTuple):
    """A place of a template: what stands there is filled in."""

    name: str


Parts = tuple[str | Slot, ...]

BOUNDLESS = 10**9
"""Tokens: a passage that a template shows has the length that its own preparation leaves, and the window."""


class Turn(NamedTuple):
    """One turn of a template; `each` stands once for every passage."""

    role: str
    parts: Parts
    each: bool = False


@dataclass(frozen=True)
class Frame:
    """A template: its turns, and how each passage stands where all passages do.

    Attributes:
        turns: in order. A single turn of the role RAW is a prompt for no chat template.
        passage: how one passage stands in the slot "passages".
        between: what stands between two of them.
        called: how passages are called in the slot "names", such as "PASSAGE{}".
        stripped: which of "query" and "passage" the template itself takes the blanks off.
    """

    turns: tuple[Turn, ...]
    passage: Parts = ()
    between: str = ""
    called: str = "[{}]"
    stripped: frozenset[str] = field(default_factory=frozenset)


class Shown(NamedTuple):
    """What is filled in: the query, the passages, and what each of them is called."""

    query: str
    passages: Sequence[str]
    labels: Sequence[str]
    values: Mapping[str, str]


def parts_of(text: str, names: Mapping[str, str], where: str) -> Parts:
    """The parts of a text with places in braces, as `str.format` reads them; `names` says what each place is.

    Raises:
        BadInput: a place is none that is known, or the braces do not close.

    Example:
        >>> parts_of("Query: {q}. {{json}}", {"q": "query"}, "a.toml")
        ('Query: ', Slot(name='query'), '. {json}')
    """
    found: list[str | Slot] = []
    try:
        for literal, place, form, _ in string.Formatter().parse(text):
            if literal:
                found.append(found.pop() + literal if found and isinstance(found[-1], str) else literal)  # type: ignore[operator]
            if place is not None:
                found.append(Slot(names[place]))
                if form:
                    raise BadInput(f"{where}: the place {{{place}:{form}}} has a form, which is not known here")
    except ValueError as error:
        raise BadInput(f"{where}: {error} in {text!r:.80}") from None
    except KeyError as error:
        known = ", ".join(f"{{{name}}}" for name in names)
        raise BadInput(f"{where}: nothing is known to stand at {{{error.args[0]}}}; known places: {known}") from None
    return tuple(found)


def filled(frame: Frame, shown: Shown) -> tuple[Message, ...]:
    """The messages of a template with everything in its place; what is filled in is not read as a template again."""
    if "query" in frame.stripped:
        shown = shown._replace(query=shown.query.strip())
    if "passage" in frame.stripped:
        shown = shown._replace(passages=[passage.strip() for passage in shown.passages])
    messages: list[Message] = []
    pending: list[Turn] = []
    for turn in (*frame.turns, Turn("", ())):
        if turn.each:
            pending.append(turn)
            continue
        places = range(len(shown.passages))
        messages += [Message(one.role, _pieces(one.parts, frame, shown, at)) for at in places for one in pending]
        pending = []
        if turn.parts:
            messages.append(Message(turn.role, _pieces(turn.parts, frame, shown, None)))
    return tuple(messages)


def is_raw(frame: Frame) -> bool:
    """Whether it is a prompt for no chat template."""
    return frame.turns[0].role == RAW


def _pieces(parts: Parts, frame: Frame, shown: Shown, at: int | None) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(Piece(part))
        elif part.name == "passages":
            for place in range(len(shown.passages)):
                pieces += [Piece(frame.between)] * bool(place and frame.between)
                pieces += _pieces(frame.passage, frame, shown, place)
        else:
            pieces.append(_piece(part.name, frame, shown, at))
    return tuple(pieces)


def _piece(slot: str, frame: Frame, shown: Shown, at: int | None) -> Piece:
    if slot == "query":
        return Piece(shown.query, "query")
    if slot in ("passage", "second") or (at is not None and slot == "label"):
        place = at if at is not None else int(slot == "second")
        return (
            Piece(shown.labels[place])
            if slot == "label"
            else Piece(shown.passages[place], "document", at_most=BOUNDLESS)
        )
    if slot == "number":
        return Piece(str(len(shown.passages)))
    if slot == "names":
        return Piece("[" + ", ".join(frame.called.format(label) for label in shown.labels) + "]")
    return Piece(shown.values[slot])
