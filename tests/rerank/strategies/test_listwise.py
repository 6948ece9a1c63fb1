"""Sliding windows: everything is shown, nothing is lost, and a perfect model gives a perfect top."""

import json
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import nDCG
from one_query import as_asked

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.budget import count
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.rerank.base import Order, Request, statuses
from whyrank.rerank.formats import RankingFormat, clean
from whyrank.rerank.strategies.listwise import Listwise, windows
from whyrank.types import Corpus, Dataset, Document, Qrels, Query, Repairs, Run

SIZES = st.integers(2, 60).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))


def passages(prompt: Prompt) -> list[str]:
    return [piece.text for message in prompt.messages for piece in message.pieces if piece.cut == "document"]


def listing(order: Sequence[int]) -> str:
    return " > ".join(f"[{at + 1}]" for at in order)


def best_first(prompt: Prompt) -> Ok:
    """A perfect model for passages that are numbers: the highest first."""
    shown = [int(text) for text in passages(prompt)]
    return Ok(f"<answer>{listing(sorted(range(len(shown)), key=lambda at: -shown[at]))}</answer>")


def request(texts: Sequence[str]) -> Request:
    documents = tuple(Document(f"d{at}", text) for at, text in enumerate(texts))
    return Request(Query("q", "which is the highest?"), documents, tuple(float(n) for n in range(len(texts), 0, -1)))


def walk(
    reranker: Listwise, texts: Sequence[str], answer: Callable[[Prompt], Completion]
) -> tuple[Order, list[Prompt]]:
    """The plan alone, without a scheduler: its order, and every prompt in turn."""
    plan, prompts, batch = reranker.plan(request(texts)), list[Prompt](), None
    try:
        while True:
            asked = list(map(as_asked, plan.send(batch)))  # type: ignore[arg-type]
            prompts += asked
            batch = [answer(prompt) for prompt in asked]
    except StopIteration as end:
        return end.value, prompts


@pytest.mark.parametrize("window", [2, 3, 4, 7, 10, 19, 20, 50, 100, 249, 250, 300])
def test_windows_of_every_size(window: int) -> None:
    for stride in {1, 2, 3, window // 2, window - 1, window} & set(range(1, window + 1)):
        for n in range(251):
            spans = list(windows(n, window, stride))
            assert len(spans) == (0 if n < 2 else 1 if n <= window else 1 + ceil((n - window) / stride))
            assert len(set(spans)) == len(spans)
            assert {at for start, end in spans for at in range(start, end)} == (set(range(n)) if n > 1 else set())
            assert all(0 <= start and 2 <= end - start <= window and end <= n for start, end in spans)
            assert not spans or (spans[0][1] == n and spans[-1][0] == 0 and all(start for start, _ in spans[:-1]))


def test_windows_of_the_field() -> None:
    assert list(windows(100, 20, 10)) == [(end - 20, end) for end in range(100, 19, -10)]
    assert list(windows(10, 20, 10)) == [(0, 10)]
    assert list(windows(25, 20, 10)) == [(5, 25), (0, 15)]


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(250)), st.integers(0, 250), SIZES)
def test_a_perfect_model_gives_a_perfect_top(utilities: list[int], n: int, size: tuple[int, int]) -> None:
    window, stride = size
    texts = [str(utility) for utility in utilities[:n]]
    order, prompts = walk(Listwise(Fake(), window, stride), texts, best_first)
    assert sorted(order.ranking) == list(range(n))
    assert len(prompts) == len(order.calls) == len(list(windows(n, window, stride)))
    assert {text for prompt in prompts for text in passages(prompt)} == (set(texts) if n > 1 else set())
    sure = n if n <= window else window - stride
    best = sorted(range(n), key=lambda at: -int(texts[at]))
    assert list(order.ranking[:sure]) == best[:sure]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 120), SIZES, st.sampled_from([RankingFormat(), RankingFormat(think="no")]))
def test_whatever_the_model_writes_nothing_is_lost(
    data: st.DataObject, n: int, size: tuple[int, int], format: RankingFormat
) -> None:
    garbage = st.text() | st.lists(st.integers(-1, 99)).map(lambda some: " > ".join(f"[{one}]" for one in some))
    answers = garbage.map(Ok) | st.just(Failed("server", "[2] > [1]"))
    order, _ = walk(Listwise(Fake(), *size, format=format), [str(at) for at in range(n)], lambda _: data.draw(answers))
    assert sorted(order.ranking) == list(range(n))
    assert all(call.status in {"exact", "repaired", "truncated", "no_answer", "failed"} for call in order.calls)


def test_a_failed_call_keeps_its_window_and_is_counted() -> None:
    def answer(prompt: Prompt) -> Completion:
        return Failed("timeout", "no answer in 600 s: [2] > [1]") if "24" in passages(prompt) else best_first(prompt)

    order, _ = walk(Listwise(Fake(), 20, 10), [str(at) for at in range(25)], answer)
    assert order.ranking == (*range(14, -1, -1), *range(15, 25))
    assert tuple(call.to_dict() for call in order.calls) == (
        {
            "window": [5, 25], "shown": list(range(5, 25)), "status": "failed",
            "failure": "timeout", "detail": "no answer in 600 s: [2] > [1]",
        },
        {
            "window": [0, 15], "shown": list(range(15)), "status": "exact",
            "missing": 0, "duplicate": 0, "out_of_range": 0, "finish": "stop", "reason": "",
        },
    )  # fmt: skip


def test_each_call_is_reported() -> None:
    answers = iter(
        [
            Ok("<answer>[2] > [2] > [9]</answer>", reasoning="the second"),
            Ok("<answer>[3] > [1", reasoning="the third", finish="length"),
            Ok("None of them."),
        ]
    )
    order, _ = walk(Listwise(Fake(), 4, 2), list("abcdefgh"), lambda _: next(answers))
    assert [(call.place.window, call.status, call.thought, call.finish) for call in order.calls] == [
        ((4, 8), "repaired", "the second", "stop"),
        ((2, 6), "truncated", "the third", "length"),
        ((0, 4), "no_answer", "", "stop"),
    ]
    assert order.calls[0].repairs == Repairs(3, 1, 1)
    assert "".join("abcdefgh"[at] for at in order.ranking) == "abfcdegh"


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 90), SIZES, st.integers(1, 4))
def test_each_pass_makes_as_many_more_exact(data: st.DataObject, n: int, size: tuple[int, int], passes: int) -> None:
    window, stride = size
    utilities = data.draw(st.permutations(range(n)))
    order, prompts = walk(Listwise(Fake(), window, stride, passes=passes), list(map(str, utilities)), best_first)
    sure = n if n <= window else min(n, passes * (window - stride))
    assert sorted(order.ranking) == list(range(n))
    assert [utilities[at] for at in order.ranking[:sure]] == list(range(n))[::-1][:sure]
    one = len(list(windows(n, window, stride)))
    assert len(prompts) in {one * done for done in range(1, passes + 1)}
    if passes > 1 and n > 1:
        assert [call.place.sweep for call in order.calls] == [at // one for at in range(len(prompts))]


def test_passes_end_where_one_changes_nothing() -> None:
    order, prompts = walk(Listwise(Fake(), 4, 2, passes=9), list("87654321"), best_first)
    assert len(prompts) == 3 and list(order.ranking) == list(range(8))
    order, prompts = walk(Listwise(Fake(), 4, 2, passes=9), list("12345678"), best_first)
    assert len(prompts) < 27 and list(order.ranking) == list(range(8))[::-1]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_order_asks_nothing(n: int) -> None:
    order, prompts = walk(Listwise(Fake()), ["7"] * n, best_first)
    assert (order, prompts) == (Order(tuple(range(n))), [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 1}, "window must be at least 2, not 1"),
        ({"window": 0}, "window must be at least 2, not 0"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
        ({"stride": -1}, "stride must be at least 1, not -1"),
        ({"stride": 21}, "stride must be from 1 to the window of 20, not 21"),
        ({"max_passage_tokens": 0}, "max_passage_tokens must be at least 1, not 0"),
    ],
)
def test_bad_sizes_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=f"listwise: {message}"):
        Listwise(Fake(), **settings)  # type: ignore[arg-type]


def test_defaults_are_those_of_the_field() -> None:
    assert (Listwise(Fake()).window, Listwise(Fake()).step, Listwise(Fake()).format) == (20, 10, RankingFormat())
    assert (
        Listwise(Fake(), window=10).step == 5
        and Listwise(Fake(), window=2).step == Listwise(Fake(), window=3).step == 1
    )
    assert make("listwise(fake(), window=10, stride=5)") == Listwise(Fake(), 10, 5)


def test_prompts_carry_query_sampling_and_passages_of_at_most_so_many_tokens() -> None:
    texts = ["short [3]", "a much longer passage " * 50, ""]
    sampling = Sampling(temperature=0.6, top_p=0.95)
    _, (prompt,) = walk(
        Listwise(Fake(), sampling=sampling, max_passage_tokens=12), texts, lambda _: Ok("[1] > [2] > [3]")
    )
    assert prompt.sampling == sampling
    assert "which is the highest?" in prompt.chat[1]["content"]
    short, long, empty = passages(prompt)
    assert (short, empty) == ("short (3)", "(empty)")
    assert clean(texts[1]).startswith(long) and 8 <= count(long, None) <= 12


def test_titles_are_shown() -> None:
    asked = Request(Query("q", "?"), (Document("a", "text", "Title"), Document("b", "text")), (2.0, 1.0))
    prompt = next(Listwise(Fake()).plan(asked))[0]
    assert passages(prompt) == ["Title text", "text"]


@pytest.fixture(scope="module")
def dl19(shared_data: Path) -> Dataset:
    """TREC DL 2019: BM25's 100 best of 43 queries, with text and judgements."""
    folder = shared_data / "trec_dl"
    records = json.loads((folder / "dl19.bm25.top100.json").read_text(encoding="utf-8"))
    texts = {hit["docid"]: hit["content"] for record in records for hit in record["hits"]}
    rankings = {str(record["hits"][0]["qid"]): [hit["docid"] for hit in record["hits"]] for record in records}
    grades: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.dl19.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        grades.setdefault(query, {})[document] = int(grade)
    return Dataset(
        "dl19",
        Corpus(Document(id, text) for id, text in texts.items()),
        tuple(Query(id, record["query"]) for id, record in zip(rankings, records, strict=True)),
        Qrels(grades),
        Run.of(rankings, name="bm25"),
    )


def ndcg(run: Run, data: Dataset) -> float:
    grades = {query: dict(judged) for query, judged in data.qrels.items()}
    return float(ir_measures.calc_aggregate([nDCG @ 10], grades, run.to_dict())[nDCG @ 10])


def judge(data: Dataset) -> Callable[[Prompt], str]:
    """A model that has read the judgements; a shorter passage goes first where two are judged alike."""
    queries = {query.text: data.qrels[query.id] for query in data.queries}
    ids = {clean(document.text): document.id for document in data.corpus}

    def answer(prompt: Prompt) -> str:
        (query,) = [piece.text for message in prompt.messages for piece in message.pieces if piece.cut == "query"]
        shown = passages(prompt)
        order = sorted(range(len(shown)), key=lambda at: (-queries[query].get(ids[shown[at]], 0), len(shown[at])))
        return f"<think>I know the judgements.</think><answer>{listing(order)}</answer>"

    return answer


def test_real_candidates_end_to_end(dl19: Dataset, tmp_path: Path) -> None:
    first = dl19.candidates
    assert first is not None
    assert ndcg(first, dl19) == pytest.approx(0.5058, abs=5e-5)
    reranker = Listwise(Fake(judge(dl19)), max_passage_tokens=4096)
    with Trace(tmp_path / "trace.jsonl") as trace:
        final = reranker.rerank(first, dl19, trace=trace)
        assert trace.ledger.total.calls == 43 * 9
    assert statuses(final) == {"exact": 43 * 9, "repaired": 0, "truncated": 0, "no_answer": 0, "failed": 0}
    grades = {id: dl19.qrels[id] for id in first}
    ideal = Run.of({id: sorted(first[id].ids, key=lambda doc, id=id: -grades[id].get(doc, 0)) for id in first})  # type: ignore[misc]
    assert ndcg(final, dl19) == pytest.approx(ndcg(ideal, dl19), abs=1e-12)
    assert ndcg(first, dl19) < ndcg(reranker.rerank(first, dl19, depth=30), dl19) < ndcg(final, dl19)
    assert all(sorted(final[id].ids) == sorted(first[id].ids) for id in first)

    def silent(prompt: Prompt) -> str:
        raise AssertionError("asked again what the trace has")

    with Trace(tmp_path / "trace.jsonl") as trace:
        again = Listwise(Fake(silent), max_passage_tokens=4096).rerank(first, dl19, trace=trace)
    assert again.to_dict() == final.to_dict() and again.notes == final.notes


def test_a_model_that_answers_nothing_keeps_the_first_stage(dl19: Dataset) -> None:
    first = dl19.candidates
    assert first is not None
    final = Listwise(Fake("I cannot rank these.")).rerank(first, dl19)
    assert {id: final[id].ids for id in final} == {id: first[id].ids for id in first}
    assert statuses(final) == {"exact": 0, "repaired": 0, "truncated": 0, "no_answer": 43 * 9, "failed": 0}
