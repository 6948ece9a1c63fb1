"""No call of the command line ends in a traceback: one line says what is wrong, and the exit code is not 0."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import ANSWER, Ended, call, files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whyrank

SEARCH = ("search", "bm25()", "--data", "toy", "-k", "5", "-o", "OUT")
RERANK = ("rerank", "bm25", f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", "3", "-o", "OUT")
GOOD = (
    ("index", "bm25()", "--data", "toy", "-o", "OUT"),
    SEARCH,
    RERANK,
    ("explain", "lw", "-q", "q01"),
    ("export", "lw", "-o", "OUT.jsonl", "--data", "toy"),
    ("fuse", "bm25", "lw", "-o", "OUT"),
    ("eval", "bm25", "lw", "--data", "toy", "-m", "nDCG@10"),
    ("synth", "hard_negatives(bm25())", "--from", "tasks.jsonl", "--data", "toy", "-o", "OUT"),
    ("simulate", "listwise(fake())", "--queries", "2"),
    ("train", "queries", "--data", "toy", "-o", "OUT.jsonl"),
)
FILES = (
    "", *"empty text.txt table.csv bad.json list.json scores.json nan.json run.trec twice.trec other.trec".split(),
    *"qrels.txt bad.qrels tasks.jsonl bad.jsonl prices.toml bad.toml sft.toml types.toml onlycorpus noqueries".split(),
    *"notrun nomanifest rewrites.json binary latin.jsonl folder loop bm25 lw bm25/run.trec lw/notes.jsonl".split(),
    *"lw/trace.jsonl lw/manifest.json nowhere /dev/null /proc /proc/self/mem / . .. ~ toy toys world beir/x".split(),
)  # fmt: skip
SPECS = (
    "bm25()", "bm25(k1=-1)", "bm25(k1='a')", "bm25(path='text.txt')", "bm25(path='folder')", "bm25(path='lw')", "bm25(",
    "bm52()", "bm25(k=1)", "bm25()()", "", "()", "fake()", "listwise()", "listwise(fake())", "listwise('gpt-4')",
    "listwise(fake('x'), format=yes_no())", "listwise(fake('x'), window=0)", "listwise(fake('x'), window=10**9)",
    "pointwise(fake('yes'))", "pairwise(fake('A'))", "setwise(fake('[1]'))", "fuse(bm25(), bm25())", "fuse()",
    "fuse(bm25(), weights=(1,))", "rewritten(bm25(), hyde(fake('x')))", "rewritten(bm25(), from_file('bad.json'))",
    "rm3()", "rm3(bm25())", "cascade(listwise(fake()), 5)", "hybrid(listwise(fake('[1]')))", "os.system('x')",
    "hard_negatives(bm25())", "teacher_rankings(fake('[1]'))", "noisy(sigma=-1)", "noisy()", "1", "None", "[bm25()]",
    "bm25(k1=1e400)", "bm25(k1=float('nan'))", "listwise(fake('[1]'), sampling=sampling(temperature=-1))", "\x00", "é",
    "listwise(openai('x'))", "listwise(openai('x', base_url='htp://x'))", "encoder_rerank('tinny')", "a.b:c",
    "tree(fake())",
)  # fmt: skip
NUMBERS = ("0", "-1", "1", "3", "1e3", "nan", "inf", "99999999999999999999", "abc", "", "0x1", "١", "1.5")
WORDS = (
    "test", "dev", "train", "nDCG@10", "nDCG", "ndcg@10", "R@0", "R@-1", "P(rel=9)@5", "foo", "rrf", "combsum",
    "minmax",
    "q01", "q99", "1,2", "1,x", "hops", "-", "--", "-x", "--json", "--help", "x\ny", "\x1b[2J", "\udc80", "🐝",
)  # fmt: skip
OPTIONS = (
    "--data -o --out -k --rewrites --max-cost --max-tokens --prices --split --json --depth -q --query --top --thoughts "
    "--method --norm --rrf-k --weights --like --tune -m --measure --qrels --compare --by --from --limit --noise "
    "--candidates --relevant --first-stage --queries --seed --run --passage-tokens --plot --start --nonsense -z"
).split()
VERBS = (*(one[0] for one in GOOD if one[0] != "train"), "serach", "", "doctor")
TRAIN = (("train",), ("train", "sft"), ("train", "grpo"), ("train", "encoder"), ("train", "recipes"), ("train", "x"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return files(tmp_path_factory.mktemp("wrong"))


def told(ended: Ended, command: object) -> None:
    """A command that did not end well said so in one line."""
    assert "Traceback" not in ended.err, (command, ended.err)
    errors = [line for line in ended.err.splitlines() if line.startswith(("error: ", "stopped"))]
    assert len(errors) == 1 and ended.last == errors[0] and len(ended.last) > 12, (command, ended)


BAD = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.sampled_from(SPECS), st.sampled_from(FILES))
SLOW = settings(
    max_examples=int(os.environ.get("WRONG_CALLS", 80)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


@pytest.mark.parametrize("command", GOOD, ids=lambda command: command[0])
def test_the_good_calls_are_good(folder, tmp_path, command):
    ended = call(folder, *(one.replace("OUT", str(tmp_path / "out")) for one in command))
    assert ended.code == 0, ended.err


@SLOW
@given(st.sampled_from(GOOD), st.sampled_from(OPTIONS), BAD, st.integers(0, 8))
def test_a_good_call_with_something_else_in_it_is_answered(folder, tmp_path_factory, command, option, value, at):
    """One thing is exchanged, an option is added, or both; whatever comes out, it is no traceback."""
    at = min(at, len(command) - 1)
    out = str(tmp_path_factory.mktemp("out") / "x")
    for changed in ((*command[:at], value, *command[at + 1 :]), (*command, option, value), (*command, option)):
        ended = call(folder, *(one.replace("OUT", out) for one in changed))
        if ended.code:
            told(ended, changed)


@SLOW
@given(
    st.one_of(st.sampled_from(VERBS).map(lambda verb: (verb,)), st.sampled_from(TRAIN)),
    st.lists(st.one_of(BAD, st.sampled_from(OPTIONS), st.text(max_size=8)), max_size=7),
)
def test_any_call_is_answered(folder, verb, rest):
    if "demo" in rest or ("--start" in rest and "doctor" in verb):
        return
    command = [one for one in (*verb, *rest)]
    ended = call(folder, *command)
    if ended.code and not ended.err.startswith("Usage: "):
        told(ended, command)


@pytest.mark.parametrize("command", GOOD, ids=lambda command: command[0])
def test_each_needed_argument_is_asked_for(folder, command):
    for at in (at for at, one in enumerate(command) if at and not one.startswith("-")):
        if command[at - 1].startswith("-"):
            told(call(folder, *command[:at]), command)  # an option without its value
    told(call(folder, *command[:1], "--nonsense"), command)


@contextmanager
def small_disk(limit: int):
    """No file may grow beyond so many bytes: what a full disk does, without a file's name in the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 1, 400, 3000])
@pytest.mark.parametrize("command", [one for one in GOOD if "OUT" in " ".join(one)], ids=lambda command: command[0])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(folder, tmp_path, command, limit):
    here = [one.replace("OUT", str(tmp_path / "out")) for one in command]
    with small_disk(limit):
        ended = call(folder, *here)
    if limit < 400 or ended.code:
        assert ended.code == 1
        told(ended, here)
        assert any(why in ended.err for why in ("too large", "No space", "disk full"))
    again = call(folder, *here)
    assert again.code == 0, again.err


def test_a_full_device_under_stdout_is_one_line(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "whyrank", "eval", "bm25", "--data", "toy"],
            cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT,
        )  # fmt: skip
    assert done.returncode == 1 and done.stderr == "error: No space left on device\n"


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(whyrank.__file__).parent.parent), "OPENAI_API_KEY": "x"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("rerank", "bm25", "listwise(openai('x', base_url='URL'))", "--data", "toy", "-o", "OUT"),
            "; the same command",
        ),
        (
            ("search", "rewritten(bm25(), hyde(openai('x', base_url='URL')))", "--data", "toy", "-o", "OUT"),
            "; the same",
        ),
    ],
)
def test_an_interrupt_is_one_line_that_says_how_to_go_on(folder, tmp_path, command, said):
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls and answers none
        server.settimeout(60)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        given = [one.replace("URL", url).replace("OUT", str(tmp_path / "x")) for one in command]
        started = subprocess.Popen(
            [sys.executable, "-m", "whyrank", *given],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        with server.accept()[0]:
            started.send_signal(signal.SIGINT)
            out, err = started.communicate(timeout=60)
    assert started.returncode == 130 and out == ""
    assert "Traceback" not in err and re.search(r"^stopped; the same command goes on$", err.splitlines()[-1])
    assert said in err


def test_an_interrupt_of_what_cannot_go_on_promises_nothing(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("whyrank.experiment.open_runs", interrupted)
    ended = call(folder, "eval", "bm25", "--data", "toy")
    assert (ended.code, ended.err) == (130, "stopped\n")
