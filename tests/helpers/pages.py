"""What a report holds, read back from its file, as a browser reads it."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)


def summary(page: Path) -> dict[str, Any]:
    """What is shown at once."""
    found: dict[str, Any] = json.loads(_islands(page)["summary"])
    return found


def blocks(page: Path) -> list[dict[str, Any]]:
    """What is shown of each query."""
    packed = [text for name, text in _islands(page).items() if re.fullmatch(r"b\d+", name)]
    return [json.loads(zlib.decompress(base64.b64decode(text))) for text in packed]


def _islands(page: Path) -> dict[str, str]:
    found = SCRIPT.findall(page.read_text())
    return {name[1]: text for kind, text in found if (name := re.search(r'id="(\w+)"', kind))}
