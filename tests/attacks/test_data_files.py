"""Hostile or broken files of data: one `BadInput` with the file's name, or a right value; never another error."""

import gzip
import json
import resource
import subprocess
import sys
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank.errors import WhyrankError
from whyrank.io import files, read_candidates, read_corpus, read_qrels, read_queries, read_run, read_tasks

DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECT = '{"a":' * 100_000 + "1" + "}" * 100_000
DIGITS = "9" * 5000
HUGE = "9" * 400

READERS = {
    "corpus.jsonl": (read_corpus, '{"_id": "d", "text": "x", "title": "y", "extra": 1}'),
    "queries.jsonl": (read_queries, '{"_id": "q", "text": "x", "excluded_ids": ["d"]}'),
    "candidates.jsonl": (
        read_candidates,
        '{"query": {"qid": "q", "text": "x"}, "candidates": [{"docid": "d", "score": 1.5, "doc": {"text": "y"}}]}',
    ),
    "hits.json": (
        read_candidates,
        '[{"query": "x", "hits": [{"qid": "q", "docid": "d", "content": "y", "score": 2}]}]',
    ),
    "tasks.jsonl": (
        lambda path: list(read_tasks(path)),
        '{"query": {"id": "q", "text": "x"}, "documents": [{"id": "d", "text": "y"}], '
        '"grades": {"d": 1}, "order": ["d"]}',
    ),
    "run.json": (read_run, '{"q": {"d": 1.5, "e": 1}, "r": ["d"]}'),
    "run.trec": (read_run, "q Q0 d 1 1.5 t"),
    "marco.tsv": (read_run, "q\td\t1"),
    "qrels.txt": (read_qrels, "q 0 d 1"),
    "qrels.tsv": (read_qrels, "query-id\tcorpus-id\tscore\nq\td\t0.5"),
    "corpus.csv": (read_corpus, "id,text\nd,x"),
    "corpus.tsv": (read_corpus, "d\tx"),
    "topics.sgml": (read_queries, "<top>\n<num> Number: 1\n<title> x\n</top>"),
    "topics.xml": (read_queries, '<topics><topic number="1"><title>x</title></topic></topics>'),
}


def value_or_typed_error(name, content, folder):
    """What the reader of that kind makes of the bytes; an error that names the file counts as none."""
    path = folder / name
    path.write_bytes(content)
    try:
        return READERS[name][0](path)
    except WhyrankError as error:
        assert str(path) in str(error) and len(str(error)) < 1000, str(error)[:200]
        return None


@pytest.mark.parametrize("name", READERS)
def test_each_reader_reads_its_file(tmp_path, name):
    assert value_or_typed_error(name, READERS[name][1].encode(), tmp_path) is not None


def leaves(value, path=()):
    """The places of a JSON value, and the value itself."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from leaves(value[key], (*path, key))


def put(value, path, marker):
    if not path:
        return marker
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], marker)
    return copy


ODD = {
    "deep list": DEEP,
    "deep object": DEEP_OBJECT,
    "5,000 digits": DIGITS,
    "-5,000 digits": f"-{DIGITS}",
    "400 digits": HUGE,
    "1e999": "1e999",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "half a pair": '"\\ud83d"',
    "null": "null",
    "true": "true",
    "list": "[]",
    "object": "{}",
    "number": "7",
    "nul": '"\\u0000"',
    "empty": '""',
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", [name for name in READERS if "json" in name])
def test_odd_values_everywhere_in_json(tmp_path, name, odd):
    value = json.loads(READERS[name][1])
    for place in leaves(value):
        text = json.dumps(put(value, place, "@@")).replace('"@@"', ODD[odd])
        value_or_typed_error(name, text.encode(), tmp_path)


@pytest.mark.parametrize("odd", [DIGITS, HUGE, f"0.{DIGITS}", "1e999", "nan", "-inf", "0x1", "1_0", "١", "", "\\ud83d"])
@pytest.mark.parametrize("name", [name for name in READERS if "json" not in name])
def test_odd_values_in_columns(tmp_path, name, odd):
    text = READERS[name][1]
    for at in range(len(text)):
        value_or_typed_error(name, (text[:at] + odd + text[at + 1 :]).encode(), tmp_path)


def test_where_is_told(tmp_path):
    for name, bad in (("corpus.jsonl", DEEP), ("queries.jsonl", DIGITS), ("tasks.jsonl", DEEP_OBJECT)):
        path = tmp_path / name
        path.write_text(f'{READERS[name][1]}\n\n{{"_id": {bad}}}\n')
        with pytest.raises(WhyrankError, match=f"{name}:3: "):
            READERS[name][0](path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(READERS)), st.data())
def test_damaged_bytes(tmp_path, name, data):
    text = bytearray(READERS[name][1].encode() * data.draw(st.integers(1, 2)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        text[at : at + cut] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"\n", b"\t", b",", b"{", b"#", b" "])
        )
    value_or_typed_error(name, bytes(text), tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if not name.endswith(".json")])
def test_a_line_without_end_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "LONGEST", 1 << 20)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(READERS[name][1].encode() + b"\n" + b"x" * (3 << 20)))
    with pytest.raises(WhyrankError, match=r"gz:\d+: the line is longer than 1 MiB"):
        READERS[name][0](path)
    path.write_bytes(gzip.compress((READERS[name][1].encode() + b"\n") * 100_000))  # long, of short lines
    value_or_typed_error(name, path.read_bytes()[:-9], tmp_path)  # and cut off


BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from whyrank.errors import BadInput
from whyrank.io import read_corpus
try:
    read_corpus(sys.argv[1])
except BadInput as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit on memory here")
def test_a_small_file_that_unpacks_to_gigabytes(tmp_path):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    member = packer.compress(bytes(1 << 26)) + packer.flush()
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "d", "text": "x"}\n{"') + member * 64)  # 4 GiB
    command = [sys.executable, "-c", BOMB, str(tmp_path / "corpus.jsonl.gz")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "corpus.jsonl.gz:2: the line is longer than 256 MiB" in ran.stdout, ran.stderr[-500:]
