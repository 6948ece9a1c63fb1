"""Rewriting end to end with scripted models: what is asked, what is searched, what is counted, what is never shown."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DOCUMENTS, QUERY, READY, Recorder, searched, shown

from whyrank import BM25, Corpus, Fake, Listwise, Query, Retriever, Trace, evaluate, load, make
from whyrank.errors import BadIndex, BadInput, EngineError
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.messages import Prompt
from whyrank.retrieval import rewrite
from whyrank.retrieval.rewrite import (
    Append,
    FuseOriginal,
    Gate,
    HyDE,
    Keywords,
    LameR,
    LLMRewriter,
    PassageRequest,
    Query2Doc,
    ReasonedQuery,
    Replace,
    Rewriter,
    Rewriting,
    Rewritten,
    StepBack,
    SubQueries,
    ThinkQE,
    outcomes,
)
from whyrank.testing import check_retriever

TOY = load("toy")
TOY_BM25 = BM25().index(TOY.corpus)
ONE_CALL = (ReasonedQuery, HyDE, Query2Doc, LameR, Keywords, SubQueries, StepBack)
KINDS = (*ONE_CALL, ThinkQE)


def oracle(prompt: Prompt) -> str:
    """Says what the judged documents of the toy question in the prompt say."""
    (query,) = (query for query in TOY.queries if " ".join(query.text.split()) in shown(prompt))
    gold = [TOY.corpus[id].content for id, grade in TOY.qrels[query.id].items() if grade == 2]
    return f"<think>zebra {query.text}</think>" + "\n".join(gold)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_oracle_lifts_the_ranking(kind):
    before = evaluate(TOY_BM25.search(TOY.queries), TOY.qrels, ["nDCG@10"]).means["nDCG@10"]
    run = Rewritten(BM25(), kind(Fake(oracle))).index(TOY.corpus).search(TOY.queries)
    after = evaluate(run, TOY.qrels, ["nDCG@10"]).means["nDCG@10"]
    assert after > before + 0.15
    assert outcomes(run) == {"rewritten": len(TOY.queries), "fell_back": 0, "gated": 0}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "raw", ["<think>zebra</think>waggle", Ok("zebra</think>waggle"), Ok("waggle", reasoning="zebra")], ids=repr
)
def test_the_thought_is_never_searched(kind, raw):
    run, texts = searched(kind(Fake(lambda prompt: raw)))
    assert not any("zebra" in text for text in texts)
    assert any("waggle" in text for text in texts)
    assert all(call.thought == "zebra" for call in run.notes["q"].calls)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("completion", "status"),
    [
        (Failed("refusal", "no"), "failed"),
        (Ok(""), "no_answer"),
        (Ok(" \n "), "no_answer"),
        (Ok("", reasoning="bees, and", finish="length"), "no_answer"),
        (Ok("<think>honey and", finish="length"), "no_answer"),
        (Ok("<answer></answer>"), "no_answer"),
    ],
    ids=repr,
)
def test_without_an_answer_the_query_itself_is_searched_and_counted(kind, completion, status):
    queries = [QUERY, Query("p", "ants and honey")]
    good = Ok("waggle run")
    rewriter = kind(Fake(lambda prompt: good if "ants" in shown(prompt).split("Found passages")[0] else completion))
    run = Rewritten(READY, rewriter).ready(Corpus(DOCUMENTS)).search(queries)
    assert run["q"].ids == READY.search([QUERY])["q"].ids
    assert outcomes(run) == {"rewritten": 1, "fell_back": 1, "gated": 0}
    assert {call.status for call in run.notes["q"].calls} == {status}
    assert run.notes["q"].rewritten == ()
    assert run.notes["p"].rewritten != ()


def test_an_answer_that_was_cut_off_is_used_and_counted():
    run, texts = searched(HyDE(Fake(lambda prompt: Ok("the waggle run of", finish="length"))))
    assert texts == ["the waggle run of"]
    assert [(call.status, call.finish, call.thought) for call in run.notes["q"].calls] == [("truncated", "length", "")]


def test_the_inside_of_an_answer_block_is_the_answer():
    assert searched(HyDE(Fake("So: <answer> waggle run </answer> I hope this helps")))[1] == ["waggle run"]
    assert searched(HyDE(Fake(lambda prompt: Ok("<answer>waggle", finish="length"))))[1] == ["waggle"]


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (ReasonedQuery, ["waggle\nrun"]),
        (HyDE, ["waggle\nrun"]),
        (Query2Doc, ["why do bees dance\nwhy do bees dance\nwaggle\nrun"]),
        (LameR, ["why do bees dance", "why do bees dance\nwaggle\nrun"]),
        (Keywords, ["why do bees dance\nwaggle, run"]),
        (SubQueries, ["why do bees dance", "waggle", "run"]),
        (StepBack, ["why do bees dance", "waggle\nrun"]),
    ],
)
def test_each_rewriter_has_its_usual_way_which_the_spec_tells(kind, texts):
    assert searched(kind(Fake("waggle\nrun")))[1] == texts
    part = Rewritten(BM25(), kind(Fake("waggle\nrun")))
    assert f"combine={part.rewriter.default_combine!r}" in repr(part)
    assert make(repr(part)) == part


def test_searches_of_all_queries_are_made_together():
    recorder, queries = Recorder(), [Query(f"q{n}", f"bees {n}") for n in range(5)]
    rewriter = ThinkQE(Fake("waggle"), rounds=2, samples=1)
    Rewritten(recorder, rewriter).index(DOCUMENTS).search(queries)
    assert [len(search) for search in recorder.asked] == [5, 5, 5]
    assert [id for id, _ in recorder.asked[0]] == [query.id for query in queries]


@given(
    banned=st.lists(st.sets(st.sampled_from([doc.id for doc in DOCUMENTS])), min_size=3, max_size=3),
    kind=st.sampled_from(KINDS),
    combine=st.sampled_from([None, Replace(), Append(), FuseOriginal(), Gate()]),
    k=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_excluded_documents_are_never_shown_and_never_return(banned, kind, combine, k):
    texts = ("why do bees dance", "honey in the hive", "the food of ants and yeast")
    queries = [Query(f"q{at}", text, frozenset(ids)) for at, (text, ids) in enumerate(zip(texts, banned, strict=True))]
    prompts = []
    llm = Fake(lambda prompt: prompts.append(shown(prompt)) or "hive bees flowers ants\nyeast")
    run = Rewritten(READY, kind(llm), combine).ready(Corpus(DOCUMENTS)).search(queries, k)
    for query in queries:
        assert not query.excluded & set(run[query.id].ids)
        for prompt in (prompt for prompt in prompts if query.text in prompt):
            assert not any(doc.text in prompt for doc in DOCUMENTS if doc.id in query.excluded)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_stopped_run_goes_on_and_repeats_no_call(kind, tmp_path):
    asked = []
    part = Rewritten(BM25(), kind(Fake(lambda prompt: asked.append(prompt) or oracle(prompt)))).index(TOY.corpus)
    with Trace(tmp_path / "trace.jsonl") as trace:
        first = part.search(TOY.queries, trace=trace)
    total, file = len(asked), (tmp_path / "trace.jsonl").read_bytes()
    assert len(file.splitlines()) == total
    with Trace(tmp_path / "trace.jsonl") as trace:
        assert part.search(TOY.queries, trace=trace) == first
    assert len(asked) == total
    (tmp_path / "half.jsonl").write_bytes(file[: len(file) // 2])
    kept = len((tmp_path / "half.jsonl").read_bytes().split(b"\n")) - 1
    with Trace(tmp_path / "half.jsonl") as trace:
        again = part.search(TOY.queries, trace=trace)
    assert again == first and again.notes == first.notes
    assert len(asked) == 2 * total - kept


def test_passages_come_from_the_collection_that_the_index_is_of(tmp_path):
    BM25(path=str(tmp_path / "idx")).index(DOCUMENTS)
    part = Rewritten(BM25(path=str(tmp_path / "idx")), LameR(Fake("waggle")))
    with pytest.raises(BadInput, match=r"lamer reads passages, but only an index is here: call ready"):
        part.search([QUERY])
    run = part.ready(iter(DOCUMENTS)).search([QUERY])
    assert run == Rewritten(READY, LameR(Fake("waggle"))).ready(Corpus(DOCUMENTS)).search([QUERY])
    with pytest.raises(BadIndex, match="is of another collection: it has the document 'd0', which this one lacks"):
        part.ready(Corpus(DOCUMENTS[5:]))
    assert Rewritten(part.retriever, HyDE(Fake("waggle"))).search([QUERY])["q"].ids[0] == "d1"


def test_a_collection_that_is_read_once_serves_index_and_texts():
    part = Rewritten(BM25(), LameR(Fake("waggle"))).index(doc for doc in DOCUMENTS)
    assert part.search([QUERY]).notes["q"].calls[0].passages != ()


def test_a_reranker_sees_the_original_query():
    data = TOY.head(3)
    run = Rewritten(BM25(), HyDE(Fake("waggle run of bees water"))).index(data.corpus).search(data.queries)
    prompts = []
    judge = Fake(lambda prompt: prompts.append(shown(prompt)) or "[1]")
    Listwise(judge).rerank(run, data, depth=5)
    assert len(prompts) == 3
    for query, prompt in zip(data.queries, prompts, strict=True):
        assert query.text in prompt and "waggle" not in prompt


@pytest.mark.parametrize(("kind", "searches"), [(StepBack, 2), (LameR, 1)])
def test_calls_of_an_inner_rewriter_are_told_and_recorded_too(kind, searches):
    inner = Rewritten(BM25(), HyDE(Fake(lambda prompt: f"honey {len(shown(prompt))}", model="inner")))
    trace = Trace()
    part = Rewritten(inner, kind(Fake("nectar", model="outer"))).index(DOCUMENTS)
    run = part.search([QUERY], trace=trace)
    assert len(run.notes["q"].calls) == 1 + searches
    assert run.notes["q"].rewritten == ("nectar",)
    assert (
        trace.ledger.total.calls == 3
    )  # the outer rewriter's own, and the inner one's for the query and for another text


@pytest.mark.parametrize(
    "spec",
    [
        "rewritten(bm25(), query2doc(fake('flowers')))",
        "rewritten(bm25(), lamer(fake('flowers'), passages=2))",
        "rewritten(bm25(), thinkqe(fake('flowers'), rounds=2, samples=1))",
        "rewritten(bm25(), subqueries(fake('sea and tide\\nhoney')))",
        "rewritten(bm25(), hyde(fake('')))",
        "rewritten(bm25(), hyde(fake('bees')), combine=gate(then=append(), max_formal=0.0))",
    ],
)
def test_the_contract(spec):
    check_retriever(make(spec, Retriever))


@dataclass(frozen=True)
class Wrong(LLMRewriter):
    """Returns something else."""

    def plan(self, query):
        yield []
        return "waggle"


@dataclass(frozen=True)
class Lazy(Rewriter):
    """Leaves a query out, and asks for no passages."""

    def _rewrite(self, queries, find, trace):
        return {}


@dataclass(frozen=True)
class Direct(LLMRewriter):
    """Looks and asks no model at all."""

    def plan(self, query):
        found = yield PassageRequest(query.text, 1)
        return Rewriting((" ", *(document.text for document in found)))


def test_a_rewriter_that_breaks_its_promise_is_told():
    for part in (Wrong(Fake("a")), Lazy()):
        with pytest.raises(BadInput, match=r"query 'q': gave .* instead of a Rewriting"):
            searched(part)


def test_a_plan_may_look_only_and_blank_texts_are_taken_out():
    run, texts = searched(Direct(Fake("never asked")))
    assert texts == [QUERY.text, DOCUMENTS[0].text]
    assert run.notes["q"].rewritten == (DOCUMENTS[0].text,)


def test_an_engine_that_cannot_be_used_is_an_error():
    with pytest.raises(EngineError, match="cannot be used"):
        searched(HyDE(Fake(lambda prompt: Failed("auth", "no such key"))))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("rewritten(bm25(), hyde(fake()), depth=0)", "depth must be at least 1"),
        ("rewritten(bm25(), bm25())", "rewriter must be a Rewriter, not bm25()"),
        ("thinkqe(fake(), rounds=0)", "rounds must be at least 1"),
        ("lamer(fake(), passages=0)", "passages must be at least 1"),
        ("keywords(fake(), max_keywords=0)", "max_keywords must be at least 1"),
        ("subqueries(fake(), max_queries=0)", "max_queries must be at least 1"),
        ("reasoned_query(fake(), template='think')", "must hold {query}"),
        ("repeat(n=0)", "n must be at least 1"),
        ("repeat(ratio=0.0)", "ratio must be above 0"),
        ("fuse_original(weight=-1.0)", "weight must be above 0"),
        ("gate(max_formal=1.5)", "max_formal must be from 0 to 1"),
    ],
)
def test_bad_settings_are_named(spec, text):
    with pytest.raises(BadInput, match=text):
        make(spec)


def test_the_face_of_the_room_is_complete():
    assert all(hasattr(rewrite, name) for name in rewrite.__all__)
