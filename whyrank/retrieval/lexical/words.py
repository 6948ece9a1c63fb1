"""Words as Lucene's `StandardTokenizer` cuts them (UAX #29), without Java."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Protocol

MAX_TOKEN = 255
"""Longer tokens are cut into pieces of this many characters, as Lucene's `StandardTokenizer` does."""


class Words:
    """The words of Lucene's `StandardTokenizer`; what an analyser makes terms of."""

    def tokens(self, text: str) -> list[str]:
        """The raw tokens of a text: words and numbers by Unicode's word breaks, ideographs and emoji one by one."""
        tokens: list[str] = _ascii_words.findall(text) if text.isascii() else _mixed(text)
        if max(map(len, tokens), default=0) > MAX_TOKEN:
            return [piece for token in tokens for piece in _pieces(token)]
        return tokens

    @staticmethod
    def composed(text: str) -> str:
        """The text in Unicode's form NFC, so that letters with combining marks equal those that carry theirs."""
        return text if text.isascii() else unicodedata.normalize("NFC", text)


def lower(token: str) -> str:
    """Lower case character by character, as Java has it."""
    return token.lower() if token.isascii() else "".join(letter.lower()[0] for letter in token)


class _Finder(Protocol):
    """What the compiled patterns of `re` and `regex` share."""

    def findall(self, string: str, /) -> list[str]: ...

    def finditer(self, string: str, /) -> Iterator[re.Match[str]]: ...

    def search(self, string: str, pos: int, endpos: int, /) -> re.Match[str] | None: ...


# Words between white space with a character beyond ASCII. Tokens never span white space, so each is cut up alone.
_beyond_ascii = re.compile(r"([!-~]*+[^\x00-\x7F]\S*)")

# Underscores join words and are tokens themselves here; `English.term` drops those that join nothing.
_ascii_words = re.compile(r"\w+(?:[.,:;'](?:(?<=[A-Za-z][.:'])(?=[A-Za-z])|(?<=[0-9][.,;'])(?=[0-9]))\w+)*", re.ASCII)


@cache
def unicode_words() -> _Finder:
    """The tokens of Lucene's `StandardTokenizer` (UAX #29 word breaks, emoji of UTS #51) in any script.

    Lucene's tables are those of Unicode 9 with the emoji of Unicode 11; the classes here are those of the installed
    `regex` package, mended where they have changed for characters in use.
    """
    import regex  # type: ignore[import-untyped]  # costs 20 ms: only text beyond ASCII pays

    extend = r"\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}"
    newer = r"\u00B8\u02E5-\u02EB\u055A\u058A\uA708-\uA716"  # letters for Unicode 11 and later only
    letter, hebrew = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}--[{newer}]]", r"\p{WB=Hebrew_Letter}"
    digit = r"[\p{WB=Numeric}０-９]"
    joint = r"\p{WB=MidNumLet}'"
    link, kana = r"\p{WB=ExtendNumLet}", r"\p{WB=Katakana}"
    picture = (
        r"[[\p{Extended_Pictographic}\p{Emoji}\u2388\u2605\u2607-\u2612\u2616-\u2685\u2690-\u2705\u2708-\u2712\u2763-\u2767"
        r"🀀-\U0001F0FF\U0001F10D-\U0001F10F\U0001F12F\U0001F16C-\U0001F171\U0001F1AD-\U0001F1E5\U0001F260-\U0001F265"
        r"🌀-\U0001F3FA🐀-\U0001F53D\U0001F546-🙏🚀-\U0001F6FF\U0001F7D5-\U0001F7FF\U0001F8AE-\U0001F8FF\U0001F90C-\U0001FFFD]"
        r"--[0-9#*\p{WB=Regional_Indicator}\p{Emoji_Modifier}]]"
    )  # Extended_Pictographic was wider in Unicode 11
    x = f"[{extend}]*"  # an extending character belongs to what stands before it
    y = rf"[[{extend}]--[\uFE0E\uFE0F]]*"  # … but for the two presentation selectors, which emoji need
    run = (
        rf"(?:{hebrew}{x}(?:'{x}|\"{x}{hebrew}{x})"
        rf"|{letter}{x}(?:[\p{{WB=MidLetter}}:{joint}]{x}{letter}{x})*"
        rf"|{digit}{x}(?:[\p{{WB=MidNum}}{joint}]{x}{digit}{x})*)+"
    )
    word = rf"(?:[{link}]{x})*(?:(?:[{kana}]{x})+|{run})(?:(?:[{link}]{x})+(?:(?:[{kana}]{x})+|{run}))*(?:[{link}]{x})*"
    emoji = rf"(?:\u200D*{picture}{y}\uFE0F?|\p{{Emoji_Modifier}}{y})"  # skin tones are extending, too
    emoji_run = rf"{emoji}(?:[\U000E0020-\U000E007E]+\U000E007F|(?:(?:\u200D|(?<=\u200D)){emoji})*)"
    keycap, flag = rf"[0-9#*]{y}\uFE0F?\u20E3{y}", rf"(?:\p{{WB=Regional_Indicator}}{x}){{2}}"
    asian = rf"(?:\p{{LB=SA}}{x})+|[\p{{Script=Han}}\p{{Script=Hiragana}}]{x}"
    found: _Finder = regex.compile(f"{word}|{emoji_run}|{keycap}|{flag}|{asian}", regex.V1)
    return found


def _mixed(text: str) -> list[str]:
    """The tokens of a text that goes beyond ASCII in places."""
    tokens: list[str] = []
    for at, part in enumerate(_beyond_ascii.split(text)):  # every second part is beyond ASCII
        tokens += unicode_words().findall(part) if at % 2 else _ascii_words.findall(part)
    return tokens


def _pieces(token: str) -> list[str]:
    """Cut a token as Lucene's scanner does, which sees `MAX_TOKEN` characters at a time."""
    find, pieces, at = _ascii_words if token.isascii() else unicode_words(), [], 0
    while match := find.search(token, at, at + MAX_TOKEN):
        pieces.append(match.group())
        at = match.end()
    return pieces
