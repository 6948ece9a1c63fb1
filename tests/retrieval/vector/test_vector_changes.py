"""Vectors that come, go and change: always as if the collection were encoded anew."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from by_words import ByWords, Hashed
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput
from whyrank.retrieval.vector import dense
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.types import Corpus, Document, Query

TEXTS = st.lists(st.sampled_from("bee ant tide moon salt dance hive x y z".split()), max_size=6).map(" ".join)
QUERIES = [Query("a", "bee dance dance"), Query("b", "moon"), Query("c", "salt x y zebra")]
KNOWN = {"lang": "de"}


def same(changed, collection, anew):
    """Whether it searches as one that has encoded the collection."""
    assert changed.search(QUERIES, 50) == anew.search(QUERIES, 50)
    assert changed._read().ids == anew._read().ids == list(collection)
    assert np.array_equal(changed.matrix, anew.matrix)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_changes_give_what_encoding_anew_gives(data, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("changes")
    texts = data.draw(st.lists(TEXTS, min_size=1, max_size=8))
    collection = {f"d{n}": Document(f"d{n}", text) for n, text in enumerate(texts)}
    part = ByWords("words", path=data.draw(st.sampled_from([None, str(folder / "first")])))
    changed, known = part.index(collection.values()), True
    for step in range(data.draw(st.integers(1, 4))):
        before, path, kept = dict(collection), folder / str(step) if data.draw(st.booleans()) else None, changed
        change = data.draw(st.sampled_from(["append", "remove", "replace"]))
        if change == "append":
            documents = [
                Document(f"n{step}.{n}", text) for n, text in enumerate(data.draw(st.lists(TEXTS, max_size=4)))
            ]
            changed = changed.append(iter(documents), path)
            collection |= {each.id: each for each in documents}
        elif change == "remove":
            gone = data.draw(st.lists(st.sampled_from(list(collection)), max_size=len(collection) - 1))
            changed, known = changed.remove(gone, path), False
            collection = {id: each for id, each in collection.items() if id not in gone}
        else:
            ids = data.draw(st.lists(st.sampled_from(list(collection)), unique=True))
            documents = [Document(id, data.draw(TEXTS)) for id in ids]
            changed, known = changed.replace(iter(documents), path), False
            collection |= {each.id: each for each in documents}
        same(changed, collection, ByWords("words").index(collection.values()))
        same(kept, before, ByWords("words").index(before.values()))
        assert changed.path == (None if path is None else str(path))
        assert changed._collection()[0] == (Corpus(collection.values()).fingerprint if known else "")
        if path is not None:
            same(ByWords.open(path, "words"), collection, changed)


THREE = [Document("a", "bee dance"), Document("b", "ant"), Document("c", "moon salt")]


def test_only_what_is_new_is_encoded(monkeypatch, tmp_path):
    made, encoded = ByWords("words", path=str(tmp_path / "1")).index(THREE), []
    real = Hashed.encode
    monkeypatch.setattr(
        Hashed, "encode", lambda self, texts, *more, **rest: encoded.extend(texts) or real(self, texts, "")
    )
    assert made.remove(["b"]).matrix.shape[0] == 2 and encoded == []
    made.append([Document("d", "tide")]).replace([Document("a", "hive")], tmp_path / "2")
    assert [text for text in encoded if text != dense.PROBE] == ["tide", "hive"]


def test_many_blocks_are_copied(monkeypatch, tmp_path):
    monkeypatch.setattr(dense, "BLOCKS", 3)
    many = [Document(f"d{n}", f"bee {n}") for n in range(10)]
    changed = ByWords("words", path=str(tmp_path / "1")).index(many).remove(["d0", "d5"], tmp_path / "2")
    left = [each for each in many if each.id not in {"d0", "d5"}]
    assert np.array_equal(ByWords.open(tmp_path / "2", "words").matrix, ByWords("words").index(left).matrix)
    assert changed.search(QUERIES) == ByWords("words").index(left).search(QUERIES)


def test_a_longer_index_goes_on_with_its_collection(tmp_path):
    four = [*THREE, Document("d", "tide")]
    ByWords("words", path=str(tmp_path / "1")).index(THREE).append(four[3:], tmp_path / "2")
    again = ByWords("words", path=str(tmp_path / "2")).ready([*four, Document("e", "hive")])
    assert again._read().ids == ["a", "b", "c", "d", "e"]
    with pytest.raises(BadIndex, match="made from another collection"):
        ByWords("words", path=str(tmp_path / "2")).ready([Document("a", "other"), *four[1:], Document("e", "hive")])


def test_a_changed_index_is_searched_for_the_same_ids_and_tells_so(tmp_path):
    ByWords("words", path=str(tmp_path / "1")).index(THREE).remove(["b"], tmp_path / "2")
    left = [THREE[0], THREE[2]]
    changed = ByWords("words", path=str(tmp_path / "2"))
    with pytest.warns(UserWarning, match="known by id, and not by their texts"):
        found = changed.ready(left)
    assert found.search(QUERIES) == ByWords("words").index(left).search(QUERIES)
    with pytest.warns(UserWarning, match="known by id"):
        longer = changed.ready([*left, Document("e", "hive")])
    assert longer._read().ids == ["a", "c", "e"] and longer._collection()[0] == ""
    for other in (THREE, left[::-1], [Document("z", "bee dance"), left[1]]):
        with pytest.raises(BadIndex, match=r"another collection|holds vectors of"):
            changed.ready(other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda part, path: part.remove(["a", "z"], path), "has no document 'z'"),
        (lambda part, path: part.remove(["a", "b", "c"], path), "all documents would be removed"),
        (lambda part, path: part.remove("a", path), "is one text"),
        (lambda part, path: part.replace([Document("z", "x")], path), "has no document 'z'"),
        (lambda part, path: part.replace([Document("a", "x"), Document("a", "y")], path), "'a' occurs twice"),
        (lambda part, path: part.append([Document("d", "x"), Document("a", "x")], path), "'a' occurs twice"),
        (lambda part, path: part.append([Document("d", "x"), Document("d", "x")], path), "'d' occurs twice"),
        (lambda part, path: part.append(["a text"], path), "what comes to the index is a str"),
        (lambda part, path: part.append(Document("d", "x"), path), "what comes to the index is a Document"),
        (lambda part, path: part.replace(None, path), "what comes to the index is None"),
        (lambda part, path: ByWords("words").remove(["a"], path), "has no index yet"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_wrong_changes_are_refused_and_write_nothing(change, told, on_disk, tmp_path):
    with pytest.raises(BadInput, match=told):
        change(ByWords("words").index(THREE), tmp_path / "new" if on_disk else None)
    assert not (tmp_path / "new").exists()


def test_vectors_are_never_written_over_others_nor_mixed_with_those_of_another_model(tmp_path):
    made = ByWords("words", path=str(tmp_path / "1")).index(THREE)
    for change in (
        lambda: made.remove(["a"], tmp_path / "1"),
        lambda: made.append([Document("d", "x")], tmp_path / "1"),
    ):
        with pytest.raises(BadIndex, match="is not empty"):
            change()
    opened = ByWords("words", path=str(tmp_path / "1"), dtype="float32")
    with pytest.raises(BadIndex, match="was not made by"):
        opened.append([Document("d", "x")])
    assert ByWords.open(tmp_path / "1", "words").search(QUERIES) == made.search(QUERIES)


@pytest.mark.engines
@pytest.mark.parametrize(("part", "made"), [(Splade, tiny.sparse_encoder), (Late, tiny.multi_vector_encoder)])
def test_learned_sparse_and_late_indexes_change_likewise(part, made, tmp_path):
    model = str(made(tmp_path / "model"))
    few = [Document(f"d{n}", text) for n, text in enumerate(("moon tide", "", "bees dance for food", "salt", "moon"))]
    new, other = Document("n", "the moon pulls"), Document("d2", "wax and honey")
    start = part(model, device="cpu").index(few)
    on_disk = part(model, path=str(tmp_path / "0"), device="cpu").index(few)
    wanted = [few[0], few[1], other, few[4], new]
    anew = part(model, device="cpu").index(wanted)
    for at, first in enumerate((start, on_disk)):
        changed = first.append([new]).remove(["d3"]).replace([other])
        written = first.append(iter([new]), tmp_path / f"{at}a").remove(["d3"], tmp_path / f"{at}b")
        written = written.replace([other], tmp_path / f"{at}c")
        opened = part(model, path=str(tmp_path / f"{at}c"), device="cpu")
        for each in (changed, written, opened):
            assert each.search(QUERIES, 9) == anew.search(QUERIES, 9)
            assert list(each._collection()[1]) == [document.id for document in wanted]
        assert first.append([new])._collection()[0] == Corpus([*few, new]).fingerprint
        assert changed._collection()[0] == written._collection()[0] == ""
    assert start.search(QUERIES, 9) == part(model, device="cpu").index(few).search(QUERIES, 9)
