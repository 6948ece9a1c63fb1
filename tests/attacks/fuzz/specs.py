"""Fuzz specs: a part whose spec makes it again, or an error in words; no code is imported or called on the way."""

import sys

from whyrank.errors import WhyrankError
from whyrank.registry import Part, make

from .drive import Target, main

SEEDS = tuple(
    spec.encode()
    for spec in (
        "bm25(k1=1.2, b=0.4)",
        "listwise(fake('[1]'), window=10, stride=5)",
        "fuse(bm25(), bm25(k1=2.0), weights=(1.0, 2.0))",
        "rewritten(bm25(), hyde(fake('x')))",
        "cascade(listwise(fake()), 5)",
        "pointwise(fake('yes'), format=yes_no())",
        "listwise(openai('m', base_url='http://127.0.0.1/v1'), window=20)",
        "hybrid(listwise(fake('[1]')))",
    )
)
TOKENS = tuple(
    token.encode()
    for token in (
        "bm25",
        "listwise(",
        "fake(",
        "window=",
        "None",
        "True",
        "1e400",
        "-",
        "~",
        "not ",
        "*",
        "**",
        "lambda: ",
        "__import__",
        "os.system('x')",
        "f'{1}'",
        "'a' 'b'",
        "1_000",
        "0x10",
        "...",
        "{'a': 1}",
        "(1,)",
        ";",
        "#",
        "\n",
        "@",
        ":=",
        "await ",
    )
)


def spec(data: bytes) -> None:
    """Make the part, or say why not."""
    before = {"antigravity", "this"} & set(sys.modules)
    try:
        part = make(data.decode(errors="surrogateescape"))
    except WhyrankError as error:
        assert str(error).strip()
    else:
        assert isinstance(part, Part) and make(repr(part)) == part
    assert {"antigravity", "this"} & set(sys.modules) == before


TARGETS = [Target("specs", spec, SEEDS, TOKENS)]

if __name__ == "__main__":
    main(TARGETS)
