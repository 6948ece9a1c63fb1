"""The report in headless Chromium: clicks, keys, filters, what is announced, and that nothing in it is ever run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whyrank import Corpus, Dataset, Document, Qrels, Query, Run, load
from whyrank.experiment import rerank, search
from whyrank.io import write_run
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.view import write_report

pytestmark = pytest.mark.engines

ANSWER = "<think>Passage 2 says why. Nothing else does.</think><answer>[2] > [1] > [3]</answer>"
HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\"><b>bold</b>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on toy, one reranked by a model that must be mended."""
    folder, data = tmp_path_factory.mktemp("runs"), load("toy")
    search(make("bm25", Retriever), data, folder / "bm25", k=40)
    spec = f"listwise({Fake(ANSWER)!r}, window=4, stride=2)"
    rerank(folder / "bm25", make(spec, Reranker), data, folder / "reranked", depth=8)
    return write_report([folder / "bm25", folder / "reranked"], folder / "report.html", data)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a file; at the end nothing was said on the console, no request was made, and no text was run."""
    contexts, said = [], []

    def opened(path: Path, hash: str = "", **context: Any) -> Any:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "blob:")) else said.append(request.url)
        )
        page.goto(path.as_uri() + hash)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not said


def test_a_query_is_found_opened_and_left_by_keys(report: Path, open_page: Any) -> None:
    page = open_page(report)
    page.keyboard.press("/")
    page.keyboard.type("mountains pasta")
    page.get_by_text("1 of 15 queries").wait_for()
    page.locator("#search").evaluate("(box) => box.blur()")
    page.get_by_role("button", name="q01", exact=True).click()
    page.get_by_role("heading", name="Query q01").wait_for()
    assert page.locator("ol.ranking > li").first.is_visible()
    assert "Passage 2 says why." in page.locator(".why").first.inner_text()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.textContent") == "q01"


def test_prompt_and_answer_are_one_click_away(report: Path, open_page: Any) -> None:
    page = open_page(report, "#q=q01")
    page.get_by_role("group", name="Run").get_by_role("button", name="reranked").click()
    call = page.locator("details", has_text="call 1 · repaired").first
    call.locator("summary").click()
    call.locator("pre").first.wait_for()
    text = call.inner_text()
    assert "You rank passages" in text and "[2] > [1] > [3]" in text and "cabin" in text


def test_next_and_previous_follow_the_table(report: Path, open_page: Any) -> None:
    page = open_page(report)
    page.get_by_role("button", name="Id", exact=True).click()
    page.get_by_role("button", name="q01", exact=True).click()
    for key, expected in (("j", "q02"), ("j", "q03"), ("k", "q02")):
        page.keyboard.press(key)
        page.get_by_role("heading", name=f"Query {expected}").wait_for()
    assert page.url.endswith("#q=q02")


def test_filters_and_sorting(report: Path, open_page: Any) -> None:
    page = open_page(report)
    gains = "[...document.querySelectorAll('#table tbody tr')].map((row) => row.children[5].textContent)"
    page.get_by_role("button", name="Gain", exact=True).click()
    values = [float(text.replace("−", "-").replace("±", "")) for text in page.evaluate(gains)]
    assert values == sorted(values, reverse=True) and len(values) == 15
    page.locator("#filters select").select_option("worse")
    assert len(page.evaluate(gains)) == sum(value < 0 for value in values)
    page.locator("#filters select").select_option("odd")
    assert len(page.evaluate(gains)) == 15
    page.locator("#controls select").first.select_option("R@100")
    assert page.get_by_role("columnheader", name="Δ R@100").is_visible()


def test_a_bar_opens_its_query(report: Path, open_page: Any) -> None:
    page = open_page(report)
    chart = page.locator("#gains svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 62, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.up()
    page.locator("dialog[open] h2").wait_for()


@pytest.mark.parametrize("form", ["SVG", "PNG"])
def test_charts_can_be_saved(report: Path, open_page: Any, form: str, tmp_path: Path) -> None:
    page = open_page(report)
    with page.expect_download() as saved:
        page.get_by_role("button", name=f"Save systems as {form}").click()
    saved.value.save_as(tmp_path / "chart")
    head = (tmp_path / "chart").read_bytes()
    assert head.startswith(b"<svg" if form == "SVG" else b"\x89PNG") and len(head) > 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("hash", ["", "#q=q01"])
def test_everybody_can_use_it(report: Path, open_page: Any, scheme: str, hash: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make test")
    page = open_page(report, hash, color_scheme=scheme, bypass_csp=True)
    page.locator("#table tbody tr" if not hash else "ol.ranking > li").first.wait_for()
    found = axe.Axe().run(page).response["violations"]
    assert not found, [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found]


def test_on_a_phone_nothing_runs_out_of_the_screen(report: Path, open_page: Any) -> None:
    for hash in ("", "#q=q01"):
        page = open_page(report, hash, viewport={"width": 390, "height": 844})
        page.locator("#table tbody tr" if not hash else "ol.ranking > li").first.wait_for()
        page.locator("#systems svg").wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        if hash:
            assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 390


def test_text_is_never_run(open_page: Any, tmp_path: Path) -> None:
    data = Dataset(
        "mine", Corpus([Document("d<b>1", HOSTILE, HOSTILE)]), (Query("q1", HOSTILE),), Qrels({"q1": {"d<b>1": 1}})
    )
    write_run(Run.of({"q1": ["d<b>1"]}), tmp_path / "<img src=x onerror=document.title=1>.trec")
    (source,) = tmp_path.iterdir()
    page = open_page(write_report([source], tmp_path / "page.html", data), "#q=q1")
    page.locator("ol.ranking > li").first.wait_for()
    assert HOSTILE in page.locator(".passage").first.text_content()
    assert page.locator("b:text-is('bold'), img").count() == 0
    assert page.title() != "run"


def test_a_script_that_somebody_adds_is_not_run(report: Path, browser: Any, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    changed.write_text(report.read_text().replace("<noscript>", "<script>document.title='run'</script><noscript>"))
    page = browser.new_page()
    page.goto(changed.as_uri())
    assert page.title() != "run"
    page.close()


def test_many_queries_open_at_once_and_each_when_it_is_asked_for(open_page: Any, tmp_path: Path) -> None:
    texts = [f"The passage number {at} tells of the causes of this and that. " * 6 for at in range(2000)]
    data = Dataset(
        "large",
        Corpus([Document(f"d{at}", text) for at, text in enumerate(texts)]),
        tuple(Query(f"q{at}", f"why is it {at}?") for at in range(1384)),
        Qrels({f"q{at}": {f"d{at}": 1} for at in range(1384)}),
    )
    rankings = {f"q{at}": [f"d{(at + place) % 2000}" for place in range(100)] for at in range(1384)}
    write_run(Run.of(rankings), tmp_path / "one.trec")
    page = open_page(write_report([tmp_path / "one.trec"], tmp_path / "page.html", data))
    page.locator("#table tbody tr").nth(199).wait_for()
    page.get_by_text("1,384 of 1,384 queries").wait_for()
    page.get_by_role("button", name="q3", exact=True).click()
    page.locator("ol.ranking > li").nth(19).wait_for()
    page.get_by_role("button", name="Show all 100").click()
    assert page.locator("ol.ranking > li").count() == 100
