import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Fast

from whyrank.errors import BadInput, NotFound
from whyrank.llm.budget import (
    FLOOR,
    PER_MESSAGE,
    TEMPLATE,
    clip,
    count,
    cuts,
    estimate,
    fit,
    load_tokenizer,
    share,
    shrink,
)
from whyrank.llm.engine import Tokenizer
from whyrank.llm.messages import Message, Piece, Prompt

QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Bytes:
    """One token for each byte of UTF-8: the hardest case for cutting between characters."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode(errors="surrogatepass"))

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")


class Lower:
    """One token for each two characters of a normalised text that `decode` cannot undo."""

    def encode(self, text: str) -> list[int]:
        text = unicodedata.normalize("NFKC", text).lower()
        return [hash(text[at : at + 2]) for at in range(0, len(text), 2)]

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def qwen(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = shared_data / "tokenizers" / "qwen3"
    fast = Fast(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    fast.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    fast.decoder = decoders.ByteLevel()
    saved = tmp_path_factory.mktemp("qwen3")
    fast.save(str(saved / "tokenizer.json"))
    return load_tokenizer(str(saved))


@pytest.fixture(scope="module")
def bert(shared_data: Path) -> Tokenizer:
    return load_tokenizer(str(shared_data / "tokenizers" / "bert-base-uncased" / "tokenizer.json"))


TOKENIZERS: list[Tokenizer | None] = [None, Bytes(), Lower()]
texts = st.one_of(
    st.text(max_size=60),
    st.text("abc ,.\n1", max_size=300),
    st.lists(
        st.sampled_from(["é", "e\u0301", "👩‍👩‍👧", "नमस्ते", "漢字", "ﷺ", "🏳️‍🌈", "\ud83d", "word "]), max_size=60
    ).map("".join),
)


def asked(documents: list[str], query: str, fixed: str = "Rank.") -> Prompt:
    pieces = [Piece("Query: "), Piece(query, "query"), *(Piece(text, "document") for text in documents), Piece(fixed)]
    return Prompt((Message("system", (Piece("You rank."),)), Message("user", tuple(pieces))))


def size(prompt: Prompt, tokenizer: Tokenizer | None) -> int:
    return TEMPLATE + sum(PER_MESSAGE + count(message.content, tokenizer) for message in prompt.messages)


def pieces(prompt: Prompt, kind: str) -> list[str]:
    return [piece.text for message in prompt.messages for piece in message.pieces if piece.cut == kind]


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(-5, 600))
def test_water_filling_gives_all_the_room_and_the_slack_of_the_short_to_the_long(lengths: list[int], room: int) -> None:
    caps = share(lengths, room)
    assert all(0 <= cap <= length for cap, length in zip(caps, lengths, strict=True))
    assert sum(caps) == min(sum(lengths), max(room, 0))
    level = max(caps, default=0)
    assert all(cap >= level - 1 for cap, length in zip(caps, lengths, strict=True) if cap < length)


@settings(deadline=None)
@given(texts, st.integers(0, 80), st.sampled_from(TOKENIZERS))
def test_clip_is_the_longest_beginning_that_fits_and_parts_no_character(
    text: str, limit: int, tokenizer: Tokenizer | None
) -> None:
    kept = clip(text, tokenizer, limit)
    assert text.startswith(kept) and count(kept, tokenizer) <= limit
    assert kept == text or count(text, tokenizer) > limit
    if kept != text:
        after = text[len(kept)]
        assert not kept or not (unicodedata.category(after)[0] == "M" or after == "\u200d" or kept[-1] == "\u200d")
        whole = next(
            end
            for end in range(len(kept) + 1, len(text) + 1)
            if end == len(text)
            or not (unicodedata.category(text[end])[0] == "M" or "\u200d" in text[end - 1 : end + 1])
        )
        assert count(text[:whole], tokenizer) > limit or isinstance(tokenizer, Lower)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=8), texts, st.integers(0, 500), st.sampled_from(TOKENIZERS))
def test_a_fitted_prompt_is_within_the_limit_or_its_instructions_alone_are_not(
    documents: list[str], query: str, limit: int, tokenizer: Tokenizer | None
) -> None:
    prompt = asked(documents, query)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = fit(prompt, tokenizer, limit)
        except BadInput as error:
            assert "instructions alone" in str(error)
            assert size(asked([""] * len(documents), ""), tokenizer) > limit
            return
    assert size(fitted, tokenizer) <= limit
    assert pieces(fitted, "never") == pieces(prompt, "never")
    assert fitted.sampling == prompt.sampling and fitted.sample == prompt.sample
    if size(prompt, tokenizer) <= limit:
        assert fitted is prompt
    for kind in ("document", "query"):
        assert all(old.startswith(new) for old, new in zip(pieces(prompt, kind), pieces(fitted, kind), strict=True))


@given(st.lists(st.integers(0, 200), min_size=1, max_size=10), st.integers(0, 60), st.integers(40, 900))
def test_documents_give_way_first_to_one_common_length_and_the_query_last_with_a_warning(
    lengths: list[int], query: int, limit: int
) -> None:
    prompt = asked(["d" * length for length in lengths], "q" * query)
    fixed = size(prompt, Bytes()) - sum(lengths) - query
    assume(limit >= fixed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = fit(prompt, Bytes(), limit)
    kept, (kept_query,) = [len(text) for text in pieces(fitted, "document")], map(len, pieces(fitted, "query"))
    assert sum(kept) + kept_query == min(sum(lengths) + query, limit - fixed)  # to the last token
    level = max(kept)
    assert all(new >= level - 1 for new, old in zip(kept, lengths, strict=True) if new < old)
    if kept_query < query:
        assert level <= FLOOR and "query was cut" in str(told[0].message)
        assert not kept_query or kept == [min(length, FLOOR) for length in lengths]
    else:
        assert not told
        assert not query or all(new >= min(length, FLOOR) for new, length in zip(kept, lengths, strict=True))
    assert cuts(prompt, fitted) == {
        "document": sum(new < old for new, old in zip(kept, lengths, strict=True)),
        "query": int(kept_query < query),
    }


def test_eight_tokens_are_left_of_each_document_before_the_query_gives_way() -> None:
    prompt = asked(["d" * 100, "d" * 100, "d" * 3], "q" * 60)
    fixed = size(prompt, Bytes()) - 263
    with pytest.warns(UserWarning, match="query was cut"):
        fitted = fit(prompt, Bytes(), fixed + 40)
    assert [len(text) for text in pieces(fitted, "document")] == [8, 8, 3]
    assert [len(text) for text in pieces(fitted, "query")] == [21]


def test_the_engines_own_count_of_a_chat_decides() -> None:
    prompt = asked(["d" * 1000], "why")
    chat_tokens = lambda chat: 100 + sum(len(turn["content"]) for turn in chat)  # noqa: E731
    fitted = fit(prompt, Bytes(), 400, chat_tokens)
    assert chat_tokens(fitted.chat) == 400
    assert fit(prompt, Bytes(), 2000, chat_tokens) is prompt
    with pytest.raises(BadInput, match=r"instructions alone take 1\d\d tokens.*leaves 110"):
        fit(prompt, Bytes(), 110, chat_tokens)


def test_an_engine_whose_count_never_falls_ends_in_an_error() -> None:
    with pytest.raises(BadInput, match="instructions alone take 10000 tokens"):
        fit(asked(["d" * 5000], "why"), Bytes(), 4000, lambda chat: 10_000)


@settings(deadline=None)
@given(st.lists(texts, max_size=5), st.sampled_from(TOKENIZERS))
def test_shrinking_halves_the_documents_and_nothing_else(documents: list[str], tokenizer: Tokenizer | None) -> None:
    prompt = asked(documents, "why")
    before = sum(count(text, tokenizer) for text in documents)
    shorter = shrink(prompt, tokenizer)
    if shorter is None:
        assert before == 0
        return
    assert sum(count(text, tokenizer) for text in pieces(shorter, "document")) <= before // 2
    assert pieces(shorter, "never") == pieces(prompt, "never") and pieces(shorter, "query") == ["why"]


SCRIPTS = (
    "Why do bees dance when they come home? The waggle run points to the flowers, 42° from the sun.",
    "def rank(docs: list[str]) -> list[int]:\n    return sorted(range(len(docs)), key=lambda i: -score(docs[i]))",
    "Почему пчёлы танцуют, когда возвращаются в улей? Они показывают дорогу к цветам.",
    "蜜蜂为什么跳舞？它们用舞蹈告诉同伴花朵的方向和距离。",
    "ミツバチはなぜ踊るのでしょうか。花の方向を仲間に知らせるためです。",
    "मधुमक्खियाँ क्यों नाचती हैं? वे साथियों को फूलों की दिशा बताती हैं।",
    "لماذا ترقص النحلات عند عودتها إلى الخلية؟ إنها تدل رفيقاتها على الأزهار.",
    "\\int_0^1 x^2\\,dx = \\frac{1}{3}, \\quad \\sum_{i=1}^n i = \\frac{n(n+1)}{2}",
    "🐝🌸➡️🏠 😀👍🏽",
)


@pytest.mark.parametrize("text", SCRIPTS)
def test_the_estimate_stays_above_a_real_tokenizer(text: str, qwen: Tokenizer) -> None:
    assert count(text, qwen) <= estimate(text) <= 3 * count(text, qwen)


def test_the_estimate_stays_above_a_real_tokenizer_on_real_documents(shared_data: Path, qwen: Tokenizer) -> None:
    lines = (shared_data / "beir" / "scifact" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:400]
    low = [line for line in lines if estimate(line) < count(line, qwen)]
    assert not low and sum(map(estimate, lines)) < 2.5 * sum(count(line, qwen) for line in lines)


@pytest.mark.parametrize("limit", [1, 7, 40, 200])
@pytest.mark.parametrize("text", [text * 12 for text in SCRIPTS])
def test_real_tokenizers_are_met_exactly(text: str, limit: int, qwen: Tokenizer, bert: Tokenizer) -> None:
    for tokenizer in (qwen, bert):
        kept = clip(text, tokenizer, limit)
        assert text.startswith(kept) and count(kept, tokenizer) <= limit
        more = text[: len(kept) + 24]
        assert kept == text or count(more, tokenizer) > limit
        prompt = asked([text, "short", text + text], "why do bees dance?")
        fitted = fit(prompt, tokenizer, 300)
        assert min(300 - 12, size(prompt, tokenizer)) <= size(fitted, tokenizer) <= 300
        assert pieces(fitted, "document")[1] == "short"


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 60))
def test_real_tokenizers_are_met_on_any_text(qwen: Tokenizer, bert: Tokenizer, text: str, limit: int) -> None:
    for tokenizer in (qwen, bert):
        kept = clip(text, tokenizer, limit)
        assert text.startswith(kept) and count(kept, tokenizer) <= limit
        assert kept == text or count(text, tokenizer) > limit


def test_a_tokenizer_is_read_from_a_file_or_its_folder_and_adds_nothing(shared_data: Path, bert: Tokenizer) -> None:
    folder = shared_data / "tokenizers" / "bert-base-uncased"
    assert load_tokenizer(str(folder)).encode("bees dance") == bert.encode("bees dance")
    assert bert.decode(bert.encode("bees dance")) == "bees dance"
    assert len(bert.encode("bees " * 5000)) == 5000  # what the file says about truncation is not ours


def test_a_tokenizer_that_is_not_there_or_not_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFound, match=r"holds no tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer\.json is no tokenizer"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(NotFound, match="no tokenizer at 'nobody/nothing'"):
        load_tokenizer("nobody/nothing")


class Counting:
    """A tokenizer that counts the characters it is given to read."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner, self.read = inner, 0

    def encode(self, text: str) -> list[int]:
        self.read += len(text)
        return self.inner.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.inner.decode(ids)


@pytest.mark.parametrize("unit", ["bees dance ", "x", "🐝", "é", "\n", " ", "一", "0", "\u0301", "👩\u200d👩\u200d👧 "])
def test_of_a_document_of_megabytes_only_its_beginning_is_read(unit: str, qwen: Tokenizer) -> None:
    text, counting = unit * (3_000_000 // len(unit)), Counting(qwen)
    cut = clip(text, counting, 100)
    assert text.startswith(cut) and len(qwen.encode(cut)) <= 100
    assert cut == clip(text[:20_000], qwen, 100)
    assert counting.read < 100_000
    counting.read = 0
    fitted = fit(asked([text, "short", text], "why?"), counting, 700)
    assert counting.read < 2_000_000 and size(fitted, qwen) <= 700
    assert pieces(fitted, "document")[1] == "short" and pieces(fitted, "query") == ["why?"]


def test_a_query_of_megabytes_that_is_cut_is_told() -> None:
    with pytest.warns(UserWarning, match="a query was cut"):
        fitted = fit(asked(["short"], "why? " * 1_000_000), Bytes(), 400)
    assert size(fitted, Bytes()) <= 400


@settings(max_examples=60, deadline=None)
@given(texts.filter(bool), st.integers(1, 60), st.sampled_from(TOKENIZERS[1:]))
def test_a_long_text_is_cut_where_a_short_one_is(text: str, limit: int, tokenizer: Tokenizer) -> None:
    long = text * (9000 // len(text) + 1)
    assert clip(long, tokenizer, limit) == clip(long[:3000], tokenizer, limit)


@given(st.text("ab Zz[]0\n\x00é漢😀\ud83d", max_size=60), st.integers(0, 25))
def test_an_estimated_cut_is_where_the_sixths_of_characters_add_up(text: str, most: int) -> None:
    sixths = [
        (2 if char.isalpha() or char == " " else 6) if char.isascii() else 3 * len(char.encode(errors="surrogatepass"))
        for char in text
    ]
    assert clip(text, None, most) == text[: max(end for end in range(len(text) + 1) if sum(sixths[:end]) <= 6 * most)]
    assert estimate(text) == -(-sum(sixths) // 6)
