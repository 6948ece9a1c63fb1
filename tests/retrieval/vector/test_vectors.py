"""Vectors on disk and exact search: against brute force, after every kind of damage, and after a kill at any byte."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, NotFound
from whyrank.retrieval.filters import Allowed
from whyrank.retrieval.vector.vectors import VectorFolder, chained, nearest, read_manifest
from whyrank.types import Document

DOCUMENTS = [Document(f"d {n}\n", f"text {n}") for n in range(7)]
MATRIX = np.arange(21, dtype=np.float16).reshape(7, 3)
ABOUT = {"model": "m"}
NONE = np.empty(0, dtype=np.int64)


def digest(documents):
    found = ""
    for document in documents:
        found = chained(found, document)
    return found


def append(folder, start, stop):
    folder.append([doc.id for doc in DOCUMENTS[start:stop]], MATRIX[start:stop], digest(DOCUMENTS[:stop]))


def begun(path, rows=4):
    folder = VectorFolder.at(path, "float16", 3, ABOUT)
    append(folder, 0, rows)
    return folder


@pytest.fixture
def full(tmp_path):
    folder = begun(tmp_path / "index")
    append(folder, 4, 7)
    folder.finish()
    return tmp_path / "index"


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_nearest_equals_brute_force_for_any_block_size(data):
    seed = data.draw(st.integers(0, 10**6))
    n, d, q, k = (data.draw(st.integers(1, top)) for top in (60, 9, 5, 70))
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((n, d)).astype(data.draw(st.sampled_from(["float16", "float32"])))
    matrix = matrix[random.integers(0, n, n)]  # equal rows, so equal scores
    queries = random.standard_normal((q, d)).astype(np.float32)
    banned = [np.flatnonzero(random.random(n) < 0.3) for _ in range(q)]
    only = [np.flatnonzero(random.random(n) < 0.5) if random.random() < 0.5 else None for _ in range(q)]
    filters = {at: Allowed(*rows) for at, rows in enumerate(zip(only, banned, strict=True))}
    found = nearest(matrix, queries, k, filters, device="cpu", floats=data.draw(st.integers(1, n * d)))
    for (rows, scores), query, keep, ban in zip(found, queries, only, banned, strict=True):
        exact = (matrix.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        order = sorted(range(n), key=lambda row: (-exact[row], row))
        wanted = [row for row in order if row not in ban and (keep is None or row in keep)][:k]
        assert rows.tolist() == wanted
        assert scores.tolist() == exact[wanted].tolist()


def test_nearest_sees_through_the_rounding_of_float32():
    matrix = np.ones((5000, 64), dtype=np.float32)
    matrix[4321, 5] = np.nextafter(np.float32(1), np.float32(2))  # better by less than a float32 product can tell
    query = np.full((1, 64), 1000, dtype=np.float32)
    ((rows, _),) = nearest(matrix, query, 3, {}, device="cpu", floats=64 * 100)
    assert rows.tolist() == [4321, 0, 1]


def test_what_is_written_is_read(full):
    manifest = read_manifest(full)
    vectors = VectorFolder(full, manifest).read()
    assert vectors.ids == [doc.id for doc in DOCUMENTS]
    assert np.array_equal(vectors.matrix[:], MATRIX) and np.array_equal(vectors.matrix[[5, 2]], MATRIX[[5, 2]])
    assert manifest.complete and vectors.about == ABOUT


@pytest.mark.parametrize("file", ["vectors.bin", "ids.jsonl"])
def test_what_a_kill_left_behind_the_manifest_is_cut_off(tmp_path, file):
    folder = begun(tmp_path)
    with (folder.path / file).open("ab") as end:
        end.write(b"half a row")
    again = VectorFolder.at(tmp_path, "float16", 3, ABOUT)
    assert list(again.unwritten(iter(DOCUMENTS))) == DOCUMENTS[4:]
    append(again, 4, 7)
    assert np.array_equal(again.finish().matrix[:], MATRIX)


def test_a_kill_before_the_first_manifest_leaves_nothing_in_the_way(tmp_path):
    (tmp_path / "manifest.json.part").write_text("{")
    assert np.array_equal(begun(tmp_path).finish().matrix[:], MATRIX[:4])


def test_appending_while_the_rest_is_read_keeps_count(tmp_path):
    folder = begun(tmp_path)
    for at, document in enumerate(folder.unwritten(iter(DOCUMENTS)), start=4):
        assert document is DOCUMENTS[at]
        append(folder, at, at + 1)
    assert folder.finish().ids == [doc.id for doc in DOCUMENTS]


@pytest.mark.parametrize("file", ["vectors.bin", "ids.jsonl"])
def test_a_damaged_file_is_refused_by_name(full, file):
    data = bytearray((full / file).read_bytes())
    data[5] ^= 1
    (full / file).write_bytes(data)
    with pytest.raises(BadIndex, match=f"{file} was changed"):
        VectorFolder(full, read_manifest(full)).read()
    (full / file).write_bytes(data[:-1])
    with pytest.raises(BadIndex, match=f"{file} is cut"):
        VectorFolder(full, read_manifest(full)).read()
    (full / file).unlink()
    with pytest.raises(BadIndex, match=f"{file} is cut"):
        VectorFolder.at(full, "float16", 3, ABOUT)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', "VERSION", "FIELD", "DTYPE"], ids=str.lower)
def test_a_foreign_manifest_is_refused(full, text):
    values = json.loads((full / "manifest.json").read_text())
    changes = {"VERSION": {"version": 99}, "FIELD": {"unknown": 1}, "DTYPE": {"dtype": "object"}}
    (full / "manifest.json").write_text(json.dumps(values | changes[text]) if text in changes else text)
    with pytest.raises(BadIndex, match=str(full)):
        read_manifest(full)


def test_folders_that_are_none_of_ours_are_refused(tmp_path):
    with pytest.raises(NotFound, match="there is no index folder"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "letter.txt").write_text("dear Ada")
    with pytest.raises(BadIndex, match="holds no whyrank vectors"):
        VectorFolder.at(tmp_path, "float16", 3, ABOUT)
    with pytest.raises(BadIndex, match="is a file"):
        VectorFolder.at(tmp_path / "letter.txt", "float16", 3, ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("documents", "text"),
    [
        (DOCUMENTS[:3], "vectors of 4 documents, but the collection has 3"),
        ([DOCUMENTS[1], DOCUMENTS[0], *DOCUMENTS[2:]], "made from another collection"),
        ([Document("d 0\n", "another text"), *DOCUMENTS[1:]], "made from another collection"),
        ([Document("other", "text 0"), *DOCUMENTS[1:]], "made from another collection"),
    ],
    ids=["shorter", "another order", "another text", "another id"],
)
def test_another_collection_is_refused(tmp_path, documents, text):
    with pytest.raises(BadIndex, match=text):
        list(begun(tmp_path).unwritten(documents))
