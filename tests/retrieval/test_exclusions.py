"""What a query excludes is never returned and never shown to a model: one property over every way to search."""

from by_words import ByWords
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import Corpus, Document, Fake, Query
from whyrank.retrieval.agentic.agent import Agentic
from whyrank.retrieval.around.feedback import RM3, Rocchio
from whyrank.retrieval.around.fuse import Fuse
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.rewrite.expand import HyDE, LameR, SubQueries
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.retrieval.rewrite.rounds import ThinkQE
from whyrank.retrieval.tree.retriever import Tree

WORDS = ("bee", "dance", "sun", "hive", "trail", "ant", "scent", "tide", "moon", "salt")
CORPUS = Corpus(
    Document(f"d{n}", f"mark{n}x {WORDS[n % 10]} {WORDS[(3 * n + 1) % 10]} {WORDS[(7 * n + 2) % 10]}")
    for n in range(24)
)
SHOWN: list[str] = []


def answer(prompt):
    """Write down what is shown, and answer something that every way of searching can use a part of."""
    SHOWN.append("".join(message.content for message in prompt.messages))
    return '<think>bee</think>{"queries": ["bee dance"], "scores": {"1": 80, "2": 20}}\n- bee dance\n- moon tide'


LLM = Fake(answer)
WAYS = {
    "bm25": BM25(),
    "bm25q": BM25Q(),
    "dense": ByWords("words"),
    "rm3": RM3(BM25()),
    "rocchio": Rocchio(BM25()),
    "rocchio dense": Rocchio(ByWords("words")),
    "fuse": Fuse(BM25(), ByWords("words")),
    "sharded": Sharded(BM25(), size=7),
    "sharded dense": Sharded(ByWords("words"), size=7),
    "hyde": Rewritten(BM25(), HyDE(LLM)),
    "lamer": Rewritten(BM25(), LameR(LLM)),
    "thinkqe": Rewritten(BM25(), ThinkQE(LLM)),
    "subqueries": Rewritten(Fuse(BM25(), BM25Q()), SubQueries(LLM)),
    "tree": Tree(LLM, encoder=ByWords("words"), branching=4),
    "agentic": Agentic(RM3(BM25()), LLM),
    "all at once": Fuse(Rewritten(RM3(BM25()), LameR(LLM)), Agentic(BM25Q(), LLM), Rocchio(ByWords("words"))),
}
READY = {name: way.index(CORPUS) for name, way in WAYS.items()}


@settings(max_examples=80, deadline=None)
@given(
    way=st.sampled_from(list(WAYS)),
    text=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    excluded=st.frozensets(st.sampled_from([document.id for document in CORPUS]), max_size=24),
    k=st.integers(1, 30),
)
def test_what_is_excluded_is_never_returned_nor_shown(way, text, excluded, k):
    SHOWN.clear()
    found = READY[way].search([Query("q", text, excluded)], k)["q"].ids
    assert not excluded & set(found)
    assert len(found) <= k
    marks = [CORPUS[id].text.split()[0] for id in excluded]
    assert not [mark for mark in marks for shown in SHOWN if mark in shown]
