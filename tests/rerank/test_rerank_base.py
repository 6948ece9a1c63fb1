"""What every reranker keeps to, whoever writes it: the guard around `_rank`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.base import LLMReranker, Order, RankedList, Request, Reranker, statuses
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.types import Corpus, Dataset, Document, Note, Query, Run

DATA = Dataset(
    "bees",
    Corpus([Document(f"d{at}", f"text {'x' * at}") for at in range(10)] + [Document("empty", "")]),
    (Query("q1", "why?"), Query("q2", "how?", frozenset({"d0", "d3"})), Query("q3", "when?")),
)


@dataclass(frozen=True)
class Longest(Reranker):
    """The longest text first: a third party's reranker, whole."""

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        return [self.order([float(len(document.text)) for document in request.documents]) for request in requests]

    def order(self, scores: list[float]) -> Order:
        return Order(tuple(sorted(range(len(scores)), key=lambda at: -scores[at])), tuple(scores))


@dataclass(frozen=True)
class YesNo(LLMReranker):
    """A third party's strategy, whole: one question a document, all at once; those with a yes first."""

    def plan(self, request: Request) -> Plan[Order]:
        prompts = [
            Prompt((Message("user", (Piece(f"{request.query.text} {doc.text}"),)),)) for doc in request.documents
        ]
        answers = yield prompts
        yes = [isinstance(answer, Ok) and answer.text == "yes" for answer in answers]
        calls = tuple(reported(answer) for answer in answers)
        return Order(tuple(sorted(range(len(yes)), key=lambda at: not yes[at])), calls=calls)


@dataclass(frozen=True)
class Wrong(Reranker):
    """Gives back what it is told to, right or wrong."""

    orders: tuple[Any, ...]

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
        return list(self.orders)


def order_of(run: Run) -> dict[str, list[str]]:
    return {id: list(run[id].ids) for id in run}


def test_a_third_party_needs_only_the_hook() -> None:
    first = Run.of({"q1": ["d1", "d4", "d2"], "q2": ["d1", "d0", "d2"]}, name="first")
    final = Longest().rerank(first, DATA)
    assert order_of(final) == {"q1": ["d4", "d2", "d1"], "q2": ["d2", "d1"]}
    assert final["q1"].scores.tolist() == [3.0, 2.0, 1.0]
    assert final.notes["q1"].to_dict() == {
        "calls": [], "scores": {"d1": 6.0, "d4": 9.0, "d2": 7.0}, "first": {"d1": 3.0, "d4": 2.0, "d2": 1.0}
    }  # fmt: skip
    assert make(repr(Longest())) == Longest()
    assert statuses(final) == {}


def test_a_third_party_strategy_needs_only_a_plan() -> None:
    final = YesNo(Fake(lambda prompt: "yes" if prompt.chat[0]["content"].endswith("xx") else "no")).rerank(
        Run.of({"q1": ["d1", "d4", "d0", "d2"]}), DATA
    )
    assert order_of(final) == {"q1": ["d4", "d2", "d1", "d0"]}
    assert make("listwise(fake(answer='x'))") == Listwise(Fake("x"))
    assert statuses(final) == {"exact": 4, "repaired": 0, "truncated": 0, "no_answer": 0, "failed": 0}


def test_failures_reach_the_plan_and_are_counted() -> None:
    llm = Fake(lambda _: Failed("refusal", "no"))
    final = YesNo(llm).rerank(Run.of({"q1": ["d1", "d4"]}), DATA)
    assert order_of(final) == {"q1": ["d1", "d4"]} and statuses(final)["failed"] == 2
    final = Listwise(llm).rerank(Run.of({"q1": ["d1", "d4"], "q3": ["d2", "d1"]}), DATA)
    assert order_of(final) == {"q1": ["d1", "d4"], "q3": ["d2", "d1"]} and statuses(final)["failed"] == 2
    assert final.notes["q1"].calls[0].failure == "refusal"


DOCUMENTS = st.lists(st.sampled_from([f"d{at}" for at in range(10)] + ["empty"]), unique=True)


@given(st.dictionaries(st.sampled_from(["q1", "q2", "q3"]), DOCUMENTS), st.integers(1, 12))
def test_head_reranked_tail_kept_excluded_gone(rankings: dict[str, list[str]], depth: int) -> None:
    final = Longest().rerank(Run.of(rankings), DATA, depth=depth)
    assert list(final) == list(rankings)
    for query in DATA.queries:
        if query.id in rankings:
            allowed = [id for id in rankings[query.id] if id not in query.excluded]
            head = sorted(allowed[:depth], key=lambda id: -len(DATA.corpus[id].text))
            assert order_of(final)[query.id] == head + allowed[depth:]
            assert final[query.id].scores.tolist() == list(range(len(allowed), 0, -1))


def test_excluded_documents_go_before_the_cut() -> None:
    final = Longest().rerank(Run.of({"q2": ["d0", "d3", "d1", "d2", "d9"]}), DATA, depth=2)
    assert order_of(final) == {"q2": ["d2", "d1", "d9"]}


def test_depth_beyond_the_run_takes_all_of_it() -> None:
    first = Run.of({"q1": ["d1", "d2"]})
    assert order_of(Longest().rerank(first, DATA, depth=10**9)) == {"q1": ["d2", "d1"]}


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_below_one_is_refused(depth: int) -> None:
    with pytest.raises(BadInput, match=f"depth must be at least 1, not {depth}"):
        Longest().rerank(Run.of({"q1": ["d1"]}), DATA, depth=depth)


def test_a_query_without_candidates_stays_without() -> None:
    def never(prompt: Prompt) -> str:
        raise AssertionError("there is nothing to ask")

    first = Run.of({"q1": [], "q2": ["d0", "d3"], "q3": ["d1"]})
    final = Listwise(Fake(never)).rerank(first, DATA)
    assert order_of(final) == {"q1": [], "q2": [], "q3": ["d1"]}
    assert order_of(Longest().rerank(Run.of({}), DATA)) == {}


def test_an_empty_document_is_ranked_like_any_other() -> None:
    final = Listwise(Fake("[2] > [1]")).rerank(Run.of({"q1": ["d1", "empty"]}), DATA)
    assert order_of(final) == {"q1": ["empty", "d1"]}


def test_unknown_query() -> None:
    with pytest.raises(BadInput, match="run 'first': query 'q9' is not among the 3 queries of 'bees'"):
        Longest().rerank(Run.of({"q1": ["d1"], "q9": ["d1"]}, name="first"), DATA)


def test_unknown_document() -> None:
    first = Run.of({"q1": ["d1", "d77"]}, name="first")
    with pytest.raises(
        BadInput, match="run 'first', query 'q1': document 'd77' is not among the 11 documents of 'bees'"
    ):
        Longest().rerank(first, DATA)
    assert order_of(Longest().rerank(first, DATA, depth=1)) == {"q1": ["d1", "d77"]}


def test_a_document_ranked_twice_never_gets_here() -> None:
    with pytest.raises(BadInput, match="run 'run', query 'q1': document 'd1' is ranked twice"):
        Longest().rerank(Run.of({"q1": ["d1", "d2", "d1"]}), DATA)


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ((), "gave 0 orders for 1 requests"),
        ((Order((0, 1)), Order((0, 1))), "gave 2 orders for 1 requests"),
        ((Order((0,)),), r"query 'q1': the ranking \(0,\) is no permutation of its 2 candidates"),
        ((Order((0, 0)),), "is no permutation of its 2 candidates"),
        ((Order((1, 2)),), "is no permutation of its 2 candidates"),
        ((Order((1, 0), (0.5,)),), "query 'q1': 1 scores for 2 candidates"),
    ],
)
def test_a_reranker_that_breaks_the_contract_is_named(orders: tuple[Order, ...], message: str) -> None:
    with pytest.raises(BadInput, match=rf"Wrong.*{message}"):
        Wrong(orders).rerank(Run.of({"q1": ["d1", "d2"]}), DATA)


def test_a_request_holds_first_stage_scores() -> None:
    seen: list[Request] = []

    class Spy(Longest):
        def _rank(self, requests: Sequence[Request], trace: Trace | None) -> Sequence[Order]:
            seen.extend(requests)
            return super()._rank(requests, trace)

    Spy().rerank(Run.of({"q2": {"d1": 7.5, "d0": 6.0, "d2": 5.5, "d4": 5.0}}), DATA, depth=2)
    assert seen == [Request(DATA.queries[1], (DATA.corpus["d1"], DATA.corpus["d2"]), (7.5, 5.5))]


def test_rank_for_rag() -> None:
    llm = Fake("<think>Only the second tells.</think><answer>[2] > [1] > [3]</answer>")
    best = Listwise(llm).rank("why do bees dance?", ["Bees make\nhoney.", "The waggle dance tells the way.", "y" * 100])
    assert [(item.rank, item.index, item.id, item.score) for item in best] == [
        (1, 1, "1", None), (2, 0, "0", None), (3, 2, "2", None)
    ]  # fmt: skip
    assert best.reason == "Only the second tells."
    assert best.statuses == {"exact": 1, "repaired": 0, "truncated": 0, "no_answer": 0, "failed": 0}
    assert len(best) == 3 and best[0] is best.items[0]
    some = best[:2]
    assert some.items == best.items[:2] and some.calls == best.calls and some.reason == best.reason
    assert some.explain() and best[-1:][0] is best[2] and len(best[5:]) == 0
    told = some.to_dict()["documents"]
    assert [(one["index"], one["text"]) for one in told] == [(item.index, item.text) for item in some]
    assert str(best).splitlines() == [
        "1. [1] The waggle dance tells the way.",
        "2. [0] Bees make honey.",
        f"3. [2] {'y' * 79}…",
        "reason: Only the second tells.",
        "calls: exact 1",
    ]


def test_rank_shows_scores_and_takes_documents() -> None:
    best = Longest().rank(Query("q", "why?"), [Document("a", "xy"), Document("b", "xyz"), Document("b", "")])
    assert [(item.id, item.score) for item in best] == [("b", 3.0), ("a", 2.0), ("b", 0.0)]
    assert str(best) == "1. [1] 3  xyz\n2. [0] 2  xy\n3. [2] 0"
    assert best.reason == "" and best.statuses == {}


def test_rank_of_nothing() -> None:
    assert Listwise(Fake()).rank("why?", []) == RankedList(())
    (only,) = Listwise(Fake(), format=RankingFormat(think="no")).rank("why?", ["because"])
    assert only.text == "because"


@pytest.mark.parametrize(
    ("docs", "message"),
    [("a single text", "docs is one text: hand in a list"), (["a", None], r"docs\[1\] is a NoneType: hand in texts")],
)
def test_rank_refuses_what_is_no_list_of_texts(docs: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Longest().rank("why?", docs)


def test_scores_that_are_missing_are_allowed() -> None:
    (first, second) = Wrong((Order((1, 0), (math.nan, 2.0)),)).rank("why?", ["a", "b"])
    assert first.score == 2.0 and math.isnan(second.score)


def test_statuses_of_runs_without_calls() -> None:
    assert statuses(Run.of({"q1": ["d1"]})) == {}
    assert statuses(Run.of({"q1": ["d1"]}, notes={"q1": Note(outcome="gated"), "q2": Note()})) == {}
