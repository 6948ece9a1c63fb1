"""Where whyrank keeps what it can have again: a folder of the user's, as the XDG rules name it."""

import os
from pathlib import Path


def cached(*names: str) -> Path:
    """The path of these names in `whyrank` in the user's cache, `$XDG_CACHE_HOME` or `~/.cache`; nothing is made."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return root.joinpath("whyrank", *names)
