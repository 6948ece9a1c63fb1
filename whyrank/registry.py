"""Parts and their specs: the same text in Python, on the command line, in a TOML file and in a manifest.

A part is a frozen dataclass whose `repr` is its spec, and `make(repr(part)) == part`. Specs are read with
`ast`, never evaluated, and only subclasses of `Part` are built. A name is looked up in the built-in table,
then among the entry points of group "whyrank.parts" of installed packages, then taken as a dotted path.
"""

import ast
import difflib
import importlib
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from whyrank.errors import BadSpec

BUILTIN: dict[str, str] = {
    "bm25": "whyrank.retrieval.bm25:BM25",
    "bm25q": "whyrank.retrieval.bm25:BM25Q",
    "lucene": "whyrank.retrieval.lucene:Lucene",
    "dense": "whyrank.retrieval.dense:Dense",
    "encoder_rerank": "whyrank.rerank.encoder:EncoderRerank",
    "listwise": "whyrank.rerank.listwise:Listwise",
    "reasoned": "whyrank.rerank.formats:Reasoned",
    "direct": "whyrank.rerank.formats:Direct",
    "sampling": "whyrank.llm.base:Sampling",
    "openai": "whyrank.llm.openai:OpenAI",
    "vllm": "whyrank.llm.vllm:VLLM",
    "transformers": "whyrank.llm.transformers:Transformers",
    "fake": "whyrank.llm.fake:Fake",
}

P = TypeVar("P", bound="Part")


class Part:
    """Base of everything that can be named in a spec; subclasses are frozen dataclasses.

    A field without a default is written by position, any other by name and only where it differs from its
    default. Fields with `repr=False` are state, not specification.
    """

    def __init_subclass__(cls) -> None:
        """Give every part the spec as `repr`, also where `@dataclass` would write its own."""
        super().__init_subclass__()
        cls.__repr__ = _spec  # type: ignore[assignment, method-assign]


def make(spec: str, kind: type[P] = Part) -> P:  # type: ignore[assignment]
    """Build the part that `spec` describes, for example `"listwise(fake(), window=10)"`.

    Args:
        spec: a name (`"bm25"`) or a call with literal or part arguments (`"bm25(k1=1.2)"`).
        kind: the class that the part must be an instance of.

    Raises:
        BadSpec: the text is not a spec, names no part, or gives arguments that the part does not take.
    """
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise BadSpec(f"cannot read the spec {spec!r}: {error}") from None
    part = _build(tree, spec)
    if not isinstance(part, kind):
        raise BadSpec(f"{spec!r} is a {type(part).__name__}, but a {kind.__name__} is wanted here")
    return part


def find(name: str) -> type[Part]:
    """The class behind a short name, an entry point's name or a dotted path (`my_package.module.MyPart`).

    Raises:
        BadSpec: nothing of that name; the nearest known names are told.
    """
    names = _names()
    if name not in names and "." not in name:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f": did you mean {near[0]!r}?" if near else f"; known parts: {', '.join(sorted(names))}"
        raise BadSpec(f"no part is called {name!r}{hint}")
    module, _, attribute = names[name].partition(":") if name in names else name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name is not None and not module.startswith(error.name):
            raise
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


def parameters(part: Part) -> dict[str, Any]:
    """All fields of a part with their values, defaults included and nested parts unfolded, for manifests."""
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.repr}  # type: ignore[arg-type]
    return {"part": name_of(type(part)), **{name: _plain(value) for name, value in values.items()}}


def _plain(value: object) -> object:
    if isinstance(value, Part):
        return parameters(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _names() -> dict[str, str]:
    return {**{point.name: point.value for point in entry_points(group="whyrank.parts")}, **BUILTIN}


def _spec(self: Part) -> str:
    arguments = []
    for field in fields(self):  # type: ignore[arg-type]
        if not field.repr:
            continue
        value = getattr(self, field.name)
        if field.default is MISSING and field.default_factory is MISSING:
            arguments.append(f"{value!r}" if not field.kw_only else f"{field.name}={value!r}")
        elif value != (field.default_factory() if field.default_factory is not MISSING else field.default):
            arguments.append(f"{field.name}={value!r}")
    return f"{name_of(type(self))}({', '.join(arguments)})"


def _build(node: ast.expr, spec: str) -> Part:
    if isinstance(node, ast.Name | ast.Attribute):
        return _construct(ast.unparse(node), [], {}, spec)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        if any(keyword.arg is None for keyword in node.keywords):
            raise BadSpec(f"cannot read the spec {spec!r}: ** is not allowed")
        positional = [_value(argument, spec) for argument in node.args]
        named = {str(keyword.arg): _value(keyword.value, spec) for keyword in node.keywords}
        return _construct(ast.unparse(node.func), positional, named, spec)
    raise BadSpec(f"cannot read the spec {spec!r}: expected a name or name(arguments), found {ast.unparse(node)!r}")


def _value(node: ast.expr, spec: str) -> object:
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        return _build(node, spec)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(item, spec) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise BadSpec(f"cannot read the spec {spec!r}: {ast.unparse(node)!r} is neither a literal nor a part") from None


def _construct(name: str, positional: list[object], named: dict[str, object], spec: str) -> Part:
    part = find(name)
    takes = [field.name for field in fields(part) if field.init]  # type: ignore[arg-type]
    for given in named:
        if given not in takes:
            near = difflib.get_close_matches(given, takes, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f"; it takes {', '.join(takes) or 'nothing'}"
            raise BadSpec(f"{name}(...) takes no {given!r}{hint}")
    try:
        return part(*positional, **named)
    except TypeError as error:
        detail = str(error).removeprefix(f"{part.__name__}.__init__() ").removeprefix("__init__() ")
        raise BadSpec(f"{name}(...) in {spec!r}: {detail}") from None
