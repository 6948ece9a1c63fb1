"""Golden bodies: what each family of clients sends, and what it is answered."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.llm.trace import Trace
from whyrank.rerank.base import Order, answered, request_of
from whyrank.serve.answer import Answer, quoted
from whyrank.serve.asked import object_of
from whyrank.serve.dialects import read, write
from whyrank.serve.refusal import Refused
from whyrank.serve.scores import unit_scores
from whyrank.types import CallReport, Query

QUERY, TEXTS = "why do bees dance?", ["Bees make honey.", "We know that a dance shows where food is.", "Ants dig."]
THOUGHT = '[2] says "a dance shows where food is", which answers. [1] is on honey.'


def answer(texts=TEXTS, ranking=(1, 0, 2), scores=(), thought=THOUGHT):
    request = request_of(Query("q", QUERY), texts)
    calls = (CallReport("exact", "k", thought=thought, shown=tuple(range(len(texts)))),)
    ranked = answered(request, Order(tuple(ranking), scores, calls), "listwise(fake())", Trace())
    made, how = unit_scores([item.score for item in ranked], lambda score: score)
    return Answer("id-1", "deep", ranked, tuple(made), how)


def asked(body, **headers):
    return read(body, headers)


def ends(body, **headers):
    return write(asked(body, **headers), answer())


def indices(items):
    return [item["index"] for item in items]


def test_cohere_2():
    found = ends({"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "top_n": 2, "max_tokens_per_doc": 4096})
    assert indices(found["results"]) == [1, 0]
    assert found["results"] == found["data"]
    assert set(found["results"][0]) == {"index", "relevance_score"}
    assert found["meta"]["billed_units"] == {"search_units": 1}
    assert found["meta"]["warnings"] == []
    assert "object" not in found


def test_cohere_1_with_objects_and_fields():
    documents = [{"title": "Honey", "text": text, "year": year} for year, text in enumerate(TEXTS)]
    body = {"query": QUERY, "documents": documents, "rank_fields": ["text", "year"], "return_documents": True}
    assert asked(body).texts == tuple(f"{text}\n{year}" for year, text in enumerate(TEXTS))
    assert ends(body)["results"][0]["document"] == documents[1]
    assert asked({"query": QUERY, "documents": documents}).texts[0] == "Honey\nBees make honey."
    assert asked({"query": QUERY, "documents": [{"a": 1}]}).texts == ('{"a": 1}',)


def test_voyage_and_jina_and_vllm():
    found = ends({"query": QUERY, "documents": TEXTS, "model": "rerank-2", "top_k": None, "truncation": True})
    assert indices(found["data"]) == [1, 0, 2]
    assert found["usage"]["total_tokens"] == 0
    found = ends({"query": QUERY, "documents": TEXTS, "top_n": 0, "return_documents": "true"})
    assert found["results"][0]["document"] == {"text": TEXTS[1]}
    assert asked({"query": QUERY, "documents": TEXTS, "instruction": "Be strict."}).query == f"Be strict.\n{QUERY}"


def test_tei():
    found = ends({"query": QUERY, "texts": TEXTS, "return_text": True, "truncate": True})
    assert [(one["index"], one["text"]) for one in found] == [(1, TEXTS[1]), (0, TEXTS[0]), (2, TEXTS[2])]
    assert found[0]["score"] > found[1]["score"]


def test_nim():
    found = ends({"model": "nv", "query": {"text": QUERY}, "passages": [{"text": text} for text in TEXTS]})
    assert indices(found["rankings"]) == [1, 0, 2]
    assert all("logit" in one for one in found["rankings"])


def test_mixedbread():
    found = ends({"model": "mxbai", "query": QUERY, "input": TEXTS, "top_k": 1, "return_input": True})
    assert found["data"][0] | {"score": 0} == {"index": 1, "score": 0, "input": TEXTS[1], "object": "rank_result"}
    assert (found["object"], found["top_k"], found["return_input"]) == ("list", 1, True)


def test_pinecone():
    body = {"model": "bge", "query": QUERY, "documents": [{"text": text, "_id": "a"} for text in TEXTS], "top_n": 1}
    found = ends(body, **{"x-pinecone-api-version": "2025-10"})
    assert found["data"][0]["document"] == {"text": TEXTS[1], "_id": "a"}
    assert found["usage"]["rerank_units"] == 1
    assert "results" not in found


def test_reasons_and_spans_come_where_they_are_asked_for():
    first, second, third = ends({"query": QUERY, "documents": TEXTS, "explain": True})["results"]
    assert first["reason"].startswith('[2] says "a dance')
    (span,) = first["spans"]
    assert TEXTS[1][span["start"] : span["end"]] == "a dance shows where food is"
    assert second["reason"] == "[1] is on honey."
    assert "spans" not in second
    assert "reason" not in third
    body = {"query": QUERY, "documents": TEXTS, "relevant_spans": {"mode": "enabled"}}
    assert "reason" in ends(body)["results"][0]


@given(st.text(), st.text(min_size=12), st.text(), st.sampled_from(['"{}"', "“{}”", "«{}»"]))
def test_a_span_is_where_the_quote_stands(before, quote, after, marks):
    text = before + quote + after
    for span in quoted(marks.format(quote), text):
        assert 0 <= span["start"] < span["end"] <= len(text)
        assert text[span["start"] : span["end"]] in quote


def test_raw_scores_are_the_models_own_or_refused():
    body = {"query": QUERY, "documents": TEXTS, "raw_scores": True}
    assert [one["relevance_score"] for one in write(asked(body), answer(scores=(3.0, 7.0, -2.0)))["results"]] == [
        7,
        3,
        -2,
    ]
    with pytest.raises(Refused, match="gives no scores of its own"):
        ends(body)


def test_a_client_may_ask_for_less_time():
    body = {"query": QUERY, "documents": TEXTS}
    assert asked(body | {"deadline": 5}, **{"x-request-timeout": "9"}).seconds == 5
    assert asked(body, **{"x-stainless-read-timeout": "60.0"}).seconds == 60
    assert asked(body, **{"x-request-timeout": "soon"}).seconds is None


def test_what_nobody_knows_is_told_and_not_refused():
    found = ends({"query": QUERY, "documents": TEXTS, "spec": "bm25()", "temperature": 1})
    assert found["meta"]["warnings"] == ["ignored: spec, temperature"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "the body has nothing to rank"),
        ({"documents": TEXTS}, "query must be a text, not null"),
        ({"query": " ", "documents": TEXTS}, "query is empty"),
        ({"query": 3, "documents": TEXTS}, "query must be a text, not 3"),
        ({"query": QUERY, "documents": None}, "documents must be a list of texts, not null"),
        ({"query": QUERY, "documents": []}, "documents is empty"),
        ({"query": QUERY, "documents": "one"}, "documents must be a list of texts, not 'one'"),
        ({"query": QUERY, "documents": [1]}, r"documents\[0\] must be a text"),
        ({"query": QUERY, "documents": ["a"] * 1001}, "1,001 documents, and this server takes 1,000"),
        ({"query": QUERY, "documents": ["a\ud800"]}, r"documents\[0\] holds half of a surrogate pair, \\ud800"),
        ({"query": "\udfff", "documents": ["a"]}, "query holds half of a surrogate pair"),
        ({"query": QUERY, "documents": TEXTS, "top_n": -1}, "top_n must be a whole number"),
        ({"query": QUERY, "documents": TEXTS, "top_n": True}, "top_n must be a whole number"),
        ({"query": QUERY, "documents": TEXTS, "top_k": 1.5}, "top_k must be a whole number"),
        ({"query": QUERY, "documents": TEXTS, "return_documents": "perhaps"}, "return_documents must be true or false"),
        ({"query": QUERY, "documents": [{"text": "a"}], "rank_fields": ["body"]}, "has no field 'body'"),
        ({"query": QUERY, "documents": TEXTS, "rank_fields": "text"}, "rank_fields must be a list"),
        ({"query": QUERY, "documents": TEXTS, "deadline": -1}, "deadline must be a time in seconds"),
        ({"query": QUERY, "documents": TEXTS, "model": 7}, "model must be a text"),
        ({"query": QUERY, "documents": TEXTS, "priority": "high"}, "priority must be a whole number"),
        ({"query": {"text": None}, "passages": [{"text": "a"}]}, "query must be a text"),
        ({"query": QUERY, "texts": {"a": "b"}}, "texts must be a list of texts"),
    ],
)
def test_a_body_that_does_not_fit_is_told_what_is_wanted(body, told):
    with pytest.raises(Refused, match=told) as refused:
        asked(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("text", ["", "{", "[1]", "NaN", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000, "\xff"])
def test_a_body_that_is_no_object_of_json_is_refused(text):
    with pytest.raises(Refused, match="body") as refused:
        object_of(text.encode("latin-1"))
    assert refused.value.status == 400


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(texts, min_size=1, max_size=30), st.data(), st.sampled_from(["documents", "texts", "passages", "input"])
)
def test_any_answer_names_each_document_once_and_its_scores_fall(texts, data, field):
    order = data.draw(st.permutations(range(len(texts))))
    own = data.draw(st.lists(st.floats(), min_size=len(texts), max_size=len(texts)))
    held = [{"text": text} for text in texts] if field == "passages" else texts
    found = write(asked({"query": "q", field: held}), answer(texts, order, tuple(own)))
    items = found if isinstance(found, list) else found.get("results") or found.get("rankings") or found["data"]
    scores = [one.get("relevance_score", one.get("score", one.get("logit"))) for one in items]
    assert indices(items) == list(order)
    assert all(0 <= score <= 1 for score in scores)
    assert all(one > next for one, next in itertools.pairwise(scores))
    json.dumps(found, allow_nan=False)
