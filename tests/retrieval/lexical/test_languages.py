"""Analysis of languages other than English, and functions as analysers."""

import random
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadIndex, BadInput, BadSpec, MissingExtra
from whyrank.registry import make
from whyrank.retrieval.around.feedback import RM3
from whyrank.retrieval.lexical.analysis import Analyzer, analyze, find_analyzer
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.lexical.languages import DICTIONARY, SNOWBALL, stop_words
from whyrank.types import Document, Query

pytest.importorskip("Stemmer", reason="needs the extra languages")

LANGUAGES = sorted({*SNOWBALL, *DICTIONARY, "cjk", "english"})


@pytest.mark.parametrize(
    ("language", "document", "query"),
    [
        ("cjk", "混合检索把词与向量合在一起", "检索"),
        ("cjk", "コンピュータを買いました", "コンピュータ"),
        ("cjk", "서울에서 커피를 마셨다", "커피"),
        ("cjk", "ｶﾞｲﾄﾞと ＢＭ２５", "ガイド bm25"),
        ("german", "Die Häuser am Fluß", "Haus"),
        ("russian", "книги лежат на столе", "книга"),
        ("arabic", "الكتاب على الطاولة", "كتاب"),
        ("thai", "ฉันชอบกินข้าวผัด", "ข้าวผัด"),
        ("french", "L'école d’été", "écoles"),
        ("turkish", "İstanbul'da IŞIK", "istanbul"),
        ("greek", "τα ΒΙΒΛΊΑ", "βιβλία"),
        ("finnish", "taloissa", "talo"),
        ("english", "cafe\u0301", "caf\u00e9"),
        ("swedish", "bla\u030abär", "blåbär"),
    ],
)
def test_a_query_finds_what_is_said_in_its_language(language, document, query):
    documents = [Document("yes", document), Document("no", "zzz")]
    for way in (BM25(language=language), BM25Q(analyzer=language), RM3(BM25(language=language))):
        assert list(way.index(documents).search([Query("q", query)], k=1)["q"].ids) == ["yes"]


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        (
            "cjk",
            "一 二三 四五六 c七b 人々 かなカナ",
            ["一", "二三", "四五", "五六", "c", "七", "b", "人", "々", "かな", "なカ", "カナ"],
        ),
        ("cjk", "한 한국 한국어x the x_y __", ["한", "한국", "한국어x", "x_y"]),
        ("german", "Der und die Straßen, STRASSEN", ["strass", "strass"]),
        ("dutch", "fietsen bromfiets ei kind", ["fiets", "bromfiets", "eier", "kinder"]),
        ("italian", "dell'arte L’ARTE un'", ["arte", "arte"]),
        ("turkish", "Türkiye'nin İIıi", ["türki", "iıı"]),
        ("thai", "กินข้าว ok", ["กิน", "ข้าว", "ok"]),
    ],
)
def test_terms_of_a_text(language, text, terms):
    assert analyze(text, language) == terms


@given(st.sampled_from(LANGUAGES), st.text(max_size=40))
def test_any_text_is_read_and_in_any_form_the_same(language, text):
    terms = analyze(text, language)
    assert all(terms)
    assert terms == analyze(unicodedata.normalize("NFC", text), language) or language == "english"
    analyzer: Analyzer = find_analyzer(language)
    assert terms == [term for token in analyzer.tokens(text) if (term := analyzer.term(token)) is not None]


@given(st.text(st.sampled_from("aeiouncsAEOUS éèüöñçåžαίϊάкий "), max_size=30), st.sampled_from(LANGUAGES))
def test_decomposed_letters_meet_composed_ones(text, language):
    assert analyze(unicodedata.normalize("NFD", text), language) == analyze(text, language)


def test_stop_words_are_read_whole():
    assert len(stop_words("german")) == 231 and {"der", "würde", "zwischen"} <= stop_words("german")
    assert len(stop_words("cjk")) == 35 and stop_words("tamil") == frozenset()
    assert not any(word.endswith(":") for language in LANGUAGES for word in stop_words(language))


def test_a_language_is_an_analyser():
    assert BM25(language="german") == BM25(analyzer="german") == make("bm25(language='german')")
    assert repr(BM25(language="german")) == "bm25(analyzer='german')"
    with pytest.raises(BadSpec, match="language='german' is short for analyzer='german': give one of the two"):
        BM25(language="german", analyzer="french")
    with pytest.raises(BadSpec, match="no analyser is called 'germna': did you mean 'german'"):
        make("bm25(language='germna')")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(MissingExtra, match=r"analyzer='german' needs the package Stemmer: .*whyrank\[languages\]"):
        BM25(language="german")


def by_pairs(text):
    return [text[at : at + 2] for at in range(len(text) - 1)]


@pytest.mark.parametrize("analyzer", [by_pairs, f"{__name__}:by_pairs", lambda text: by_pairs(text)])
def test_a_function_is_an_analyser(analyzer):
    found = BM25(analyzer=analyzer).index([Document("a", "xyz"), Document("b", "zyx")])
    assert list(found.search([Query("q", "wxy")])["q"].ids) == ["a"]


def test_a_function_is_kept_by_name_and_never_loaded_by_a_file(tmp_path):
    name, path = f"{__name__}:by_pairs", tmp_path / "index"
    queries = [Query("q", "wxy")]
    made = BM25(str(path), analyzer=by_pairs).index([Document("a", "xyz"), Document("b", "zyx")])
    assert BM25(str(path), analyzer=name).search(queries) == BM25(str(path), analyzer=by_pairs).search(queries)
    assert made.search(queries)["q"].ids == ["a"]
    with pytest.raises(BadIndex, match=r"the function .* which a file may name but not load: say bm25\("):
        BM25.open(path)
    with pytest.raises(BadIndex, match="was indexed with analyzer="):
        BM25(str(path)).search(queries)


def test_a_spec_alone_imports_nothing():
    assert "this" not in sys.modules
    part = make("bm25(analyzer='this:s')")
    assert "this" not in sys.modules
    assert make(repr(part)) == part


def test_a_function_without_a_name_stays_in_memory(tmp_path):
    nameless = BM25(analyzer=lambda text: text.split())
    with pytest.raises(BadSpec, match="cannot be found again by a name"):
        nameless.index([Document("a", "x")]).save(tmp_path / "index")
    assert not (tmp_path / "index").exists()
    with pytest.raises(BadSpec, match="one process only"):
        BM25(analyzer=lambda text: text.split(), processes=2)


@pytest.mark.parametrize(
    ("analyzer", "told"),
    [
        ("nowhere.at:all", "no analyser is found at 'nowhere.at:all'"),
        ("whyrank.retrieval.lexical.words:nothing", "no analyser is found at"),
        ("whyrank.retrieval.lexical.words:MAX_TOKEN", "is no function from a text to its terms"),
        (3, "analyzer must be a string or a function, not 3"),
        (lambda text: [text, 7], "must give terms, not 7"),
        (lambda text: [text, ""], "must give terms, not ''"),
    ],
)
def test_what_is_no_analyser_is_refused(analyzer, told):
    with pytest.raises(BadInput, match=told):
        BM25(analyzer=analyzer).index([Document("a", "x")])


LUCENE = {
    "armenian": "hy.Armenian", "basque": "eu.Basque", "catalan": "ca.Catalan", "cjk": "cjk.CJK", "danish": "da.Danish",
    "dutch": "nl.Dutch", "finnish": "fi.Finnish", "hungarian": "hu.Hungarian", "lithuanian": "lt.Lithuanian",
    "norwegian": "no.Norwegian", "romanian": "ro.Romanian", "russian": "ru.Russian", "swedish": "sv.Swedish",
    "turkish": "tr.Turkish",
}  # fmt: skip
LIGHT = {"french": "French", "german": "German", "italian": "Italian", "portuguese": "Portuguese", "spanish": "Spanish"}
LETTERS = {
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆև", "russian": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "cjk": [*"検索東京カナかなｶﾅ한국어ab12ＡＢ２ー々「」。、", "ｶﾞ", "ﾊﾟ"],
    "turkish": "abcçdefgğhıijklmnoöprsştuüvyz'", "dutch": "abdefghijklmnoprstuvwz",
}  # fmt: skip
LATIN = "aaabcdeeefghiiijklmnooopqrstuuvwxyzåäöæøéèàêìíòóúñçšžăâîșțőűğ'’-"


def texts(language, alphabet, count):
    draw, stop = random.Random(language), sorted(stop_words(language))
    for _ in range(count):
        words = []
        for _ in range(12):
            word = draw.choice(stop) if draw.random() < 0.3 else "".join(draw.choices(alphabet, k=draw.randint(1, 11)))
            words.append(draw.choice([str, str, str.title, str.upper])(word))
        yield draw.choice([" ", " ", ", "] if language != "cjk" else ["", " "]).join(words)


@pytest.mark.engines
@pytest.mark.parametrize("language", LUCENE)
def test_terms_equal_lucenes(language):
    java = pytest.importorskip("whyrank.retrieval.lexical.lucene")
    pytest.importorskip("pyserini.resources", reason="needs the extra lucene")
    java.start_jvm()
    analyzer = java._java(f"org.apache.lucene.analysis.{LUCENE[language]}Analyzer")()
    tokens = 0
    for text in texts(language, LETTERS.get(language, LATIN), 400):
        theirs = list(java._java("io.anserini.analysis.AnalyzerUtils").analyze(analyzer, text))
        assert analyze(text, language) == theirs, ascii(text)
        tokens += len(theirs)
    assert tokens > 2000


@pytest.mark.engines
@pytest.mark.parametrize("language", LIGHT)
def test_stems_and_stop_words_equal_lucenes_where_its_analyser_stems_otherwise(language):
    """Lucene's own analysers of these five stem lightly; the same steps with its Snowball filter give what we give."""
    java = pytest.importorskip("whyrank.retrieval.lexical.lucene")
    pytest.importorskip("pyserini.resources", reason="needs the extra lucene")
    java.start_jvm()
    stemmer = java._java(f"org.tartarus.snowball.ext.{LIGHT[language]}Stemmer")()
    standard = java._java("org.apache.lucene.analysis.standard.StandardAnalyzer")(
        java._java(
            f"org.apache.lucene.analysis.{language[:2]}.{LIGHT[language]}Analyzer".replace(".ge.", ".de.")
            .replace(".sp.", ".es.")
            .replace(".po.", ".pt.")
        ).getDefaultStopSet()
    )
    for text in texts(language, LATIN.replace("'", "").replace("’", ""), 300):
        theirs = []
        for word in java._java("io.anserini.analysis.AnalyzerUtils").analyze(standard, text):
            stemmer.setCurrent(word)
            stemmer.stem()
            theirs.append(stemmer.getCurrent())
        assert analyze(text, language) == theirs, ascii(text)
