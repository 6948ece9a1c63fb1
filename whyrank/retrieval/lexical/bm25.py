"""BM25 without Java: `bm25()` ranks as Lucene does, `bm25q()` as BRIGHT's baseline, which weighs the query as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from whyrank.retrieval.lexical.base import Lexical
from whyrank.retrieval.lexical.inverted import InvertedIndex
from whyrank.retrieval.lexical.postings import idf


@dataclass(frozen=True)
class BM25(Lexical):
    """BM25 over Lucene's English analysis; with the default `lengths` it ranks as Lucene itself does.

    Robertson and others, "Okapi at TREC-3", 1994; the variant and the defaults are those of Lucene and Anserini.

    >>> from whyrank.types import Document, Query
    >>> bees = BM25().index([Document("d1", "Bees dance to tell where food is."), Document("d2", "Ants leave trails.")])
    >>> list(bees.search([Query("q", "why do bees dance?")])["q"].ids)
    ['d1']

    Attributes:
        path: the folder of the index: `index` writes it, the first search opens it; without one it stays in memory.
        k1: how soon further occurrences of a term stop counting; 0 or more.
        b: how much long documents are held back; 0 to 1.
        analyzer: how text becomes terms: "english"; another language, such as "german" or "thai"; "cjk" for Chinese,
            Japanese and Korean; "terms" for text that already is terms set apart by spaces; a function from a text to a
            list of terms, or "package.module:function".
        threads: how many threads search; all processors if None. The result does not depend on it.
        processes: how many processes analyse text when indexing; with more than one, a script needs the usual
            `if __name__ == "__main__"`.
        memory: how much `index` may hold of the postings when it writes to `path`, such as "200MB"; the rest waits on
            disk. What does not count: ids, vocabulary and the texts being read. The index does not depend on it.
        language: short for `analyzer`, `bm25(language='german')`.
        lengths: "lucene" keeps document lengths in one byte as Lucene does, "exact" keeps them as they are.
    """

    lengths: Literal["lucene", "exact"] = "lucene"

    file_fields: ClassVar[frozenset[str]] = Lexical.file_fields | {"lengths"}

    def _weighting(self) -> dict[str, Any]:
        return {"k1": self.k1, "b": self.b, "lengths": self.lengths}

    def _query_weights(self, counts: Mapping[int, int], index: InvertedIndex) -> dict[int, float]:
        return {term: float(count) for term, count in counts.items()}


@dataclass(frozen=True)
class BM25Q(Lexical):
    """The query-side BM25 of BRIGHT: a query's terms are weighted as a document's are, so that long queries saturate.

    score = Σ wq(t) · wd(t) with w(t) = idf(t) · tf / (tf + k1 (1 − b + b · length / average length)) on both sides; the
    length of a query counts only tokens that the collection has. The code of BRIGHT (2024) runs gensim's
    `LuceneBM25Model` so; named BM25Q in arXiv 2509.02558. Parameters as for `BM25`; lengths are exact.
    """

    def _weighting(self) -> dict[str, Any]:
        return {"k1": self.k1, "b": self.b, "lengths": "exact"}

    def _query_weights(self, counts: Mapping[int, int], index: InvertedIndex) -> dict[int, float]:
        whole = index.whole
        relative = sum(counts.values()) * whole.documents / max(whole.tokens, 1)
        norm = self.k1 * (1 - self.b + self.b * relative)
        rarity = idf(whole.frequencies[list(counts)], whole.documents)
        return {
            term: weight * count / (count + norm) for (term, count), weight in zip(counts.items(), rarity, strict=True)
        }
