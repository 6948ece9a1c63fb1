"""Fields: what a part declares is what it takes, in Python as from a spec, and both refuse in the same words."""

import enum
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_registry import EXAMPLES
from whyrank.errors import BadInput, BadSpec, WhyrankError
from whyrank.fields import (
    INFINITE,
    Above,
    AtLeast,
    AtMost,
    Below,
    Between,
    Bound,
    Length,
    Meaning,
    Positive,
    Share,
    hint_of,
    rule_of,
)
from whyrank.llm.engine import LLM
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Sampling
from whyrank.registry import BUILTIN, Part, find, make, name_of
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.lexical.bm25 import BM25

if TYPE_CHECKING:
    from decimal import Decimal


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Plain(Part):
    number: int = 1
    share: float = 0.5
    text: str = ""
    flag: bool = False
    choice: Literal["a", 1] = "a"
    words: tuple[str, ...] = ()
    pair: tuple[int, str] = (1, "x")
    nested: tuple[tuple[int, int], ...] = ()
    table: Mapping[str, Any] = field(default_factory=dict, hash=False)
    part: Part | None = None
    function: str | Callable[[str], str] = ""
    colour: Colour = Colour.RED
    anything: Any = None
    unseen: "Decimal | None" = None
    folder: Annotated[str | None, Meaning("a folder", mend="numbers go by name")] = None


@dataclass(frozen=True)
class Bounded(Part):
    low: Annotated[int, AtLeast(2)] | None = None
    share: Share = 0.5
    half: Annotated[float, Above(0), Below(0.5)] = 0.1
    most: Annotated[float, AtMost(3), INFINITE] = -math.inf
    sizes: Annotated[tuple[Positive, ...], Length(1)] = (1,)
    doubled: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", 2 * self.share)  # of what is checked already: a text would fit too
        if self.low is not None and self.low > 100 * self.doubled:
            raise BadInput("low goes with share")


def said(build: Callable[[], object]) -> str:
    """The sentence with which a value is refused, which begins with the part's name and the field's."""
    with pytest.raises(BadSpec) as error:
        build()
    return str(error.value).removeprefix(f"{__name__}.")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"number": "20"}, "Plain: number must be an int, not '20'"),
        ({"number": True}, "Plain: number must be an int, not True"),
        ({"number": 20.0}, "Plain: number must be an int, not 20.0"),
        ({"number": None}, "Plain: number must be an int, not None"),
        ({"share": "0.5"}, "Plain: share must be a number, not '0.5'"),
        ({"share": False}, "Plain: share must be a number, not False"),
        ({"share": math.nan}, "Plain: share must be a number, not nan"),
        ({"share": -math.inf}, "Plain: share must be finite, not -inf"),
        ({"text": 1}, "Plain: text must be a string, not 1"),
        ({"text": b"x"}, "Plain: text must be a string, not b'x'"),
        ({"flag": 1}, "Plain: flag must be True or False, not 1"),
        ({"choice": "b"}, "Plain: choice must be 'a' or 1, not 'b'"),
        ({"choice": True}, "Plain: choice must be 'a' or 1, not True"),
        ({"choice": 1.0}, "Plain: choice must be 'a' or 1, not 1.0"),
        ({"choice": ["a"]}, "Plain: choice must be 'a' or 1, not ['a']"),
        ({"words": "ab"}, "Plain: words must be a tuple of strings, such as ('ab',), not 'ab'"),
        ({"words": ("a", 1)}, "Plain: each of words must be a string, not 1"),
        ({"words": {"a"}}, "Plain: words must be a tuple of strings, not {'a'}"),
        ({"pair": (1,)}, "Plain: pair must be a tuple (an int, a string), not (1,)"),
        ({"pair": ("x", 1)}, "Plain: each of pair must be an int, not 'x'"),
        ({"nested": ((1, 2), 3)}, "Plain: each of nested must be a tuple (an int, an int), not 3"),
        ({"nested": 3}, "Plain: nested must be a tuple of tuples (an int, an int), not 3"),
        ({"table": [1]}, "Plain: table must be a mapping, not [1]"),
        ({"part": "bm25"}, "Plain: part must be a Part or None, such as bm25(), not 'bm25'"),
        ({"function": 3}, "Plain: function must be a string or a function, not 3"),
        ({"colour": 1}, "Plain: colour must be a Colour, not 1"),
        ({"folder": 0.9}, "Plain: folder must be a folder, not 0.9: numbers go by name"),
    ],
)
def test_what_a_type_does_not_take(given: dict[str, Any], sentence: str) -> None:
    assert said(lambda: Plain(**given)) == sentence
    assert said(lambda: replace(Plain(), **given)) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"low": 1}, "Bounded: low must be at least 2, not 1"),
        ({"low": "2"}, "Bounded: low must be an int or None, not '2'"),
        ({"share": 1.5}, "Bounded: share must be from 0 to 1, not 1.5"),
        ({"half": 0}, "Bounded: half must be above 0 and below 0.5, not 0"),
        ({"half": 0.5}, "Bounded: half must be above 0 and below 0.5, not 0.5"),
        ({"most": math.inf}, "Bounded: most must be at most 3, not inf"),
        ({"most": math.nan}, "Bounded: most must be a number, not nan"),
        ({"sizes": ()}, "Bounded: sizes must be 1 or more, not ()"),
        ({"sizes": (3, 0)}, "Bounded: each of sizes must be at least 1, not 0"),
        ({"share": "x"}, "Bounded: share must be a number, not 'x'"),
    ],
)
def test_what_is_out_of_bounds(given: dict[str, Any], sentence: str) -> None:
    assert said(lambda: Bounded(**given)) == sentence


def test_how_fields_go_together_is_seen_after_what_each_holds() -> None:
    with pytest.raises(BadInput, match="low goes with share"):
        Bounded(low=200, share=0.5)

    @dataclass(frozen=True)
    class Further(Bounded):
        more: Positive = 1

        def __post_init__(self) -> None:
            assert isinstance(self.more, int) and isinstance(self.share, float)
            super().__post_init__()

    assert Further(share=0.25).doubled == 0.5
    assert "more must be at least 1" in said(lambda: Further(more=0))
    assert "share must be a number" in said(lambda: Further(share="x"))  # type: ignore[arg-type]


def test_a_mixed_in_post_init_is_no_way_round() -> None:
    class Other:
        seen: ClassVar[list[object]] = []

        def __post_init__(self) -> None:
            Other.seen.append(self)

    @dataclass(frozen=True)
    class Both(Other, Part):
        number: Positive = 1

    assert "number must be at least 1" in said(lambda: Both(0)) and not Other.seen
    assert Other.seen == [Both(3)]


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"number": np.int64(3)}, 3),
        ({"share": np.float32(0.5)}, 0.5),
        ({"share": np.float64(0.9)}, 0.9),
        ({"share": np.int32(1)}, 1),
        ({"share": 1}, 1),
        ({"flag": np.True_}, True),
        ({"text": np.str_("x")}, "x"),
        ({"text": Path("a") / "b"}, str(Path("a/b"))),
        ({"words": ["a", Path("b")]}, ("a", "b")),
        ({"nested": [[1, 2], (3, np.int8(4))]}, ((1, 2), (3, 4))),
        ({"choice": np.str_("a")}, "a"),
        ({"folder": Path("idx")}, "idx"),
        ({"function": str.lower}, str.lower),
        ({"anything": object}, object),
        ({"unseen": "what only checkers know"}, "what only checkers know"),
    ],
)
def test_what_stands_for_a_value_is_that_value(given: dict[str, Any], held: object) -> None:
    (name,) = given
    part = Plain(**given)
    assert getattr(part, name) == held and type(getattr(part, name)) is type(held)
    if not callable(held):
        assert make(repr(part)) == part and hash(part) is not None


def test_the_fields_of_a_part_that_is_not_changed_stay_the_objects_that_they_were() -> None:
    words = ("a" * 100, "b" * 100)
    assert Plain(words=words).words is words


@pytest.mark.parametrize(
    ("build", "spec"),
    [
        (lambda: Listwise("gpt-4o"), "listwise('gpt-4o')"),  # type: ignore[arg-type]
        (lambda: Listwise(Fake(), window="20"), "listwise(fake(), window='20')"),  # type: ignore[arg-type]
        (lambda: BM25(k1=-1), "bm25(k1=-1)"),
        (lambda: BM25(0.9, 0.4), "bm25(0.9, 0.4)"),  # type: ignore[arg-type]
        (lambda: Sampling(stop="x"), "sampling(stop='x')"),  # type: ignore[arg-type]
        (lambda: Sampling(temperature=float("inf")), "sampling(temperature=1e999)"),
    ],
)
def test_python_says_what_a_spec_says(build: Callable[[], object], spec: str) -> None:
    assert said(build) == said(lambda: make(spec))


def test_what_is_wanted_is_shown() -> None:
    assert (
        said(lambda: make("listwise('gpt-4o')"))
        == "listwise: llm must be an LLM, such as openai('gpt-4o'), not 'gpt-4o'"
    )


def bounds_of(hint: Any) -> Iterator[tuple[Any, Bound, bool]]:
    """Each bound in a hint, with the type that it bounds, and whether it is that of a tuple's items."""
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        yield from ((base, one, False) for one in extras if isinstance(one, Bound))
        yield from bounds_of(base)
    elif get_origin(hint) is tuple:
        if get_origin(get_args(hint)[0]) is not tuple:
            yield from ((base, bound, True) for base, bound, _ in bounds_of(get_args(hint)[0]))
    else:
        for one in get_args(hint):
            yield from bounds_of(one)


def around(kind: type, bound: Bound) -> tuple[list[float], list[float]]:
    """Values just in bounds, and just out."""

    def step(number: float, up: bool) -> float:
        if kind is int:
            return int(number) + (1 if up else -1)
        return math.nextafter(number, math.inf if up else -math.inf)

    at = bound.number if kind is int else float(bound.number)
    match bound:
        case Between():
            return [at, bound.highest], [step(at, False), step(bound.highest, True)]
        case AtLeast():
            return [at], [step(at, False)]
        case AtMost():
            return [at], [step(at, True)]
        case Above():
            return [step(at, True)], [at]
        case Below():
            return [step(at, False)], [at]
    raise AssertionError(f"{bound!r} is a bound that this test does not know")


PARTS = {name: make(EXAMPLES.get(name, name)) for name in BUILTIN}
BOUNDED = [
    (name, one.name, base, bound, several)
    for name, part in PARTS.items()
    for one in fields(part)
    if one.init
    for base, bound, several in bounds_of(hint_of(type(part), one))
]


def written(part: Part, name: str, value: object) -> str:
    """A spec of the part with another value in one field."""
    given = {one.name: getattr(part, one.name) for one in fields(part) if one.init and one.repr} | {name: value}
    several = getattr(type(part).__init__, "several", None)
    inner = [f"{text(one)}" for one in given.pop(several)] if several else []  # type: ignore[arg-type]
    return f"{name_of(type(part))}({', '.join([*inner, *(f'{key}={text(one)}' for key, one in given.items())])})"


def text(value: object) -> str:
    if isinstance(value, tuple):
        return f"({''.join(f'{text(one)}, ' for one in value)})"
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)


def outcome(build: Callable[[], object]) -> str:
    """What is built, or the error; none but ours."""
    try:
        return repr(build())
    except WhyrankError as error:
        return str(error)


@pytest.mark.parametrize(("name", "field_name", "base", "bound", "several"), BOUNDED, ids=lambda one: str(one)[:40])
def test_every_bound_of_every_part_on_both_routes(
    name: str, field_name: str, base: Any, bound: Bound, several: bool
) -> None:
    part = PARTS[name]
    if isinstance(bound, Length):
        whole = getattr(part, field_name)
        inside, outside = [whole], [whole[: int(bound.number) - 1]]
    else:
        inside, outside = around(base, bound)  # type: ignore[assignment]
    for value in outside:
        value = (value,) if several else value
        sentence = outcome(lambda value=value: replace(part, **{field_name: value}))  # type: ignore[misc]
        assert f"{name}: " in sentence and f"{field_name} must be " in sentence and str(bound) in sentence
        assert outcome(lambda value=value: make(written(part, field_name, value))) == sentence  # type: ignore[misc]
    for value in inside:
        value = (value,) if several else value
        built = outcome(lambda value=value: replace(part, **{field_name: value}))  # type: ignore[misc]
        assert f"{field_name} must be {bound}" not in built
        assert outcome(lambda value=value: make(written(part, field_name, value))) == built  # type: ignore[misc]


def test_the_bounds_are_there() -> None:
    assert len(BOUNDED) > 100 and {type(bound) for *_, bound, _ in BOUNDED} > {AtLeast, Above, AtMost, Below, Between}


@pytest.mark.parametrize("name", BUILTIN)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_wrong_value_is_our_error_on_both_routes(name: str, data: st.DataObject) -> None:
    part = PARTS[name]
    known = [one.name for one in fields(part) if one.init and one.repr]
    if not known:
        return
    field_name = data.draw(st.sampled_from(known))
    value = data.draw(
        st.sampled_from(["", "20", b"x", True, None, -1, 0, 10**400, 2.5, math.inf, (), ("a",), (1, 2), Sampling()])
        | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
    )  # fmt: skip
    if field_name == getattr(type(part).__init__, "several", None) and not isinstance(value, tuple):
        return
    sentence = outcome(lambda: replace(part, **{field_name: value}))
    assert outcome(lambda: make(written(part, field_name, value))) == sentence


@pytest.mark.parametrize("name", BUILTIN)
def test_every_field_of_every_part_is_judged(name: str) -> None:
    part = find(name)
    for one in fields(part):
        if one.init:
            assert rule_of(hint_of(part, one)).__name__ != "_anything", f"{one.name} takes all"


def test_an_abstract_kind_is_held_too() -> None:
    assert rule_of(LLM)(fake := Fake()) is fake
