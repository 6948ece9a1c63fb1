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


KNOWN = """\
{"_id": "a", "text": "bees dance", "year": 1927, "tags": ["bees", "old"]}
{"_id": "b", "text": "bees dance", "year": 1994, "metadata": {"lang": "de"}}
{"_id": "c", "text": "bees dance", "year": "1994", "tags": "bees"}
{"_id": "d", "text": "bees dance", "safe": true}
"""


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (["year=1927"], {"a"}),
        (["year=1994"], {"b", "c"}),  # a number, and the same as a text
        (["year=1994", "year=1927"], {"a", "b", "c"}),
        (["year=1994", "tags=bees"], {"c"}),
        (["tags=old"], {"a"}),
        (["safe=true"], {"d"}),
        (["lang=de"], {"b"}),
    ],
)
def test_a_search_may_be_kept_to_some_documents(run, tmp_path, where, found):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.jsonl").write_text(KNOWN)
    options = [word for condition in where for word in ("--where", condition)]
    code, _, err = run("search", "bm25()", "--data", "mine", "--query", "bees", *options, "-o", "found")
    assert code == 0, err
    assert set(read_run(tmp_path / "found" / "run.trec")["q1"].ids) == found
    code, _, err = run("search", "bm25()", "--data", "mine", "--query", "bees", "-o", "found")
    assert code == 1 and "found holds another run" in err  # what may be found is part of what was asked


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("1927", "--where '1927': write NAME=VALUE, such as year=1927"),
        ("=1927", "--where '=1927': write NAME=VALUE"),
        ("yaer=1927", "no document of 'mine' meets --where yaer=1927: it is known by"),
        ("year=2001", "it is known by lang, safe, tags, year"),
        ("year={}", "no document of 'mine' meets"),
        ("year=" + "[" * 100_000, "no document of 'mine' meets"),
    ],
)
def test_conditions_that_keep_nothing_are_refused(run, tmp_path, where, told):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.jsonl").write_text(KNOWN)
    code, _, err = run("search", "bm25()", "--data", "mine", "--query", "bees", "--where", where, "-o", "found")
    assert code == 1 and told in err and not (tmp_path / "found").exists()


def test_an_index_that_is_not_there_yet_is_told(run):
    search = ("search", "bm25(path='idx')", "--data", "toy", "-o")
    assert "idx: no index lies there yet, so it is written there" in run(*search, "one")[2]
    assert "no index lies there" not in run(*search, "two")[2]


def test_export_hands_on_the_models_own_scores(run, tmp_path):
    """Where they are known of all that is written and fall with the ranks; else places say what scores would."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.jsonl").write_text(KNOWN)
    assert run("search", "bm25()", "--data", "mine", "--query", "bees", "-o", "first")[0] == 0
    asked = ("--data", "mine", "--query", "bees", "--depth", "3", "-o")
    spec = "pointwise(fake('<think>hm</think><score>7</score>'))"
    assert run("rerank", "first", spec, *asked, "scored")[0] == 0
    assert run("rerank", "first", "listwise(fake('<answer>[2] > [1] > [3]</answer>'))", *asked, "listed")[0] == 0

    def scores(*args):
        assert run("export", *args, "-o", "out.jsonl", "--data", "mine", "--query", "bees")[0] == 0
        (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
        return [hit["score"] for hit in json.loads(line)["candidates"]]

    note = json.loads((tmp_path / "scored" / "notes.jsonl").read_text())
    own = sorted(note["scores"].values(), reverse=True)
    assert scores("scored", "-k", "3") == pytest.approx(own) and own != [4, 3, 2]
    assert scores("scored") == [4, 3, 2, 1] == scores("listed")  # the last was not reranked; lists have no scores


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
