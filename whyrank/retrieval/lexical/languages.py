"""Analysis of languages other than English: stems by Snowball, pairs of characters, words by dictionary.

Words are those of Lucene's `StandardTokenizer`, brought to Unicode's form NFC, and stop words those of Lucene's
analysers. `docs/analysis.md` says of each language how near it is to Lucene's analyser of that name.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from whyrank.errors import need
from whyrank.retrieval.lexical.words import Words, lower, unicode_words

SNOWBALL = frozenset(
    "arabic armenian basque catalan danish dutch finnish french german greek hindi hungarian indonesian irish italian "
    "lithuanian nepali norwegian portuguese romanian russian serbian spanish swedish tamil turkish yiddish".split()
)
"""The languages of Snowball but English, which has an analyser of its own."""

DICTIONARY = {"thai": "th", "khmer": "km", "lao": "lo", "burmese": "my"}
"""Languages written without blanks between words, with their codes."""

_ELIDED = {
    "french": "l m t qu n s j d c jusqu quoiqu lorsqu puisqu",
    "italian": "c l all dall dell nell sull coll pell gl agl dagl degl negl sugl un m t s v d",
    "catalan": "d l m n s t",
    "irish": "d m b",
}
"""Words that melt with the next one, before an apostrophe; as in Lucene's analysers."""


class Snowball(Words):
    """Words in lower case without what is elided, stop words, Snowball's stems of one language."""

    def __init__(self, language: str) -> None:
        """Load the stemmer.

        Raises:
            MissingExtra: PyStemmer is not installed.
        """
        stemmer = need("Stemmer", extra="languages", asked_by=f"analyzer={language!r}").Stemmer(language)
        self._stem: Callable[[str], str] = stemmer.stemWord
        self._stop = stop_words(language)
        self._lower = {"greek": _lower_greek, "turkish": _lower_turkish}.get(language, lower)
        elided = _ELIDED.get(language, "").replace(" ", "|")
        self._elided = re.compile(rf"(?:{elided})['’]" if elided else r"(?!)", re.IGNORECASE)
        self._own = _DUTCH if language == "dutch" else {}

    def term(self, token: str) -> str | None:
        """The stem; None for stop words, mere underscores, and what is elided and stands alone."""
        token = self.composed(token)
        word = self._lower(self._elided.sub("", token, count=1) if self._elided.match(token) else token)
        if word in self._stop or not word.strip("_"):
            return None
        return self._own.get(word) or self._stem(word) or None


class CJK(Words):
    """Chinese, Japanese and Korean as Lucene's `CJKAnalyzer` reads them: each two characters that touch are a term.

    A character that stands alone is one as well. Other words are taken as they are, in lower case. Full-width letters
    and half-width katakana are brought to their usual width.
    """

    def __init__(self) -> None:
        """Load the stop words, which are English."""
        self._stop = stop_words("cjk")

    def tokens(self, text: str) -> list[str]:
        """Words, and of ideographs, kana and hangul the pairs of neighbours."""
        if text.isascii():
            return super().tokens(text)
        return list(_pairs(self.composed(_usual_width(text))))

    def term(self, token: str) -> str | None:
        """The token in lower case; None for stop words and mere underscores."""
        word = lower(token)
        return None if word in self._stop or not word.strip("_") else word


class Dictionary(Words):
    """Words of a script without blanks, parted by the dictionaries of ICU; lower case, stop words, no stems."""

    def __init__(self, language: str) -> None:
        """Load ICU.

        Raises:
            MissingExtra: icu4py is not installed.
        """
        self._breaker: Any = need("icu4py.breakers", extra="languages", asked_by=f"analyzer={language!r}").WordBreaker
        self._code, self._stop = DICTIONARY[language], stop_words(language)

    def tokens(self, text: str) -> list[str]:
        """Words by Unicode's word breaks, those of such scripts cut up by the dictionary."""
        tokens: list[str] = []
        for token in super().tokens(self.composed(text)):
            tokens += self._breaker(token, self._code) if _joined_script().match(token) else [token]
        return tokens

    def term(self, token: str) -> str | None:
        """The token in lower case; None for stop words and mere underscores."""
        word = lower(token)
        return None if word in self._stop or not word.strip("_") else word


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language; none where Lucene has none."""
    text = files("whyrank.retrieval.lexical").joinpath("stop_words.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{language}:\n((?:.+\n)+)", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


_DUTCH = {"fiets": "fiets", "bromfiets": "bromfiets", "ei": "eier", "kind": "kinder"}
"""Stems that Lucene's `DutchAnalyzer` sets by hand."""


def _lower_greek(token: str) -> str:
    """Lower case without accents, and with one form of sigma."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFD", lower(token)) if not unicodedata.combining(letter)
    )
    return unicodedata.normalize("NFC", plain).replace("ς", "σ")


def _lower_turkish(token: str) -> str:
    """Lower case with both letters i, of what stands before an apostrophe."""
    word = re.split("['’]", token, maxsplit=1)[0]
    return lower(word.replace("İ", "i").replace("I\u0307", "i").replace("I", "ı"))


@cache
def _joined_script() -> re.Pattern[str]:
    import regex  # type: ignore[import-untyped]  # as in `words`: only text beyond ASCII pays

    joined: re.Pattern[str] = regex.compile(r"\p{LB=SA}")
    return joined


@cache
def _neighbourly() -> re.Pattern[str]:
    """Matches a token that is cut into characters."""
    import regex

    marks = r"\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}"
    one = r"[[\p{Script=Han}\p{Script=Hiragana}]--\p{WB=ALetter}]"  # the sign 々 counts as a letter
    scripts = rf"{one}[{marks}]*|[\p{{WB=Katakana}}{marks}]+|[\p{{Script=Hangul}}{marks}]+"
    found: re.Pattern[str] = regex.compile(scripts, regex.V1)
    return found


def _pairs(text: str) -> Iterator[str]:
    """Words, and each two neighbours of a run of ideographs, kana or hangul; a run of one as it is."""
    run, end = "", -1
    for match in unicode_words().finditer(text):
        token = match.group()
        joins = _neighbourly().fullmatch(token) is not None
        if run and not (joins and match.start() == end):
            yield from _run_pairs(run)
            run = ""
        if joins:
            run, end = run + token, match.end()
        else:
            yield token
    yield from _run_pairs(run)


def _run_pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] if len(run) != 1 else [run]


_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}


def _usual_width(text: str) -> str:
    """Full-width ASCII and half-width katakana in their usual width, as Unicode's compatibility forms have them."""
    narrow = re.sub("[\uff65-\uff9f]+", lambda match: unicodedata.normalize("NFKC", match.group()), text)
    return narrow.translate(_WIDE)
