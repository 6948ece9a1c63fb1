"""The search agent on scripted models: two hops, invented quotes, weak queries, exclusions, resuming, and garbage."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank.errors import BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt, Sampling
from whyrank.llm.trace import Trace
from whyrank.registry import make
from whyrank.retrieval.agentic.agent import Agentic
from whyrank.retrieval.agentic.step import Quote, Step, normal, parse, source_of
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.testing import check_retriever
from whyrank.types import Corpus, Document, Evidence, Query

LORE = Corpus(
    [
        Document("bridge", "The Orla viaduct was drawn by the engineer Maren Holt, who never saw it finished."),
        Document("holt", "Maren Holt was born in the harbour town of Sundvik, the daughter of a rope maker."),
        Document("sundvik", "Sundvik lives from herring; its church was built of slate."),
        Document("noise-1", "In which town was the first viaduct built? Nobody can say in which town."),
        Document("noise-2", "A town, a birth, an engineer: what the person who drew a viaduct needs."),
        Document("noise-3", "Born in the hills, the river Orla turns twenty mills."),
        *(Document(f"filler-{n}", f"Ledger page {n}: barrels of tar, coils of rope.") for n in range(20)),
    ]
)
QUESTION = Query("q", "In which town was the person born who drew the Orla viaduct?")
SEARCH = BM25(threads=1)


def script(prompt: Prompt) -> str:
    """Follows the trail: who drew it, then where she was born; quotes only what it was shown."""
    asked = prompt.chat[-1]["content"]
    if "Searches so far" not in asked:
        return "<think>Who drew it?</think><evidence>\n</evidence>\n<search>\nengineer who drew Orla viaduct\n</search>"
    if "harbour town" in asked:
        number = re.search(r"\[(\d+)\] Maren Holt was born", asked)[1]
        return f'<evidence>[{number}] "born in the harbour town of Sundvik"</evidence><done/>'
    number = re.search(r"\[(\d+)\] The Orla viaduct", asked)[1]
    return f'<evidence>[{number}] "drawn by the engineer  MAREN Holt"</evidence><search>Maren Holt daughter</search>'


def agent(answer: Callable[[Prompt], str | Ok | Failed] | str = script, **given: object) -> Agentic:
    return Agentic(SEARCH, Fake(answer), **{"per_query": 2, **given}).index(LORE)


def test_a_two_hop_answer_is_found_that_one_search_misses():
    plain = SEARCH.index(LORE).search([QUESTION], k=2)["q"].ids
    run = agent().search([QUESTION], k=2)
    assert "holt" not in plain
    assert set(run["q"].ids) == {"bridge", "holt"}
    note = run.notes["q"]
    assert [call.status for call in note.calls] == ["exact"] * 3
    assert note.stopped == "done"
    assert note.evidence == (
        Evidence("bridge", "drawn by the engineer MAREN Holt"),
        Evidence("holt", "born in the harbour town of Sundvik"),
    )
    assert [(search.query, search.round) for search in note.searches] == [
        (QUESTION.text, 1),
        ("engineer who drew Orla viaduct", 1),
        ("Maren Holt daughter", 2),
    ]
    json.dumps(note.to_dict())


def test_invented_quotes_are_rejected_and_move_nothing():
    def invent(prompt: Prompt) -> str:
        if "New passages" not in prompt.chat[-1]["content"]:
            return "<search>town</search>"
        return '<evidence>[1] "the engineer was born in Rome"\n[99] "herring and slate, says the sea"</evidence><done/>'

    run = agent(invent).search([QUESTION], k=26)
    honest = agent(lambda prompt: invent(prompt).replace("engineer was", "")).search([QUESTION], k=26)
    assert run["q"].ids == honest["q"].ids
    assert run.notes["q"].evidence == ()
    assert run.notes["q"].calls[1].hunted.rejected == (
        "the engineer was born in Rome",
        "herring and slate, says the sea",
    )


def test_more_support_ranks_higher():
    def quote_all(prompt: Prompt) -> str:
        asked = prompt.chat[-1]["content"]
        if "New passages" not in asked:
            return "<evidence></evidence><search>Sundvik herring church</search>"
        return (
            '<evidence>["bridge"]\n- "engineer Maren Holt, who never"\n'
            "“Sundvik lives from herring”, it says\n"
            '"its church was … of slate"\n"its church was … of slate"</evidence><done/>'
        )

    run = agent(quote_all, per_query=5).search([QUESTION], k=26)
    assert list(run["q"].ids[:2]) == ["sundvik", "bridge"]
    assert run.notes["q"].calls[1].status == "repaired"


def test_weak_queries_are_told_to_the_model():
    told: list[str] = []

    def watch(prompt: Prompt) -> str:
        told.append(prompt.chat[-1]["content"])
        return f"<search>\n{'church of slate' if len(told) < 3 else 'Orla viaduct'}\nzzz{len(told)}\n</search>"

    note = agent(watch).search([QUESTION], k=5).notes["q"]
    assert "- church of slate: 1 passages, 1 of them new, evidence from 0. Weak: nothing in it was of use" in told[1]
    assert "- zzz1: 0 passages, 0 of them new, evidence from 0. Weak: it found nothing new." in told[1]
    assert note.calls[1].hunted.repeated == 1
    assert [search.weakness for search in note.searches[:3]] == ["off target", "off target", "nothing new"]


def test_it_stops_when_nothing_new_comes_twice_and_when_rounds_are_spent():
    def go_on(prompt: Prompt) -> str:
        return f"<evidence></evidence><search>{'z' * (3 + prompt.chat[-1]['content'].count('- '))}</search>"

    note = agent(go_on, rounds=9).search([QUESTION], k=5).notes["q"]
    assert note.stopped == "nothing new" and len(note.calls) == 3

    def more(prompt: Prompt) -> str:
        page = prompt.chat[-1]["content"].count("- ")
        return f"<evidence></evidence><search>page {page + 1}</search>"

    note = agent(more, rounds=2).search([QUESTION], k=5).notes["q"]
    assert note.stopped == "rounds" and len(note.calls) == 3


@pytest.mark.parametrize("broken", ["I would rather not say.", Failed("refusal", "no")], ids=["unreadable", "failed"])
def test_a_model_that_cannot_be_read_leaves_the_plain_search(broken):
    run = agent(lambda _: broken).search([QUESTION], k=26)
    assert run["q"].ids == SEARCH.index(LORE).search([QUESTION], k=26)["q"].ids
    assert [call.status for call in run.notes["q"].calls] == [
        "failed" if isinstance(broken, Failed) else "no_answer"
    ] * 2
    assert run.notes["q"].stopped == "unreadable"


TAGS = st.sampled_from(["<evidence>", "</evidence>", "<search>", "</search>", "<done/>", "<think>", "</think>", "\n"])
WORDS = st.sampled_from(["[1]", "[2] ", '"born in the harbour town"', "Orla viaduct", "rope", "…", "1. ", "- ", "蜂 "])
GARBAGE = st.lists(TAGS | WORDS | st.text(max_size=8)).map("".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    answers=st.lists(GARBAGE, min_size=1, max_size=4),
    cut=st.booleans(),
    excluded=st.sets(st.sampled_from([document.id for document in LORE])),
    k=st.integers(1, 30),
)
def test_whatever_the_model_writes_nothing_is_lost_and_nothing_excluded_is_shown(answers, cut, excluded, k):
    shown: list[str] = []

    def answer(prompt: Prompt) -> Ok:
        shown.append(prompt.chat[-1]["content"])
        return Ok(answers[len(shown) % len(answers)], finish="length" if cut else "stop")

    query = Query("q", QUESTION.text, frozenset(excluded))
    run = agent(answer).search([query], k)
    plain = SEARCH.index(LORE).search([query], k=30)["q"].ids
    found = list(run["q"].ids)
    assert not excluded & set(found)
    assert not any(LORE[id].text in text for id in excluded for text in shown)
    everything = agent(answer).search([query], 30)["q"].ids
    assert set(plain) <= set(everything) <= {document.id for document in LORE}
    assert len(found) >= min(k, len(plain))


@given(GARBAGE, st.booleans(), st.integers(1, 4))
def test_the_parser_reads_any_text(text, cut, width):
    step = parse(Ok(text, finish="length" if cut else "stop"), width)
    assert step.status in {"exact", "repaired", "truncated", "no_answer"}
    assert len(step.queries) <= width and all(step.queries) and all(quote.text for quote in step.quotes)
    assert step.status != "no_answer" or not (step.quotes or step.queries)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<evidence></evidence><search>a b\nc d</search>", Step("exact", (), ("a b", "c d"))),
        ("<evidence>\n</evidence>\n<done/>", Step("exact")),
        ("<think><search>x</search></think><done/>", Step("exact")),
        ("<search>a</search><search>1. b\n- a</search>", Step("exact", (), ("a", "b"))),
        ("<search>a\nb\nc\nd", Step("repaired", (), ("a", "b", "c"))),
        ("<search>a</search><done/>", Step("repaired", (), ("a",))),
        ('<evidence>[3]: "so it is" (tells why)</evidence><done>', Step("exact", (Quote(3, "so it is"),))),
        ("<evidence>- it's so</evidence><done/>", Step("repaired", (Quote(None, "it's so"),))),
        ("search for bees", Step("no_answer")),
    ],
)
def test_forms_of_an_answer(text, wanted):
    assert parse(Ok(text), width=3) == wanted


def test_of_a_cut_answer_only_whole_lines_are_used():
    assert parse(Ok("<search>a b\nc", finish="length"), 3) == Step("truncated", (), ("a b",))
    assert parse(Ok("Let me think about", finish="length"), 3) == Step("truncated")


@given(st.data())
def test_what_stands_in_a_source_is_found_there_however_it_is_spaced(data):
    document = data.draw(st.sampled_from([document for document in LORE if len(document.text) > 60]))
    start = data.draw(st.integers(0, len(document.text) - 30))
    quoted = document.text[start : start + 30].strip()
    spaced = data.draw(st.sampled_from([quoted, quoted.upper(), quoted.replace(" ", "\n  "), f" {quoted} "]))
    source = normal(document.content)
    assert source_of(Quote(1, spaced), {1: source}) == 1
    assert source_of(Quote(None, spaced), {7: "nothing of that kind", 8: source}) == 8
    assert source_of(Quote(1, quoted + "qx"), {1: source}) is None
    assert source_of(Quote(1, quoted[:7]), {1: source}) is None


def test_a_quote_with_words_left_out_keeps_its_order():
    sources = {1: normal("Bees come home and dance; then the others — all of them — fly out.")}
    assert source_of(Quote(1, "bees come home … the others - all of them -"), sources) == 1
    assert source_of(Quote(1, "the others … bees come home"), sources) is None


QUERIES_OF_LORE = [QUESTION, Query("p", "who built the church?"), Query("o", "what do the mills do?")]


def test_a_second_run_repeats_no_call_and_gives_the_same(tmp_path):
    asked: list[str] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt.chat[-1]["content"])
        page = asked[-1].count("- ")
        return f"<evidence></evidence><search>page {page}\nOrla {page}</search>"

    with Trace(tmp_path / "trace.jsonl") as trace:
        first = agent(answer).search(QUERIES_OF_LORE, 10, trace)
    with Trace(tmp_path / "trace.jsonl") as trace:
        second = agent(answer).search(QUERIES_OF_LORE, 10, trace)
    assert len(asked) == len(set(asked)) > 3
    assert second == first and second.notes == first.notes


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(tmp_path):
    class Killed(Exception):
        pass

    asked: list[str] = []
    left = [4]

    def answer(prompt: Prompt) -> str:
        if not left[0]:
            raise Killed
        left[0] -= 1
        asked.append(prompt.chat[-1]["content"])
        page = asked[-1].count("- ")
        return f"<evidence></evidence><search>page {page}</search>"

    with Trace(tmp_path / "trace.jsonl") as trace, pytest.raises(Killed):
        agent(answer).search(QUERIES_OF_LORE, 10, trace)
    left[0] = 100
    with Trace(tmp_path / "trace.jsonl") as trace:
        resumed = agent(answer).search(QUERIES_OF_LORE, 10, trace)
    assert len(asked) == len(set(asked))
    assert resumed == agent(answer).search(QUERIES_OF_LORE, 10)


@pytest.mark.parametrize("answer", ["<evidence></evidence><done/>", "nothing to read"])
def test_it_keeps_the_contract(answer):
    check_retriever(Agentic(BM25(threads=1), Fake(answer)))


def test_the_spec_is_read_back_and_nonsense_refused():
    part = Agentic(BM25(), Fake("x"), rounds=2, sampling=Sampling(max_tokens=64))
    assert repr(part) == "agentic(bm25(), fake(answer='x'), rounds=2, sampling=sampling(max_tokens=64))"
    assert make(repr(part)) == part
    with pytest.raises(BadInput, match="agentic: rounds must be at least 1, not 0"):
        Agentic(BM25(), Fake(), rounds=0)
    with pytest.raises(BadInput, match="no texts to read yet"):
        Agentic(BM25(), Fake()).search([QUESTION])


def test_an_index_that_lies_there_is_not_built_again(tmp_path):
    SEARCH.index(LORE).save(tmp_path / "index")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "index").iterdir()}
    ready = Agentic(BM25(path=str(tmp_path / "index"), threads=1), Fake(script), per_query=2).ready(LORE)
    assert set(ready.search([QUESTION], k=2)["q"].ids) == {"bridge", "holt"}
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "index").iterdir()} == before
