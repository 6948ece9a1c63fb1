"""Questions on the command line, data of other forms, ties and doubtful runs in `eval`."""

import json

import pytest

from whyrank.io import read_run

# --- questions on the command line, and data of other forms


def test_questions_need_no_queries(run, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "corpus.jsonl").write_text(
        '{"_id": "a", "text": "bees dance"}\n{"_id": "b", "text": "rust"}\n'
    )
    code, _, err = run("search", "bm25()", "--data", "papers", "-o", "none")
    assert code == 1 and "papers has no queries: ask by --query 'why?', or put queries.jsonl beside" in err
    assert not (tmp_path / "none").exists()
    asked = ("--data", "papers", "--query", "why do bees dance?", "--query", "what is rust")
    code, out, _ = run("search", "bm25()", *asked, "-o", "found")
    assert code == 0 and "2 queries, 2 entries" in out
    found = read_run(tmp_path / "found" / "run.trec")
    assert {query: list(ids) for query, (ids, _) in found.items()} == {"q1": ["a"], "q2": ["b"]}
    assert run("rerank", "found", "listwise(fake('<answer>[1]</answer>'))", *asked, "-o", "better")[0] == 0
    code, out, _ = run("explain", "better", "-q", "q1")
    assert code == 0 and "bees dance" in out
    code, _, err = run("search", "bm25()", "--data", "papers", "--query", "another", "-o", "found")
    assert code == 1 and "found" in err  # another question is another run
    assert run("index", "bm25()", "--data", "papers", "-o", "idx")[0] == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.csv", "id,text\na,bees dance\nb,rust\n"),
        ("mine.tsv", "a\tbees dance\nb\trust\n"),
        ("mine/a", "bees dance"),
    ],
)
def test_data_of_other_forms(run, tmp_path, name, text):
    if "/" in name:
        (tmp_path / "mine").mkdir()
        name = f"{name}.txt"
    (tmp_path / name).write_text(text)
    data = name.partition("/")[0]
    code, out, err = run("search", "bm25()", "--data", data, "--query", "bees", "-o", "found")
    assert code == 0 and "1 queries, 1 entries" in out and f"{data}: read as a" in err.replace("two columns", "a table")


def test_toy_asked_another_question(run, tmp_path):
    assert run("search", "bm25()", "--data", "toy", "--query", "steel spoon", "-k", "3", "-o", "found")[0] == 0
    assert list(read_run(tmp_path / "found" / "run.trec")) == ["q1"]
    code, _, err = run("rerank", "found", "listwise(fake(''))", "--query", "x", "-o", "better")
    assert code == 1 and "--query has no effect here: it is of --data" in err


def test_eval_by_ties_and_of_doubtful_runs(run, tmp_path):
    (tmp_path / "r.trec").write_text("q Q0 a 1 1 t\nq Q0 b 2 1 t\n")
    (tmp_path / "rising.trec").write_text("q Q0 a 1 1 t\nq Q0 b 2 2 t\n")
    (tmp_path / "alien.trec").write_text("q Q0 x 1 1 t\n")
    (tmp_path / "q.txt").write_text("q 0 a 1\n")
    code, out, err = run("eval", "r.trec", "--qrels", "q.txt", "-m", "mrr", "-m", "num_rel")
    assert code == 0 and "0.5000" in out and "decides RR anywhere from 0.5000 to 1.0000" in err
    for rule, value in (("id", 0.5), ("rising", 1), ("file", 1), ("expected", 0.75)):
        code, out, err = run("eval", "r.trec", "--qrels", "q.txt", "-m", "RR", "--ties", rule, "--json")
        assert json.loads(out)["r"]["RR"] == value and "decides" not in err
    code, out, err = run("eval", "rising.trec", "--qrels", "q.txt", "-m", "RR")
    assert code == 0 and "the scores contradict the ranks" in err
    code, out, err = run("eval", "alien.trec", "--qrels", "q.txt", "--json")
    assert code == 0 and "none of the 1 documents" in err and json.loads(out)["alien"]["coverage"]["remarks"]
    code, out, _ = run("eval", "r.trec", "--qrels", "q.txt", "-m", "nDCG(gains={1:0.5})@10", "--ties", "file")
    assert code == 0 and "1.0000" in out
