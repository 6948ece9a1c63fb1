"""Make prompts fit the model's window, token for token: documents give way first and share what there is.

Where the model's own tokenizer is at hand, lengths are exact; without one they are estimated from the characters, on
the safe side. Text is only ever cut at its end, between characters that belong together.
"""

import math
import re
import string
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from whyrank.errors import BadInput, NotFound, need
from whyrank.llm.engine import LLM, Tokenizer
from whyrank.llm.messages import EMPTY, Cut, Piece, Prompt
from whyrank.progress import warn

ChatTokens = Callable[[list[dict[str, str]]], int | None]

TEMPLATE = 32
"""Allowance in tokens for what a chat template puts around a whole chat, where the engine cannot count it."""

PER_MESSAGE = 8
"""Allowance in tokens for what a chat template puts around each message."""

CHARACTERS, MARGIN = 16, 64
"""Hardly a text has more characters to a token; and so many tokens from its end, no cut changes how a text is read."""

_BROKEN = re.compile("[\ufffd\ud800-\udfff]")

FLOOR = 8
"""Documents keep this many tokens each before the query is touched: an empty document cannot be judged at all."""


def fit(prompt: Prompt, tokenizer: Tokenizer | None, limit: int, chat_tokens: ChatTokens | None = None) -> Prompt:
    """Shorten `prompt` to at most `limit` tokens; one that fits comes back as it is.

    Documents are shortened by water-filling: all to one common length, shorter ones stay whole and leave their slack to
    the longer ones. When they are down to `FLOOR` tokens each the query is cut too, with a warning; the rest never is.

    Args:
        prompt: what would be asked.
        tokenizer: the model's own, or None to estimate from the characters.
        limit: the model's window less the tokens kept for its answer.
        chat_tokens: counts a whole chat, template included; without it an allowance is added to the texts' own tokens.

    Raises:
        BadInput: the instructions alone are longer than `limit`.
    """
    if sum(len(message.content) for message in prompt.messages) <= limit and _at_most(prompt) <= limit:
        return prompt
    whole, prompt = prompt, _without_excess(prompt, tokenizer, limit)
    size = _size(prompt, tokenizer, chat_tokens)
    if size <= limit:
        return prompt
    documents, queries = (_lengths(prompt, tokenizer, kind) for kind in ("document", "query"))
    room, step = limit - size + sum(documents) + sum(queries), 1
    fitted = _shorten(prompt, tokenizer, documents, queries, room)
    # Tokens may merge across the seams of pieces, so that the whole is measured again; the room falls ever faster.
    while (size := _size(fitted, tokenizer, chat_tokens)) > limit:
        if room <= 0:
            raise BadInput(
                f"the instructions alone take {size} tokens, but the model's window leaves {limit} for a prompt"
            )
        room, step = room - max(size - limit, step), 2 * step
        fitted = _shorten(prompt, tokenizer, documents, queries, room)
    if cuts(whole, fitted)["query"]:
        warn("a query was cut to fit the model's window: the ledger counts how often")
    return fitted


def capped(prompt: Prompt, clipped: Callable[[str, int], str]) -> Prompt:
    """The prompt with each piece cut to the tokens that it may have `at_most`.

    Args:
        prompt: what would be asked.
        clipped: cuts a text to so many tokens, as `clip` does.
    """

    def cut(piece: Piece) -> Piece:
        if piece.at_most is None:
            return piece
        text = clipped(piece.text, piece.at_most)
        return Piece(piece.text if text == piece.text else text.rstrip() or EMPTY, piece.cut)

    bounded = any(piece.at_most is not None for turn in prompt.messages for piece in turn.pieces)
    return prompt.with_pieces(cut) if bounded else prompt


def completed(prompt: Prompt, tokenizer: Tokenizer | None, window: int | None, chat_tokens: ChatTokens) -> Prompt:
    """The prompt with what only its model's tokenizer can tell, see `Prompt.prepare`."""
    if prompt.prepare is None:
        return prompt
    room = None if window is None else window - prompt.sampling.max_tokens - prompt.reserve
    return replace(prompt.prepare(prompt, tokenizer, room, chat_tokens), prepare=None)


def prepared(prompt: Prompt, llm: LLM) -> Prompt:
    """A prompt as the scheduler would have the model asked: completed, cut, and fitted to the model's window.

    Raises:
        BadInput: the window leaves no room for it.
    """
    tokenizer, window = llm.tokenizer(), llm.context_length
    made = completed(prompt, tokenizer, window, llm.chat_tokens)
    made = capped(made, lambda text, most: clip(text, tokenizer, most))
    if window is None:
        return made
    return fit(made, tokenizer, window - made.sampling.max_tokens - made.reserve, llm.chat_tokens)


def shrink(prompt: Prompt, tokenizer: Tokenizer | None) -> Prompt | None:
    """`prompt` with half as much text of documents, for an engine that called it too long; None if it has none."""
    lengths = _lengths(prompt, tokenizer, "document")
    return _cut(prompt, tokenizer, "document", share(lengths, sum(lengths) // 2)) if sum(lengths) else None


def cuts(before: Prompt, after: Prompt) -> dict[Cut, int]:
    """How many documents and queries are shorter in `after` than in `before`, a fitted form of the same prompt."""
    return {
        kind: sum(old.text != new.text for old, new in zip(_pieces(before, kind), _pieces(after, kind), strict=True))
        for kind in ("document", "query")
    }


def clip(text: str, tokenizer: Tokenizer | None, max_tokens: int) -> str:
    """The longest beginning of `text` that has at most `max_tokens` tokens; what fits comes back as it is.

    Examples:
        >>> clip("why do bees dance", None, 3)
        'why do be'
    """
    if max_tokens <= 0:
        return ""
    if len(text) <= max_tokens and text.isascii():
        return text
    if tokenizer is None:
        return _clip_estimated(text, max_tokens)
    whole = text
    text, ids = _beginning(text, tokenizer, max_tokens)
    if len(ids) <= max_tokens:
        return whole
    # Most tokenizers give the text back as it was, but for a character cut in two, which reads as U+FFFD; where they do
    # not (lower case, accents stripped), or the text itself has something that reads so, the place is searched.
    head = tokenizer.decode(ids[:max_tokens]).rstrip("\ufffd")
    plain = text.startswith(head) and not _BROKEN.match(text, len(head))
    end = len(head) if plain else _search(text, tokenizer, max_tokens)
    end = _whole(text, end)
    while end and len(tokenizer.encode(text[:end])) > max_tokens:
        end = _whole(text, end - 1)
    return text[:end]


def count(text: str, tokenizer: Tokenizer | None) -> int:
    """Tokens of `text`: exact with a tokenizer, else an estimate that is rather too high (see `estimate`)."""
    return len(tokenizer.encode(text)) if tokenizer is not None else estimate(text)


def estimate(text: str) -> int:
    """An upper estimate of the tokens of `text` from its characters alone.

    A third of a token for a Latin letter or a blank, one for any other ASCII character, and half a token for each
    byte of UTF-8 otherwise.
    """
    return math.ceil(_weight(text) / 6)


def share(lengths: Sequence[int], room: int) -> list[int]:
    """Water-filling: the length that each gets when `room` is shared out, none more than it has.

    Examples:
        >>> share([10, 100, 200], 150)
        [10, 70, 70]
    """
    caps, left = [0] * len(lengths), max(room, 0)
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    for taken, at in enumerate(by_length):
        caps[at] = min(lengths[at], left // (len(lengths) - taken))
        left -= caps[at]
    return caps


@cache
def load_tokenizer(source: str) -> Tokenizer:
    """A Hugging Face fast tokenizer: a `tokenizer.json`, a folder that holds one, or the name of a model on the hub.

    Raises:
        NotFound: there is no such file, and no such model on the hub or in its local cache.
        BadInput: the file is no tokenizer.
    """
    tokenizers = need("tokenizers", extra="openai", asked_by="counting tokens")
    path = Path(source)
    file = path / "tokenizer.json" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise NotFound(f"{path} holds no tokenizer.json: save one there with the model's save_pretrained()")
    try:
        loaded = (
            tokenizers.Tokenizer.from_file(str(file))
            if file.is_file()
            else tokenizers.Tokenizer.from_pretrained(source)
        )
    except Exception as error:  # the Rust side raises plain Exception
        if file.is_file():
            raise BadInput(f"{file} is no tokenizer of Hugging Face's tokenizers: {error}") from None
        raise NotFound(f"no tokenizer at {source!r}, neither as a file or folder nor on the hub: {error}") from None
    loaded.no_truncation()
    loaded.no_padding()
    return _Fast(loaded)


class _Fast:
    """A `tokenizers.Tokenizer` without its special tokens."""

    def __init__(self, loaded: object) -> None:
        self._tokenizer = loaded

    def encode(self, text: str) -> list[int]:
        clean = text.encode(
            errors="replace"
        ).decode()  # a lone surrogate has no UTF-8, which is what the Rust side takes
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)  # type: ignore[attr-defined]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))  # type: ignore[attr-defined]


def _beginning(text: str, tokenizer: Tokenizer, max_tokens: int) -> tuple[str, list[int]]:
    """A beginning of `text` that has clearly more than `max_tokens` tokens, or all of it; and its tokens.

    So of a document of many megabytes only what may be kept is read.
    """
    length = CHARACTERS * max_tokens + 1024
    while length < len(text):
        ids = tokenizer.encode(text[:length])
        if len(ids) > max_tokens + MARGIN:
            return text[:length], ids
        length *= 4
    return text, tokenizer.encode(text)


def _without_excess(prompt: Prompt, tokenizer: Tokenizer | None, limit: int) -> Prompt:
    """`prompt` with each document and query cut to `limit` tokens that may have far more: no share is larger."""

    def far(piece: Piece) -> bool:
        return piece.cut != "never" and len(piece.text) > CHARACTERS * limit + 1024

    def cut(piece: Piece) -> Piece:
        return replace(piece, text=clip(piece.text, tokenizer, limit)) if far(piece) else piece

    if not any(far(piece) for message in prompt.messages for piece in message.pieces):
        return prompt
    messages = (replace(message, pieces=tuple(map(cut, message.pieces))) for message in prompt.messages)
    return replace(prompt, messages=tuple(messages))


def _shorten(
    prompt: Prompt, tokenizer: Tokenizer | None, documents: Sequence[int], queries: Sequence[int], room: int
) -> Prompt:
    """Documents and queries, of these lengths, together cut down to `room` tokens; to nothing where it is below 0."""
    floor = sum(min(length, FLOOR) for length in documents)
    asked = min(sum(queries), max(room - floor, 0))
    shorter = _cut(prompt, tokenizer, "document", share(documents, room - asked))
    return shorter if asked == sum(queries) else _cut(shorter, tokenizer, "query", share(queries, asked))


def _cut(prompt: Prompt, tokenizer: Tokenizer | None, kind: Cut, caps: Sequence[int]) -> Prompt:
    """The pieces of that kind cut to so many tokens each."""
    cap = iter(caps)

    def shorter(piece: Piece) -> Piece:
        return replace(piece, text=clip(piece.text, tokenizer, next(cap))) if piece.cut == kind else piece

    return prompt.with_pieces(shorter)


def _pieces(prompt: Prompt, kind: str) -> Iterable[Piece]:
    return (piece for message in prompt.messages for piece in message.pieces if piece.cut == kind)


def _lengths(prompt: Prompt, tokenizer: Tokenizer | None, kind: str) -> list[int]:
    return [count(piece.text, tokenizer) for piece in _pieces(prompt, kind)]


def _size(prompt: Prompt, tokenizer: Tokenizer | None, chat_tokens: ChatTokens | None) -> int:
    exact = chat_tokens(prompt.chat) if chat_tokens is not None else None
    if exact is not None:
        return exact
    return _allowance(prompt) + sum(count(message.content, tokenizer) for message in prompt.messages)


def _at_most(prompt: Prompt) -> int:
    """What no tokenizer and template exceed: a token for each byte, be it of the longest Unicode form of the text."""
    text = "".join(message.content for message in prompt.messages)
    forms = (text,) if text.isascii() else (text, unicodedata.normalize("NFKD", text))
    return 16 * _allowance(prompt) + max(len(form.encode(errors="surrogatepass")) for form in forms)


def _allowance(prompt: Prompt) -> int:
    return TEMPLATE + PER_MESSAGE * len(prompt.messages)


_LETTERS = f"{string.ascii_letters} ".encode()


def _weight(text: str) -> int:
    """Sixths of a token."""
    all_bytes, plain = text.encode(errors="surrogatepass"), text.encode("ascii", "ignore")
    marks = len(plain.translate(None, _LETTERS))
    return 2 * (len(plain) - marks) + 6 * marks + 3 * (len(all_bytes) - len(plain))


def _clip_estimated(text: str, max_tokens: int) -> str:
    room = 6 * max(max_tokens, 0)
    head = text[: room // 2 + 1]  # a character weighs two sixths or more
    if len(head) == len(text) and _weight(text) <= room:
        return text
    end = bisect_right(range(len(head) + 1), room, key=lambda at: _weight(head[:at])) - 1
    return text if end == len(text) else text[: _whole(text, end)]


def _search(text: str, tokenizer: Tokenizer, max_tokens: int) -> int:
    """Where the longest beginning of at most `max_tokens` ends, by halving."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(tokenizer.encode(text[:middle])) <= max_tokens else (low, middle - 1)
    return low


def _whole(text: str, end: int) -> int:
    """`end`, or the place before it where no mark, joiner or variation selector is parted from its character."""
    while 0 < end < len(text) and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return end


def _joins(char: str) -> bool:
    return unicodedata.category(char) in {"Mn", "Me", "Mc"} or char == "\u200d" or "\U0001f3fb" <= char <= "\U0001f3ff"
