"""Which prompt a model was published with, and whether its words are at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from whyrank.errors import WhyrankError, need
from whyrank.progress import note, warn
from whyrank.rerank.formats import Format
from whyrank.rerank.formats.base import Answer
from whyrank.rerank.templates.catalogue import Known, known
from whyrank.rerank.templates.source import SCORE, TEMPLATE
from whyrank.rerank.templates.template import Template

F = TypeVar("F")


@dataclass(frozen=True)
class Published:
    """What is known of a model, and its own prompt.

    Attributes:
        known: the entry of the catalogue; None of a model that is scored by files of its own and otherwise unknown.
        template: its prompt; None where its words are not at hand.
        missing: where they were looked for in vain, and why, one a line.
    """

    known: Known | None
    template: Template | None
    missing: tuple[str, ...] = ()


@cache
def published(model: str) -> Published | None:
    """The published prompt of a model, by its name or folder; None of one of which nothing is known.

    Looked through are the model's own files, in its folder or in the local cache of the hub, and then the templates
    that the catalogue names. Nothing is downloaded.
    """
    entry, own = known(model), _own(model)
    if entry is None and own is None:
        return None
    forms: tuple[str | None, ...] = entry.forms[:1] if entry is not None and entry.forms else (None,)
    missing = []
    for source in filter(None, (own, *(entry.templates if entry is not None else ()))):
        try:
            return Published(entry, Template(source, forms[0]))
        except WhyrankError as error:
            missing.append(f"{source}: {error}")
    return Published(entry, None, tuple(missing))


def by_default(make: Callable[[], F]) -> Callable[[], F]:
    """What makes the format of a strategy to which none was given: a known model's published one goes before it."""

    def made() -> F:
        format = make()
        object.__setattr__(format, _MARK, True)
        return format

    return made


def asked_of(model: str, format: Format[Answer]) -> Format[Answer]:
    """The format that a model is asked in: its published one where none was given; what is otherwise is told."""
    found = published(model)
    if found is None:
        return format
    if found.known is not None and not found.known.commercial:
        warn(f"the licence of {model} is {found.known.licence}: not for commercial use")
    given, own = not getattr(format, _MARK, False), found.template
    if given:
        if not isinstance(format, Template):
            warn(f"{model} was trained on a prompt of its own and is asked in another: {_instead(found)}")
        return format
    if own is not None and not own.instead(type(format.nothing(1))):
        note(f"{model} is asked as published: {own!r}")
        return cast("Format[Answer]", own)
    warn(f"{model} is asked in whyrank's own prompt, and not in the one that it was trained on: {_instead(found)}")
    return format


def _instead(found: Published) -> str:
    entry = found.known
    if entry is None or found.template is not None:
        strategy = f", by {entry.strategy}" if entry is not None else ""
        return f"leave format out{strategy}"
    where = entry.published or "nowhere"
    return f"its words stand in {where}; give format=template(…){f', by {entry.strategy}' if entry.strategy else ''}"


def _own(model: str) -> str | None:
    """The source of a template that a model's own files hold, with the tokens that are read; None without these."""
    folder = Path(model)
    if folder.is_dir():
        return model if (folder / TEMPLATE).is_file() and (folder / SCORE).is_file() else None
    if model.count("/") != 1:
        return None
    try:
        found = need("huggingface_hub", extra="templates").try_to_load_from_cache(model, SCORE)
    except (WhyrankError, ValueError):
        return None
    return f"hub:{model}@{Path(found).parents[1].name}" if isinstance(found, str) else None


_MARK = "_by_default"
