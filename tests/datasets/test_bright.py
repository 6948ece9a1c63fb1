"""BRIGHT's documents: from JSON lines, from Parquet, from a hub's cache, and what is said where they are not."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whyrank.datasets import bright, load
from whyrank.errors import BadInput, NotFound

EXAMPLES = [
    {
        "id": "0",
        "query": "why?",
        "excluded_ids": ["N/A"],
        "gold_ids": ["a b/1.txt", "c/2.txt"],
        "gold_ids_long": ["a b.txt"],
    },
    {"id": "1", "query": "how?", "excluded_ids": ["c/2.txt"], "gold_ids": ["a b/1.txt"], "gold_ids_long": ["a b.txt"]},
]
DOCUMENTS = [
    {"id": "a b/1.txt", "content": "first"},
    {"id": "c/2.txt", "content": "second"},
    {"id": "c/2.txt", "content": "second again"},
]
LONG = [{"id": "a b.txt", "content": "first and second"}]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data roots but an empty one, no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def check(name="bright/pony"):
    data = load(name)
    assert [(query.id, query.text) for query in data.queries] == [("0", "why?"), ("1", "how?")]
    assert [query.excluded for query in data.queries] == [frozenset(), {"c/2.txt"}]
    assert dict(data.qrels) == {"0": {"a b/1.txt": 1, "c/2.txt": 1}, "1": {"a b/1.txt": 1}}
    assert [(document.id, document.text) for document in data.corpus] == [("a b/1.txt", "first"), ("c/2.txt", "second")]


@pytest.mark.parametrize(
    ("write", "ending"),
    [(jsonl, ".jsonl"), (jsonl, ".jsonl.gz"), (parquet, ".parquet"), (parquet, "-00000-of-00001.parquet")],
)
def test_local_files(tmp_path, write, ending):
    write(tmp_path / f"root/bright/examples/pony{ending}", EXAMPLES)
    write(tmp_path / f"root/bright/documents/pony{ending}", DOCUMENTS)
    check()


def test_lists_written_as_python_text(tmp_path):
    rows = [{key: str(value) if isinstance(value, list) else value for key, value in row.items()} for row in EXAMPLES]
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", rows)
    jsonl(tmp_path / "root/bright/documents/pony.jsonl", DOCUMENTS)
    check()


def test_long_documents(tmp_path):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", EXAMPLES)
    jsonl(tmp_path / "root/bright/documents/pony.jsonl", DOCUMENTS)
    jsonl(tmp_path / "root/bright/long_documents/pony.jsonl", LONG)
    data = load("bright/pony/long")
    assert [document.id for document in data.corpus] == ["a b.txt"]
    assert dict(data.qrels) == {"0": {"a b.txt": 1}, "1": {"a b.txt": 1}}


def hub_cache(folder, files):
    """Files as huggingface_hub keeps them, so that its own code finds them without a network."""
    snapshot = folder / "datasets--xlangai--BRIGHT" / "snapshots" / bright.REVISION
    for name, rows in files.items():
        parquet(snapshot / name, rows)


def test_the_hub_at_the_pinned_revision(tmp_path):
    files = {"examples/pony-00000-of-00001.parquet": EXAMPLES, "documents/pony-00000-of-00001.parquet": DOCUMENTS}
    hub_cache(tmp_path / "hub", files)
    check()


def test_local_examples_with_documents_of_the_hub(tmp_path):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", EXAMPLES)
    hub_cache(tmp_path / "hub", {"documents/pony-00000-of-00001.parquet": DOCUMENTS})
    check()


def test_documents_may_lie_in_another_root(tmp_path, monkeypatch):
    monkeypatch.setenv("WHYRANK_DATA", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
    jsonl(tmp_path / "one/bright/examples/pony.jsonl", EXAMPLES)
    jsonl(tmp_path / "two/bright/documents/pony.jsonl", DOCUMENTS)
    check()


def test_without_documents_judgements_serve_and_searching_tells(tmp_path):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", EXAMPLES)
    data = load("bright/pony")
    assert len(data.queries) == len(data.qrels) == 2
    assert len(data.corpus) == 0
    for use in (list, lambda corpus: "c/2.txt" in corpus, lambda corpus: corpus["c/2.txt"]):
        with pytest.raises(NotFound, match=r"documents of bright/pony are not on this machine.*put .*documents/pony"):
            use(data.corpus)


def test_nothing_at_all(tmp_path):
    with pytest.raises(
        NotFound, match=r"examples of bright/aops are not on this machine and cannot be fetched"
    ) as error:
        load("bright/aops")
    assert str(tmp_path / "root") in str(error.value) and "WHYRANK_DATA" in str(error.value)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(NotFound, match=r"pip install 'whyrank\[data\]'"):
        load("bright/aops")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"id": "2", "query": "q", "excluded_ids": ["N/A"]}, r"pony.jsonl:3: .*gold_ids"),
        (
            {"id": "2", "query": "q", "excluded_ids": "['a', open('b')]", "gold_ids": ["x"]},
            r"pony.jsonl:3: .*ValueError",
        ),
        ({"id": "2", "query": "q", "excluded_ids": "['a'", "gold_ids": ["x"]}, r"pony.jsonl:3: .*SyntaxError"),
        (
            {"id": "2", "query": None, "excluded_ids": [], "gold_ids": ["x"]},
            r"pony.jsonl:3: .*expected a text, found None",
        ),
        ({"id": "2", "query": "q", "excluded_ids": 7, "gold_ids": ["x"]}, r"pony.jsonl:3: .*list of ids, found 7"),
    ],
)
def test_damaged_examples(tmp_path, row, told):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", [*EXAMPLES, row])
    with pytest.raises(BadInput, match=told):
        load("bright/pony")


@pytest.mark.parametrize("row", [{"id": "d"}, {"id": "d", "content": None}, {"content": "x"}])
def test_damaged_documents(tmp_path, row):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", EXAMPLES)
    jsonl(tmp_path / "root/bright/documents/pony.jsonl", [*DOCUMENTS, row])
    with pytest.raises(BadInput, match=r"documents/pony.jsonl:4: no BRIGHT document"):
        list(load("bright/pony").corpus)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_cut_parquet(tmp_path, keep):
    parquet(tmp_path / "root/bright/examples/pony.parquet", EXAMPLES)
    path = tmp_path / "root/bright/examples/pony.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"pony.parquet: no readable Parquet file"):
        load("bright/pony")


def test_parquet_without_a_column(tmp_path):
    parquet(tmp_path / "root/bright/examples/pony.parquet", [{"id": "0", "query": "q"}])
    with pytest.raises(BadInput, match=r"pony.parquet"):
        load("bright/pony")


def test_no_such_split_and_no_such_task(tmp_path):
    jsonl(tmp_path / "root/bright/examples/pony.jsonl", EXAMPLES)
    with pytest.raises(BadInput, match="'bright/pony' has no split 'dev'"):
        load("bright/pony", split="dev")
    with pytest.raises(NotFound, match="did you mean 'bright/biology'"):
        load("bright/biolgy")
    with pytest.raises(NotFound, match="no data set 'bright/aops/long'"):
        load("bright/aops/long")
