"""Summaries without a model: the words that mark a cluster, and quotations that hold most of them.

The sketch of a node is made of its children's sketches alone. So it can be made again for one query without the
documents that the query excludes, along their paths to the root and nowhere else.
"""

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from whyrank.errors import BadIndex

TERMS, QUOTES = 48, 6
"""How many of each a sketch keeps: more than are shown, since sketches are made of sketches."""

LONGEST = 240
"""Characters of a quotation at most."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n{2,}")


class Sketch(NamedTuple):
    """Words with their weights, heaviest first, and quotations, best first."""

    terms: tuple[tuple[str, float], ...]
    quotes: tuple[str, ...]

    def shown(self, terms: int, quotes: int) -> str:
        """The sketch as a text."""
        words = ", ".join(word for word, _ in self.terms[:terms]) or "no words"
        said = " ".join(f"“{quote}”" for quote in self.quotes[:quotes])
        return f"About: {words}. {said}".strip()

    def dump(self) -> str:
        """The sketch as JSON."""
        return json.dumps([[[word, round(weight, 4)] for word, weight in self.terms], self.quotes], ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> "Sketch":
        """The sketch that `dump` wrote.

        Raises:
            BadIndex: it is none.
        """
        try:
            terms, quotes = json.loads(text)
            found = cls(tuple((word, float(weight)) for word, weight in terms), tuple(quotes))
        except (ValueError, TypeError, OverflowError, RecursionError):
            found = None
        if found is None or not _sound(found):
            raise BadIndex(f"no extract of a cluster: {text[:80]!r}: build the index anew")
        return found


def _sound(sketch: Sketch) -> bool:
    texts = (*(word for word, _ in sketch.terms), *sketch.quotes)
    return all(isinstance(text, str) for text in texts) and all(math.isfinite(weight) for _, weight in sketch.terms)


class Rarity:
    """In how many documents of the collection each word occurs."""

    def __init__(self, documents: int, frequencies: Mapping[str, int]) -> None:
        self.documents, self.frequencies = documents, dict(frequencies)

    def grown(self, texts: Iterable[str]) -> "Rarity":
        """With the words of further documents."""
        counts, number = Counter(self.frequencies), self.documents
        for text in texts:
            counts.update(set(_words(text)))
            number += 1
        return Rarity(number, counts)

    def of(self, word: str) -> float:
        """The idf of a word: 0 where every document has it."""
        return math.log((1 + self.documents) / (1 + self.frequencies.get(word, 0)))


def of_document(text: str, rarity: Rarity) -> Sketch:
    """The sketch of one document: its words by (1 + log tf) · idf, scaled to length 1, and its best sentence."""
    counts = Counter(_words(text))
    weights = {word: (1 + math.log(count)) * rarity.of(word) for word, count in counts.items()}
    length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
    terms = _heaviest({word: weight / length for word, weight in weights.items()})
    sentences = [sentence.strip() for sentence in _SENTENCE.split(text) if sentence.strip()]
    return Sketch(terms, _best(sentences, dict(terms))[:1])


def merged(parts: Sequence[Sketch], sizes: Sequence[int]) -> Sketch:
    """The sketch of a node with these children, of so many documents: the mean document, and a quotation of each."""
    total: dict[str, float] = {}
    for part, size in zip(parts, sizes, strict=True):
        for word, weight in part.terms:
            total[word] = total.get(word, 0.0) + size * weight
    terms = _heaviest({word: weight / sum(sizes) for word, weight in total.items()})
    weights = dict(terms)
    firsts = [quote for part in parts for quote in _best(part.quotes, weights)[:1]]
    return Sketch(terms, _best(dict.fromkeys(firsts), weights)[:QUOTES])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _heaviest(weights: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    best = heapq.nsmallest(TERMS, weights.items(), key=lambda item: (-item[1], item[0]))
    return tuple((word, weight) for word, weight in best if weight > 0)


def _best(sentences: Iterable[str], weights: Mapping[str, float]) -> tuple[str, ...]:
    """Sentences by the weight of the words in them, each counted once, over the root of their number of words."""

    def worth(sentence: str) -> float:
        words = _words(sentence)
        return sum(weights.get(word, 0.0) for word in set(words)) / math.sqrt(len(words) + 1)

    ordered = sorted(sentences, key=worth, reverse=True)
    return tuple(each if len(each) <= LONGEST else f"{each[: LONGEST - 1]}…" for each in ordered)
