"""A report as a file: data beside scripts, so that no text in it is ever markup or code.

The summary is JSON in which `<`, `>` and `&` are escaped; each query is JSON, deflated, as base64. By the page's policy
(`Content-Security-Policy`) nothing runs but the scripts that stand in it, known by their hashes; nothing is fetched.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from whyrank.io.files import atomic_write
from whyrank.secrets import without_keys

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = ("dom.js", "charts.js", "overview.js", "query.js", "queries.js", "main.js")
ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def write_page(out: Path, summary: Mapping[str, Any], blocks: Iterable[Mapping[str, Any]]) -> None:
    """Write the page, whole or not at all.

    Args:
        out: the file.
        summary: what is shown at once.
        blocks: what is shown of each query when it is opened, in the order of the summary.
    """
    libraries = [_asset(name) for name in LIBRARIES]
    own = '"use strict";\n' + "\n".join(map(_asset, SCRIPTS))
    policy = " ".join(f"'sha256-{_hash(script)}'" for script in (*libraries, own))
    head = _asset("page.html").replace("POLICY", policy).replace("/* STYLE */", _asset("style.css"))
    with atomic_write(out) as file:
        file.write(head.encode())
        file.write(b'<script type="application/json" id="summary">')
        file.write(_json(summary).translate(ESCAPED).encode("utf-8", "replace"))
        file.write(b"</script>\n")
        for script in (*libraries, own):
            file.write(f"<script>{script}</script>\n".encode())
        for number, block in enumerate(blocks):
            packed = base64.b64encode(zlib.compress(_json(block).encode("utf-8", "replace")))
            file.write(b'<script type="text/plain" id="b%d">%s</script>\n' % (number, packed))
        file.write(b'<script type="text/plain" id="end"></script>\n</body>\n</html>\n')


def _json(value: Mapping[str, Any]) -> str:
    return without_keys(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _asset(name: str) -> str:
    return (files("whyrank.view") / "assets" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
