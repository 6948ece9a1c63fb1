"""Reading the order that JSON gives: a map from passages' numbers to ranks or scores, or a list of objects."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

NUMBER = re.compile(r"\d+")


def to_number(digits: str) -> int:
    """The number that digits write; 0, which no passage has, where it is too large to be one."""
    return int(digits) if len(digits) < 10 else 0  # no list has 10**9 passages: such a number is out of range


def mapped(region: str) -> list[int]:
    """The numbers, best first, that a region gives which begins with such JSON; empty for any other.

    Example:
        >>> mapped('{"1": 0, "2": 9}'), mapped('[{"id": 3, "score": 2}, {"id": 1, "score": 5}]')
        ([2, 1], [1, 3])
    """
    text = region.lstrip()
    if not text.startswith(("{", "[")):
        return []
    try:
        found, _ = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_int).raw_decode(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(found, _Pairs):
        return _by_keys(found)
    if isinstance(found, list) and found and all(isinstance(one, _Pairs) for one in found):
        return _by_objects(found)
    return []


def ordered(numbers: Sequence[int], values: Sequence[float]) -> list[int]:
    """The numbers by ranks where the values are 1, 2, 3 …, else by falling scores; equals as they stand."""
    ranks = sorted(values) == list(range(1, len(values) + 1))
    by = sorted(range(len(values)), key=lambda at: values[at] if ranks else -values[at])
    return [numbers[at] for at in by]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it is written, with keys that stand twice."""


def _by_keys(pairs: _Pairs) -> list[int]:
    keys = [NUMBER.findall(key) for key, _ in pairs]
    values = [value for _, value in pairs]
    if any(len(key) != 1 for key in keys) or not all(map(_is_number, values)):
        return []
    return ordered([to_number(key[0]) for key in keys], values)


def _by_objects(objects: Sequence[_Pairs]) -> list[int]:
    """The order of objects such as {"id": 3, "score": 9}: by score or rank, else as they stand."""
    fields = [{key.lower(): value for key, value in one} for one in objects]
    named = [number for one in fields for number in _named(one)]
    if len(named) != len(fields):
        return []
    for key, sign in (("rank", 1), ("score", -1), ("relevance", -1)):
        if all(_is_number(one.get(key)) for one in fields):
            return [named[at] for at in sorted(range(len(named)), key=lambda at: sign * fields[at][key])]
    return named


def _named(fields: Mapping[str, Any]) -> list[int]:
    label = next((fields[key] for key in _IDS if key in fields), None)
    digits = NUMBER.findall(f"{label:.0f}" if isinstance(label, float) else str(label))
    return [to_number(digits[0])] if len(digits) == 1 else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _int(digits: str) -> float:
    return int(digits) if len(digits) < 20 else float(digits)  # Python writes out no number of 5,000 digits


_IDS = ("id", "passage", "passage_id", "number", "index", "label", "document", "doc", "doc_id", "docid")
