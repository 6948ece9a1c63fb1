"""Synth folders: whole or nothing, resumed without asking twice, failures counted; and a pipeline on a real engine."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from teachers import LISTS, Scripted, noisy, teacher, truth

from whyrank import BM25, load, make, write_run
from whyrank.data_synth.compressed_traces import CompressedTraces
from whyrank.data_synth.draws import Draws
from whyrank.data_synth.folder import synthesise, tasks_of
from whyrank.data_synth.teacher_rankings import TeacherRankings
from whyrank.data_synth.trace_pairs import TracePairs
from whyrank.data_synth.world import Level, World
from whyrank.data_synth.world_lists import WorldLists
from whyrank.errors import BadInput, BudgetSpent, EngineError, NotFound
from whyrank.eval.orders import ndcg
from whyrank.io import read_tasks, write_tasks
from whyrank.llm.answer import Failed
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.formats import RankingFormat

TASKS = LISTS.draw("train", 20, seed=3)
BARE = [replace(task, order=(), thought="", source={}) for task in TASKS]


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_a_folder_tells_what_was_made_of_what_and_how(tmp_path):
    done = synthesise(TeacherRankings(teacher(noisy(truth(TASKS), 1.5)), min_ndcg=0.7), BARE, tmp_path / "s")
    made, report = list(read_tasks(done.file)), report_of(tmp_path / "s")
    assert report["read"] == 20 and report["made"] == len(made) > 0 and report["dropped"]["inconsistent"] > 0
    assert report["made"] + sum(report["dropped"].values()) == 20
    assert report["calls"] == {"exact": 20} and report["ledger"]["calls"] == 20
    trace = {json.loads(line)["key"] for line in (tmp_path / "s" / "trace.jsonl").read_text().splitlines()}
    assert {key for task in made for key in task.source["synth"][0]["calls"]} <= trace
    dropped = [json.loads(line) for line in (tmp_path / "s" / "dropped.jsonl").read_text().splitlines()]
    assert {one["query"] for one in dropped} == {one.query.id for one in BARE} - {one.query.id for one in made}
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["finished"] and manifest["task"]["part"]["min_ndcg"] == 0.7


def test_a_stopped_synthesis_goes_on_and_ends_as_an_unbroken_one(tmp_path):
    method = TeacherRankings(teacher(noisy(truth(TASKS), 1.0), concurrency=2), samples=3)
    synthesise(method, BARE, tmp_path / "whole")
    with pytest.raises(BudgetSpent):
        synthesise(method, BARE, tmp_path / "parts", max_tokens=3600)
    assert files(tmp_path / "parts") == {"manifest.json", "trace.jsonl"}
    with pytest.raises(NotFound, match="is it finished"):
        tasks_of(tmp_path / "parts", None, method)
    trace = tmp_path / "parts" / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-20])  # as if killed while it wrote
    kept = len(trace.read_bytes().splitlines()) - 1
    again = synthesise(method, BARE, tmp_path / "parts")
    for name in ("tasks.jsonl", "dropped.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert again.report["ledger"]["replayed"] == kept > 5
    with pytest.raises(BadInput, match="holds something else"):  # the folder of another teacher is refused
        synthesise(replace(method, llm=replace(method.llm, model="other")), BARE, tmp_path / "parts")
    third = synthesise(method, BARE, tmp_path / "parts")
    assert third.report == again.report


def test_a_teacher_that_fails_half_the_time_is_a_counted_outcome(tmp_path):
    known = teacher(truth(TASKS)).answer
    unwell = Scripted(lambda prompt: Failed("refusal", "no") if int(prompt.key("x"), 16) % 2 else known(prompt))
    done = synthesise(TeacherRankings(unwell), BARE, tmp_path / "s")
    made = list(read_tasks(done.file))
    assert 0 < len(made) < 20 and done.report["dropped"] == {"failed": 20 - len(made)}
    assert done.report["ledger"]["failures"] == {"refusal": 20 - len(made)}
    shaken = teacher(truth(TASKS), failures=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whyrank.llm.schedule.FIRST_WAIT", 0.001)
        done = synthesise(TeacherRankings(shaken), BARE, tmp_path / "t")
    assert done.report["made"] + done.report["dropped"].get("failed", 0) == 20
    assert done.report["ledger"]["retries"] > 5


def test_a_teacher_that_never_answers_is_an_error_and_the_folder_stays_open(tmp_path):
    mute = Scripted(lambda prompt: Failed("refusal", "no"))
    with pytest.raises(EngineError, match="every one of 20 model calls failed"):
        synthesise(TeacherRankings(mute), BARE, tmp_path / "s")
    assert files(tmp_path / "s") == {"manifest.json", "trace.jsonl"}


def test_prompts_longer_than_the_model_are_cut_or_counted(tmp_path):
    narrow = teacher(lambda query, passages, prompt: [1.0] * len(passages), context=1200)
    cut = replace(narrow, answer="<think>so</think><answer>[1] > [2]</answer>")
    short = Sampling(max_tokens=100)
    long = [
        replace(task, documents=tuple(replace(one, text=one.text * 30) for one in task.documents[:2]),
                grades={one.id: 1.0 for one in task.documents[:2]})
        for task in BARE[:4]
    ]  # fmt: skip
    done = synthesise(TeacherRankings(cut, sampling=short), long, tmp_path / "cut")
    assert done.report["made"] == 4 and done.report["ledger"]["cut_documents"] == 4
    tight = replace(cut, context=120)
    with pytest.raises(EngineError, match="context 4"):
        synthesise(TeacherRankings(tight, sampling=short), long, tmp_path / "tight")


def test_folders_of_something_else_are_refused(tmp_path):
    synthesise(Draws(size=3), BARE, tmp_path / "s")
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    with pytest.raises(BadInput, match=r"holds something else \(spec: draws\(size=3\) there"):
        synthesise(Draws(size=4), BARE, tmp_path / "s")
    with pytest.raises(BadInput, match="holds something else"):
        synthesise(Draws(size=3), BARE[1:], tmp_path / "s")
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(BadInput, match="not empty"):
        synthesise(Draws(size=3), BARE, tmp_path / "mine")
    with pytest.raises(BadInput, match="no tasks"):
        synthesise(Draws(size=3), [], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_nothing_is_half_written_where_writing_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("whyrank.io.files.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            synthesise(Draws(size=3), BARE, tmp_path / "s")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert synthesise(Draws(size=3), BARE, tmp_path / "s").report["made"] > 0


def test_tasks_of_which_nothing_comes_give_an_empty_file_and_a_report(tmp_path):
    barren = [replace(task, grades={}) for task in BARE]
    done = synthesise(TeacherRankings(Fake("[1]")), barren, tmp_path / "s")
    assert done.file.read_bytes() == b"" and done.report["dropped"] == {"nothing_relevant": 20}
    with pytest.raises(BadInput, match="is empty"):
        tasks_of(tmp_path / "s", None, Draws())


def test_pairs_are_written_as_trl_reads_them(tmp_path):
    done = synthesise(TracePairs(teacher(noisy(truth(TASKS), 1.0))), BARE, tmp_path / "s")
    lines = [json.loads(line) for line in done.file.read_text().splitlines()]
    assert done.file.name == "pairs.jsonl" and len(lines) == done.report["made"] > 10
    for line in lines:
        assert [turn["role"] for turn in line["prompt"]] == ["system", "user"]
        assert line["chosen"] != line["rejected"]
        for side in ("chosen", "rejected"):
            ((turn),) = line[side]
            assert turn["role"] == "assistant" and turn["content"].startswith("<think>")
    levels = Counter(line["source"]["synth"][0]["level"] for line in lines)
    assert set(levels) <= {"group", "instance"}


def test_verbs_chain_from_a_run_to_clean_tasks(run, tmp_path):
    toy = load("toy")
    write_run(BM25().index(toy.corpus).search(toy.queries, 30), tmp_path / "bm25.trec")
    command = ("synth", "draws(size=5, per_query=4)", "--from", "bm25.trec", "--data", "toy", "-o", "draws")
    code, out, err = run(*command)
    assert code == 0, err
    assert "made of 15 tasks" in out and "dropped: " in out
    answer = "<think>so</think><answer>[2] > [1] > [3] > [4] > [5]</answer>"
    teach = ("synth", f"teacher_rankings(fake({answer!r}))", "--from", "draws", "-o", "taught", "--json")
    code, out, err = run(*teach)
    told = json.loads(out)
    assert code == 0 and told["read"] == report_of(tmp_path / "draws")["made"] == told["made"] + sum(
        told["dropped"].values()
    )
    before = (tmp_path / "taught" / "trace.jsonl").read_bytes()
    assert run(*teach)[0] == 0 and (tmp_path / "taught" / "trace.jsonl").read_bytes() == before
    assert run("synth", "deduplicated()", "--from", "taught", "-o", "clean")[0] == 0
    for task in read_tasks(tmp_path / "clean" / "tasks.jsonl"):
        names = [entry["by"].partition("(")[0] for entry in task.source["synth"]]
        assert names == ["draws", "teacher_rankings", "deduplicated"] and task.source["first_stage"] == "bm25"
        assert task.thought == "so" and task.order


def test_documents_become_queries_and_queries_get_negatives(run, tmp_path):
    said = "<question>What would someone in that odd case look for first?</question><answer>This.</answer>"
    command = ("synth", f"hard_queries(fake({said!r}), check=None)", "--data", "toy", "--limit", 6, "-o", "asked")
    code, out, err = run(*command)
    assert code == 0, err
    assert "asked/tasks.jsonl: 6 made of 6 tasks" in out
    code, _, err = run("synth", "hard_negatives(bm25(), bands=((1, 20, 3),))", "--data", "toy", "-o", "hard")
    assert code == 0, err
    toy = load("toy")
    for task in read_tasks(tmp_path / "hard" / "tasks.jsonl"):
        wrong = [one.id for one in task.documents if one.id not in toy.qrels[task.query.id] and task.grades[one.id]]
        assert not wrong and task.relevant


def test_wrong_calls_say_what_to_do(run, tmp_path):
    toy = load("toy")
    write_run(BM25().index(toy.corpus).search(toy.queries, 5), tmp_path / "bm25.trec")
    assert "give tasks, a run, or a data set" in run("synth", "draws()", "-o", "x")[2]
    assert "give its data set by --data" in run("synth", "draws()", "--from", "bm25.trec", "-o", "x")[2]
    assert "'bm25' is a Retriever, but a Synth is wanted here" in run("synth", "bm25()", "--data", "toy", "-o", "x")[2]
    (tmp_path / "bad.jsonl").write_text('{"query": {"id": "q", "text": "?"}, "documents": [], "grades": {}}\n')
    code, _, err = run("synth", "draws()", "--from", "bad.jsonl", "-o", "x")
    assert code == 1 and "bad.jsonl:1" in err and "no documents" in err
    assert not (tmp_path / "x").exists()


@pytest.mark.engines
def test_a_pipeline_with_a_real_model_on_the_toy_collection(tiny_lm, tmp_path):
    toy = load("toy")
    llm = Transformers(str(tiny_lm), device="cpu")
    greedy = Sampling(max_tokens=48)
    tasks = tasks_of(None, toy, make("hard_negatives(bm25())"), limit=12)
    lists = synthesise(make("hard_negatives(bm25(), bands=((1, 30, 2),))"), tasks, tmp_path / "lists", toy)
    three = [  # short, and with a word that the model has learnt to answer to
        replace(
            task,
            query=replace(task.query, text=f"bees {task.query.text[:60]}"),
            documents=task.documents[:3],
            grades={one.id: task.grades[one.id] for one in task.documents[:3]},
        )
        for task in read_tasks(lists.file)
        if len(task.documents) >= 3
    ]
    write_tasks(three, tmp_path / "three.jsonl")
    method = TeacherRankings(llm, RankingFormat(), min_ndcg=0.0, sampling=greedy, max_passage_tokens=8)
    taught = synthesise(method, tasks_of(tmp_path / "three.jsonl", None, method), tmp_path / "taught")
    assert taught.report["read"] == len(three) and taught.report["made"] > 0, taught.report
    assert taught.report["made"] + sum(taught.report["dropped"].values()) == len(three)
    assert taught.report["ledger"]["output_tokens"] > 0
    made = list(read_tasks(taught.file))
    for task in made:
        shown = [one.id for one in task.documents]
        assert task.thought and set(task.order) == set(shown)
        assert task.source["synth"][-1]["samples"] == [0] and "transformers(" in task.source["synth"][-1]["by"]
    clean = synthesise(make("deduplicated()"), made, tmp_path / "clean")
    assert [task.query.id for task in read_tasks(clean.file)]


@pytest.mark.engines
def test_the_small_model_teaches_and_its_thoughts_are_shortened(tmp_path):
    llm, greedy = Transformers("tiny", device="cpu"), Sampling(max_tokens=400)
    tasks = WorldLists(World(), Level(hops=(2,), shortest=3, longest=3)).draw("test", 3, seed=1)
    bare = [replace(task, order=(), thought="") for task in tasks]
    taught = synthesise(TeacherRankings(llm, min_ndcg=0.6, sampling=greedy), bare, tmp_path / "taught")
    made = list(read_tasks(taught.file))
    assert made, taught.report
    known = {task.query.id: task for task in tasks}
    for task in made:
        value = ndcg([known[task.query.id].grades[id] for id in task.order])
        assert value >= 0.6 and value == pytest.approx(task.source["synth"][0]["ndcg"], abs=1e-6)
    method = CompressedTraces(llm, steps=3, shorter=1.0, sampling=greedy)
    short = synthesise(method, made[:1], tmp_path / "short")
    assert short.report["made"] + sum(short.report["dropped"].values()) == 1
    assert short.report["calls"].get("exact", 0) > 0, (
        short.report
    )  # the model goes on after a thought that it was given
    assert short.report["made"] or set(short.report["dropped"]) <= {"worse", "not_shorter"}
    for task in read_tasks(short.file) if short.report["made"] else ():
        new, old = task.source["synth"][-1]["ndcg"]
        assert new >= old - 0.005 and len(task.thought) < len(made[0].thought)
