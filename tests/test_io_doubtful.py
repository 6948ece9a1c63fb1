"""Files that contradict themselves, comments, quotes, fractions: read as their owners read them, or told."""

import csv
import os
import threading
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.eval import evaluate
from whyrank.io import files, read_qrels, read_run, trec, write_qrels, write_run
from whyrank.types import Qrels, Run

FALLS = "q Q0 a 1 3 t\nq Q0 b 2 2 t\nq Q0 c 3 1 t\n"


def put(folder, text, name="run.trec"):
    (folder / name).write_text(text)
    return folder / name


def silent(read, *given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(*given)


# --- scores against ranks


def test_ranks_as_scores_are_told(tmp_path):
    lines = [f"q{q} Q0 d{rank} {rank} {rank} t" for q in range(3) for rank in range(1, 6)]
    path = put(tmp_path, "\n".join([*lines, *FALLS.splitlines()]))
    told = r"run.trec: in 3 of 4 queries the scores contradict the ranks, as in 'q0', where rank 1 has 1 and 2 has 2"
    with pytest.warns(UserWarning, match=told):
        run = read_run(path)
    assert list(run["q1"].ids) == ["d5", "d4", "d3", "d2", "d1"]  # trec_eval's order


@pytest.mark.parametrize(
    "text",
    [
        FALLS,
        FALLS.replace("Q0 a 1", "Q0 a 0").replace("Q0 b 2", "Q0 b 1").replace("Q0 c 3", "Q0 c 2"),  # from 0
        "".join(reversed(FALLS.splitlines(keepends=True))),  # another order of lines, ranks right
        FALLS.replace("Q0 b 2", "Q0 b 0").replace("Q0 a 1", "Q0 a 0").replace("Q0 c 3", "Q0 c 0"),  # ranks say nothing
        "".join(reversed(FALLS.splitlines(keepends=True)))
        .replace(" 1 3", " 0 3")
        .replace(" 3 1", " 0 1")
        .replace(" 2 2", " 0 2"),
        FALLS.replace(" 2 2 t", " 20 2 t").replace(" 3 1 t", " 30 1 t"),  # with gaps
        "q Q0 a 1 1 t\nq Q0 b 2 1 t\nq Q0 c 3 1 t\n",  # ties
        "q Q0 a 1 1.00000001 t\nq Q0 b 2 1.00000002 t\n",  # equal in float32
        "q Q0 a 1 3 t\nz Q0 a 1 3 t\nq Q0 b 2 2 t\n",  # queries mixed
    ],
)
def test_ranks_that_agree_are_not_told(tmp_path, text):
    run = silent(read_run, put(tmp_path, text))
    assert sorted(run["q"].scores.tolist(), reverse=True) == run["q"].scores.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "q Q0 a 3 3 t\nq Q0 b 2 2 t\nq Q0 c 1 1 t\n",  # lines by score, ranks the other way
        "q Q0 a 1 0.1 t\nq Q0 b 2 0.2 t\n",
        "z Q0 a 1 9 t\nq Q0 b 2 0.2 t\nz Q0 c 2 8 t\nq Q0 a 1 0.1 t\n",
        "q Q0 a 1 -3 t\nq\tQ0\tb\t2\t-2\tt\n",  # read line by line
        "q Q0 a 0 1 t\nq Q0 b 1 2 t\n",
        f"q Q0 a 1 1 t\nq Q0 b {'9' * 5000} 2 t\n",
    ],
)
def test_other_contradictions(tmp_path, text):
    with pytest.warns(UserWarning, match="the scores contradict the ranks"):
        read_run(put(tmp_path, text))


def test_a_run_of_another_collection_is_told():
    run = Run.of({"q": ["x1", "x2"], "r": ["x3"]}, name="alien")
    told = "alien: none of the 3 documents that it ranks for judged queries is judged"
    with pytest.warns(UserWarning, match=told):
        report = evaluate(run, {"q": {"a": 1}, "r": {"b": 1}}, "RR")
    assert report["RR"] == 0 and "'x1', the judgements have 'a'" in report.remarks[0]
    assert silent(evaluate, run, {"q": {"a": 1}, "r": {"x3": 0}}, "RR").remarks == ()  # one was judged


# --- comments, as trec_eval 10 has them


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "comment", ["# made by hand", "#", "#q Q0 a", "# q Q0 a 1 2 t", "#\tx", "# a b c d e", "# 1 2 3"]
)
def test_comments_are_skipped(tmp_path, at, comment):
    lines = FALLS.splitlines()
    lines.insert(at, comment)
    for end in ("\n", ""):
        assert list(silent(read_run, put(tmp_path, "\n".join(lines) + end))["q"].ids) == ["a", "b", "c"]
    judged = ["q 0 a 1", "q 0 b 0", "q 0 c 2"]
    judged.insert(at, comment)
    beir = ["query-id\tcorpus-id\tscore", "q\ta\t1", "q\tb\t0", "q\tc\t2"]
    beir.insert(at, comment)
    if comment != "# 1 2 3":  # four columns: a judgement for query '#'
        assert read_qrels(put(tmp_path, "\n".join(judged), "q.txt")) == {"q": {"a": 1, "b": 0, "c": 2}}
    if (comment, at) != ("# 1 2 3", 0):
        assert read_qrels(put(tmp_path, "\n".join(beir), "q.tsv")) == {"q": {"a": 1, "b": 0, "c": 2}}


def test_ids_that_begin_with_a_hash_stay_ids(tmp_path):
    run, qrels = Run.of({"#1": ["#a", "b"], "2": ["#"]}), Qrels({"#1": {"#a": 1}, "2": {"#": 2}})
    write_run(run, tmp_path / "run.trec")
    assert read_run(tmp_path / "run.trec").to_dict() == run.to_dict()
    for name in ("q.tsv", "q.txt"):
        write_qrels(qrels, tmp_path / name)
        assert read_qrels(tmp_path / name) == qrels


def test_only_comments(tmp_path):
    for read, name in ((read_run, "r.trec"), (read_qrels, "q.txt")):
        with pytest.raises(BadInput, match=r"only blank lines and comments|no judgements"):
            read(put(tmp_path, "# nothing\n\n# more\n", name))


# --- quotes and fractions

IDS = st.text(st.sampled_from("ab\"',# é"), min_size=1).filter(lambda id: id.strip() and not id.startswith("#"))
JUDGED = st.dictionaries(
    IDS, st.dictionaries(IDS, st.sampled_from([0, 1, -2, 0.4, 1 / 23, 2.5]), min_size=1), min_size=1
)


@settings(deadline=None)
@given(JUDGED)
def test_judgements_are_read_as_beir_reads_them(tmp_path_factory, grades):
    path = tmp_path_factory.getbasetemp() / "judged.tsv"
    write_qrels(Qrels(grades), path)
    with open(path, newline="") as file:
        theirs = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL))[1:]
    assert [(q, d, float(g)) for q, d, g in theirs] == [
        (q, d, g) for q, judged in grades.items() for d, g in judged.items()
    ]
    assert read_qrels(path) == grades
    with open(path, "w", newline="") as file:
        rows = [
            ["query-id", "corpus-id", "score"],
            *([q, d, g] for q, judged in grades.items() for d, g in judged.items()),
        ]
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    assert read_qrels(path) == grades
    with open(path.with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert read_qrels(path.with_suffix(".csv")) == grades
    write_qrels(Qrels(grades), path.with_suffix(".txt"))
    assert read_qrels(path.with_suffix(".txt")) == grades


def test_quotes_within_a_column_are_letters(tmp_path):
    assert read_qrels(put(tmp_path, 'q\t5" nail\t1\nq\t"a ""b"""\t2\n', "q.tsv")) == {"q": {'5" nail': 1, 'a "b"': 2}}


def test_lists_of_ids_are_runs(tmp_path):
    run = silent(read_run, put(tmp_path, '{"q": ["b", "a"], "z": [], "y": {"a": 2, "c": 3}}', "listed.json"))
    assert [list(run[q].ids) for q in "qzy"] == [["b", "a"], [], ["c", "a"]] and run.name == "listed"


def test_birco_publishes_such_lists(shared_data):
    folder = shared_data / "birco" / "arguana"
    report = evaluate(read_run(folder / "published_ranks/Monot5.json"), read_qrels(folder / "test/pool_qrels.tsv"))
    assert report["nDCG@10"] == pytest.approx(0.459, abs=0.005) and len(report.queries) == 100


@settings(deadline=None)
@given(
    text=st.lists(st.sampled_from(["a", "", "é b", "x\r", "\u2028", "   "]), min_size=1, max_size=40).map("\n".join),
    piece=st.integers(1, 9),
    first=st.sampled_from([1, 7]),
)
def test_lines_have_their_numbers_however_a_block_is_decoded(text, piece, first):
    given = list(enumerate(text.split("\n"), first))
    wanted = [(number, line.removesuffix("\r")) for number, line in given if line and not line.isspace()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_PIECE", piece)
        assert list(files.block_lines(files.Block(first, len(given), text.encode()))) == wanted


@pytest.mark.parametrize(
    ("ranks", "count"),
    [
        ("1 2 3 4", True), ("0 1 2 3", True), ("1 2 3 44", False), ("1 2 3 5", False), ("1 23 4 5", False),
        ("2 3 4 5", False), ("1 1 1 1", False), ("1 2 3 04", False),
    ],
)  # fmt: skip
def test_ranks_that_do_not_just_count_are_looked_at(ranks, count, tmp_path):
    ranks = ranks.split()
    path = tmp_path / "r.trec"
    path.write_text("".join(f"{q} Q0 d{at} {rank} {9 - at} x\n" for q in "ab" for at, rank in enumerate(ranks)))
    entries = trec._Entries(path)
    for block in files.blocks(path):
        entries.add(trec._columns(block))
    assert entries.ranks_say_more is not count


def test_a_run_of_ms_marco_may_come_through_a_pipe(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: pipe.write_text("7\t99\t1\n7\t98\t2\n"))
    writer.start()
    found = read_run(pipe)
    writer.join()
    assert {query: list(ids) for query, (ids, _) in found.items()} == {"7": ["99", "98"]}
