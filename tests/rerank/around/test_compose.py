"""Cascades and hybrids wrap any reranker, lose nothing, and count as they say."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_query import request

from whyrank.errors import BadInput
from whyrank.llm.fake import Fake
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.around.compose import Cascade, Hybrid, WithScores
from whyrank.rerank.base import Order, Request, Reranker
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.testing import DOCUMENTS, QUERIES, check_reranker
from whyrank.types import CallReport, Corpus, Dataset, Document, Query, Run


@dataclass(frozen=True)
class ByNumber(Reranker):
    """Scores a document by the number that it is, NaN where it is none; the best first."""

    sign: int = 1
    silent: bool = False
    seen: list[Request] = field(default_factory=list, repr=False, compare=False)

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> list[Order]:
        self.seen.extend(requests)
        orders = []
        for one in requests:
            texts = [document.text for document in one.documents]
            scores = [self.sign * float(text) if text.lstrip("-").isdigit() else math.nan for text in texts]
            known = [-math.inf if math.isnan(score) else score for score in scores]
            ranking = tuple(sorted(range(len(known)), key=lambda at, known=known: -known[at]))
            orders.append(Order(ranking, () if self.silent else tuple(scores), (CallReport("exact"),)))
        return orders


def ranked(reranker: Reranker, *requests: Request) -> list[Order]:
    return reranker.rank_requests(requests)


NUMBERS = st.lists(st.integers(-50, 50), max_size=60)


@given(NUMBERS, st.integers(1, 70), st.integers(1, 70))
def test_a_cascade_is_one_reranker_after_the_other(numbers, wide, narrow):
    (order,) = ranked(Cascade(ByNumber(), ByNumber(-1), depths=(wide, narrow)), request(numbers))
    first = sorted(range(len(numbers))[:wide], key=lambda at: -numbers[at]) + list(range(len(numbers)))[wide:]
    assert list(order.ranking) == sorted(first[:narrow], key=lambda at: numbers[at]) + first[narrow:]
    assert [call.place.stage for call in order.calls] == [0, 1]
    known = {at for at, score in enumerate(order.scores) if not math.isnan(score)}
    assert known == set(first[:narrow]) and all(order.scores[at] == -numbers[at] for at in known)


def test_a_stage_is_handed_the_scores_of_the_one_before():
    first, last, silent = ByNumber(), ByNumber(), ByNumber()
    found = request([11, 33, 22], (0.9, 0.8, 0.7))
    ranked(Cascade(first, last), found)
    ranked(Cascade(ByNumber(silent=True), silent, depths=(3, 2)), found)
    assert first.seen[0].scores == (0.9, 0.8, 0.7)
    assert last.seen[0].scores == (33.0, 22.0, 11.0)
    assert [document.text for document in silent.seen[0].documents] == ["33", "22"]
    assert silent.seen[0].scores == (3.0, 2.0)


def test_the_trace_is_passed_on(tmp_path: Path):
    data = Dataset("check", Corpus(DOCUMENTS), QUERIES[:1])
    first = Run.of({"q1": [document.id for document in DOCUMENTS]})
    llm = Fake("<answer>[2] > [1]</answer>")
    part = Cascade(Hybrid(Listwise(llm)), Listwise(llm, window=2), depths=(5, 2))
    with Trace(tmp_path / "trace.jsonl") as trace:
        run = part.rerank(first, data, trace=trace)
    assert len((tmp_path / "trace.jsonl").read_text().splitlines()) == len(run.notes["q1"].calls) == 2


SCORES = st.lists(st.integers(-50, 50), min_size=1, max_size=40).map(lambda some: sorted(some, reverse=True))


@given(st.data(), SCORES, st.floats(0, 1), st.sampled_from(["zscore", "minmax", "rrf"]))
def test_a_hybrid_is_the_weighted_sum(data, firsts, weight, norm):
    n = len(firsts)
    numbers = data.draw(st.permutations(range(n)))
    (order,) = ranked(Hybrid(ByNumber(), weight, norm), request(numbers, [float(score) for score in firsts]))

    def spread(values):
        values, wide = np.array(values, float), np.ptp(values) > 0
        if norm == "minmax":
            return (values - values.min()) / np.ptp(values) if wide else np.ones(n)
        return (values - values.mean()) / values.std() if wide else np.zeros(n)

    if norm == "rrf":
        own = 1 / (60 + np.argsort(np.argsort(-np.array(numbers))) + 1)
        values = weight / (60 + np.arange(n) + 1) + (1 - weight) * own
    else:
        values = weight * spread(firsts) + (1 - weight) * spread(numbers)
    found = values[list(order.ranking)]
    assert sorted(order.ranking) == list(range(n)) and np.all(np.diff(found) <= 1e-9)
    assert order.scores == tuple(map(float, numbers)) and order.calls == (CallReport("exact"),)


@pytest.mark.parametrize("norm", ["zscore", "minmax", "rrf"])
def test_equal_values_keep_the_order_of_the_reranker(norm):
    (order,) = ranked(Hybrid(ByNumber(), 0.5, norm), request([1, 2], (2.0, 1.0)))
    assert order.ranking == (1, 0)


@pytest.mark.parametrize("norm", ["zscore", "minmax"])
def test_a_missing_score_is_the_lowest_normalised_one(norm):
    (order,) = ranked(Hybrid(ByNumber(), 0.2, norm), request(["5", "none", "1", "3"], [4.0, 3.0, 2.0, 1.0]))
    assert order.ranking == (0, 3, 1, 2)
    (order,) = ranked(Hybrid(ByNumber(), 0.2, norm), request(["none", "never"], [4.0, 3.0]))
    assert order.ranking == (0, 1)


def test_the_ends_of_the_weight():
    numbers = [3, 9, 9, 1]
    assert ranked(Hybrid(ByNumber(), 0.0), request(numbers))[0].ranking == (1, 2, 0, 3)
    assert ranked(Hybrid(ByNumber(), 1.0), request(numbers))[0].ranking == (0, 1, 2, 3)
    assert ranked(Hybrid(ByNumber(silent=True), 0.0), request(numbers))[0].ranking == (1, 2, 0, 3)
    assert ranked(Hybrid(ByNumber(), 0.0), request([])) == [Order((), (), (CallReport("exact"),))]


def test_specs():
    text = "cascade(hybrid(listwise(fake()), weight=0.1, norm='minmax'), listwise(fake()), depths=(100, 20))"
    assert repr(make(text)) == text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cascade(), "rerankers must be 1 or more"),
        (lambda: Cascade(ByNumber(), depths=(3, 2)), "2 depths are given for 1 rerankers"),
        (lambda: Cascade(ByNumber(), depths=(0,)), "each of depths must be at least 1"),
        (lambda: Hybrid(ByNumber(), 1.5), "weight must be from 0 to 1"),
        (lambda: Hybrid(ByNumber(), norm="none"), "norm must be 'zscore', 'minmax' or 'rrf'"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(BadInput, match=message):
        build()


def test_the_contract():
    llm = Fake("<answer>[2] > [1]</answer>")
    check_reranker(Cascade(Listwise(llm), Hybrid(Listwise(llm)), depths=(4, 3)))


@given(NUMBERS, st.booleans())
def test_scores_are_shown_and_change_nothing_else(numbers, silent):
    inner = ByNumber(silent=silent)
    asked = request(numbers, sorted((float(3 * number) for number in numbers), reverse=True))
    (order,) = ranked(WithScores(inner), asked)
    (seen,) = inner.seen
    shown = [re.fullmatch(r"\(score of the first search: (\d+) of 100\) (.*)", one.text) for one in seen.documents]
    assert [one[2] for one in shown] == [one.text for one in asked.documents]
    values = [int(one[1]) for one in shown]
    assert values == sorted(values, reverse=True)
    assert not values or (values[0] == 100 and (values[-1] == 0 or len(set(numbers)) == 1))
    assert (seen.query, seen.scores) == (asked.query, asked.scores)
    assert [one.id for one in seen.documents] == [one.id for one in asked.documents]
    assert ranked(ByNumber(silent=silent), seen) == [order]


STRATEGIES = "listwise setwise groupwise merge_tree top_down tournament dual_end pointwise pairwise adaptive".split()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_shows_the_scores(name):
    prompts = []

    def answer(prompt):
        prompts.append(prompt)
        return ""

    part = WithScores(replace(make(f"{name}(fake())"), llm=Fake(answer)))
    documents = (Document("a", "the first [1]", "Title"), Document("b", "the second"), Document("c", "the third"))
    ranked(part, Request(Query("q", "which?"), documents, (7.5, 3.0, -2.5)))
    pieces = {
        piece.text for prompt in prompts for one in prompt.messages for piece in one.pieces if piece.cut == "document"
    }
    told = "(score of the first search: %d of 100) %s"
    assert pieces >= {told % (100, "Title the first (1)"), told % (55, "the second"), told % (0, "the third")}
    check_reranker(make(f"with_scores({name}(fake()))"))
