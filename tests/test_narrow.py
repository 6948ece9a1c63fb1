"""What is printed keeps to the terminal's columns, and breaks no word, number or command."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.doctor import Finding, table
from whyrank.eval.report import grid

CELL = st.text("abc019.-", max_size=9)


@pytest.fixture
def narrow(monkeypatch, capsys):
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)


@pytest.fixture
def runs(run):
    for name, spec in {"bm25": "bm25()", "bm25-with-a-name-of-its-own": "bm25(k1=2.0)"}.items():
        assert run("search", spec, "--data", "toy", "-o", name)[0] == 0
    return ["bm25", "bm25-with-a-name-of-its-own"]


def test_tables_fit(run, runs, narrow):
    for command in (
        ("eval", *runs, "--data", "toy", "--compare"),
        ("eval", *runs, "--data", "toy", "-m", "nDCG@10", "-m", "R@100", "-m", "MAP", "-m", "MRR@10"),
        ("simulate", "listwise(fake(), window=10, stride=5)", "--noise", "noisy()", "--noise", "noisy(sigma=0.3)",
         "--queries", 3),
        ("doctor",),
        *((verb, "--help") for verb in ("search", "train", "simulate")),
        ("--help",),
    ):  # fmt: skip
        code, out, err = run(*command)
        assert code == 0, err
        assert max(map(len, out.splitlines())) <= 80, out


def test_the_list_of_verbs_cuts_no_sentence(run, narrow):
    for command in (("--help",), ("train", "--help")):
        assert not re.search(r"^  .*\.\.\.$", run(*command)[1], re.MULTILINE)


def test_a_pipe_gets_whole_lines(run, runs):
    out = run("eval", *runs, "--data", "toy", "--compare")[1]
    (row,) = re.findall(r"^bm25-with-a-name-of-its-own +0\.2190 +-0\.0038 .*$", out, re.MULTILINE)
    assert len(row) > 80


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=5)),
       st.integers(1, 90))  # fmt: skip
def test_a_grid_that_is_too_wide_puts_names_above_figures(rows, width):
    wide, narrow = grid(rows[0], rows[1:]), grid(rows[0], rows[1:], width)
    assert re.sub(r"[\s─]", "", wide) == re.sub(r"[\s─]", "", narrow)  # the same is said
    if max(map(len, wide.splitlines()), default=0) > width:
        assert len(narrow.splitlines()) >= 2 * len(rows)
    for row in rows[1:]:
        assert all(cell in narrow for cell in row)


@given(st.lists(st.text("ab.,-", min_size=1, max_size=30), max_size=12), st.integers(45, 100))
def test_the_doctor_breaks_no_word(words, width):
    found = table([Finding("extra x", False, " ".join(words), "pip install 'whyrank[vllm]'")], width)
    assert found.split()[3 : 3 + len(words)] == words if words else True
    assert all(len(line) <= width for line in found.splitlines())
