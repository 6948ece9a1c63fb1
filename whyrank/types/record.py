"""Taking a record of a file apart, each value of the kind that it must be: files are data, and may be damaged."""

import math
import sys
from collections.abc import Callable, Mapping
from typing import TypeGuard, TypeVar

from whyrank.errors import BadInput

T = TypeVar("T")


class Record:
    """A JSON object that is taken apart name by name; `rest` is what was not asked for."""

    def __init__(self, told: object, what: str) -> None:
        """Hold a copy.

        Raises:
            BadInput: it is no object.
        """
        if not isinstance(told, Mapping):
            raise BadInput(f"{what} should be an object, not {told!r:.80}")
        self.rest: dict[str, object] = dict(told)
        self._what = what

    def text(self, name: str) -> str:
        """The text under that name; empty where there is none."""
        return self._taken(name, "a text", _is_text) or ""

    def flag(self, name: str) -> bool | None:
        """True, False, or None where it is not told."""
        return self._taken(name, "true or false", _is_flag)

    def number(self, name: str) -> int | None:
        """The whole number."""
        return self._taken(name, "a whole number", _is_whole)

    def decimal(self, name: str) -> float | None:
        """The number."""
        return self._taken(name, "a number", _is_number)

    def score(self, name: str) -> float | None:
        """The number; NaN where the name stands there without one, None where it does not."""
        if name in self.rest and self.rest[name] is None:
            del self.rest[name]
            return math.nan
        return self.decimal(name)

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers."""
        found = self._taken(name, "a list of whole numbers", _is_wholes)
        return None if found is None else tuple(found)

    def pairs(self, name: str) -> tuple[tuple[int, int], ...]:
        """A list of pairs of whole numbers."""
        return tuple((pair[0], pair[1]) for pair in self._taken(name, "pairs of whole numbers", _is_pairs) or ())

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts."""
        found = self._taken(name, "a list of texts", _is_texts)
        return None if found is None else tuple(found)

    def scores(self, name: str) -> dict[str, float | None]:
        """Numbers by id, None where there is none; none at all where the name does not stand there."""
        return self._taken(name, "numbers by id", _is_scores) or {}

    def inner(self, name: str) -> "Record":
        """The object under that name; an empty one where there is none."""
        return Record(self.rest.pop(name, None) or {}, f"{self._what}: {name}")

    def several(self, name: str) -> list["Record"]:
        """A list of objects."""
        found = self._taken(name, "a list", _is_list) or []
        return [Record(one, f"{self._what}: {name}") for one in found]

    def _taken(self, name: str, kind: str, fits: Callable[[object], TypeGuard[T]]) -> T | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if not fits(value):
            raise BadInput(f"{self._what}: {name} should be {kind}, not {value!r:.80}")
        return value


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _is_flag(value: object) -> TypeGuard[bool]:
    return isinstance(value, bool)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_HIGHEST = int(sys.float_info.max)
"""Whole numbers beyond are none that can be computed with."""


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, int):
        return not isinstance(value, bool) and -_HIGHEST <= value <= _HIGHEST
    return isinstance(value, float)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_wholes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(map(_is_whole, value))


def _is_pairs(value: object) -> TypeGuard[list[list[int]]]:
    return isinstance(value, list) and all(_is_wholes(pair) and len(pair) == 2 for pair in value)


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_scores(value: object) -> TypeGuard[dict[str, float | None]]:
    return isinstance(value, dict) and all(one is None or _is_number(one) for one in value.values())
