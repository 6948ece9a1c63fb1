"""Files: what is written is read again unchanged, and every kind of damage is named by file and line."""

import gzip
import json

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput, NotFound
from whyrank.io import (
    atomic_write,
    iter_corpus,
    read_corpus,
    read_qrels,
    read_queries,
    read_run,
    write_qrels,
    write_run,
)
from whyrank.io.files import escape, unescape
from whyrank.types import Qrels, Ranking, Run

CHARACTERS = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \t\n\r\u00a0\u3000\ufeff\\u0025c"))
IDS = st.text(CHARACTERS, min_size=1, max_size=8)
SCORES = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e30, 1e30))
RUNS = st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("io")


def put(folder, text, name="run.trec"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(read, path, *texts):
    with pytest.raises(BadInput) as caught:
        read(path)
    for text in (str(path), *texts):
        assert text in str(caught.value)


# --- runs: there and back


@given(given=RUNS, name=IDS, ending=st.sampled_from([".trec", ".trec.gz", ".json", ".json.gz"]))
def test_a_run_is_read_as_it_was_written(folder, given, name, ending):
    run = Run.of(given, name=name)
    path = folder / f"run{ending}"
    write_run(run, path)
    back = read_run(path)
    assert list(back) == list(run)
    assert [back[query].ids for query in run] == [run[query].ids for query in run]
    assert back.scores.astype(np.float32).tolist() == run.strict_scores.tolist()
    assert back.name == (name if ".trec" in ending else "run")


@given(IDS)
def test_ids_survive_the_columns_of_a_file(id):
    column = escape(id)
    assert unescape(column) == id and len(column.split()) == 1
    if not any(at.isspace() or at == "\ufeff" for at in id) and "\\u" not in id:
        assert column == id


def test_ids_that_differ_only_by_spaces_stay_two(tmp_path):
    ids = ["a b", "a  b", "a\tb", "ab", " ab", "a\\u0020b", "a\u00a0b"]
    write_run(Run.of({"q 1": ids, "q  1": ids[:1]}), tmp_path / "r.trec")
    back = read_run(tmp_path / "r.trec")
    assert back["q 1"].ids == ids and back["q  1"].ids == ["a b"]
    assert pytrec_eval.parse_run((tmp_path / "r.trec").open()).keys() == {"q\\u00201", "q\\u0020\\u00201"}


@given(RUNS)
def test_every_reader_sees_the_same_strict_order(folder, given):
    run = Run.of(given)
    path = folder / "strict.trec"
    write_run(run, path)
    with path.open(newline="\n") as file:
        seen = pytrec_eval.parse_run(file)
    for query, ranking in run.items():
        scores = list(seen[escape(query)].values())
        assert list(seen[escape(query)]) == [escape(id) for id in ranking.ids]
        assert (np.diff(np.array(scores)) < 0).all() and (np.diff(np.array(scores, dtype=np.float32)) < 0).all()


@given(RUNS, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter_but_scores_and_ids_do(folder, given, random):
    lines = [f"{escape(q)} Q0 {escape(d)} 1 {s!r} t" for q, scores in given.items() for d, s in scores.items()]
    random.shuffle(lines)
    back = read_run(put(folder, "\n".join(lines) + "\n", "mixed.trec"))
    expected = Run.of(given)
    assert set(back) == set(expected)
    assert all(back[query].ids == expected[query].ids for query in expected)


def test_ties_are_ordered_as_trec_eval_orders_them(tmp_path):
    run = read_run(put(tmp_path, "q Q0 a 1 2.00000001 t\nq Q0 c 2 2 t\nq Q0 b 3 2 t\nq Q0 z 4 7 t\n"))
    assert run["q"].ids == ["z", "c", "b", "a"] and run.ties == 2
    assert run["q"].scores.tolist() == [7, 2, 2, 2.00000001]


def test_the_queries_of_a_file_may_be_mixed_over_many_blocks(tmp_path):
    lines = [f"q{at % 7} Q0 d{at} 1 {-at} t" for at in range(30_000)]
    run = read_run(put(tmp_path, "\n".join(lines)))
    assert run.sizes == {f"q{at}": len(range(at, 30_000, 7)) for at in range(7)}
    assert run["q3"].ids[:3] == ["d3", "d10", "d17"]


def test_a_tabbed_file_keeps_the_spaces_in_its_ids(tmp_path):
    run = read_run(put(tmp_path, "q\tQ0\td 1\t1\t2.5\tmy run\nq\tQ0\td 1 \t2\t1.5\tmy run\n"))
    assert run["q"].ids == ["d 1", "d 1 "] and run.name == "my run"


def test_raw_spaces_in_an_id_are_kept_where_the_other_columns_leave_no_doubt(tmp_path):
    run = read_run(put(tmp_path, "4 Q0 torch/Memory  Management 1 7 0.6 r\n4 Q0 x 8 0.5 r\n"))
    assert run["4"].ids == ["torch/Memory  Management 1", "x"]


@pytest.mark.parametrize(
    "text", ["\ufeffq Q0 d 1 2 t\n", "q Q0 d 1 2 t\r\n", "q Q0 d 1 2 t", "\n\nq 0 d -1 2e0 t\n \n", "q\tQ0\td\t1\t2\tt"]
)
def test_harmless_variants_of_the_format(tmp_path, text):
    run = read_run(put(tmp_path, text))
    assert list(run) == ["q"] and run["q"].ids == ["d"] and run["q"].scores.tolist() == [2] and run.name == "t"


def test_a_run_in_json(tmp_path):
    run = read_run(put(tmp_path, '{"q1": {"a b": 1, "c": 2.5}, "q2": {}}', "scores.json"))
    assert run["q1"].ids == ["c", "a b"] and run["q2"].ids == [] and run.name == "scores"


# --- runs: what is refused, and how it is said

GOOD = "".join(f"q{q} Q0 d{d} {d} {100 - d} tag\n" for q in range(3) for d in range(1, 6))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("q9 Q0 d1 1 3.5", ":16: 5 fields, expected 6: is the file cut off here?"),
        ("q9 0 d1 1", ":16: 4 fields, expected 6: is the file cut off here, or is it one of judgements (qrels)?"),
        ("q9 Q0 d 1 x 3.5 tag more", ":16: 8 fields, expected 6: does an id hold a space?"),
        ("q9 Q0 d1 1 nan tag", ":16: document 'd1' has the score nan: scores must be finite numbers"),
        ("q9 Q0 d1 1 -inf tag", ":16: document 'd1' has the score -inf"),
        ("q9 Q0 d1 15.78 1 tag", ":16: the rank (4th field) is '15.78', no whole number: are columns mixed up?"),
        ("q9 Q0 15.78 d1 1 tag", ":16: the rank (4th field) is 'd1'"),
        ("q9 Q0 15.78 1 d1 tag", ":16: the score (5th field) is 'd1', no number: are columns mixed up?"),
        ("q9 Q0 d1 1 1_000 tag", ":16: the score (5th field) is '1_000'"),
        ("q9 d1 Q0 1 3.5 tag", ":16: the document id (3rd field) is 'Q0': are columns mixed up?"),
        ("q9\tQ0\t\t1\t3.5\ttag", ":16: the document id is empty"),
        ("\tQ0\td1\t1\t3.5\ttag", ":16: the query id is empty"),
        ("q2 Q0 d1 9 1.5 tag", ":16: query 'q2': document 'd1' is ranked twice, first in line 11"),
        ("q0 Q0 d1 9 1.5 tag", ":16: query 'q0': document 'd1' is ranked twice, first in line 1"),
    ],
)
@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_a_bad_line_is_named(tmp_path, line, text, before):
    refused(read_run, put(tmp_path, before + GOOD + line + "\n" + GOOD.replace("q", "p")), text)


def test_a_bad_line_in_the_middle_of_a_large_file_is_named(tmp_path):
    lines = [f"q{at // 100} Q0 d{at % 100} 1 {-at} t" for at in range(30_000)]
    lines[23_456] = "q234 Q0 d56 1"
    refused(read_run, put(tmp_path, "\n".join(lines)), "run.trec:23457: 4 fields, expected 6")
    lines[23_456], lines[23_457] = "q234 Q0 d56 1 t", "q234 Q0 d57 1 5 t extra"  # together two whole lines
    refused(read_run, put(tmp_path, "\n".join(lines)), "run.trec:23457: 5 fields, expected 6")


@given(st.integers(1, len(GOOD) - 1))
def test_a_file_that_is_cut_anywhere_but_between_lines_is_refused(folder, at):
    path = put(folder, GOOD[:at], "cut.trec")
    whole = GOOD[:at].endswith("\n") or GOOD[at] == "\n"
    if whole:
        assert len(read_run(path).codes) == len(GOOD[:at].splitlines())
    else:
        line = GOOD[:at].count("\n") + 1
        if line == 1 and GOOD[:at].count(" ") == 5:
            return  # the tag of a single line: nothing tells what it should be
        refused(read_run, path, f"cut.trec:{line}: ", "cut off")


def test_damaged_text_is_named_by_line(tmp_path):
    refused(
        read_run, put(tmp_path, GOOD.encode() + b"q9 Q0 d\xff 1 2 tag\n"), "run.trec:16: byte 0xff is not valid UTF-8"
    )
    refused(read_run, put(tmp_path, GOOD.encode("utf-16")), "run.trec:1: byte 0xff is not valid UTF-8")


def test_empty_files(tmp_path):
    refused(read_run, put(tmp_path, ""), "the file is empty")
    refused(read_run, put(tmp_path, "\n \n"), "the file has only blank lines")
    refused(read_run, put(tmp_path, "", "a.json"), "the file is empty")
    refused(read_run, put(tmp_path, "{}", "a.json"), "expected {query id: {document id: score}}")
    refused(read_qrels, put(tmp_path, "query-id\tcorpus-id\tscore\n"), "the file has no judgements")
    refused(read_corpus, put(tmp_path, "\n"), "the file has no documents")
    refused(read_queries, put(tmp_path, "\n"), "the file has no queries")


@settings(max_examples=30)
@given(st.data())
def test_a_compressed_file_that_is_cut_or_damaged_is_refused(folder, data):
    packed = gzip.compress(GOOD.encode() * 50, mtime=0)
    at = data.draw(st.integers(2, len(packed) - 1))
    refused(read_run, put(folder, packed[:at], "cut.trec.gz"), "the compressed file is cut off after line")
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    refused(read_run, put(folder, bytes(flipped), "bad.trec.gz"), "the compressed file is damaged")


def test_the_name_must_tell_of_compression(tmp_path):
    refused(read_run, put(tmp_path, gzip.compress(b"q Q0 d 1 2 t\n")), "its name must end in .gz")
    refused(
        read_run, put(tmp_path, "q Q0 d 1 2 t\n", "r.trec.gz"), "the compressed file is damaged", "Not a gzipped file"
    )


@pytest.mark.parametrize("read", [read_run, read_qrels, read_corpus, read_queries])
def test_a_missing_file_and_a_folder(tmp_path, read):
    with pytest.raises(NotFound, match=r"no such file: .*absent"):
        read(tmp_path / "absent")
    refused(read, tmp_path, "is a folder, a file is wanted")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"q": {"a": 1, "b": 2, "a": 3}}', "query 'q': document 'a' is ranked twice"),
        ('{"q": {"a": 1}, "q": {}}', "query 'q' occurs twice"),
        ('{"q": {"a": NaN}}', "query 'q': document 'a' has the score nan"),
        (
            '{"q": {"a": "1"}}',
            "query 'q': expected {query id: {document id: score}} or {query id: [document",
        ),
        ('{"q": ["a", 1]}', "query 'q': expected"),
        ('{"q": ["a", "b", "a"]}', "query 'q': document 'a' is ranked twice"),
        ('{"q": {"a": 1' + "0" * 400 + "}}", "no numbers of double precision"),
        ('{"q": {"a": ' + "9" * 5000 + "}}", ":1: a number in the JSON cannot be read"),
        ('{"q": ' + "[" * 100_000 + "]" * 100_000 + "}", ":1: the JSON is nested too deeply"),
        ('{"q": {"": 1}}', "an id is empty"),
        ('{"q":\n {"a": 1', ":2: not JSON: Expecting ',' delimiter (column 9); is the file cut off here?"),
        ("[1]", "expected {query id: {document id: score}}"),
    ],
)
def test_a_bad_run_in_json(tmp_path, text, said):
    refused(read_run, put(tmp_path, text, "r.json"), said)


# --- writing


def test_what_is_half_written_does_not_appear(tmp_path):
    path = put(tmp_path, "before", "out.txt")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "before" and [one.name for one in tmp_path.iterdir()] == ["out.txt"]
    with atomic_write(tmp_path / "new" / "deep" / "out.txt.gz") as file:
        file.write(b"whole")
    assert gzip.decompress((tmp_path / "new/deep/out.txt.gz").read_bytes()) == b"whole"


def test_a_run_whose_ids_cannot_be_written_leaves_no_file(tmp_path):
    run = Run(["q"], np.array([0, 1]), np.array([0], dtype=np.int32), ["\ud800"], np.array([1.0]))
    with pytest.raises(UnicodeEncodeError):
        write_run(run, tmp_path / "run.trec")
    assert list(tmp_path.iterdir()) == []


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = Run.of({"q": Ranking(["a", "b", "c"], np.array([0.1, 0.1, -3.0])), "none": []}, name="my run")
    for name in ("a.trec.gz", "b.trec.gz"):
        write_run(run, tmp_path / name)
    assert (tmp_path / "a.trec.gz").read_bytes() == (tmp_path / "b.trec.gz").read_bytes()
    text = gzip.decompress((tmp_path / "a.trec.gz").read_bytes()).decode()
    assert text == "q Q0 a 1 0.1 my\\u0020run\nq Q0 b 2 0.099999994 my\\u0020run\nq Q0 c 3 -3.0 my\\u0020run\n"


# --- judgements


@given(
    st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-2, 4), min_size=1), min_size=1),
    st.sampled_from([".txt", ".txt.gz"]),
)
def test_judgements_are_read_as_they_were_written(folder, grades, ending):
    write_qrels(Qrels(grades), folder / f"qrels{ending}")
    assert read_qrels(folder / f"qrels{ending}") == grades


def test_both_forms_of_judgements(tmp_path):
    expected = {"q 1": {"d 1": 2, "d  1": 0}, "q2": {"d": 1}}
    for name in ("test.tsv", "test.tsv.gz", "qrels.txt"):
        write_qrels(Qrels(expected), tmp_path / name)
        assert read_qrels(tmp_path / name) == expected
    assert (tmp_path / "test.tsv").read_text() == "query-id\tcorpus-id\tscore\nq 1\td 1\t2\nq 1\td  1\t0\nq2\td\t1\n"
    assert (tmp_path / "qrels.txt").read_text().splitlines()[0] == "q\\u00201 0 d\\u00201 2"
    for text in (
        "q\t0\td 1\t1\r\n",
        "\ufeffq 0 d\\u00201 1",
        "q\td 1\t1\n",
        "query_id\tdoc\tgrade\nq\td 1\t1.0\nq\td 1\t1\n",
    ):
        assert read_qrels(put(tmp_path, text, "x")) == {"q": {"d 1": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q 0 d 1\nq 0 e\n", ":2: 3 fields, expected 4: expected: query 0 document grade"),
        ("q 0 d 1\nq Q0 e 1 2.5 t\n", ":2: 6 fields, expected 4: is this a run?"),
        ("q 0 1 d\n", ":1: the grade is 'd', no number: are columns mixed up?"),
        ("q 0 d nan\n", ":1: the grade is 'nan', no number"),
        ("q 0 d 1_0\n", ":1: the grade is '1_0', no number"),
        ("q,d,1\n", ":1: 1 fields, expected 4: are they parted by commas? Let the file's name end in .csv"),
        ('q\td\t1\nq\t"d\t1\n', ":2: the quotes are not closed"),
        ("q 0 d 99999999\n", ":1: the grade is '99999999'"),
        ("q 0 d nan\n", ":1: the grade is 'nan'"),
        ("q 0 d 1\nq 0 d 2\n", ":2: query 'q': document 'd' has two grades, 1 and 2"),
        ("query-id\tcorpus-id\tscore\nq\td\n", ":2: 2 fields, expected 3"),
        ("query-id\tcorpus-id\tscore\nq\t\t1\n", ":2: the document id is empty"),
        ("\t0\td\t1\n", ":1: the query id is empty"),
        (b"q 0 d 1\nq 0 \xe9 1\n", ":2: byte 0xe9 is not valid UTF-8"),
    ],
)
def test_bad_judgements_are_named(tmp_path, text, said):
    refused(read_qrels, put(tmp_path, text, "qrels.txt"), said)


def test_ids_that_a_tsv_cannot_hold(tmp_path):
    with pytest.raises(BadInput, match="an id is empty or holds a tab"):
        write_qrels(Qrels({"q\t1": {"d": 1}}), tmp_path / "qrels.tsv")
    assert list(tmp_path.iterdir()) == []


# --- collections and queries


def test_collections_with_the_keys_of_three_families(tmp_path):
    lines = [
        {"_id": "b", "title": "T", "text": "beir"},
        {"id": "p", "contents": "pyserini"},
        {"id": 7, "content": "bright"},
        {"_id": "e", "text": ""},
        {"_id": "e ", "text": "differs by a space", "title": None},
    ]
    path = put(tmp_path, "\ufeff" + "\r\n".join(json.dumps(line) for line in lines) + "\n\n", "corpus.jsonl")
    corpus = read_corpus(path)
    assert [(doc.id, doc.title, doc.text) for doc in corpus] == [
        ("b", "T", "beir"),
        ("p", "", "pyserini"),
        ("7", "", "bright"),
        ("e", "", ""),
        ("e ", "", "differs by a space"),
    ]
    assert list(iter_corpus(put(tmp_path, gzip.compress(path.read_bytes()), "c.jsonl.gz"))) == list(corpus)


def test_queries_and_what_they_exclude(tmp_path):
    lines = [
        {"_id": "1", "text": "why?"},
        {"id": "2", "query": "how?", "excluded_ids": ["x", "y"]},
        {"id": "3", "text": "", "excluded_ids": ["N/A"]},
    ]
    queries = read_queries(put(tmp_path, "\n".join(map(json.dumps, lines)), "queries.jsonl"))
    assert [(query.id, query.text, query.excluded) for query in queries] == [
        ("1", "why?", frozenset()),
        ("2", "how?", {"x", "y"}),
        ("3", "", frozenset()),
    ]


@pytest.mark.parametrize("read", [read_corpus, read_queries])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"_id": "a", "text": "twice"}', ":2: the id 'a' occurs twice, first in line 1"),
        ('{"text": "t"}', ":2: an id ('_id' or 'id') that is a text or a whole number is wanted, found None"),
        ('{"_id": "", "text": "t"}', ":2: an id ('_id' or 'id')"),
        ('{"_id": 1.5, "text": "t"}', "found 1.5"),
        ('{"_id": "b"}', ":2: no text: one of the keys text,"),
        ('{"_id": "b", "text": null}', ":2: 'text' must be a text, not None"),
        ('{"_id": "b", "text": "half \\ud83d"}', "'b': the text holds half of a surrogate pair, \\ud83d"),
        ('{"_id": "b", "te', ":2: not JSON: Unterminated string starting at (column 14); is the file cut off here?"),
        ("b c", ":2: not JSON"),
        ("[1]", ":2: not JSON, or no object, found '[1]': write {"),
    ],
)
def test_bad_lines_of_texts_are_named(tmp_path, read, line, said):
    refused(read, put(tmp_path, '{"_id": "a", "text": "first"}\n' + line + "\n", "x.jsonl"), said)


def test_excluded_ids_must_be_a_list(tmp_path):
    refused(
        read_queries, put(tmp_path, '{"id": "1", "text": "", "excluded_ids": "x"}'), ":1: 'excluded_ids' must be a list"
    )


def test_real_collections_are_read(shared_data):
    assert len(read_corpus(shared_data / "beir/scifact/corpus.jsonl")) == 5183
    assert sum(map(len, read_qrels(shared_data / "beir/scifact/qrels/test.tsv").values())) == 339
    cranfield = read_corpus(shared_data / "beir/cranfield/corpus.jsonl")
    assert len(cranfield) == 1400 and sum(not doc.content.strip() for doc in cranfield) == 2
