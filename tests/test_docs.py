"""Every Python block of README and docs runs, page by page, in order; `python no-run` marks those that need more."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", BUILTIN)
def test_the_page_of_parts_is_complete(name):
    page = (ROOT / "docs" / "parts.md").read_text()
    row = next((line for line in page.splitlines() if line.startswith(f"| `{name}(")), "")
    assert row, f"docs/parts.md has no row for {name}"
    told = set(re.findall(r"`([a-z_0-9]+)`", row.rsplit("|", 2)[1]))
    takes = {field.name for field in fields(find(name)) if field.repr and field.init}
    assert told - {"model", "answer"} == takes - {"llm", "model", "answer"}
