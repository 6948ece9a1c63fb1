"""The prompts of rewriters, word for word."""

from pathlib import Path

import pytest

from whyrank import BM25, Document, Fake, Query, Sampling, make
from whyrank.llm.messages import Prompt
from whyrank.retrieval.rewrite import ReasonedQuery, Rewriter, Rewritten

GOLDEN = Path(__file__).parent / "golden"
QUERY = Query("q", "why do bees dance?\n  (I mean the dance in the hive)")
DOCUMENTS = [
    Document("d1", "Bees make\n honey."),
    Document("d2", "The waggle dance of bees,\tas shown.", "In the hive"),
]
SPECS = {
    "reasoned_query": "reasoned_query(fake())",
    "hyde": "hyde(fake())",
    "query2doc": "query2doc(fake())",
    "lamer": "lamer(fake())",
    "keywords": "keywords(fake())",
    "subqueries": "subqueries(fake())",
    "step_back": "step_back(fake())",
    "thinkqe": "thinkqe(fake(), rounds=1, samples=1)",
    "thinkqe_refine": "thinkqe(fake(), rounds=2, samples=1, passages=1, accumulate=False)",
}


def asked(spec: str) -> list[Prompt]:
    """What a rewriter asks a model that always gives the same answer."""
    prompts: list[Prompt] = []
    part = make(spec, Rewriter)
    object.__setattr__(part, "llm", Fake(lambda prompt: prompts.append(prompt) or "They tell where flowers are."))
    Rewritten(BM25(), part).index(DOCUMENTS).search([QUERY])
    return prompts


def text(prompt: Prompt) -> str:
    return "".join(f"--- {turn['role']}\n{turn['content']}\n" for turn in prompt.chat)


@pytest.mark.parametrize("name", SPECS)
def test_golden_prompt(name):
    assert text(asked(SPECS[name])[-1]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_a_model_that_was_trained_on_other_words_is_asked_in_those():
    (prompt,) = asked(
        "reasoned_query(fake(), template='Rewrite: {query}!', system='', sampling=sampling(max_tokens=9))"
    )
    assert prompt.chat == [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Rewrite: why do bees dance? (I mean the dance in the hive)!"},
    ]
    assert prompt.sampling == Sampling(max_tokens=9)
    assert [turn["role"] for turn in asked("reasoned_query(fake())")[0].chat] == ["user"]


@pytest.mark.parametrize("odd", ["{passages} {draft} {query}", "{", "a\0b"])
def test_queries_with_odd_signs_are_shown_as_they_are(odd):
    prompts: list[Prompt] = []
    llm = Fake(lambda prompt: prompts.append(prompt) or "")
    Rewritten(BM25(), ReasonedQuery(llm)).index(DOCUMENTS).search([Query("q", odd)])
    assert odd in text(prompts[0])
