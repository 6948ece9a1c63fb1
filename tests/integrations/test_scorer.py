"""A reranker in the place of a CrossEncoder; and what all adapters share."""

import numpy as np
import pytest

from whyrank import BM25, Document, EncoderRerank, Fake, Listwise, Pointwise, load
from whyrank.errors import BadInput, BadSpec, NotFound
from whyrank.integrations.common import ranker, searcher, spec
from whyrank.integrations.scorer import Scorer
from whyrank.types import Corpus

DOCS = ["Bees make honey.", "A dance shows where food is.", "Ants dig."]
ANSWER = "<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>"


def grade(prompt):
    said = prompt.chat[-1]["content"]
    return "<score>90</score>" if "dance shows" in said else "<score>20</score>"


def test_predict_scores_pairs_in_their_order():
    scorer = Scorer(Pointwise(Fake(grade)))
    scores = scorer.predict([("why?", DOCS[0]), ("how?", DOCS[1]), ("why?", DOCS[1])], batch_size=8)
    assert scores.dtype == np.float32
    assert scores.round(3).tolist() == pytest.approx([0.2, 0.9, 0.9])
    assert scorer.predict(["why?", DOCS[1]]) == pytest.approx(0.9)
    assert scorer.predict([]).shape == (0,)


def test_rank_has_the_form_of_a_cross_encoders():
    ranked = Scorer(Listwise(Fake(ANSWER))).rank("why?", DOCS, top_k=2, return_documents=True)
    assert [(one["corpus_id"], one["text"]) for one in ranked] == [(1, DOCS[1]), (2, DOCS[2])]
    assert set(Scorer(Listwise(Fake(ANSWER))).rank("why?", DOCS)[0]) == {"corpus_id", "score"}
    assert [at for at, _ in Scorer(Listwise(Fake(ANSWER)))("why?", DOCS)] == [1, 2, 0]


def test_what_only_orders_predicts_nothing():
    with pytest.raises(BadInput, match="gives no scores that compare: use rank"):
        Scorer(Listwise(Fake(ANSWER))).predict([("why?", one) for one in DOCS])
    with pytest.raises(BadInput, match="pair 0 has 3 texts"):
        Scorer(Pointwise(Fake(grade))).predict([("a", "b", "c")])


def test_a_spec_makes_its_part_once():
    text = "listwise(fake('[2] > [1]'))"
    assert ranker(text) is ranker(text)
    assert spec(Listwise(Fake())) == "listwise(fake())"
    with pytest.raises(BadSpec):
        ranker("bm25()")


def test_search_and_rerank():
    found = searcher("bm25()", "toy", Listwise(Fake(ANSWER))).search("why do bees dance?", 2)
    first = searcher(BM25(), load("toy")).search("why do bees dance?", 3)
    assert [one.document for one in found] == [first[1].document, first[2].document]
    assert found[0].reason == "[2] says where."
    assert found[0].score > found[1].score
    assert searcher("bm25()", Corpus([Document("d", "x")])).search("nothing of that", 3) == []
    with pytest.raises(BadInput, match="k must be at least 1"):
        searcher("bm25()", "toy").search("a", 0)
    with pytest.raises(NotFound):
        searcher("bm25()", "no-such-data")


@pytest.mark.engines
def test_a_real_cross_encoder_has_these_methods():
    module = pytest.importorskip("sentence_transformers")
    import inspect

    theirs = module.CrossEncoder
    for name in ("predict", "rank"):
        wanted = set(inspect.signature(getattr(theirs, name)).parameters) & {"query", "documents", "top_k", "sentences"}
        assert wanted <= set(inspect.signature(getattr(Scorer, name)).parameters) | {"inputs"}
    scores = Scorer(EncoderRerank("minilm")).predict([("why do bees dance?", one) for one in DOCS])
    ranked = EncoderRerank("minilm").rank("why do bees dance?", DOCS)
    assert np.argsort(-scores).tolist() == [one.index for one in ranked]
