"""One filter for all that is written or shown: keys and passwords become `***`.

It stands on the lowest floor. Every error of whyrank, every warning and the detail of every failed call pass it as they
are made, so that no trace, manifest, log or terminal gets what it holds back.
"""

import json
import os
import re
from functools import lru_cache
from urllib.parse import quote

SECRET = "***"

LEAST = 8
"""Shorter keys are placeholders (`none`, `EMPTY`), and words of ordinary texts."""

_VARIABLE = re.compile(r"(key|token|secret|password|passwd|passphrase|credentials?)s?$", re.IGNORECASE)
"""Environment variables that hold secrets: OPENAI_API_KEY, HF_TOKEN."""

_FIELD_NAME = (
    r"(?:authorization|(?:api|access|auth|secret|private|subscription)[_-]?(?:key|token)"
    r"|secret|password|passwd|pwd|passphrase|credentials?|cookie)"
)

NAMED = re.compile(
    rf"[\w-]{{0,32}}{_FIELD_NAME}|(?:[\w-]{{0,32}}[_-])?(?:sig|signature|bearer)|key|token|code|auth", re.I
)
"""Names of fields and parameters whose values are secrets; what counts tokens or names a tokenizer is none of them."""

_USER = re.compile(  # //user:password@ and //token@, but no port and no path with an @ in it
    r"//(?:[^\s/\"'<>@:]{0,256}:(?!\d+(?:/|$))[^\s\"'<>]{0,256}@|[^\s/\"'<>@]{1,256}@)"
)
_PARAMETER = re.compile(rf"(?<=[?&;])({NAMED.pattern})=[^&\s\"'<>#]+", re.I)
_ANY_PARAMETER = re.compile(r"(?<=[?&])([\w.~%-]{1,64})=[^&\s\"'<>#]+")
_FIELD = re.compile(  # name: value, "name": "value", ('name', 'value')
    rf"({_FIELD_NAME}(?:[\\\"'\])]{{0,6}}\s{{0,4}}[:=]|[\\\"']{{1,4}}\s{{0,4}},(?=\s{{0,4}}[b\\\"']))"
    r"\s{0,4}[\\\"'\[(]{0,6}(?:b['\"])?(?:(?:bearer|basic|digest|token)\s{1,4})?+)(?!\*\*\*)[^\s\\\"',;)}\]]{4,}",
    re.I,
)
_BEARER = re.compile(r"\b((?:bearer|basic)\s{1,4})(?=[^\s\"',;]{0,64}[\d=_-])(?!\*\*\*)[^\s\"',;)}\]\\]{8,}", re.I)
_TOKEN = re.compile(
    r"\b(?:sk-|(?:gsk|hf|ghp)_|xox[bp]-)(?=[A-Za-z_-]{0,64}\d)[\w-]{16,}"
)  # as makers of keys write them

_used: set[str] = set()


def remember(value: str) -> None:
    """Hold `value` back from now on, whatever becomes of the variable that it came from."""
    _used.add(value)


def masked(text: str, *, queries: bool = False) -> str:
    """`text` without secrets: the keys in use, `user:password@` in addresses, values of fields, headers and parameters.

    The keys in use are the values of environment variables that are called so, and what was `remember`ed.

    Args:
        text: for people to read.
        queries: whether the value of each parameter in an address is held back, whatever it is called.

    Example:
        >>> masked("http://me:pa55word@host/v1?api-key=8372 said: 'Authorization': 'Bearer 0a1b2c'")
        "http://***@host/v1?api-key=*** said: 'Authorization': 'Bearer ***'"
    """
    text = _USER.sub(f"//{SECRET}@", without_keys(text))
    text = (_ANY_PARAMETER if queries else _PARAMETER).sub(rf"\1={SECRET}", text)
    text = _FIELD.sub(rf"\1{SECRET}", text)
    return _TOKEN.sub(SECRET, _BEARER.sub(rf"\1{SECRET}", text))


def without_keys(text: str) -> str:
    """`text` without the keys in use, for what is data: all else stays as it is."""
    for form in _forms(frozenset(_used.union(_values()))):
        text = text.replace(form, SECRET)
    return text


def excerpt(text: str, most: int) -> str:
    """The beginning of `text`, masked before it is cut: the half of a key that is cut in two is a secret too."""
    found = masked(text[: 64 * most], queries=True)
    return found if len(found) <= most else found[:most] + " …"


def _values() -> list[str]:
    return [value for name, value in os.environ.items() if _VARIABLE.search(name)]


@lru_cache(maxsize=8)
def _forms(values: frozenset[str]) -> list[str]:
    """How each key may stand in a text, the longest first: as it is, without blanks, or escaped once or twice."""
    forms = {form for value in values if len(value.strip()) >= LEAST for form in (value, value.strip())}
    for _ in range(2):
        forms |= {
            form
            for one in forms
            for form in (json.dumps(one)[1:-1], repr(one)[1:-1], quote(one, safe="", errors="replace"))
        }
    return sorted(forms, key=len, reverse=True)
