"""Rewriting end to end with scripted models: what is asked, what is searched, what is counted, what is never shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import (
    BM25,
    Corpus,
    Document,
    Failed,
    Fake,
    Listwise,
    Ok,
    Prompt,
    Query,
    Retriever,
    Run,
    Trace,
    evaluate,
    load,
    make,
)
from whyrank.datasets.bright import TASKS
from whyrank.errors import BadInput, EngineError
from whyrank.retrieval import rewrite
from whyrank.retrieval.rewrite import (
    Append,
    FuseOriginal,
    Gate,
    HyDE,
    Keywords,
    LameR,
    LLMRewriter,
    Look,
    Query2Doc,
    ReasonedQuery,
    Repeat,
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

DOCUMENTS = [
    Document("d0", "Bees dance in the hive to tell where flowers are."),
    Document("d1", "A waggle run points to the flowers."),
    Document("d2", "Honey keeps for years in the hive."),
    Document("d3", "Flowers pay bees with nectar."),
    Document("d4", "Bees fly home by the sun."),
    Document("d5", "Ants follow a trail of scent to the food."),
    Document("d6", "Yeast breathes out gas, and so the loaf rises."),
    Document("d7", "The hive is warm in winter, since bees shiver."),
]
READY = BM25().index(DOCUMENTS)
QUERY = Query("q", "why do bees dance")


@dataclass(frozen=True)
class Recorder(Retriever):
    """BM25 that remembers what it was asked for."""

    asked: list[list[tuple[str, str]]] = field(default_factory=list, repr=False, compare=False)
    inner: BM25 = field(default_factory=BM25)

    def _index(self, corpus: Iterable[Document]) -> None:
        object.__setattr__(self, "inner", self.inner.index(corpus))

    def _search(self, queries: Sequence[Query], k: int):
        raise NotImplementedError

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        self.asked.append([(query.id, query.text) for query in queries])
        return self.inner.search(queries, k, trace)

    @property
    def texts(self) -> list[str]:
        return [text for search in self.asked for _, text in search]


def shown(prompt: Prompt) -> str:
    return "\n".join(turn["content"] for turn in prompt.chat)


def searched(rewriter: Rewriter, query: Query = QUERY, combine=None) -> tuple[Run, list[str]]:
    """The run for one query, and every text that was searched for."""
    recorder = Recorder()
    run = Rewritten(recorder, rewriter, combine).index(DOCUMENTS).search([query], k=8)
    return run, recorder.texts


def scripted(*answers: str | Ok | Failed) -> Fake:
    """A model that gives these answers one after the other."""
    left = iter(answers)
    return Fake(lambda prompt: next(left), concurrency=1)


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
    assert all(call["reason"] == "zebra" for call in run.notes["q"]["calls"])


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
    assert {call["status"] for call in run.notes["q"]["calls"]} == {status}
    assert run.notes["q"]["rewritten"] == []
    assert run.notes["p"]["rewritten"] != []


def test_an_answer_that_was_cut_off_is_used_and_counted():
    run, texts = searched(HyDE(Fake(lambda prompt: Ok("the waggle run of", finish="length"))))
    assert texts == ["the waggle run of"]
    assert run.notes["q"]["calls"] == [{"status": "truncated", "finish": "length", "reason": ""}]


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
    assert f"combine={part.rewriter.usual!r}" in repr(part)
    assert make(repr(part)) == part


@pytest.mark.parametrize(
    ("combine", "texts"),
    [
        (Replace(), ["a b", "c"]),
        (Append(), ["why do bees dance\na b\nc"]),
        (Repeat(times=2), ["why do bees dance\nwhy do bees dance\na b\nc"]),
        (Repeat(), ["why do bees dance\na b\nc"]),
        (FuseOriginal(weight=0.5), ["why do bees dance", "a b", "c"]),
        (Gate(), ["a b", "c"]),
        (Gate(then=Append()), ["why do bees dance\na b\nc"]),
    ],
    ids=repr,
)
def test_combine_policies(combine, texts):
    assert searched(SubQueries(Fake("a b\nc")), combine=combine)[1] == texts


@given(words=st.integers(0, 60), asked=st.integers(1, 6), ratio=st.sampled_from([1.0, 2.5, 3.0]))
def test_mugis_rule(words, asked, ratio):
    half = words // 2
    times = Repeat(ratio=ratio).count("q " * asked, ["w " * half, "w " * (words - half)])
    assert times == max(1, int(words / (asked * ratio)))


def test_rankings_are_fused_by_weighted_reciprocal_ranks():
    run, _ = searched(SubQueries(Fake("honey\nscent of ants")), combine=FuseOriginal(weight=2.0))
    lists = [READY.search([Query("x", text)], 1000)["x"].ids for text in (QUERY.text, "honey", "scent of ants")]
    score = {
        id: sum(weight / (60 + each.index(id) + 1) for weight, each in zip((2, 1, 1), lists, strict=True) if id in each)
        for each in lists
        for id in each
    }
    assert list(run["q"].ids) == sorted(score, key=lambda id: -score[id])
    assert run["q"].scores.tolist() == pytest.approx(sorted(score.values(), reverse=True))


def test_a_query_that_fell_back_keeps_its_scores_beside_fused_ones():
    llm = Fake(lambda prompt: Failed("refusal", "no") if "ants" in shown(prompt) else "waggle")
    queries = [QUERY, Query("p", "ants and honey")]
    run = Rewritten(READY, StepBack(llm)).search(queries)
    alone = READY.search(queries)
    assert list(run["p"].ids) == alone["p"].ids and run["p"].scores.tolist() == alone["p"].scores.tolist()
    assert run["q"].scores[0] < 1 < alone["q"].scores[0]


def test_a_gate_asks_no_model_and_is_counted():
    asked = []
    llm = Fake(lambda prompt: asked.append(shown(prompt)) or "waggle")
    queries = [QUERY, Query("m", "Let $x^2 + 3x = 0$ for bees, find all $x$")]
    run = Rewritten(READY, HyDE(llm), Gate()).search(queries)
    assert len(asked) == 1 and "dance" in asked[0]
    assert run["m"].ids == READY.search(queries)["m"].ids
    assert outcomes(run) == {"rewritten": 1, "fell_back": 0, "gated": 1}
    assert run.notes["m"] == {"outcome": "gated", "rewritten": [], "calls": []}


def test_the_gates_threshold():
    text = "one word in ten of these does hold number 7"
    assert not Gate(most=0.05).wants(text) and Gate(most=0.1).wants(text)
    assert Gate(most=1.0).wants("$1 $2 $3") and not Gate(then=Gate(most=0.0)).wants("all the 2 words")


def test_the_gate_on_bright(shared_data, monkeypatch):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    kept = {}
    for task in TASKS:
        queries = load(f"bright/{task}").queries
        kept[task] = round(100 * sum(not Gate().wants(query.text) for query in queries) / len(queries))
    assert (kept.pop("leetcode"), kept.pop("aops")) == (77, 92)
    assert (min(kept.values()), max(kept.values()), kept["stackoverflow"]) == (0, 25, 25)


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
    assert run.notes["q"]["calls"][0]["status"] == status


@given(answer=st.text(), query=st.text(), most=st.integers(1, 20))
def test_keywords_of_any_text(answer, query, most):
    texts, _ = Keywords(Fake(), most=most).parse(answer, query)
    words = [word for text in texts for word in text.split(", ")]
    assert len(texts) <= 1 and len(words) <= most
    known = {word.casefold() for word in query.split()}
    assert not any(part.casefold() in known for word in words for part in word.split() if part.isalnum())


def test_sub_queries_are_distinct_and_few():
    run, texts = searched(SubQueries(Fake("1. what is a waggle\n\n2) What is a waggle\n* sun\n- trail\nnest"), most=3))
    assert texts == [QUERY.text, "what is a waggle", "sun", "trail"]
    assert run.notes["q"]["calls"][0]["status"] == "repaired"


@given(answer=st.text(), most=st.integers(1, 6))
def test_sub_queries_of_any_text(answer, most):
    texts, _ = SubQueries(Fake(), most=most).parse(answer, "q")
    assert len(texts) <= most and all(text.strip() == text != "" and "\n" not in text for text in texts)


def test_lamer_shows_what_the_query_finds():
    prompts = []
    run, texts = searched(LameR(Fake(lambda prompt: prompts.append(prompt) or "waggle"), passages=2))
    best = READY.search([QUERY])["q"].ids[:2]
    assert run.notes["q"]["calls"][0]["passages"] == best
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
    calls = run.notes["q"]["calls"]
    assert [call["round"] for call in calls] == [1, 1, 2, 2, 3, 3]
    assert [call["status"] for call in calls] == ["exact", "exact", "no_answer", "exact", "failed", "exact"]
    rounds = [calls[at]["passages"] for at in (0, 2, 4)]
    assert rounds[0] == READY.search([QUERY])["q"].ids[:2]
    assert rounds[1][0] == "d1" and len({id for each in rounds for id in each}) == 6
    assert run.notes["q"]["rewritten"] == [f"{two}\nyeast"]
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
    with pytest.raises(BadInput, match=r"query 'q'|lamer reads passages, but only an index is here: call ready"):
        part.search([QUERY])
    run = part.ready(iter(DOCUMENTS)).search([QUERY])
    assert run == Rewritten(READY, LameR(Fake("waggle"))).ready(Corpus(DOCUMENTS)).search([QUERY])
    with pytest.raises(BadInput, match="which the collection does not have: its index is another's"):
        part.ready(Corpus(DOCUMENTS[5:])).search([QUERY])
    assert Rewritten(part.retriever, HyDE(Fake("waggle"))).search([QUERY])["q"].ids[0] == "d1"


def test_a_collection_that_is_read_once_serves_index_and_texts():
    part = Rewritten(BM25(), LameR(Fake("waggle"))).index(doc for doc in DOCUMENTS)
    assert part.search([QUERY]).notes["q"]["calls"][0]["passages"] != []


def test_a_reranker_sees_the_original_query():
    data = TOY.head(3)
    run = Rewritten(BM25(), HyDE(Fake("waggle run of bees water"))).index(data.corpus).search(data.queries)
    prompts = []
    judge = Fake(lambda prompt: prompts.append(shown(prompt)) or "[1]")
    Listwise(judge).rerank(run, data, depth=5)
    assert len(prompts) == 3
    for query, prompt in zip(data.queries, prompts, strict=True):
        assert query.text in prompt and "waggle" not in prompt


def test_calls_of_an_inner_rewriter_are_told_too():
    inner = Rewritten(BM25(), HyDE(Fake("honey", model="inner")))
    run = Rewritten(inner, StepBack(Fake("nectar", model="outer"))).index(DOCUMENTS).search([QUERY])
    assert len(run.notes["q"]["calls"]) == 3
    assert run.notes["q"]["rewritten"] == ["nectar"]


@pytest.mark.parametrize(
    "spec",
    [
        "rewritten(bm25(), query2doc(fake('flowers')))",
        "rewritten(bm25(), lamer(fake('flowers'), passages=2))",
        "rewritten(bm25(), thinkqe(fake('flowers'), rounds=2, samples=1))",
        "rewritten(bm25(), subqueries(fake('sea and tide\\nhoney')))",
        "rewritten(bm25(), hyde(fake('')))",
        "rewritten(bm25(), hyde(fake('bees')), combine=gate(then=append(), most=0.0))",
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
        found = yield Look(query.text, 1)
        return Rewriting((" ", *(document.text for document in found)))


def test_a_rewriter_that_breaks_its_promise_is_told():
    for part in (Wrong(Fake("a")), Lazy()):
        with pytest.raises(BadInput, match=r"query 'q': gave .* instead of a Rewriting"):
            searched(part)


def test_a_plan_may_look_only_and_blank_texts_are_taken_out():
    run, texts = searched(Direct(Fake("never asked")))
    assert texts == [QUERY.text, DOCUMENTS[0].text]
    assert run.notes["q"]["rewritten"] == [DOCUMENTS[0].text]


def test_an_engine_that_cannot_be_used_is_an_error():
    with pytest.raises(EngineError, match="cannot be used"):
        searched(HyDE(Fake(lambda prompt: Failed("auth", "no such key"))))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("rewritten(bm25(), hyde(fake()), depth=0)", "depth must be at least 1"),
        ("rewritten(bm25(), bm25())", "wants Rewriter for 'rewriter'"),
        ("thinkqe(fake(), rounds=0)", "rounds must be at least 1"),
        ("lamer(fake(), passages=0)", "passages must be at least 1"),
        ("keywords(fake(), most=0)", "most must be at least 1"),
        ("subqueries(fake(), most=0)", "most must be at least 1"),
        ("reasoned_query(fake(), template='think')", "must hold {query}"),
        ("repeat(times=0)", "times must be at least 1"),
        ("repeat(ratio=0.0)", "ratio must be a number above 0"),
        ("fuse_original(weight=-1.0)", "weight must be a number above 0"),
        ("gate(most=1.5)", "most must be between 0 and 1"),
    ],
)
def test_bad_settings_are_named(spec, text):
    with pytest.raises(BadInput, match=text):
        make(spec)


def test_the_face_of_the_room_is_complete():
    assert all(hasattr(rewrite, name) for name in rewrite.__all__)
