"""The layouts that authors publish templates in: rank_llm's YAML, llm-rankers' TOML, Jinja, and a plain one of our own.

Each is read into a `Frame`. Which it is, the file's ending and keys say.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.llm.messages import RAW
from whyrank.rerank.templates.frame import Frame, Slot, Turn, parts_of
from whyrank.rerank.templates.jinja import jinja_frame
from whyrank.rerank.templates.source import Source

Values = Mapping[str, str]
Keys = Mapping[str, Any]

PLACES = {"query": "query", "num": "number"}


def frame_of(source: Source, values: Values, keep_newline: bool | None = None, loose: bool = False) -> Frame:
    """The frame of a template's file.

    Args:
        source: the file.
        values: what stands at further places of the template, such as its instruction.
        keep_newline: of Jinja's, whether the line break that the file ends in is part of the prompt.
        loose: whether an empty line stands between what precedes the passages and these, as it did in the code of some
            authors whose file lacks it.

    Raises:
        BadInput: the file is in none of these layouts, or lacks a part of it.
    """
    if source.name.endswith((".jinja", ".j2")):
        return jinja_frame(source, values, keep_newline)
    keys = _read(source)
    for is_it, layout in _LAYOUTS:
        if is_it(keys):
            try:
                return layout(keys, source.name, values, loose)
            except KeyError as error:
                raise BadInput(f"{source.name}: the template has no {error}") from None
    raise BadInput(
        f"{source.name}: a template in no layout that is known (rank_llm's has `method`, llm-rankers' `prompt_user`, "
        "a plain one `turns` or `text`)"
    )


def _read(source: Source) -> dict[str, Any]:
    """The keys of a YAML, TOML or JSON file."""
    try:
        if source.name.endswith(".toml"):
            read: object = tomllib.loads(source.text)
        elif source.name.endswith(".json"):
            read = json.loads(source.text)
        else:
            yaml = need("yaml", extra="templates", asked_by="a template in YAML")
            try:
                read = yaml.safe_load(source.text)
            except yaml.YAMLError as error:
                raise BadInput(f"{source.name}: no YAML: {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source.name}: it cannot be read: {error}") from None
    if not isinstance(read, dict):
        raise BadInput(f"{source.name}: a template is keys and texts, not {type(read).__name__}")
    return read


def _rank_llm(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    """Of rank_llm: `method` says what is asked; texts are filled in by `str.format`."""
    methods: dict[str, Callable[[Keys, str, Values, bool], Frame]] = {
        "singleturn_listwise": _one_turn,
        "multiturn_listwise": _many_turns,
        "pointwise": _one_passage,
        "pairwise": _two_passages,
    }
    if keys["method"] not in methods:
        raise BadInput(f"{where}: a template for {keys['method']!r} is not known; known: {', '.join(methods)}")
    return methods[keys["method"]](keys, where, values, loose)


def _one_turn(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    body = _text(keys, "body", where)
    places = {**PLACES, "rank": "label", "candidate": "passage", "score": "score", "psg_ids": "names"}
    passage = parts_of(body, places, where)
    before = parts_of(_text(keys, "prefix", where) + "\n" * loose, places, where)
    after = parts_of(_text(keys, "suffix", where), places, where)
    called = next((part[part.rfind("\n") + 1 :] for part in passage if isinstance(part, str)), "")
    user = Turn("user", (*before, Slot("passages"), *after))
    return Frame((*_system(keys, where), user), passage, called=f"{called}{{}}")


def _many_turns(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    places = {**PLACES, "rank": "label", "candidate": "passage"}

    def turn(name: str, each: bool = False) -> Turn:
        return Turn(name.partition("_")[2], parts_of(_text(keys, name, where), places, where), each)

    before = (turn("prefix_user"), turn("prefix_assistant"))
    each = (turn("body_user", True), turn("body_assistant", True))
    return Frame((*_system(keys, where), *before, *each, turn("suffix_user")))


def _one_passage(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    """A raw text for T5; or roles of their own, for chat templates that know them."""
    if keys.get("message_roles") == "reranker":
        told = values.get("instruction", _text(keys, "instruction", where))
        return Frame((Turn("system", (told,)), Turn("query", (Slot("query"),)), Turn("document", (Slot("passage"),))))
    places = {**PLACES, "doc_content": "passage", "instruction": "instruction"}
    return Frame((Turn(RAW, parts_of(_text(keys, "body", where), places, where)),))


def _two_passages(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    places = {**PLACES, "doc1": "passage", "doc2": "second"}
    return Frame((Turn(RAW, parts_of(_text(keys, "body", where), places, where)),))


def _llm_rankers(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    """Of llm-rankers: a system and a user's text; passages in `doc_prefix`, with `doc_separator` between them."""
    places = {**PLACES, "docs": "passages"}
    system = Turn("system", (_text(keys, "prompt_system", where),))
    user = _text(keys, "prompt_user", where)
    user = user.replace("{docs}", "\n" * loose + "{docs}")
    label = parts_of(values.get("doc_prefix", keys.get("doc_prefix", "[{num}] ")), {"num": "label"}, where)
    between = keys.get("doc_separator", "\n")
    return Frame((system, Turn("user", parts_of(user, places, where))), (*label, Slot("passage")), between)


def _plain(keys: Keys, where: str, values: Values, loose: bool) -> Frame:
    """Our own: `[[turns]]` with `role` and `text`, or one raw `text`; `passage` and `between` say how passages stand.

    Places are {query}, {number}, {passages}, {passage}, {second}, {label}, {names} and those of `values`; a turn with
    `each = true` stands once for every passage.
    """
    known = ("query", "number", "passages", "passage", "second", "label", "names", *values)
    places = {name: name for name in known}
    if "text" in keys:
        turns = [Turn(RAW, parts_of(_text(keys, "text", where), places, where))]
    else:
        told = keys["turns"]
        if not (isinstance(told, list) and told and all(isinstance(turn, dict) for turn in told)):
            raise BadInput(f"{where}: `turns` is a list of turns, each with a role and a text")
        texts = [parts_of(_text(turn, "text", where), places, where) for turn in told]
        turns = [
            Turn(_text(turn, "role", where), text, bool(turn.get("each")))
            for turn, text in zip(told, texts, strict=True)
        ]
    passage = parts_of(keys.get("passage", "[{label}] {passage}\n"), places, where)
    return Frame(tuple(turns), passage, keys.get("between", ""), called=keys.get("called", "[{}]"))


def _system(keys: Keys, where: str) -> tuple[Turn, ...]:
    return (Turn("system", (_text(keys, "system_message", where),)),) if "system_message" in keys else ()


def _text(keys: Keys, name: str, where: str) -> str:
    text = keys[name]
    if not isinstance(text, str) or not text:
        raise BadInput(f"{where}: {name!r} is a text, not {text!r:.80}")
    return text


_LAYOUTS: tuple[tuple[Callable[[Keys], bool], Callable[[Keys, str, Values, bool], Frame]], ...] = (
    (lambda keys: "method" in keys, _rank_llm),
    (lambda keys: "prompt_user" in keys, _llm_rankers),
    (lambda keys: "turns" in keys or "text" in keys, _plain),
)
