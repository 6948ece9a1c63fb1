"""A plain template file made from one golden, for models whose words are published in code alone.

So the way texts are prepared, cut and joined is held against the authors' code on all other inputs of the golden.
"""

import json
import re
from pathlib import Path

from checkpoints import Case

from whyrank.rerank.templates.texts import Texts


def induced(case: Case, folder: Path, texts: Texts, letters: bool = False) -> str:
    """The path of a template whose prompt about the case, of one or two passages, is the golden's."""
    shown = [texts.prepared(one.text, one.title) for one in case.documents]
    query, labels = case.query, ("A", "B") if letters else ("1", "2")
    keys: dict[str, object] = {}
    if "messages" in case.told:
        turns = []
        for turn in case.told["messages"]:
            made = _turn(turn["content"], query, shown, labels, keys)
            if made is not None:
                turns.append({"role": turn["role"], **made})
        keys["turns"] = turns
    else:
        made = _turn(case.told["prompt"].removeprefix("<bos>"), query, shown, labels, keys)
        assert made is not None
        keys["text"] = made["text"]
    path = folder / f"{case.told['format']}.json"
    path.write_text(json.dumps(keys))
    return str(path)


def _turn(text: str, query: str, shown: list[str], labels: tuple[str, str], keys: dict[str, object]):
    """The text with its places in braces; None for a turn that belongs to the second passage."""
    places = [text.find(one) for one in shown]
    first, second = (f"[{label}]" for label in labels)
    if (len(shown) == 2 and places[0] < 0 <= places[1]) or (second in text and first not in text):
        return None
    if len(shown) == 2 and min(places) >= 0:
        return {"text": _block(text, query, shown, labels, keys)}
    each = (len(shown) == 2 and places[0] >= 0) or (first in text and len(text) < 60)
    made = _escaped(text)
    for found, place in ((_escaped(shown[0]), "{passage}"), (_escaped(query), "{query}")):
        made = made.replace(found, place)
    return {"text": made.replace(first, "[{label}]") if each else _numbered(made), "each": each}


def _block(text: str, query: str, shown: list[str], labels: tuple[str, str], keys: dict[str, object]) -> str:
    """A text that shows both passages, one below the other."""
    starts = [text.index(one) for one in shown]
    end = starts[0] + len(shown[0])
    start = max(text.rfind(mark, 0, starts[0]) for mark in (f"[{labels[0]}]", f"PASSAGE{labels[0]}"))
    prefix = text[start : starts[0]]
    begins = text.index(prefix.replace(labels[0], labels[1]), end)
    keys["passage"] = _escaped(prefix).replace(labels[0], "{label}") + "{passage}"
    keys["between"] = text[end:begins]
    before, after = (_numbered(_escaped(part)) for part in (text[:start], text[starts[1] + len(shown[1]) :]))
    if "PASSAGE" in prefix:
        keys["passage"] += '"'
        keys["between"], after, keys["called"] = text[end + 1 : begins], after.removeprefix('"'), "PASSAGE{}"
        after = after.replace("[PASSAGE1, PASSAGE2]", "{names}")
    return f"{before}{{passages}}{after}".replace(_escaped(query), "{query}")


def _numbered(text: str) -> str:
    return re.sub(r"\b2(?= (?:passages|documents))", "{number}", text)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
