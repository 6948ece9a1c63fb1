"""The face of the package: light to import, complete, and the same in stub and code."""

import json
import subprocess
import sys

import pytest

import whyrank

HEAVY = ("torch", "numba", "pandas", "jnius", "scipy", "transformers", "openai", "typer", "rich", "ir_measures")


def test_import_is_light():
    code = f"import json, sys, whyrank; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(loaded) == []


def test_help_is_light():
    lines = (
        "import sys; sys.argv = ['whyrank', '--help']",
        "from whyrank.cli import app",
        "try: app()",
        "except SystemExit: pass",
        f"print([m for m in {HEAVY[:7]!r} if m in sys.modules], file=sys.stderr)",
    )
    code = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "rerank" in done.stdout


@pytest.mark.parametrize("name", whyrank.__all__)
def test_every_public_name_is_there(name):
    told = getattr(whyrank, name).__doc__ or ""
    assert name == "Plan" or (told and not told.startswith(f"{name}(")), f"{name} has no docstring of its own"


def test_held_names_are_public():
    held = "BM25 Listwise Fake OpenAI VLLM Transformers Dense evaluate load read_run write_run"
    assert set(held.split()) <= set(whyrank.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Listwize"):
        _ = whyrank.Listwize
