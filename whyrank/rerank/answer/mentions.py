"""Where a thought speaks of a passage: the sentences that name it by its label, such as `[3]` or "passage A"."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby

CARRY = 2
"""How many sentences without any label are taken to go on about the passages that the one before them named."""

_LONGEST = 200_000
"""Characters at the end of a thought that are looked through."""


def mentions(thought: str, label: str) -> str:
    """The passage of `thought` that speaks of the passage called `label`; empty where none does.

    Sentences count that name the label: `[3]`, `[1, 3]`, `[2-4]`, "passages 3 and 5", "doc 3", "the third passage";
    with letters "passage A", `[A]`, "A and B", "A explains". Up to two sentences after such a one that name no label
    belong to it as well, within its line, or on the next lines where its line ends with a colon. An order such as
    `[2] > [1] > [3]` gives no reason and does not count. Sentences that are apart are joined by " … ".

    Args:
        thought: what a model wrote before its answer.
        label: a number from "1", or a letter from "A" to "Z".

    Examples:
        >>> thought = "It asks for a direction. [1] is on honey. Passages 2 and 3 tell of dances. Only [3] says how."
        >>> mentions(thought, "3")
        'Passages 2 and 3 tell of dances. Only [3] says how.'
        >>> mentions(thought, "4")
        ''
    """
    return _joined([(at, said) for at, (said, about) in enumerate(_told(thought[-_LONGEST:])) if label in about])


@lru_cache(maxsize=512)
def _told(thought: str) -> Sequence[tuple[str, frozenset[str]]]:
    return tuple(_sentences(thought))


def _sentences(thought: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each sentence with the labels that it is about."""
    about, carried, open = frozenset[str](), 0, False
    for line in filter(None, map(str.strip, thought.splitlines())):
        about = about if open else frozenset()
        for sentence in _split(line):
            named = _labels(sentence)
            carried = 0 if named else carried + 1
            about = named if named or carried > CARRY else about
            yield sentence, about
        open = bool(about) and (open or line.rstrip("*_ ").endswith(":"))


def _split(line: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        if not _ABBREVIATED.search(line[max(start, end.end() - _ABBREVIATION) : end.end() + 1]):
            yield line[start : end.end()].strip()
            start = end.end()
    if rest := line[start:].strip():
        yield rest


def _joined(sentences: list[tuple[int, str]]) -> str:
    """Sentences by number; a gap in the numbers becomes an ellipsis."""
    runs = groupby(enumerate(sentences), key=lambda item: item[1][0] - item[0])
    return " … ".join(" ".join(sentence for _, (_, sentence) in run) for _, run in runs)


def _labels(sentence: str) -> frozenset[str]:
    text = _CHAIN.sub(" ", sentence)
    lists = chain(_NAMED.finditer(text), _BRACKETED.finditer(text), _SPAN.finditer(text))
    found = {label for match in lists for label in _listed(match[0])}
    found |= {label for match in chain(_LETTERS.finditer(text), _LETTER.finditer(text)) for label in match.groups()}
    for match in _ORDINAL.finditer(text):
        number = int(match["number"]) if match["number"] else _WORDS.index(match["word"].lower()) + 1
        found |= {str(number), *(chr(ord("A") + number - 1) if 0 < number <= 26 else "")}
    return frozenset(found)


def _listed(text: str) -> Iterator[str]:
    """The labels of a list such as "passages 3, 5 and 7-9"."""
    before = ""
    for joint, label in _ITEM.findall(text):
        if _RANGE.search(joint) and before.isdigit() and label.isdigit() and 0 < int(label) - int(before) < 100:
            yield from map(str, range(int(before) + 1, int(label)))
        yield label.lstrip("0") or "0"
        before = label


_NOUN = r"(?i:passages?|documents?|docs?|candidates?|snippets?|texts?|options?|items?|paragraphs?)"
_JOINT = r"\s{0,3}(?:,\s{0,3}and\b|,\s{0,3}or\b|,|;|&|/|-|–|—|\band\b|\bor\b|\bto\b|\bthrough\b|\bvs\.?)\s{0,3}"


def _list(letters: str) -> str:
    label = rf"(?:\d{{1,3}}|{letters})(?![\w%]|\.\d)"
    return rf"{label}(?:{_JOINT}{label})*"


_NAMED = re.compile(
    rf"\b{_NOUN}\s{{0,3}}(?:\#|(?i:no\.|number))?\s{{0,3}}{_list('[A-HJ-Z]')}"
)  # "the passage I read" is none
_BRACKETED = re.compile(rf"[\[【]\s{{0,3}}(?:{_NOUN}\s{{0,3}})?{_list('[A-Z]')}\s{{0,3}}[\]】]")
_SPAN = re.compile(r"\[\d{1,3}\]\s{0,3}(?:-|–|—|to|through)\s{0,3}\[\d{1,3}\]")
_CHAIN = re.compile(r"\[?\b(?:\d{1,3}|[A-Z])\b\]?(?:\s{0,3}>{1,3}\s{0,3}\[?\b(?:\d{1,3}|[A-Z])\b\]?){2,}")
_ITEM = re.compile(r"(.{0,20}?)(\d{1,3}|(?<![A-Za-z])[A-Z])(?![A-Za-z])")
_RANGE = re.compile(r"[-–—]|\bto\b|\bthrough\b")

_VERBS = (
    "is|was|has|does|gives|explains|says|tells|answers|names|mentions|describes|covers|addresses|provides|only|also"
)
_BEFORE = (
    r"(?:^|[.;:,(*-]|\b(?i:and|but|while|whereas|that|so|then|since|because|as|both|between|either|neither|of))\W{0,5}"
)
_LETTERS = re.compile(
    rf"{_BEFORE}\b([A-HJ-Z])\s{{0,3}}(?:and|or|nor|over|vs\.?|than|beats|>|/|,)\s{{0,3}}([A-HJ-Z])(?![\w'])"
)
_LETTER = re.compile(rf"{_BEFORE}\b([A-HJ-Z])(?=:|\s{{1,3}}(?:{_VERBS})\b)")

_WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ORDINAL = re.compile(rf"\b(?:(?i:(?P<word>{'|'.join(_WORDS)}))|(?P<number>\d{{1,3}})(?:st|nd|rd|th)) (?:{_NOUN})\b")

_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]*]*\s+(?=[^a-z\s])|[。！？]")
_ABBREVIATION = 12
"""Characters before a sentence's end that can hold an abbreviation."""
_ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|vs|cf|et al|dr|mrs?|ms)\.\s+\S$|\b(?:nos?|figs?)\.\s+\d$", re.IGNORECASE)
