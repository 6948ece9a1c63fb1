"""Names of parts and fields that the last release had: read as today's for one release, with a warning."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from whyrank.progress import warn

PARTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "mergetree": ("merge_tree", {}),
    "topdown": ("top_down", {}),
    "dualend": ("dual_end", {}),
    "reasoned": ("ranking", {}),
    "direct": ("ranking", {"think": "no"}),
    "reasoned_choice": ("choice", {}),
    "direct_choice": ("choice", {"think": "no"}),
    "reasoned_scores": ("group_scores", {}),
    "direct_scores": ("group_scores", {"think": "no"}),
    "itemknn": ("item_knn", {}),
    "stepback": ("step_back", {}),
}
"""The name of today for a part's old one, with the fields that the old name stood for."""

Field = str | tuple[str, Mapping[Any, object]]
"""A field's name of today; with it, where its values have changed, today's for each old one."""

C = TypeVar("C")


def renamed(**fields: Field) -> Callable[[type[C]], type[C]]:
    """Let a part take fields by their old names, above `@dataclass`: `@renamed(settled="min_uncertain")`."""

    def taking_old_names(part: type[C]) -> type[C]:
        plain = part.__init__

        @wraps(plain)
        def take(self: C, *items: object, **given: object) -> None:
            for old in fields.keys() & given.keys():
                warn(f"{part.__name__}: {old}= is now {_name(fields[old])}=; the old name goes with the next release")
            plain(self, *items, **today(given, fields))

        take.renamed = fields  # type: ignore[attr-defined]
        part.__init__ = take  # type: ignore[method-assign, assignment]
        return part

    return taking_old_names


def old_fields(part: type[Any]) -> Mapping[str, Field]:
    """The old names of a part's fields, with today's."""
    return getattr(part.__init__, "renamed", {})


def today(given: Mapping[str, object], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Values by today's names of their fields.

    Raises:
        TypeError: one is given by both names.
    """
    found = {name: value for name, value in given.items() if name not in fields}
    for old in given.keys() & fields.keys():
        field, value = fields[old], given[old]
        if (name := _name(field)) in found:
            raise TypeError(f"{name} is given twice, once by its old name {old}")
        found[name] = value if isinstance(field, str) else field[1].get(value, value)
    return found


def _name(field: Field) -> str:
    return field if isinstance(field, str) else field[0]
