"""Candidates with text, as rank_llm exchanges them: what is written is read back, what is damaged is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput, NotFound
from whyrank.io import read_candidates, read_run, write_candidates, write_run
from whyrank.types import Corpus, Dataset, Document, Query, Run

IDS = st.text(min_size=1, max_size=8)
DOCUMENTS = st.builds(Document, IDS, st.text(max_size=30), st.text(max_size=10))
SCORES = st.floats(-1e30, 1e30, allow_subnormal=False)


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Run, Dataset]:
    documents = draw(st.lists(DOCUMENTS, min_size=1, max_size=12, unique_by=lambda document: document.id))
    queries = draw(st.lists(st.builds(Query, IDS, st.text(max_size=20)), min_size=1, unique_by=lambda query: query.id))
    rankings = {
        query.id: draw(st.dictionaries(st.sampled_from([document.id for document in documents]), SCORES))
        for query in queries
    }
    return Run.of(rankings), Dataset("drawn", Corpus(documents), tuple(queries))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(datasets(), st.sampled_from([".jsonl", ".json", ".jsonl.gz", ".json.gz"]))
def test_what_is_written_is_read_back(tmp_path: Path, drawn: tuple[Run, Dataset], ending: str) -> None:
    run, data = drawn
    path = tmp_path / f"candidates{ending}"
    write_candidates(run, data, path)
    read = read_candidates(path)
    assert read.queries == data.queries
    shown = {id for ranking in run.values() for id in ranking.ids}
    assert {document.id: document for document in read.corpus} == {id: data.corpus[id] for id in shown}
    assert read.candidates is not None and read.candidates.to_dict() == run.to_dict()
    assert list(read.candidates) == list(run)
    again = read_run(path)
    assert again == read.candidates
    write_candidates(read.candidates, read, path)
    assert read_run(path) == again
    if all(len(ranking.ids) for ranking in run.values()):
        write_run(again, tmp_path / "run.trec")
        assert read_run(tmp_path / "run.trec").to_dict() == run.to_dict()


DATA = Dataset("two", Corpus([Document("a", "first"), Document("b", "second", "B")]), (Query("7", "why"),))
RUN = Run.of({"7": {"b": 2.5, "a": 1.0}})


def test_the_form_that_is_written(tmp_path: Path) -> None:
    write_candidates(RUN, DATA, tmp_path / "c.jsonl")
    assert (tmp_path / "c.jsonl").read_text() == (
        '{"query": {"qid": "7", "text": "why"}, "candidates": ['
        '{"docid": "b", "score": 2.5, "doc": {"title": "B", "text": "second"}}, '
        '{"docid": "a", "score": 1.0, "doc": {"text": "first"}}]}\n'
    )
    write_candidates(RUN, DATA, tmp_path / "c.json", k=1)
    (record,) = json.loads((tmp_path / "c.json").read_text())
    assert [hit["docid"] for hit in record["candidates"]] == ["b"]
    write_candidates(Run.of({}), DATA, tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == []


def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"c\.txt: a file of candidates ends in \.jsonl or \.json"):
        write_candidates(RUN, DATA, tmp_path / "c.txt")
    with pytest.raises(BadInput, match="query '8' is not among the queries of 'two'"):
        write_candidates(Run.of({"8": ["a"]}), DATA, tmp_path / "c.jsonl")
    with pytest.raises(BadInput, match="document 'c' is not among the 2 of 'two'"):
        write_candidates(Run.of({"7": ["a", "c"]}), DATA, tmp_path / "c.jsonl")
    assert list(tmp_path.iterdir()) == []


def record(**given: Any) -> str:
    hit = {"docid": "a", "score": 1.0, "doc": {"text": "first"}, **given}
    return json.dumps({"query": {"qid": 7, "text": "why"}, "candidates": [hit]})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (record(score=None), "a score must be a finite number, not None"),
        (record(score="1"), "a score must be a finite number, not '1'"),
        (record(score=float("nan")), "a score must be a finite number, not nan"),
        (record(docid=""), "an id must be a text or a whole number, not ''"),
        (record(docid=1.5), "an id must be a text or a whole number, not 1.5"),
        (record(doc={"title": "t"}), "none of the fields"),
        (record(doc={"text": 7}), "none of the fields"),
        (record(doc=None), "document 'a' must be an object with a text, not None"),
        (record(doc="half \ud83d"), "surrogates not allowed"),
        ('{"query": {"qid": 7, "text": 8}, "candidates": []}', "a text is wanted, not 8"),
        ('{"query": {"text": "why"}, "candidates": []}', "'qid'"),
        ('{"query": "why", "candidates": []}', "no query with candidates"),
        (record()[:-3], "not JSON"),
        (
            json.dumps({"query": "why", "hits": [{"qid": 7, "docid": 1, "content": "x", "score": 1}] * 2}),
            "ranked twice",
        ),
        ("7", "expected a JSON object"),
    ],
)
def test_damage_is_named_by_file_and_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f"{record(docid='z').replace('7', '6')}\n\n{line}\n")
    for read in (read_candidates, read_run):
        with pytest.raises(BadInput) as caught:
            read(path)
        assert f"{path}:3" in str(caught.value) and told in str(caught.value)


def test_ids_may_be_numbers_and_texts_empty(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(record(docid=12, doc={"text": "", "segment": ""}))
    data = read_candidates(path)
    assert list(data.corpus) == [Document("12", "")] and data.queries == (Query("7", "why"),)
    assert read_run(path)["7"].ids == ["12"]


def test_no_file_and_no_record(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_candidates(tmp_path / "c.jsonl")
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(BadInput, match=r"c\.json: the file has no queries"):
        read_candidates(tmp_path / "c.json")
