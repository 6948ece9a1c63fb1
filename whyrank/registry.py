"""Parts and their specs: the same text in Python, on the command line, in a TOML file and in a manifest.

A part is a frozen dataclass whose `repr` is its spec, and `make(repr(part)) == part`. Specs are read with
`ast`, never evaluated, and only subclasses of `Part` are built. A name is looked up in the built-in table,
then among the entry points of group "whyrank.parts" of installed packages, then taken as a dotted path.

What a user writes is built by `make`. What a *file* says (a manifest, the description of an index) is data: it goes
through `make_from_file`, which takes names of installed parts and plain values of fields that a class lets files set.
"""

import ast
import difflib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, wraps
from importlib.metadata import entry_points
from itertools import chain, repeat
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from whyrank.builtin import PARTS
from whyrank.dotted import derives
from whyrank.errors import BadInput, BadSpec, WhyrankError
from whyrank.fields import Declared, Misfit, a, described, hint_of
from whyrank.progress import warn
from whyrank.renamed import PARTS as RENAMED
from whyrank.renamed import old_fields, today

BUILTIN: dict[str, str] = {name: path for parts in PARTS.values() for name, path in parts.items()}
"""Where each part lies that comes with whyrank, by name."""

HOW: Mapping[str, Any] = MappingProxyType({"how": True})
"""Marks a field that says how a part works, how fast, where or how much at once, and not what comes out:
`concurrency: int = field(default=8, metadata=HOW)`. Experiments that differ in such fields alone are the same."""

_LONGEST, _SHOWN = 100, 2000
"""Characters: of a name for which near ones are looked for, and of a spec that errors show."""

P = TypeVar("P", bound="Part")
C = TypeVar("C")


class Part(Declared):
    """Base of everything that can be named in a spec; subclasses are frozen dataclasses.

    Each field is held against its declared type and bounds (`whyrank.fields`) before `__post_init__` runs. A field
    without a default is written by position, any other by name and only where it differs from its default. Fields with
    `repr=False` are state, not specification.

    Attributes:
        file_fields: those that a file may set when the folder it lies in is opened, see `make_from_file`. None that
            names a model, an engine, an address or code.
    """

    file_fields: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Give every part the spec as `repr`, also where `@dataclass` would write its own."""
        super().__init_subclass__()
        cls.__repr__ = _spec  # type: ignore[assignment, method-assign]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a manifest tells of a part beside its fields, such as the content of a file that it names."""
        return {}

    @classmethod
    def _called(cls) -> str:
        return name_of(cls)

    @classmethod
    def _such_as(cls, misfit: Misfit) -> str:
        return _near(misfit.value, misfit.hint)


def variadic(part: type[C]) -> type[C]:
    """Let a part take its one field without a default, a tuple, item by item: `fuse(a, b)` instead of `fuse((a, b))`.

    Stands above `@dataclass(frozen=True)`; all other fields must be keyword-only. The tuple can also be given by name,
    as `dataclasses.replace` does.
    """
    plain = part.__init__
    (several,) = _positions(part)

    @wraps(plain)
    def take(self: C, *items: object, **named: object) -> None:
        if items and several in named:
            raise TypeError(f"{part.__name__}.__init__() got multiple values for argument {several!r}")
        plain(self, **{several: items, **named})

    take.several = several  # type: ignore[attr-defined]
    part.__init__ = take  # type: ignore[method-assign, assignment]
    return part


@overload
def make(spec: str) -> Part: ...
@overload
def make(spec: str, kind: Callable[..., P]) -> P: ...
def make(spec: str, kind: Callable[..., Part] = Part) -> Part:
    """Build the part that `spec` describes, for example `"listwise(fake(), window=10)"`.

    Args:
        spec: a name (`"bm25"`) or a call with literal or part arguments (`"bm25(k1=1.2)"`).
        kind: the class that the part must be an instance of; an abstract one too, which no `type[P]` would take.

    Raises:
        BadSpec: the text is not a spec, names no part of this kind, or gives arguments that the part does not take.
    """
    wanted = kind if isinstance(kind, type) else Part
    if not isinstance(spec, str):
        raise BadSpec(f'a spec is a text, such as "bm25()", not {spec!r:.80}')
    with _reading(spec):
        part = _build(_parsed(spec), spec, wanted)
    if not isinstance(part, wanted):
        raise BadSpec(f"{spec!r} is {described(type(part))}, but {described(wanted)} is wanted here")
    return part


def make_from_file(told: object, kind: type[P], source: str | Path, **given: object) -> P:
    """Build a part as a file tells it, as far as a file may: what it says is data, and chooses no code and no model.

    Args:
        told: a spec, or a mapping of fields, from the file. Only the fields in `kind.file_fields` are taken, with
            numbers, texts, tuples of them, and parts that are built the same way as values; others are passed over.
        kind: the class; a spec must name it, by the name of an installed part.
        source: the file, for errors.
        given: fields that the caller decides.

    Raises:
        BadSpec: what the file says is no such part, or its values do not fit; the file is named.
    """
    try:
        if isinstance(told, str):
            with _reading(told):
                fields_told = _plain_fields(_parsed(told), kind, told)
        elif isinstance(told, Mapping):
            fields_told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        else:
            raise BadSpec(f"a spec is wanted, not {told!r:.80}")
        taken = {name: value for name, value in fields_told.items() if name in kind.file_fields and name not in given}
        return kind(**taken, **given)
    except (BadInput, TypeError) as error:
        raise BadSpec(f"{source}: {error}") from None


def find(name: str, kind: type = Part, *, installed: bool = False) -> type[Part]:
    """The class behind a short name, an entry point's name or a dotted path (`my_package.module.MyPart`).

    The module of a dotted path is imported only where its source says that a part of that name is there.

    Args:
        name: the name.
        kind: what is looked for: other parts that come with whyrank are neither imported nor named.
        installed: take no dotted path, as where a file names the part.

    Raises:
        BadSpec: nothing of that name and kind; the nearest known names are told.
    """
    names, (name, _) = _names(), RENAMED.get(name, (name, {}))
    dotted = "." in name and all(word.isidentifier() for word in name.split("."))
    if name not in names and dotted and installed:
        raise BadSpec(f"{name!r} is a dotted path, which is never taken from a file: only installed parts are")
    if name not in names and not dotted:
        known = _names(kind)
        near = difflib.get_close_matches(name.lower(), known, n=1) if len(name) <= _LONGEST else ()
        hint = f": did you mean {near[0]!r}?" if near else f"; known parts: {', '.join(sorted(known))}"
        raise BadSpec(f"no part is called {name!r:.{_LONGEST}}{hint}")
    if name in names and name not in _names(kind):
        base = next(base for base, parts in PARTS.items() if name in parts).rpartition(":")[2]
        raise BadSpec(f"{name!r} is {a(base)}, but {described(kind)} is wanted here")
    module, _, attribute = names[name].partition(":") if name in names else name.rpartition(".")
    if name not in names and module not in sys.modules and not derives(module, attribute, Part):
        raise BadSpec(
            f"no part is found at {name!r}: no source of a module {module!r} that can be reached defines such a part"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise  # the part is there, but something that it imports is not
        raise BadSpec(f"no part is found at {name!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Part) and is_dataclass(found)):
        raise BadSpec(f"{name!r} is not a part: only dataclasses derived from whyrank's Part can be built from a spec")
    return found


def name_of(part: type[Part]) -> str:
    """The name that finds this class again: its short name if it has one, else its dotted path."""
    path = f"{part.__module__}:{part.__qualname__}"
    for name, target in _names().items():
        if target == path:
            return name
    return f"{part.__module__}.{part.__qualname__}"


@cache
def _names(kind: type = Part) -> dict[str, str]:
    """Where each part lies that may be of this kind, by name: for others than ours only importing them would tell."""
    points = {point.name: f"{point.module}:{point.attr}" for point in entry_points(group="whyrank.parts")}
    bases = {f"{base.__module__}:{base.__qualname__}" for base in kind.__mro__ if base is not Part}
    ours = {name: path for group in bases & PARTS.keys() for name, path in PARTS[group].items()}
    return {name: path for name, path in points.items() if name not in BUILTIN} | (ours or BUILTIN)


def _spec(self: Part) -> str:
    arguments: list[str] = []
    for field in sorted(fields(self), key=lambda field: bool(field.kw_only)):
        if not (field.repr and field.init):
            continue
        value = getattr(self, field.name)
        if field.name == _several(type(self)):
            arguments += map(_text, value)
        elif field.default is MISSING and field.default_factory is MISSING:
            arguments.append(_text(value) if not field.kw_only else f"{field.name}={_text(value)}")
        elif value != (field.default_factory() if field.default_factory is not MISSING else field.default):
            arguments.append(f"{field.name}={_text(value)}")
    return f"{name_of(type(self))}({', '.join(arguments)})"


def _text(value: object) -> str:
    """The literal of a value; infinity has none of its own, and 1e999 is read as infinity."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)


@contextmanager
def _reading(spec: str) -> Iterator[None]:
    """Say of what Python cannot read that it is no spec."""
    try:
        yield
    except WhyrankError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        raise BadSpec(f"cannot read the spec {spec!r:.{_SHOWN}}: {why if spec.strip() else 'it is empty'}") from None


def _parsed(spec: str) -> ast.expr:
    return ast.parse(spec.strip(), mode="eval").body


def _plain_fields(node: ast.expr, kind: type[Part], spec: str) -> dict[str, object]:
    """The plain fields that a spec gives; `kind` is what it must name."""
    called = node.func if isinstance(node, ast.Call) else node
    if not isinstance(called, ast.Name | ast.Attribute):
        raise BadSpec(f"cannot read the spec {spec!r}: expected a name or name(arguments)")
    if not issubclass(part := find(ast.unparse(called), kind, installed=True), kind):
        raise BadSpec(f"{spec!r} is {described(part)}, but {described(kind)} is wanted here")
    if not isinstance(node, ast.Call):
        return {}
    given = dict(zip(_positions(part), node.args, strict=False)) | today(_named(node, spec), old_fields(part))
    return {name: _plain_value(value, part, name, spec) for name, value in given.items() if name in part.file_fields}


def _plain_value(node: ast.expr, part: type[Part], field: str, spec: str) -> object:
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        kind = get_type_hints(part)[field]
        if not (isinstance(kind, type) and issubclass(kind, Part) and kind.file_fields):
            raise BadSpec(f"cannot read the spec {spec!r}: {field!r} is given a part, and a file may not choose one")
        return kind(**_plain_fields(node, kind, spec))
    return _value(node, spec)


def _build(node: ast.expr, spec: str, kind: type = Part) -> Part:
    if isinstance(node, ast.Name | ast.Attribute):
        node = ast.Call(node, [], [])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        node = _renewed(node)
        part = find(ast.unparse(node.func), kind)
        places = chain(_positions(part), repeat(_several(part)))
        positional = [_value(value, spec, part, name) for name, value in zip(places, node.args, strict=False)]
        named = {name: _value(value, spec, part, name) for name, value in _named(node, spec).items()}
        return _construct(part, positional, named, spec)
    raise BadSpec(f"cannot read the spec {spec!r}: expected a name or name(arguments), found {ast.unparse(node)!r}")


def _renewed(call: ast.Call) -> ast.Call:
    """A call of a part by its old name, as one by today's, with what the old name stood for."""
    if (old := ast.unparse(call.func)) not in RENAMED:
        return call
    new, stood = RENAMED[old]
    given = [ast.keyword(name, _parsed(repr(value))) for name, value in stood.items()]
    now = ast.Call(ast.Name(new), call.args, given + call.keywords)
    warn(f"{old} is now {ast.unparse(ast.Call(now.func, [], given))}; the old name goes with the next release")
    return now


def _named(call: ast.Call, spec: str) -> dict[str, ast.expr]:
    """What a call gives by name."""
    named: dict[str, ast.expr] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise BadSpec(f"cannot read the spec {spec!r}: ** is not allowed")
        if keyword.arg in named:
            raise BadSpec(f"cannot read the spec {spec!r}: {keyword.arg!r} is given twice")
        named[keyword.arg] = keyword.value
    return named


def _kind(hint: Any) -> type | None:  # noqa: ANN401 (a type hint can be anything)
    """The kind of parts that a type takes, if it takes parts of one kind only."""
    if isinstance(kind := get_origin(hint) or hint, type) and issubclass(kind, Part):
        return kind
    inside = {_kind(one) for one in get_args(hint)} - {None}
    return inside.pop() if len(inside) == 1 else None


def _value(node: ast.expr, spec: str, part: type[Part] | None = None, name: str | None = None) -> object:
    """What stands in a spec, in the field `name` of `part`: that says what an unknown name could mean."""
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        called = ast.unparse(node.func if isinstance(node, ast.Call) else node)
        unknown = called not in _names() and called not in RENAMED
        hints = [hint_of(part, field) for field in fields(part) if field.name == name] if part and unknown else []
        return _build(node, spec, next(filter(None, map(_kind, hints)), Part))
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(item, spec, part, name) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise BadSpec(f"cannot read the spec {spec!r}: {ast.unparse(node)!r} is neither a literal nor a part") from None


def _construct(part: type[Part], positional: list[object], named: dict[str, object], spec: str) -> Part:
    name = name_of(part)
    takes = [field.name for field in fields(part) if field.init]
    for given in named:
        if given not in takes and given not in old_fields(part):
            near = difflib.get_close_matches(given, takes, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f"; it takes {', '.join(takes) or 'nothing'}"
            raise BadSpec(f"{name}(...) takes no {given!r}{hint}")
    try:
        return part(*positional, **named)
    except TypeError as error:
        detail = str(error).removeprefix(f"{part.__name__}.__init__() ").removeprefix("__init__() ")
        raise BadSpec(f"{name}(...) in {spec!r}: {detail}") from None


def _positions(part: type[Any]) -> list[str]:
    return [field.name for field in fields(part) if field.init and not field.kw_only]


def _several(part: type[Part]) -> str | None:
    """The field whose items are given one by one, if the part is `variadic`."""
    return getattr(part.__init__, "several", None)


def _near(value: object, hint: Any) -> str:  # noqa: ANN401 (a type hint can be anything)
    """What to write for a text that stands where a part or a tuple belongs; empty where nothing is near."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return ""
    for choice in get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,):
        kind, inside = get_origin(choice) or choice, get_args(choice)
        if kind is tuple and inside == (str, ...):
            return f"({value!r},)"
        if isinstance(kind, type) and issubclass(kind, Part):
            return _instead(value, kind)
    return ""


def _instead(value: str, kind: Any) -> str:  # noqa: ANN401 (mypy takes no class of parts for hashable)
    """The part of this kind that a text names, or, where it names a model, one that takes it."""
    near = difflib.get_close_matches(value.lower().partition("(")[0].strip(), _names(kind), n=1)
    if near and issubclass(find(near[0]), kind):
        return value if "(" in value else f"{near[0]}()"
    return f"openai({value!r})" if issubclass(find("openai"), kind) else ""
