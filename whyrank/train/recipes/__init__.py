"""Published recipes as TOML: `whyrank train recipes`; each says where its constants are from and what it runs on."""

import difflib
from importlib.resources import files

from whyrank.errors import NotFound


def published() -> dict[str, str]:
    """Name and first line of each recipe."""
    return {name: text(name).partition("\n")[0].lstrip("# ") for name in _names()}


def text(name: str) -> str:
    """A recipe as TOML.

    Raises:
        NotFound: there is none of that name; the nearest is told.
    """
    if name not in _names():
        near = difflib.get_close_matches(name, _names(), n=1)
        hint = f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(_names())}"
        raise NotFound(f"no recipe is called {name!r}{hint}")
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _names() -> list[str]:
    return sorted(file.name.removesuffix(".toml") for file in files(__name__).iterdir() if file.name.endswith(".toml"))
