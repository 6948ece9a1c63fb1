"""`write_report`: what stands in the file. How it looks and behaves is in test_browser.py."""

import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pages
import pytest
from command_line import call

from whyrank import Corpus, Dataset, Document, Qrels, Query, Run, evaluate, load
from whyrank.errors import BadInput, NotFound, WhyrankError
from whyrank.experiment import open_run, rerank, search
from whyrank.io import write_run
from whyrank.llm.fake import Fake
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.view import write_report

OLD = Path(__file__).parent.parent / "data" / "runs_0_1"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&lt;<!--\u2028\u202e"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first stage on toy, and what a model made of it."""
    folder, data = tmp_path_factory.mktemp("runs"), load("toy").head(4)
    search(make("bm25", Retriever), data, folder / "bm25", k=30)
    answer = "<think>Passage 2 says why. Nothing else does.</think><answer>[2] > [1] > [3]</answer>"
    model = Fake(answer)
    spec = f"listwise({model!r}, window=4, stride=2)"
    rerank(folder / "bm25", make(spec, Reranker), data, folder / "reranked", depth=8)
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:
    return write_report([runs / "bm25", runs / "reranked"], runs / "page.html", load("toy").head(4))


def mine(*documents: Document, query: Query, name: str = "mine") -> Dataset:
    """A data set of one query, for which d2 is relevant."""
    return Dataset(name, Corpus(documents), (query,), Qrels({query.id: {"d2": 1}}))


def test_figures_are_those_of_evaluate(page: Path, runs: Path) -> None:
    told, data = pages.summary(page), load("toy").head(4)
    assert [run["name"] for run in told["runs"]] == ["bm25", "reranked"]
    for run in told["runs"]:
        report = evaluate(open_run(runs / run["name"]), data.qrels, ["nDCG@10", "R@100"])
        for measure in ("nDCG@10", "R@100"):
            mean, low, high = run["means"][measure]
            assert mean == report[measure]
            assert low <= mean <= high
    values = told["queries"]["values"]["nDCG@10"][0]
    report = evaluate(open_run(runs / "bm25"), data.qrels, "nDCG@10")
    assert values == [round(report.per_query["nDCG@10"][query.id], 5) for query in data.queries]


def test_each_query_has_its_rankings_passages_grades_reasons_and_calls(page: Path, runs: Path) -> None:
    data = load("toy").head(4)
    found = pages.blocks(page)
    assert [block["text"] for block in found] == [query.text for query in data.queries]
    first, reranked = found[0]["runs"]
    assert first["ids"] == list(search(make("bm25", Retriever), data, runs / "bm25", k=30).run["q01"].ids)
    assert "handed" not in first and reranked["handed"]
    assert reranked["before"] == [first["ids"].index(id) + 1 for id in reranked["ids"][:8]] + [0] * (
        len(reranked["ids"]) - 8
    )
    assert "Passage 2 says why." in reranked["reasons"][0]
    one = reranked["calls"][0]
    assert one["messages"][-1]["role"] == "user" and data.queries[0].text in one["messages"][-1]["content"]
    assert "[2] > [1]" in one["answer"] and one["status"] == "repaired"
    _, text = found[0]["docs"][first["ids"][0]]
    assert data.corpus[first["ids"][0]].text.startswith(text.removesuffix(" …"))
    judged = data.qrels["q01"]
    assert found[0]["grades"] == {id: judged[id] for id in found[0]["docs"] if id in judged}
    assert set(judged) <= set(found[0]["docs"]), "what no run ranks is shown, too"


def test_flow_counts_each_relevant_document_once(page: Path) -> None:
    told = pages.summary(page)
    relevant = sum(told["queries"]["relevant"])
    assert sum(count for _, _, count in told["runs"][1]["flow"]) == relevant
    assert told["runs"][0]["flow"] == [], "the first run has nothing before it"


def test_text_is_data(tmp_path: Path) -> None:
    data = mine(Document("d<b>1", HOSTILE, HOSTILE), Document("d2", "x"), query=Query("q<i>", HOSTILE), name=HOSTILE)
    write_run(Run.of({"q<i>": ["d<b>1", "d2"]}), tmp_path / "<img src=x>.trec")
    page = write_report([tmp_path / "<img src=x>.trec"], tmp_path / "page.html", data)
    text = page.read_text()
    assert "<img" not in text and "<i>" not in text and "alert(1)</script>" not in text
    assert pages.summary(page)["data"]["name"] == HOSTILE
    assert pages.blocks(page)[0]["docs"]["d<b>1"][1] == HOSTILE


def test_nothing_runs_but_the_scripts_that_stand_there_and_nothing_is_fetched(page: Path) -> None:
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline'" not in policy[1].split("style-src")[0] and "unsafe-eval" not in policy[1]
    scripts = [body for kind, body in pages.SCRIPT.findall(text) if not kind]
    hashes = {base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy[1]))
    own = scripts[-1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|XMLHttp|import\(", own)
    assert not re.findall(r"<(?:link|iframe|object|embed|img|base)\b", text.split('id="summary"')[0])


def test_no_key_gets_into_a_page(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "k-93847-secret-of-mine")
    data = mine(Document("d2", "the k-93847-secret-of-mine stands here"), query=Query("q", "k-93847-secret-of-mine"))
    write_run(Run.of({"q": ["d2"]}), tmp_path / "a.trec")
    page = write_report([tmp_path / "a.trec"], tmp_path / "page.html", data)
    told = json.dumps([pages.summary(page), pages.blocks(page)])
    assert "93847" not in told and "***" in told


def test_without_judgements_and_texts_a_run_is_shown_all_the_same(tmp_path: Path, capsys: Any) -> None:
    write_run(Run.of({"q1": ["d1", "d2"], "q2": []}), tmp_path / "a.trec")
    page = write_report([tmp_path / "a.trec"], tmp_path / "page.html")
    assert pages.summary(page)["measures"] == []
    (block,) = pages.blocks(page)
    assert block["docs"] == {"d1": None, "d2": None} and block["text"] == ""


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.iterdir()))
def test_folders_of_whyrank_0_1_are_shown(name: str, tmp_path: Path) -> None:
    page = write_report([OLD / "bm25", OLD / name] if name != "bm25" else [OLD / name], tmp_path / "page.html")
    run = pages.summary(page)["runs"][-1]
    assert run["means"]["nDCG@10"]
    calls = [call for block in pages.blocks(page) for call in (block["runs"][-1] or {}).get("calls", [])]
    noted = OLD / name / "notes.jsonl"
    lines = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    assert len(calls) == sum(len(line.get("calls", [])) for line in lines)
    assert all(one["messages"] for one in calls if one.get("key")), "rewriters of 0.1 noted no keys"


def test_what_is_cut_is_said(tmp_path: Path) -> None:
    data = mine(Document("d1", "a" * 50), Document("d2", "b"), query=Query("q", "why?"))
    write_run(Run.of({"q": ["d1", "d2"]}), tmp_path / "a.trec")
    page = write_report([tmp_path / "a.trec"], tmp_path / "page.html", data, depth=1, chars=10)
    (block,) = pages.blocks(page)
    assert block["runs"][0]["ids"] == ["d1"] and block["runs"][0]["of"] == 2
    assert block["docs"] == {"d1": ["", "a" * 10 + " …"], "d2": ["", "b"]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sources": []}, "at least one"),
        ({"sources": "runs/bm25"}, "a list of run folders"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"chars": "many"}, "chars"),
        ({"measures": ["nDGC@10"]}, "did you mean nDCG@10"),
        ({"sources": ["nowhere"]}, "no run at nowhere"),
        ({"data": "world"}, "none of its 4 queries is known in 'world'"),
    ],
)
def test_wrong_calls_are_told_and_write_nothing(given: dict[str, Any], said: str, runs: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"sources": [runs / "bm25"], "out": tmp_path / "page.html", "data": "toy", **given}
    with pytest.raises(WhyrankError, match=re.escape(said)):
        write_report(**arguments)
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_trace_is_told_and_leaves_the_page_as_it_was(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "reranked", tmp_path / "reranked")
    with (tmp_path / "reranked" / "trace.jsonl").open("a") as file:
        file.write("{}\n")
    (tmp_path / "page.html").write_text("what was there")
    with pytest.raises(BadInput, match=r"trace\.jsonl:\d+: this line of the trace is damaged"):
        write_report([tmp_path / "reranked"], tmp_path / "page.html", load("toy").head(4))
    assert sorted(os.listdir(tmp_path)) == ["page.html", "reranked"]
    assert (tmp_path / "page.html").read_text() == "what was there"


def test_the_command_line_says_where_the_page_lies(runs: Path, tmp_path: Path) -> None:
    ended = call(
        tmp_path, "view", runs / "bm25", runs / "reranked", "--data", "toy", "-m", "RR@10", "-o", "my/page.html"
    )
    assert (ended.code, ended.out) == (0, "my/page.html\n"), ended.err
    assert pages.summary(tmp_path / "my" / "page.html")["measures"] == ["RR@10"]
    assert call(tmp_path, "view", "nowhere", "--data", "toy").last == (
        "error: no run at nowhere: give a run folder, a TREC run file, or a JSON file of scores"
    )
    assert "--split has no effect" in call(tmp_path, "view", runs / "bm25", "--split", "dev").last


def test_two_runs_of_one_name_are_told_apart(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "bm25", tmp_path / "bm25")
    page = write_report([runs / "bm25", tmp_path / "bm25"], tmp_path / "page.html", "toy")
    assert len({run["name"] for run in pages.summary(page)["runs"]}) == 2


def test_data_that_is_nowhere_is_an_error(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no data set"):
        write_report([runs / "bm25"], tmp_path / "page.html", "nosuch")
