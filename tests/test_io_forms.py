"""Files of other tools: tables, topics, MS MARCO runs, folders of texts; what is of another form says what to write."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.io import iter_corpus, read_corpus, read_queries, read_run
from whyrank.io.files import stem
from whyrank.progress import show


def put(folder, text, name):
    (folder / name).write_text(text)
    return folder / name


def texts(found):
    return [(one.id, one.text) for one in found]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6), st.sampled_from([".csv", ".tsv"]))
def test_tables_are_read_as_they_were_written(tmp_path_factory, rows, ending):
    path = tmp_path_factory.getbasetemp() / f"rows{ending}"
    with open(path, "w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, delimiter="," if ending == ".csv" else "\t", lineterminator="\n")
        writer.writerow(["docid", "Title", "Text", "Year"])
        writer.writerows((f"d{at}", *row) for at, row in enumerate(rows))
    found = list(iter_corpus(path))
    assert [(one.id, one.title, one.text) for one in found] == [
        (f"d{at}", row[0], row[1]) for at, row in enumerate(rows)
    ]
    assert [one.metadata["Year"] for one in found] == [row[2] for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("topics.tsv", "q1\twhy do gates jam\nq2\thow\n", [("q1", "why do gates jam"), ("q2", "how")]),
        ("topics.tsv", "q1\twhy\nq2\ta\tb\n", [("q1", "why"), ("q2", "a\tb")]),
        ("topics.txt", '1\t"quoted" text\n', [("1", '"quoted" text')]),
        ("q.csv", 'qid,query\n1,why\n2,"a, b"\n', [("1", "why"), ("2", "a, b")]),
        ("q.csv", "question\nwhy\nhow\n", [("1", "why"), ("2", "how")]),
        ("q.tsv", "query_id\tquery\n1\twhy\n", [("1", "why")]),
        ("q.tsv", "lang\tqid\tquestion\nen\t1\twhy\n", [("1", "why")]),
        ("q.jsonl", '{"_id": "1", "text": "why"}\n', [("1", "why")]),
        ("q.json", '[{"id": 1, "query": "why"}]', [("1", "why")]),
        ("q", '{"_id": "1", "text": "why"}\n', [("1", "why")]),
        (
            "topics.sgml",
            "<top>\n<num> Number: 051\n<title> Topic: rust &amp; moss\n<desc> D\n</top>\n",
            [("51", "rust & moss")],
        ),
        ("topics", "<top>\n<num> Number: MB01 </num>\n<title> rust </title>\n</top>\n", [("MB01", "rust")]),
        (
            "topics.txt",
            "<top>\n<num> Number: 301\n<title> rust\n on  iron\n\n<desc> Description:\nWhy?\n</top>\n\n"
            "<top>\n<num>Number: 302\n<title>\n<desc> Description:\nWhy moss?\n<narr> N\n</top>",
            [("301", "rust on iron"), ("302", "Why moss?")],
        ),
        (
            "t.xml",
            '<?xml version="1.0"?><topics task="x"><topic number="1" type="f"><query>a tree</query><description>D'
            '</description></topic><topic number="2"><title>two</title></topic>'
            '<topic number="03">three <b>x</b></topic></topics>',
            [("1", "a tree"), ("2", "two"), ("3", "three")],
        ),
        ("t.xml", "<queries><query id='q7'>why &lt; how</query></queries>", [("q7", "why < how")]),
        ("t.xml", "<topics><topic><number>5</number><title>five</title></topic></topics>", [("5", "five")]),
    ],
)
def test_queries_of_other_tools(tmp_path, name, text, expected):
    assert texts(read_queries(put(tmp_path, text, name))) == expected


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("q.jsonl", "why do gates jam\n", ":1: not JSON, or no object, found 'why do gates jam': write {"),
        ("q.txt", "why do gates jam\n", "or an id, a tab and a text, or a .csv whose first line names the columns"),
        (
            "q.tsv",
            "1\twhy\textra\n",
            ":1: no column of texts is named: let the first line name the columns, one of them",
        ),
        ("q.tsv", "1\twhy\n2\n", ":2: no tab, expected an id and a text, parted by a tab"),
        ("q.tsv", "1\twhy\n1\thow\n", ":2: the id '1' occurs twice, first in line 1"),
        ("q.tsv", "\twhy\n", ":1: an id"),
        ("q.csv", "1,why\n2,how\n", ":1: no column of texts is named"),
        ("q.csv", "qid,query\n1,why\n2\n", ":3: 1 columns, expected 2: qid, query"),
        ("q.csv", 'qid,query\n1,"why\n', ": are quotes closed, and doubled within a column?"),
        ("q.csv", "qid,query,QID\n1,why,2\n", ":1: two columns are named 'qid'"),
        ("q.csv", "qid,query\n", "the file has no queries"),
        ("t.sgml", "<top>\n<num> Number: 1\n<title> a\n", "a <top> is not closed by </top>: is the file cut off?"),
        ("t.sgml", "<top>\n<title> a\n</top>", "topic 1: it has no number"),
        ("t.sgml", "<top>\n<num> Number: 1\n</top>", "topic 1: it has no text"),
        (
            "t.sgml",
            "<top>\n<num> 1 <title> a\n</top><top>\n<num> 1 <title> a\n</top>",
            "topic 2: the id '1' occurs twice",
        ),
        ("t.xml", "<topics><topic number='1'>a</topic>", "neither TREC topics (<top> … </top>) nor XML"),
        ("t.xml", "<topics/>", "the XML has no topic, such as"),
        ("t.xml", '<!DOCTYPE x [<!ENTITY a "b">]><topics><topic number="1">&a;</topic></topics>', "take out <!DOCTYPE"),
        ("t.xml", "<a>" * 100_000, "nor XML"),
        ("q.json", '{"1": "why"}', "expected a JSON array of objects"),
    ],
)
def test_what_is_no_file_of_queries_is_told(tmp_path, name, text, told):
    with pytest.raises(BadInput) as caught:
        read_queries(put(tmp_path, text, name))
    assert told in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_a_long_text_is_no_trouble_for_csv(tmp_path):
    (one,) = read_corpus(put(tmp_path, "id,text\n1," + "x" * 200_000 + "\n", "c.csv"))
    assert len(one.text) == 200_000


def test_ids_of_rows_and_compression(tmp_path):
    import gzip

    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbftext,url\r\nfirst,u\r\n\r\nsecond,v\r\n"))
    found = list(iter_corpus(tmp_path / "c.csv.gz"))
    assert texts(found) == [("1", "first"), ("2", "second")] and dict(found[1].metadata) == {"url": "v"}


def test_runs_of_ms_marco(tmp_path):
    run = read_run(put(tmp_path, "7\t99\t2\n7\t98\t1\n8\t1\t1\n7\t97\t10\n", "bm25.tsv"))
    assert list(run["7"].ids) == ["98", "99", "97"] and list(run["8"].ids) == ["1"] and run.name == "bm25"
    assert list(read_run(put(tmp_path, "# by hand\nq a 1\nq b 2\n", "x"))["q"].ids) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("q\ta\t1\nq\tb\t1\n", ":2: query 'q': two documents have the rank 1: are these judgements?"),
        ("q\ta\t1\nq\ta\t2\n", "document 'a' is ranked twice"),
        ("q\ta\t1\nq\tb\n", ":2: expected query, document and rank, as in the first line"),
        ("q\ta\t1\nq\tb\t0.5\n", ":2: expected query, document and rank"),
        ("q\ta\t1\nq\tb\t" + "9" * 5000, ":2: expected query, document and rank"),
        ("q\ta\t1\nq\t\t2\n", ":2: expected query, document and rank"),
        ("q\ta\t0.5\n", ":1: 3 fields, expected 6"),
        ("query-id\tcorpus-id\tscore\nq\ta\t1\n", ":1: 3 fields, expected 6"),
    ],
)
def test_what_is_no_run_of_ms_marco(tmp_path, text, told):
    with pytest.raises(BadInput) as caught:
        read_run(put(tmp_path, text, "run.tsv"))
    assert told in str(caught.value)


def test_it_is_said_what_a_file_was_taken_for(tmp_path, capsys):
    show()
    read_run(put(tmp_path, "q\ta\t1\n", "ms.tsv"))
    read_corpus(put(tmp_path, "pid,body\n1,x\n", "c.csv"))
    read_queries(put(tmp_path, "1\twhy\n", "t.tsv"))
    said = capsys.readouterr().err
    for part in ("ms.tsv: read as an MS MARCO run", "ids from 'pid', texts from 'body'", "t.tsv: read as two columns"):
        assert part in said


def test_old_topics_and_collections(shared_data):
    assert texts(read_queries(shared_data / "trec_dl/topics.dl19.txt"))[0] == ("156493", "do goldfish grow")
    assert len(read_corpus(shared_data / "noveleval/corpus.tsv")) == 420


@pytest.mark.parametrize(
    ("name", "called"),
    [
        *[("rankgpt-gpt3.5.dl19.trec", "rankgpt-gpt3.5.dl19"), ("run.json.gz", "run"), ("gpt-4.1", "gpt-4.1")],
        *[("a.b.TXT", "a.b"), (".trec", ".trec"), ("run.tsv", "run"), ("res.2024", "res.2024")],
    ],
)
def test_a_run_is_called_after_its_file(name, called):
    assert stem(f"folder.x/{name}") == called
