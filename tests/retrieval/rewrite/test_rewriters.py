"""What each rewriter shows the model, how it reads the answer, and what it searches for in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import DOCUMENTS, QUERY, READY, searched, shown

from whyrank import BM25, Document, Fake
from whyrank.llm.answer import Failed
from whyrank.retrieval.rewrite import Keywords, LameR, Rewritten, SubQueries, ThinkQE, outcomes


@pytest.mark.parametrize(
    ("answer", "kept", "status"),
    [
        ("waggle dance, round dance, Waggle Dance", "waggle, round", "repaired"),
        ("Keywords: nectar; pollen\n", "nectar, pollen", "exact"),
        ('- nectar\n- "pollen"\n3. 2.5 GHz', "nectar, pollen, 2.5 GHz", "exact"),
        ("Dance, BEES, why, (dance)", "", "no_answer"),
        (", ".join(f"word{n}" for n in range(20)), ", ".join(f"word{n}" for n in range(16)), "repaired"),
        (", ;\n,", "", "no_answer"),
    ],
)
def test_keywords_are_few_distinct_and_new(answer, kept, status):
    run, texts = searched(Keywords(Fake(answer)))
    assert texts == [f"{QUERY.text}\n{kept}" if kept else QUERY.text]
    assert run.notes["q"].calls[0].status == status


@given(answer=st.text(), query=st.text(), most=st.integers(1, 20))
def test_keywords_of_any_text(answer, query, most):
    texts, _ = Keywords(Fake(), max_keywords=most).parse(answer, query)
    words = [word for text in texts for word in text.split(", ")]
    assert len(texts) <= 1 and len(words) <= most
    known = {word.casefold() for word in query.split()}
    assert not any(part.casefold() in known for word in words for part in word.split() if part.isalnum())


def test_sub_queries_are_distinct_and_few():
    run, texts = searched(
        SubQueries(Fake("1. what is a waggle\n\n2) What is a waggle\n* sun\n- trail\nnest"), max_queries=3)
    )
    assert texts == [QUERY.text, "what is a waggle", "sun", "trail"]
    assert run.notes["q"].calls[0].status == "repaired"


@given(answer=st.text(), most=st.integers(1, 6))
def test_sub_queries_of_any_text(answer, most):
    texts, _ = SubQueries(Fake(), max_queries=most).parse(answer, "q")
    assert len(texts) <= most and all(text.strip() == text != "" and "\n" not in text for text in texts)


def test_lamer_shows_what_the_query_finds():
    prompts = []
    run, texts = searched(LameR(Fake(lambda prompt: prompts.append(prompt) or "waggle"), passages=2))
    best = READY.search([QUERY])["q"].ids[:2]
    assert run.notes["q"].calls[0].passages == tuple(best)
    assert [doc.id for doc in DOCUMENTS if doc.text in shown(prompts[0])] == sorted(best)
    assert texts == [QUERY.text, f"{QUERY.text}\nwaggle"]


def test_passages_are_cut_and_the_rest_of_the_prompt_is_not():
    prompts = []
    long = [Document("long", "bees dance " * 900), *DOCUMENTS]
    llm = Fake(lambda prompt: prompts.append(prompt) or "waggle")
    Rewritten(BM25(), LameR(llm, passages=3, max_passage_tokens=20)).index(long).search([QUERY])
    pieces = [piece for piece in prompts[0].messages[0].pieces]
    cut = [piece.text for piece in pieces if piece.cut == "document"]
    assert len(cut) == 3 and 50 < max(map(len, cut)) <= 60  # three letters a token, as the estimate has it
    assert [piece.text for piece in pieces if piece.cut == "query"] == [QUERY.text]


def test_thinkqe_accumulates_and_sets_seen_passages_aside():
    seen = []
    told = iter(["waggle zebra", "points there", "", "ants scent", Failed("refusal", "no"), "yeast"])
    llm = Fake(lambda prompt: seen.append(shown(prompt)) or next(told), concurrency=1)
    run, texts = searched(ThinkQE(llm, rounds=3, samples=2, passages=2))
    one, two = "waggle zebra\npoints there", "waggle zebra\npoints there\nants scent"
    assert texts == [QUERY.text, f"{QUERY.text}\n{one}", f"{QUERY.text}\n{two}", f"{QUERY.text}\n{two}\nyeast"]
    calls = run.notes["q"].calls
    assert [call.place.round for call in calls] == [1, 1, 2, 2, 3, 3]
    assert [call.status for call in calls] == ["exact", "exact", "no_answer", "exact", "failed", "exact"]
    rounds = [calls[at].passages for at in (0, 2, 4)]
    assert rounds[0] == tuple(READY.search([QUERY])["q"].ids[:2])
    assert rounds[1][0] == "d1" and len({id for each in rounds for id in each}) == 6
    assert run.notes["q"].rewritten == (f"{two}\nyeast",)
    assert all(QUERY.text in prompt for prompt in seen) and not any("zebra" in prompt for prompt in seen)


def test_thinkqe_repeats_the_query_by_mugis_rule():
    _, texts = searched(ThinkQE(Fake("waggle " * 40), rounds=1, samples=1))
    assert texts[-1] == "\n".join([QUERY.text] * 3 + [("waggle " * 40).strip()])


def test_diver_refines_the_last_draft():
    seen = []
    told = iter(["first draft", "second draft", Failed("refusal", "no")])
    llm = Fake(lambda prompt: seen.append(shown(prompt)) or next(told), concurrency=1)
    run, texts = searched(ThinkQE(llm, rounds=3, samples=1, passages=2, accumulate=False))
    assert texts == [QUERY.text, f"{QUERY.text}\nfirst draft", *[f"{QUERY.text}\nsecond draft"] * 2]
    assert ["first draft" in prompt for prompt in seen] == [False, True, False]
    assert "second draft" in seen[2]
    assert outcomes(run)["rewritten"] == 1
