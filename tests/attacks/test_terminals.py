"""What files, models and servers say is shown as text: no escape, control, override or markup reaches a terminal."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whyrank
from whyrank import Document, Fake, Listwise, Query, Run, write_run
from whyrank.errors import BadInput, NotFound, WhyrankError
from whyrank.progress import progress, show, warn
from whyrank.terminal import json_text, line, plain

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
TITLE, CLEAR, C1, OVERRIDE, ISOLATE = "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202egpj.exe", "\u2066left\u2069"
RETURN, LINK, FORGED, SEPARATOR = "gone\rseen", "\x1b]8;;http://x\x1b\\y", "a\nerror: forged", "one\u2028two"
CONTROL = (TITLE, CLEAR, C1, OVERRIDE, ISOLATE, RETURN, LINK, FORGED, SEPARATOR)
MARKUP = ("[/INST]", "[/]", "[see the note] [red]ok", "[link=http://x]y[/link]", "[bold]", ":warning:", "\\[/b]")
HOSTILE = (*CONTROL, *MARKUP)
PASSAGE = "bees dance " + " ".join(HOSTILE)


def unseen(text: str) -> str:
    """What of a text steers a terminal."""
    return "".join(STEERING.findall(text))


def query_id(bad: str) -> str:
    """An id that a table of judgements can hold."""
    return f"q{HOSTILE.index(bad)}{bad}".replace("\r", "").replace("\n", "")


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.fixture
def collection(tmp_path):
    """A data folder whose ids, titles and texts are all hostile."""
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{at}{bad}", "title": bad, "text": f"bees {PASSAGE}"} for at, bad in enumerate(HOSTILE)]
    queries = [{"_id": query_id(bad), "text": f"why do bees dance {bad}"} for bad in HOSTILE]
    for name, lines in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    judged = {query["_id"]: {documents[0]["_id"]: 1} for query in queries}
    whyrank.write_qrels(whyrank.Qrels(judged), folder / "qrels" / "test.tsv")
    return folder


@pytest.fixture
def reranked(run, collection):
    """A run folder of it, reranked by a model whose thought and name are hostile."""
    answer = f"<think>[2] is better. {' '.join(HOSTILE)} [1] is not.</think><answer>[2] > [1]</answer>"
    spec = f"listwise(fake({answer!r}, model={'m' + ''.join(HOSTILE)!r}))"
    for command in (
        ("search", "bm25()", "--data", collection, "-o", "bm25"),
        ("rerank", "bm25", spec, "--data", collection, "-o", "lw"),
    ):
        code, out, err = run(*command)
        assert code == 0 and unseen(out + err) == "", err
    return "lw"


def test_hostile_runs_are_evaluated_in_plain_text(run, collection, reranked, tmp_path):
    found = whyrank.read_run("bm25/run.trec")
    few = found.only(list(found)[-2:])
    write_run(few, tmp_path / f"few{TITLE}{ISOLATE}[red].trec")
    code, out, err = run("eval", reranked, f"few{TITLE}{ISOLATE}[red].trec", "--data", collection, "--compare")
    assert code == 0, err
    assert unseen(out + err) == "" and "forged" not in [text.strip() for text in out.splitlines()]
    assert r"q0\x1b]0;owned\x07" in out and "[red]" in out  # the missing queries and the run's name, to the letter
    code, out, err = run("eval", reranked, "bm25", "--data", collection, "--compare", "--json")
    assert code == 0 and unseen(out) == "" and set(json.loads(out)) == {"lw", "bm25", "comparison"}


@pytest.mark.parametrize("more", [(), ("--thoughts",), ("--json",)])
@pytest.mark.parametrize("bad", HOSTILE)
def test_hostile_answers_are_explained_in_plain_text(run, collection, reranked, bad, more):
    query = query_id(bad)
    code, out, err = run("explain", reranked, "-q", query, *more)
    assert code == 0, err
    assert unseen(out + err) == ""
    if more == ("--json",):
        assert json.loads(out)["query"]["id"] == query
        assert all(one in json.loads(out)["calls"][0]["reason"] for one in MARKUP)
    elif more:
        shown = squeezed(out)  # lines are wrapped
        assert all(squeezed(one) in shown for one in MARKUP) and r"\x1b[2J" in shown and r"\u202e" in shown


def test_on_a_terminal_there_are_colours_and_nothing_else(run, reranked, monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLUMNS", "400")
    code, out, err = run("explain", reranked, "-q", f"q0{TITLE}", "--thoughts")
    assert code == 0, err
    assert unseen(re.sub(r"\x1b\[[0-9;]*m", "", out)) == "" and "[red]ok" in out


@pytest.mark.parametrize("bad", HOSTILE)
def test_errors_are_one_plain_line(run, collection, reranked, bad, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "corpus.jsonl").write_text(json.dumps({"_id": bad, "text": "x"}) + "\n" + f'{{"_id": "{bad}')
    for command in (
        ("explain", reranked, "-q", f"no{bad}"),
        ("explain", reranked),
        ("eval", f"no{bad}", "--data", "toy"),
        ("eval", reranked, "--data", f"no{bad}"),
        ("eval", reranked, "--data", "toy"),
        ("eval", reranked, "--data", collection, "-m", f"nDCG{bad}"),
        ("search", f"bm25({bad})", "--data", "toy", "-o", "x"),
        ("search", f"bm25(k1={bad!r})", "--data", "toy", "-o", "x"),
        ("search", "bm25()", "--data", "broken", "-o", "x"),
        ("search", "bm25()", "--data", "toy", "-o", f"no{bad}/lw", "--prices", f"no{bad}"),
        ("search", "bm25()", "--data", "toy", "-o", "x", f"--no{bad}"),
        (f"no{bad}",),
        ("train", "sft", f"no{bad}.toml"),
        ("fuse", reranked, f"no{bad}", "-o", "x"),
    ):
        code, out, err = run(*command)
        assert code in (1, 2), command
        assert out == "" and unseen(err) == "" and err.count("\n") == 1, (command, err)


def test_progress_shows_markup_and_steers_nothing(capsys):
    show()
    for bad in HOSTILE:
        with progress(f"asking {bad}", 2) as advance:
            advance(1, f"note {bad}")
            advance(1)
        warn(f"beware {bad}")
    err = capsys.readouterr().err
    assert unseen(err) == "" and "[/INST]" in err and "\nerror: forged" not in err and "[red]ok" in err


@pytest.mark.parametrize("bad", HOSTILE)
def test_answers_print_as_text(bad):
    documents = [Document(f"a{bad}", f"{bad} bees", title=bad), Document("b", bad)]
    answer = Listwise(Fake(f"<think>[2] {bad}</think><answer>[2] > [1]</answer>")).rank(Query(bad, bad), documents)
    for shown in (str(answer), str(answer[0]), answer.explain(), answer.explain(thoughts=True, width=200)):
        assert unseen(shown) == "" and shown.strip()
    with pytest.raises(BadInput) as refused:
        whyrank.RankedList.of(Run.of({bad: ["d"]}, name=bad), f"no{bad}")
    assert unseen(str(refused.value)) == ""


@pytest.mark.parametrize("bad", HOSTILE)
def test_reports_print_as_text(bad):
    qrels = whyrank.Qrels({f"q{bad}": {"d": 1}, "other": {"d": 1}, f"no{bad}": {"d": 1}})
    runs = [Run.of({f"q{bad}": ["d"], "other": ["e", "d"], f"x{bad}": ["d"]}, name=name) for name in (bad, f"2{bad}")]
    reports = [whyrank.evaluate(run, qrels, ["nDCG@10"]) for run in runs]
    for shown in (str(reports[0]), str(whyrank.compare(reports))):
        assert unseen(shown) == "" and not any(text.startswith("error: forged") for text in shown.splitlines())


def test_every_error_is_plain():
    kinds = [WhyrankError, BadInput, NotFound]
    assert all(unseen(str(kind(f"{CLEAR}{OVERRIDE}"))) == "" and "[2J" in str(kind(CLEAR)) for kind in kinds)


def test_the_doctor_shows_folders_as_text(run, tmp_path, monkeypatch):
    (tmp_path / f"beir{CLEAR}").mkdir()
    (tmp_path / "bright" / f"examples{CLEAR}").mkdir(parents=True)
    monkeypatch.setenv("WHYRANK_DATA", f"{tmp_path}:{tmp_path / OVERRIDE}{CLEAR}")
    code, out, err = run("doctor")
    assert code == 0 and unseen(out + err) == "" and r"\x1b[2J" in out


def test_what_a_terminal_cannot_encode_is_escaped():
    """The command is not ended by its own output."""
    done = subprocess.run(
        [sys.executable, "-m", "whyrank", "eval", "nö\u4e00", "--data", "toy"],
        capture_output=True,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path(whyrank.__file__).parent.parent), "PYTHONUTF8": "0"},
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith(b"error: no run at n\xf6\\u4e00")


def test_nothing_is_printed_but_through_the_door():
    """`typer.echo`, `print`, `sys.stdout.write`: only where text was made plain."""
    root = Path(whyrank.__file__).parent
    doors = {"cli/output.py", "cli/__init__.py", "progress.py", "serve/door.py", "serve/run.py"}
    for file in root.rglob("*.py"):
        if str(file.relative_to(root)) in doors:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "typer.echo", "sys.stdout.write", "sys.stderr.write"}, (
                    file,
                    node.lineno,
                )


@given(st.text())
def test_plain_text_is_the_same_twice_and_keeps_what_is_seen(text):
    assert unseen(plain(text)) == "" and plain(plain(text)) == plain(text)
    assert "\n" not in line(text) and unseen(line(text)) == ""
    if unseen(text) == "":
        assert plain(text) == text
    assert json.loads(json_text(json.dumps(text, ensure_ascii=False))) == text


def test_emoji_and_scripts_stay_as_they_are():
    for text in ("👩\u200d🔬", "नमस्ते", "שלום", "naïve", "e\u0301", "می\u200cخواهم", "a\tb\nc"):
        assert plain(text) == text
