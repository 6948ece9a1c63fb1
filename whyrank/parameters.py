"""What a part is made of, as manifests tell it, and what manifests of older releases tell, in today's names."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from whyrank.errors import BadInput, BadSpec
from whyrank.registry import Part, find, make, name_of
from whyrank.renamed import PARTS, old_fields, today


def parameters(part: Part) -> dict[str, Any]:
    """All fields of a part with their values, defaults included and nested parts unfolded, for manifests.

    Raises:
        BadSpec: a field holds a function, which cannot be written down.
    """
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.repr}
    if made := next((name for name, value in values.items() if callable(value) and not isinstance(value, Part)), None):
        raise BadSpec(
            f"{name_of(type(part))}: {made!r} is a function, and what a run folder is made by has to be written down: "
            "give the part a value instead, or a class of its own, or work without a folder (`.rerank`, `.search`)"
        )
    told = {"facts": dict(part.facts)} if part.facts else {}
    return {"part": name_of(type(part)), **{name: _json(value) for name, value in values.items()}, **told}


def hows(part: Part) -> frozenset[str]:
    """The names of the fields of a part, and of every part that it is made of, that are marked by `HOW`."""
    return frozenset(field.name for inner in walk(part) for field in fields(inner) if field.metadata.get("how"))


def walk(part: Part) -> Iterator[Part]:
    """The part itself and every part that it is made of."""
    yield part
    for field in fields(part):
        value = getattr(part, field.name) if field.repr else None
        for inner in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inner, Part):
                yield from walk(inner)


def _json(value: object) -> object:
    if isinstance(value, Part):
        return parameters(value)
    if isinstance(value, tuple | list):
        return [_json(item) for item in value]
    return value


def current(told: Any) -> Any:  # noqa: ANN401 (JSON)
    """What a manifest tells of parts, by today's names, and with the defaults of fields that came later.

    Example:
        >>> current({"part": "reasoned", "native": True})
        {'part': 'ranking', 'constrained': False, 'think': 'native'}
    """
    if isinstance(told, list):
        return [current(one) for one in told]
    if isinstance(told, str) and _OLD.match(told):
        return _rewritten(told)
    if not isinstance(told, dict):
        return told
    inner = {name: current(one) for name, one in told.items()}
    name, stood = PARTS.get(str(inner.get("part")), (inner.get("part"), {}))
    try:
        part = find(str(name), installed=True)
        given = today(inner, old_fields(part))
    except (BadSpec, TypeError):
        return inner
    told = {**_defaults(part), **stood, **given, "part": name}
    order = ["part", *(field.name for field in fields(part))]
    return dict(sorted(told.items(), key=lambda one: order.index(one[0]) if one[0] in order else len(order)))


def _defaults(part: type[Part]) -> dict[str, object]:
    known = (field for field in fields(part) if field.repr and field.init)
    found = {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in known}
    return {name: _json(value) for name, value in found.items() if value is not MISSING}


def _rewritten(spec: str) -> str:
    try:
        return repr(make(spec))
    except BadInput:
        return spec


_OLD = re.compile(rf"(?=[\w.]+\(.*\)\Z).*\b(?:{'|'.join(PARTS)})\b", re.DOTALL)
"""A spec with a part by its old name."""
