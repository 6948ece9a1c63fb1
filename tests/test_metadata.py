"""What is known of a document besides its text goes wherever the document goes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.experiment import export
from whyrank.io import (
    iter_corpus,
    read_candidates,
    read_corpus,
    read_queries,
    read_tasks,
    write_candidates,
    write_corpus,
    write_run,
    write_tasks,
)
from whyrank.registry import make
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.retrieval.agentic.tool import SearchTool
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.types import Corpus, Dataset, Document, Query, RankTask

KNOWN = {"url": "https://bees.example/1", "year": 1927, "tags": ["bee", "dance"], "deep": {"a": [1, None]}}
BEES = Document("d1", "Bees dance.", "Bees", metadata=KNOWN)
ANTS = Document("d2", "Ants sing.")
DATA = Dataset("two", Corpus([BEES, ANTS]), (Query("q", "who dances, who sings?"),))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(known=st.dictionaries(st.sampled_from(["url", "text", "_id", "title", "metadata", "contents", "é"]), JSON))
def test_any_metadata_is_written_and_read_again(known, tmp_path_factory):
    path = tmp_path_factory.mktemp("metadata") / "corpus.jsonl.gz"
    documents = [Document("d1", "Bees dance.", metadata=known), ANTS]
    assert write_corpus(documents, path) == 2
    assert list(iter_corpus(path)) == documents


def test_all_other_keys_of_a_line_are_metadata(tmp_path):
    lines = [
        {"_id": "a", "text": "x", "title": "t", "url": "u", "metadata": {"year": 1, "url": "own"}},
        {"id": 7, "contents": "x", "lang": "de", "metadata": ""},
        {"_id": "c", "text": "x", "contents": "long", "metadata": {}},
        {"_id": "d", "text": "x", "metadata": ["odd"]},
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    found = [dict(each.metadata) for each in read_corpus(path)]
    assert found == [{"url": "own", "year": 1}, {"lang": "de"}, {}, {"metadata": ["odd"]}]


def test_candidates_and_export_keep_it(tmp_path):
    run = BM25().index(DATA.corpus).search(DATA.queries)
    write_candidates(run, DATA, tmp_path / "candidates.jsonl")
    read = read_candidates(tmp_path / "candidates.jsonl")
    assert {each.id: each.metadata for each in read.corpus} == {"d1": KNOWN, "d2": {}}
    write_run(run, tmp_path / "run.trec")
    export(tmp_path / "run.trec", tmp_path / "exported.json", DATA)
    (record,) = json.loads((tmp_path / "exported.json").read_text())
    assert {hit["docid"]: hit["doc"].get("metadata") for hit in record["candidates"]} == {"d1": KNOWN, "d2": None}


def test_candidates_of_others_have_it_beside_the_text(tmp_path):
    hit = {"docid": "d1", "score": 1.0, "doc": {"segment": "Bees.", "url": "u", "headings": "h", "rank": 1}}
    other = {**hit, "doc": {**hit["doc"], "rank": 9}}
    lines = [{"query": {"qid": id, "text": "x"}, "candidates": [one]} for id, one in (("1", hit), ("2", other))]
    path = tmp_path / "candidates.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_candidates(path).corpus["d1"].metadata == {"url": "u", "headings": "h", "rank": 1}
    path.write_text(
        '{"query": {"qid": "1", "text": "x"}, "candidates": [{"docid": "d", "score": 1, '
        '"doc": {"text": "x", "url": "\\ud800"}}]}'
    )
    data = read_candidates(path)
    write_candidates(data.candidates, data, tmp_path / "again.jsonl")
    assert read_candidates(tmp_path / "again.jsonl").corpus["d"].metadata == {"url": "\ud800"}


def test_answers_carry_it(tmp_path):
    listwise = make("listwise(fake('<answer>[2] > [1]</answer>'))")
    ranked = listwise.rank("q", [ANTS, BEES])
    assert [item.metadata for item in ranked] == [KNOWN, {}]
    assert [document.get("metadata") for document in ranked.to_dict()["documents"]] == [KNOWN, None]
    json.dumps(ranked.to_dict())
    run = listwise.rerank(BM25().index(DATA.corpus).search(DATA.queries), DATA)
    assert {item.id: item.metadata for item in RankedList.of(run, "q", DATA)} == {"d1": KNOWN, "d2": {}}
    assert {item.id: item.metadata for item in RankedList.of(run, "q")} == {"d1": {}, "d2": {}}


def test_a_search_tool_knows_it_and_shows_it_to_no_model():
    tool = SearchTool(BM25().index(DATA.corpus), DATA.corpus)
    (found,) = tool.search(["bees dance"])
    assert found.hits[0].metadata == KNOWN
    assert "example" not in tool.call({"queries": ["bees dance"]})


def test_tasks_keep_it_and_what_a_query_may_find(tmp_path):
    task = RankTask(Query("q", "who?", frozenset({"x"}), frozenset({"d1", "d2"})), (BEES, ANTS), {"d1": 1.0})
    write_tasks([task], tmp_path / "tasks.jsonl")
    assert read_tasks(tmp_path / "tasks.jsonl") == (task,) or list(read_tasks(tmp_path / "tasks.jsonl")) == [task]


def test_queries_are_read_with_what_they_may_find(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text(
        '{"_id": "1", "text": "x", "only_ids": ["a", "b"], "excluded_ids": ["b", "N/A"]}\n'
        '{"_id": "2", "text": "x", "only_ids": []}\n{"_id": "3", "text": "x"}'
    )
    assert read_queries(path) == (
        Query("1", "x", frozenset({"b"}), frozenset({"a", "b"})),
        Query("2", "x", only=frozenset()),
        Query("3", "x"),
    )
    path.write_text('{"_id": "1", "text": "x", "only_ids": "a"}')
    with pytest.raises(BadInput, match=r"queries.jsonl:1: 'only_ids' must be a list"):
        read_queries(path)


@pytest.mark.parametrize("known", [{"a": {1, 2}}, {"a": object()}, {"a": b"x"}, {(1, 2): 1}])
def test_what_json_does_not_have_is_refused_and_nothing_is_written(known, tmp_path):
    path = tmp_path / "corpus.jsonl"
    with pytest.raises(BadInput, match="document 'd': its metadata cannot be written as JSON"):
        write_corpus([ANTS, Document("d", "x", metadata=known)], path)
    assert not list(tmp_path.iterdir())


def test_a_rerank_keeps_to_what_a_query_may_find():
    data = Dataset("two", DATA.corpus, (Query("q", "x", only=frozenset({"d2"})),))
    run = BM25().index(DATA.corpus).search(DATA.queries)
    assert list(make("listwise(fake('[1]'))").rerank(run, data)["q"].ids) == ["d2"]
