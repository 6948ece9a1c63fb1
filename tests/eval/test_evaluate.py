"""Scores: equal to trec_eval's, with every judged query counted, and equal to what is published for real runs."""

import ast
import gzip
import json
import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import compare, evaluate
from whyrank.io import read_qrels, read_run, write_run
from whyrank.types import Qrels, Query, Ranking, Run

QUERIES = [f"q{at}" for at in range(5)]
DOCUMENTS = [f"d{at}" for at in range(25)] + ["é", "D9", "d-1"]
SCORES = st.one_of(st.integers(-1, 2).map(float), st.floats(-1e6, 1e6), st.sampled_from([0.5, 0.5 + 1e-12, -0.0]))
RUNS = st.dictionaries(
    st.sampled_from([*QUERIES, "unjudged"]),
    st.dictionaries(st.sampled_from(DOCUMENTS), SCORES, min_size=1, max_size=20),
    min_size=1,
)
QRELS = st.dictionaries(
    st.sampled_from(QUERIES),
    st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(-1, 3), min_size=1, max_size=15),
    min_size=1,
)
NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "nDCG@3": "ndcg_cut_3",
    "nDCG": "ndcg",
    "AP": "map",
    "AP@5": "map_cut_5",
    "RR": "recip_rank",
    "P@5": "P_5",
    "R@5": "recall_5",
    "R@100": "recall_100",
    "Success@1": "success_1",
    "Rprec": "Rprec",
    "Bpref": "bpref",
}


def trec_eval(run, qrels, level=1):
    """The values of trec_eval on the dictionaries as they are, without any of our code."""
    asked = {
        "ndcg_cut.3,10",
        "ndcg",
        "map",
        "map_cut.5",
        "recip_rank",
        "P.5",
        "recall.5,100",
        "success.1",
        "Rprec",
        "bpref",
    }
    return pytrec_eval.RelevanceEvaluator(qrels, asked, relevance_level=level).evaluate(run)


def overlap(run, qrels):
    """Whether there is something to compare: a shared query; and no query on which trec_eval reads stray memory."""
    return any(query in qrels for query in run) and all(max(grades.values()) >= 0 for grades in qrels.values())


@given(RUNS, QRELS)
def test_each_value_is_that_of_trec_eval(run, qrels):
    if not overlap(run, qrels):
        return
    report, expected = evaluate(Run.of(run), qrels, NAMES), trec_eval(run, qrels)
    for name, other in NAMES.items():
        assert set(report.per_query[name]) == set(qrels)
        for query, value in report.per_query[name].items():
            assert value == pytest.approx(expected[query][other] if query in expected else 0.0, abs=1e-9)
    strict = evaluate(Run.of(run), qrels, ["P(rel=2)@5", "AP(rel=2)"])
    for query, values in trec_eval(run, qrels, level=2).items():
        assert strict.per_query["P(rel=2)@5"][query] == pytest.approx(values["P_5"], abs=1e-9)
        assert strict.per_query["AP(rel=2)"][query] == pytest.approx(values["map"], abs=1e-9)


@given(RUNS, QRELS)
def test_the_cut_before_scoring_changes_nothing(run, qrels):
    if not overlap(run, qrels):
        return
    cut, whole = ["nDCG@3", "R@5", "P@5", "RR@3", "AP@5", "Judged@3"], ["nDCG", "AP"]
    together = evaluate(Run.of(run), qrels, cut + whole)
    assert {name: together.per_query[name] for name in cut} == evaluate(Run.of(run), qrels, cut).per_query


@given(RUNS, QRELS)
def test_a_file_scores_as_the_run_does_and_as_trec_eval_scores_the_file(tmp_path_factory, run, qrels):
    if not overlap(run, qrels):
        return
    path = tmp_path_factory.getbasetemp() / "scored.trec"
    write_run(Run.of(run), path)
    assert evaluate(read_run(path), qrels, NAMES).per_query == evaluate(Run.of(run), qrels, NAMES).per_query
    with path.open() as file:
        expected = trec_eval(pytrec_eval.parse_run(file), qrels)
    for query, values in evaluate(Run.of(run), qrels, ["nDCG@10"]).per_query["nDCG@10"].items():
        assert values == pytest.approx(expected[query]["ndcg_cut_10"] if query in expected else 0.0, abs=1e-9)


def plain_ndcg(grades, ranking):
    def gain(values):
        return sum(max(value, 0) / math.log2(rank + 2) for rank, value in enumerate(values[:10]))

    best = gain(sorted(grades.values(), reverse=True))
    return gain([grades.get(id, 0) for id in ranking]) / best if best else 0.0


def plain_rr(grades, ranking):
    return next((1 / rank for rank, id in enumerate(ranking[:3], 1) if grades.get(id, 0) > 0), 0.0)


def plain_judged(grades, ranking):
    return float(np.mean([id in grades for id in ranking[:3]]))


@given(RUNS, QRELS)
def test_measures_of_ones_own_and_plain_definitions_agree_with_the_named(run, qrels):
    if not overlap(run, qrels):
        return
    given = Run.of(run)
    report = evaluate(given, qrels, [plain_ndcg, "nDCG@10", plain_rr, "RR@3", plain_judged, "Judged@3"])
    assert list(report.means) == ["plain_ndcg", "nDCG@10", "plain_rr", "RR@3", "plain_judged", "Judged@3"]
    for own, named in (("plain_ndcg", "nDCG@10"), ("plain_rr", "RR@3"), ("plain_judged", "Judged@3")):
        for query, value in report.per_query[own].items():
            assert value == pytest.approx(report.per_query[named][query], abs=1e-9)


@pytest.mark.engines
def test_ranx_agrees_on_runs_with_ties_and_gaps():
    import ranx

    rng = np.random.default_rng(3)
    run = {f"q{q}": {f"d{d}": float(rng.integers(4)) for d in rng.choice(60, 30, replace=False)} for q in range(25)}
    qrels = {f"q{q}": {f"d{d}": int(rng.integers(1, 4)) for d in rng.choice(60, 9, replace=False)} for q in range(20)}
    ours = evaluate(Run.of(run), qrels, ["nDCG@10", "AP"])
    strict = {query: ranking for query, ranking in Run.of(run).to_dict().items() if query in qrels}
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(strict), ["ndcg@10", "map"])
    assert list(ours.means.values()) == pytest.approx(list(theirs.values()), abs=1e-9)


# --- what the run lacks, and what nobody judged


def test_missing_queries_count_zero_and_are_told():
    run = Run.of({"a": ["x", "y"], "empty": [], "extra": ["x"]}, name="mine")
    qrels = {"a": {"x": 1}, "b": {"y": 1}, "empty": {"z": 2}, "none": {"x": 0}, "unassessed": {}}
    report = evaluate(run, qrels, ["nDCG@10", "P@1"])
    assert report["nDCG@10"] == 0.25 and report.means_ranked["nDCG@10"] == 1
    assert report.missing == ("b", "empty", "none") and report.unjudged == ("extra",)
    assert report.queries == ("a", "b", "empty", "none") and report.without_relevant == ("none",)
    assert report.per_query["P@1"] == {"a": 1, "b": 0, "empty": 0, "none": 0}
    assert report.judged_share == 0.5 and report.entries == 2 and report.ties == 0


def test_a_run_without_any_query_scores_zero():
    report = evaluate(Run.of({}), {"a": {"x": 1}}, ["nDCG@10", "AP", plain_ndcg, "Judged@10"])
    assert set(report.means.values()) == {0.0} and report.missing == ("a",) and report.means_ranked["AP"] == 0


def test_queries_whose_grades_are_all_negative_do_no_harm():
    """trec_eval's C code hangs on such queries, or gives the others wrong values; the mean must not depend on them."""
    rng = np.random.default_rng(8)
    for _ in range(300):
        run = {query: {str(id): float(rng.normal()) for id in rng.choice(30, 12, replace=False)} for query in "abcdef"}
        qrels = {
            query: {str(id): int(rng.integers(-2, 3)) for id in rng.choice(30, 9, replace=False)} for query in "abc"
        }
        spoiled = {"d": {"1": -1}, **qrels, "e": {"2": -2, "3": -1}}
        report = evaluate(Run.of(run), spoiled, ["nDCG@10", "AP", "RR@3", "P@5", plain_ndcg])
        assert report.per_query["nDCG@10"] == pytest.approx(report.per_query["plain_ndcg"], abs=1e-9)
        assert all(values["d"] == values["e"] == 0 for values in report.per_query.values())
        assert {"d", "e"} <= set(report.without_relevant)


def test_ties_are_counted():
    assert evaluate(Run.of({"a": dict.fromkeys("xyz", 1.0), "b": dict.fromkeys("xy", 1.0)}), {"a": {"x": 1}}).ties == 2


def test_a_single_measure_may_stand_alone():
    run = Run.of({"a": ["x"]})
    assert evaluate(run, {"a": {"x": 1}}, "RR").means == {"RR": 1} == evaluate(run, {"a": {"x": 1}}, ["MRR"]).means
    assert evaluate(run, {"a": {"x": 1}}, plain_rr).means == {"plain_rr": 1}


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        ("nDGC@10", "no measure is written 'nDGC@10': did you mean nDCG@10?"),
        ("nDCG(rel=2)@10", "nDCG takes a cut-off as in nDCG@10, and the parameters dcg, gains, judged_only"),
        (
            "alpha_nDCG@10",
            "alpha_nDCG@10 asks which aspects of a query a document covers, and the judgements do not say",
        ),
        ("nERR_IA@10", "the measure 'nERR_IA@10' is not computed here"),
        ("nDCG(gains={1:'x'})@5", "nDCG takes a cut-off"),
        ("nDCG@" + "9" * 5000, "nDCG takes a cut-off"),
        ("P" + "(" * 5000, "no measure is written"),
        ("RBP(p=1.5)", "the measure 'RBP(p=1.5)' has no such p"),
        ("nDCG@ten", "no measure is written 'nDCG@ten': nDCG takes a cut-off as in nDCG@10"),
        ("P", "no measure is written 'P': P takes a cut-off as in P@10"),
        ("P(foo=1)@5", "no measure is written 'P(foo=1)@5'"),
        ("quality", "no measure is written 'quality': try nDCG@10"),
        ("__import__('os').getcwd()", "no measure is written"),
        ("nDCG@0", "the measure 'nDCG@0' looks at no document"),
    ],
)
def test_measures_that_cannot_be_computed(measure, text):
    with pytest.raises(BadInput) as caught:
        evaluate(Run.of({"a": ["x"]}), {"a": {"x": 1}}, [measure])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        *[(one, "nDCG@10") for one in ("ndcg@10", "NDCG@10", "ndcg_cut_10", "ndcg_cut.10", "nDCG @ 10", "Ndcg_10")],
        *[
            ("map", "AP"),
            ("MAP@100", "AP@100"),
            ("map_cut_100", "AP@100"),
            ("recall@100", "R@100"),
            ("recall_5", "R@5"),
        ],
        *[
            ("P_5", "P@5"),
            ("precision@5", "P@5"),
            ("p(REL=2)@5".replace("REL", "rel"), "P(rel=2)@5"),
            ("mrr@10", "RR@10"),
        ],
        *[("recip_rank", "RR"), ("hits@3", "Success@3"), ("success_1", "Success@1"), ("R-Precision", "Rprec")],
        *[("num_rel_ret", "NumRet(rel=1)"), ("set_recall", "SetR"), ("iprec_at_recall_0.10", "IPrec@0.1")],
    ],
)
def test_other_spellings(written, name):
    report = evaluate(Run.of({"a": ["x"]}), {"a": {"x": 2}}, [written])
    assert list(report.means) == [name] and report[written] == report[name]


@pytest.mark.parametrize(
    ("run", "qrels", "told"),
    [
        ([Run.of({"a": ["x"]})] * 2, {"a": {"x": 1}}, "evaluate: the run is a list: hand in one Run"),
        ("run.trec", {"a": {"x": 1}}, "evaluate: the run is a str: hand in one Run, such as read_run"),
        (Qrels({"a": {"x": 1}}), {"a": {"x": 1}}, "evaluate: the run is a Qrels"),
        (None, {"a": {"x": 1}}, "evaluate: the run is None"),
        (Run.of({"a": ["x"]}), "qrels.txt", "evaluate: what judges is a str: hand in {query: "),
        (Run.of({"a": ["x"]}), None, "what judges is None"),
        (Run.of({"a": ["x"]}), [("a", "x", 1)], "what judges is a list"),
    ],
)
def test_what_is_no_run_and_no_judgements_is_refused_at_the_door(run, qrels, told):
    with pytest.raises(BadInput, match=told):
        evaluate(run, qrels, "RR")
    with pytest.raises(BadInput, match="a measure is a name such as nDCG@10"):
        evaluate(Run.of({"a": ["x"]}), {"a": {"x": 1}}, [7])


def test_compare_takes_reports():
    one = Run.of({"a": ["x"]})
    with pytest.raises(BadInput, match=r"compare: reports\[0\] is a Run: compare takes a list of reports"):
        compare([one, one])
    with pytest.raises(BadInput, match=r"what is compared is a Report: compare takes a list"):
        compare(evaluate(one, {"a": {"x": 1}}), evaluate(one, {"a": {"x": 1}}))


def test_input_that_cannot_be_meant():
    with pytest.raises(BadInput, match="no measure is given"):
        evaluate(Run.of({"a": ["x"]}), {"a": {"x": 1}}, [])
    with pytest.raises(BadInput, match="the qrels are empty"):
        evaluate(Run.of({"a": ["x"]}), {"a": {}})
    with pytest.raises(
        BadInput, match="run 'mine': none of its 2 queries is judged: it has 'q1', the judgements have '1'"
    ):
        evaluate(Run.of({"q1": ["x"], "q2": ["x"]}, name="mine"), {"1": {"x": 1}})


# --- published runs


@pytest.mark.parametrize(("year", "expected"), [("19", 0.5058), ("20", 0.4796)])
def test_bm25_on_trec_dl(shared_data, year, expected):
    folder = shared_data / "trec_dl"
    hits = [hit for topic in json.loads((folder / f"dl{year}.bm25.top100.json").read_text()) for hit in topic["hits"]]
    run: dict[str, dict[str, float]] = {}
    for hit in hits:
        run.setdefault(str(hit["qid"]), {})[str(hit["docid"])] = hit["score"]
    assert evaluate(Run.of(run), read_qrels(folder / f"qrels.dl{year}.txt"))["nDCG@10"] == pytest.approx(
        expected, abs=5e-5
    )


@pytest.mark.parametrize(
    ("file", "year", "expected"),
    [
        ("rankvicuna-7b", "19", 0.6665),
        ("rankvicuna-7b", "20", 0.6648),
        ("rankgpt-gpt3.5", "19", 0.6799),
        ("rankgpt-gpt3.5", "20", 0.6385),
    ],
)
def test_published_rerankers_on_trec_dl_score_as_trec_eval_scores_their_files(shared_data, file, year, expected):
    folder = shared_data / "trec_dl"
    ours = evaluate(read_run(folder / f"{file}.dl{year}.trec"), read_qrels(folder / f"qrels.dl{year}.txt"), ["nDCG@10"])
    with (folder / f"{file}.dl{year}.trec").open() as run, (folder / f"qrels.dl{year}.txt").open() as qrels:
        theirs = trec_eval(pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels))
    assert ours.per_query["nDCG@10"] == pytest.approx(
        {query: value["ndcg_cut_10"] for query, value in theirs.items()}, abs=1e-9
    )
    assert ours["nDCG@10"] == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("folder", "ending", "trec_eval_mean", "published"),
    [("xrr2_expand_bm25", "json", 27.07, 27.06), ("reasonir_gpt4cot", "trec", 30.59, 30.53)],
)
def test_published_runs_on_bright(shared_data, folder, ending, trec_eval_mean, published):
    """The published figures put equal scores in the order of rising ids; trec_eval puts them in that of falling ids."""
    rising, falling = [], []
    for path in sorted((shared_data / "bright" / "runs" / folder).glob(f"*.{ending}")):
        run = read_run(path)
        qrels = read_qrels(shared_data / "bright" / "qrels" / f"{path.stem}.txt")  # a space in an id is `_` there
        names = {query: [id.replace(" ", "_") for id in ranking.ids] for query, ranking in run.items()}
        falling.append(evaluate(Run.of({q: Ranking(names[q], run[q].scores) for q in run}), qrels)["nDCG@10"])
        order = {query: np.lexsort((np.array(names[query]), -ranking.scores)) for query, ranking in run.items()}
        turned = {query: [names[query][at] for at in order[query].tolist()] for query in run}
        rising.append(evaluate(Run.of(turned), qrels)["nDCG@10"])
    assert len(rising) == 12
    assert 100 * np.mean(falling) == pytest.approx(trec_eval_mean, abs=0.005)
    assert 100 * np.mean(rising) == pytest.approx(published, abs=0.005)


def test_published_bright_runs_keep_to_the_exclusions(shared_data):
    with gzip.open(shared_data / "bright/examples/leetcode.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    queries = [
        Query(str(row["id"]), row["query"], frozenset(ast.literal_eval(str(row["excluded_ids"])))) for row in rows
    ]
    run = read_run(shared_data / "bright/runs/reasonir_gpt4cot/leetcode.trec")
    assert sum(len(query.excluded) for query in queries) > 30_000 and run.without(queries) == run
