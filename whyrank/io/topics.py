"""TREC's topics: blocks `<top>` of SGML whose tags are not closed, or XML `<topic number="1">`."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from whyrank.errors import BadInput
from whyrank.io.files import block_lines, blocks
from whyrank.progress import note

_TOP = re.compile(r"<top>(.*?)</top>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(num|title|desc|narr)\b[^>]*>([^<]*)", re.IGNORECASE)
_LABEL = re.compile(r"\s*(?:number|topic|description|narrative)\s*:", re.IGNORECASE)
_NUMBERS = ("number", "id", "qid", "num")
_TEXTS = ("query", "title", "question", "text", "summary", "description")


def topics(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The topics of a file: a place, its line, and `_id` and `text`, which is the title, or where it is empty the rest.

    Numbers lose the zeros in front of them, as in TREC's judgements (`051` is judged as 51).

    Raises:
        BadInput: there is no topic, or one without number or text; damaged XML; XML with a document type, which may
            hide what it says in entities.
    """
    text = "\n".join(line for block in blocks(path) for _, line in block_lines(block))
    if re.search(r"<top>", text, re.IGNORECASE):
        note(f"{path}: read as TREC topics, titles as queries")
        yield from _sgml(path, text)
    else:
        note(f"{path}: read as topics in XML")
        yield from _xml(path, text)


def _sgml(path: Path, text: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    found = list(_TOP.finditer(text))
    if len(found) != len(re.findall(r"<top>", text, re.IGNORECASE)):
        raise BadInput(f"{path}: a <top> is not closed by </top>: is the file cut off?")
    for nth, top in enumerate(found, 1):
        fields = {name.lower(): _words(_LABEL.sub("", words, count=1)) for name, words in _FIELD.findall(top[1])}
        title = next((fields[name] for name in ("title", "desc", "narr") if fields.get(name)), "")
        yield _topic(path, nth, fields.get("num", ""), title)


def _xml(path: Path, text: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    if re.search(r"<!(doctype|entity)", text, re.IGNORECASE):
        raise BadInput(f"{path}: XML with a document type is not read: take out <!DOCTYPE …>")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError) as error:
        raise BadInput(f"{path}: neither TREC topics (<top> … </top>) nor XML: {error}") from None
    found = [one for one in root.iter() if one.tag.lower() in ("topic", "query") and _number(one)]
    if not found:
        raise BadInput(f'{path}: the XML has no topic, such as <topic number="1"><title>why?</title></topic>')
    for nth, one in enumerate(found, 1):
        inner = {child.tag.lower(): _words("".join(child.itertext())) for child in one}
        own = next((inner[name] for name in _TEXTS if inner.get(name)), "") or _words(one.text or "")
        yield _topic(path, nth, _number(one), own)


def _number(topic: "ElementTree.Element") -> str:
    inner = {child.tag.lower(): (child.text or "").strip() for child in topic}
    return next((given for name in _NUMBERS if (given := topic.get(name) or inner.get(name, ""))), "").strip()


def _topic(path: Path, nth: int, number: str, text: str) -> tuple[str, int, dict[str, Any]]:
    where = f"{path}, topic {nth}"
    if not number or not text:
        raise BadInput(f"{where}: it has no {'text' if number else 'number'}")
    return where, nth, {"_id": number.lstrip("0") or "0" if number.isdigit() else number, "text": text}


def _words(text: str) -> str:
    return " ".join(html.unescape(text).split())
