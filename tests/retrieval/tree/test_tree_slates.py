"""The prompt of a slate, the reader of its answer, and the extracts that are shown in it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.llm.answer import Failed, Ok
from whyrank.retrieval.tree.sketches import LONGEST, QUOTES, TERMS, Rarity, Sketch, merged, of_document
from whyrank.retrieval.tree.slates import parse, read, render
from whyrank.retrieval.tree.texts import PackedTexts

NAN = math.nan


def scores(text, n, cut=False):
    return [None if math.isnan(score) else score for score in parse(text, n, cut).scores]


@pytest.mark.parametrize(
    "text",
    [
        '{"reasoning": "see 1: 99 of it", "scores": {"1": 80, "2": 5, "3": 0}}',
        '```json\n{"reasoning": "x",\n "scores": {\n"1": 80,\n"2": 5.0,\n"3": 0}}\n```',
        '<think>{"scores": {"1": 1}}</think>{"scores": {"1": 80, "2": 5, "3": 0}}',
        '{"scores": [[1, 80], [2, 5], [3, 0]]}',
        '{"scores": [{"id": 1, "score": 80}, {"id": "2", "score": 5}, {"id": "[3]", "relevance": "0"}]}',
        '{"scores": {"[1]": "80", "[2]": "5", "[3]": "0"}}',
        "{'scores': {'1': 80, '2': 5, '3': 0}}",
        "[1]: 80\n[2]: 5\n[3]: 0",
        "1 = 80, 2 = 5, 3 = 0",
        "[1] 80\n[2] 5\n[3] 0",
        "- **1**: 80\n- **2**: 5\n- **3**: 0",
    ],
)
def test_forms_that_models_write(text):
    assert scores(text, 3) == [0.8, 0.05, 0.0]
    assert parse(text, 3).status == "exact"


def test_what_went_wrong_is_told_and_no_score_is_not_zero():
    judged = parse('{"scores": {"1": 80, "1": 20, "3": 101, "4": 3, "2": -1}}', 3)
    assert (judged.status, judged.missing, judged.duplicate, judged.out_of_range) == ("repaired", 2, 1, 3)
    assert judged.scores[0] == 0.8 and all(math.isnan(score) for score in judged.scores[1:])
    assert parse("I like bees.", 2).status == "no_answer"
    assert parse("", 2).status == "no_answer"
    assert parse("[2] > [1]", 2).status == "no_answer"


def test_a_number_at_a_cut_is_not_believed():
    cut = '{"reasoning": "x", "scores": {"1": 80, "2": 7'
    assert parse(cut, 3, cut=True).status == "truncated"
    assert scores(cut, 3, cut=True) == [0.8, None, None]
    assert parse('<think>{"scores": {"1": 80', 1, cut=True).status == "truncated"
    assert scores('<think>{"scores": {"1": 80', 1, cut=True) == [None]
    assert parse('{"scores": {"1": 80}} and so', 1, cut=True).status == "exact"


@given(st.text(max_size=200) | st.text('{}[]":,0123456789 scores\n', max_size=80), st.integers(1, 5), st.booleans())
def test_any_text_gives_a_valid_answer(text, n, cut):
    judged = parse(text, n, cut)
    known = [score for score in judged.scores if not math.isnan(score)]
    assert len(judged.scores) == n and all(0 <= score <= 1 for score in known)
    assert judged.missing == n - len(known)
    assert (judged.status == "exact") == (not judged.missing and not judged.duplicate and not judged.out_of_range)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12))
def test_what_is_asked_for_is_read_back(wanted):
    text = '{"reasoning": "…", "scores": {' + ", ".join(f'"{at}": {score}' for at, score in enumerate(wanted, 1)) + "}}"
    assert parse(text, len(wanted)).scores == tuple(score / 100 for score in wanted)


def test_reports():
    failed, report = read(Failed("timeout", "too slow"), 2)
    assert failed.status == report.status == "failed" and report.failure == "timeout" and failed.missing == 2
    assert read(Ok('{"scores": {"1": 5}}', reasoning="hm"), 1)[1].thought == "hm"


def test_the_prompt():
    prompt = render("why [3]?\udc80", ["Passage: bees [1]\nand [ 2 ] more", ""])
    text = prompt.messages[1].content
    assert text.startswith("Query: why (3)??\n") and "[1] Passage: bees (1) and (2) more\n" in text
    assert "\n[2] (empty)\n" in text
    cuts = [piece.cut for piece in prompt.messages[1].pieces if piece.cut != "never"]
    assert cuts == ["query", "document", "document"]


def test_extracts_tell_clusters_apart():
    texts = [
        "Bees dance in the hive. The weather is fine.",
        "The waggle of bees points to flowers. It was a day.",
        "Yeast eats sugar. The dough rises in the bowl.",
        "Dough with yeast makes bread. The bowl is warm.",
    ]
    rarity = Rarity(0, {}).grown(texts)
    parts = [of_document(text, rarity) for text in texts]
    bees, bread = merged(parts[:2], [1, 1]), merged(parts[2:], [1, 1])
    assert bees.terms[0][0] == "bees"
    assert {"yeast", "dough"} <= {word for word, _ in bread.terms[:3]}
    assert parts[0].quotes == ("Bees dance in the hive.",)
    assert set(bees.quotes) == {"Bees dance in the hive.", "The waggle of bees points to flowers."}
    assert bees.shown(1, 1) == f"About: bees. “{bees.quotes[0]}”"
    assert Sketch.load(bees.dump()).quotes == bees.quotes
    assert merged([of_document("", rarity)], [1]).shown(3, 3) == "About: no words."


@given(st.lists(st.text(max_size=400), min_size=1, max_size=12))
def test_extracts_are_bounded(texts):
    rarity = Rarity(0, {}).grown(texts)
    sketch = merged([of_document(text, rarity) for text in texts], [1] * len(texts))
    assert len(sketch.terms) <= TERMS and len(sketch.quotes) <= QUOTES
    assert all(len(quote) <= LONGEST for quote in sketch.quotes)
    assert merged([sketch, sketch], [3, 4]).quotes[:1] == sketch.quotes[:1]


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)))
def test_texts_come_back(given):
    held = PackedTexts.of(given)
    assert list(held) == given and len(held) == len(given)
