"""Rewrites that lie in a file: published ones, ids or texts as keys, what is missing, and the command line."""

import hashlib
import json

import pytest

from whyrank import BM25, Document, Query, Retriever, load, make, read_run
from whyrank.datasets.bright import TASKS
from whyrank.errors import BadInput, NotFound
from whyrank.llm.answer import Failed
from whyrank.retrieval.rewrite import FromFile, Rewritten, outcomes

DOCUMENTS = [Document("d0", "Bees dance."), Document("d1", "A waggle run points to flowers."), Document("d2", "Honey.")]
QUERIES = [Query("a", "why do bees dance"), Query("b", "sweet bees"), Query("c", "bees"), Query("d", "more bees")]


def written(folder, given):
    path = folder / "rewrites.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return str(path)


def test_keys_are_texts_or_ids_and_what_is_missing_falls_back(tmp_path):
    path = written(tmp_path, {"why do bees dance": "waggle", "b": ["honey", "flowers"], "c": " ", "e": "unused"})
    run = Rewritten(BM25(), FromFile(path)).index(DOCUMENTS).search(QUERIES)
    assert {id: set(ranking.ids) for id, ranking in run.items()} == {
        "a": {"d1"},
        "b": {"d2", "d1"},
        "c": {"d0"},
        "d": {"d0"},
    }
    assert outcomes(run) == {"rewritten": 2, "fell_back": 2, "gated": 0}
    assert run.notes["b"].to_dict() == {"outcome": "rewritten", "rewritten": ["honey", "flowers"], "calls": []}


def test_a_text_goes_before_an_id(tmp_path):
    path = written(tmp_path, {"b": "waggle", "sweet bees": "honey"})
    assert Rewritten(BM25(), FromFile(path)).index(DOCUMENTS).search(QUERIES[1:2])["b"].ids == ["d2"]


@pytest.mark.parametrize("given", ["[]", "{", '{"a": 3}', '{"a": ["x", null]}', "\xff"])
def test_a_damaged_file_is_named(tmp_path, given):
    with pytest.raises(BadInput, match=r"rewrites\.json"):
        FromFile(written(tmp_path, given)).load()


def test_a_file_that_is_not_there_is_named(tmp_path):
    for ask in (FromFile(str(tmp_path / "no.json")).load, FromFile(str(tmp_path / "no.json")).sha256):
        with pytest.raises(NotFound, match=r"no\.json"):
            ask()


@pytest.mark.parametrize("size", ["1.5b", "7b"])
def test_the_published_rewrites_cover_bright(shared_data, monkeypatch, size):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    path = shared_data / "bright" / "rewrites" / f"tongsearch-qr-{size}.json"
    part = make(f"rewritten(bm25q(), from_file({str(path)!r}))", Retriever).index(DOCUMENTS)
    counts = {task: outcomes(part.search(load(f"bright/{task}").queries, k=1)) for task in TASKS}
    assert len(counts) == 12
    assert sum(count["rewritten"] for count in counts.values()) == 1384
    assert sum(count["fell_back"] + count["gated"] for count in counts.values()) == 0
    assert len(part.rewriter.load()) == 1308


def test_the_command_line_takes_a_file_of_rewrites(run, tmp_path):
    data = load("toy")
    gold = {query.text: data.corpus[next(iter(data.qrels[query.id]))].content for query in data.queries[1:]}
    file = written(tmp_path, gold)

    command = ("search", "bm25()", "--data", "toy", "-o", "runs/new", "--rewrites", file)
    code, out, _ = run(*command)
    assert code == 0
    n = len(data.queries) - 1
    assert f"queries: rewritten {n}, fell_back 1, gated 0" in out
    manifest = json.loads((tmp_path / "runs/new/manifest.json").read_text())
    assert manifest["task"]["spec"] == f"rewritten(bm25(), from_file({file!r}), combine=replace())"
    assert manifest["task"]["rewrites"] == {file: hashlib.sha256((tmp_path / "rewrites.json").read_bytes()).hexdigest()}
    assert json.loads((tmp_path / "runs/new/report.json").read_text())["rewrites"]["fell_back"] == 1
    notes = [json.loads(line) for line in (tmp_path / "runs/new/notes.jsonl").read_text().splitlines()]
    assert notes[1]["rewritten"] == [gold[data.queries[1].text]]
    found = read_run("runs/new/run.trec")
    assert all(data.corpus[found[query.id].ids[0]].content == gold[query.text] for query in data.queries[1:])
    written(tmp_path, gold | {"more": "text"})
    code, _, err = run(*command)
    assert code == 1 and "holds another run (rewrites" in err


def test_a_file_of_rewrites_of_other_queries_is_refused(run, tmp_path):
    file = written(tmp_path, {"why do bees dance": "waggle"})
    code, _, err = run("search", "bm25()", "--data", "toy", "-o", "runs/new", "--rewrites", file)
    assert code == 1 and "none of its 1 keys is the text or the id of a query: it has 'why do bees dance'" in err


def test_the_command_line_rewrites_with_a_model_and_goes_on(run, tmp_path):
    spec = "rewritten(bm25(), thinkqe(fake('<think>zebra</think>low pressure'), rounds=2, samples=1))"
    command = ("search", spec, "--data", "toy", "-o", "runs/new")
    n = len(load("toy").queries)
    code, _, err = run(*command, "--max-tokens", "1")
    assert code == 3 and "stopped" in err
    kept = (tmp_path / "runs/new/trace.jsonl").read_bytes()
    code, out, _ = run(*command)
    assert code == 0 and f"rewritten {n}, fell_back 0, gated 0" in out
    assert f"model calls: exact {2 * n}" in out
    report = json.loads((tmp_path / "runs/new/report.json").read_text())
    assert report["calls"]["exact"] == report["ledger"]["calls"] == 2 * n
    trace = (tmp_path / "runs/new/trace.jsonl").read_bytes()
    assert trace.startswith(kept) and len(trace.splitlines()) == 2 * n
    assert "zebra" in (tmp_path / "runs/new/notes.jsonl").read_text()


def test_when_every_call_fails_it_is_an_error(run, monkeypatch):
    async def refuse(self, prompts):
        return [Failed("refusal", "I would rather not") for _ in prompts]

    monkeypatch.setattr("whyrank.llm.fake.Fake._generate", refuse)
    n = len(load("toy").queries)
    code, _, err = run("search", "rewritten(bm25(), hyde(fake()))", "--data", "toy", "-o", "runs/new")
    assert code == 1 and f"every one of {n} model calls failed (refusal {n})" in err
