"""Every Python block of README and docs runs, page by page, in order; `python no-run` marks those that need more."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest

import whyrank
from whyrank.registry import BUILTIN, find

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for target in re.findall(r"whyrank/whyrank/(?:blob/)?main/([^)#\s]+)", page.read_text()):
        assert (ROOT / target).exists(), f"{page.name} links to {target} of the repository"


def test_links_of_the_readme_work_outside_the_repository_too():
    relative = re.findall(r"\]\((?!https://|#)([^)]+)\)", (ROOT / "README.md").read_text())
    assert not relative, "PyPI shows the README where no file is beside it"


def test_the_version_is_said_once():
    assert f"version: {whyrank.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert version("whyrank") == whyrank.__version__


def test_every_public_name_has_its_place_in_the_reference():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    told = re.findall(r"^::: whyrank\.(?!errors$)(\w+)$", pages, re.MULTILINE)
    rooms = {"errors", "formats", "rewards", "rewriters", "WhyrankError"}  # the page of errors has the last
    assert sorted(told) == sorted(set(whyrank.__all__) - rooms), "docs/api names what is public, each name once"
    assert all(pages.count(f"::: {home}.{name}\n") == 1 for name, home in whyrank._MOVED.items())


def test_every_page_is_in_the_menu():
    menu = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BUILTIN)
def test_the_page_of_parts_is_complete(name):
    page = (ROOT / "docs" / "parts.md").read_text()
    row = next((line for line in page.splitlines() if line.startswith(f"| `{name}(")), "")
    assert row, f"docs/parts.md has no row for {name}"
    told = set(re.findall(r"`([a-z_0-9]+)`", row.rsplit("|", 2)[1]))
    takes = {field.name for field in fields(find(name)) if field.repr and field.init}
    assert told - {"model", "answer"} == takes - {"llm", "model", "answer"}
