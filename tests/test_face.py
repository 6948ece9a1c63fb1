"""The face of the package: light to import, complete, and the same in stub and code."""

import importlib
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
    assert told and not told.startswith(f"{name}("), f"{name} has no docstring of its own"


def test_the_face_is_small():
    assert len(whyrank.__all__) <= 58 and set(whyrank.__all__) <= set(dir(whyrank))


@pytest.mark.parametrize("name", whyrank._MOVED)
def test_names_that_moved_are_here_for_one_release_more(name):
    assert name not in whyrank.__all__
    with pytest.warns(DeprecationWarning, match=f"from {whyrank._MOVED[name]} import {name}"):
        here = getattr(whyrank, name)
    assert here is getattr(importlib.import_module(whyrank._MOVED[name]), name)


@pytest.mark.parametrize(
    ("room", "home"), [("formats", "rerank.formats"), ("rewriters", "retrieval.rewrite"), ("rewards", "train.rewards")]
)
def test_rooms_of_the_face_have_all_of_their_kind(room, home):
    here, there = importlib.import_module(f"whyrank.{room}"), importlib.import_module(f"whyrank.{home}")
    assert getattr(whyrank, room) is here and set(here.__all__) == set(there.__all__)
    assert all(getattr(here, name) is getattr(there, name) for name in here.__all__)


def test_every_error_is_a_whyrank_error():
    with pytest.raises(whyrank.WhyrankError):
        whyrank.load("no such data")


def test_held_names_are_public():
    held = "BM25 Listwise Fake OpenAI VLLM Transformers Dense evaluate load read_run write_run"
    assert set(held.split()) <= set(whyrank.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Listwize"):
        _ = whyrank.Listwize
