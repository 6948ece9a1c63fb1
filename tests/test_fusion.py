"""Fusion: what it computes is what a plain loop over dictionaries computes, and what ranx computes where both agree."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whyrank import evaluate, load, read_run
from whyrank.errors import BadInput, BadSpec
from whyrank.eval.ranx import ranx_fuse
from whyrank.fusion import Fusion, normalised
from whyrank.registry import make
from whyrank.types import CallReport, Note, Ranking, Run

HOWS = [("rrf", "minmax"), ("combsum", "minmax"), ("combsum", "zscore"), ("combsum", "none"), ("combmnz", "minmax")]
IDS = [*"abcdefg", "a b", "ü", "蜂"]
SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100, width=32))


def falling(scores):
    ordered = sorted(scores.items(), key=lambda item: (-np.float32(item[1]), item[0]))
    return Ranking([id for id, _ in ordered], np.array([score for _, score in ordered], dtype=np.float64))


RANKINGS = st.dictionaries(st.sampled_from(IDS), SCORES, max_size=6).map(falling)
RUNS = st.dictionaries(st.sampled_from(["q1", "q2", "q 3"]), RANKINGS, max_size=3).map(Run.of)
MANY = st.lists(RUNS, min_size=1, max_size=4)


def plain(method, norm, k, weights, runs):
    """The definition, one document at a time."""
    fused = {}
    for query in dict.fromkeys(query for run in runs for query in run):
        rankings = [dict(zip(*run[query], strict=True)) if query in run else {} for run in runs]
        totals = {}
        for document in set().union(*rankings):
            parts = [value(method, norm, k, ranking, document) for ranking in rankings]
            total = sum(weight * part for weight, part in zip(weights, parts, strict=True))
            if method == "combmnz":
                total *= sum(
                    document in ranking for ranking, weight in zip(rankings, weights, strict=True) if weight > 0
                )
            totals[document] = total
        fused[query] = totals
    return fused


def value(method, norm, k, ranking, document):
    if method == "rrf":
        return 1 / (k + list(ranking).index(document) + 1) if document in ranking else 0.0
    if not ranking:
        return 0.0
    scores = np.array(list(ranking.values()))
    low, high = scores.min(), scores.max()
    score = ranking.get(document, low)
    if norm == "none":
        return score
    if norm == "zscore":
        return (score - scores.mean()) / scores.std() if high > low else 0.0
    if document not in ranking:
        return 0.0
    return (score - low) / (high - low) if high > low else 1.0


@settings(deadline=None)
@given(MANY, st.sampled_from(HOWS), st.data())
def test_it_is_what_the_definition_says(runs, how, data):
    weights = tuple(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1, 2.5]), min_size=len(runs), max_size=len(runs))))
    assume(any(weights))
    method, norm = how
    fused = Fusion(method=method, norm=norm, k=7, weights=weights).of(runs)
    wanted = plain(method, norm, 7, weights, runs)
    assert list(fused) == list(wanted)
    for query, (ids, scores) in fused.items():
        np.testing.assert_allclose(scores, [wanted[query][id] for id in ids], rtol=1e-6, atol=1e-6)
        assert set(ids) == set(wanted[query])
        for one, other, high, low in zip(ids, ids[1:], scores, scores[1:], strict=False):
            assert np.float32(high) > np.float32(low) or (np.float32(high) == np.float32(low) and one > other)


@settings(deadline=None)
@given(RUNS, RUNS, st.sampled_from(HOWS))
def test_the_order_of_the_runs_does_not_matter(one, other, how):
    fusion = Fusion(method=how[0], norm=how[1])
    there, back = fusion.of([one, other]), fusion.of([other, one])
    assert {query: list(there[query].ids) for query in there} == {query: list(back[query].ids) for query in back}


@given(RUNS, st.sampled_from(["minmax", "zscore", "none"]))
def test_a_missing_document_gets_the_lowest_and_being_found_never_harms(run, norm):
    scores, lowest = normalised(run, norm)
    assert (scores >= lowest[run.rows]).all()
    for row, (ids, raw) in enumerate(run.values()):
        if len(ids) and (norm != "minmax" or raw.min() < raw.max()):
            assert lowest[row] == scores[run.rows == row].min()
        else:
            assert lowest[row] == 0


@given(
    RUNS, st.sampled_from(["minmax", "zscore"]), st.sampled_from([-8.0, 0.0, 64.0]), st.sampled_from([0.25, 1.0, 32.0])
)
def test_norms_see_neither_scale_nor_origin(run, norm, shift, scale):
    whole = Run.of({query: Ranking(ids, np.round(scores, 2)) for query, (ids, scores) in run.items()})
    moved = Run.of({query: Ranking(ids, scores * scale + shift) for query, (ids, scores) in whole.items()})
    assume(all(len(set(moved[query].scores)) == len(set(whole[query].scores)) for query in whole))
    np.testing.assert_allclose(normalised(moved, norm).scores, normalised(whole, norm).scores, atol=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5), st.sampled_from(HOWS[:3]))
def test_no_score_is_too_large_or_too_small(scores, how):
    raw = np.array(sorted(scores, reverse=True))
    run = Run.of({"q": Ranking(IDS[: len(raw)], raw)})
    fused = Fusion(method=how[0], norm=how[1]).of([run, Run.of({"q": ["g", "a"]})])
    assert len(fused["q"].ids) == len({*IDS[: len(raw)], "g", "a"})


def test_negative_scores_never_turn_a_missing_document_into_the_best():
    likelihoods = Run.of({"q": {"a": -3.0, "b": -9.0}})
    bm25 = Run.of({"q": {"b": 21.0, "c": 20.0, "a": 18.0}})
    fused = Fusion(method="combsum").of([likelihoods, bm25])
    assert dict(zip(*fused["q"], strict=True)) == pytest.approx({"a": 1.0, "b": 1.0, "c": 2 / 3})
    raw = Fusion(method="combsum", norm="none").of([likelihoods, bm25])
    assert dict(zip(*raw["q"], strict=True)) == {"a": 15.0, "b": 12.0, "c": 11.0}


@pytest.mark.parametrize(
    ("norm", "ranking", "scores", "lowest"),
    [
        ("minmax", {"a": 5.0}, [1.0], 0.0),
        ("minmax", {"a": 0.0, "b": 0.0}, [1.0, 1.0], 0.0),
        ("minmax", {}, [], 0.0),
        ("zscore", {"a": 5.0}, [0.0], 0.0),
        ("zscore", {"a": 0.1, "b": 0.1, "c": 0.1}, [0.0, 0.0, 0.0], 0.0),
        ("zscore", {"a": 3.0, "b": 1.0}, [1.0, -1.0], -1.0),
        ("zscore", {}, [], 0.0),
        ("none", {"a": 5.0, "b": -1.0}, [5.0, -1.0], -1.0),
    ],
)
def test_lists_without_contrast_have_an_outcome(norm, ranking, scores, lowest):
    found = normalised(Run.of({"q": ranking}), norm)
    assert found.scores.tolist() == scores and found.lowest.tolist() == [lowest]


def test_a_query_that_one_run_lacks_is_ranked_by_the_others():
    one, other = Run.of({"q1": ["a", "b"]}), Run.of({"q2": ["c"], "q1": ["b", "a"]})
    fused = Fusion().of([one, other])
    assert list(fused) == ["q1", "q2"] and list(fused["q2"].ids) == ["c"]
    assert Fusion().of([Run.of({}), Run.of({"q": []})])["q"].ids == []


def test_tables_of_ids_may_differ_in_kind():
    table = np.array(["b", "a", "b"], dtype=np.dtypes.StringDType())
    read = Run(["q1", "q2"], np.array([0, 2, 3]), np.array([0, 1, 2]), table, np.array([2.0, 1.0, 1.0]))
    engine = Run(["q2", "q1"], np.array([0, 1, 2]), np.array([1, 0]), ["a", "b"], np.array([2.0, 1.0]))
    fused = Fusion(k=0).of([read, engine])
    assert {query: dict(zip(*fused[query], strict=True)) for query in fused} == {
        "q1": {"a": 1.5, "b": 1.0},
        "q2": {"b": 2.0},
    }


def test_model_calls_travel_along():
    one = Run.of({"q": ["a"]}, notes={"q": Note((CallReport("exact"),))})
    notes = {"q": Note((CallReport("failed"),), outcome="fell_back", tied=2), "p": Note(terms={"a": 1.0})}
    other = Run.of({"q": ["b"], "p": ["a"]}, notes=notes)
    assert Fusion().of([one, other, Run.of({"q": []}, notes={"q": Note(outcome="rewritten")})]).notes == {
        "q": Note((CallReport("exact"), CallReport("failed")), outcome="fell_back"),
        "p": Note(terms={"a": 1.0}),
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fusion(method='sum')", "'sum'"),
        ("fusion(norm='max')", "'max'"),
        ("fusion(method='combmnz', norm='zscore')", "needs norm='minmax'"),
        ("fusion(k=-1)", "k must be at least 0, not -1"),
        ("fusion(weights=(1.0, -1.0))", "each of weights must be at least 0, not -1.0"),
        ("fusion(weights=(1e999,))", "each of weights must be finite"),
        ("fusion(weights=(0.0, 0.0))", "at least one of the weights"),
    ],
)
def test_what_is_no_fusion_is_refused(spec, message):
    with pytest.raises(BadSpec, match=message):
        make(spec)


def test_runs_and_weights_must_fit():
    with pytest.raises(BadInput, match="2 weights are given for 1 runs"):
        Fusion(weights=(1, 2)).of([Run.of({})])
    with pytest.raises(BadInput, match="no run to fuse"):
        Fusion().of([])
    with pytest.raises(BadInput, match="two runs or more"):
        Fusion().tuned([Run.of({})], lambda run: 0.0)


def first(query, document):
    """Worth 1 where `document` is ranked first."""
    return lambda run: float(run[query].ids[0] == document)


def test_tuning_two_runs_is_a_full_search():
    rng = np.random.default_rng(7)
    runs = [
        Run.of({f"q{at}": falling(dict(zip(IDS, rng.random(len(IDS)), strict=True))) for at in range(5)}) for _ in "ab"
    ]
    wanted = {f"q{at}": IDS[at] for at in range(5)}

    def worth(run):
        return sum(1 / (1 + list(run[query].ids).index(document)) for query, document in wanted.items())

    fusion = Fusion(method="combsum", norm="zscore")
    tuned = fusion.tuned(runs, worth)
    grid = [replace(fusion, weights=(step / 20, 1 - step / 20)) for step in range(21)]
    assert worth(tuned.of(runs)) == pytest.approx(max(worth(one.of(runs)) for one in grid))
    assert sum(tuned.weights) == pytest.approx(1) and replace(tuned, weights=()) == fusion
    assert make(repr(tuned)) == tuned


def test_tuning_comes_to_an_end_where_all_weights_are_alike():
    values = iter([1.0] * 500)  # and then StopIteration: it went on for ever
    runs = [Run.of({"q": {"a": 2.0, "b": 1.0}}), Run.of({"q": {"b": 2.0, "a": 1.0}}), Run.of({"q": {"b": 1.0}})]
    assert Fusion(method="combsum").tuned(runs, lambda run: next(values)).weights == (0.333333,) * 3


def test_tuning_moves_no_further_than_it_gains():
    good, bad = Run.of({"q": {"a": 2.0, "b": 1.0}}), Run.of({"q": {"b": 2.0, "a": 1.0}})
    fusion = Fusion(method="combsum")
    assert fusion.tuned([good, bad], lambda run: 1.0).weights == (0.5, 0.5)
    assert fusion.tuned([good, bad], first("q", "a")).weights == (0.55, 0.45)
    assert fusion.tuned([bad, good], first("q", "a")).weights == (0.45, 0.55)


def test_tuning_leaves_a_bad_run_out_of_three():
    runs = [Run.of({"q": {"a": 2.0, "b": 1.0}}), *[Run.of({"q": {"b": 2.0, "a": 1.0}})] * 2]
    tuned = Fusion(method="combsum").tuned(runs, first("q", "a"))
    assert tuned.of(runs)["q"].ids[0] == "a" and tuned.weights[0] > 0.5 and sum(tuned.weights) == pytest.approx(1)


def some_runs(n, size, depth, pool):
    rng, ids = np.random.default_rng(3), [f"d{at}" for at in range(pool)]
    for _ in range(n):
        found = [rng.choice(pool, depth, replace=False) for _ in range(size)]
        scores = np.concatenate([-np.sort(-rng.normal(size=depth)) for _ in range(size)])
        offsets = np.arange(size + 1) * depth
        yield Run([f"q{at}" for at in range(size)], offsets, np.concatenate(found).astype(np.int32), ids, scores)


@pytest.mark.engines
@pytest.mark.parametrize(
    ("how", "method", "norm"),
    [
        (("rrf", "minmax"), "rrf", None),
        (("combsum", "minmax"), "sum", "min-max"),
        (("combmnz", "minmax"), "mnz", "min-max"),
        (("combsum", "zscore"), "sum", "zmuv"),
        (("combsum", "none"), "sum", None),
    ],
)
def test_it_equals_ranx_where_both_define_the_same(how, method, norm):
    """Z-scores and raw scores count 0 in ranx for a missing document, so those runs share their documents here."""
    shared = how[1] in {"zscore", "none"}
    runs = [Run.of(run.to_dict()) for run in some_runs(3, size=8, depth=30, pool=30 if shared else 45)]
    theirs = ranx_fuse(runs, method, norm)
    for query, (ids, scores) in Fusion(method=how[0], norm=how[1]).of(runs).items():
        wanted = dict(zip(*theirs[query], strict=True))
        np.testing.assert_allclose(scores, [wanted.pop(id) for id in ids], rtol=1e-6, atol=1e-9)
        assert not wanted


@pytest.mark.engines
def test_where_ranx_differs():
    """It gives 0 for a z-score that is missing, above most that are found, and 0 to the only document of a list."""
    runs = [
        Run.of({"q": {"a": 3.0, "b": 2.0, "c": 1.0}}),
        Run.of({"q": {"d": 9.0, "a": 8.0}}),
        Run.of({"q": {"e": 1.0}}),
    ]
    zscores = dict(zip(*ranx_fuse(runs[:2], "sum", "zmuv")["q"], strict=True))
    assert zscores["d"] > zscores["a"]  # never found by the first run, and yet before what both found
    assert Fusion(method="combsum", norm="zscore").of(runs[:2])["q"].ids[0] == "a"
    assert dict(zip(*ranx_fuse(runs, "sum", "min-max")["q"], strict=True))["e"] == 0
    assert dict(zip(*Fusion(method="combsum").of(runs)["q"], strict=True))["e"] == 1


def test_published_runs_of_bright_fuse_to_more_than_each(shared_data, monkeypatch):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    for task in ("pony", "psychology", "robotics"):
        data, runs = load(f"bright/{task}"), shared_data / "bright" / "runs"
        pair = [
            read_run(runs / "reasonir_gpt4cot" / f"{task}.trec"),
            read_run(runs / "xrr2_expand_bm25" / f"{task}.json"),
        ]
        best = max(evaluate(run, data.qrels, "nDCG@10")["nDCG@10"] for run in pair)
        for fusion in (Fusion(), Fusion(method="combsum"), Fusion(method="combsum", norm="zscore")):
            assert evaluate(fusion.of(pair), data.qrels, "nDCG@10")["nDCG@10"] > best + 0.005
