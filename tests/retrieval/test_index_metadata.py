"""What is known of documents is kept with their index: a folder that is opened again filters as the index did."""

import json
from datetime import date

import pytest
import tiny
from by_words import ByWords
from crafted import write_told

from whyrank.errors import BadIndex, BadInput
from whyrank.llm.fake import Fake
from whyrank.retrieval.around.feedback import RM3
from whyrank.retrieval.around.fuse import Fuse
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.types import Corpus, Document, Query

DOCUMENTS = [
    Document("d1", "bee dance", metadata={"lang": "de", "year": 1927, "tags": ["sun", "é"]}),
    Document("d2", "bee hive", metadata={"lang": "fr", "deep": {"a": [1, None]}}),
    Document("d3", "bee"),
    Document("d4", "bee moon", metadata={"lang": "de"}),
]
QUERY = [Query("q", "bee")]
CONDITIONS = {
    "one": {"lang": "de"},
    "several": {"lang": ["de", "fr"], "tags": "é"},
    "none": {"lang": "it"},
    "function": lambda known: known.get("year", 1900) < 1950,
    "bare": lambda known: not known,
    "deep": {"deep": {"a": [1, None]}},
}
KINDS = {
    "bm25": BM25,
    "bm25q": BM25Q,
    "dense": lambda path=None: ByWords("words", path=path),
    "sharded": lambda path=None: Sharded(BM25(), path, size=2),
    "sharded vectors": lambda path=None: Sharded(ByWords("words"), path, size=3),
    "tree": lambda path=None: Tree(Fake("50 50 50"), path=path, encoder=ByWords("words")),
}


def found(part, where):
    return sorted(part.search(QUERY, where=where)["q"].ids)


def wanted(where, documents=DOCUMENTS):
    return sorted(Corpus(documents).where(where))


@pytest.mark.parametrize("where", CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_opened_index_knows_what_the_first_one_knew(kind, where, tmp_path):
    path = str(tmp_path / "idx")
    written, opened = KINDS[kind](path).index(iter(DOCUMENTS)), KINDS[kind](path)
    assert found(written, where) == found(opened, where) == wanted(where)


@pytest.mark.parametrize("kind", ["bm25", "dense", "tree"])
def test_so_does_one_that_was_saved_or_changed(kind, tmp_path):
    where, path = {"lang": "de"}, str(tmp_path / "idx")
    KINDS[kind]().index(DOCUMENTS).save(path)
    assert found(KINDS[kind](path), where) == ["d1", "d4"]
    more = Document("d5", "bee bee", metadata={"lang": "de"})
    assert found(KINDS[kind](path).append([more]), where) == ["d1", "d4", "d5"]
    if kind != "tree":
        changed = KINDS[kind](path).replace([Document("d1", "bee")], tmp_path / "2").remove(["d2"], tmp_path / "3")
        assert found(changed, where) == found(KINDS[kind](str(tmp_path / "3")), where) == ["d4"]
        assert found(KINDS[kind](str(tmp_path / "2")).append([more], tmp_path / "4"), where) == ["d4", "d5"]
        assert found(KINDS[kind](str(tmp_path / "4")), where) == ["d4", "d5"]


@pytest.mark.engines
@pytest.mark.parametrize(("part", "made"), [(Splade, tiny.sparse_encoder), (Late, tiny.multi_vector_encoder)])
def test_so_do_those_of_other_models(part, made, tmp_path):
    model = str(made(tmp_path / "model"))
    part(model, path=str(tmp_path / "idx"), device="cpu").index(DOCUMENTS)
    opened = part(model, path=str(tmp_path / "idx"), device="cpu")
    only = opened.search(QUERY, where=Corpus(DOCUMENTS).where({"lang": "de"}))
    assert opened.search(QUERY, where={"lang": "de"}) == only and len(only["q"].ids) == 2


@pytest.mark.parametrize(
    "around", [lambda part: RM3(part), lambda part: Fuse(part, BM25Q(part.path))], ids=["feedback", "fusion"]
)
def test_parts_around_an_opened_index_ask_it(around, tmp_path):
    BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    assert found(around(BM25(str(tmp_path / "idx"))), {"lang": "fr"}) == ["d2"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_collection_at_hand_knows_better_than_the_folder(kind, tmp_path):
    """Metadata are no part of what a collection is known by: an index need not be made anew for them."""
    KINDS[kind](str(tmp_path / "idx")).index(DOCUMENTS)
    others = [Document(each.id, each.text, metadata={"lang": "it"}) for each in DOCUMENTS[:2]] + DOCUMENTS[2:]
    ready = KINDS[kind](str(tmp_path / "idx")).ready(others)
    assert found(ready, {"lang": "it"}) == ["d1", "d2"] and found(ready, {"lang": "de"}) == ["d4"]


def test_vectors_that_are_gone_on_with_know_the_newest_metadata(tmp_path):
    part = ByWords("words", path=str(tmp_path / "idx"))
    part.index(DOCUMENTS)
    part.index([*(Document(each.id, each.text) for each in DOCUMENTS[:3]), *DOCUMENTS[3:]])
    assert found(ByWords("words", path=str(tmp_path / "idx")), {"lang": "de"}) == ["d4"]


@pytest.mark.parametrize("kind", ["bm25", "dense", "sharded"])
def test_documents_without_metadata_are_known_to_have_none(kind, tmp_path):
    path = str(tmp_path / "idx")
    KINDS[kind](path).index([Document("a", "bee"), Document("b", "bee ant")])
    with pytest.raises(BadInput, match=r"knows no metadata: .* where=corpus\.where"):
        found(KINDS[kind](path), {"lang": "de"})
    if kind != "sharded":
        longer = KINDS[kind](path).append([Document("c", "bee", metadata={"lang": "de"})])
        assert found(longer, {"lang": "de"}) == ["c"] and found(longer, lambda known: not known) == ["a", "b"]


@pytest.mark.parametrize("kind", ["bm25", "dense", "sharded"])
@pytest.mark.parametrize(
    "odd", [{"day": date(2020, 1, 2)}, {"tags": {"a", "b"}}, {"bytes": b"x"}], ids=["date", "set", "bytes"]
)
def test_what_json_cannot_say_is_told_of_and_no_half_is_kept(kind, odd, tmp_path):
    path, documents = str(tmp_path / "idx"), [*DOCUMENTS, Document("d9", "bee", metadata=odd)]
    with pytest.warns(UserWarning, match="those of 'd9' cannot be written as JSON"):
        made = KINDS[kind](path).index(documents)
    assert found(made, odd) == ["d9"]
    with pytest.raises(BadInput, match="knows no metadata"):
        found(KINDS[kind](path), {"lang": "de"})
    assert found(KINDS[kind](path), ["d9"]) == ["d9"]


def test_an_index_of_an_earlier_version_knows_none_and_says_so(tmp_path):
    BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    told = json.loads((tmp_path / "idx" / "index.json").read_text())
    del told["files"]["metadata.jsonl"]
    (tmp_path / "idx" / "metadata.jsonl").unlink()
    write_told(tmp_path / "idx", told)
    with pytest.raises(BadInput, match="its index folder does not tell them"):
        found(BM25(str(tmp_path / "idx")), {"lang": "de"})
    assert found(BM25(str(tmp_path / "idx")).ready(DOCUMENTS), {"lang": "de"}) == ["d1", "d4"]
    ByWords("words", path=str(tmp_path / "vectors")).index(DOCUMENTS)
    (tmp_path / "vectors" / "metadata.jsonl").unlink()
    told = json.loads((tmp_path / "vectors" / "manifest.json").read_text())
    del told["metadata_crc"]
    (tmp_path / "vectors" / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match="its index folder does not tell them"):
        found(ByWords("words", path=str(tmp_path / "vectors")), {"lang": "de"})


@pytest.mark.parametrize(
    "text",
    [b"", b"{}\n", b"{}\n{}\n{}\nnull\n", b"[]\n[1]\n{}\n{}\n", b"{}\n" * 5, b"\xff\n" * 4, b"[" * 9000 + b"\n" * 4],
)
@pytest.mark.parametrize("kind", ["bm25", "dense"])
def test_damage_is_found(kind, text, tmp_path):
    path = tmp_path / "idx"
    KINDS[kind](str(path)).index(DOCUMENTS)
    (path / "metadata.jsonl").write_bytes(text)
    with pytest.raises(BadIndex, match=r"metadata\.jsonl"):
        found(KINDS[kind](str(path)), {"lang": "de"})


@pytest.mark.parametrize("text", [b"{}\n", b"{}\n{}\n{}\nnull\n", b"{}\n" * 5, b"\xff\n" * 4, b"[" * 9000 + b"\n" * 4])
def test_a_crafted_file_with_the_right_checksum_is_refused_as_well(text, tmp_path):
    path = tmp_path / "idx"
    BM25(str(path)).index(DOCUMENTS)
    (path / "metadata.jsonl").write_bytes(text)
    told = json.loads((path / "index.json").read_text())
    from whyrank.retrieval.folder import _print_of

    told["files"]["metadata.jsonl"] = _print_of(path / "metadata.jsonl")
    write_told(path, told)
    with pytest.raises(BadIndex, match=r"metadata\.jsonl is damaged"):
        found(BM25(str(path)), {"lang": "de"})


def test_a_killed_process_leaves_vectors_that_are_gone_on_with(monkeypatch, tmp_path):
    from whyrank.retrieval.vector import vectors

    part = ByWords("words", path=str(tmp_path / "idx"))
    part.index([Document(each.id, each.text) for each in DOCUMENTS])

    def killed(*_):
        raise KeyboardInterrupt

    for step in ("_own", "zlib"):
        with monkeypatch.context() as patch:
            if step == "_own":
                patch.setattr(vectors, "_own", killed)
            else:
                patch.setattr(vectors.os, "fsync", killed)
            with pytest.raises(KeyboardInterrupt):
                part.index(DOCUMENTS)
        with pytest.raises(BadIndex, match="is unfinished"):
            found(ByWords("words", path=str(tmp_path / "idx")), {"lang": "de"})
    part.index(DOCUMENTS)
    assert found(ByWords("words", path=str(tmp_path / "idx")), {"lang": "de"}) == ["d1", "d4"]


class Unread(Corpus):
    """A collection that is known by its content, and read only where that is asked for."""

    reads = 0

    def __iter__(self):
        self.reads += 1
        return super().__iter__()


@pytest.mark.parametrize("kind", ["bm25", "sharded", "tree"])
def test_a_collection_that_is_known_is_read_only_for_its_metadata(kind, tmp_path):
    KINDS[kind](str(tmp_path / "idx")).index(DOCUMENTS)
    corpus = Unread(DOCUMENTS)
    assert corpus.fingerprint
    corpus.reads = 0
    ready = KINDS[kind](str(tmp_path / "idx")).ready(corpus)
    ready.search(QUERY)
    assert corpus.reads == 0
    assert found(ready, {"lang": "de"}) == ["d1", "d4"] and corpus.reads == 1
    assert found(ready, {"lang": "fr"}) == ["d2"] and corpus.reads == 1
