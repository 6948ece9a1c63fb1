"""Tables for notebooks: text of files and models is text there too, never markup."""

from collections.abc import Iterable, Sequence
from html import escape

from whyrank.terminal import plain


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table in HTML, each cell escaped.

    Example:
        >>> print(html_table(["id"], [["<d1>"]]))
        <table><thead><tr><th>id</th></tr></thead><tbody><tr><td>&lt;d1&gt;</td></tr></tbody></table>
    """
    above = f"<caption>{_text(caption)}</caption>" if caption else ""
    titles = "".join(f"<th>{_text(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{above}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _text(cell: str) -> str:
    return escape(plain(cell))
