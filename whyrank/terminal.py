"""Text of files, models and servers on its way to a terminal: it is shown as text and steers nothing."""

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: escape sequences, bells, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of writing direction
    "\u2028\u2029\ufff9-\ufffb"  # line and paragraph separators, interlinear notes
    "\ud800-\udfff]"  # lone surrogates, which no encoding can write
)


def plain(text: object) -> str:
    r"""A text, each character that would steer a terminal written as its escape; lines and tabs stay.

    Example:
        >>> print(plain("d1\x1b[2J"))
        d1\x1b[2J
    """
    return _STEERING.sub(_escape, str(text))


def line(text: object) -> str:
    r"""The same as one line: line feeds and tabs are escaped, too, so that no text forges a line or a column.

    Example:
        >>> print(line("d1\nerror: none"))
        d1\nerror: none
    """
    return plain(text).replace("\n", r"\n").replace("\t", r"\t")


def json_text(text: str) -> str:
    """JSON with what would steer a terminal as JSON's own escapes: it reads back the same."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
