"""The command line as a user meets it: the verbs on the toy collection, wrong arguments, resumption."""

import json
import sys
import warnings
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from whyrank import Fusion, Qrels, load, make, read_run, write_qrels, write_run
from whyrank.cli.output import tell_trained
from whyrank.data_synth.folder import from_queries
from whyrank.errors import NotFound
from whyrank.experiment import open_run
from whyrank.io import write_tasks
from whyrank.llm.answer import Failed

ANSWER = "<think>the second is better</think><answer>[2] > [1]</answer>"


@pytest.fixture
def searched(run):
    assert run("search", "bm25()", "--data", "toy", "-k", 30, "-o", "runs/bm25")[0] == 0
    return "runs/bm25"


def test_search_writes_a_run_folder(run, searched, tmp_path):
    folder = tmp_path / searched
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["finished"] and manifest["task"]["spec"] == "bm25()"
    assert manifest["task"]["part"]["k1"] == 0.9
    found = read_run(folder / "run.trec")
    assert set(found) == {query.id for query in load("toy").queries}
    assert max(len(found[query].ids) for query in found) <= 30


def test_what_libraries_tell_their_own_users_is_kept_off_the_terminal(run, monkeypatch):
    told = ("gradient_checkpointing will change", FutureWarning), ("TRL currently supports vLLM 0.1", UserWarning)

    def load(name, split=None):
        for text, kind in (*told, ("yours", UserWarning)):
            warnings.warn(text, kind, stacklevel=2)
        raise NotFound("no data")

    monkeypatch.setattr("whyrank.datasets.load", load)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert run("search", "bm25()", "--data", "x", "-o", "y")[0] == 1
    assert [str(one.message) for one in seen] == ["yours"]
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run("search", "bm25()", "--data", "x", "-o", "y")
    assert [str(one.message) for one in seen] == [*(text for text, _ in told), "yours"]


def test_eval_prints_one_json_object(run, searched):
    code, out, _ = run(
        "eval", searched, f"{searched}/run.trec", "--data", "toy", "-m", "nDCG@10", "-m", "R@10", "--json"
    )
    means = json.loads(out)
    assert code == 0
    assert set(means) == {"bm25", "run"}
    assert set(means["bm25"]) == {"nDCG@10", "R@10", "coverage"}
    assert means["bm25"]["coverage"]["queries"] == 15 and means["bm25"]["coverage"]["missing"] == []
    assert means["bm25"] == means["run"]


def test_eval_by_slices_of_the_queries(run, tmp_path):
    data = load("world/lists")
    write_run(data.candidates, tmp_path / "lists.trec")
    code, out, _ = run("eval", "lists.trec", "--data", "world/lists", "--by", "hops", "-m", "nDCG@10", "--json")
    means = json.loads(out)
    assert code == 0
    assert list(means) == ["lists", "lists, hops 1", "lists, hops 2", "lists, hops 3"]
    code, _, err = run("eval", "lists.trec", "--data", "world/lists", "--by", "length")
    assert code == 1 and "has no slices 'length'; it has hops, traps" in err


def test_runs_of_one_name_are_told_apart_by_their_paths(run, searched):
    code, out, _ = run("eval", searched, searched, f"{searched}/run.trec", "--data", "toy", "--json")
    assert code == 0
    assert set(json.loads(out)) == {searched, "run"}


def test_rerank_traces_and_resumes(run, searched, tmp_path):
    command = ("rerank", searched, f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", 10, "-o", "runs/lw")
    code, out, _ = run(*command)
    assert code == 0
    folder = tmp_path / "runs/lw"
    calls = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert len(calls) >= len(load("toy").queries)
    assert "repaired" in out
    before = (folder / "run.trec").read_bytes()
    assert run(*command)[0] == 0
    assert (folder / "run.trec").read_bytes() == before
    assert len((folder / "trace.jsonl").read_text().splitlines()) == len(calls)


def test_unfinished_run_goes_on(run, searched, tmp_path):
    command = ("rerank", searched, f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", 10, "-o", "runs/lw")
    run(*command)
    folder = tmp_path / "runs/lw"
    before = (folder / "run.trec").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"finished": False}))
    (folder / "run.trec").unlink()
    trace = (folder / "trace.jsonl").read_bytes()
    (folder / "trace.jsonl").write_bytes(trace[: len(trace) // 2])
    assert run(*command)[0] == 0
    assert (folder / "run.trec").read_bytes() == before


def test_a_folder_of_another_run_is_refused(run, searched, tmp_path):
    before = (tmp_path / searched / "run.trec").read_bytes()
    code, _, err = run("search", "bm25(k1=1.2)", "--data", "toy", "-o", searched)
    assert code == 1
    assert "holds another run" in err and "bm25(k1=1.2)" in err
    assert (tmp_path / searched / "run.trec").read_bytes() == before


def test_a_folder_of_something_else_is_refused(run, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("…")
    code, _, err = run("search", "bm25()", "--data", "toy", "-o", "letters")
    assert code == 1 and "is not empty" in err


def test_limits_stop_and_the_same_command_goes_on(run, searched, tmp_path):
    command = ("rerank", searched, f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", 10, "-o", "runs/lw")
    code, _, err = run(*command, "--max-tokens", 1)
    assert code == 3 and "stopped" in err
    assert not (tmp_path / "runs/lw/run.trec").exists()
    assert run("eval", "runs/lw", "--data", "toy")[0] == 1
    assert run(*command)[0] == 0
    assert (tmp_path / "runs/lw/run.trec").is_file()


def test_a_rerank_in_which_every_call_failed_is_an_error(run, searched, tmp_path, monkeypatch):
    async def refuse(self, prompts):
        return [Failed("refusal", "I would rather not") for _ in prompts]

    command = ("rerank", searched, "listwise(fake('[1]'))", "--data", "toy", "--depth", 10, "-o", "runs/lw")
    with monkeypatch.context() as patched:
        patched.setattr("whyrank.llm.fake.Fake._generate", refuse)
        code, _, err = run(*command)
    assert code == 1 and "every one of 15 model calls failed (refusal 15)" in err
    assert not (tmp_path / "runs/lw/run.trec").exists()
    assert run(*command)[0] == 0


def test_work_that_came_to_nothing_says_so(run, tmp_path, capsys):
    write_tasks(from_queries(load("toy"), 2), tmp_path / "tasks.jsonl")
    code, out, err = run("synth", "teacher_rankings(fake('nonsense'))", "--from", "tasks.jsonl", "-o", "s")
    assert code == 0 and "0 made of 2 tasks" in out
    assert "warning: nothing was made of 2 tasks: s/dropped.jsonl says why" in err
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "corpus.jsonl").write_text('{"_id": "d1", "text": "pasta"}\n')
    (mine / "queries.jsonl").write_text('{"_id": "q1", "text": "pasta"}\n{"_id": "q2", "text": "xylophone"}\n')
    assert "nothing was found for 1 of the queries" in run("search", "bm25()", "--data", "mine", "-o", "b")[1]
    trained = SimpleNamespace(
        model=tmp_path,
        report={"steps": 2, "seconds": 1, "sources": {}, "held_out": {}, "groups": 2, "dropped_groups": 2},
    )
    tell_trained(trained, False)
    assert "groups: 2, of which 2 taught nothing" in capsys.readouterr().out


def test_an_index_is_saved_and_used(run, tmp_path):
    assert run("index", "bm25()", "--data", "toy", "-o", "idx")[0] == 0
    assert run("search", "bm25(path='idx')", "--data", "toy", "-o", "a")[0] == 0
    assert run("search", "bm25()", "--data", "toy", "-o", "b")[0] == 0
    assert dict_of(tmp_path / "a") == dict_of(tmp_path / "b")


def test_an_index_of_another_collection_is_refused(run, tmp_path):
    other = tmp_path / "other"
    (other / "qrels").mkdir(parents=True)
    (other / "corpus.jsonl").write_text('{"_id": "x1", "text": "pasta in the mountains"}\n')
    (other / "queries.jsonl").write_text('{"_id": "q1", "text": "pasta"}\n')
    (other / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tx1\t1\n")
    assert run("index", "bm25()", "--data", other, "-o", "idx")[0] == 0
    code, _, err = run("search", "bm25(path='idx')", "--data", "toy", "-o", "a")
    assert code == 1 and "idx is of another collection: it has the document 'x1'" in err
    code, _, err = run("index", "bm25()", "--data", "toy", "-o", "idx")
    assert code == 1 and "idx" in err


@pytest.fixture
def split(run, tmp_path):
    """The toy collection with its judgements in dev and test, and two runs over all of its queries."""
    toy, folder = load("toy"), tmp_path / "split"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": document.id, "text": document.text} for document in toy.corpus]
    queries = [
        {"_id": query.id, "text": query.text, "excluded_ids": sorted(toy.qrels[query.id])[:1]} for query in toy.queries
    ]
    for name, rows in {"corpus": corpus, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, part in {"dev": toy.queries[::2], "test": toy.queries[1::2]}.items():
        write_qrels(Qrels({query.id: toy.qrels[query.id] for query in part}), folder / "qrels" / f"{name}.tsv")
    for spec in ("bm25", "bm25q"):
        assert run("search", f"{spec}()", "--data", "toy", "-k", 30, "-o", f"runs/{spec}")[0] == 0
    return folder


def test_fuse_writes_a_run_folder_and_resumes(run, split, tmp_path):
    command = (
        "fuse",
        "runs/bm25",
        "runs/bm25q",
        "--method",
        "combsum",
        "--weights",
        "0.25,1",
        "-k",
        20,
        "-o",
        "runs/both",
    )
    code, out, _ = run(*command)
    assert code == 0 and "runs/both: 15 queries" in out
    manifest = json.loads((tmp_path / "runs/both/manifest.json").read_text())
    assert manifest["finished"]
    assert manifest["task"]["spec"] == "fusion(method='combsum', weights=(0.25, 1.0))"
    assert [given["run"] for given in manifest["task"]["inputs"]] == ["runs/bm25", "runs/bm25q"]
    fused = Fusion(method="combsum", weights=(0.25, 1)).of([open_run("runs/bm25"), open_run("runs/bm25q")]).top(20)
    before = (tmp_path / "runs/both/run.trec").read_bytes()
    assert {query: list(ids) for query, (ids, _) in read_run("runs/both/run.trec").items()} == {
        query: list(ids) for query, (ids, _) in fused.items()
    }
    assert run(*command)[0] == 0 and (tmp_path / "runs/both/run.trec").read_bytes() == before
    code, _, err = run(*command[:-4], "-k", 10, "-o", "runs/both")
    assert code == 1 and "holds another run (k: 20 there, 10 here)" in err
    (tmp_path / "runs/bm25/run.trec").write_text("q01 Q0 d1 1 1.0 changed\n")
    code, _, err = run(*command)
    assert code == 1 and "holds another run (inputs" in err


def test_weights_are_tuned_on_dev_and_serve_elsewhere(run, split, tmp_path):
    tuned = (
        "fuse",
        "runs/bm25",
        "runs/bm25q",
        "--method",
        "combsum",
        "--tune",
        "dev",
        "--data",
        split,
        "-o",
        "runs/tuned",
    )
    code, out, _ = run(*tuned)
    assert code == 0 and "nDCG@10 on 8 queries" in out
    task = json.loads((tmp_path / "runs/tuned/manifest.json").read_text())["task"]
    report = json.loads((tmp_path / "runs/tuned/report.json").read_text())
    assert task["tuned"]["split"] == "dev" and task["tuned"]["queries"] == 8
    assert report["tuned"]["value"] >= report["tuned"]["equal_weights"]
    assert sum(make(report["spec"], Fusion).weights) == pytest.approx(1)
    assert run(*tuned)[0] == 0
    assert run("fuse", "runs/bm25", "runs/bm25q", "--like", "runs/tuned", "--data", split, "-o", "runs/like")[0] == 0
    like = json.loads((tmp_path / "runs/like/manifest.json").read_text())["task"]
    assert like["spec"] == report["spec"] and "tuned" not in like
    warned, silent = (run("eval", "runs/tuned", "--data", split, "--split", part)[2] for part in ("dev", "test"))
    assert "runs/tuned: its weights were tuned on these judgements" in warned and not silent
    dev, test = load(split, split="dev"), load(split, split="test")
    fused = {name: read_run(tmp_path / f"runs/{name}/run.trec") for name in ("tuned", "like")}
    assert len(fused["tuned"]) == len(dev.qrels) + len(test.qrels)
    for query in test.queries:  # queries are excluded in both, since --data names them
        assert fused["tuned"][query.id].ids == fused["like"][query.id].ids
        assert not query.excluded & set(fused["like"][query.id].ids)


def test_test_judgements_do_not_touch_the_weights(run, split, tmp_path):
    command = ("fuse", "runs/bm25", "runs/bm25q", "--tune", "dev", "--data", split)
    assert run(*command, "-o", "runs/a")[0] == 0
    write_qrels(Qrels({query: {"nothing": 1} for query in load(split).qrels}), split / "qrels" / "test.tsv")
    assert run(*command, "-o", "runs/b")[0] == 0
    specs = [json.loads((tmp_path / f"runs/{name}/report.json").read_text())["tuned"] for name in "ab"]
    assert specs[0] == specs[1]


def test_tuning_on_what_is_evaluated_is_refused(run, split):
    command = ("fuse", "runs/bm25", "runs/bm25q", "--data", split, "-o", "x", "--tune")
    assert "take dev or train" in run(*command, "test")[2]
    assert "no split 'train'" in run(*command, "train")[2]
    dev = split / "qrels" / "dev.tsv"
    dev.write_text(dev.read_text() + (split / "qrels" / "test.tsv").read_text().split("\n", 1)[1])
    assert "7 queries are judged both in 'dev' and in 'test'" in run(*command, "dev")[2]


def dict_of(folder):
    return read_run(folder / "run.trec").to_dict()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("search", "bm52()", "--data", "toy", "-o", "x"), "did you mean 'bm25'"),
        (("search", "listwise(fake('a'))", "--data", "toy", "-o", "x"), "a Retriever is wanted here"),
        (("search", "bm25(k=3)", "--data", "toy", "-o", "x"), "takes no 'k'"),
        (("search", "bm25()", "--data", "toys", "-o", "x"), "toy"),
        (("rerank", "nowhere", "encoder_rerank('minilm')", "--data", "toy", "-o", "x"), "no run at nowhere"),
        (("eval", "nowhere", "--data", "toy"), "no run at nowhere"),
        (("eval", "nowhere"), "--data or by --qrels"),
        (("fuse", "nowhere", "-o", "x"), "two runs or more, not of 1"),
        (("fuse", "a", "b", "--weights", "1,x", "-o", "x"), "--weights wants numbers"),
        (("fuse", "a", "b", "--method", "best", "-o", "x"), "method must be 'rrf', 'combsum' or 'combmnz', not 'best'"),
        (("fuse", "a", "b", "--tune", "dev", "-o", "x"), "--data"),
        (("fuse", "a", "b", "--like", "c", "--norm", "zscore", "-o", "x"), "--like brings"),
        (("fuse", "a", "b", "--like", "c", "-o", "x"), "no run folder at c"),
        (("fuse", "a", "b", "-o", "x"), "no run at a"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(run, tmp_path, arguments, told):
    code, out, err = run(*arguments)
    assert code == 1
    assert told in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "x" / "run.trec").exists()


THOUGHT = "<think>[2] names the law. [1] only shares words.</think><answer>[2] > [1]</answer>"


@pytest.fixture
def reranked(run, searched):
    spec = f"listwise(fake({THOUGHT!r}))"
    assert run("rerank", searched, spec, "--data", "toy", "--depth", 10, "-o", "runs/lw")[0] == 0
    return "runs/lw"


def test_explain_shows_reasons(run, reranked):
    code, out, _ = run("explain", reranked, "--query", "q03", "--top", 2)
    ids = read_run(f"{reranked}/run.trec")["q03"].ids
    assert code == 0 and out.startswith("q03  After the city capped rents")
    assert out.index(f"{ids[0]}  ") < out.index("why: [2] names the law.") < out.index(f"{ids[1]}  ")
    assert "call 1: repaired 1" in out and "\x1b" not in out and max(map(len, out.splitlines())) <= 100
    assert (
        "call 1\n  [2] names the law. [1] only shares words." in run("explain", reranked, "-q", "q03", "--thoughts")[1]
    )


def test_explain_in_json(run, reranked):
    told = json.loads(run("explain", reranked, "--query", "q03", "--json")[1])
    assert len(told["documents"]) == 10 and told["query"]["id"] == "q03"
    assert [document["reason"] for document in told["documents"][:2]] == [
        "[2] names the law.",
        "[1] only shares words.",
    ]
    assert told["documents"][0]["calls"] == [0] and told["calls"][0]["seconds"] >= 0


def test_explain_in_colour_on_a_terminal(run, reranked, monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    code, out, _ = run("explain", reranked, "--query", "q03", "--top", 1)
    assert code == 0 and "names the law" in out and "\x1b[" in out


def test_what_cannot_be_explained_is_told(run, searched, reranked):
    assert "runs/lw has 15 queries: name one by --query, such as q01, " in run("explain", reranked)[2]
    assert "has no query 'q99'" in run("explain", reranked, "--query", "q99")[2]
    assert "no run at nowhere" in run("explain", "nowhere")[2]


def test_candidates_need_no_data(run, searched, tmp_path):
    assert "15 queries" in run("export", searched, "-k", 20, "-o", "requests.jsonl")[1]
    spec = f"listwise(fake({THOUGHT!r}))"
    assert run("rerank", "requests.jsonl", spec, "-o", "runs/a")[0] == 0
    assert run("rerank", searched, spec, "--data", "toy", "--depth", 20, "-o", "runs/b")[0] == 0
    other = read_run(tmp_path / "runs/b/run.trec").top(20)
    assert {query: ranking.ids for query, ranking in read_run(tmp_path / "runs/a/run.trec").items()} == {
        query: ranking.ids for query, ranking in other.items()
    }
    assert "After the city capped rents" in run("explain", "runs/a", "--query", "q03")[1]
    assert run("export", "runs/a", "-o", "results.json")[0] == 0
    means = json.loads(run("eval", "runs/a", "results.json", "--data", "toy", "--json")[1])
    assert means["a"] == means["results"]
    code, _, err = run("rerank", f"{searched}/run.trec", spec, "-o", "runs/c")
    assert code == 1 and "a run has no texts: give its data set by --data" in err


def test_version(run):
    assert run("--version")[:2] == (0, f"whyrank {version('whyrank')}\n")


def test_numbers_out_of_range_are_usage_errors(run):
    for option, value in {"-k": 0, "--max-tokens": -1, "--max-cost": -0.1}.items():
        code, _, err = run("search", "bm25()", "--data", "toy", option, value, "-o", "x")
        assert code == 2 and option in err
    for option in ("--seed", "--passage-tokens", "--query-tokens", "--thought-tokens", "--short-thought-tokens"):
        code, _, err = run("simulate", "listwise(fake())", option, -1)
        assert code == 2 and option in err


def test_doctor_tells_what_is_missing(run, monkeypatch):
    monkeypatch.setattr("whyrank.doctor.find_spec", lambda module: None)
    code, out, _ = run("doctor")
    assert code == 0
    assert "pip install 'whyrank[vllm]'" in out
    assert json.loads(run("doctor", "--json")[1])[0]["name"] == "Python"


@pytest.mark.engines
def test_the_demo_is_the_main_job(run, tmp_path):
    code, out, _ = run("demo", "--questions", 8)
    assert code == 0
    assert all(name in out for name in ("bm25", "rewritten", "direct", "reasoned", "nDCG@10", "95% interval"))
    means = json.loads(run("eval", "runs/demo-8/bm25", "runs/demo-8/reasoned", "--data", "world/composed", "--json")[1])
    assert means["bm25"]["nDCG@10"] < 0.01
    notes = [json.loads(line) for line in (tmp_path / "runs/demo-8/reasoned/notes.jsonl").read_text().splitlines()]
    assert "yes" in notes[0]["calls"][0]["reason"]
    assert "yes" in out  # one ranking is explained with its reasons
    assert run("demo", "--questions", 8)[1] == out  # nothing is done twice


def test_simulate_prints_what_a_strategy_costs_and_finds(run, tmp_path):
    code, out, _ = run(
        "simulate", "listwise(fake())", "merge_tree(fake())", "--queries", 5, "--noise", "noisy(sigma=0.0)"
    )
    lines = out.splitlines()
    assert code == 0 and lines[2].split() == ["listwise(fake())", "9", "9", "180", "54k", "7119", "1.000", "±0.000"]
    assert lines[4].startswith("(first stage)") and "mean of 5 queries" in lines[-1]
    given = ["--queries", 5, "--candidates", 30, "--passage-tokens", 1, "--query-tokens", 0, "--json"]
    code, out, _ = run("simulate", "pointwise(fake())", *given, "--plot", "plots/one.svg")
    (found,) = json.loads(out)
    assert code == 0 and found["calls"] == {"mean": 30.0, "max": 30.0} and found["noise"] == "noisy()"
    assert "<svg" in (tmp_path / "plots/one.svg").read_text()


def test_simulate_takes_real_judgements(run, searched):
    code, out, _ = run("simulate", "listwise(fake())", "--data", "toy", "--run", searched, "--depth", 30, "--json")
    (found,) = json.loads(out)
    assert code == 0 and found["queries"] == len(load("toy").queries) and found["calls"]["mean"] == 2
    assert found["first_stage"] == pytest.approx(0.2228, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bm25()"], "a Reranker is wanted"),
        (["listwise(fake())", "--noise", "fake()"], "a Noisy is wanted"),
        (["listwise(fake())", "--run", "x"], "say by --data who judged them"),
        (["listwise(fake())", "--data", "toy"], "toy publishes no candidates: give a first stage by --run"),
        (["listwise(fake())", "--queries", "0"], "at least 1 query"),
        (["listwise(fake())", "--queries", "2", "--plot", "x.gif"], "a plot is an .svg, .png or .pdf file"),
    ],
)
def test_simulate_says_what_is_wrong(run, arguments, message):
    code, _, err = run("simulate", *arguments)
    assert code == 1 and message in err


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (("search", "bm25(path='file/x')", "--data", "toy"), ("search", "bm25()", "--data", "toy")),
        (
            ("rerank", "runs/bm25", "listwise(openai('x'))", "--data", "toy"),
            ("rerank", "runs/bm25", f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", 10),
        ),
        (("fuse", "runs/bm25", "runs/bm25", "--weights", "1,1,1"), ("fuse", "runs/bm25", "runs/bm25")),
        (
            ("synth", "hard_negatives(bm25())", "--from", "tasks.jsonl"),
            ("synth", "hard_negatives(bm25())", "--from", "tasks.jsonl", "--data", "toy"),
        ),
    ],
)
def test_a_command_that_failed_at_once_leaves_its_folder_to_the_next(
    run, searched, tmp_path, monkeypatch, wrong, right
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "file").write_text("")
    write_tasks(from_queries(load("toy"), 2), tmp_path / "tasks.jsonl")
    code, _, err = run(*wrong, "-o", "runs/v1")
    assert code == 1 and "error: " in err
    code, _, err = run(*right, "-o", "runs/v1")
    assert code == 0, err


def test_a_folder_with_an_answered_call_is_not_left_to_another_run(run, searched):
    command = ("rerank", searched, f"listwise(fake({ANSWER!r}))", "--data", "toy", "-o", "runs/lw", "--depth")
    assert run(*command, 10, "--max-tokens", 1)[0] == 3
    assert "holds another run (depth: 10 there, 20 here)" in run(*command, 20)[2]


@pytest.mark.parametrize(
    "command",
    [
        ("search", "bm25()", "--data", "toy", "-o"),
        ("index", "bm25()", "--data", "toy", "-o"),
        ("export", "runs/bm25", "--data", "toy", "-o"),
        ("train", "queries", "--data", "toy", "-o"),
        ("simulate", "listwise(fake())", "--queries", 2, "--plot"),
    ],
)
@pytest.mark.parametrize("place", ["prices.toml/x.svg", "/proc/x.svg"])
def test_a_place_that_cannot_be_written_is_told(run, searched, tmp_path, command, place):
    (tmp_path / "prices.toml").write_text("")
    place = place.replace("svg", "jsonl") if command[0] == "export" else place
    code, _, err = run(*command, place)
    assert code == 1 and err.count("\n") == 1
    assert err.startswith(f"error: cannot read or write {'prices.toml' if 'toml' in place else '/proc/'}")


@pytest.mark.parametrize(
    ("file", "damage", "command", "told"),
    [
        ("manifest.json", '{"task":', ("explain", "runs/lw", "-q", "q01"), "manifest.json:1"),
        ("manifest.json", '{\n"task: 3\n}', ("eval", "runs/lw", "--data", "toy"), "manifest.json:2"),
        (
            "manifest.json",
            "[]",
            ("rerank", "runs/bm25", "hybrid()", "--data", "toy", "-o", "runs/lw"),
            "manifest.json:1",
        ),
        ("notes.jsonl", '{"query": "q01"}\n{"que', ("explain", "runs/lw", "-q", "q01"), "notes.jsonl:2"),
        ("notes.jsonl", '{"first": {}}', ("explain", "runs/lw", "-q", "q01"), "a note names no query"),
    ],
)
def test_a_damaged_file_of_a_run_folder_is_named(run, reranked, tmp_path, file, damage, command, told):
    command = [f"listwise(fake({THOUGHT!r}))" if one == "hybrid()" else one for one in command]
    (tmp_path / reranked / file).write_text(damage)
    code, _, err = run(*command)
    assert (
        code == 1
        and told in err
        and "damaged" in err
        and "remove this file, and the same command makes it again" in err
    )
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [("search", "bm25()", "--data", "toy"), ("synth", "hard_negatives(bm25())")])
def test_a_file_is_no_folder_to_write(run, searched, tmp_path, command):
    write_tasks(from_queries(load("toy"), 2), tmp_path / "tasks.jsonl")
    more = ("--from", "tasks.jsonl", "--data", "toy") if command[0] == "synth" else ()
    assert "error: tasks.jsonl is a file, and a folder is wanted" in run(*command, *more, "-o", "tasks.jsonl")[2]


def test_a_comparison_is_in_the_json_too(run, searched, tmp_path):
    write_run(load("toy").candidates or open_run(searched).top(1), tmp_path / "first.trec")
    code, out, _ = run("eval", searched, "first.trec", "--data", "toy", "-m", "nDCG@10", "--compare", "--json")
    (contrast,) = json.loads(out)["comparison"]
    assert code == 0 and (contrast["run"], contrast["against"], contrast["measure"]) == ("first", "bm25", "nDCG@10")
    assert contrast["wins"] + contrast["ties"] + contrast["losses"] == 15
    assert contrast["low"] <= contrast["difference"] <= contrast["high"] and 0 < contrast["p"] <= contrast["p_holm"]
    code, out, err = run("eval", searched, "--data", "toy", "--compare")
    assert code == 1 and not out and "needs at least two, not 1" in err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("simulate", "listwise(fake())", "--data", "world/lists", "--queries", 5), "--queries has no effect here"),
        (("simulate", "listwise(fake())", "--data", "world/lists", "--first-stage", 0.5), "--first-stage has no"),
        (("simulate", "listwise(fake())", "--depth", 5), "--depth has no effect here: it is of --data"),
        (("fuse", "a", "b", "-m", "R@10", "-o", "x"), "-m has no effect here: it is what --tune maximises"),
        (("fuse", "a", "b", "--norm", "zscore", "-o", "x"), "--norm has no effect here: it is of scores"),
        (("fuse", "a", "b", "--method", "combsum", "--rrf-k", 3, "-o", "x"), "--rrf-k has no effect here"),
        (("fuse", "a", "b", "--split", "dev", "-o", "x"), "--split has no effect here: it is of --data"),
        (("rerank", "a.jsonl", "listwise(fake())", "--split", "dev", "-o", "x"), "--split has no effect here"),
        (("explain", "a", "--split", "dev"), "--split has no effect here"),
        (("eval", "a", "--qrels", "b", "--split", "dev"), "--split has no effect here"),
    ],
)
def test_options_without_effect_are_refused(run, command, told):
    code, out, err = run(*command)
    assert code == 1 and told in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("fuse", "runs/lw", "other.trec", "-o", "x"), "runs/lw, a run of 'toy': none of its 15 queries is in another"),
        (("fuse", "runs/lw", "runs/bm25", "--data", "world", "-o", "x"), "none of its 15 queries is in 'world'"),
        (("explain", "runs/lw", "-q", "q01", "--data", "world"), "runs/lw, a run of 'toy': "),
        (("explain", "runs/lw", "-q", "q99"), "runs/lw has no query 'q99'; its 15 queries begin with q01"),
        (
            ("eval", "runs/lw", "--data", "world"),
            "runs/lw, a run of 'toy': none of its 15 queries is judged in 'world'",
        ),
        (("eval", "runs/lw", "--data", "world"), "check --data and --split"),
    ],
)
def test_runs_of_other_data_are_refused(run, reranked, tmp_path, command, told):
    (tmp_path / "other.trec").write_text("x1 Q0 d1 1 1.0 other\n")
    code, out, err = run(*command)
    assert code == 1 and told in err and err.count("\n") == 1 and out == ""


def test_a_run_that_no_reranker_made_is_not_explained(run, searched):
    assert run("fuse", searched, searched, "-o", "runs/fused")[0] == 0
    for folder, verb in ((searched, "search"), ("runs/fused", "fuse")):
        code, out, err = run("explain", folder, "-q", "q01")
        assert (code, out) == (1, "") and f"{folder} was made by {verb}, which gives no reasons: rerank it" in err


def test_an_explanation_without_texts_says_so(run, searched, tmp_path):
    whole = load("toy")
    (tmp_path / "moved").mkdir()
    lines = [json.dumps({"_id": one.id, "text": one.content}) for one in whole.corpus]
    (tmp_path / "moved" / "corpus.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"_id": one.id, "text": one.text}) for one in whole.queries]
    (tmp_path / "moved" / "queries.jsonl").write_text("\n".join(lines))
    spec = f"listwise(fake({THOUGHT!r}))"
    assert run("rerank", searched, spec, "--data", "moved", "--depth", 5, "-o", "runs/m")[0] == 0
    assert run("explain", "runs/m", "-q", "q01")[2] == ""
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    code, out, err = run("explain", "runs/m", "-q", "q01")
    assert code == 0 and "names the law" in out and "runs/m, a run of 'moved': its texts are not at hand" in err
    code, out, err = run("explain", "runs/m", "-q", "q01", "--data", "elsewhere")
    assert code == 0 and whole.queries[0].text[:20] in out and err == ""
