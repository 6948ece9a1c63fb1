import gzip
import json
import random
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadSpec
from whyrank.retrieval.lexical.analysis import STOP_WORDS, English, analyze
from whyrank.retrieval.lexical.porter import stem
from whyrank.retrieval.lexical.words import MAX_TOKEN


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("  \t\n", []),
        ("can't a.b.c 3.14 1,000 x:y 3:4 a,b", ["can't", "a.b.c", "3.14", "1,000", "x:y", "3", "4", "a", "b"]),
        ("wi-fi e-mail@x.org http://a.b/c", ["wi", "fi", "e", "mail", "x.org", "http", "a.b", "c"]),
        ("snake_case a1b2 2nd 1.a a.1", ["snake_case", "a1b2", "2nd", "1", "a", "a", "1"]),
        ("naïve β-carotene 10µm", ["naïve", "β", "carotene", "10µm"]),
        ("® ™ © 5", ["®", "™", "©", "5"]),
        ("東京タワー です 한국어 ภาษา", ["東", "京", "タワー", "で", "す", "한국어", "ภาษา"]),
        ("👍🏽 👨‍👩‍👧 🇩🇪🇫🇷 1️⃣ #️⃣ ☺️", ["👍🏽", "👨‍👩‍👧", "🇩🇪", "🇫🇷", "1️⃣", "#️⃣", "☺️"]),
        ("צה\"ל ג'ינג'", ['צה"ל', "ג'ינג'"]),
        ("e\u0301te\u0301 soft\u00adhyphen", ["e\u0301te\u0301", "soft\u00adhyphen"]),
    ],
)
def test_tokens_follow_unicode_word_breaks(text, tokens):
    assert English().tokens(text) == tokens


def test_terms_of_text():
    assert analyze("The dog's and the dogs’ Running; U.S.A. __ _x_ I") == ["dog", "dog", "run", "u.s.a", "_x_", "i"]
    assert analyze("İstanbul ΣΑΣ") == ["istanbul", "σασ"]
    assert analyze(" ".join(STOP_WORDS)) == []
    assert analyze("bee_s  The ½", "terms") == ["bee_s", "The", "½"]


def test_long_tokens_are_cut():
    assert [len(term) for term in English().tokens("x" * 600)] == [MAX_TOKEN, MAX_TOKEN, 90]
    assert [len(term) for term in English().tokens("é" * 300 + " b")] == [MAX_TOKEN, 45, 1]


def test_an_unknown_analyzer_is_refused():
    with pytest.raises(BadSpec, match=r"no analyser is called 'klingon': choose one of arabic, .* 'package:function'"):
        analyze("x", "klingon")


STEMS = """
: caresses:caress ponies:poni ties:ti caress:caress cats:cat feed:feed agreed:agre plastered:plaster bled:bled
motoring:motor sing:sing conflated:conflat troubled:troubl sized:size hopping:hop tanned:tan falling:fall
hissing:hiss fizzed:fizz failing:fail filing:file happy:happi sky:sky relational:relat conditional:condit
rational:ration valenci:valenc hesitanci:hesit digitizer:digit conformabli:conform radicalli:radic
differentli:differ vileli:vile analogousli:analog vietnamization:vietnam predication:predic operator:oper
feudalism:feudal decisiveness:decis hopefulness:hope callousness:callous formaliti:formal sensitiviti:sensit
sensibiliti:sensibl triplicate:triplic formative:form formalize:formal electriciti:electr electrical:electr
hopeful:hope goodness:good revival:reviv allowance:allow inference:infer airliner:airlin gyroscopic:gyroscop
adjustable:adjust defensible:defens irritant:irrit replacement:replac adjustment:adjust dependent:depend
adoption:adopt homologou:homolog communism:commun activate:activ angulariti:angular homologous:homolog
effective:effect bowdlerize:bowdler probate:probat rate:rate cease:ceas controll:control roll:roll  possibly:possibl
archaeology:archaeolog by:by as:as ion:ion aed:a yyed:yy sayings:sai
"""


@pytest.mark.parametrize(("word", "expected"), [pair.split(":") for pair in STEMS.split()])
def test_stems_of_the_paper_and_its_later_rules(word, expected):
    assert stem(word) == expected


@given(st.text())
def test_any_text_is_cut_into_its_own_pieces(text):
    at = 0
    for token in English().tokens(text):
        at = text.index(token, at) + len(token)


@given(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1))
def test_a_stem_is_no_longer_than_its_word(word):
    assert 0 < len(stem(word)) <= len(word)


def _texts(shared_data):
    for name in ("scifact", "cacm", "vaswani"):
        with open(shared_data / "beir" / name / "corpus.jsonl", encoding="utf-8") as lines:
            yield name, [f"{d.get('title', '')} {d['text']}" for d in map(json.loads, lines)]
    for year in ("19", "20"):
        topics = json.loads((shared_data / f"trec_dl/dl{year}.bm25.top100.json").read_text(encoding="utf-8"))
        yield f"dl{year}", [hit["content"] for topic in topics for hit in topic["hits"]]
    with gzip.open(shared_data / "bright/examples/biology.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield "bright", [json.loads(line)["query"] for line in lines]


@pytest.mark.engines
def test_tokens_equal_lucenes_on_real_text(shared_data):
    lucene = pytest.importorskip("whyrank.retrieval.lexical.lucene")
    pytest.importorskip("pyserini.resources", reason="needs the extra lucene")
    for name, texts in _texts(shared_data):
        tokens = wrong = 0
        start = time.perf_counter()
        for text in texts:
            theirs, ours = lucene.analyze(text), analyze(text)
            tokens += len(theirs)
            wrong += theirs != ours
        assert tokens > 1000 and wrong == 0, f"{name}: {wrong} of {len(texts)} texts differ"
        assert time.perf_counter() - start < 120


@pytest.mark.engines
def test_tokens_equal_lucenes_on_invented_text():
    lucene = pytest.importorskip("whyrank.retrieval.lexical.lucene")
    pytest.importorskip("pyserini.resources", reason="needs the extra lucene")
    draw = random.Random(0)
    signs = "ab Z12_.,:;'’\"-éß東か カ한ภ®👍🏽\u200d\u0301\ufe0f'sSİ\u00a0½²١א "
    for _ in range(5000):
        text = "".join(draw.choices(signs, k=draw.randint(1, 14)))
        assert analyze(text) == lucene.analyze(unicodedata.normalize("NFC", text)), ascii(text)
    long = "".join(draw.choices("abc1.,' ", [9, 9, 9, 3, 1, 1, 1, 0.01], k=20_000))
    assert analyze(long) == lucene.analyze(long)
