"""The nouns: runs keep their order, refuse what is wrong, and separate scores by as little as they can."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.types import Corpus, Dataset, Document, Note, Qrels, Query, Ranking, Run, trec_order

IDS = st.text(min_size=1, max_size=6).filter(lambda id: all(not "\ud800" <= at <= "\udfff" for at in id))
SCORES = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e38, 1e38),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, 1e300, -1e300, 1e-45]),
)
RUNS = st.dictionaries(IDS, st.dictionaries(IDS, SCORES, max_size=8), max_size=5)


def separated(scores: list[float]) -> list[np.float32]:
    """Strictly falling float32 scores, one step at a time: the plain way to say what `strict_scores` does at once."""
    bound, out = np.float32(np.finfo(np.float32).max) / 2, []
    with np.errstate(over="ignore"):
        for score in np.clip(np.array(scores).astype(np.float32), -bound, bound):
            out.append(np.nextafter(out[-1], np.float32(-np.inf)) if out and score >= out[-1] else score)
    return out


@given(RUNS)
def test_a_run_of_scores_is_ordered_as_trec_eval_orders_it(given):
    run = Run.of(given)
    assert list(run) == list(given)
    for query, scores in given.items():
        with np.errstate(over="ignore"):
            expected = sorted(scores, reverse=True)
            expected.sort(key=lambda id: -np.float32(scores[id]))
        assert run[query].ids == expected
        assert run[query].scores.tolist() == [scores[id] for id in expected]


@given(RUNS)
def test_strict_scores_fall_strictly_and_by_as_little_as_they_can(given):
    run = Run.of(given)
    for query, row in zip(run, range(len(run)), strict=True):
        span = slice(run.offsets[row], run.offsets[row + 1])
        strict = run.strict_scores[span]
        assert (np.diff(strict) < 0).all()
        assert strict.tolist() == [float(score) for score in separated(run[query].scores.tolist())]
        assert list(run.to_dict()[query].values()) == strict.tolist()


def test_many_ties_are_separated_in_arrays_not_one_by_one():
    n = 200_000
    run = Run(
        ["a", "b"],
        np.array([0, n, 2 * n]),
        np.arange(2 * n, dtype=np.int32),
        [str(i) for i in range(2 * n)],
        np.ones(2 * n),
    )
    assert (np.diff(run.strict_scores[:n]) < 0).all() and run.strict_scores[0] == run.strict_scores[n] == 1
    assert run.ties == 2 * (n - 1)


def test_a_run_is_read_as_a_mapping():
    run = Run.of({"q2": ["a", "b"], "q1": {"x": 1.0, "y": 2.0}, "q0": []}, name="mine")
    assert list(run) == ["q2", "q1", "q0"] and len(run) == 3 and "q0" in run and "q9" not in run
    assert run["q2"].ids == ["a", "b"] and run["q2"].scores.tolist() == [2, 1]
    assert run["q1"].ids == ["y", "x"] and run["q0"].ids == []
    assert run.sizes == {"q2": 2, "q1": 2, "q0": 0} and repr(run) == "Run('mine', 3 queries, 4 entries)"
    with pytest.raises(KeyError):
        run["q9"]


def test_runs_are_equal_by_what_they_rank():
    run = Run.of({"q": {"a": 2.0, "b": 1.0}}, name="one")
    table = Run(
        ["q"], np.array([0, 2]), np.array([5, 3], dtype=np.int32), list("...b.a"), np.array([2.0, 1.0]), name="two"
    )
    assert run == table and run != Run.of({"q": ["b", "a"]}) and run != Run.of({"p": ["a", "b"]}) and run != {"q": 1}


def test_top_and_only_and_depth_larger_than_the_run():
    run = Run.of({"q": list("abc"), "p": list("de"), "r": []})
    assert [run.top(2)[query].ids for query in run] == [["a", "b"], ["d", "e"], []]
    assert run.top(100) == run and run.top(0).sizes == {"q": 0, "p": 0, "r": 0}
    assert run.only({"p", "r", "z"}) == Run.of({"p": {"d": 2.0, "e": 1.0}, "r": {}})


def test_excluded_documents_leave_and_nothing_else_does():
    run = Run.of({"q": list("abc"), "p": list("abc")}, notes={"q": Note(stopped="kept")})
    left = run.without([Query("q", "", frozenset("bz")), Query("p", ""), Query("unknown", "", frozenset("a"))])
    assert left["q"].ids == ["a", "c"] and left["q"].scores.tolist() == [3, 1] and left["p"].ids == list("abc")
    assert left.notes == {"q": Note(stopped="kept")} and run.without([]) is run


def test_a_name_is_changed_on_a_copy():
    run = Run.of({"q": ["a"]}, name="old")
    assert run.named("new").name == "new" and run.name == "old" and run.named("new") == run


@pytest.mark.parametrize(
    ("rankings", "text"),
    [
        ({"17": ["d1", "d3", "d3"]}, "run 'bm25', query '17': document 'd3' is ranked twice"),
        ({"17": {"d1": float("nan")}}, "query '17': document 'd1' has the score nan: scores must be finite"),
        ({"17": {"d1": float("inf")}}, "has the score inf"),
        (
            {"17": Ranking(["a", "b"], np.array([1.0, 2.0]))},
            "document 'b' has a higher score than the document ranked above it",
        ),
        ({"17": Ranking(["a", "b"], np.array([1.0]))}, "2 codes and 1 scores do not fit"),
        ({"17": ["a", ""]}, "an id is empty, the 2th of 2"),
        ({"": ["a"]}, "an id is empty"),
        ({"17": ["a", 3]}, "ids must be text"),
        ({"17": ["\ud800"]}, "ids must be text, and such that UTF-8 can write"),
    ],
)
def test_what_a_run_refuses(rankings, text):
    with pytest.raises(BadInput, match=re.escape(text)):
        Run.of(rankings, name="bm25")


def test_the_arrays_of_an_engine_are_checked():
    def run(codes, scores=(2.0, 1.0), offsets=(0, 2), queries=("q",)):
        return Run(queries, np.array(offsets), np.array(codes, dtype=np.int32), ["a", "b"], np.array(scores))

    assert run([1, 0])["q"].ids == ["b", "a"]
    with pytest.raises(BadInput, match="document 'b' is ranked twice"):
        run([1, 1])
    with pytest.raises(BadInput, match="outside the table of 2 documents"):
        run([0, 2])
    with pytest.raises(BadInput, match=r"query 'q' occurs twice"):
        run([0, 1], offsets=(0, 1, 2), queries=("q", "q"))
    with pytest.raises(BadInput, match="do not fit the offsets"):
        run([0, 1], offsets=(0, 1))
    assert run([0, 0], offsets=(0, 1, 2), queries=("q", "p"))["p"].ids == ["a"]


def test_scores_that_are_equal_in_float32_may_stand_in_any_order():
    near = Ranking(["a", "b"], np.array([1.0, 1.0 + 1e-12]))
    assert Run.of({"q": near})["q"].ids == ["a", "b"]
    assert trec_order(["a", "b"], np.array([1.0 + 1e-12, 1.0])).tolist() == [1, 0]


def test_a_collection_has_each_document_once():
    same = Document("d", "text", "title")
    assert same.content == "title text" and Document("e", "text").content == "text"
    assert Corpus([same])["d"] is same and len(Corpus([])) == 0
    with pytest.raises(BadInput, match="document 'd' occurs twice in the collection"):
        Corpus([same, same])


@pytest.mark.parametrize("grade", [float("nan"), "1", None, 10**7])
def test_grades_are_numbers(grade):
    with pytest.raises(BadInput, match=r"query 'q', document 'd': the grade .* is not a number"):
        Qrels({"q": {"d": grade}})


def test_the_head_of_a_data_set():
    data = Dataset("toy", queries=(Query("1", "a"), Query("2", "b")))
    assert [query.id for query in data.head(1).queries] == ["1"] and data.candidates is None


def test_the_head_has_judgements_and_candidates_of_its_queries_only():
    queries, ranked = tuple(Query(id, id) for id in "abc"), Run.of({id: ["d"] for id in "cab"})
    head = Dataset("toy", queries=queries, qrels=Qrels({"b": {"d": 1}, "c": {"d": 1}}), candidates=ranked).head(2)
    assert list(head.qrels) == ["b"] and head.candidates is not None and list(head.candidates) == ["a", "b"]
