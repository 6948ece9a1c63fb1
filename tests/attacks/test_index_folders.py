"""An index is searched for its own collection, written by one process at a time, and through no link."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from by_words import ByWords
from crafted import write_told

from whyrank.errors import BadIndex
from whyrank.io.locks import one_writer
from whyrank.llm.fake import Fake
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.types import Corpus, Document, Query

DOCUMENTS = [Document("d1", "bees dance"), Document("d2", "ants follow scent", "Ants"), Document("d3", "wax and honey")]
QUERIES = [Query("q", "why do bees dance")]


# 4. An index knows its collection.

EDITS: dict[str, tuple[list[Document], str]] = {
    "added": ([*DOCUMENTS, Document("d4", "bees")], "it lacks the document 'd4'"),
    "removed": (DOCUMENTS[:2], "it has the document 'd3', which this one lacks"),
    "edited": ([replace(DOCUMENTS[0], text="bees sleep"), *DOCUMENTS[1:]], "titles or texts have changed"),
    "retitled": ([*DOCUMENTS[:1], replace(DOCUMENTS[1], title=""), *DOCUMENTS[2:]], "titles or texts have changed"),
    "renamed": ([*DOCUMENTS[:2], replace(DOCUMENTS[2], id="d9")], "it has the document 'd3'"),
    "swapped": (
        [replace(DOCUMENTS[0], text=DOCUMENTS[2].text), DOCUMENTS[1], replace(DOCUMENTS[2], text=DOCUMENTS[0].text)],
        "titles or texts have changed",
    ),
}


def _kinds(path: Path) -> dict[str, Retriever]:
    at = str(path)
    return {
        "bm25": BM25(at),
        "bm25q": BM25Q(at),
        "sharded": Sharded(BM25(), at, size=2),
        "sharded vectors": Sharded(ByWords("words"), at, size=2),
        "tree": Tree(Fake("50 50 50"), path=at, encoder=ByWords("words")),
    }


@pytest.mark.parametrize("kind", _kinds(Path()))
def test_an_index_is_searched_for_its_own_collection_only(kind, tmp_path):
    part = _kinds(tmp_path / "idx")[kind]
    wanted = part.ready(DOCUMENTS).search(QUERIES)
    again = _kinds(tmp_path / "idx")[kind]
    for same in (DOCUMENTS, Corpus(DOCUMENTS), iter(DOCUMENTS), DOCUMENTS[::-1]):
        assert again.ready(same).search(QUERIES) == wanted
    for corpus, why in EDITS.values():
        for given in (corpus, Corpus(corpus)):
            with pytest.raises(BadIndex, match=f"idx is of another collection: {why}"):
                _kinds(tmp_path / "idx")[kind].ready(given)


@pytest.mark.engines
@pytest.mark.parametrize(("part", "made"), [(Splade, tiny.sparse_encoder), (Late, tiny.multi_vector_encoder)])
def test_an_encoded_index_is_searched_for_its_own_collection_only(part, made, tmp_path):
    model = str(made(tmp_path / "model"))
    part(model, path=str(tmp_path / "idx"), device="cpu").ready(DOCUMENTS)
    for corpus, why in EDITS.values():
        with pytest.raises(BadIndex, match=f"idx is of another collection: {why}"):
            part(model, path=str(tmp_path / "idx"), device="cpu").ready(corpus)


@pytest.mark.parametrize("edit", EDITS)
def test_vectors_are_gone_on_with_for_what_is_added_and_else_refused(edit, tmp_path):
    part = ByWords("words", path=str(tmp_path / "idx"))
    part.ready(DOCUMENTS)
    if edit == "added":
        part.ready(EDITS[edit][0])
        assert ByWords.open(tmp_path / "idx", "words")._collection()[0] == Corpus(EDITS[edit][0]).fingerprint
    else:
        with pytest.raises(BadIndex, match="collection"):
            part.ready(EDITS[edit][0])


def test_what_is_appended_belongs_to_the_collection(tmp_path):
    more = [Document("d4", "a new bee"), Document("d5", "")]
    BM25().index(DOCUMENTS).append(more).save(tmp_path / "idx")
    assert BM25(str(tmp_path / "idx")).ready([*DOCUMENTS, *more]).search(QUERIES)
    with pytest.raises(BadIndex, match="it has the document 'd4'"):
        BM25(str(tmp_path / "idx")).ready(DOCUMENTS)


def test_an_index_of_an_earlier_version_is_opened_and_told_of(tmp_path):
    wanted = BM25(str(tmp_path / "idx")).index(DOCUMENTS).search(QUERIES)
    description = json.loads((tmp_path / "idx" / "index.json").read_text())
    del description["collection"]
    write_told(tmp_path / "idx", description)
    with pytest.warns(UserWarning, match="does not tell which texts it has"):
        assert BM25(str(tmp_path / "idx")).ready(DOCUMENTS).search(QUERIES) == wanted
    with pytest.raises(BadIndex, match="it has the document 'd2', which this one lacks"):
        BM25(str(tmp_path / "idx")).ready(DOCUMENTS[:1])
    BM25.open(tmp_path / "idx").append([Document("d4", "bee")]).save(tmp_path / "more")
    assert BM25.open(tmp_path / "more")._collection()[0] == ""


def test_the_command_line_refuses_a_changed_collection(run, tmp_path):
    data = tmp_path / "data"
    data.mkdir()

    def write(documents: list[Document]) -> None:
        lines = [json.dumps({"_id": each.id, "title": each.title, "text": each.text}) + "\n" for each in documents]
        (data / "corpus.jsonl").write_text("".join(lines))

    (data / "queries.jsonl").write_text('{"_id": "q", "text": "bees"}\n')
    write(DOCUMENTS)
    assert run("index", "bm25()", "--data", data, "-o", "idx")[0] == 0
    assert run("search", "bm25(path='idx')", "--data", data, "-o", "same")[0] == 0
    for number, (documents, why) in enumerate(EDITS.values()):
        write(documents)
        code, _, err = run("search", "bm25(path='idx')", "--data", data, "-o", f"other{number}")
        assert code == 1 and why in err


# 5. One writer for each index; what a kill left goes; links are no doors.


def _places(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


@pytest.mark.parametrize("kind", ["bm25", "sharded", "tree"])
def test_another_writer_is_told_and_breaks_nothing(kind, tmp_path):
    with (
        one_writer(tmp_path / ".idx.lock", "the index"),
        pytest.raises(BadIndex, match="another process writes the index"),
    ):
        _kinds(tmp_path / "idx")[kind].index(DOCUMENTS)
    assert _places(tmp_path) == []
    _kinds(tmp_path / "idx")[kind].index(DOCUMENTS)
    assert _places(tmp_path) == ["idx"]


def test_two_that_index_the_same_vectors_leave_a_whole_index(tmp_path, monkeypatch):
    monkeypatch.setattr("whyrank.retrieval.vector.dense.BLOCK", 1)
    started, ended, errors = threading.Barrier(2), threading.Event(), []

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS[:2]
        ended.wait(10)
        yield from DOCUMENTS[2:]

    def index() -> None:
        started.wait()
        try:
            ByWords("words", path=str(tmp_path / "idx")).index(documents())
        except BadIndex as error:
            errors.append(str(error))
            ended.set()

    both = [threading.Thread(target=index) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(errors) == 1 and "another process writes the index" in errors[0]
    assert next(iter(ByWords.open(tmp_path / "idx", "words").search(QUERIES, 9)["q"].ids)) == "d1"
    assert _places(tmp_path / "idx") == ["ids.jsonl", "manifest.json", "metadata.jsonl", "vectors.bin"]


def _killed(work: Callable[[], object]) -> None:
    """Do `work` in a process of its own, which ends by a signal."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _deadly() -> Iterator[Document]:
    yield from DOCUMENTS[:2]
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["bm25", "bm25q", "sharded", "tree", "vectors"])
def test_what_a_killed_writer_left_is_swept(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("whyrank.retrieval.vector.dense.BLOCK", 1)
    monkeypatch.setattr("whyrank.retrieval.lexical.segments.BYTES", 1e9)  # each block waits on disk

    def part() -> Retriever:
        return {**_kinds(tmp_path / "idx"), "vectors": ByWords("words", path=str(tmp_path / "idx"))}[kind]

    for _ in range(3):
        _killed(lambda: part().index(_deadly()))
    assert len(_places(tmp_path)) <= 2
    found = part().index(DOCUMENTS).search(QUERIES)
    assert _places(tmp_path) == ["idx"] and not any(name.startswith(".") for name in _places(tmp_path / "idx"))
    shutil.rmtree(tmp_path / "idx")
    assert part().index(DOCUMENTS).search(QUERIES) == found


@pytest.mark.parametrize("name", ["vectors.bin", "ids.jsonl", ".lock"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_vectors_are_not_written_through_a_link(name, link, tmp_path):
    (victim := tmp_path / "victim.txt").write_text("mine")
    part = ByWords("words", path=str(tmp_path / "idx"))
    part.index(DOCUMENTS[:1])
    (tmp_path / "idx" / name).unlink(missing_ok=True)
    link(victim, tmp_path / "idx" / name)
    with pytest.raises(BadIndex):
        part.index(DOCUMENTS)
    shutil.rmtree(tmp_path / "idx")
    (tmp_path / "idx").mkdir()
    link(victim, tmp_path / "idx" / name)
    with pytest.raises(BadIndex):
        part.index(DOCUMENTS)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json.part", "manifest.json"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_manifests_replace_links(name, link, tmp_path):
    part = ByWords("words", path=str(tmp_path / "idx"))
    part.index(DOCUMENTS[:1])
    victim = tmp_path / "victim.txt"
    shutil.copy(tmp_path / "idx" / "manifest.json", victim)
    before = victim.read_text()
    (tmp_path / "idx" / name).unlink(missing_ok=True)
    link(victim, tmp_path / "idx" / name)
    part.index(DOCUMENTS)
    assert victim.read_text() == before and not (tmp_path / "idx" / "manifest.json").is_symlink()


@pytest.mark.parametrize("name", ["idx", ".idx.partial", ".idx.lock"])
def test_no_folder_is_written_or_swept_through_a_link(name, tmp_path):
    (victim := tmp_path / "victim").mkdir()
    (victim / "mine.txt").write_text("mine")
    (tmp_path / name).symlink_to(victim)
    if name == ".idx.partial":
        BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    else:
        with pytest.raises(BadIndex, match="link"):
            BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    assert (victim / "mine.txt").read_text() == "mine" and _places(victim) == ["mine.txt"]


def test_links_inside_what_is_swept_are_not_followed(tmp_path):
    (victim := tmp_path / "victim").mkdir()
    (victim / "mine.txt").write_text("mine")
    (tmp_path / ".idx.partial").mkdir()
    (tmp_path / ".idx.partial" / "there").symlink_to(victim)
    BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    assert (victim / "mine.txt").read_text() == "mine" and _places(tmp_path) == ["idx", "victim"]
