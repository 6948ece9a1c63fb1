"""Lucene's English analysis without Java: words by Unicode's rules, possessives, lower case, stop words, Porter stems.

Other languages are in `languages`; `find_analyzer` knows them all.

An analyser cuts a text into raw tokens and turns each token into an index term, or into nothing. The two steps are
apart because a token's term never changes: an index analyses each distinct token once. `docs/analysis.md` lists the
few places where `English` and Lucene's `DefaultEnglishAnalyzer` differ.
"""

import difflib
import importlib
import re
from collections.abc import Callable, Iterable
from typing import Protocol

from whyrank.errors import BadInput, BadSpec
from whyrank.retrieval.lexical.languages import CJK, DICTIONARY, SNOWBALL, Dictionary, Snowball
from whyrank.retrieval.lexical.porter import stem
from whyrank.retrieval.lexical.words import Words, lower

STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with".split()
)
"""The 33 English stop words of Lucene's `EnglishAnalyzer`."""


class Analyzer(Protocol):
    """How text becomes index terms."""

    def tokens(self, text: str) -> list[str]:
        """The raw tokens of a text, in order."""

    def term(self, token: str) -> str | None:
        """The index term of a raw token; None where the token is not indexed. Depends on the token alone."""


class English(Words):
    """Lucene's `DefaultEnglishAnalyzer`: UAX #29 tokens, possessives, lower case, stop words, Porter stems."""

    def term(self, token: str) -> str | None:
        """The stem of a token in lower case without a possessive 's; None for stop words and mere underscores."""
        if token[-1] in "sS" and token[-2:-1] in _APOSTROPHES:
            token = token[:-2]
        word = lower(self.composed(token))
        return None if word in STOP_WORDS or not word.strip("_") else stem(word)


class Terms:
    """No analysis: the text is index terms set apart by white space, such as a learned sparse model writes."""

    def tokens(self, text: str) -> list[str]:
        """The terms of a text."""
        return text.split()

    def term(self, token: str) -> str | None:
        """The token itself."""
        return token


AnalyzerName = str | Callable[[str], Iterable[str]]
"""What a lexical retriever takes for an analyser: a name, "package:function", or the function itself."""


def analyze(text: str, analyzer: AnalyzerName = "english") -> list[str]:
    """The index terms of `text`, in order.

    >>> analyze("The bees' dances: Karl von Frisch's discovery, 1927.")
    ['bee', 'danc', 'karl', 'von', 'frisch', 'discoveri', '1927']

    Raises:
        BadSpec: there is no such analyser.
        MissingExtra: the analyser needs a package that is not installed.
    """
    chosen = find_analyzer(analyzer)
    return [term for token in chosen.tokens(text) if (term := chosen.term(token)) is not None]


def find_analyzer(analyzer: AnalyzerName) -> Analyzer:
    """The analyser of that name, or the one that a function is.

    Args:
        analyzer: "english"; another language of `languages`, such as "german"; "cjk" for Chinese, Japanese and Korean;
            "terms" for text that already is index terms set apart by spaces; "package.module:function" or a function,
            which makes a list of index terms of a text.

    Raises:
        BadSpec: there is no such analyser.
        MissingExtra: it needs a package that is not installed.
    """
    if not isinstance(analyzer, str):
        if not callable(analyzer):
            raise BadSpec(f"an analyser is a name or a function from a text to its terms, not {analyzer!r}")
        return FunctionAnalyzer(analyzer)
    if analyzer in _BUILTIN:
        return _BUILTIN[analyzer]()
    if _DOTTED.fullmatch(analyzer):
        return FunctionAnalyzer(_imported(analyzer))
    if analyzer in SNOWBALL:
        return Snowball(analyzer)
    if analyzer in DICTIONARY:
        return Dictionary(analyzer)
    known = sorted({*_BUILTIN, *SNOWBALL, *DICTIONARY})
    near = difflib.get_close_matches(analyzer.lower(), known, n=1)
    hint = f": did you mean {near[0]!r}?" if near else f": choose one of {', '.join(known)}, or 'package:function'"
    raise BadSpec(f"no analyser is called {analyzer!r}{hint}")


def check_analyzer(analyzer: AnalyzerName) -> None:
    """Refuse what is no analyser; "package:function" is not imported before it is used.

    Raises:
        BadSpec: there is no such analyser.
        MissingExtra: it needs a package that is not installed.
    """
    if not (isinstance(analyzer, str) and _DOTTED.fullmatch(analyzer)):
        find_analyzer(analyzer)


def name_of_analyzer(analyzer: AnalyzerName) -> str:
    """The name by which an index knows its analyser.

    Raises:
        BadSpec: it is a function that no name finds again, such as a lambda.
    """
    if isinstance(analyzer, str):
        return analyzer
    if not _DOTTED.fullmatch(name := function_name(analyzer)):
        raise BadSpec(
            f"the analyser {name} cannot be found again by a name, so it works in memory and in one process only: make "
            "it a function of a module"
        )
    return name


def function_name(function: Callable[..., object]) -> str:
    """The "module:function" that finds a function again; for one that nothing finds, such as a lambda, its repr."""
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    try:
        return name if _imported(name) is function else repr(function)
    except BadSpec:
        return repr(function)


def _imported(name: str) -> Callable[[str], Iterable[str]]:
    """The function called "package.module:function".

    Raises:
        BadSpec: there is none.
    """
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadSpec(f"no analyser is found at {name!r}: {error}") from None
    if not callable(found):
        raise BadSpec(f"{name!r} is no function from a text to its terms")
    return found


class FunctionAnalyzer:
    """An analyser that is one function, from a text to its index terms."""

    def __init__(self, function: Callable[[str], Iterable[str]]) -> None:
        self._function = function

    def tokens(self, text: str) -> list[str]:
        """The terms of a text."""
        terms = list(self._function(text))
        if wrong := [term for term in terms if not isinstance(term, str) or not term]:
            raise BadInput(f"the analyser {function_name(self._function)} must give terms, not {wrong[0]!r}")
        return terms

    def term(self, token: str) -> str | None:
        """The token itself."""
        return token


_BUILTIN: dict[str, Callable[[], Analyzer]] = {"english": English, "cjk": CJK, "terms": Terms}
_DOTTED = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_APOSTROPHES = frozenset("'’＇")
