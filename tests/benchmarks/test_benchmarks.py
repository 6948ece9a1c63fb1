"""Benchmarks as data: read strictly, run with what is at hand; they tell what came out, what is off, what lacks."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from whyrank import load
from whyrank.benchmarks import Benchmark, Row, missing, names, read_benchmark, reproduce
from whyrank.errors import BadInput, NotFound
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever

TOY = """
about = "toy"
source = "this test"

[[conditions]]
name = "BM25"
search = "bm25()"
data = "{task}"
k = 50
tolerance = 0.0001

[conditions.expected]
"ndcg@10" = { toy = 0.2228, mean = 0.2228 }
"R@50" = { toy = 1.5 }

[[conditions]]
name = "Somebody's run"
run = "somebody/{task}.trec"
data = "{task}"
source = "https://example.org/runs"

[conditions.expected]
"nDCG@10" = { toy = 0.5, mean = 0.5 }

[[conditions]]
name = "On data from elsewhere"
search = "bm25()"
data = "bright/pony"

[conditions.expected]
"nDCG@10" = { pony = 0.5 }
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WHYRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TOY)
    return tmp_path / "mine.toml"


def rows(path: Path, **given: Any) -> list[Row]:
    return [*reproduce(read_benchmark(path), path.parent / "runs", **given)]


@pytest.mark.parametrize("name", names())
def test_each_benchmark_is_read_and_names_parts_that_there_are(name: str) -> None:
    found = read_benchmark(name)
    assert found.name == name and found.rows and found.licence and found.about
    for condition in found.conditions:
        assert condition.source or found.source, f"{condition.name}: figures name their source"
        assert condition.tasks
        if condition.search:
            make(condition.search, Retriever)
        if condition.rerank:
            make(condition.rerank, Reranker)


def test_a_row_is_reproduced_off_or_not_at_hand_and_none_is_skipped(toy: Path) -> None:
    found = {(row.condition, row.task, row.measure): row for row in rows(toy)}
    assert len(found) == read_benchmark(toy).rows == 6
    assert [row.state for row in found.values()] == ["reproduced", "reproduced", "off", *["not at hand"] * 3]
    off = found["BM25", "toy", "R@50"]
    assert off.difference is not None and off.difference < -0.5
    lacks = found["Somebody's run", "toy", "nDCG@10"]
    assert lacks.got is None and "somebody/toy.trec is not on this machine: put it under" in lacks.why
    assert "it is from https://example.org/runs" in lacks.why
    assert "lacks toy" in found["Somebody's run", "mean", "nDCG@10"].why
    assert "bright/pony" in found["On data from elsewhere", "pony", "nDCG@10"].why


def test_what_is_put_there_is_found(toy: Path) -> None:
    rows(toy)
    (toy.parent / "data" / "somebody").mkdir(parents=True)
    shutil.copy(toy.parent / "runs" / "mine" / "bm25" / "toy" / "search" / "run.trec", "data/somebody/toy.trec")
    found = [row for row in rows(toy) if row.condition == "Somebody's run"]
    assert [row.state for row in found] == ["off", "off"]
    assert [row.got for row in found] == pytest.approx([0.2228] * 2, abs=1e-4)


def test_a_run_that_somebody_altered_is_caught(toy: Path) -> None:
    toy.write_text(TOY.replace("0.5, mean = 0.5", "0.2228, mean = 0.2228"))
    rows(toy)
    lines = (toy.parent / "runs/mine/bm25/toy/search/run.trec").read_text().splitlines(keepends=True)
    relevant = load("toy").qrels
    put = toy.parent / "data" / "somebody" / "toy.trec"
    put.parent.mkdir(parents=True)

    def row(text: list[str]) -> Row:
        put.write_text("".join(text))
        return next(row for row in rows(toy) if row.condition == "Somebody's run")

    assert row(lines).state == "reproduced"
    cells = [line.split() for line in lines]
    found = next(at for at, (query, _, id, rank, *_) in enumerate(cells) if id in relevant[query] and int(rank) <= 10)
    assert row(lines[:found] + lines[found + 1 :]).state == "off"
    damaged = row(lines + lines[:1])
    assert damaged.state == "off" and damaged.got is None and "toy.trec" in damaged.why


def test_tasks_and_limit(toy: Path) -> None:
    assert {row.task for row in rows(toy, tasks=["pony"])} == {"pony"}
    assert all(row.state in ("not compared", "not at hand") for row in rows(toy, limit=3))
    with pytest.raises(BadInput, match="mine has no task 'ponny': it has toy, pony"):
        rows(toy, tasks=["ponny"])
    with pytest.raises(BadInput, match="limit must be at least 1"):
        rows(toy, limit=0)


def test_what_was_run_is_not_run_again(toy: Path) -> None:
    rows(toy)
    made = toy.parent / "runs" / "mine" / "bm25" / "toy" / "search" / "run.trec"
    before = made.stat().st_mtime_ns
    rows(toy)
    assert made.stat().st_mtime_ns == before


def test_what_lacks_is_known_without_running(toy: Path) -> None:
    found = read_benchmark(toy)
    assert [missing(one, one.tasks[0]) for one in found.conditions] == [
        "", "somebody/toy.trec", "the data set bright/pony"
    ]  # fmt: skip
    assert not (toy.parent / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('search = "bm25()"\n', "", "condition 'BM25' needs either run or search"),
        ('search = "bm25()"', 'search = "bm25()"\nrun = "x"', "needs either run or search"),
        ('"R@50"', '"Q@50"', "no measure is written 'Q@50'"),
        ("toy = 1.5", 'toy = "high"', "expected R@50 of toy is no number: 'high'"),
        ("toy = 1.5", "toy = nan", "is no number"),
        ("tolerance", "tolerence", "did you mean 'tolerance'"),
        ("k = 50", "k = 0", "k must be at least 1"),
        ("k = 50", 'k = 50\nties = "random"', "ties must be one of id, rising, file, expected"),
        ('name = "Somebody\'s run"', 'name = "bm25"', "two conditions are called 'BM25'"),
        ("about", "abou", "no key is called 'abou'"),
        ("[[conditions]]", "[[conditions", "not TOML"),
    ],
)
def test_a_wrong_file_is_told_by_its_key(toy: Path, old: str, new: str, said: str) -> None:
    toy.write_text(TOY.replace(old, new, 1))
    with pytest.raises(BadInput, match=re.escape(said)) as error:
        read_benchmark(toy)
    assert str(toy) in str(error.value)


def test_a_benchmark_needs_conditions() -> None:
    with pytest.raises(BadInput, match="needs conditions"):
        Benchmark("none", ())
    with pytest.raises(NotFound, match="did you mean 'bright-published'"):
        read_benchmark("bright-publishd")


def test_the_command_line(toy: Path) -> None:
    ended = call(toy.parent, "reproduce", toy, "--json")
    assert ended.code == 1, "a figure is off"
    told = json.loads(ended.out)["rows"]
    assert [row["state"] for row in told] == ["reproduced", "reproduced", "off", *["not at hand"] * 3]
    assert {"task", "measure", "expected", "got", "state", "condition", "difference"} <= told[0].keys()
    shown = call(toy.parent, "reproduce", toy)
    assert "2 reproduced, 1 off, 3 not at hand" in shown.out and "- the run somebody/toy.trec" in shown.out
    assert call(toy.parent, "reproduce", toy, "--tasks", "toy,", "--limit", "2").code == 0
    listed = call(toy.parent, "reproduce")
    assert listed.code == 0 and all(name in listed.out for name in (*names(), "tiny"))
    assert {one["name"] for one in json.loads(call(toy.parent, "reproduce", "--json").out)["benchmarks"]} == {*names()}
    assert "--seed has no effect" in call(toy.parent, "reproduce", "toy", "--seed", "3").last
    assert "say by -o" in call(toy.parent, "reproduce", "tiny").last
    assert "--limit has no effect" in call(toy.parent, "reproduce", "tiny", "--limit", "3").last
    assert "there is no benchmark 'nosuch'" in call(toy.parent, "reproduce", "nosuch").last


@pytest.mark.parametrize("name", ["bright-published", "bright-reasonir", "trec-dl", "birco"])
def test_published_runs_at_hand_reproduce_their_figures(
    name: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    found = [*reproduce(read_benchmark(name), tmp_path)]
    assert [row for row in found if row.state != "reproduced"] == []
    assert len(found) == read_benchmark(name).rows
    means = [row.expected for row in found if row.task == "mean"]
    assert means == {"bright-published": [0.2706, 0.3053], "bright-reasonir": [0.3059]}.get(name, [])


def test_one_document_moved_in_a_published_run_is_seen(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared_data / "bright" / "runs" / "reasonir_gpt4cot"
    target = tmp_path / "data" / "bright" / "runs" / "reasonir_gpt4cot"
    shutil.copytree(source, target)
    (target / "pony.trec").chmod(0o644)
    lines = (target / "pony.trec").read_text().splitlines(keepends=True)
    (target / "pony.trec").write_text("".join(lines[1:]))
    monkeypatch.setenv("WHYRANK_DATA", f"{tmp_path / 'data'}:{shared_data}")
    benchmark = read_benchmark("bright-published")
    found = [row for row in reproduce(benchmark, tmp_path / "runs", ["pony"]) if row.condition.startswith("ReasonIR")]
    assert [row.state for row in found] == ["off"] and found[0].got != found[0].expected
