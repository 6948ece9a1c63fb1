"""Addresses of servers, and the environment variables that hold what no spec may: one check for all who ask servers."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from whyrank.errors import BadInput
from whyrank.secrets import NAMED, masked


def check_address(url: str, name: str, key: str) -> None:
    """Refuse an address that is none, or that holds what specs and traces must not hold.

    Args:
        url: the address.
        name: of the field or variable that has it.
        key: the environment variable that holds the key.

    Raises:
        BadInput: it cannot be used.
    """
    try:
        address = urlsplit(url)
        host, _ = address.hostname, address.port
    except ValueError:
        host = None
    if host is None or address.scheme not in {"http", "https"}:
        raise BadInput(f"{name} must be like 'http://localhost:8000/v1', not {masked(url, queries=True)!r}")
    if "@" in address.netloc or address.query or address.fragment:
        raise BadInput(
            f"{name} must carry no user or password, and nothing after a ? or #, since specs are written to files: "
            f"use {key}"
        )


def check_no_key(value: object, name: str, key: str) -> None:
    """Refuse a key in what specs show; arguments and errors as `check_address` has them."""
    if isinstance(value, Mapping):
        for inner, given in value.items():
            if NAMED.fullmatch(str(inner)) and given:
                raise BadInput(f"{name} must carry no key ({inner!r}), since specs are written to files: use {key}")
            check_no_key(given, name, key)
    elif isinstance(value, list | tuple):
        for given in value:
            check_no_key(given, name, key)
    elif isinstance(value, str) and masked(value, queries=True) != value:
        raise BadInput(f"{name} must carry no key or password, since specs are written to files: use {key}")


def variable(name: str) -> str | None:
    """The value of an environment variable, without the line end that files of settings leave; None where it is empty.

    Raises:
        BadInput: no header can carry it.
    """
    value = os.environ.get(name, "").strip()
    if bad := next((at for at, char in enumerate(value, 1) if not "!" <= char <= "~"), None):
        raise BadInput(
            f"the environment variable {name} holds a character at place {bad} that no request can carry (a blank, a "
            "line end, or none of ASCII): set it anew"
        )
    return value or None
