"""Whether a dotted path leads to a class of some kind, read from source text: no module is imported to find out."""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple


def derives(module: str, name: str, base: type) -> bool:
    """Whether `name` in `module` is a class that derives from `base`.

    Modules that are imported already are asked; others are read as text, along the names that they import and the bases
    of their classes. What is not plain there, such as a class that a function makes, counts as no.

    Args:
        module: such as "my_package.ranking".
        name: of the class in it.
        base: its module is imported already.

    Example:
        >>> derives("collections", "OrderedDict", dict), derives("this", "OrderedDict", dict)
        (True, False)
    """
    return _derives(module, name, base, set())


class _Source(NamedTuple):
    """A module as text: where names in it come from."""

    classes: dict[str, list[str]]
    """The bases of each class, in dotted form."""
    imported: dict[str, str]
    """Names that imports bind, in dotted form."""
    stars: list[str]
    """Modules whose names are all imported."""


def _derives(module: str, name: str, base: type, seen: set[tuple[str, str]]) -> bool:
    if (module, name) in seen:
        return False
    seen.add((module, name))
    if (loaded := sys.modules.get(module)) is not None:
        found = getattr(loaded, name, None)
        return isinstance(found, type) and issubclass(found, base)
    if (source := _read(module)) is None:
        return False
    if name in source.classes:
        return any(_leads(module, source, each, base, seen) for each in source.classes[name])
    if name in source.imported:
        return _leads(module, source, name, base, seen)
    return any(_derives(each, name, base, seen) for each in source.stars)


def _leads(module: str, source: _Source, path: str, base: type, seen: set[tuple[str, str]]) -> bool:
    """Whether a dotted path, as written in a module, leads to a subclass of `base`."""
    head, dot, rest = path.partition(".")
    whole = f"{source.imported[head]}{dot}{rest}" if head in source.imported else f"{module}.{path}"
    place, _, name = whole.rpartition(".")
    return _derives(place, name, base, seen)


def _read(module: str) -> _Source | None:
    """A module's text, taken apart; None where it has none that can be read."""
    source = _Source({}, {}, [])
    try:
        text, package = _text(module)
        for node in _statements(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                source.classes[node.name] = [ast.unparse(_unsubscripted(each)) for each in node.bases]
            elif isinstance(node, ast.Import):
                for one in node.names:
                    head = one.name.partition(".")[0]
                    source.imported[one.asname or head] = one.name if one.asname else head
            elif isinstance(node, ast.ImportFrom):
                origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                source.stars.extend(origin for one in node.names if one.name == "*")
                source.imported.update({one.asname or one.name: f"{origin}.{one.name}" for one in node.names})
    except (ImportError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return source


def _text(module: str) -> tuple[str, str]:
    """The source of a module, and the package that it is in.

    Raises:
        ImportError: there is no such module, or none of Python text.
    """
    package, _, _ = module.rpartition(".")
    spec = _spec(module)
    get_source = getattr(spec and spec.loader, "get_source", None)
    if spec is None or get_source is None or (text := get_source(module)) is None:
        raise ImportError(f"no source of {module}")
    return text, package if spec.submodule_search_locations is None else module


def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies; `importlib.util.find_spec` would import the packages that it is in."""
    package, _, name = module.rpartition(".")
    path: Sequence[str] | None = None
    if package:
        within = _spec(package)
        if within is None or (path := within.submodule_search_locations) is None:
            return None
        path = list(getattr(path, "_path", path))  # without __init__.py it would ask for its parent, as below
    try:
        return next(filter(None, (finder.find_spec(module, path) for finder in sys.meta_path)), None)
    except KeyError:  # a folder without __init__.py, in a package that is not imported
        found = ModuleSpec(module, None, is_package=True)
        found.submodule_search_locations = [
            str(Path(place, name)) for place in path or () if Path(place, name).is_dir()
        ]
        return found


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """What a module does when it is imported, also under `if`, `try` and `with`; no function's or class's inside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _statements(node)


def _unsubscripted(base: ast.expr) -> ast.expr:
    """`Format` of `Format[Order]`."""
    return base.value if isinstance(base, ast.Subscript) else base
