"""Templates in Jinja: rendered once with marks in the place of texts, so that no text is ever part of a template."""

import re
from collections.abc import Mapping
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.llm.messages import RAW
from whyrank.progress import warn
from whyrank.rerank.templates.frame import Frame, Slot, Turn
from whyrank.rerank.templates.source import Source

MARKS = {"query": "\ue000q\ue001", "passage": "\ue000d\ue001"}
"""What stands for the texts while the template is rendered: characters of private use, which no template holds."""


def jinja_frame(source: Source, values: Mapping[str, str], keep_newline: bool | None) -> Frame:
    """The frame of a score template: a raw text with the query and one passage.

    It is rendered as transformers does: blocks take their line break with them, and, unless it is kept, the line break
    that the file ends in is lost; where nobody said which, that is told. It is given
    `messages` with the roles query and document, or, where it knows no messages, the texts as `query`, `document` and
    `doc`; and `values`.

    Raises:
        BadInput: the template is none, wants something that is not given, or changes the texts.
    """
    jinja2 = need("jinja2", extra="templates", asked_by=f"the template {source.name}")
    sandbox = need("jinja2.sandbox", extra="templates").ImmutableSandboxedEnvironment
    settings = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = sandbox(keep_trailing_newline=bool(keep_newline), **settings)
    environment.globals["raise_exception"] = _refuse
    query, passage = (f" {mark} " for mark in MARKS.values())
    turns = [{"role": "query", "content": query}, {"role": "document", "content": passage}]
    try:
        wanted = need("jinja2.meta", extra="templates").find_undeclared_variables(environment.parse(source.text))
        texts: dict[str, Any] = {"query": query, "document": passage, "doc": passage}
        told: dict[str, Any] = {"messages": turns} if "messages" in wanted else texts
        if unused := sorted(set(values) - wanted):
            raise BadInput(f"{source.name}: the template has no place for {', '.join(unused)}")
        rendered = environment.from_string(source.text).render(**told, **values, add_generation_prompt=True)
    except BadInput:
        raise
    except jinja2.UndefinedError as error:
        more = f"the template wants more than is given ({error}): give it as values={{…}}"
        raise BadInput(f"{source.name}: {more}") from None
    except (jinja2.TemplateError, _Refused) as error:
        raise BadInput(f"{source.name}: the template cannot be rendered: {error}") from None
    except Exception as error:  # whatever the expressions of a foreign template do
        raise BadInput(f"{source.name}: the template fails: {type(error).__name__}: {error}") from None
    if keep_newline is None and source.text.endswith("\n") and not source.text.rstrip().endswith("}"):
        warn(
            f"{source.name}: the line break at its end is not part of the prompt, as transformers renders templates: "
            "give keep_newline=True where its authors' code has it, or False where not"
        )
    return _frame(rendered, source.name)


def _frame(rendered: str, where: str) -> Frame:
    parts: list[str | Slot] = []
    stripped = set[str]()
    names = {mark: name for name, mark in MARKS.items()}
    for at, piece in enumerate(re.split(f"( ?(?:{'|'.join(MARKS.values())}) ?)", rendered)):
        if at % 2 == 0:
            parts += [piece] * bool(piece)
            continue
        name = names[piece.strip(" ")]
        if piece == piece.strip(" "):
            stripped.add(name)
        elif piece != f" {piece.strip(' ')} ":
            raise BadInput(f"{where}: the template takes blanks off one end of the {name} only: that is not known here")
        parts.append(Slot(name))
    for name in MARKS:
        if Slot(name) not in parts:
            raise BadInput(f"{where}: the template does not show the {name}")
    return Frame((Turn(RAW, tuple(parts)),), stripped=frozenset(stripped))


class _Refused(Exception):
    """What a template raises itself."""


def _refuse(message: Any) -> None:  # noqa: ANN401 (what a template says)
    raise _Refused(message)
