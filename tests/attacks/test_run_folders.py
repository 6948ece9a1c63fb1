"""Attacks on run folders: data that change, servers that go, damaged and edited files, kills, two at once."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from whyrank import experiment
from whyrank.data_synth.folder import synthesise, tasks_of
from whyrank.datasets import load
from whyrank.errors import BadInput, BudgetSpent
from whyrank.io.files import atomic_write, sweep
from whyrank.io.taking import taking
from whyrank.journal import holding
from whyrank.llm import schedule
from whyrank.llm.answer import Failed
from whyrank.registry import HOW, make

ANSWER = "<answer>[2] > [1]</answer>"
LISTWISE = f"listwise(fake({ANSWER!r}), window=4, stride=2)"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A small collection of one's own, and its first stage in `bm`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.0)
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder / "corpus.jsonl", *({"_id": f"d{at}", "text": f"pasta sky word{at} sea"} for at in range(9)))
    write(folder / "queries.jsonl", {"_id": "q1", "text": "why pasta?"}, {"_id": "q2", "text": "why sky word3?"})
    experiment.search(make("bm25()"), load("mine"), "bm", 9)
    return folder


def write(path: Path, *records: dict) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def rerank(out="rr", spec=LISTWISE, source="bm", name="mine", **more):
    return experiment.rerank(source, make(spec), load(str(name)), out, 9, **more)


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


# other data


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("queries.jsonl", "why pasta?", "why the sea?", "the queries of 'mine' were changed since"),
        ("corpus.jsonl", "word3 sea", "word3 hill", "the documents of 'mine' were changed since"),
        ("queries.jsonl", '"why pasta?"', '"why pasta?", "excluded_ids": ["d0"]', "the queries of 'mine' were changed"),
        ("corpus.jsonl", '"d8"', '"d08"', "the documents of 'mine' were changed since"),
        ("corpus.jsonl", '"_id": "d3",', '"_id": "d3", "title": "a title",', "the documents of 'mine' were changed"),
    ],
)
def test_edited_data_are_another_run(data, file, old, new, told):
    before = Path("bm/run.trec").read_bytes()
    edit(data / file, old, new)
    with pytest.raises(BadInput, match=told):
        experiment.search(make("bm25()"), load("mine"), "bm", 9)
    assert Path("bm/run.trec").read_bytes() == before


def test_a_rerank_knows_the_texts_that_it_read_and_no_others(data):
    first = Path("bm/run.trec").read_text().splitlines()
    Path("three.trec").write_text("\n".join(line for line in first if int(line.split()[3]) <= 3) + "\n")
    rerank(source="three.trec")
    used = {line.split()[2] for line in Path("three.trec").read_text().splitlines()}
    unused = next(f"word{at} " for at in range(9) if f"d{at}" not in used)
    edit(data / "corpus.jsonl", unused, "other ")
    assert rerank(source="three.trec").report["ledger"]["replayed"] == 0  # done already
    edit(data / "corpus.jsonl", f"word{max(used)[1:]} ", "other ")
    with pytest.raises(BadInput, match="the documents of 'mine' were changed since"):
        rerank(source="three.trec")


def test_a_stopped_run_is_not_gone_on_with_over_other_data(data):
    with pytest.raises(Exception, match="max_tokens"):
        rerank(limits=experiment.Limits(max_tokens=1))
    edit(data / "queries.jsonl", "why pasta?", "why the sea?")
    with pytest.raises(BadInput, match=r"queries of 'mine' were changed since.*trace\.jsonl may be copied there"):
        rerank()


def test_a_limit_leaves_a_usable_run_of_what_is_finished(data):
    whole = rerank("whole")
    calls = whole.report["ledger"]["calls"]
    used = whole.report["ledger"]["input_tokens"] + whole.report["ledger"]["output_tokens"]
    one = LISTWISE.replace("), window", ", concurrency=1), window")
    with pytest.raises(BudgetSpent, match=r"1 of 2 queries are finished.*rr/run\.partial\.trec ranks each query"):
        rerank(spec=one, limits=experiment.Limits(max_tokens=int(used * 0.7)))
    partial = experiment.open_run("rr/run.partial.trec")
    assert partial["q1"].ids == whole.run["q1"].ids  # finished
    assert sorted(partial["q2"].ids) == sorted(whole.run["q2"].ids)
    asked = Path("rr/trace.jsonl").read_bytes().count(b"\n")
    assert calls / 2 <= asked < calls and not Path("rr/run.trec").exists()
    assert rerank(spec=one).run == whole.run and not Path("rr/run.partial.trec").exists()
    with pytest.raises(BudgetSpent) as told:
        rerank("none", limits=experiment.Limits(max_tokens=0))
    assert "partial" not in str(told.value) and not Path("none/run.partial.trec").exists()


def test_a_synthesis_knows_its_collection_by_content(data):
    method, collection = make("hard_negatives(bm25())"), load("mine")
    (data / "qrels").mkdir()
    (data / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t1\n")
    tasks = tasks_of(None, load("mine"), method)
    synthesise(method, tasks, "sy", collection)
    assert synthesise(method, tasks, "sy", load("mine")).report["read"] == 2
    edit(data / "corpus.jsonl", "word8", "word88")
    with pytest.raises(BadInput, match="the documents of 'mine' were changed"):
        synthesise(method, tasks, "sy", load("mine"))


# the same run, spelled otherwise


def test_what_makes_another_run_is_meaning_and_not_spelling(data, tmp_path):
    done = rerank()
    shutil.copy("bm/run.trec", "copy.trec")
    shutil.copytree("mine", "else/where")
    marked = LISTWISE.replace("), window", ", concurrency=3), window")
    for more in ({"name": tmp_path / "mine"}, {"source": "copy.trec"}, {"spec": marked}, {"name": "else/where"}):
        again = rerank(**more)
        assert again.run == done.run and again.report == done.report, more
    for more in ({"spec": LISTWISE.replace("stride=2", "stride=3")}, {"spec": LISTWISE.replace("[1]", "[3]")}):
        with pytest.raises(BadInput, match="holds another run"):
            rerank(**more)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("listwise(openai('m'))", {"base_url", "concurrency", "timeout"}),
        ("listwise(vllm('m'))", {"concurrency", "gpus"}),
        ("pointwise(transformers('m'))", {"batch", "device"}),
        ("encoder_rerank('minilm')", {"batch_size", "device"}),
        ("rewritten(bm25(), hyde(openai('m')))", {"threads", "base_url"}),
    ],
)
def test_settings_of_how_it_is_done_are_marked(spec, names):
    from whyrank.parameters import hows

    assert names <= hows(make(spec)) and HOW["how"]
    assert not hows(make(spec)) & {
        "model",
        "window",
        "context",
        "k1",
        "format",
        "sampling",
        "temperature",
        "max_length",
    }


def test_a_folder_of_an_older_version_opens_and_is_told(data):
    done, path = rerank(), Path("rr/manifest.json")
    manifest = json.loads(path.read_text())
    del manifest["outputs"], manifest["task"]["data"]["content"]
    path.write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="made by an older version"):
        assert rerank().run == done.run
    edit(path, '"queries": 2', '"queries": 3')
    with pytest.warns(UserWarning, match="older version"), pytest.raises(BadInput, match="holds another run"):
        rerank()


# outputs and manifests


@pytest.mark.parametrize("name", ["run.trec", "notes.jsonl", "report.json"])
def test_edited_outputs_are_no_result_and_missing_ones_are_made_again(data, name):
    done = rerank()
    file = Path("rr", name)
    before = file.read_bytes()
    file.write_bytes(before.replace(b"d1", b"d2").replace(b'"exact"', b'"great"') + b"\n")
    with pytest.raises(BadInput, match=f"{name} was changed after it was written"):
        rerank()
    file.unlink()
    trace = Path("rr/trace.jsonl").read_bytes()
    assert rerank().run == done.run and Path("rr/trace.jsonl").read_bytes() == trace
    assert name == "report.json" or file.read_bytes() == before


DEEP = "[" * 100_000
ODD = [
    "",
    "{",
    "[]",
    '{"task": null, "finished": true}',
    '{"task": {}, "finished": "yes"}',
    "\x00" * 50,
    DEEP,
    "9" * 5000,
]


@pytest.mark.parametrize("damage", ODD)
def test_a_damaged_manifest_costs_no_paid_call(data, damage):
    done, manifest = rerank(), Path("rr/manifest.json")
    trace = Path("rr/trace.jsonl").read_bytes()
    manifest.write_text(damage)
    with pytest.raises(
        BadInput, match=r"manifest\.json.*remove this file, and the same command.*answered calls in"
    ) as told:
        rerank()
    assert "delete the folder" not in str(told.value)
    manifest.unlink()
    again = rerank()
    assert again.run == done.run and again.report["ledger"]["calls"] == trace.count(b"\n")
    assert Path("rr/trace.jsonl").read_bytes() == trace


@pytest.mark.parametrize(
    ("place", "odd"),
    [
        (("query",), ["q1"]),
        (("first",), True),
        (("first", "d0"), "first"),
        (("scores",), [1.0]),
        (("scores", "d0"), 10**400),
        (("calls",), 5),
        (("calls", 0), None),
        (("calls", 0), {"a": 1}),
        (("calls", 0, "status"), ["exact"]),
        (("calls", 0, "shown"), 1e308),
        (("calls", 0, "shown", 0), {}),
        (("calls", 0, "reason"), {"x": "y"}),
        (("calls", 0, "key"), {}),
        (("calls", 0, "usage"), {"tokens": 1}),
        (("calls", 0, "usage"), {"output": ["many"]}),
        (("calls", 0, "cost"), "much"),
        (("calls", 0, "labels"), []),
    ],
)
def test_notes_that_rerank_did_not_write_are_told(data, place, odd):
    experiment.rerank("bm", make(LISTWISE), load("mine"), "lw", depth=5)
    first, second, *_ = (Path("lw") / "notes.jsonl").read_text().splitlines()
    note = at = json.loads(second)
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = odd
    (Path("lw") / "notes.jsonl").write_text(f"{first}\n{json.dumps(note)}\n")
    told = ""
    try:
        experiment.explain("lw", "q2", load("mine")).explain(thoughts=True)
    except BadInput as error:
        told = str(error)
        assert "notes.jsonl: damaged, " in told and "remove this file" in told
    assert told or place[-1] in {"labels", "usage"}  # of which what is known is read


def test_a_file_of_others_beside_a_run_is_not_taken_over(data):
    for name in ("run.trec", "letter.txt"):
        Path("foreign").mkdir(exist_ok=True)
        Path("foreign", name).write_text("x")
        with pytest.raises(BadInput, match="is not empty and holds no run"):
            rerank("foreign")
        assert [path.name for path in Path("foreign").iterdir()] == [name]
        Path("foreign", name).unlink()


# a server that goes and comes back


@pytest.mark.parametrize("kind", ["connection", "server", "timeout", "rate_limit"])
def test_a_lost_server_leaves_the_folder_open_and_the_same_command_asks_what_failed(data, kind, monkeypatch):
    from whyrank.llm.fake import Fake

    whole = rerank("whole")
    real, asked = Fake._generate, []

    async def going(self, prompts):
        asked.append(prompts[0].key("m"))
        return await real(self, prompts) if len(set(asked)) <= 3 else [Failed(kind, "gone", retry_after=0.0)]

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "_generate", going)
        patch.setattr(schedule, "TRIES", dict.fromkeys(schedule.TRIES, 1))
        broken = rerank()
    failed = broken.report["unanswered"][kind]
    assert (
        failed == broken.report["calls"]["failed"] > 0
        and not json.loads(Path("rr/manifest.json").read_text())["finished"]
    )
    with pytest.warns(UserWarning, match="rr is unfinished: some model calls failed"):
        assert experiment.open_run("rr") == broken.run
    answered = Path("rr/trace.jsonl").read_text().count('"status": "ok"')
    mended = rerank()
    assert mended.run == whole.run and "unanswered" not in mended.report
    assert mended.report["ledger"]["replayed"] >= answered > 0
    assert Path("rr/notes.jsonl").read_bytes() == Path("whole/notes.jsonl").read_bytes()
    trace = Path("rr/trace.jsonl").read_bytes()
    rerank()
    assert Path("rr/trace.jsonl").read_bytes() == trace


@pytest.mark.parametrize("kind", ["refusal", "bad_request", "bad_answer", "context"])
def test_failures_that_do_not_pass_end_a_run(data, kind, monkeypatch):
    from whyrank.llm.fake import Fake

    real = Fake._generate

    async def picky(self, prompts):
        return [Failed(kind, "no")] if "sky" in prompts[0].messages[-1].content[:40] else await real(self, prompts)

    monkeypatch.setattr(Fake, "_generate", picky)
    report = rerank().report
    assert report["calls"]["failed"] and "unanswered" not in report


def test_the_command_line_says_so_last_and_exits_with_3(run, data, monkeypatch):
    from whyrank.llm.fake import Fake

    real = Fake._generate

    async def going(self, prompts):
        return (
            [Failed("server", "HTTP 500")]
            if "sky" in prompts[0].messages[-1].content[:40]
            else await real(self, prompts)
        )

    command = ("rerank", "bm", LISTWISE, "--data", "mine", "--depth", 9, "-o", "rr")
    with monkeypatch.context() as patch:
        patch.setattr(Fake, "_generate", going)
        for more in ((), ("--json",)):
            code, out, err = run(*command, *more)
            last = err.strip().splitlines()[-1]
            assert code == 3 and "the same command asks them again" in last and "(server " in last
    assert json.loads(out)["unanswered"]
    assert run(*command)[0] == 0


# kills, two at once, full disks


@pytest.mark.parametrize("name", [".manifest.json.123-abcd1234.partial", ".run.trec.99999-00ff00ff.partial"])
def test_what_a_killed_run_was_writing_is_its_own_and_goes(data, name):
    for folder, work in (
        ("p1", lambda: experiment.search(make("bm25()"), load("mine"), "p1", 9)),
        ("p2", lambda: rerank("p2")),
    ):
        Path(folder).mkdir()
        Path(folder, name).touch()
        work()
        assert not list(Path(folder).glob(".*"))


def test_what_is_still_written_is_not_swept(tmp_path):
    with atomic_write(tmp_path / "a.txt") as file:
        file.write(b"half")
        code = f"from whyrank.io.files import sweep; from pathlib import Path; sweep(Path({str(tmp_path)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        file.write(b" and half")
    assert (tmp_path / "a.txt").read_text() == "half and half"
    (tmp_path / ".a.txt.1-12345678.partial").touch()
    (tmp_path / ".a.txt.1-1234567x.partial").touch()
    (tmp_path / ".link.1-12345678.partial").symlink_to(tmp_path / "a.txt")
    sweep(tmp_path, age=60)
    assert len(list(tmp_path.iterdir())) == 4
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".a.txt.1-1234567x.partial",
        ".link.1-12345678.partial",
        "a.txt",
    ]


def test_another_command_in_the_folder_of_a_running_one_changes_nothing(data, tmp_path):
    slow = LISTWISE.replace("), window", ", latency=30.0), window")
    script = (
        "from whyrank import experiment; from whyrank.datasets import load; from whyrank.registry import make\n"
        f"experiment.rerank('bm', make({slow!r}), load('mine'), 'rr', 9)"
    )
    with open(tmp_path / "log", "wb") as log:
        running = subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not Path("rr/trace.jsonl").exists() and time.monotonic() < until:
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
        before = Path("rr/manifest.json").read_bytes()
        for spec in (LISTWISE, LISTWISE.replace("stride=2", "stride=3")):
            with pytest.raises(BadInput, match="another run writes to this folder"):
                rerank(spec=spec)
        assert Path("rr/manifest.json").read_bytes() == before
    finally:
        running.kill()
        running.wait()
    assert rerank().run == rerank("whole").run


def test_kill_9_at_any_moment_of_a_search_leaves_a_folder_that_the_same_command_finishes(data):
    script = (
        "from whyrank import experiment; from whyrank.datasets import load; from whyrank.registry import make\n"
        "import os, signal, threading, sys\n"
        "data, part = load('mine'), make('bm25()')\n"
        "threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "experiment.search(part, data, 'killed', 9)\n"
        "os._exit(0)\n"
    )
    for after in (0.0, 0.002, 0.005, 0.01, 0.02):
        subprocess.run([sys.executable, "-c", script, str(after)], check=False, capture_output=True)
    experiment.search(make("bm25()"), load("mine"), "killed", 9)
    assert experiment.open_run("killed") == experiment.open_run("bm")
    assert not list(Path("killed").glob(".*"))


def test_a_held_folder_keeps_no_mark_and_a_forked_child_no_lock(tmp_path):
    with holding(tmp_path, "busy"):
        with pytest.raises(BadInput, match="busy"), holding(tmp_path, "busy"):
            pass
        here, there = os.pipe()
        if (child := os.fork()) == 0:
            os.write(there, b"up")
            time.sleep(20)
            os._exit(0)
    try:
        assert os.read(here, 2) == b"up"
        with holding(tmp_path, "busy"):
            assert not list(tmp_path.iterdir())
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_refused_task_leaves_the_folder_as_it_was(tmp_path):
    with taking(tmp_path / "f", {"verb": "a"}) as done:
        assert done is None
        (tmp_path / "f" / "run.trec").write_text("x")
    before = (tmp_path / "f" / "manifest.json").read_bytes()
    with pytest.raises(BadInput, match=r"verb: a there, b here"), taking(tmp_path / "f", {"verb": "b"}):
        pass
    assert (tmp_path / "f" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("verb", ["search", "rerank"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(run, data, monkeypatch, verb):
    command = {
        "search": ("search", "bm25()", "--data", "mine", "-o", "full"),
        "rerank": ("rerank", "bm", LISTWISE, "--data", "mine", "--depth", 9, "-o", "full"),
    }[verb]
    real, room = os.write, [600]

    def write(file: int, data: bytes) -> int:
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr("whyrank.journal.os.write", write)
        if verb == "search":
            patch.setattr("whyrank.io.files.os.fsync", lambda file: write(file, b" " * 700))
        code, _, err = run(*command)
        line = err.strip().splitlines()[-1]
    assert code == 1 and "Traceback" not in err and "full/" in line and "the same command goes on" in line
    assert run(*command)[0] == 0
