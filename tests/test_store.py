"""A collection on disk is as one in memory, whatever its file, and takes next to none of it."""

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank import BM25, load
from whyrank.errors import BadInput
from whyrank.io import read_corpus, store, write_corpus
from whyrank.io.store import TextStore, stored
from whyrank.types import Corpus, Document

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
DOCUMENTS = st.lists(
    st.builds(Document, st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), TEXT, TEXT),
    min_size=1,
    max_size=400,
    unique_by=lambda document: document.id,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=DOCUMENTS, others=st.lists(TEXT, max_size=5))
def test_it_is_as_one_in_memory(tmp_path: Path, documents: list[Document], others: list[str]) -> None:
    write_corpus(documents, tmp_path / "corpus.jsonl")
    here, there = Corpus(documents), stored(tmp_path / "corpus.jsonl")
    assert list(there) == list(here) and len(there) == len(here)
    assert there.fingerprint == here.fingerprint
    for id in [*others, *(document.id for document in documents)]:
        assert (id in there) == (id in here)
        assert (there[id] if id in there else None) == (here[id] if id in here else None)
    assert 7 not in there


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.tsv", "c.csv", "bom.jsonl", "crlf.jsonl", "blank.jsonl"])
def test_every_form_of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines = [json.dumps({"id": at, "contents": f"text {at} ü", "year": 1900 + at}) for at in range(300)]
    text = {
        "c.tsv": "".join(f"{at}\ttext {at} ü\n" for at in range(300)),
        "c.csv": "id,text\n" + "".join(f'{at},"text\n{at} ü"\n' for at in range(300)),
        "bom.jsonl": "\ufeff" + "\n".join(lines),
        "crlf.jsonl": "\r\n".join(lines),
        "blank.jsonl": "\n\n  \n" + "\n\n".join(lines) + "\n\n",
    }.get(name, "\n".join(lines) + "\n")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    here = read_corpus(tmp_path / name)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr("whyrank.io.files.BLOCK", 500)
    there = read_corpus(tmp_path / name)
    assert isinstance(there, TextStore) and not isinstance(here, TextStore)
    assert list(there) == list(here) == [there[str(at)] for at in range(300)]
    assert there["299"].metadata == here["299"].metadata
    assert there.where({"year": 1907}) == here.where({"year": 1907})


def test_data_sets_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(load("toy").corpus, tmp_path / "data" / "corpus.jsonl")
    (tmp_path / "data" / "queries.jsonl").write_text('{"_id": "q1", "text": "why do bees dance?"}\n')
    monkeypatch.setattr(store, "IN_MEMORY", 100)
    data = load(tmp_path / "data")
    there = BM25(str(tmp_path / "index")).index(data.corpus).search(data.queries)
    assert there == BM25().index(load("toy").corpus).search(data.queries)
    assert pickle.loads(pickle.dumps(data)).corpus["d01"] == data.corpus["d01"]
    assert BM25(str(tmp_path / "index")).ready(pickle.loads(pickle.dumps(data.corpus)))


def test_its_index_is_made_once_and_anew_where_the_file_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "corpus.jsonl"
    write_corpus([Document("d1", "one"), Document("d2", "two")], file)
    before = stored(file)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_index", None)
        assert stored(file)["d2"].text == "two"  # nothing is read again
    write_corpus([Document("d1", "other"), Document("d3", "three")], file)
    after = stored(file)
    assert (after["d1"].text, "d2" in after, len(after)) == ("other", False, 2)
    assert before["d1"].text == "one"  # an open one stays what it was
    for damage in ("entries.bin", "about.json", "starts.bin"):
        (found,) = (tmp_path / "cache").rglob(damage)
        found.write_bytes(b"x") if damage != "starts.bin" else found.unlink()
        assert stored(file)["d3"].text == "three"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ['{"_id": "d1", "text": "a"}', '{"_id": "d2", "text": "a"}', '{"_id": "d1", "text": "b"}'],
            "'d1' occurs twice",
        ),
        (['{"_id": "d1", "text": "a"}', '{"_id": "d2"}'], "c.jsonl:2: no text"),
        (['{"_id": "d1", "text": "a"}', "what?"], "c.jsonl:2: not JSON"),
        (['{"_id": "", "text": "a"}'], "c.jsonl:1: an id"),
    ],
)
def test_damage_is_told_when_it_is_opened(tmp_path: Path, lines: list[str], told: str) -> None:
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    with pytest.raises(BadInput, match=told):
        stored(tmp_path / "c.jsonl")
    assert not list((tmp_path / "cache").rglob("about.json"))


@pytest.mark.slow
def test_the_memory_of_a_process_does_not_grow_with_the_collection(tmp_path: Path) -> None:
    code = (
        "import sys, resource\n"
        "from whyrank.io.store import stored\n"
        "corpus = stored(sys.argv[1])\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for at in range(0, len(corpus), 7): assert corpus[f'd{at}'].text\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)\n"
    )
    file = tmp_path / "corpus.jsonl"
    write_corpus((Document(f"d{at}", "a passage of some length " * 12) for at in range(60_000)), file)
    stored(file)  # its index is made by another process
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4_000  # kB, of 18 MB of text
