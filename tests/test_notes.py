"""Reports of model calls and notes of queries: files hold all that they tell, nobody changes them, damage is told."""

import json
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.types import (
    STATUSES,
    CallReport,
    Evidence,
    Note,
    Place,
    Repairs,
    Run,
    Search,
    SearchStep,
    Usage,
    count_statuses,
)

IDS = tuple("abcdefgh")
COUNT = st.integers(0, 99)
MAYBE = st.none() | COUNT
TEXTS = st.lists(st.text(min_size=1), max_size=3).map(tuple)
REPORTS = st.builds(
    CallReport,
    status=st.sampled_from(STATUSES),
    key=st.text(),
    usage=st.builds(Usage, COUNT, COUNT, COUNT, COUNT),
    finish=st.sampled_from(["stop", "length"]),
    thought=st.text(),
    thought_cut=st.booleans(),
    repairs=st.builds(Repairs, MAYBE, MAYBE, MAYBE, MAYBE),
    shown=st.none() | st.lists(st.integers(0, len(IDS) - 1), unique=True).map(tuple),
    labels=TEXTS,
    place=st.builds(Place, MAYBE, MAYBE, MAYBE, MAYBE, st.none() | st.tuples(COUNT, COUNT), MAYBE, MAYBE, MAYBE),
    score=st.none() | st.floats(0, 100),
    first=st.none() | st.booleans(),
    passages=TEXTS,
    candidates=MAYBE,
    hunted=st.none() | st.builds(SearchStep, COUNT, TEXTS, COUNT, COUNT),
    seconds=st.none() | st.floats(0, 9),
    cost=st.none() | st.floats(0, 9),
    others=st.dictionaries(st.text("xyz", min_size=3), st.integers()),
)
FAILED = st.builds(CallReport, st.just("failed"), failure=st.text(min_size=1), detail=st.text(), shown=st.just((0,)))
NOTES = st.builds(
    Note,
    calls=st.lists(REPORTS | FAILED, max_size=3).map(tuple),
    candidates=st.just(IDS),
    scores=st.dictionaries(st.sampled_from(IDS), st.none() | st.floats(-9, 9)),
    first_scores=st.just({id: float(at) for at, id in enumerate(IDS)}),
    route=MAYBE,
    shuffles=MAYBE,
    outcome=st.sampled_from(["rewritten", "fell_back", "gated"]),
    rewritten=TEXTS,
    terms=st.dictionaries(st.text(min_size=1), st.floats(0, 1)),
    searches=st.lists(st.builds(Search, st.text(), COUNT, COUNT, COUNT, COUNT), max_size=2).map(tuple),
    evidence=st.lists(st.builds(Evidence, st.text(), st.text()), max_size=2).map(tuple),
    stopped=st.sampled_from(["done", "repeats"]),
)
TIED = st.builds(Note, tied=COUNT) | st.builds(Note, ties=st.lists(st.tuples(COUNT, COUNT), min_size=1).map(tuple))


@given(NOTES | TIED)
def test_a_file_holds_all_that_a_note_tells(note: Note) -> None:
    written = json.loads(json.dumps(note.to_dict()))
    again = Note.from_dict(written)
    assert json.loads(json.dumps(again.to_dict())) == written
    assert [one for one in fields(note) if getattr(again, one.name) != getattr(note, one.name)] == []


def test_ids_stand_in_files_alone() -> None:
    call = CallReport("exact", shown=(2, 0))
    note = Note((call,), candidates=("a", "b", "c"), first_scores={"a": 3.0, "b": 2.0, "c": 1.0})
    assert note.to_dict()["calls"] == [{"shown": ["c", "a"], "status": "exact"}]
    assert Note.from_dict(note.to_dict()).calls == (call,) and call.to_dict()["shown"] == [2, 0]
    assert call.seen_from([5, 6, 7]).shown == (7, 5) and call.at(stage=1).at(round=2).place == Place(stage=1, round=2)


def test_a_note_is_followed_by_the_calls_of_another_who_show_the_same_documents() -> None:
    one = Note((CallReport("exact", shown=(1,)),), ("a", "b"), first_scores={"a": 2.0, "b": 1.0}, route=0)
    other = Note((CallReport("failed", shown=(0, 1)),), ("c", "b"), first_scores={"c": 2.0, "b": 1.0}, route=1, tied=3)
    both = one.followed_by(other)
    assert both.candidates == ("a", "b", "c") and [call.shown for call in both.calls] == [(1,), (2, 1)]
    assert (both.route, both.tied, dict(both.first_scores)) == (0, 3, {"a": 2.0, "b": 1.0})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"calls": 5}, "calls should be a list, not 5"),
        ({"calls": [5]}, "a note: calls should be an object, not 5"),
        ({"calls": [{}]}, "a model call has '' where one of exact"),
        ({"calls": [{"status": "perfect"}]}, "'perfect' where one of exact"),
        ({"calls": [{"status": "exact", "shown": "ab"}]}, "shown should be a list of texts"),
        ({"calls": [{"status": "exact", "missing": "two"}]}, "missing should be a whole number, not 'two'"),
        ({"calls": [{"status": "exact", "usage": {"input": True}}]}, "input should be a whole number, not True"),
        ({"first": [1]}, "first should be numbers by id"),
        ({"tied": [[1, 2, 3]]}, "tied should be pairs of whole numbers"),
        ({"route": "0"}, "route should be a whole number"),
    ],
)
def test_damage_is_told(told: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Note.from_dict(told)


def test_nobody_changes_the_notes_of_a_run() -> None:
    scores: dict[str, float | None] = {"a": 1.0}
    note = Note(scores=scores)
    run = Run.of({"q": ["a"]}, notes={"q": note})
    scores["a"] = 5.0
    assert run.notes["q"].scores == {"a": 1.0}
    with pytest.raises(TypeError):
        run.notes["q"] = Note()  # type: ignore[index]
    with pytest.raises(TypeError):
        note.scores["a"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        run.notes = {}  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        note.route = 1  # type: ignore[misc]
    other = run.with_notes({"q": Note(route=1)})
    assert other.notes["q"].route == 1 and run.notes["q"] == note and other == run
    with pytest.raises(BadInput, match="query 'q': its note is a dict: hand in a Note"):
        run.with_notes({"q": {"calls": []}})  # type: ignore[dict-item]
    assert pickle.loads(pickle.dumps(run)).notes == run.notes


def test_statuses_are_counted() -> None:
    calls = [CallReport("exact"), CallReport("failed"), CallReport("exact")]
    assert count_statuses(calls) == {"exact": 2, "repaired": 0, "truncated": 0, "no_answer": 0, "failed": 1}
    assert count_statuses([]) == {}
    assert not Repairs(0, None, 0, 0) and Repairs(extra=1)
