"""RankTask and its files: what goes in comes out, and what is wrong is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.io import read_tasks, write_tasks
from whyrank.types import Document, Query, RankTask

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
ids = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=6)


@st.composite
def tasks(draw: st.DrawFn) -> RankTask:
    names = draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    documents = tuple(Document(name, draw(texts), draw(texts)) for name in names)
    grades = draw(st.dictionaries(st.sampled_from(names), st.floats(-5, 5)))
    order = tuple(draw(st.permutations(names))) if draw(st.booleans()) else ()
    source = draw(st.dictionaries(texts, texts | st.integers(), max_size=2))
    query = Query(draw(ids), draw(texts), draw(st.frozensets(ids, max_size=3)))
    return RankTask(query, documents, grades, order, draw(texts), source)


@given(st.lists(tasks(), min_size=1, max_size=4))
def test_files_bring_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, given: list[RankTask]) -> None:
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    assert write_tasks(given, path) == len(given)
    assert list(read_tasks(path)) == given


def test_gains_are_in_the_order_shown() -> None:
    task = RankTask(Query("q", "?"), (Document("a", ""), Document("b", "")), {"b": 2})
    assert task.gains == (0.0, 2.0)
    assert task.relevant == 1


GOOD = {"query": {"id": "q", "text": "?"}, "documents": [{"id": "a", "text": "x"}], "grades": {"a": 1}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grades": {"z": 1}}, "'z', which is not in the list"),
        ({"grades": {"a": float("nan")}}, "not a number"),
        ({"grades": {"a": "high"}}, "not a task"),
        ({"grades": None}, "not a task"),
        ({"documents": []}, "no documents"),
        ({"documents": [{"id": "a", "text": "x"}] * 2}, "twice"),
        ({"documents": [{"id": "a"}]}, "'text' is missing"),
        ({"documents": [{"id": 3, "text": "x"}]}, "'id' must be a text"),
        ({"order": ["a", "b"]}, "'order' must name each"),
        ({"query": "?"}, "not a task"),
        ({"query": {"id": "q", "text": "?", "excluded_ids": "a"}}, "must be a list of document ids"),
    ],
)
def test_errors_say_file_line_and_what(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | change) + "\n")
    read = read_tasks(path)
    next(read)
    with pytest.raises(BadInput, match=rf"tasks\.jsonl:2: .*{words}"):
        next(read)


def test_an_order_as_places() -> None:
    documents = tuple(map(Document, "abc", "abc"))
    assert RankTask(Query("q", "?"), documents, order=("c", "a", "b")).places == (2, 0, 1)
    assert RankTask(Query("q", "?"), documents).places == ()


def test_a_line_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD)[:30] + "\n")
    with pytest.raises(BadInput, match=r"tasks\.jsonl:2: not JSON"):
        list(read_tasks(path))
