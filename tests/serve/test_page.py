"""The page at / in headless Chromium: keys, reasons, quotes, failures, and that no text is ever run."""

from collections.abc import Iterator
from typing import Any

import pytest
from serve_helpers import CORPUS, deep, listening

from whyrank import BM25, Fake, Listwise
from whyrank.llm.answer import Failed
from whyrank.serve.http import application
from whyrank.serve.service import Service

pytestmark = pytest.mark.engines

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\"><b>bold</b>"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    dead = Listwise(Fake(lambda prompt: Failed("refusal", "not this")))
    service = Service({"deep": deep(), "dead": dead}, {"docs": BM25().index(CORPUS)}, CORPUS)
    with listening(application(service)) as url:
        yield url


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page, elsewhere, said = context.new_page(), [], []
    page.on("request", lambda request: None if request.url.startswith(url) else elsewhere.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#model option", state="attached")
    yield page
    assert page.title() == "whyrank: try it", "a text was run"
    assert not elsewhere
    assert not said
    context.close()


def test_by_keys_alone_the_order_and_the_reasons(page: Any) -> None:
    page.focus("#query")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#results li")
    first = page.locator("#results li").first
    assert "A returning forager dances" in first.inner_text()
    assert "was 2, up 1" in first.inner_text()
    assert '[2] says "a dance shows where", which answers.' in first.locator(".reason").inner_text()
    assert "1 model call (repaired 1)" in page.inner_text("#told")
    page.focus("#query")
    for wanted in ("model", "from", "passages", "go"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == wanted


def test_quotes_are_marked(page: Any) -> None:
    page.fill("#passages", "Bees make honey.\n\nWe know 🐝 that a dance shows where food is.")
    page.click("#go")
    page.wait_for_selector("#results mark")
    assert page.inner_text("#results mark") == "a dance shows where"


def test_texts_are_texts(page: Any) -> None:
    page.fill("#query", HOSTILE)
    page.fill("#passages", f"{HOSTILE}\n\n{HOSTILE} two")
    page.click("#go")
    page.wait_for_selector("#results li")
    assert HOSTILE in page.inner_text("#results")
    assert page.locator("#results script, #results img, #results b").count() == 0


def test_search_and_rerank(page: Any) -> None:
    page.select_option("#from", "docs")
    assert page.is_hidden("#passages")
    page.fill("#query", "bees dance")
    page.click("#go")
    page.wait_for_selector("#results li")
    assert "We know that a dance shows where" in page.inner_text("#results")


def test_a_failure_is_told(page: Any) -> None:
    page.select_option("#model", "dead")
    page.click("#go")
    page.wait_for_selector("#error:not([hidden])")
    assert "none of 1 model calls brought an answer (refusal 1)" in page.inner_text("#error")
    page.select_option("#model", "deep")
    page.click("#go")
    page.wait_for_selector("#results li")
    assert page.is_hidden("#error")


def test_it_fits_a_phone_and_keeps_to_the_wish_for_darkness(page: Any) -> None:
    page.click("#go")
    page.wait_for_selector("#results li")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    seen = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen.append(page.evaluate("getComputedStyle(document.getElementById('query')).backgroundColor"))
    assert seen[0] != seen[1]


def test_with_a_key(browser: Any) -> None:
    with listening(application(Service({"deep": deep()}), keys=["a-key-of-ours"])) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#key")
        page.fill("#key", "a-key-of-ours")
        page.keyboard.press("Tab")
        page.wait_for_selector("#model option", state="attached")
        page.click("#go")
        page.wait_for_selector("#results li")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_readers(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.emulate_media(color_scheme=scheme)
    page.click("#go")
    page.wait_for_selector("#results li")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
