"""Documents that come, go and change: always as if the collection were indexed anew."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.types import Document, Query

TEXTS = st.lists(st.sampled_from("bee ant tide moon salt dance dance hive x y z the".split()), max_size=7).map(" ".join)
QUERIES = [
    Query("a", "bee dance dance"),
    Query("b", "moon"),
    Query("c", "salt x y zebra"),
    Query("d", "tide ant hive z"),
]


def same(changed, collection, part):
    """Whether it searches as one that has indexed the collection."""
    anew = part.index(collection.values())
    assert changed.search(QUERIES, 50) == anew.search(QUERIES, 50)
    ids = list(collection)
    assert changed.document_terms(ids) == anew.document_terms(ids)
    one, other = changed._ready(), anew._ready()
    assert one.ids == other.ids == ids
    told = [(index.whole.documents, index.whole.filled, index.whole.tokens) for index in (one, other)]
    assert told[0] == told[1]
    assert dict(zip(one.terms, one.whole.frequencies, strict=True)) == dict(
        zip(other.terms, other.whole.frequencies, strict=True)
    )
    assert (np.diff(one.postings.offsets) > 0).all()
    rows = np.repeat(np.arange(len(one.terms)), np.diff(one.postings.offsets)).astype(np.int64)
    assert (np.diff(rows * 1000 + one.postings.documents) > 0).all(), "rising within a term"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), part=st.sampled_from([BM25(), BM25(lengths="exact", memory="0.02kB"), BM25Q()]))
def test_any_changes_give_what_indexing_anew_gives(data, part, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("changes")
    texts = data.draw(st.lists(TEXTS, min_size=1, max_size=8))
    collection = {f"d{n}": Document(f"d{n}", text) for n, text in enumerate(texts)}
    changed = part.index(collection.values())
    for step in range(data.draw(st.integers(1, 4))):
        before, path = dict(collection), folder / str(step) if data.draw(st.booleans()) else None
        kept = changed
        change = data.draw(st.sampled_from(["append", "remove", "replace"]))
        if change == "append":
            new = data.draw(st.lists(TEXTS, max_size=4))
            documents = [Document(f"n{step}.{n}", text) for n, text in enumerate(new)]
            changed = changed.append(documents, path)
            collection |= {each.id: each for each in documents}
        elif change == "remove":
            gone = data.draw(st.lists(st.sampled_from(list(collection)), max_size=len(collection) - 1))
            changed = changed.remove(gone, path)
            collection = {id: each for id, each in collection.items() if id not in gone}
        else:
            ids = data.draw(st.lists(st.sampled_from(list(collection)), unique=True))
            documents = [Document(id, data.draw(TEXTS)) for id in ids]
            changed = changed.replace(iter(documents), path)
            collection |= {each.id: each for each in documents}
        same(changed, collection, part)
        same(kept, before, part)
        assert changed.path == (None if path is None else str(path))
        if path is not None:
            same(type(part).open(path), collection, part)


def test_an_index_on_disk_grows_in_bounded_memory_and_is_opened_again(tmp_path):
    some = [Document(f"d{n}", f"bee {n % 7} dance {n % 3}") for n in range(3000)]
    first = BM25(str(tmp_path / "1"), memory="10kB").index(some[:2000])
    grown = first.append(iter(some[2000:]), tmp_path / "2")
    whole = BM25(str(tmp_path / "3"), memory="10kB").index(some)
    for file in ("offsets.npy", "documents.npy", "counts.npy", "weights.npy", "lengths.npy", "ids.json", "terms.json"):
        assert (tmp_path / "2" / file).read_bytes() == (tmp_path / "3" / file).read_bytes()
    assert BM25.open(tmp_path / "2").search(QUERIES) == whole.search(QUERIES) == grown.search(QUERIES)
    assert list(BM25.open(tmp_path / "1").search(QUERIES, 3000)["a"].ids) == list(first.search(QUERIES, 3000)["a"].ids)
    assert grown.ready(some) == grown, "it knows its collection"
    assert sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith(".")) == ["1", "2", "3"]


INDEX = BM25().index([Document("a", "bee"), Document("b", "ant")])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: INDEX.remove(["a", "c"], path), "has no document 'c'"),
        (lambda path: INDEX.remove(["a", "b"], path), "all documents would be removed"),
        (lambda path: INDEX.replace([Document("c", "x")], path), "has no document 'c'"),
        (lambda path: INDEX.replace([Document("a", "x"), Document("a", "y")], path), "'a' occurs twice"),
        (lambda path: INDEX.append([Document("a", "x")], path), "'a' occurs twice"),
        (lambda path: BM25().remove(["a"], path), "has no index yet"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_wrong_changes_are_refused_and_write_nothing(change, told, on_disk, tmp_path):
    with pytest.raises(BadInput, match=told):
        change(tmp_path / "new" if on_disk else None)
    assert not (tmp_path / "new").exists()


def test_an_index_is_never_written_over_another(tmp_path):
    INDEX.save(tmp_path / "there")
    opened = BM25.open(tmp_path / "there")
    for change in (opened.append, opened.replace):
        with pytest.raises(BadIndex, match="is not empty"):
            change([Document("a", "x")] if change == opened.replace else [Document("c", "x")], tmp_path / "there")
    with pytest.raises(BadIndex, match="is not empty"):
        opened.remove(["a"], tmp_path / "there")
    assert BM25.open(tmp_path / "there").search(QUERIES) == INDEX.search(QUERIES)


def test_metadata_follow_the_changes():
    known = {"lang": "de"}
    made = BM25().index([Document("a", "bee", metadata=known), Document("b", "bee")])
    query = [Query("q", "bee")]

    def found(part):
        return set(part.search(query, where=known)["q"].ids)

    assert found(made.append([Document("c", "bee", metadata=known)])) == {"a", "c"}
    assert found(made.replace([Document("b", "bee", metadata=known)])) == {"a", "b"}
    assert found(made.append([Document("c", "bee", metadata=known)]).replace([Document("a", "bee")])) == {"c"}
    assert found(made.remove(["b"])) == {"a"}
    assert found(made) == {"a"}
