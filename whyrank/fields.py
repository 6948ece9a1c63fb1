"""What a field may hold: declared by its type, checked whenever an object is built, whoever builds it.

`window: Annotated[int, AtLeast(2)] = 20` says all there is to say. Each field of a `Declared` dataclass is held against
what it declares before `__post_init__` runs: in Python, from a spec, from a file, in `dataclasses.replace`. What stands
for a value is taken as that value: a list for a tuple, a path for its text, a number of numpy for Python's.
"""

import math
import operator
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from functools import cache, wraps
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from whyrank.errors import BadSpec


@dataclass(frozen=True)
class Bound:
    """What is asked of a number beyond its type."""

    number: float
    words: ClassVar[str]
    compare: ClassVar[Callable[[Any, Any], bool]]

    def __str__(self) -> str:
        """What a value must be."""
        return f"{self.words} {self.number}"

    def holds(self, value: Any) -> bool:  # noqa: ANN401 (of the type that the bound is declared with)
        """Whether `value` is in bounds."""
        return type(self).compare(value, self.number)


class AtLeast(Bound):
    """`number` or more."""

    words, compare = "at least", operator.ge


class Above(Bound):
    """More than `number`."""

    words, compare = "above", operator.gt


class AtMost(Bound):
    """`number` or less."""

    words, compare = "at most", operator.le


class Below(Bound):
    """Less than `number`."""

    words, compare = "below", operator.lt


@dataclass(frozen=True)
class Between(Bound):
    """From `number` to `highest`, both among them."""

    highest: float

    def __str__(self) -> str:
        """What a value must be."""
        return f"from {self.number} to {self.highest}"

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Whether `value` is in bounds."""
        return bool(self.number <= value <= self.highest)


class Length(Bound):
    """Of a tuple: `number` items or more."""

    def __str__(self) -> str:
        """What a tuple must be."""
        return f"{self.number} or more"

    def holds(self, value: Any) -> bool:  # noqa: ANN401 (a tuple of anything)
        """Whether there are as many."""
        return bool(len(value) >= self.number)


@dataclass(frozen=True)
class Meaning:
    """What a value stands for, where its type does not say it.

    Attributes:
        what: such as "a folder".
        mend: what to do for those who gave something else.
    """

    what: str
    mend: str = ""


INFINITE = object()
"""Lets a number be infinite, which no other is: `Annotated[float, INFINITE]`."""

Positive: TypeAlias = Annotated[int, AtLeast(1)]
NotNegative: TypeAlias = Annotated[int, AtLeast(0)]
Share: TypeAlias = Annotated[float, Between(0, 1)]
Rule: TypeAlias = Callable[[Any], Any]
"""Returns what a field holds for a value, or raises `Misfit`."""


class Misfit(Exception):
    """A value that a field does not take.

    Attributes:
        value: what it is.
        hint: the type that it is not of, or
        bound: what it must be beyond its type.
        item: it is one item of a tuple.
        mend: what to do about it.
    """

    def __init__(self, value: object, hint: object, *, bound: str = "", item: bool = False, mend: str = "") -> None:
        """What is there, and what is wanted."""
        super().__init__(value)
        self.value, self.hint, self.bound, self.item, self.mend = value, hint, bound, item, mend

    def __str__(self) -> str:
        """What the value must be."""
        return self.bound or described(self.hint)


class Declared:
    """Base of dataclasses whose fields are held against what they declare, before their own `__post_init__` runs."""

    __dataclass_fields__: ClassVar[dict[str, "Field[Any]"]]

    def __init_subclass__(cls) -> None:
        """Put the check in front of whatever `__post_init__` the class has."""
        super().__init_subclass__()
        own = cls.__post_init__

        @wraps(own)
        def checked(self: Declared) -> None:
            if type(self).__post_init__ is checked:
                _check(self)
            own(self)

        cls.__post_init__ = checked  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check what no declaration says: how fields go together."""

    @classmethod
    def _called(cls) -> str:
        """What errors call it; empty where the caller says it."""
        return cls.__name__

    @classmethod
    def _such_as(cls, misfit: Misfit) -> str:
        """What could have been meant; empty where nothing is near."""
        return ""


def _check(given: Declared) -> None:
    part: Any = type(given)  # mypy takes no dataclass for hashable
    for name, rule in _rules(part):
        value = getattr(given, name)
        try:
            held = rule(value)
        except Misfit as misfit:
            raise BadSpec(_sentence(part, name, misfit)) from None
        if held is not value:
            object.__setattr__(given, name, held)


def _sentence(part: type[Declared], name: str, misfit: Misfit) -> str:
    which = f"each of {name}" if misfit.item else name
    near = part._such_as(misfit)
    such = f", such as {near}," if near else ","
    mend = f": {misfit.mend}" if misfit.mend else ""
    where = f"{part._called()}: " if part._called() else ""
    return f"{where}{which} must be {misfit}{such} not {misfit.value!r:.200}{mend}"


@cache
def _rules(part: type[Any]) -> tuple[tuple[str, Rule], ...]:
    rules = ((field.name, rule_of(hint_of(part, field))) for field in fields(part) if field.init)
    return tuple((name, rule) for name, rule in rules if rule is not _anything)


def hint_of(part: type[Any], field: "Field[Any]") -> Any:  # noqa: ANN401 (a type hint can be anything)
    """The type that a field of a dataclass is declared with; Any where it is one that only checkers import."""
    base = next(base for base in part.__mro__ if field.name in get_annotations(base))
    alone = {"__module__": base.__module__, "__annotations__": {field.name: get_annotations(base)[field.name]}}
    try:
        return get_type_hints(type(base.__name__, (), alone), include_extras=True)[field.name]
    except NameError:
        return Any


def rule_of(hint: Any) -> Rule:  # noqa: ANN401 (a type hint can be anything)
    """How values are held against a type hint; hints that cannot be judged let all pass.

    Of a generic class, as in `Format[Choice]`, the value itself is asked by `instead(Choice)`, where it has that
    method: what should stand in its place, or an empty text where it fits.
    """
    kind, inside = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _bounded(hint, inside[0], inside[1:])
    if kind in {Union, UnionType}:
        return _either(hint, inside)
    if kind is Literal:
        return _one_of(hint, inside)
    if kind is tuple and inside:
        return _tuple(hint, inside)
    if kind is float:
        return _float(hint, sys.float_info.max)
    if not _can_be_asked(kind):
        return _anything
    return _instance(hint, kind)


def _can_be_asked(kind: Any) -> bool:  # noqa: ANN401
    return isinstance(kind, type) and kind is not Any and not getattr(kind, "_is_protocol", False)


def _anything(value: Any) -> Any:  # noqa: ANN401
    return value


def _bounded(hint: Any, base: Any, extras: tuple[object, ...]) -> Rule:  # noqa: ANN401
    inner = _float(hint, math.inf) if base is float and INFINITE in extras else rule_of(base)
    bounds = tuple(extra for extra in extras if isinstance(extra, Bound))
    meaning = next((extra for extra in extras if isinstance(extra, Meaning)), None)
    words = " and ".join(map(str, bounds))

    def rule(value: Any) -> Any:  # noqa: ANN401
        try:
            held = inner(value)
        except Misfit as misfit:
            raise Misfit(value, hint, mend=meaning.mend) if meaning else misfit from None
        for bound in bounds:
            if not bound.holds(held):
                raise Misfit(value, hint, bound=words)
        return held

    return rule


def _either(hint: Any, inside: tuple[Any, ...]) -> Rule:  # noqa: ANN401
    optional, rules = NoneType in inside, [rule_of(one) for one in inside if one is not NoneType]

    def rule(value: Any) -> Any:  # noqa: ANN401
        if value is None and optional:
            return None
        nearest = None
        for one in rules:
            try:
                return one(value)
            except Misfit as misfit:
                if nearest is None and (misfit.bound or misfit.item):
                    nearest = misfit.with_traceback(None)
        try:
            raise nearest or Misfit(value, hint)
        finally:
            del nearest  # an error and the frame that it was raised in hold each other, and all that the callers hold

    return rule


def _one_of(hint: Any, inside: tuple[Any, ...]) -> Rule:  # noqa: ANN401
    choices = {(type(one), one): one for one in inside}

    def rule(value: Any) -> Any:  # noqa: ANN401
        held = _plain(value)
        if not isinstance(held, str | int | None) or (type(held), held) not in choices:
            raise Misfit(value, hint)
        return held

    return rule


def _tuple(hint: Any, inside: tuple[Any, ...]) -> Rule:  # noqa: ANN401
    rules = [rule_of(one) for one in inside if one is not ...]

    def rule(value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, tuple | list) or (inside[-1] is not ... and len(value) != len(rules)):
            raise Misfit(value, hint)
        try:
            held = tuple(each(one) for each, one in zip(rules * (len(value) or 1), value, strict=False))
        except Misfit as misfit:
            misfit.item = True
            raise
        return value if type(value) is tuple and all(map(operator.is_, held, value)) else held

    return rule


def _float(hint: Any, largest: float) -> Rule:  # noqa: ANN401
    def rule(value: Any) -> Any:  # noqa: ANN401
        held = value if type(value) is float else _plain(value)
        if isinstance(held, bool) or not isinstance(held, int | float) or held != held:
            raise Misfit(value, hint)
        if not -largest <= held <= largest:
            raise Misfit(value, hint, bound="finite")
        return held

    return rule


def _instance(hint: Any, kind: type) -> Rule:  # noqa: ANN401
    inside = tuple(one for one in get_args(hint) if _can_be_asked(one))

    def rule(value: Any) -> Any:  # noqa: ANN401
        if type(value) is kind:
            return value
        held = os.fspath(value) if kind is str and isinstance(value, os.PathLike) else _plain(value)
        if not isinstance(held, kind) or (kind is int and isinstance(held, bool)):
            raise Misfit(value, hint)
        if inside and (instead := getattr(held, "instead", None)) and (words := instead(*inside)):
            raise Misfit(value, hint, bound=words)
        return held

    return rule


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A scalar of numpy as Python's."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy and isinstance(value, numpy.generic) else value


_TOLD = {
    int: "an int",
    float: "a number",
    str: "a string",
    bool: "True or False",
    NoneType: "None",
    Mapping: "a mapping",
}


def described(hint: Any) -> str:  # noqa: ANN401 (a type hint can be anything)
    """What a value of this type is called in an error: "an int or None"."""
    kind, inside = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return next((extra.what for extra in inside if isinstance(extra, Meaning)), described(inside[0]))
    if kind in {Union, UnionType, Literal}:
        *others, last = map(repr if kind is Literal else described, inside)
        return f"{', '.join(others)} or {last}" if others else last
    if kind is tuple and inside and inside[-1] is ...:
        word, _, rest = described(inside[0]).partition(" ")[2].partition(" ")
        return f"a tuple of {word}s {rest}".rstrip()
    if kind is tuple and inside:
        return f"a tuple ({', '.join(map(described, inside))})"
    if kind is Callable:
        return "a function"
    return _TOLD.get(kind) or a(getattr(kind, "__name__", str(kind)))


def a(name: str) -> str:
    """The name of a class with its article: "an LLM"."""
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


_VOWEL = re.compile(r"[AEIOaeio]|[FHLMNRSX][A-Z]")
