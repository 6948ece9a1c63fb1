"""The Porter stemmer as Lucene has it: the algorithm of 1980 with its author's two later rules (bli → ble, logi → log).

Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, and release 3 of the author's own
Java code, from which Lucene's stemmer derives. The Snowball stemmer called "porter" lacks the two later rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

_Rules = Mapping[str, tuple[tuple[str, str], ...]]

_SHAPE = bytes(ord("v") if letter in b"aeiou" else letter if letter == ord("y") else ord("c") for letter in range(256))


def _rules(place: int, pairs: Iterable[tuple[str, str]]) -> _Rules:
    """Suffixes with their replacements, filed by the letter at `place`, the longest suffix first."""
    filed: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for suffix, new in sorted(pairs, key=lambda pair: -len(pair[0])):
        filed[suffix[place]].append((suffix, new))
    return {letter: tuple(found) for letter, found in filed.items()}


_DOUBLE = _rules(
    -2,
    (pair.split(":") for pair in (  # type: ignore[misc]
        "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize "
        "ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble logi:log"
    ).split()),
)  # fmt: skip
_SINGLE = _rules(
    -1, [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")]
)
_LAST = _rules(
    -2,
    ((suffix, "") for suffix in
     "al ance ence er ic able ible ant ement ment ent sion tion ou ism ate iti ous ive ize".split()),
)  # fmt: skip
_KEPT = {"sion": "s", "tion": "t"}  # of these only -ion falls


def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two letters are their own stems.

    >>> [stem(word) for word in ("caresses", "ponies", "agreed", "hopping", "possibly", "archaeology")]
    ['caress', 'poni', 'agre', 'hop', 'possibl', 'archaeolog']
    """
    if len(word) < 3:
        return word
    word = _participle(_plural(word))
    if word[-1] == "y" and b"v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    if len(word) > 1:
        word = _replaced(word, _DOUBLE.get(word[-2], ()))
    word = _replaced(word, _SINGLE.get(word[-1], ()))
    return _final_letter(_last_suffix(word))


def _plural(word: str) -> str:
    if word[-1] != "s":
        return word
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word if word[-2] == "s" else word[:-1]


def _participle(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    cut = 2 if word.endswith("ed") else 3 if word.endswith("ing") else 0
    if not cut or b"v" not in _shape(word[:-cut]):
        return word
    word = word[:-cut]
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _ends_double(word):
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _ends_cvc(word) else word


def _replaced(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    for suffix, new in rules:
        if word.endswith(suffix):
            left = word[: -len(suffix)]
            return left + new if _measure(left) > 0 else word
    return word


def _last_suffix(word: str) -> str:
    if len(word) < 2:
        return word
    for suffix, _ in _LAST.get(word[-2], ()):
        if word.endswith(suffix):
            left = word[: -len(suffix)] + _KEPT.get(suffix, "")
            return left if _measure(left) > 1 else word
    return word


def _final_letter(word: str) -> str:
    last = word[-1]
    if last == "e":
        syllables = _measure(word)
        if syllables > 1 or (syllables == 1 and not _ends_cvc(word[:-1])):
            word = word[:-1]
    return word[:-1] if word[-1] == "l" and _ends_double(word) and _measure(word) > 1 else word


def _shape(word: str) -> bytes:
    """One byte a character: `v` for a vowel, `c` for anything else; y is a vowel after a consonant only."""
    shape = word.encode("ascii", "replace").translate(_SHAPE)
    if b"y" not in shape:
        return shape
    letters = bytearray(shape)
    for at, letter in enumerate(letters):
        if letter == ord("y"):
            letters[at] = ord("v" if at and letters[at - 1] == ord("c") else "c")
    return bytes(letters)


def _measure(word: str) -> int:
    """Porter's m: how often a vowel is followed by a consonant."""
    return _shape(word).count(b"vc")


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word)[-1:] == b"c"


def _ends_cvc(word: str) -> bool:
    return word[-1:] not in ("w", "x", "y") and _shape(word).endswith(b"cvc")
