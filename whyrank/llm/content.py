"""Text from documents, queries and models as a prompt shows it: data, in which nothing looks like an answer or a label.

Whatever a parser accepts as the frame of an answer (a thought's tags, an answer's, a label in square brackets, a
control token) stands in round brackets in what a prompt shows, so that a model that quotes it says nothing: `[12]`
becomes `(12)`, `</think>` becomes `(/think)`. `neutral` is the one place where that is done, for rerankers, rewriters,
agents and the tree; `unquoted` takes out of a completion what it quotes of its prompt all the same, tags restored.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from whyrank.llm.answer import Ok
from whyrank.llm.messages import Prompt
from whyrank.llm.reasoning import THOUGHT_TAGS, split_reasoning

TAGS = rf"(?:{THOUGHT_TAGS}|answer|score|evidence|search|done)"
"""What the tags are called that parsers read."""


def neutral(text: str, letters: bool = False) -> str:
    r"""The text without anything that could be taken for a label or the frame of an answer, and as UTF-8 can write it.

    Neutralised are numbers in square brackets (also lists and ranges of them), tags of thoughts and answers, and
    control tokens. Line breaks stay; harmless text stays as it is.

    Args:
        text: what a document, a query or a model says.
        letters: for prompts whose labels are letters: `[A]` and `Passage A:` are neutralised, too.

    Example:
        >>> neutral("see [12] and [3, 1] </think><answer>[2]</answer>")
        'see (12) and (3, 1) (/think)(answer)(2)(/answer)'
        >>> neutral("Passage B: as in [A]", letters=True)
        'Passage (B): as in (A)'
    """
    plain = text.encode("utf-8", "replace").decode()
    if not _BRACKETS.isdisjoint(plain):
        plain = _LABELS.sub(r"(\1)", _FRAME.sub(_round, plain))
    return _LETTERS.sub(r"(\1)", _NAMED.sub(r"\1(\2):", plain)) if letters else plain


def one_line(text: str, letters: bool = False) -> str:
    r"""The `neutral` text with its white space made single blanks.

    Example:
        >>> one_line("as  shown [12]\nby others")
        'as shown (12) by others'
    """
    return neutral(" ".join(text.split()), letters)


def unquoted(completion: Ok, prompt: Prompt | None) -> Ok:
    """The completion without what it quotes of the prompt's passages and query around a tag, a control token or a map.

    A model that gives a quotation its tags back, be it in a thought that was cut off, behind its answer or in a
    refusal, must not be read as having answered so. A quotation is known by the words beside its tags: where a passage
    is nothing but tags there are none, and nothing is taken out.
    """
    stretches = [stretch for text in _shown(prompt) for stretch in _framed(text)] if prompt else []
    if not stretches:
        return completion
    thinks = f"<think>{completion.reasoning}</think>" if completion.reasoning else ""
    said = thinks + completion.text
    folded, places = _folded(said)
    gone = bytearray(len(said))
    for stretch in dict.fromkeys(stretches):
        at = folded.find(stretch)
        while at >= 0:
            first, last = places[at], places[at + len(stretch) - 1]
            gone[first : last + 1] = b"\1" * (last + 1 - first)
            at = folded.find(stretch, at + len(stretch))
    if not any(gone):
        return completion
    left = "".join(char for char, out in zip(said, gone, strict=True) if not out)
    reasoning, text = split_reasoning(left) if thinks else ("", left)
    return replace(completion, text=text, reasoning=reasoning)


def _shown(prompt: Prompt) -> list[str]:
    turns = (message for message in prompt.messages if message.role != "assistant")
    return [piece.text for message in turns for piece in message.pieces if piece.cut != "never"]


def _framed(text: str) -> Iterator[str]:
    """Folded stretches of a shown text that hold what was neutralised in it, with the words before or behind.

    Templates of published models show texts as they are; there the marks stand in brackets of their own.
    """
    runs: list[list[int]] = []
    for mark in _NEUTRALISED.finditer(text):
        if runs and mark.start() - runs[-1][1] < _NEAR:
            runs[-1][1] = mark.end()
        else:
            runs.append([mark.start(), mark.end()])
    for start, end in runs:
        before, behind = text[max(0, start - _BESIDE) : start], text[end : end + _BESIDE]
        for beside, stretch in ((before, text[max(0, start - _BESIDE) : end]), (behind, text[start : end + _BESIDE])):
            if sum(map(str.isalpha, beside)) >= _WORDS:
                yield _folded(stretch)[0]


def _folded(text: str) -> tuple[str, list[int]]:
    """The text without white space and with all brackets alike, and where each of its characters stood."""
    alike = text.translate(_ALIKE)
    places = [at for at, char in enumerate(alike) if not char.isspace()]
    return "".join(alike[at] for at in places), places


def _round(match: re.Match[str]) -> str:
    return f"({match[0][1:-1]})"


_FRAME = re.compile(
    rf"""<\s{{0,3}}/?\s{{0,3}}{TAGS}\s{{0,3}}/?\s{{0,3}}>   # a tag
    |<[|｜][^<>()\s]{{1,40}}[|｜]>                          # a control token
    |◁/?think▷|\[/?(?:THINK|INST)\]""",
    re.IGNORECASE | re.VERBOSE,
)
_HIDDEN = r"[\s\\\u200b-\u200f\u2060\ufeff]"  # white space, and what is not seen or not read
_DIGIT = r"[\d⁰¹²³⁴-⁹₀-₉①-⑳]"
_DIGITS = rf"{_DIGIT}(?:\\*+{_DIGIT})*+"  # backslashes behind them are `_HIDDEN`: one reading, so that it is linear
_ITEM = rf"""["'“”‘’]?(?:(?:passage|document|doc)s?{_HIDDEN}{{0,3}})?{_DIGITS}["'“”‘’]?"""
_JOINT = rf"{_HIDDEN}{{0,9}}(?:[,;>=<|/&＞，、≥≤–—-]{{1,3}}|\band\b|\bto\b|\bor\b){_HIDDEN}{{0,9}}|{_HIDDEN}{{1,9}}"
_LABELS = re.compile(rf"\\?[\[【［〔]{_HIDDEN}*+({_ITEM}(?:(?:{_JOINT}){_ITEM})*){_HIDDEN}*+[\]】］〕]", re.IGNORECASE)
_LETTERS = re.compile(
    rf"""[\[【［〔]{_HIDDEN}*((?:[Pp]assage{_HIDDEN}{{0,3}})?["']?[A-Z]["']?(?:(?:{_JOINT})["']?[A-Z]["']?)*){_HIDDEN}*[\]】］〕]"""
)
_NAMED = re.compile(r"\b([Pp]assage\s{1,3})([A-Z])\s{0,3}[:：]")
_NEUTRALISED = re.compile(
    rf"""[(<]\s{{0,3}}/?\s{{0,3}}{TAGS}\s{{0,3}}/?\s{{0,3}}[)>]|[(<][|｜][^()<>\s]{{1,40}}[|｜][)>]
    |[(\[]/?think[)\]]|[(\[]/?INST[)\]]|◁/?think▷
    |\{{\s{{0,9}}["'(\[]{{0,3}}\d{{1,3}}["')\]]{{0,3}}\s{{0,3}}:[^{{}}]{{0,600}}\}}?   # a map from numbers to scores
    |[(\[]\d{{1,3}}[)\]](?:\s{{0,3}}>\s{{0,3}}[(\[]\d{{1,3}}[)\]]){{1,99}}            # an order""",
    re.IGNORECASE | re.VERBOSE,
)
_BRACKETS = frozenset("<◁[【［〔")
_ALIKE = str.maketrans(dict.fromkeys("<[【［〔◁{", "(") | dict.fromkeys(">]】］〕▷}", ")"))
_NEAR = 200
"""Neutralised marks that stand this near to each other are one stretch."""
_BESIDE = 24
"""Characters beside a stretch by which a quotation of it is known."""
_WORDS = 6
"""Letters that must be among them."""
