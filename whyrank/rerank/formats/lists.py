"""Reading the passages' numbers that an answer lists, in its order, wherever it is a list and nowhere else.

Numbers that stand in square brackets are labels: nothing else in a prompt's contents looks so (`llm/content.py`). Bare
numbers, `(3)`, `③` and "passage 3" are labels only where there is nothing but a list of them. In prose an order is read
only where a list stands on lines of its own, or where words lead to it as to a decision ("Final ranking: [3] > [1]");
what could be meant otherwise is not read at all.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from whyrank.rerank.formats.maps import NUMBER, mapped, ordered, to_number


class Listed(NamedTuple):
    """What a text lists.

    Attributes:
        numbers: as they are written, in the order meant, best first.
        placed: the same, with the numbers between the ends of ranges such as `[2]-[5]` put in their places.
        mended: whether it was read from what is no such list: worst first, `[2] < [1]`, or a map never closed.
    """

    numbers: Sequence[int] = ()
    placed: Sequence[int] = ()
    mended: bool = False


def listed(region: str, n: int, tagged: bool, cut: bool = False) -> Listed:
    """The numbers of n passages that a region lists.

    Args:
        region: where the answer stands, see `answer_region`.
        n: how many passages were shown.
        tagged: whether the answer's tag was there; then all labels in it count where it is no clean list.
        cut: whether it was cut off; then prose without the tag may be an unfinished thought, and lists nothing.
    """
    if not _DIGIT.search(region):
        return Listed()
    if ranked := mapped(region):
        return Listed(ranked, ranked)
    region = SIGNED.sub("[0]", region)
    region = _UNENDED.sub("", _RANKMARKS.sub("\n", _SPAN.sub(r"[\1]-[\2]", region)))
    if (scored := _scored(region)) is not None:
        return scored
    if whole := _whole(region):
        return Listed() if _disagree(whole) else _read(whole, n)
    if cut and not tagged:
        return Listed()
    chains = [chain for chain in _chains(region) if _ORDERS.search(region, *chain)]
    if led := [chain for chain in chains if decides(region, chain[0]) and _AFTER.match(region, chain[1])]:
        return _read(region[slice(*led[-1])], n)
    if by_lines := _by_lines(region):
        return by_lines
    if alone := _by_itself(region, chains):
        return _read(alone, n)
    return _read(region, n) if tagged else _stray(region, n)


def is_list(region: str) -> bool:
    """Whether a region is nothing but a list of labels, in any form."""
    return bool(_whole(region))


def decides(region: str, start: int) -> bool:
    """Whether the words before `start` lead to what stands there as to a decision, and are no quotation."""
    before = region[max(0, start - _CLAUSE_LENGTH) : start].rstrip()
    clause = _CLAUSE.split(before)[-1]
    leads = _LEADS.search(clause) or (start < _CLAUSE_LENGTH and _HEADING.fullmatch(before))
    return bool(leads) and not _MISLEADS.search(clause)


def _whole(region: str) -> str:
    """A region that is nothing but a list, its labels in square brackets; empty where it is none."""
    for form in (region, _WEAK.sub(_labelled, region)):
        if _LABELS.search(form) and _GAP.fullmatch(_LABELS.sub(" ", form)):
            return form
    return NUMBER.sub(r"[\g<0>]", region) if _BARE.fullmatch(region) else ""


def _disagree(whole: str) -> bool:
    """Whether a list is several, set apart by blank lines, that say different things."""
    lists = [tuple(NUMBER.findall(one)) for one in _PARAGRAPH.split(whole)]
    return len({one for one in lists if len(one) > 1}) > 1


def _labelled(match: re.Match[str]) -> str:
    return f"[{match[1] or match[2] or ord(match[3]) - ord('①') + 1}]"


def _read(text: str, n: int) -> Listed:
    """The labels of a text that is one list; nothing where it points both ways."""
    groups = list(_LABELS.finditer(text))
    gaps = [text[before.end() : after.start()] for before, after in pairwise(groups)]
    signs = "".join([*gaps, *(group[0] for group in groups)])
    rises, falls = _RISES.search(signs), _FALLS.search(signs)
    if rises and falls:
        return Listed()
    numbers = [to_number(digits) for group in groups for digits in NUMBER.findall(group[0])]
    if not rises:
        return Listed(numbers, _spread(groups, gaps, numbers, n))
    rising = [NUMBER.findall(_SCORE.sub("", part)) for part in _RISES.split(text)]
    numbers = [to_number(digits) for tied in reversed(rising) for digits in tied]
    return Listed(numbers, numbers, mended=True)


def _spread(groups: Sequence[re.Match[str]], gaps: Sequence[str], numbers: Sequence[int], n: int) -> list[int]:
    """The numbers with those between the ends of a range put in, if they are given nowhere else."""
    named, placed = set(numbers), list[int]()
    for at, group in enumerate(groups):
        inside = [to_number(digits) for digits in NUMBER.findall(group[0])]
        low, high = (placed[-1] if placed else 0), inside[0]
        if at and 1 <= low < high <= n and _RANGE.fullmatch(gaps[at - 1]):
            between = range(low + 1, high)
            if named.isdisjoint(between):
                placed += between
                named.update(between)
        placed += inside
    return placed


def _by_itself(region: str, chains: Sequence[tuple[int, int]]) -> str:
    """The list that fills its lines, or with which the text begins; nothing where several say different things."""
    alone = [region[start:end] for start, end in chains if _alone(region, start, end) or _opens(region, start, end)]
    return alone[0] if len({tuple(NUMBER.findall(one)) for one in alone}) == 1 else ""


def _chains(region: str) -> list[tuple[int, int]]:
    """Where labels follow each other with nothing between that does not belong into a list."""
    chains: list[tuple[int, int]] = []
    for label in _LABELS.finditer(region):
        if chains and _GAP.fullmatch(region, chains[-1][1], label.start()):
            chains[-1] = (chains[-1][0], label.end())
        else:
            chains.append((label.start(), label.end()))
    return chains


def _alone(region: str, start: int, end: int) -> bool:
    """Whether it fills its lines, and no line before it announces a quotation."""
    after, _, _ = region[end : end + _CLAUSE_LENGTH].partition("\n")
    return bool(_EDGE.fullmatch(after)) and begins_line(region, start)


def begins_line(region: str, start: int) -> bool:
    """Whether a line begins there, and no line before it announces a quotation."""
    before = region[max(0, start - _CLAUSE_LENGTH) : start]
    earlier, line, inside = before.rpartition("\n")
    if (not line and start > _CLAUSE_LENGTH) or not _EDGE.fullmatch(inside):
        return False
    return not earlier.rstrip().endswith(":") or decides(earlier, len(earlier))


def _opens(region: str, start: int, end: int) -> bool:
    """Whether the text begins with it, and does not take it back."""
    behind = _CLAUSE.split(region[end : end + _CLAUSE_LENGTH], maxsplit=1)[0]
    return bool(_EDGE.fullmatch(region, 0, start)) and not (_MISLEADS.search(behind) or _BACK.search(behind))


def _by_lines(region: str) -> Listed | None:
    """The labels of lines that all begin with one."""
    lines = [line for line in region.splitlines() if line.strip()]
    if lines and lines[0].rstrip(" *_").endswith(":") and decides(lines[0], len(lines[0])):
        lines = lines[1:]
    heads = [head for line in lines if (head := _HEAD.match(line))]
    if len(heads) < 2 or len(heads) < len(lines):
        return None
    numbers = [to_number(head[1]) for head in heads]
    return Listed(numbers, numbers)


def _stray(region: str, n: int) -> Listed:
    """Labels of no passage: all that is told of prose which lists nothing."""
    numbers = [to_number(digits) for group in _LABELS.findall(region) for digits in NUMBER.findall(group)]
    stray = [number for number in numbers if not 1 <= number <= n]
    return Listed(stray, stray)


def _scored(region: str) -> Listed | None:
    """The labels by their scores, where each has one beside it: `[1]: 3, [2]: 9`."""
    pairs = [(to_number(pair[1]), float(pair[2])) for pair in _SCORED.finditer(region)]
    if len(pairs) < 2 or len(pairs) < sum(1 for _ in _LABELS.finditer(region)):
        return None
    numbers = ordered([number for number, _ in pairs], [score for _, score in pairs])
    return Listed(numbers, numbers, mended=region.lstrip().startswith("{"))


SIGNED = re.compile(r"\[\s*[-−+]\s*\d+\s*\]")
"""No passage's number, but an attempt at one."""
_DIGIT = re.compile(r"[\d①-⑳]")
_NOUN = r"(?:passages?|documents?|docs?|candidates?|items?|options?|texts?)"
_ONE = rf"""["']?(?:{_NOUN}\s{{0,3}})?\d+["']?"""
_LABELS = re.compile(rf"\[\s{{0,9}}{_ONE}(?:\s{{0,9}}[,;>=<]\s{{0,9}}{_ONE})*\s{{0,9}}\]", re.IGNORECASE)
"""`[2]`, `[02]`, `[2, 1, 3]`, `["2", "1"]`, `[Passage 2]`."""
_WEAK = re.compile(
    rf"\b{_NOUN}\s{{0,3}}(?:no\.?|number|\#)?\s{{0,3}}[\[(]?(\d{{1,9}})(?![\d\w])[\])]?|\((\d{{1,9}})\)|([①-⑳])",
    re.IGNORECASE,
)
_SPAN = re.compile(r"\[\s{0,9}(\d{1,9})\s{0,9}[-–—]\s{0,9}(\d{1,9})\s{0,9}\]")
_UNENDED = re.compile(r"(?:[>=,;]\s{0,9})?\[[^\[\]]{0,20}\Z")  # a label that was cut off
_RANKMARKS = re.compile(r"\[rank(?:start|end)\]", re.IGNORECASE)
_GAP = re.compile(
    r"""(?:[\s><=≥≤≻≺,;:|/&*•·→"'`{}\[\]…–—.#_-]++|(?<=")[A-Za-z_]{1,20}(?=")|\b(?:and|then|to)\b"""
    r"""|\(\d{1,4}(?:\.\d{1,9})?\)|\d{1,4}[.)](?=\s))*+""",
    re.IGNORECASE,
)
"""What may stand inside a list, such as the scores in `[3](4) > [1](2)`, the numbers of its lines, a key of JSON."""
_BARE = re.compile(r"\A[\s*`]*\d+(?:[\s>=<,;]+\d+)*[\s.*`]*")
_ORDERS = re.compile(r"[><≥≤≻≺→=,;]|\][^\w\[]{0,20}\n|[-–—…]\s{0,9}\[")
"""What sets the labels of a list in prose apart; "[2] and [4]" tells of two, and orders none."""
_PARAGRAPH = re.compile(r"\n[^\S\n]{0,9}\n")
_RANGE = re.compile(r"\A\s*(?:-|–|—|to|\.{2,3}|…)\s*")
_RISES, _FALLS = re.compile(r"[<≤≺]"), re.compile(r"[>≥≻→]")
_SCORE = re.compile(r"\(\d{1,4}(?:\.\d{1,9})?\)")
_HEAD = re.compile(r"[\s*_#>•-]{0,9}(?:\d{1,4}[.)]\s{1,9})?[*_`\"']{0,3}\[\s{0,9}(\d{1,9})\s{0,9}\]")
_SCORED = re.compile(
    r"""\[\s{0,9}(\d{1,9})\s{0,9}\]{1,2}["'*_`]{0,3}\s{0,9}[:=]\s{0,9}["']?(\d{1,4}(?:\.\d{1,9})?)(?![\d.]{0,9}[\d\]])"""
)
_CLAUSE_LENGTH = 120
_CLAUSE = re.compile(r"[.!?;]\s|\n")
_LEADS = re.compile(
    r"\b(?:final(?:ly)?|rank(?:ing|ed|s)?|order(?:ing)?|answer|result|decision|verdict|conclusion|so|thus|hence|"
    r"therefore|overall|on reflection|in the end|in short|scores|map)\b[^\[\]{}\n]{0,60}\Z",
    re.IGNORECASE,
)
_HEADING = re.compile(r"\A\W{0,9}(?:\w{1,20}(?:['’]\w{1,9})?[\s*,]{1,3}){0,3}\w{1,20}\*{0,2}:")
"""A few words and a colon, with which the text begins."""
_MISLEADS = re.compile(
    r"\b(?:for \w{1,20} passages|not|never|no|wrong|initial(?:ly)?|at first|first (?:sight|guess|impression|order)|"
    r"input|original(?:ly)?|as given|as shown|came|come|former|earlier|previous(?:ly)?|example|says?|said|quotes?|"
    r"quoted|quoting|claims?|tells?|states?|writes?|written|contains?)\b|n['’]t\b",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"""[*_`"'”’)\]}]{0,5}(?:[^\S\n]{0,9}(?:\Z|\n|(?:since|because|as|for)\b)|[.!;,](?:\s|\Z))""", re.IGNORECASE
)
"""What follows a decision: the end of its line or sentence, or the reason for it."""
_BACK = re.compile(r"\b(?:would|how|but|though|unless|if|at first)\b", re.IGNORECASE)
_EDGE = re.compile(r"[\s*_`\"'#>•.;,(){}-]*(?:\d{1,4}[.)]\s{1,9})?[*_`]{0,3}")
